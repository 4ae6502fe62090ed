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

import numpy as np

from wse.compiler.constraints import RELATIONS
from wse.compiler.place import Placement
from wse.compiler.placers.explain import does_not_fit
from wse.compiler.placers.greedy import Rects, greedy_placements
from wse.compiler.placers.moves import Task, total_cost, try_moves
from wse.compiler.placers.problem import Problem, Search
from wse.compiler.placers.snake import best_snakes
from wse.program import Rect

HOTTEST, COLDEST = 3e-3, 1e-6  # temperatures, in lower bounds; moving one block a few PEs costs about 1e-4
CHUNK = 20_000  # moves between two looks at the clock


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
        total_cost(*task, state, values, bands)
        kept, trial, done = state.copy(), state.copy(), 0
        while done < search.moves and not (search.time_budget is not None and time.perf_counter() - began > search.time_budget):
            hot = HOTTEST * (COLDEST / HOTTEST) ** (done / search.moves)
            try_moves(*task, state, kept, values, random, min(CHUNK, search.moves - done), hot, trial, touched, bands, trial_bands)
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
