"""One beat of an operation, in the cycle in which it executes."""

from __future__ import annotations

import numpy as np

from wse._jit import leaf
from wse.engine.account import count_busy, count_elements
from wse.engine.elements import element_address, run_element, run_elements
from wse.engine.odd import beat_size, odd_beat
from wse.engine.sanitize import check_beat
from wse.engine.state import Clock, Core, Phase, Plan, Rate, Thread
from wse.engine.wheel import note_fault, pop, push
from wse.isa import Col, Fault, Kind, Operand, Stall, Type

NUM_BANK_CLASSES = 4


@leaf
def begin_bulk(plan, core, thread, k, th, cycle):
    """Start a bulk at the beat at hand if nobody can meet the operation before its end; returns whether it did."""
    i = thread[th, Thread.ROW]
    if not plan[i, Plan.BULKS] or core[k, Core.LIVE] != 1 or thread[th, Thread.IN_STEP] != 0:
        return False
    if th != core[k, Core.THREAD] and (core[k, Core.RUNNING] or core[k, Core.ACTIVE] or core[k, Core.LISTENS]):
        return False
    pos = thread[th, Thread.POS]
    step = thread[th, Thread.STEP]
    end = pos + step if plan[i, Plan.HELD] else thread[th, Thread.NUM]
    lanes = plan[i, Plan.LANES]
    if end - pos <= lanes:
        return False
    beats = (step + lanes - 1) // lanes
    steps = (end - pos) // step
    thread[th, Thread.PHASE] = Phase.BULK
    thread[th, Thread.BULK_POS] = pos
    thread[th, Thread.BULK_END] = end
    thread[th, Thread.BULK_START] = cycle
    thread[th, Thread.NEXT] = cycle + steps * beats * plan[i, Plan.CYCLES] + (steps - 1) * plan[i, Plan.GAP]
    return True


@leaf
def _conflicts(code, thread, th, i):
    """Whether the destination of the next beat meets a source in another word of the same bank class."""
    if code[i, Col.D + Operand.KIND] != Kind.MEM:
        return False
    d = _word(code, thread, th, i, Col.D, Thread.ADDR_D)
    if code[i, Col.A + Operand.KIND] == Kind.MEM:
        apart = _word(code, thread, th, i, Col.A, Thread.ADDR_A) - d
        if apart != 0 and apart % NUM_BANK_CLASSES == 0:
            return True
    if code[i, Col.B + Operand.KIND] == Kind.MEM:
        apart = _word(code, thread, th, i, Col.B, Thread.ADDR_B) - d
        if apart != 0 and apart % NUM_BANK_CLASSES == 0:
            return True
    return False


@leaf
def _word(code, thread, th, i, operand, addr_col):
    """Word address of the next beat's first element of a memory operand."""
    at = element_address(code, thread, th, i, operand, addr_col, thread[th, Thread.POS])
    return at // 2 if code[i, operand + Operand.TYPE] == Type.F16 else at


@leaf
def beat(
    clock, rate, code, plan, row_cycles, fifo, ring, sram_fifo, core, thread, event, wheel, todo,
    sram, sram_f32, sram_u16, shadow, regs, regs_f32, k, th, cycle,
):  # fmt: skip
    """Execute the next beat of thread row th: its operands are there and its output has room. Returns the tasks it names."""
    i = thread[th, Thread.ROW]
    pos = thread[th, Thread.POS]
    step = thread[th, Thread.STEP]
    in_step = thread[th, Thread.IN_STEP]
    cycles = plan[i, Plan.CYCLES]
    bank = 1 if clock[Clock.BANKS] and _conflicts(code, thread, th, i) else 0
    named = np.int64(0)
    if clock[Clock.SANITIZE]:
        check_beat(clock, code, core, thread, shadow, k, th, i, beat_size(plan, thread, th, i), cycle)
    if plan[i, Plan.ODD]:
        count, named = odd_beat(
            code, plan, fifo, ring, sram_fifo, core, thread, event, wheel, clock, todo, sram, sram_u16, regs, regs_f32,
            k, th, cycle, cycle + cycles + rate[Rate.RAMP_OUT],
        )  # fmt: skip
    else:
        held = plan[i, Plan.HELD]
        a_bits = thread[th, Thread.ADDR_A]  # of an immediate; anything else does not look at it
        b_bits = thread[th, Thread.ADDR_B]
        f = thread[th, Thread.FIFO_A]
        if f >= 0:
            if held != 1 or in_step == 0:
                thread[th, Thread.HELD_A] = pop(fifo, ring, event, wheel, clock, todo, f, cycle)
            a_bits = thread[th, Thread.HELD_A]
        f = thread[th, Thread.FIFO_B]
        if f >= 0:
            if held != 2 or in_step == 0:
                thread[th, Thread.HELD_B] = pop(fifo, ring, event, wheel, clock, todo, f, cycle)
            b_bits = thread[th, Thread.HELD_B]
        if begin_bulk(plan, core, thread, k, th, cycle):
            return named
        count = min(plan[i, Plan.LANES], step - in_step)
        if count == 1:
            bits, faulty = run_element(code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, a_bits, b_bits)
        else:
            bits, faulty = run_elements(
                code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, pos + count, a_bits, b_bits
            )
        if faulty:
            note_fault(clock, Fault.DIVIDE_BY_ZERO, core[k, Core.PE], 1, -1, i, cycle)
        f = thread[th, Thread.FIFO_D]
        if f >= 0:
            push(fifo, ring, event, wheel, clock, todo, f, cycle + cycles + rate[Rate.RAMP_OUT], bits)
    count_elements(plan, core, thread, k, th, count)
    count_busy(plan, row_cycles, core, thread, k, th, cycles)
    core[k, Core.STALL + Stall.BANK] += bank
    core[k, Core.LAST_BANK] = bank
    row_cycles[i, 0] += bank
    over = cycle + cycles + bank
    thread[th, Thread.POS] = pos + count
    thread[th, Thread.IN_STEP] = in_step + count
    core[k, Core.ACCOUNTED] = over
    thread[th, Thread.NEXT] = over
    if pos + count == thread[th, Thread.NUM]:
        thread[th, Thread.PHASE] = Phase.ENDING
    elif in_step + count == step:
        thread[th, Thread.IN_STEP] = 0
        thread[th, Thread.NEXT] += plan[i, Plan.GAP]
    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], thread[th, Thread.NEXT] - 1)
    return named
