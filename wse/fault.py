"""What a fault of a running program means: the rule it broke, where, which source lines have a part in it, and what would mend it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wse.engine.state import Clock, State
from wse.errors import FaultError
from wse.isa import TASK_MASK, TASK_SHIFT, TYPE_BYTES, VECTOR_OPS, Col, Fault, Kind, Op, Operand, Type
from wse.program import CodeClass, Program
from wse.sanitize import ERRORS, explain

FAULT_TEXT = {
    Fault.OUT_OF_BOUNDS: "a memory operand reaches outside the PE's SRAM",
    Fault.DIVIDE_BY_ZERO: "division by zero",
    Fault.SWITCH_PAST_END: "a control wavelet advances a switch without ring mode past its last position",
    Fault.BAD_TASK: "a control wavelet names a task that has no code or is bound to a color",
    Fault.UNWRITTEN: "an operation reads what nothing has written",
    Fault.OUT_OF_SYMBOL: "a memory operand reaches outside the array its address is in",
    Fault.SHARED_WORD: "two operations under way share a word, and one writes it",
}

_HELP = {
    Fault.OUT_OF_BOUNDS: "check the registers that move or size its operands",
    Fault.DIVIDE_BY_ZERO: "branch around it where the divisor is 0",
    Fault.SWITCH_PAST_END: "give the switch ring=True or another position, or send fewer ADVANCE commands",
    Fault.BAD_TASK: "write that task with pes(rect, task=…) on every PE that the wavelet reaches, or name another",
    Fault.UNWRITTEN: "write it first, or declare the array with zeros() if zeros are meant",
    Fault.OUT_OF_SYMBOL: "check the view's shape and strides, and the registers that move or size it",
    Fault.SHARED_WORD: "let one wait for the other: the same thread, or a task that its end activates (on_done=…)",
}


def fault_error(program: Program, state: State, more: list[str]) -> FaultError:
    """The error for the fault in a machine's state; `more`: further notes."""
    clock = state.clock
    fault, pe = Fault(clock[Clock.FAULT]), int(clock[Clock.FAULT_PE])
    row, color = int(clock[Clock.FAULT_ROW]), int(clock[Clock.FAULT_COLOR])
    notes = [f"instruction from {program.source_lines[program.code[row, Col.LINE]]}"] if row >= 0 else []
    notes += reached(program, state, pe, row) if fault == Fault.OUT_OF_BOUNDS else []
    where = f" on color {color}" if color >= 0 else ""
    notes += _lines_of(program, fault, pe, color)
    if fault in ERRORS:
        what, others = explain(program, state)
        where, notes = f": {what}", notes + others
    x, y = program.xy(pe)
    message = f"{FAULT_TEXT[fault]}{where} at PE ({x},{y}) in cycle {int(clock[Clock.FAULT_CYCLE])}"
    return ERRORS.get(fault, FaultError)(message, notes=notes + more, help=_HELP[fault])


def reached(program: Program, state: State, pe: int, row: int) -> list[str]:
    """What each memory operand of an instruction reaches that leads out of the data of this PE."""
    k = int(np.searchsorted(program.core_pe, pe))
    return list(_reached(program.code[row], state.regs[k], program.classes[program.core_class[k]]))


def _reached(instruction: np.ndarray, regs: np.ndarray, cls: CodeClass) -> Iterator[str]:
    if Op(instruction[Col.OP]) not in VECTOR_OPS:
        return
    extents = instruction[Col.EXTENT : Col.EXTENT + 4].copy()
    for axis in range(4):
        if instruction[Col.EXTENT_REG + axis] >= 0:
            extents[axis] = max(0, regs[instruction[Col.EXTENT_REG + axis]])
    for operand in (Col.D, Col.A, Col.B):
        if instruction[operand + Operand.KIND] != Kind.MEM:
            continue
        size = TYPE_BYTES[Type(instruction[operand + Operand.TYPE])]
        base, shift = int(instruction[operand + Operand.BASE]), instruction[operand + Operand.OFFSET_REG]
        moved = int(regs[shift]) if shift >= 0 else 0
        steps = (extents - 1) * instruction[operand + Operand.STRIDE : operand + Operand.STRIDE + 4]
        low, high = base // size + moved + int(np.minimum(steps, 0).sum()), base // size + moved + int(np.maximum(steps, 0).sum())
        if low >= 0 and (high + 1) * size <= 4 * cls.sram_words:
            continue
        symbol = max((s for s in cls.symbols.values() if s.address <= base), key=lambda s: s.address, default=None)
        if symbol is not None:
            first = symbol.address // size
            by = f", moved by {moved} from r{shift}" if shift >= 0 else ""
            yield f"'{symbol.name}' of {symbol.num_elements} elements is reached at {low - first} to {high - first}{by}"


def _lines_of(program: Program, fault: Fault, pe: int, color: int) -> list[str]:
    """The source lines that a router's fault, or that of a control wavelet, goes back to."""
    if fault == Fault.SWITCH_PAST_END:
        channel = int(program.channels_at(np.array([pe]), color)[0])
        return [f"the switch: {program.source_lines[program.channel_line[channel]]}", *_senders(program, color)]
    return _senders(program, color) if fault == Fault.BAD_TASK else []


def _senders(program: Program, color: int) -> list[str]:
    """The source lines that send control wavelets of a color, and the tasks that those name, where code says it."""
    code = program.code
    rows = code[(code[:, Col.D + Operand.KIND] == Kind.CONTROL_OUT) & (code[:, Col.D + Operand.BASE] == color)]
    found = []
    for line in np.unique(rows[:, Col.LINE]):
        fixed = rows[(rows[:, Col.LINE] == line) & (rows[:, Col.OP] == Op.MOV) & (rows[:, Col.A + Operand.KIND] == Kind.IMM)]
        tasks = np.unique((fixed[:, Col.A + Operand.BASE] >> TASK_SHIFT & TASK_MASK) - 1)
        named = ", ".join(f"task {task}" for task in tasks[tasks >= 0])
        found.append(f"control wavelets are sent by {program.source_lines[line]}" + (f", naming {named}" if named else ""))
    return found
