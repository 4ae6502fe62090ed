"""One beat of an operation, in the cycle in which it executes."""

from __future__ import annotations

from wse._jit import inline, leaf
from wse.engine.account import count_busy, count_elements
from wse.engine.elements import run_element, run_elements
from wse.engine.state import Clock, Core, Phase, Plan, Rate, Thread
from wse.engine.wheel import pop, push
from wse.isa import Fault


@leaf
def note_fault(clock, fault, k, i, cycle):
    """Record the first fault; the run stops at the end of this cycle."""
    if clock[Clock.FAULT] == Fault.NONE:
        clock[Clock.FAULT] = fault
        clock[Clock.FAULT_CORE] = k
        clock[Clock.FAULT_ROW] = i
        clock[Clock.FAULT_CYCLE] = cycle


@inline
def begin_bulk(plan, core, thread, k, th, cycle):
    """Start a bulk at the beat at hand if nobody can meet the operation before its end; returns whether it did."""
    i = thread[th, Thread.ROW]
    if not plan[i, Plan.BULKS] or core[k, Core.LIVE] != 1 or thread[th, Thread.IN_STEP] != 0:
        return False
    if th != core[k, Core.THREAD] and (core[k, Core.RUNNING] or core[k, Core.ACTIVE]):
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
def beat(
    clock, rate, code, plan, row_cycles, fifo, ring, core, thread, event, wheel, todo, sram, sram_f32, sram_u16, regs, regs_f32,
    k, th, cycle,
):  # fmt: skip
    """Execute the next beat of thread row th: its operands are there and its output has room."""
    i = thread[th, Thread.ROW]
    pos = thread[th, Thread.POS]
    step = thread[th, Thread.STEP]
    in_step = thread[th, Thread.IN_STEP]
    held = plan[i, Plan.HELD]
    a_bits = thread[th, Thread.ADDR_A]  # of an immediate; anything else does not look at it
    b_bits = thread[th, Thread.ADDR_B]
    f = thread[th, Thread.FIFO_A]
    if f >= 0:
        if held == 1 and in_step != 0:
            a_bits = thread[th, Thread.HELD_BITS]
        else:
            a_bits = pop(fifo, ring, event, wheel, clock, todo, f, cycle)
    f = thread[th, Thread.FIFO_B]
    if f >= 0:
        if held == 2 and in_step != 0:
            b_bits = thread[th, Thread.HELD_BITS]
        else:
            b_bits = pop(fifo, ring, event, wheel, clock, todo, f, cycle)
    if held:
        thread[th, Thread.HELD_BITS] = a_bits if held == 1 else b_bits
    if begin_bulk(plan, core, thread, k, th, cycle):
        return
    cycles = plan[i, Plan.CYCLES]
    count = min(plan[i, Plan.LANES], step - in_step)
    if count == 1:
        bits, faulty = run_element(code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, a_bits, b_bits)
    else:
        bits, faulty = run_elements(
            code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, pos + count, a_bits, b_bits
        )
    count_elements(plan, core, thread, k, th, count)
    count_busy(plan, row_cycles, core, thread, k, th, cycles)
    thread[th, Thread.POS] = pos + count
    thread[th, Thread.IN_STEP] = in_step + count
    if faulty:
        note_fault(clock, Fault.DIVIDE_BY_ZERO, k, i, cycle)
    f = thread[th, Thread.FIFO_D]
    if f >= 0:
        push(fifo, ring, event, wheel, clock, todo, f, cycle + cycles + rate[Rate.RAMP_OUT], bits)
    core[k, Core.ACCOUNTED] = cycle + cycles
    thread[th, Thread.NEXT] = cycle + cycles
    if pos + count == thread[th, Thread.NUM]:
        thread[th, Thread.PHASE] = Phase.ENDING
    elif in_step + count == step:
        thread[th, Thread.IN_STEP] = 0
        thread[th, Thread.NEXT] += plan[i, Plan.GAP]
    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], thread[th, Thread.NEXT] - 1)
