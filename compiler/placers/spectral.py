"""Spectral: draw the blocks by the two smoothest eigenvectors of their traffic graph, then give each a legal place near its point."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np

from wse.compiler.place import Placement
from wse.compiler.placers.explain import does_not_fit
from wse.compiler.placers.greedy import greedy_placements
from wse.compiler.placers.problem import Problem, Search


def place(problem: Problem, search: Search) -> Placement:
    """The best of the drawing and its three mirror images, each made legal. Raises `DoesNotFitError`."""
    traffic = nx.Graph()
    traffic.add_nodes_from(range(len(problem.names)))
    traffic.add_weighted_edges_from((a, b, problem.dim) for a, b in itertools.pairwise(range(len(problem.names))))
    drawn = nx.spectral_layout(traffic, dim=2) if len(traffic) > 2 else {i: (i, 0.0) for i in traffic}
    points = np.array([drawn[i] for i in range(len(problem.names))], float)
    points -= points.min(0)
    points /= np.maximum(points.max(0), 1e-9)
    found = []
    for flip_x, flip_y in itertools.product((False, True), repeat=2):
        mirrored = np.abs(points - (flip_x, flip_y))  # 0 .. 1 both ways

        def pull(i: int, xs: np.ndarray, ys: np.ndarray, width: int, height: int, at: np.ndarray = mirrored) -> np.ndarray:
            wanted = at[i] * (problem.width - width, problem.height - height)
            return np.abs(xs - wanted[0]) + np.abs(ys - wanted[1])

        found += [rects for _, rects in greedy_placements(problem, pull)]
    if not found:
        raise does_not_fit(problem)
    return problem.placement(min(found, key=lambda rects: problem.weigh(problem.cost(problem.placement(rects)))))
