"""Marks: which instructions issued in which cycle, for prints and for a debugger; what is marked changes nothing else."""

from __future__ import annotations

import numpy as np

from wse._jit import leaf
from wse.engine.parts import join_parts
from wse.engine.state import Clock, Core, Mark, Marks, Plan, State
from wse.isa import Col, Kind, Op, Operand, Type
from wse.program import Program, class_rows

ROOM = 4096  # marks that fit between two visits of Python, beyond those of one cycle


@leaf
def mark_issue(clock, code, core, mark, sram_u16, regs, k, i, cycle):
    """Mark that core k issues instruction i, if it is to mark that; of a print also the 32 bits it shows."""
    is_print = code[i, Col.OP] == Op.PRINT
    if not core[k, Core.MARKS] & (Marks.PRINTS if is_print else Marks.STOPS):
        return
    bits = np.int64(0)
    if is_print:
        base = code[i, Col.A + Operand.BASE]
        kind = code[i, Col.A + Operand.KIND]
        if kind == Kind.REG:
            bits = np.int64(regs[k, base]) & 0xFFFFFFFF
        elif kind == Kind.MEM:
            at = 2 * core[k, Core.SRAM] + base // 2
            bits = np.int64(sram_u16[at])
            if code[i, Col.A + Operand.TYPE] != Type.F16:
                bits |= np.int64(sram_u16[at + 1]) << 16
    n = clock[Clock.NUM_MARKS]
    mark[n, Mark.CYCLE] = cycle
    mark[n, Mark.CORE] = k
    mark[n, Mark.ROW] = i
    mark[n, Mark.BITS] = bits
    clock[Clock.NUM_MARKS] = n + 1
    if n >= clock[Clock.MARK_LIMIT]:
        clock[Clock.FULL] = 1


def mark_table(program: Program, plan: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Room for marks, int64 (capacity, Mark): `ROOM`, and all of one cycle, in which a core issues no row twice."""
    marked = plan[:, Plan.MARKED] != 0
    per_class = np.array([np.count_nonzero(marked[class_rows(program.code, cls.task_entry)]) for cls in program.classes], np.int64)
    marks = per_class[program.core_class[core[:, Core.MARKS] != 0]].sum() if len(core) else 0
    return np.zeros((ROOM + int(marks) if marks else 0, len(Mark)), np.int64)


def mark_all(program: Program, state: State) -> State:
    """The state with room for what its plan and cores now say is marked."""
    state = state._replace(mark=mark_table(program, state.plan, state.core))
    if len(state.mark) and len(state.part_start) > 2:  # marks come in the order of cycles, so there is one part from now on
        join_parts(state.event, state.wheel, state.clock, state.core, state.part_entity)
        state = state._replace(part_start=state.part_start[[0, -1]])
    return state
