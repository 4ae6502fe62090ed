"""Greedy: one block after another, each in the shape and place that adds least to the cost.

Pinned blocks come first, then constrained ones, then the free ones along the chain. Where a shape can go at all is read off
a table of sums over the mesh, so a keep-out area or an odd corner costs nothing extra.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from wse.compiler.cost import Cost
from wse.compiler.place import Placement
from wse.compiler.placers.explain import does_not_fit, free_pes
from wse.compiler.placers.problem import Problem, Search
from wse.compiler.placers.snake import snake
from wse.program import Rect

Rects = tuple[Rect, ...]
Pull = Callable[[int, np.ndarray, np.ndarray, int, int], np.ndarray]
"""(block, xs, ys, width, height) -> how far a rectangle with its corner there is from where the block should be."""
NUM_SHAPES = 6  # tried per block, of least cost
NEAR = 400  # places looked at in full per shape, nearest to its neighbours in the chain


def place(problem: Problem, search: Search) -> Placement:
    """The best of a few orders and sets of shapes. Raises `DoesNotFitError`."""
    found = [rects for _, rects in greedy_placements(problem)]
    if not found:
        raise does_not_fit(problem)
    return problem.placement(min(found, key=lambda rects: problem.weigh(problem.cost(problem.placement(rects)))))


def try_place(problem: Problem) -> Rects | None:
    """Any legal placement, or None: the first the greedy placer, or a snake of the smallest shapes, comes to."""
    small = small_snake(problem)
    return small if small is not None else next((rects for _, rects in greedy_placements(problem)), None)


def small_snake(problem: Problem) -> Rects | None:
    """The snake of the smallest shapes, if it is legal; None as well for a problem whose constraints a snake does not know."""
    if problem.constraints.pins or problem.constraints.spans or problem.constraints.relations:
        return None
    rects = snake([min(shapes, key=lambda block: (block.num_pes, block.height)) for shapes in problem.shapes], problem.width)
    return rects if rects is not None and problem.is_legal(rects) else None


def greedy_placements(problem: Problem, pull: Pull | None = None) -> Iterator[tuple[str, Rects]]:
    """(how, rectangles) of each attempt that ends well: shapes by cost, then small ones; along the chain, then large blocks first."""
    for shapes in ("cheap", "balanced", "small"):
        for order in ("chain", "large first"):
            rects = _attempt(problem, shapes, order, pull)
            if rects is not None and problem.is_legal(rects):
                yield f"{shapes} shapes, {order}", rects


def _attempt(problem: Problem, by: str, order_by: str, pull: Pull | None) -> Rects | None:
    names, wishes = problem.names, problem.constraints
    related = {name for relation in wishes.relations for name in (relation.block, relation.other)}
    size = [min(block.num_pes for block in shapes) for shapes in problem.shapes]

    def rank(i: int) -> tuple[int, float, int]:
        first = 0 if names[i] in wishes.pins else 1 if names[i] in related or names[i] in wishes.spans else 2
        return first, -size[i] if order_by == "large first" else 0, i

    free = free_pes(problem)
    placed: dict[int, Rect] = {}
    room = {name: problem.area(i).num_pes for i, name in enumerate(names)}
    for i in sorted(range(len(names)), key=lambda i: (rank(i)[0], room[names[i]] if rank(i)[0] == 1 else 0, *rank(i)[1:])):
        rect = _best_rect(problem, i, placed, free, by, pull)
        if rect is None:
            return None
        placed[i] = rect
        free[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] = False
    return tuple(placed[i] for i in range(len(names)))


def _best_rect(problem: Problem, i: int, placed: dict[int, Rect], free: np.ndarray, by: str, pull: Pull | None) -> Rect | None:
    """Where block i costs least, given the blocks already placed; None when it fits nowhere."""
    blocks = problem.shapes[i]
    score: Callable[[Cost, int], tuple[float, float]] = {
        "cheap": lambda cost, num_pes: (problem.weigh(cost), 0.0),
        "balanced": lambda cost, num_pes: (problem.weigh(cost) * num_pes, 0.0),
        "small": lambda cost, num_pes: (num_pes, problem.weigh(cost)),
    }[by]
    sums = np.zeros((problem.height + 1, problem.width + 1), np.int64)
    sums[1:, 1:] = free.cumsum(0).cumsum(1)
    best: tuple[tuple[float, float], Rect] | None = None
    for k in sorted(range(len(blocks)), key=lambda k: (score(problem.costs[i][k], blocks[k].num_pes), k))[:NUM_SHAPES]:
        width, height = blocks[k].width, blocks[k].height
        ys, xs = np.nonzero(_legal_corners(problem, i, placed, sums, width, height))
        if not len(xs):
            continue
        distance = pull(i, xs, ys, width, height) if pull else _distance(problem, i, placed, xs, ys, width, height)
        for j in np.lexsort((xs, ys, distance))[:NEAR]:
            rect = Rect(int(xs[j]), int(ys[j]), width, height)
            cost = problem.costs[i][k]
            if i == 0 or i - 1 in placed:
                cost += problem.net(i, placed.get(i - 1), rect)
            if i == len(problem.names) - 1 or i + 1 in placed:
                cost += problem.net(i + 1, rect, placed.get(i + 1))
            value = score(cost, blocks[k].num_pes)
            if best is None or value < best[0]:
                best = (value, rect)
    return best[1] if best else None


def _legal_corners(problem: Problem, i: int, placed: dict[int, Rect], sums: np.ndarray, width: int, height: int) -> np.ndarray:
    """bool (height, width): north-west corners at which a rectangle of this size is free and keeps block i's constraints."""
    legal = np.zeros((problem.height, problem.width), bool)
    area = problem.area(i)
    if width > area.width or height > area.height:
        return legal
    full = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width] == width * height
    legal[: full.shape[0], : full.shape[1]] = full
    kept = np.zeros_like(legal)
    kept[area.y : area.y + area.height - height + 1, area.x : area.x + area.width - width + 1] = True
    pin = problem.constraints.pins.get(problem.names[i])
    if pin is not None:
        here = np.zeros_like(legal)
        if pin[0] < problem.width and pin[1] < problem.height:
            here[pin[1], pin[0]] = True
        kept &= here
    legal &= kept
    index = {name: j for j, name in enumerate(problem.names)}
    for relation in problem.constraints.relations:
        for mine, other in ((relation.block, relation.other), (relation.other, relation.block)):
            there = placed.get(index[other])
            if mine == problem.names[i] and there is not None:
                ys, xs = np.nonzero(legal)
                legal[ys, xs] = [relation.holds(Rect(int(x), int(y), width, height), there) for x, y in zip(xs, ys, strict=True)]
    return legal


def _distance(problem: Problem, i: int, placed: dict[int, Rect], xs: np.ndarray, ys: np.ndarray, width: int, height: int) -> np.ndarray:
    """How far corners are from block i's neighbours in the chain, and from the mesh's west edge for the first; ties to the north-west."""
    total = np.zeros(len(xs))
    near = [placed[j] for j in (i - 1, i + 1) if j in placed]
    for there in near:
        across = np.maximum(np.maximum(there.x - xs - width + 1, xs - there.x - there.width + 1), 0)
        total += across + np.abs(ys - there.y)
    if not near or i == 0:
        total = total + xs + ys / 2
    return total
