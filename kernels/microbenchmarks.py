"""Microbenchmarks of WSE-3 that a third party ran on the vendor's simulator and on the chip, as programs: rates, hops, branches, tasks.

Each is the difference of two runs, so that what both have in common does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

from wse.builder import Pes, ProgramBuilder
from wse.isa import Done, Op, Type
from wse.kernels.calls import CalledProgram
from wse.kernels.line import Line, wire
from wse.kernels.workload import Workload
from wse.machine import Machine
from wse.program import Program, Rect
from wse.spec import MachineSpec

SIM, HW = "third party, vendor's simulator", "third party, hardware"
FEW, MANY = 256, 512
RATIO = "a beat is whole lanes in whole cycles"


def microbenchmarks() -> Iterator[Workload]:
    """All of them."""
    for name, kernel, type, simulated, measured in (
        ("copy f32", _copy, Type.F32, 4.0, 2.44),
        ("copy f16", _copy, Type.F16, 8.0, 4.82),
        ("multiply-accumulate f32", _accumulate, Type.F32, 0.5, 0.5),
        ("multiply-accumulate f16", _accumulate, Type.F16, 4.0, 2.92),
    ):
        work = partial(kernel, type=type)
        yield _per_unit(f"{name}, rate", "wse3", simulated, "elements per cycle", "calibrates", work, is_rate=True)
        yield _per_unit(f"{name}, rate on the chip", "wse3-hw", measured, "elements per cycle", "calibrates", work, RATIO, is_rate=True)
    for arch, where, per_wavelet, role, differs in (
        ("wse3", "", 1.0, "calibrates", ""),
        ("wse3-hw", " on the chip", 1.125, "validates", "a link moves a wavelet in every cycle"),
    ):
        source = SIM if arch == "wse3" else HW
        yield Workload(
            f"a router more on the way of a wavelet{where}", arch, 2.0, "cycles", source, "calibrates",
            lambda spec: [_stream(2, 1, spec), _stream(18, 1, spec)], lambda machines: _apart(machines) / 16,
        )  # fmt: skip
        yield Workload(
            f"a wavelet more over a link{where}", arch, per_wavelet, "cycles", source, role,  # type: ignore[arg-type]
            lambda spec: [_stream(2, FEW, spec), _stream(2, MANY, spec)], lambda machines: _apart(machines) / (MANY - FEW), differs,
        )  # fmt: skip
    yield Workload(
        "call of a copy, beyond N / rate", "wse3", 16.0, "cycles", SIM, "calibrates", _calls, _beyond_rate, "published as 15 to 17"
    )
    yield _per_unit("branch taken", "wse3", 6.0, "cycles", "calibrates", partial(_branches, op=Op.BGE))
    yield _per_unit("branch not taken", "wse3", 3.0, "cycles", "calibrates", partial(_branches, op=Op.BLT))
    yield _per_unit("back-edge of a loop", "wse3", 9.5, "cycles", "validates", _loop, "published as 9 to 10")
    yield Workload(
        "from an operation's end to the task that it starts", "wse3", 3.0, "cycles", SIM, "calibrates", _completion,
        lambda machines: _apart(machines) - machines[0].program.spec.issue_cycles,
    )  # fmt: skip


def _per_unit(
    name: str, arch: str, published: float, unit: str, role: Literal["calibrates", "validates"], work: Callable[[Pes, int], None],
    differs: str = "", is_rate: bool = False,
) -> Workload:  # fmt: skip
    """`work` on one PE `FEW` and `MANY` times, or on so many elements: cycles for one more, or how many more in a cycle."""
    per_cycle = lambda machines: (MANY - FEW) / _apart(machines)  # noqa: E731
    per_one = lambda machines: _apart(machines) / (MANY - FEW)  # noqa: E731
    source = SIM if arch == "wse3" else HW
    programs: Callable[[MachineSpec], list[Program]] = lambda spec: [_one_pe(work, num, spec) for num in (FEW, MANY)]  # noqa: E731
    return Workload(name, arch, published, unit, source, role, programs, per_cycle if is_rate else per_one, differs)


def _apart(machines: list[Machine]) -> float:
    return float(machines[1].cycles - machines[0].cycles)


def _one_pe(work: Callable[..., None], num: int, spec: MachineSpec, builder: Any = ProgramBuilder) -> Program:
    program = builder(spec, 1, 1)
    work(program.pes(Rect(0, 0, 1, 1)), num)
    return program.link()


def _copy(pe: Pes, num: int, type: Type) -> None:
    pe.mov(pe.zeros("to", num, type), pe.zeros("from", num, type), type=type)


def _accumulate(pe: Pes, num: int, type: Type) -> None:
    pe.fmac(pe.zeros("sum", num, type), pe.zeros("a", num, type), 1.0, type=type)


def _branches(pe: Pes, num: int, op: Op) -> None:
    """Comparisons of 0 with 0, one after another, each to the next."""
    zero = pe.program.reg(Type.I32)
    for _ in range(num):
        follows = pe.program.label("next")
        pe.branch(op, zero, 0, follows)
        pe.place(follows)


def _loop(pe: Pes, num: int) -> None:
    with pe.loop(num):
        pass


def _calls(spec: MachineSpec) -> list[Program]:
    """One call and two, each of a copy of `MANY` elements."""

    def copies(pe: Pes, num: int) -> None:
        for i in range(num):
            pe.mov(pe.zeros(f"to {i}", MANY), pe.zeros(f"from {i}", MANY))

    return [_one_pe(copies, num, spec, CalledProgram) for num in (1, 2)]


def _beyond_rate(machines: list[Machine]) -> float:
    spec = machines[0].program.spec
    return _apart(machines) - MANY / spec.move_lanes * spec.move_cycles


def _completion(spec: MachineSpec) -> list[Program]:
    """A copy by a microthread, and one whose end starts a task of one scalar instruction."""
    programs = []
    for num_tasks in (0, 1):
        program = ProgramBuilder(spec, 1, 1)
        pe = program.pes(Rect(0, 0, 1, 1))
        done = (Done.ACTIVATE, 1) if num_tasks else (Done.NOTHING, 0)
        pe.mov(pe.zeros("to", FEW), pe.zeros("from", FEW), thread=1, on_done=done)
        if num_tasks:
            program.pes(Rect(0, 0, 1, 1), task=1).mov(program.reg(), 0.0)
        programs.append(program.link())
    return programs


def _stream(length: int, num: int, spec: MachineSpec) -> Program:
    """`num` wavelets from one end of a row to the other."""
    program = ProgramBuilder(spec, length, 1)
    line = Line(Rect(0, 0, length, 1), "x")
    color = wire(program, line.path(0, length - 1))
    sender, receiver = program.pes(line.at(0)), program.pes(line.at(length - 1))
    sender.mov(sender.send(color), sender.zeros("from", num))
    receiver.mov(receiver.zeros("to", num), receiver.recv(color))
    return program.link()
