"""What timing tests share: small programs, and "not in cycle n - 1, in cycle n"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reference.machine import ReferenceMachine
from wse.builder import Pes, ProgramBuilder
from wse.isa import Port
from wse.operands import Reg
from wse.program import Program, Rect
from wse.spec import load_spec

N, E, S, W, RAMP = Port.NORTH, Port.EAST, Port.SOUTH, Port.WEST, Port.RAMP
HERE = Rect(0, 0, 1, 1)
F0, F1 = Reg(10), Reg(11)
FOREVER = 10**6


def builder(width: int = 1, height: int = 1, **numbers: int) -> ProgramBuilder:
    return ProgramBuilder(load_spec("wse2", **{"task_start_cycles": 0, "num_microthreads": 2, **numbers}), width, height)


def load(program: ProgramBuilder | Program, feeds: dict[str, int] | None = None) -> ReferenceMachine:
    """A machine whose host inputs were fed that many wavelets each, numbered 0, 1, …"""
    machine = ReferenceMachine(program.link() if isinstance(program, ProgramBuilder) else program)
    for name, num in (feeds or {}).items():
        machine.feed(name, np.arange(num, dtype=np.int32))
    return machine


def advance(machine: ReferenceMachine, cycle: int) -> dict[str, np.ndarray]:
    """The state after cycles 0 .. cycle-1, whether or not the programs have ended."""
    outputs = {port.name: FOREVER for port in machine.program.host_out}
    machine.run(outputs or None, max_cycles=cycle)
    return machine.snapshot()


def assert_first_in(cycle: int, program: ProgramBuilder, happened: Callable[[dict[str, np.ndarray]], Any], **feeds: int) -> None:
    """`happened` is false of the state at the end of cycle - 1 and true of that at the end of `cycle`."""
    machine = load(program, feeds)
    assert not happened(advance(machine, cycle)), f"before cycle {cycle}"
    assert happened(advance(machine, cycle + 1)), f"not in cycle {cycle}"


def on_one_pe(code: Callable[[Pes], None], **numbers: int) -> ProgramBuilder:
    program = builder(**numbers)
    code(program.pes(HERE))
    return program


def receiver(start: int = 0, num: int = 20, **numbers: int) -> ProgramBuilder:
    """Host -> router -> core, which receives `num` wavelets from cycle `start` on."""
    program = builder(control_cycles=max(start, 1), **numbers)
    program.route(HERE, 0, W, [RAMP])
    program.input("in", 0, 0, 0, W)
    pe = program.pes(HERE)
    if start:
        pe.unblock(0)
    pe.mov(pe.zeros("y", num), pe.recv(0))
    return program


def sender(num: int = 1, **numbers: int) -> ProgramBuilder:
    """Core -> router -> host."""
    program = builder(**numbers)
    program.route(HERE, 0, RAMP, [E])
    program.output("out", 0, 0, 0, E)
    pe = program.pes(HERE)
    pe.mov(pe.send(0), pe.zeros("x", num))
    return program
