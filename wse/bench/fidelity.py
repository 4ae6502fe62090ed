"""Fidelity benchmark: cycles that others published beside those of the same workloads here, and how far apart they are."""

from __future__ import annotations

import statistics
import time
from fnmatch import fnmatchcase
from typing import Any

from wse.errors import ConfigError
from wse.kernels.published import workloads
from wse.kernels.workload import Workload


def plan(only: str = "", full: bool = False) -> list[Workload]:
    """The workloads with `only`, a pattern with * and ?, anywhere in their names; those that take long only when `full` or predicted.

    Raises `ConfigError` when there are none.
    """
    everything = list(workloads())
    named = [workload for workload in everything if fnmatchcase(workload.name.lower(), f"*{only.lower()}*")]
    chosen = [workload for workload in named if full or not workload.is_long or workload.predict]
    if not named:
        kinds = dict.fromkeys(workload.name.partition(",")[0] for workload in everything)
        raise ConfigError(f"--only: no workload is like '{only}'", notes=[f"there are: {', '.join(kinds)}"])
    if not chosen:
        raise ConfigError(f"--only: what is like '{only}' takes long: {'; '.join(w.name for w in named)}", help="add --full")
    return chosen


def measure(workload: Workload, full: bool = False) -> dict[str, Any]:
    """The record of one workload. `cycles` are those of all its programs; `measured` is in the published number's unit.

    One that takes long is predicted if it can be, and run when `full`; `by` says which, and a prediction has no `cycles`.
    """
    started = time.perf_counter()
    cycles = None
    if workload.predict and not full:
        measured = workload.predict(workload.spec)
    else:
        machines = workload.run()
        measured, cycles = workload.value(machines), sum(machine.cycles for machine in machines)
    seconds = time.perf_counter() - started
    return {
        "test": workload.name,
        "arch": workload.arch,
        "settings": workload.settings,
        "unit": workload.unit,
        "published": workload.published,
        "measured": measured,
        "deviation_frac": measured / workload.published - 1,
        "by": "prediction" if cycles is None else "run",
        "role": workload.role,
        "source": workload.source,
        "differs": workload.differs,
        "cycles": cycles,
        "host_seconds": seconds,
    }


def summarize(records: list[dict[str, Any]]) -> str:
    """One line: median and worst deviation, either way, of the rows that validate. Those that calibrated a constant do not count."""
    validating = [record for record in records if record["role"] == "validates"]
    if not validating:
        return "no row validates: all of these calibrated a constant"
    off = lambda record: abs(record["deviation_frac"])  # noqa: E731
    worst = max(validating, key=off)
    median = statistics.median(map(off, validating))
    what = f"{len(validating)} of {len(records)} rows validate"
    return f"{what}: median deviation {median:.1%}, worst {worst['deviation_frac']:+.1%} ({worst['test']})"
