"""Spectral: draw the blocks by the two smoothest eigenvectors of their traffic graph, then give each a legal place near its point.

Legal in two ways, the better of which is taken. Shelves: the drawing is cut into rows of blocks that the mesh has room for, the blocks
of a row stand in the drawing's order and each as near to its point as the others let it; all of one kind have one shape. This packs
tightly, so that it finds a place on a mesh that is nearly full. Or one block after another, in the free place nearest to its point;
this knows all constraints, and leaves holes.
"""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np

from wse.compiler.partition import Block
from wse.compiler.place import Placement
from wse.compiler.placers.explain import does_not_fit
from wse.compiler.placers.greedy import Rects, greedy_placements
from wse.compiler.placers.problem import Problem, Search
from wse.compiler.placers.snake import uniform_shapes
from wse.program import Rect


def place(problem: Problem, search: Search) -> Placement:
    """The best of the drawing and its mirror images, each made legal. Raises `DoesNotFitError`."""
    points, found = _draw(problem), []
    shapes = list(uniform_shapes(problem))
    for flip_x, flip_y in itertools.product((False, True), repeat=2):
        mirrored = np.abs(points - (flip_x, flip_y))  # 0 .. 1 both ways
        for drawing in (mirrored, mirrored[:, ::-1]):  # turned by a quarter too: shelves run one way only
            shelved = (_shelves(problem, blocks, drawing) for blocks in shapes)
            found += [rects for rects in shelved if rects is not None and problem.is_legal(rects)]

        def pull(i: int, xs: np.ndarray, ys: np.ndarray, width: int, height: int, at: np.ndarray = mirrored) -> np.ndarray:
            wanted = at[i] * (problem.width - width, problem.height - height)
            return np.abs(xs - wanted[0]) + np.abs(ys - wanted[1])

        found += [rects for _, rects in greedy_placements(problem, pull)]
    if not found:
        raise does_not_fit(problem)
    return problem.placement(min(found, key=lambda rects: problem.weigh(problem.cost(problem.placement(rects)))))


def _draw(problem: Problem) -> np.ndarray:
    """Float (blocks, 2): where each is in the drawing, 0 .. 1 both ways."""
    traffic = nx.Graph()
    traffic.add_nodes_from(range(len(problem.names)))
    traffic.add_weighted_edges_from((a, b, problem.dim) for a, b in itertools.pairwise(range(len(problem.names))))
    drawn = nx.spectral_layout(traffic, dim=2) if len(traffic) > 2 else {i: (i, 0.0) for i in traffic}
    points = np.array([drawn[i] for i in range(len(problem.names))], float)
    points -= points.min(0)
    points /= np.maximum(points.max(0), 1e-9)
    return points


def _shelves(problem: Problem, blocks: list[Block], points: np.ndarray) -> Rects | None:
    """Rows of blocks, filled from the top of the drawing down; None when they are taller than the mesh."""
    waiting = sorted(range(len(blocks)), key=lambda i: (round(points[i, 1], 9), round(points[i, 0], 9)))
    rects: dict[int, Rect] = {}
    y = 0
    while waiting:
        row = _fullest_row(problem, blocks, waiting, points, y)
        rects |= row
        waiting = waiting[len(row) :]
        bottoms = [there.y + there.height for rect in row.values() if (there := problem.footprint(rect)) is not None]
        y = max(bottoms, default=y + 1)
        if waiting and y >= problem.height:
            return None
    return tuple(rects[i] for i in range(len(blocks)))


def _fullest_row(problem: Problem, blocks: list[Block], waiting: list[int], points: np.ndarray, y: int) -> dict[int, Rect]:
    """As many of those that wait as fit side by side with their tops at `y`, what they skip included; maybe none."""
    for num in range(_how_many(problem, blocks, waiting), 0, -1):
        row = _row(problem, blocks, sorted(waiting[:num], key=lambda i: round(points[i, 0], 9)), points, y)
        if row is not None:
            return row
    return {}


def _how_many(problem: Problem, blocks: list[Block], waiting: list[int]) -> int:
    """How many of those that wait are no wider than the mesh together; the first of another height begins a row of its own."""
    used = 0
    for num, i in enumerate(waiting):
        used += blocks[i].width
        if used > problem.width or blocks[i].height != blocks[waiting[0]].height:
            return num
    return len(waiting)


def _row(problem: Problem, blocks: list[Block], row: list[int], points: np.ndarray, y: int) -> dict[int, Rect] | None:
    """Blocks side by side with their tops at `y`, in this order, each near its point if the others let it; None when they do not fit."""
    rest = sum(blocks[i].width for i in row)
    rects: dict[int, Rect] = {}
    x = 0
    for i in row:
        width, height = blocks[i].width, blocks[i].height
        wanted = max(x, min(round(points[i, 0] * (problem.width - width)), problem.width - rest))
        ways = sorted(range(x, problem.width - rest + 1), key=lambda at: abs(at - wanted))
        tried = ((rect, problem.footprint(rect)) for rect in (Rect(at, y, width, height) for at in ways))
        # among defects a block takes more than its width: those after it must still fit
        rest -= width
        rect, there = next(
            ((r, f) for r, f in tried if f is not None and f.x + f.width + rest <= problem.width and problem.mesh.contains(f)), (None, None)
        )
        if rect is None or there is None:
            return None
        rects[i], x = rect, there.x + there.width
    return rects
