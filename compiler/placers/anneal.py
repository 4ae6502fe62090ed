"""Anneal: simulated annealing of shapes and places, from the best snakes and greedy placements.

Every state it passes through is legal, so it can be stopped at any time. A move puts a block beside its neighbour in the
chain, shifts it, gives it another shape, swaps two, or lays a run of blocks anew. The cost is the problem's own plus
one hop more for every wavelet on a link that two nets share. Starts run side by side on the cores, each with a seed of its own.
"""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from wse._jit import kernel, leaf
from wse.compiler import nets
from wse.compiler.constraints import RELATIONS
from wse.compiler.footprint import MOST_SKIPPED
from wse.compiler.place import Placement
from wse.compiler.placers.explain import does_not_fit
from wse.compiler.placers.greedy import Rects, greedy_placements
from wse.compiler.placers.problem import Problem, Search
from wse.compiler.placers.snake import best_snakes
from wse.program import Rect

HOTTEST, COLDEST = 3e-3, 1e-6  # temperatures, in lower bounds; moving one block a few PEs costs about 1e-4
CHUNK = 20_000  # moves between two looks at the clock
RUN = 8  # most blocks laid anew in one move

SOURCES = (__file__, nets.__file__)  # of the compiled code below

_net = leaf(nets.measure)
_net_in = leaf(nets.measure_in)
_net_out = leaf(nets.measure_out)


class Task(NamedTuple):
    """A problem as arrays (n blocks, at most k shapes)."""

    size: np.ndarray  # int64 (n, k, 2): width, height
    num_shapes: np.ndarray  # int64 (n,)
    value: np.ndarray  # float64 (n, k): weighed cost
    area: np.ndarray  # int64 (n, 4): x, y, right, bottom (ends excluded) a block must stay in
    fixed: np.ndarray  # int64 (n,): 1 if pinned
    sides: np.ndarray  # int64 (n, 2): input, output
    keep_out: np.ndarray  # int64 (m, 4): x, y, right, bottom
    relation: np.ndarray  # int64 (r, 3): index in `RELATIONS`, block, block
    number: np.ndarray  # int64: mesh width, dim, hop cycles, ramp cycles
    weight: np.ndarray  # float64: of a cycle, of a hop, of a shared wavelet-link
    kind: np.ndarray  # int64 (n, k): index in `skipped` of a shape's size
    skipped: np.ndarray  # int16 (s, mesh height, mesh width, 2): `Footprints.skipped` of each size; s = 0 where nothing is dead


def place(problem: Problem, search: Search) -> Placement:
    """The best placement that any start comes to. Raises `DoesNotFitError` when there is no start."""
    begin = starts(problem, search.starts)
    if not begin:
        raise does_not_fit(problem)
    task, began = _task(problem), time.perf_counter()
    best, moved = [begin[0][0]], np.zeros(search.starts)

    def run(number: int) -> tuple[float, int, Rects]:
        state = _state(problem, begin[number % len(begin)][1])
        n = len(state)
        bands, trial_bands, touched = np.zeros((n + 1, 11), np.int64), np.zeros((n + 1, 11), np.int64), np.zeros(n, np.bool_)
        random = np.array([1 + (search.seed * 7919 + number * 104_729) % 2_147_483_646], np.int64)
        values = np.zeros(2)
        _total(*task, state, values, bands)
        kept, trial, done = state.copy(), state.copy(), 0
        while done < search.moves and not (search.time_budget is not None and time.perf_counter() - began > search.time_budget):
            hot = HOTTEST * (COLDEST / HOTTEST) ** (done / search.moves)
            _moves(*task, state, kept, values, random, min(CHUNK, search.moves - done), hot, trial, touched, bands, trial_bands)
            done += CHUNK
            moved[number] = done / search.moves
            spent = (time.perf_counter() - began) / search.time_budget if search.time_budget else 0.0
            search.on_done(min(1.0, max(float(moved.mean()), spent)))
            if values[1] < best[0] - 1e-9:
                best[0] = values[1]
                cost = problem.cost(problem.placement(_rects(problem, kept)))
                search.on_best(time.perf_counter() - began, problem.weigh(cost) / problem.lower_bound - 1, cost)
        rects = _rects(problem, kept)
        return problem.weigh(problem.cost(problem.placement(rects))), number, rects

    with ThreadPoolExecutor(min(search.starts, os.cpu_count() or 1)) as pool:
        found = list(pool.map(run, range(search.starts)))
    found += [(value, search.starts + i, rects) for i, (value, rects) in enumerate(begin)]  # sharing aside, a start may be the best
    return problem.placement(min(found)[2])


def starts(problem: Problem, num: int) -> list[tuple[float, Rects]]:
    """Legal placements to start from, the best first."""
    wishes = problem.constraints
    found = [] if wishes.pins or wishes.relations or wishes.spans else best_snakes(problem, num)
    found += [(problem.weigh(problem.cost(problem.placement(rects))), rects) for _, rects in greedy_placements(problem)]
    return sorted(found, key=lambda pair: pair[0])[:num]


def _task(problem: Problem) -> Task:
    n, k = len(problem.names), max(len(shapes) for shapes in problem.shapes)
    size, value = np.ones((n, k, 2), np.int64), np.full((n, k), math.inf)
    for i, (shapes, costs) in enumerate(zip(problem.shapes, problem.costs, strict=True)):
        for j, (block, cost) in enumerate(zip(shapes, costs, strict=True)):
            size[i, j], value[i, j] = (block.width, block.height), problem.weigh(cost)
    kind, skipped = np.zeros((n, k), np.int64), np.zeros((0, 0, 0, 2), np.int16)
    if problem.footprints is not None:
        sizes = {(block.width, block.height): 0 for shapes in problem.shapes for block in shapes}
        number = {one: s for s, one in enumerate(sizes)}
        for i, shapes in enumerate(problem.shapes):
            kind[i, : len(shapes)] = [number[block.width, block.height] for block in shapes]
        skipped = np.stack([problem.footprints.skipped(*one) for one in sizes])
    index = {name: i for i, name in enumerate(problem.names)}
    corners = lambda rect: (rect.x, rect.y, rect.x + rect.width, rect.y + rect.height)  # noqa: E731
    relation = [(RELATIONS.index(r.kind), index[r.block], index[r.other]) for r in problem.constraints.relations]
    return Task(
        size, np.array([len(shapes) for shapes in problem.shapes]), value, np.array([corners(problem.area(i)) for i in range(n)]),
        np.array([int(name in problem.constraints.pins) for name in problem.names]), np.array([problem.inputs, problem.outputs]).T.copy(),
        np.array([corners(area) for area in problem.constraints.keep_out], np.int64).reshape(-1, 4),
        np.array(relation, np.int64).reshape(-1, 3),
        np.array([problem.width, problem.dim, problem.hop_cycles, problem.ramp_cycles]),
        np.array([*problem.weights, problem.weights[1] or problem.weights[0]]), kind, skipped,
    )  # fmt: skip


def _state(problem: Problem, rects: Rects) -> np.ndarray:
    """int64 (n, 5): x, y, index of the shape, and width and height on the mesh."""
    sizes = [(there.width, there.height) for rect in rects if (there := problem.footprint(rect)) is not None]
    places = [(r.x, r.y, problem.shape_index(i, (r.width, r.height)), *size) for i, (r, size) in enumerate(zip(rects, sizes, strict=True))]
    return np.array(places, np.int64)


def _rects(problem: Problem, state: np.ndarray) -> Rects:
    shapes = [problem.shapes[i][k] for i, k in enumerate(state[:, 2])]
    return tuple(Rect(int(x), int(y), block.width, block.height) for (x, y), block in zip(state[:, :2], shapes, strict=True))


@leaf
def _draw(random, n):
    """0 .. n-1, by the minimal standard generator (Park and Miller, 1988): the same with and without compilation."""
    random[0] = random[0] * 48271 % 2147483647
    return random[0] % n


@leaf
def _copy(to, source):
    """Copy a matrix, without the temporary that a slice would take."""
    for i in range(to.shape[0]):
        for j in range(to.shape[1]):
            to[i, j] = source[i, j]


@leaf
def _band(size, sides, number, state, j, band):
    """The links net j takes: band[0..4] along y (x0, x1, y0, y1, direction), band[5..9] along x, and band[10] wavelets per lane.

    Ends are excluded; an empty band has y0 = y1 or x0 = x1. `state` rows are (x, y, shape, width and height on the mesh).
    """
    for i in range(11):
        band[i] = 0
    if j == 0 or j == state.shape[0]:
        return
    ax, ay, aw, ah = state[j - 1, 0], state[j - 1, 1], size[j - 1, state[j - 1, 2], 0], size[j - 1, state[j - 1, 2], 1]
    bx, by, bw, bh = state[j, 0], state[j, 1], size[j, state[j, 2], 0], size[j, state[j, 2], 1]
    kind, _, _, ex, ey, ix, iy = _net(number[1], ax, ay, aw, ah, sides[j - 1, 1], bx, by, bw, bh, sides[j, 0], number[2], number[3])
    lanes = 1 if kind == 2 else ah
    band[10] = number[1] if kind == 2 else (number[1] + ah - 1) // ah
    if iy != ey:
        band[0], band[1] = ex, ex + lanes
        band[2], band[3] = min(ey, iy), max(ey, iy) + lanes - 1
        band[4] = 1 if iy > ey else -1
    if ix != ex:
        band[5], band[6] = min(ex, ix), max(ex, ix)
        band[7], band[8] = iy, iy + lanes
        band[9] = 1 if ix > ex else -1


@leaf
def _shared(a, b):
    """Wavelets on links that two bands share."""
    links = 0
    for i in range(0, 10, 5):
        if a[i + 4] != 0 and a[i + 4] == b[i + 4]:
            across = min(a[i + 1], b[i + 1]) - max(a[i], b[i])
            down = min(a[i + 3], b[i + 3]) - max(a[i + 2], b[i + 2])
            if across > 0 and down > 0:
                links += across * down
    return links * min(a[10], b[10])


@leaf
def _net_value(size, sides, number, weight, state, j):
    """Weighed cost of net j."""
    n = state.shape[0]
    if j == 0:
        hops, cycles = _net_in(number[1], state[0, 0], size[0, state[0, 2], 0], size[0, state[0, 2], 1], sides[0, 0], number[2], number[3])
    elif j == n:
        hops, cycles = _net_out(number[0], state[n - 1, 0], size[n - 1, state[n - 1, 2], 0], sides[n - 1, 1], number[2], number[3])
    else:
        a, b = j - 1, j
        _, hops, cycles, _, _, _, _ = _net(
            number[1], state[a, 0], state[a, 1], size[a, state[a, 2], 0], size[a, state[a, 2], 1], sides[a, 1],
            state[b, 0], state[b, 1], size[b, state[b, 2], 0], size[b, state[b, 2], 1], sides[b, 0], number[2], number[3],
        )  # fmt: skip
    return cycles * weight[0] + hops * weight[1]


@kernel(sources=SOURCES)
def _total(size, num_shapes, value, area, fixed, sides, keep_out, relation, number, weight, kind, skipped, state, values, bands):
    """Set values[0] and values[1] to the cost of `state`; `bands` is scratch for `_band` of every net."""
    n = state.shape[0]
    total = 0.0
    for i in range(n):
        total += value[i, state[i, 2]]
    for j in range(n + 1):
        total += _net_value(size, sides, number, weight, state, j)
        _band(size, sides, number, state, j, bands[j])
        for k in range(j):
            total += _shared(bands[j], bands[k]) * weight[2]
    values[0] = total
    values[1] = total


@leaf
def _touched_value(size, value, sides, number, weight, state, touched, bands):
    """The part of the cost that the touched blocks, and the nets at their ends, have a share in; refreshes those nets' bands."""
    n = state.shape[0]
    total = 0.0
    for i in range(n):
        if touched[i]:
            total += value[i, state[i, 2]]
    for j in range(n + 1):
        if (j < n and touched[j]) or (j > 0 and touched[j - 1]):
            _band(size, sides, number, state, j, bands[j])
    for j in range(n + 1):
        if (j < n and touched[j]) or (j > 0 and touched[j - 1]):
            total += _net_value(size, sides, number, weight, state, j)
            for k in range(n + 1):
                both = (k < n and touched[k]) or (k > 0 and touched[k - 1])
                if k != j and not (both and k < j):
                    total += _shared(bands[j], bands[k]) * weight[2]
    return total


@leaf
def _resize(size, kind, skipped, state, i):
    """Set the width and height that block i takes on the mesh where it now is; -1 where it cannot be."""
    width, height = size[i, state[i, 2], 0], size[i, state[i, 2], 1]
    if skipped.shape[0] > 0:
        x, y = state[i, 0], state[i, 1]
        if x < 0 or y < 0 or y >= skipped.shape[1] or x >= skipped.shape[2] or skipped[kind[i, state[i, 2]], y, x, 0] < 0:
            width = height = -1
        else:
            width += skipped[kind[i, state[i, 2]], y, x, 0]
            height += skipped[kind[i, state[i, 2]], y, x, 1]
    state[i, 3] = width
    state[i, 4] = height


@leaf
def _legal(area, keep_out, relation, state, touched):
    """Whether the touched blocks are in their areas, overlap nothing, and all relations hold."""
    n = state.shape[0]
    for i in range(n):
        if not touched[i]:
            continue
        x, y = state[i, 0], state[i, 1]
        right, bottom = x + state[i, 3], y + state[i, 4]
        if state[i, 3] < 0 or x < area[i, 0] or y < area[i, 1] or right > area[i, 2] or bottom > area[i, 3]:
            return False
        for m in range(keep_out.shape[0]):
            if x < keep_out[m, 2] and keep_out[m, 0] < right and y < keep_out[m, 3] and keep_out[m, 1] < bottom:
                return False
        for j in range(n):
            if j != i and not (touched[j] and j < i):
                ox, oy = state[j, 0], state[j, 1]
                if x < ox + state[j, 3] and ox < right and y < oy + state[j, 4] and oy < bottom:
                    return False
    for m in range(relation.shape[0]):
        a, b = relation[m, 1], relation[m, 2]
        if relation[m, 0] == 1:
            holds = state[a, 0] == state[b, 0]
        elif relation[m, 0] == 2:
            holds = state[a, 1] == state[b, 1]
        else:
            ax, ay, bx, by = state[a, 0], state[a, 1], state[b, 0], state[b, 1]
            across = min(ax + state[a, 3], bx + state[b, 3]) - max(ax, bx)
            down = min(ay + state[a, 4], by + state[b, 4]) - max(ay, by)
            holds = (across == 0 and down > 0) or (down == 0 and across > 0)
        if not holds:
            return False
    return True


@leaf
def _beside(size, kind, skipped, state, i, j, direction):
    """Put block i beside block j: 0 north, 1 east, 2 south, 3 west of it, their north or west sides in line."""
    state[i, 0] = state[j, 0]
    state[i, 1] = state[j, 1]
    if direction == 0:
        state[i, 1] -= size[i, state[i, 2], 1]
    elif direction == 1:
        state[i, 0] += state[j, 3]
    elif direction == 2:
        state[i, 1] += state[j, 4]
    else:
        state[i, 0] -= size[i, state[i, 2], 0]
    _resize(size, kind, skipped, state, i)
    for _ in range(skipped.shape[0] and MOST_SKIPPED):  # to the north or west it may take more than its own size
        if direction == 0 and (state[i, 3] < 0 or state[i, 1] + state[i, 4] > state[j, 1]):
            state[i, 1] -= 1
        elif direction == 3 and (state[i, 3] < 0 or state[i, 0] + state[i, 3] > state[j, 0]):
            state[i, 0] -= 1
        else:
            break
        _resize(size, kind, skipped, state, i)


@leaf
def _propose(size, num_shapes, area, fixed, kind, skipped, state, touched, random):
    """Change `state` by one random move, marking the blocks touched."""
    n = state.shape[0]
    move = _draw(random, 100)
    i = _draw(random, n)
    touched[i] = True
    if move < 30:  # beside a neighbour in the chain
        j = i - 1 if (i > 0 and _draw(random, 2) == 0) or i == n - 1 else i + 1
        if _draw(random, 5) == 0:
            state[i, 2] = _draw(random, num_shapes[i])
        if n > 1:
            _beside(size, kind, skipped, state, i, j, _draw(random, 4))
    elif move < 50:  # a step, or to the edge of its area
        state[i, 0] += _draw(random, 9) - 4
        state[i, 1] += _draw(random, 9) - 4
        if _draw(random, 8) == 0:
            state[i, 0] = area[i, 0] if _draw(random, 2) == 0 else area[i, 2] - size[i, state[i, 2], 0]
    elif move < 65:  # another shape, one corner staying
        before = state[i, 2]
        state[i, 2] = _draw(random, num_shapes[i])
        if _draw(random, 2) == 0 and not fixed[i]:
            state[i, 0] += size[i, before, 0] - size[i, state[i, 2], 0]
        if _draw(random, 2) == 0 and not fixed[i]:
            state[i, 1] += size[i, before, 1] - size[i, state[i, 2], 1]
    elif move < 80:  # swap
        j = _draw(random, n)
        if j != i:
            touched[j] = True
            for c in range(2):
                state[i, c], state[j, c] = state[j, c], state[i, c]
    else:  # a run of blocks laid anew, turning at the edge of the mesh
        length = 2 + _draw(random, RUN - 1)
        direction = _draw(random, 4)
        turn = (direction + 1 + 2 * _draw(random, 2)) % 4
        shape = _draw(random, num_shapes[i])
        alike = _draw(random, 2) == 0
        for j in range(i, min(n, i + length)):
            touched[j] = True
            if alike and shape < num_shapes[j]:
                state[j, 2] = shape
                _resize(size, kind, skipped, state, j)
            if j > 0:
                _beside(size, kind, skipped, state, j, j - 1, direction)
                x, y = state[j, 0], state[j, 1]
                if state[j, 3] < 0 or x < area[j, 0] or y < area[j, 1] or x + state[j, 3] > area[j, 2] or y + state[j, 4] > area[j, 3]:
                    _beside(size, kind, skipped, state, j, j - 1, turn)
                    direction = (direction + 2) % 4
    for j in range(n):
        if touched[j]:
            _resize(size, kind, skipped, state, j)


@kernel(sources=SOURCES)
def _moves(
    size, num_shapes, value, area, fixed, sides, keep_out, relation, number, weight, kind, skipped,
    state, kept, values, random, moves, hot, trial, touched, bands, trial_bands,
):  # fmt: skip
    """Try `moves` moves at temperature `hot`; `kept` and values[1] hold the best state so far. The last four are scratch."""
    n = state.shape[0]
    for j in range(n + 1):
        _band(size, sides, number, state, j, bands[j])
        _band(size, sides, number, state, j, trial_bands[j])
    _copy(trial, state)
    for _ in range(moves):
        for i in range(n):
            touched[i] = False
        _propose(size, num_shapes, area, fixed, kind, skipped, trial, touched, random)
        moved_fixed = False
        for i in range(n):
            if touched[i] and fixed[i] and (trial[i, 0] != state[i, 0] or trial[i, 1] != state[i, 1]):
                moved_fixed = True
        accepted = False
        if not moved_fixed and _legal(area, keep_out, relation, trial, touched):
            before = _touched_value(size, value, sides, number, weight, state, touched, bands)
            after = _touched_value(size, value, sides, number, weight, trial, touched, trial_bands)
            change = after - before
            accepted = change <= 0 or math.exp(-change / hot) * 2147483647 > _draw(random, 2147483647)
        if accepted:
            values[0] += change
            _copy(state, trial)
            _copy(bands, trial_bands)
            if values[0] < values[1] - 1e-12:
                values[1] = values[0]
                _copy(kept, state)
        else:
            _copy(trial, state)
            _copy(trial_bands, bands)
