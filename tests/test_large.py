"""A program for every usable PE of a WSE-2 builds and loads within bounds; its own process, so that the peak is its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

BUILD = """
import resource, time
import numpy as np
from wse.builder import ProgramBuilder
from wse.kernels.gemv import gemv
from wse.kernels.line import Line
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec

def build(width, height):
    program, rect = ProgramBuilder(load_spec("wse2"), width, height), Rect(0, 0, width, height)
    pe = program.pes(rect)
    tile = pe.array("A", np.ones((height, width, 8, 8), np.float32))
    gemv(program, Line(rect, "x"), pe.zeros("y", 8), tile, pe.zeros("x", 8))
    return Machine(program.link())

build(4, 4)  # compile what loading needs
started = time.process_time()  # of this thread's work, as other jobs may share the machine
machine = build(750, 994)
assert len(machine.program.core_pe) == 750 * 994
print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


@pytest.mark.nightly
def test_a_program_for_the_whole_wafer_builds_and_loads_in_20_s_and_12_gb() -> None:
    done = subprocess.run([sys.executable, "-c", BUILD], capture_output=True, text=True, timeout=300, check=True)
    seconds, gb = map(float, done.stdout.split())
    assert seconds <= 20 and gb <= 12, (seconds, gb)
