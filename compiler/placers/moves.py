"""Moves: the inner loop of the annealer, compiled. Proposes a move, looks whether it is legal, and what it changes in the cost.

All there is to know is in arrays: a `Task`, and a state with a row per block: x, y, index of its shape, and the width and height it
takes on the mesh. A move touches few blocks, so only those, and the nets at their ends, are weighed and copied. Small helpers are
`inline`: every array passed in a call is a dozen words.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from wse._jit import inline, kernel, leaf
from wse.compiler import nets
from wse.compiler.footprint import MOST_SKIPPED

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


@inline
def _draw(random, n):
    """0 .. n-1, by the minimal standard generator (Park and Miller, 1988): the same with and without compilation."""
    random[0] = random[0] * 48271 % 2147483647
    return random[0] % n


@inline
def _meets(touched, j, n):
    """Whether a touched block is at an end of net j."""
    return (j < n and touched[j]) or (j > 0 and touched[j - 1])


@inline
def _copy_row(to, source, i):
    """Copy a row of a matrix, without the temporary that a slice would take."""
    for j in range(to.shape[1]):
        to[i, j] = source[i, j]


@inline
def _copy_touched(state, bands, other_state, other_bands, touched):
    """Make the touched blocks, and the bands of the nets at their ends, those of the other state."""
    n = state.shape[0]
    for i in range(n):
        if touched[i]:
            _copy_row(state, other_state, i)
    for j in range(n + 1):
        if _meets(touched, j, n):
            _copy_row(bands, other_bands, j)


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


@inline
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
def total_cost(size, num_shapes, value, area, fixed, sides, keep_out, relation, number, weight, kind, skipped, state, values, bands):
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
    """The part of the cost that the touched blocks, and the nets at their ends, have a share in."""
    n = state.shape[0]
    total = 0.0
    for i in range(n):
        if touched[i]:
            total += value[i, state[i, 2]]
    for j in range(n + 1):
        if _meets(touched, j, n):
            total += _net_value(size, sides, number, weight, state, j)
            for k in range(n + 1):
                if k != j and not (k < j and _meets(touched, k, n)):
                    total += _shared(bands[j], bands[k]) * weight[2]
    return total


@inline
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


@inline
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
def _give_way(size, kind, skipped, state, i, j, direction):
    """Move block i off block j, to whose north or west it may take more than its own size among defects."""
    _resize(size, kind, skipped, state, i)
    for _ in range(MOST_SKIPPED):
        if direction == 0 and (state[i, 3] < 0 or state[i, 1] + state[i, 4] > state[j, 1]):
            state[i, 1] -= 1
        elif direction == 3 and (state[i, 3] < 0 or state[i, 0] + state[i, 3] > state[j, 0]):
            state[i, 0] -= 1
        else:
            break
        _resize(size, kind, skipped, state, i)


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
    if skipped.shape[0] > 0:
        _give_way(size, kind, skipped, state, i, j, direction)
    else:
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
def try_moves(
    size, num_shapes, value, area, fixed, sides, keep_out, relation, number, weight, kind, skipped,
    state, kept, values, random, moves, hot, trial, touched, bands, trial_bands,
):  # fmt: skip
    """Try `moves` moves at temperature `hot`; `kept` and values[1] hold the best state so far. The last four are scratch."""
    n = state.shape[0]
    for i in range(n):
        _copy_row(trial, state, i)
    for j in range(n + 1):
        _band(size, sides, number, state, j, bands[j])
        _copy_row(trial_bands, bands, j)
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
            for j in range(n + 1):
                if _meets(touched, j, n):
                    _band(size, sides, number, trial, j, trial_bands[j])
            before = _touched_value(size, value, sides, number, weight, state, touched, bands)
            after = _touched_value(size, value, sides, number, weight, trial, touched, trial_bands)
            change = after - before
            accepted = change <= 0 or math.exp(-change / hot) * 2147483647 > _draw(random, 2147483647)
        if accepted:
            values[0] += change
            _copy_touched(state, bands, trial, trial_bands, touched)
            if values[0] < values[1] - 1e-12:
                values[1] = values[0]
                for i in range(n):
                    _copy_row(kept, state, i)
        else:
            _copy_touched(trial, trial_bands, state, bands, touched)
