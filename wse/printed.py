"""What kernels print: from the engine's marks to lines such as `@968 PE(1,0): text`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wse.engine.state import Mark
from wse.isa import Col, Type
from wse.program import NUMPY_TYPE, Print, Program


@dataclass(frozen=True)
class Printed:
    """One `Pes.print` of one PE; as a string, the line that stands for it."""

    cycle: int
    x: int
    y: int
    text: str
    line: str  # of the kernel
    bits: tuple[int, ...]  # 32 of each element shown

    def __str__(self) -> str:
        return f"@{self.cycle} PE({self.x},{self.y}): {self.text}"


def read_prints(program: Program, marks: np.ndarray) -> list[Printed]:
    """What these marks of PRINT rows, int64 (num, Mark), whole cycles of them, say, by cycle and PE."""
    marks = marks[np.lexsort((marks[:, Mark.CORE], marks[:, Mark.CYCLE]))]
    found, i = [], 0
    while i < len(marks):
        row = program.code[marks[i, Mark.ROW]]
        shown = program.prints[row[Col.TARGET]]
        x, y = program.xy(program.core_pe[marks[i, Mark.CORE]])
        bits = marks[i : i + shown.num_rows, Mark.BITS]
        line = program.source_lines[row[Col.LINE]]
        found.append(Printed(int(marks[i, Mark.CYCLE]), x, y, _fill(shown, bits), line, tuple(bits.tolist())))
        i += shown.num_rows
    return found


def _fill(shown: Print, bits: np.ndarray) -> str:
    """The text with its values."""
    values, at = [], 0
    for type, shape in zip(shown.types, shown.shapes, strict=True):
        num = int(np.prod(shape, dtype=np.int64))
        words = bits[at : at + num].astype(np.uint32)
        values.append((words.astype(np.uint16) if type is Type.F16 else words).view(NUMPY_TYPE[type]).reshape(shape)[()])
        at += num
    return shown.text.format(*values)
