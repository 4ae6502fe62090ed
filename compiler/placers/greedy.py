"""Greedy: one block after another, each in the shape and place that adds least to the cost.

Pinned blocks come first, then constrained ones, then the free ones along the chain. Where a shape can go at all is read off
a table of sums over the mesh, so a keep-out area or an odd corner costs nothing extra.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from wse.compiler.cost import Cost
from wse.compiler.partition import FEW_PES, Block
from wse.compiler.place import Placement
from wse.compiler.placers.explain import does_not_fit
from wse.compiler.placers.problem import Problem, Search
from wse.compiler.placers.snake import lay_snake
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
    rects = lay_snake(problem, [min(shapes, key=lambda block: (block.num_pes, block.height)) for shapes in problem.shapes])
    return rects if rects is not None and problem.is_legal(rects) else None


def greedy_placements(problem: Problem, pull: Pull | None = None) -> Iterator[tuple[str, Rects]]:
    """(how, rectangles) of each attempt that ends well: shapes by cost, then small ones; along the chain, then large blocks first.

    Where something is dead, and sizes on the mesh are odd, packings come last: they look at room alone.
    """
    for shapes in ("cheap", "balanced", "small"):
        for order in ("chain", "large first"):
            rects = _attempt(problem, shapes, order, pull)
            if rects is not None and problem.is_legal(rects):
                yield f"{shapes} shapes, {order}", rects
    if problem.footprints is not None:
        largest = max(range(len(problem.names)), key=lambda i: (_least_pes(problem, i), i))
        for shape in problem.shapes[largest]:
            for by_columns in (True, False):
                rects = _pack(problem, largest, shape, by_columns)
                if rects is not None and problem.is_legal(rects):
                    yield f"packed by {'columns' if by_columns else 'rows'}", rects


def _attempt(problem: Problem, by: str, order_by: str, pull: Pull | None) -> Rects | None:
    return _one_by_one(problem, order_by == "large first", lambda i, placed, free: _best_rect(problem, i, placed, free, by, pull))


def _one_by_one(
    problem: Problem, large_first: bool, choose: Callable[[int, dict[int, Rect], np.ndarray], Rect | None]
) -> Rects | None:
    """Every block where `choose(block, those placed, free PEs)` puts it: pinned ones, then constrained ones, then the others."""
    names, wishes = problem.names, problem.constraints
    related = {name for relation in wishes.relations for name in (relation.block, relation.other)}

    def rank(i: int) -> tuple[int, float, int]:
        first = 0 if names[i] in wishes.pins else 1 if names[i] in related or names[i] in wishes.spans else 2
        return first, -_least_pes(problem, i) if large_first else 0, i

    free = problem.open.copy()
    placed: dict[int, Rect] = {}
    room = {name: problem.area(i).num_pes for i, name in enumerate(names)}
    for i in sorted(range(len(names)), key=lambda i: (rank(i)[0], room[names[i]] if rank(i)[0] == 1 else 0, *rank(i)[1:])):
        rect = choose(i, placed, free)
        if rect is None:
            return None
        placed[i] = rect
        there = problem.footprint(rect) or rect
        free[there.y : there.y + there.height, there.x : there.x + there.width] = False
    return tuple(placed[i] for i in range(len(names)))


def _least_pes(problem: Problem, i: int) -> int:
    return min(block.num_pes for block in problem.shapes[i])


def _pack(problem: Problem, largest: int, shape: Block, by_columns: bool) -> Rects | None:
    """The largest block, in this shape, in a corner of the mesh where it skips least; the others as far west (or north) as they can be."""

    def choose(i: int, placed: dict[int, Rect], free: np.ndarray) -> Rect | None:
        few = FEW_PES * _least_pes(problem, i)
        best: tuple[tuple[int, ...], Rect] | None = None
        for block in (shape,) if i == largest else (block for block in problem.shapes[i] if block.num_pes <= few):
            ys, xs = np.nonzero(_legal_corners(problem, i, placed, _sums(free), block.width, block.height))
            if not len(xs):
                continue
            assert problem.footprints is not None
            sizes = problem.footprints.skipped(block.width, block.height)[ys, xs] + (block.width, block.height)
            areas = sizes[:, 0] * sizes[:, 1]
            if i == largest:
                edges = [np.minimum(at, end - at - size) for at, end, size in zip((xs, ys), free.shape[::-1], sizes.T, strict=True)]
                keys = [areas, edges[0], edges[1]]
            else:
                keys = [xs, ys, areas] if by_columns else [ys, xs, areas]
            j = np.lexsort(keys[::-1])[0]
            key = tuple(int(of[j]) for of in keys)
            if best is None or key < best[0]:
                best = (key, Rect(int(xs[j]), int(ys[j]), block.width, block.height))
        return best[1] if best else None

    return _one_by_one(problem, True, choose)


def _sums(free: np.ndarray) -> np.ndarray:
    """int64 (height + 1, width + 1): how many PEs north and west of each corner are free."""
    sums = np.zeros((free.shape[0] + 1, free.shape[1] + 1), np.int64)
    sums[1:, 1:] = free.cumsum(0).cumsum(1)
    return sums


def _best_rect(problem: Problem, i: int, placed: dict[int, Rect], free: np.ndarray, by: str, pull: Pull | None) -> Rect | None:
    """Where block i costs least, given the blocks already placed; None when it fits nowhere."""
    blocks = problem.shapes[i]
    score: Callable[[Cost, int], tuple[float, float]] = {
        "cheap": lambda cost, num_pes: (problem.weigh(cost), 0.0),
        "balanced": lambda cost, num_pes: (problem.weigh(cost) * num_pes, 0.0),
        "small": lambda cost, num_pes: (num_pes, problem.weigh(cost)),
    }[by]
    sums = _sums(free)
    best: tuple[tuple[float, float], Rect] | None = None
    for k in sorted(range(len(blocks)), key=lambda k: (score(problem.costs[i][k], blocks[k].num_pes), k))[:NUM_SHAPES]:
        width, height = blocks[k].width, blocks[k].height
        ys, xs = np.nonzero(_legal_corners(problem, i, placed, sums, width, height))
        if not len(xs):
            continue
        distance = pull(i, xs, ys, width, height) if pull else _distance(i, placed, xs, ys, width)
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
    if problem.footprints is not None:
        skipped = problem.footprints.skipped(width, height)
        ys, xs = np.nonzero(legal & kept & (skipped[..., 0] >= 0))
        rights, bottoms = xs + width + skipped[ys, xs, 0], ys + height + skipped[ys, xs, 1]
        inside = (rights <= area.x + area.width) & (bottoms <= area.y + area.height)
        full = sums[bottoms, rights] - sums[ys, rights] - sums[bottoms, xs] + sums[ys, xs] == (rights - xs) * (bottoms - ys)
        kept[...] = False
        kept[ys[inside & full], xs[inside & full]] = True
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
            there = problem.footprint(placed[index[other]]) if index[other] in placed else None
            if mine == problem.names[i] and there is not None:
                ys, xs = np.nonzero(legal)
                heres = [problem.footprint(Rect(x, y, width, height)) for x, y in zip(xs.tolist(), ys.tolist(), strict=True)]
                legal[ys, xs] = [here is not None and relation.holds(here, there) for here in heres]
    return legal


def _distance(i: int, placed: dict[int, Rect], xs: np.ndarray, ys: np.ndarray, width: int) -> np.ndarray:
    """How far corners are from block i's neighbours in the chain, and from the mesh's west edge for the first; ties to the north-west."""
    total = np.zeros(len(xs))
    near = [placed[j] for j in (i - 1, i + 1) if j in placed]
    for there in near:
        across = np.maximum(np.maximum(there.x - xs - width + 1, xs - there.x - there.width + 1), 0)
        total += across + np.abs(ys - there.y)
    if not near or i == 0:
        total = total + xs + ys / 2
    return total
