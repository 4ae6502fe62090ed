"""Issue: an instruction becomes an operation on a thread, its operands resolved to FIFOs and addresses."""

from __future__ import annotations

from wse._jit import leaf
from wse.engine.sanitize import enter, jitter
from wse.engine.state import Clock, Core, Phase, Plan, Rate, Thread
from wse.isa import Col, Kind, Operand, Type


@leaf
def issue(clock, rate, code, plan, queue_of, core, thread, shadow, regs, k, th, i, cycle):
    """Set up vector instruction i on thread row th. Returns whether its operands are in bounds."""
    _resolve(code, queue_of, core, thread, regs, k, th, i, Col.D, Thread.FIFO_D, Thread.ADDR_D)
    _resolve(code, queue_of, core, thread, regs, k, th, i, Col.A, Thread.FIFO_A, Thread.ADDR_A)
    _resolve(code, queue_of, core, thread, regs, k, th, i, Col.B, Thread.FIFO_B, Thread.ADDR_B)
    for axis in range(4):
        thread[th, Thread.EXTENT + axis] = code[i, Col.EXTENT + axis]
    if plan[i, Plan.STATIC]:
        num = plan[i, Plan.NUM]
        step = plan[i, Plan.STEP]
        in_bounds = plan[i, Plan.REACH] <= core[k, Core.SRAM_BYTES]
    else:
        num = 1
        for axis in range(4):
            r = code[i, Col.EXTENT_REG + axis]
            if r >= 0:
                thread[th, Thread.EXTENT + axis] = max(0, regs[k, r])
            num *= thread[th, Thread.EXTENT + axis]
        step = max(1, thread[th, Thread.EXTENT + 3] if code[i, Col.MAPPED] else num)
        in_bounds = num == 0 or (
            _in_bounds(code, core, thread, k, th, i, Col.D, Thread.ADDR_D)
            and _in_bounds(code, core, thread, k, th, i, Col.A, Thread.ADDR_A)
            and _in_bounds(code, core, thread, k, th, i, Col.B, Thread.ADDR_B)
        )
    thread[th, Thread.ROW] = i
    thread[th, Thread.POS] = 0
    thread[th, Thread.NUM] = num
    thread[th, Thread.IN_STEP] = 0
    thread[th, Thread.STEP] = step
    thread[th, Thread.LINEAR] = thread[th, Thread.EXTENT + 3] == num
    thread[th, Thread.ISSUED] = cycle
    if num:  # ready for its first beat
        thread[th, Thread.PHASE] = Phase.LIVE
        thread[th, Thread.NEXT] = cycle + rate[Rate.ISSUE] - 1 + plan[i, Plan.GAP]
    else:
        thread[th, Thread.PHASE] = Phase.ENDING
        thread[th, Thread.NEXT] = cycle + rate[Rate.ISSUE]
    if clock[Clock.SANITIZE] and in_bounds:
        enter(clock, code, core, thread, shadow, k, th, i, cycle)
        thread[th, Thread.NEXT] += jitter(clock, core, k, cycle)
    core[k, Core.LIVE] += 1
    core[k, Core.INSTRUCTIONS] += 1
    under_way = cycle + rate[Rate.ISSUE] - 1 if code[i, Col.THREAD] else cycle
    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], under_way, thread[th, Thread.NEXT] - 1)
    return in_bounds


@leaf
def _resolve(code, queue_of, core, thread, regs, k, th, i, operand, fifo_col, addr_col):
    """Address or FIFO of one operand."""
    kind = code[i, operand + Operand.KIND]
    base = code[i, operand + Operand.BASE]
    thread[th, fifo_col] = -1
    if kind == Kind.MEM:
        half = code[i, operand + Operand.TYPE] == Type.F16
        first = base // 2 if half else base // 4
        r = code[i, operand + Operand.OFFSET_REG]
        if r >= 0:
            first += regs[k, r]
        thread[th, addr_col] = core[k, Core.SRAM] * (2 if half else 1) + first
    elif kind == Kind.FABRIC_IN or kind == Kind.FABRIC_HELD:
        thread[th, fifo_col] = queue_of[k, 0, base]
    elif kind == Kind.FABRIC_OUT or kind == Kind.CONTROL_OUT:
        thread[th, fifo_col] = queue_of[k, 1, base]
    else:
        thread[th, addr_col] = base


@leaf
def _in_bounds(code, core, thread, k, th, i, operand, addr_col):
    """Whether all elements of an operand lie in the PE's SRAM."""
    if code[i, operand + Operand.KIND] != Kind.MEM:
        return True
    half = code[i, operand + Operand.TYPE] == Type.F16
    first = thread[th, addr_col] - core[k, Core.SRAM] * (2 if half else 1)
    low = first
    high = first
    for axis in range(4):
        reach = (thread[th, Thread.EXTENT + axis] - 1) * code[i, operand + Operand.STRIDE + axis]
        low += min(0, reach)
        high += max(0, reach)
    return low >= 0 and (high + 1) * (2 if half else 4) <= core[k, Core.SRAM_BYTES]
