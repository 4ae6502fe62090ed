"""Kernels as the vendor's compiler leaves them: a vector operation is a call, and around it are scalar instructions.

For published numbers only. What is known: a microbenchmark of vector operations fits 15 to 17 cycles + N / rate, of which the machine's
own set-up is 1 to 3 (third-party measurement, vendor's simulator, WSE-3): the rest loads descriptors. A kernel whose own cycles on the
chip say less (MeshGEMV) gives its own number. What is assumed: the source's other statements become the scalar instructions that they
need at least, each at what such an instruction costs here; a descriptor in memory is read, changed and written back; a function that
is used more than once is jumped to and back from; a condition is a load and a branch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wse.builder import MAIN_TASK, Pes, ProgramBuilder
from wse.isa import Op, Type
from wse.kernels.cost import issue_wait, vector_cycles
from wse.operands import Label, Recv, Reg, Send, View, common_shape
from wse.program import Rect
from wse.spec import MachineSpec

CALL_CYCLES = 16
UPDATE_INSTRUCTIONS = 3


@dataclass
class CalledProgram(ProgramBuilder):
    """A program builder of such kernels; a vector operation takes `call_cycles` before its first beat, or a cycle or so less or more.

    One on a single element and without a fabric end is a scalar instruction, and takes what it takes.
    """

    call_cycles: int = CALL_CYCLES

    def __post_init__(self) -> None:
        super().__post_init__()
        self._scratch = self.reg(Type.I32)

    def pes(self, rect: Rect, task: int = MAIN_TASK) -> CalledPes:
        """As in `ProgramBuilder`."""
        pe = super().pes(rect, task)
        return CalledPes(self, pe.rect, pe.task, pe.area, self._scratch, self.call_cycles)


@dataclass(frozen=True)
class CalledPes(Pes):
    """`Pes` with calls, and with the scalar instructions that compiled code has between them."""

    scratch: Reg
    call_cycles: int

    def vector(self, op: Op, d: Any, a: Any, b: Any, **how: Any) -> None:
        """As in `Pes`; a call's loads of descriptors are scalar instructions. `is_call`: it is one on a single element too."""
        is_call = how.pop("is_call", False)
        operands = (d, a, b)
        views = [operand for operand in operands if isinstance(operand, View)]
        shape = how.get("shape")
        extents = common_shape(views, shape if isinstance(shape, tuple) or shape is None else (shape,))
        is_one = math.prod(extent for extent in extents if isinstance(extent, int)) <= 1
        if is_call or any(isinstance(operand, (Recv, Send)) for operand in operands) or (views and not is_one):
            self.statements(_loads(self.program.spec, self.call_cycles))
        super().vector(op, d, a, b, **how)

    def statements(self, count: int) -> None:
        """Scalar instructions of which nothing matters but their time.

        Where each is a beat and nothing else, they are one copy of as many beats: a host is through with it sooner.
        """
        spec = self.program.spec
        is_one = issue_wait(spec) == 0
        for _ in range(min(count, 1) if is_one else count):
            super().vector(Op.MOV, self.scratch, 0, None, type=Type.I32, shape=count * spec.move_lanes if is_one else 1)

    def update(self, count: int) -> None:
        """Change the base, the length or the offset of descriptors in memory, so many times in all."""
        self.statements(count * UPDATE_INSTRUCTIONS)

    def advance(self, offset: Reg, num: int) -> None:
        """Add to the offset of a descriptor in memory, which operands here have in a register."""
        super().vector(Op.ADD, offset, offset, num, type=Type.I32)
        self.statements(UPDATE_INSTRUCTIONS - 1)

    def ask(self, *answers: bool, labels: Sequence[Label] = ()) -> None:
        """Conditions one after another, each on what the PE knows of its place: code that is run when it holds is next, else jumped to.

        `labels`: places to use, one for each; new ones by default. PEs given the same ones can share their code.
        """
        for k, answer in enumerate(answers):
            follows = labels[k] if labels else self.program.label("condition")
            super().vector(Op.MOV, self.scratch, int(answer), None, type=Type.I32)
            self.branch(Op.BEQ, self.scratch, 0, follows, type=Type.I32)
            self.place(follows)

    def leave(self, label: Label | None = None) -> None:
        """Jump over code that is not for this PE, or to a function, or back from one; `label` as in `ask`."""
        follows = label or self.program.label("after")
        self.jump(follows)
        self.place(follows)

    @contextmanager
    def function(self) -> Iterator[None]:
        """The body is a function that is jumped to."""
        self.leave()
        yield
        self.leave()


def call_wait(spec: MachineSpec) -> int:
    """Cycles between the end of an instruction and the first beat that a call of `CALL_CYCLES` after it could have."""
    return _loads(spec, CALL_CYCLES) * _scalar_cycles(spec) + issue_wait(spec)


def ask_cycles(spec: MachineSpec, *answers: bool) -> int:
    """Cycles of `CalledPes.ask`."""
    return sum(_scalar_cycles(spec) + (spec.branch_not_taken_cycles if answer else spec.branch_taken_cycles) for answer in answers)


def update_cycles(spec: MachineSpec, count: int) -> int:
    """Cycles of `CalledPes.update`."""
    return count * UPDATE_INSTRUCTIONS * _scalar_cycles(spec)


def _loads(spec: MachineSpec, call_cycles: int) -> int:
    """Scalar instructions in a call before the operation itself, so that its first beat comes as near to `call_cycles` as they allow."""
    return round((call_cycles - issue_wait(spec)) / _scalar_cycles(spec))


def _scalar_cycles(spec: MachineSpec) -> int:
    return vector_cycles(spec, Op.MOV, 1)
