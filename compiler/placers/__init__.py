"""Placers: from a `Problem` to a legal `Placement`, each a pure function of the problem and the search's seed.

`PLACERS` names them; each is loaded when it is asked for, so that one that needs an extra package burdens nobody else.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import replace

from wse.compiler.place import Placement
from wse.compiler.placers.explain import impossible
from wse.compiler.placers.problem import Problem, Search
from wse.errors import ConfigError, nearest

PLACERS = {
    "snake": "rows of blocks in their default shapes, east and back west: the baseline",
    "greedy": "block after block, in the shape and place of least cost beside what is there",
    "spectral": "blocks drawn by the spectrum of their traffic graph, then made legal",
    "anneal": "simulated annealing of shapes and places from several starts",
    "exact": "proved optimum of a small graph with CP-SAT (extra: wse[search])",
}

__all__ = ["PLACERS", "Problem", "Search", "find_placement"]


def find_placement(problem: Problem, placer: str, search: Search) -> Placement:
    """The placement the named placer finds, checked, with what it is predicted to cost in `about`.

    Raises `ConfigError` for a placer unknown, `DoesNotFitError` with the smallest reason when none is found.
    """
    if placer not in PLACERS:
        raise ConfigError(f"no placer is called '{placer}'", help=nearest(placer, PLACERS))
    place: Callable[[Problem, Search], Placement] = importlib.import_module(f"wse.compiler.placers.{placer}").place
    reason = impossible(problem)
    if reason is not None:
        raise reason
    placement = place(problem, search)
    problem.verify(placement)
    cost, bound = problem.cost(placement), problem.lower_bound
    about = {
        "placer": placer, "seed": search.seed, "objective": problem.objective, "predicted_cycles_per_token": math.ceil(cost.cycles),
        "predicted_hops_per_token": int(cost.hops),
        "lower_bound": {"cycles": math.ceil(problem.bounds.cycles), "hops": int(problem.bounds.hops)},
        "gap_frac": round(problem.weigh(cost) / bound - 1, 4),
    }  # fmt: skip
    return replace(placement, about=about | dict(placement.about))
