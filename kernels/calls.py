"""Kernels as the vendor's compiler leaves them: every vector operation is a call that first loads its descriptors.

For published numbers only. A microbenchmark of such calls fits 15 to 17 cycles + N / rate, of which the machine's own set-up is 1 to
3 (third-party measurement, vendor's simulator, WSE-3); no number that is held against the machine went into it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from wse.builder import MAIN_TASK, Pes, ProgramBuilder
from wse.isa import Op, Type
from wse.operands import Recv, Reg, Send, View, common_shape
from wse.program import Rect

CALL_CYCLES = 16


class CalledProgram(ProgramBuilder):
    """A program builder whose vector operations on more than one element take `CALL_CYCLES` before their first beat."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._descriptor = self.reg(Type.I32)

    def pes(self, rect: Rect, task: int = MAIN_TASK) -> Pes:
        """As in `ProgramBuilder`."""
        pe = super().pes(rect, task)
        return _CalledPes(self, pe.rect, pe.task, pe.area, self._descriptor)


@dataclass(frozen=True)
class _CalledPes(Pes):
    descriptor: Reg

    def vector(self, op: Op, d: Any, a: Any, b: Any, **how: Any) -> None:
        """The loads are scalar copies: as many as fit into the call."""
        operands = (d, a, b)
        views = [operand for operand in operands if isinstance(operand, View)]
        shape = how.get("shape")
        extents = common_shape(views, shape if isinstance(shape, tuple) or shape is None else (shape,))
        is_one = math.prod(extent for extent in extents if isinstance(extent, int)) <= 1
        if not is_one and any(isinstance(operand, (View, Recv, Send)) for operand in operands):
            issue = self.program.spec.issue_cycles
            for _ in range((CALL_CYCLES - issue) // issue):
                super().vector(Op.MOV, self.descriptor, 0, None, type=Type.I32)
        super().vector(op, d, a, b, **how)
