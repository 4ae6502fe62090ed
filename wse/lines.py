"""Cycles by source line: what each line of a kernel cost, over all PEs that ran it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wse.isa import Col, Op
from wse.program import Program, Rect, class_rows

if TYPE_CHECKING:
    from wse.machine import Counters


@dataclass(frozen=True)
class LineCycles:
    """One source line's share. Cycles are PE-cycles: sums over the PEs whose code has the line."""

    line: str  # folder/file:line
    source: str  # its text, where it was known when the program was built
    num_pes: int  # whose code has it
    count: int  # instructions of it that issued
    busy_pe_cycles: int  # with a beat of it under way
    stall_pe_cycles: int  # with its operation under way, but no beat of it: issue, data, room, another thread's beats
    elapsed_pe_cycles: int  # from issue to end, of operations that have ended
    elapsed_frac: float  # of all lines' elapsed cycles; threads run side by side, so these are shares of work, not of time


def line_cycles(program: Program, counters: Counters, pes: Rect | None = None) -> list[LineCycles]:
    """A record for each line with instructions that some PE of `pes` (default: all) runs, in the order of files and lines.

    The counters are kept for each row of code, not for each PE: with `pes` these are the lines that PEs of it run, but a line that
    others run too has their cycles in it (`num_pes` says how many PEs that are).
    """
    num_lines = len(program.source_lines)
    pes_of_line, wanted = np.zeros(num_lines, np.int64), np.zeros(num_lines, bool)
    inside = program.inside(program.core_pe, pes or Rect(0, 0, program.width, program.height))
    members = np.bincount(program.core_class, minlength=len(program.classes))
    chosen = np.bincount(program.core_class[inside], minlength=len(program.classes))
    for cls, num, num_inside in zip(program.classes, members, chosen, strict=True):
        rows = class_rows(program.code, cls.task_entry)
        lines = np.unique(program.code[rows[program.code[rows, Col.OP] != Op.PRINT], Col.LINE])
        pes_of_line[lines] += num
        wanted[lines] |= num_inside > 0
    count, busy, elapsed = (
        np.bincount(program.code[:, Col.LINE], rows, num_lines).astype(np.int64)
        for rows in (counters.row_issued, counters.row_busy, counters.row_elapsed)
    )
    total = max(1, int(elapsed[wanted].sum()))
    found = [
        LineCycles(
            program.source_lines[i], program.source_texts[i] if i < len(program.source_texts) else "", int(pes_of_line[i]),
            int(count[i]), int(busy[i]), max(0, int(elapsed[i] - busy[i])), int(elapsed[i]), float(elapsed[i] / total),
        )
        for i in np.flatnonzero(wanted)
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.line.rpartition(":")[0], int(one.line.rpartition(":")[2] or 0)))


def line_facts(lines: list[LineCycles]) -> list[dict[str, Any]]:
    """The same as JSON can hold it."""
    return [asdict(line) for line in lines]


def line_table(lines: list[LineCycles]) -> str:
    """The table a person reads: a heading for each file, then its lines."""
    head = f"{'LINE':>5} {'%TIME':>6} {'BUSY':>12} {'STALL':>12} {'ELAPSED':>12} {'COUNT':>10} {'PES':>8}  SOURCE"
    text, file = [], ""
    for one in lines:
        name, _, number = one.line.rpartition(":")
        if name != file:
            text += ["", f"{name} (PE-cycles, summed over the PEs that run a line)", head]
            file = name
        text.append(
            f"{number:>5} {100 * one.elapsed_frac:6.1f} {one.busy_pe_cycles:12,} {one.stall_pe_cycles:12,} {one.elapsed_pe_cycles:12,}"
            f" {one.count:10,} {one.num_pes:8,}  {one.source}"
        )
    return "\n".join(text[1:])
