"""What kernel tests share: one kernel on a small machine, its hops from the counters, and expected against measured cycles."""

from __future__ import annotations

import numpy as np

from wse.builder import ProgramBuilder
from wse.isa import Port
from wse.kernels.line import Line
from wse.machine import Machine
from wse.program import Rect

LINKS = (1 << Port.RAMP) - 1  # the tx ports that are links


def run(program):
    """The machine after the builder's program has run to its end."""
    machine = Machine(program.link())
    machine.check(machine.run())
    return machine


def run_line(spec, data, step, axis="x", lines=1):
    """(machine, colors taken) after `step(program, line, value)`, with data (length, num) as the array "v" on each of `lines` lines."""
    length, num = data.shape
    width, height = (length, lines) if axis == "x" else (lines, length)
    program = ProgramBuilder(spec, width, height)
    line = Line(Rect(0, 0, width, height), axis)
    value = program.pes(line.rect).array("v", np.broadcast_to(data if axis == "x" else data[:, None], (height, width, num)))
    step(program, line, value)
    return run(program), len(program.routes.at)


def read_line(machine, length, name="v", axis="x", line=0):
    """The array `name` of all PEs of a line, stacked."""
    return np.stack([machine.read(*((i, line) if axis == "x" else (line, i)), name) for i in range(length)])


def count_hops(machine):
    """Wavelets times links crossed, from the machine's counters."""
    links = np.bitwise_count((machine.program.channel_tx & LINKS).astype(np.uint8)).astype(np.int64)
    return int((machine.counters().sent * links).sum())


def check_cycles(what, expected, measured, within=0):
    """Hold a measured cycle count to what was predicted; the message says expected, measured, deviation."""
    deviation = measured - expected
    share = deviation / max(expected, 1)
    assert abs(deviation) <= within, f"{what}: expected {expected}, measured {measured}, deviation {deviation:+g} ({share:+.1%})"


def random_values(length, num):
    """Reproducible f32 data (length, num)."""
    return np.random.default_rng(length * 1000 + num).standard_normal((length, num)).astype(np.float32)


def sum_tolerance(values):
    """Rounding of P - 1 f32 additions in any order: (P - 1) 2^-24 sum |x|, per element."""
    return (len(values) - 1) * 2.0**-24 * np.abs(values.astype(np.float64)).sum(0) + 1e-45
