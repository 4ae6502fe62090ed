"""Sanitizer: what memory operands must not do, checked element by element; `Clock.SANITIZE` switches it on.

`shadow` has a row for each half-word of SRAM: whether anything has written it, which threads' operations under way read and
write it, and the symbol it belongs to. Operations then run beat by beat: no streams and no bulks.
"""

from __future__ import annotations

from enum import IntEnum

from wse._jit import leaf
from wse.engine.elements import element_address
from wse.engine.state import Clock, Core, Thread
from wse.engine.wheel import note_fault
from wse.isa import Col, Fault, Kind, Op, Operand, Type


class Shadow(IntEnum):
    """Columns of `shadow`."""

    WRITTEN = 0  # by a beat, the host, or when the program was loaded
    READERS = 1  # mask of threads with an operation under way that reads it
    WRITERS = 2  # likewise
    SYMBOL = 3  # number within the class, from 1; 0 outside all


@leaf
def enter(clock, code, core, thread, shadow, k, th, i, cycle):
    """Operation i has been issued on thread row th: check that it keeps to its symbols and shares no words it should not."""
    bit = 1 << (th - core[k, Core.THREAD])
    for operand in (Col.D, Col.A, Col.B):
        base = code[i, operand + Operand.BASE]
        if code[i, operand + Operand.KIND] != Kind.MEM or thread[th, Thread.NUM] == 0:
            continue
        home = shadow[2 * core[k, Core.SRAM] + base // 2, Shadow.SYMBOL] if 0 <= base < core[k, Core.SRAM_BYTES] else -1
        for pos in range(thread[th, Thread.NUM]):
            first, num = _halves(code, thread, th, i, operand, pos)
            if shadow[first, Shadow.SYMBOL] != home:
                _complain(clock, core, Fault.OUT_OF_SYMBOL, k, i, -1, first, cycle)
                return
            for h in range(first, first + num):
                others = shadow[h, Shadow.WRITERS] | (shadow[h, Shadow.READERS] if operand == Col.D else 0)
                if others & ~bit:
                    _complain(clock, core, Fault.SHARED_WORD, k, i, _row_of(core, thread, k, others & ~bit), h, cycle)
                    return
                if operand == Col.D:
                    shadow[h, Shadow.WRITERS] |= bit
                else:
                    shadow[h, Shadow.READERS] |= bit


@leaf
def leave(code, core, thread, shadow, k, th):
    """The operation on thread row th has ended."""
    i = thread[th, Thread.ROW]
    bit = 1 << (th - core[k, Core.THREAD])
    for operand in (Col.D, Col.A, Col.B):
        if code[i, operand + Operand.KIND] == Kind.MEM:
            for pos in range(thread[th, Thread.NUM]):
                first, num = _halves(code, thread, th, i, operand, pos)
                for h in range(first, first + num):
                    shadow[h, Shadow.READERS] &= ~bit
                    shadow[h, Shadow.WRITERS] &= ~bit


@leaf
def check_beat(clock, code, core, thread, shadow, k, th, i, num, cycle):
    """The next `num` elements of thread row th are about to execute: check what they read, note what they write."""
    start = thread[th, Thread.POS]
    for pos in range(start, start + num):
        for operand in (Col.A, Col.B, Col.D):
            if code[i, operand + Operand.KIND] != Kind.MEM:
                continue
            first, size = _halves(code, thread, th, i, operand, pos)
            for h in range(first, first + size):
                if (operand != Col.D or code[i, Col.OP] == Op.FMAC) and not shadow[h, Shadow.WRITTEN]:
                    _complain(clock, core, Fault.UNWRITTEN, k, i, -1, h, cycle)
                    return
                if operand == Col.D:
                    shadow[h, Shadow.WRITTEN] = 1


@leaf
def jitter(clock, core, k, cycle):
    """0 .. 15 cycles that an operation issued in `cycle` on core k starts late, when timing is drawn from a seed."""
    if clock[Clock.TIMING_SEED] == 0:
        return 0
    x = (clock[Clock.TIMING_SEED] * 0x9E3779B1 + core[k, Core.PE] * 0x85EBCA6B + cycle * 0xC2B2AE3D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
    x = ((x ^ (x >> 12)) * 0x297A2D39) & 0xFFFFFFFF
    return (x ^ (x >> 15)) & 15


@leaf
def _halves(code, thread, th, i, operand, pos):
    """(first half-word, number of them) of element `pos` of a memory operand, over all SRAM."""
    at = element_address(code, thread, th, i, operand, Thread.ADDR_D + (operand - Col.D) // (Col.A - Col.D), pos)
    if code[i, operand + Operand.TYPE] == Type.F16:
        return at, 1
    return 2 * at, 2


@leaf
def _row_of(core, thread, k, threads):
    """Instruction of the lowest of these threads."""
    t = 0
    while not (threads >> t) & 1:
        t += 1
    return thread[core[k, Core.THREAD] + t, Thread.ROW]


@leaf
def _complain(clock, core, fault, k, row, other, half, cycle):
    """Record a fault, the half-word it is about, and the instruction of another thread that has a part in it."""
    pe = core[k, Core.PE]
    note_fault(clock, fault, pe, 1, -1, row, cycle)
    if clock[Clock.FAULT] == fault and clock[Clock.FAULT_PE] == pe and clock[Clock.FAULT_ROW] == row:
        clock[Clock.FAULT_HALF] = half - 2 * core[k, Core.SRAM]
        clock[Clock.FAULT_OTHER_ROW] = other
