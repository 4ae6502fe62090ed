"""Warm-up: compile the engine's kernels, or load them from the cache, before anything is timed."""

from __future__ import annotations

import time

import numpy as np

from wse import _jit
from wse.builder import ProgramBuilder
from wse.isa import Port
from wse.machine import Machine
from wse.program import Rect
from wse.progress import Progress
from wse.spec import load_spec

USUAL_SECONDS = 30.0
"""What compiling takes on a common machine: an estimate for those who wait, nothing else."""


def warm_up(progress: Progress) -> float:
    """Run a small program that passes two wavelets from the host through one PE; the seconds that took.

    After it every kernel that a run calls is compiled and cached.
    """
    started = time.perf_counter()
    if _jit.is_warm():
        _run()
    else:
        with progress.stage("compiling the engine, once per version", seconds=USUAL_SECONDS):
            _run()
    return time.perf_counter() - started


def _run() -> None:
    builder = ProgramBuilder(load_spec("toy"), 1, 1)
    here = Rect(0, 0, 1, 1)
    builder.route(here, 0, Port.WEST, [Port.RAMP])
    builder.route(here, 1, Port.RAMP, [Port.EAST])
    builder.input("in", 0, 0, 0, Port.WEST)
    builder.output("out", 0, 0, 1, Port.EAST)
    pe = builder.pes(here)
    pe.mov(pe.send(1), pe.recv(0), shape=2)
    machine = Machine(builder.link())
    machine.feed("in", np.ones(2, np.float32))
    machine.check(machine.run({"out": 2}))
