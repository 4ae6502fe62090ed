"""Random small programs that exercise everything the machine can do, for comparing two machines.

Most programs end; some deadlock, fault, or loop for ever. Statements can be dropped one by one, which is how `reduce` makes
a failing case small. The same seed and features give the same case for ever: seeds that found bugs are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from reference.features import FEATURES, FeaturePlanner
from reference.ground import Case, Run
from reference.planner import Planner

__all__ = ["FEATURES", "Case", "Run", "random_case", "reduce"]


def random_case(seed: int, dropped: Collection[int] = (), features: Collection[str] = ()) -> Case:
    """The case of `seed` with any of `FEATURES`, without the statements `dropped`."""
    planner = FeaturePlanner(seed, frozenset(features)) if features else Planner(seed)
    return planner.case(dropped)


def reduce(seed: int, fails: Callable[[Case], bool], features: Collection[str] = ()) -> Case:
    """The case of `seed` with statements dropped, in ever smaller groups, as long as it still fails."""
    dropped: set[int] = set()
    group = len(random_case(seed, features=features).statements)
    while group:
        left = random_case(seed, dropped, features).statements
        for start in range(0, len(left), group):
            attempt = dropped | set(left[start : start + group])
            if fails(random_case(seed, attempt, features)):
                dropped = attempt
        group //= 2
    return random_case(seed, dropped, features)
