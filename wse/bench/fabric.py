"""Fabric benchmark: wavelet-hops per second of the engine on collectives along the rows of a mesh, beside NumPy's sum of the same data."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wse.builder import ProgramBuilder
from wse.kernels.allreduce import allreduce
from wse.kernels.broadcast import broadcast, broadcast_cycles
from wse.kernels.line import Line
from wse.kernels.reduce import CHAIN, reduce, reduce_cycles
from wse.machine import Machine
from wse.program import Rect
from wse.spec import MachineSpec
from wse.summary import channel_hops

STEPS: dict[str, Callable[..., Any]] = {"reduce": reduce, "broadcast": broadcast, "allreduce": allreduce}
PREDICTED: dict[str, Callable[[MachineSpec, int, int], int]] = {
    "reduce": lambda spec, length, num: reduce_cycles(spec, CHAIN, length, num),
    "broadcast": broadcast_cycles,
}


@dataclass(frozen=True)
class Case:
    """A collective of `num_wavelets` along every row of `size` x `size` PEs in the corner of a mesh of `mesh` x `mesh`."""

    step: str
    size: int
    num_wavelets: int
    mesh: int

    @property
    def name(self) -> str:
        corner = f" in the corner of {self.mesh}x{self.mesh}" if self.mesh != self.size else ""
        return f"{self.step} {self.size}x{self.size} w{self.num_wavelets}{corner}"

    @property
    def cost(self) -> float:
        """About how long it takes, in no particular unit: PEs to build, hops to run."""
        return self.size**2 * (20 + self.num_wavelets)


CORNER = (Case("reduce", 32, 1024, 32), Case("reduce", 32, 1024, 512))
"""The same program alone and in the corner of a large mesh: host time must hardly differ."""

LARGE = Case("allreduce", 512, 1, 512)
"""Its time to build and load is what a large program costs before it runs."""


def plan(sizes: list[tuple[int, int]]) -> list[Case]:
    """Reduce and broadcast for every (size, num_wavelets), then the fixed cases."""
    rows = [Case(step, size, num, size) for size, num in sizes for step in ("reduce", "broadcast")]
    return [*rows, *CORNER, LARGE]


def measure(spec: MachineSpec, case: Case, repetitions: int) -> dict[str, Any]:
    """The record of one case: cycles exact, host times the best of `repetitions`, NumPy's sum of the same data in the same run."""
    data = np.random.default_rng(0).standard_normal((case.size, case.size, case.num_wavelets)).astype(np.float32)
    build, load, run, numpy_run = (_Best() for _ in range(4))
    for _ in range(repetitions):
        program = ProgramBuilder(spec.replace(width=max(spec.width, case.mesh), height=max(spec.height, case.mesh)), case.mesh, case.mesh)
        with build:
            line = Line(Rect(0, 0, case.size, case.size), "x")
            STEPS[case.step](program, line, program.pes(line.rect).array("v", data))
            linked = program.link()
        with load:
            machine = Machine(linked)
        with run:
            machine.check(machine.run())
        with numpy_run:
            data.sum(axis=1)
    hops = int(channel_hops(linked, machine.counters()).sum())
    predict = PREDICTED.get(case.step)
    return {
        "test": case.name,
        "arch": spec.name,
        "mesh": f"{case.mesh}x{case.mesh}",
        "cycles": machine.cycles,
        "predicted_cycles": predict(spec, case.size, case.num_wavelets) if predict else None,
        "hops": hops,
        "repetitions": repetitions,
        "build_seconds": build.seconds,
        "load_seconds": load.seconds,
        "run_seconds": run.seconds,
        "wavelet_hops_per_s": hops / run.seconds,
        "numpy_seconds": numpy_run.seconds,
        "numpy_ratio": run.seconds / numpy_run.seconds,
    }


def corner_ratio(records: list[dict[str, Any]]) -> float:
    """Host time of the `CORNER` cases: in the corner, over alone."""
    alone, corner = (next(r["run_seconds"] for r in records if r["test"] == case.name) for case in CORNER)
    return corner / alone


class _Best:
    """The shortest of the times spent inside."""

    seconds = float("inf")

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds = min(self.seconds, time.perf_counter() - self._started)
