"""Snake: rows of blocks, east along the first, back west along the next. The baseline, and where others start from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from wse.compiler.cost import Part
from wse.compiler.partition import Block
from wse.compiler.place import Placement
from wse.compiler.placers.explain import does_not_fit
from wse.compiler.placers.problem import Problem, Search
from wse.errors import ConfigError
from wse.program import Rect


def place(problem: Problem, search: Search) -> Placement:
    """Default shapes if they fit; else the shapes, one for all blocks of a kind, that fit at least cost."""
    wishes = problem.constraints
    if wishes.pins or wishes.relations or wishes.spans:
        raise ConfigError("the snake placer knows shapes, sides and keep-out areas, but no other constraints", help="use --placer greedy")
    rects = find_snake(problem)
    if rects is None:
        raise does_not_fit(problem)
    return problem.placement(rects)


def find_snake(problem: Problem) -> tuple[Rect, ...] | None:
    """What `place` finds, or None."""
    default = lay_snake(problem, [shapes[0] for shapes in problem.shapes])
    if default is not None and problem.is_legal(default):
        return default
    return next((rects for _, rects in best_snakes(problem, 1)), None)


def snake(blocks: list[Block], width: int) -> tuple[Rect, ...] | None:
    """Rectangles in rows of at most `width` PEs; None when a block is wider."""
    rows: list[list[Block]] = [[]]
    used = 0
    for block in blocks:
        if block.width > width:
            return None
        if used + block.width > width:
            rows.append([])
            used = 0
        rows[-1].append(block)
        used += block.width
    rects, y, start = [], 0, 0
    for i, row in enumerate(rows):
        x = start
        for block in row:
            at = x if i % 2 == 0 else x - block.width
            rects.append(Rect(at, y, block.width, block.height))
            x += block.width if i % 2 == 0 else -block.width
        y += max(block.height for block in row)
        # the next row starts above where this one ends, if it fits there
        ahead = sum(block.width for block in rows[i + 1]) if i + 1 < len(rows) else 0
        start = max(x, ahead) if i % 2 == 0 else min(x, width - ahead)
    return tuple(rects)


def lay_snake(problem: Problem, blocks: list[Block]) -> tuple[Rect, ...] | None:
    """The snake of these blocks on the problem's mesh; where something is dead, each block as far on as it must. None when too long."""
    if problem.footprints is None:
        return snake(blocks, problem.width)
    rects: list[Rect] = []
    left, right, eastward = 0, problem.width, True  # what is free of the row of blocks at hand
    y = bottom = 0
    for block in blocks:
        while True:
            xs = range(left, right - block.width + 1) if eastward else range(right - block.width, left - 1, -1)
            tried = ((Rect(x, y, block.width, block.height), problem.footprint(Rect(x, y, block.width, block.height))) for x in xs)
            rect, there = next(((r, f) for r, f in tried if f is not None and f.x + f.width <= right), (None, None))
            if rect is not None and there is not None:
                break
            if y + block.height >= problem.height:
                return None
            # the next row of blocks, back the other way; or, if this one is empty still, one row of PEs further down
            eastward = eastward if bottom == y else not eastward
            y = max(bottom, y + 1)
            left, right, bottom = 0, problem.width, y
        rects.append(rect)
        bottom = max(bottom, there.y + there.height)
        left, right = (there.x + there.width, right) if eastward else (left, there.x)
    return tuple(rects)


def best_snakes(problem: Problem, num: int) -> list[tuple[float, tuple[Rect, ...]]]:
    """The `num` legal snakes of least cost, each with one shape for all blocks of a kind, (cost, rectangles) in order."""
    found = []
    for shapes in uniform_shapes(problem):
        rects = lay_snake(problem, shapes)
        if rects is not None and max(rect.y + rect.height for rect in rects) <= problem.height and problem.is_legal(rects):
            found.append((problem.weigh(problem.cost(problem.placement(rects))), rects))
    return sorted(found, key=lambda pair: (pair[0], [(r.x, r.y, r.width, r.height) for r in pair[1]]))[:num]


def uniform_shapes(problem: Problem) -> Iterator[list[Block]]:
    """The shapes of all blocks, those of one kind alike, in every combination whose PEs the mesh has."""
    of_part: dict[tuple[Part, int], tuple[Block, ...]] = {}
    for shapes in problem.shapes:
        of_part.setdefault((shapes[0].part, len(shapes)), shapes)
    keys = list(of_part)
    for combination in itertools.product(*(range(len(of_part[key])) for key in keys)):
        index = dict(zip(keys, combination, strict=True))
        blocks = [shapes[index[shapes[0].part, len(shapes)]] for shapes in problem.shapes]
        if sum(block.num_pes for block in blocks) <= problem.mesh.num_pes:
            yield blocks


def default_mesh(blocks: tuple[Block, ...], width: int, height: int) -> tuple[int, int] | None:
    """The smallest near-square mesh, at most `width` x `height`, on which the snake of these blocks fits."""
    first = max(max(block.width for block in blocks), math.isqrt(sum(block.num_pes for block in blocks)))
    sizes = []
    for w in range(first, min(width, 4 * first) + 1):
        rects = snake(list(blocks), w)
        if rects is not None and (h := max(r.y + r.height for r in rects)) <= height:
            sizes.append((w, h))
    return min(sizes, key=lambda size: (max(size), size[0] * size[1]), default=None)
