"""One core in one cycle: the main thread's instructions and the threads' beats.

`step_threads` is called only in cycles in which something can change; `account` fills in what the
cycles between were spent on. An operation that meets nobody (memory and registers only, no other
thread) runs in bulk: its end is computed when it starts, its arithmetic is done when it ends. Where the run is known to last that
long, both are done when it is issued.
"""

from __future__ import annotations

import numpy as np

from wse._jit import bits_to_f32, inline, leaf
from wse.engine.account import account, count_busy, count_elements, data_cycle, room_for_beat
from wse.engine.alu import wrap_i32
from wse.engine.beat import beat
from wse.engine.elements import run_elements
from wse.engine.issue import issue
from wse.engine.marks import mark_issue
from wse.engine.sanitize import leave
from wse.engine.state import NEVER, Clock, Core, Fifo, Phase, Plan, Rate, Thread, Waits
from wse.engine.stream import is_stream
from wse.engine.switch import reroute
from wse.engine.tasks import awaits_data, consume_for_task, listen, runnable_tasks, take_controls
from wse.engine.trace import Category, Note, note
from wse.engine.wheel import note_fault
from wse.isa import Col, Done, Fault, Kind, Op, Operand, Stall, Type


@inline
def step_threads(
    clock, rate, code, plan, row_cycles, task_entry, queue_of, fifo, ring, chan, switch, binding, sram_fifo, core, thread,
    event, wheel, todo, mark, trace, sram, sram_f32, sram_u16, shadow, regs, regs_f32, k, cycle,
):  # fmt: skip
    """A cycle of a core that is not in the middle of a stream; returns when to look again. May leave it at the start of one."""
    account(
        clock, code, plan, row_cycles, fifo, ring, sram_fifo, core, thread, trace, sram, sram_f32, sram_u16, regs, regs_f32, k, cycle,
    )  # fmt: skip
    if core[k, Core.ENDED]:
        core[k, Core.ENDED] = 0
        clock[Clock.ALIVE] += 1
    base = core[k, Core.THREAD]
    num = core[k, Core.NUM_THREADS]
    for th in range(base, base + num):
        phase = thread[th, Thread.PHASE]
        if phase >= Phase.BULK and thread[th, Thread.NEXT] <= cycle:
            if phase == Phase.ENDING or thread[th, Thread.POS] == thread[th, Thread.NUM]:
                _finish(clock, code, row_cycles, core, thread, trace, shadow, k, th, cycle)
            else:  # the bulk was one step of a held operation
                thread[th, Thread.PHASE] = Phase.LIVE
                thread[th, Thread.NEXT] = cycle + plan[thread[th, Thread.ROW], Plan.GAP]
                clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], thread[th, Thread.NEXT] - 1)
    if thread[base, Thread.PHASE] == Phase.FREE:
        _step_main(
            clock, rate, code, plan, row_cycles, task_entry, queue_of, fifo, ring, chan, switch, binding, core, thread,
            event, wheel, todo, mark, trace, sram, sram_f32, sram_u16, shadow, regs, regs_f32, k, cycle,
        )  # fmt: skip
    named = np.int64(0)
    if core[k, Core.LISTENS]:
        named = take_controls(
            fifo, ring, event, wheel, clock, todo, queue_of, task_entry, binding, core, k, cycle
        )
    if core[k, Core.LIVE] == 1:
        for th in range(base, base + num):
            if thread[th, Thread.PHASE] != Phase.FREE:
                if is_stream(plan, core, thread, k, th):
                    core[k, Core.STREAM] = th
                    return NEVER
                break
    if core[k, Core.LIVE] and core[k, Core.ACCOUNTED] <= cycle:
        th = base + core[k, Core.LAST_THREAD]
        for _ in range(num):
            th = th + 1 if th + 1 < base + num else base
            if (
                thread[th, Thread.PHASE] != Phase.LIVE
                or thread[th, Thread.NEXT] > cycle
                or data_cycle(code, fifo, ring, plan, sram_fifo, core, thread, k, th) > cycle
                or room_for_beat(code, fifo, ring, plan, sram_fifo, core, thread, k, th) > cycle
            ):
                continue
            core[k, Core.LAST_THREAD] = th - base
            named |= beat(
                clock, rate, code, plan, row_cycles, fifo, ring, sram_fifo, core, thread, event, wheel, todo,
                sram, sram_f32, sram_u16, shadow, regs, regs_f32, k, th, cycle,
            )  # fmt: skip
            break
    core[k, Core.ACTIVE] |= named  # seen from the next cycle on
    look = _next_look(code, fifo, ring, plan, sram_fifo, core, thread, k, cycle)
    if core[k, Core.LISTENS]:
        look = min(look, listen(fifo, ring, queue_of, binding, core, thread, k, cycle))
    if look == NEVER and not (
        core[k, Core.LIVE] or core[k, Core.RUNNING] or core[k, Core.ACTIVE] or awaits_data(fifo, binding, core, k)
    ):
        core[k, Core.ENDED] = 1
        clock[Clock.ALIVE] -= 1
    return look


@inline
def is_alone(plan, core, thread, k):
    """Whether what core k does next, and when, is settled, and matters to it and the FIFOs it uses alone: it may do so ahead of time.

    That is so in the middle of a task, with at most the main thread at work, on what the plan calls private.
    """
    if not core[k, Core.RUNNING] or core[k, Core.LISTENS]:
        return False
    th = core[k, Core.THREAD]
    if core[k, Core.LIVE] > 0 and (
        core[k, Core.LIVE] > 1 or thread[th, Thread.PHASE] == Phase.FREE or not plan[thread[th, Thread.ROW], Plan.PRIVATE]
    ):
        return False
    return plan[core[k, Core.PC], Plan.PRIVATE] and not plan[core[k, Core.PC], Plan.MARKED]


@inline
def _next_look(code, fifo, ring, plan, sram_fifo, core, thread, k, cycle):
    """The next cycle in which core k may have something to do; NEVER when a push or pop will wake it."""
    base = core[k, Core.THREAD]
    look = NEVER
    if core[k, Core.RUNNING] and thread[base, Thread.PHASE] == Phase.FREE and core[k, Core.READY] > cycle:
        look = core[k, Core.READY]
    elif not core[k, Core.RUNNING] and core[k, Core.ACTIVE] & ~core[k, Core.BLOCKED]:
        look = cycle + 1
    for i in range(core[k, Core.NUM_THREADS]):
        th = base + i
        phase = thread[th, Thread.PHASE]
        if phase == Phase.FREE:
            continue
        at = max(thread[th, Thread.NEXT], cycle + 1)
        if phase == Phase.LIVE:
            at = max(at, core[k, Core.ACCOUNTED])
            ready = data_cycle(code, fifo, ring, plan, sram_fifo, core, thread, k, th)
            free = room_for_beat(code, fifo, ring, plan, sram_fifo, core, thread, k, th)
            if ready == NEVER:
                for col in range(Thread.FIFO_A, Thread.FIFO_B + 1):
                    f = thread[th, col]
                    if f >= 0 and fifo[f, Fifo.COUNT] == 0:
                        fifo[f, Fifo.WAITS] |= Waits.CONSUMER
            elif free == NEVER and thread[th, Thread.FIFO_D] >= 0:
                fifo[thread[th, Thread.FIFO_D], Fifo.WAITS] |= Waits.PRODUCER
            at = max(at, ready, free)
        look = min(look, at)
    return look


@leaf
def _finish(clock, code, row_cycles, core, thread, trace, shadow, k, th, cycle):
    """The operation on thread row th is over: free the thread, wake the main thread or a task."""
    i = thread[th, Thread.ROW]
    thread[th, Thread.PHASE] = Phase.FREE
    if clock[Clock.SANITIZE]:
        leave(code, core, thread, shadow, k, th)
    core[k, Core.LIVE] -= 1
    row_cycles[i, 1] += cycle - thread[th, Thread.ISSUED]
    if clock[Clock.TRACED] & Category.OPERATION and core[k, Core.TRACED]:
        number = th - core[k, Core.THREAD]
        note(trace, Note.OPERATION, thread[th, Thread.ISSUED], cycle, k, i, number, thread[th, Thread.NUM], 0)
    if th == core[k, Core.THREAD]:
        core[k, Core.READY] = cycle
    if code[i, Col.DONE] == Done.ACTIVATE:
        core[k, Core.ACTIVE] |= 1 << code[i, Col.TASK]
    elif code[i, Col.DONE] == Done.UNBLOCK:
        core[k, Core.BLOCKED] &= ~(1 << code[i, Col.TASK])


@leaf
def _step_main(
    clock, rate, code, plan, row_cycles, task_entry, queue_of, fifo, ring, chan, switch, binding, core, thread,
    event, wheel, todo, mark, trace, sram, sram_f32, sram_u16, shadow, regs, regs_f32, k, cycle,
):  # fmt: skip
    """Let the main thread pick a task or issue its next instruction, if it can.

    What is known to be over before anything can meet it is run at once, and so is what follows it.
    """
    th = core[k, Core.THREAD]
    while True:
        if not core[k, Core.RUNNING]:
            runnable = runnable_tasks(fifo, ring, binding, core, k, cycle)
            if runnable == 0:
                return
            task = 0
            while not (runnable >> task) & 1:
                task += 1
            core[k, Core.ACTIVE] &= ~(1 << task)
            consume_for_task(fifo, ring, event, wheel, clock, todo, binding, core, regs, k, task, cycle)
            core[k, Core.RUNNING] = 1
            core[k, Core.TASK] = task
            core[k, Core.TASK_SINCE] = cycle
            core[k, Core.PC] = task_entry[core[k, Core.TASKS] + task]
            core[k, Core.READY] = cycle + (rate[Rate.TASK_START] if cycle > 0 else 0)
            clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], core[k, Core.READY] - 1)
        if core[k, Core.READY] > cycle:
            return
        i = core[k, Core.PC]
        op = code[i, Col.OP]
        if op == Op.END:
            core[k, Core.RUNNING] = 0
            if clock[Clock.TRACED] & Category.TASK and core[k, Core.TRACED]:
                note(trace, Note.TASK, core[k, Core.TASK_SINCE], cycle, k, core[k, Core.TASK], 0, 0, 0)
        elif op > Op.ARGMAX:
            if plan[i, Plan.MARKED]:
                mark_issue(clock, code, core, mark, sram_u16, regs, k, i, cycle)
            if op == Op.PRINT:  # costs nothing: what follows issues in the same cycle
                core[k, Core.PC] = i + 1
                continue
            if op == Op.REROUTE:
                reroute(
                    chan, switch, event, wheel, clock, core[k, Core.PE], code[i, Col.EXTENT], code[i, Col.EXTENT + 1],
                    code[i, Col.EXTENT + 2], code[i, Col.EXTENT + 3], cycle,
                )  # fmt: skip
                core[k, Core.PC] = i + 1
                _count_control(clock, code, row_cycles, core, trace, k, i, rate[Rate.CONTROL], cycle)
            else:
                _control(clock, rate, code, row_cycles, core, trace, regs, k, i, cycle)
            return
        else:
            target = th + code[i, Col.THREAD]
            if thread[target, Thread.PHASE] != Phase.FREE:
                return
            if plan[i, Plan.MARKED]:
                mark_issue(clock, code, core, mark, sram_u16, regs, k, i, cycle)
            row_cycles[i, 2] += 1
            if not issue(clock, rate, code, plan, queue_of, core, thread, shadow, regs, k, target, i, cycle):
                note_fault(clock, Fault.OUT_OF_BOUNDS, core[k, Core.PE], 1, -1, i, cycle)
                thread[target, Thread.PHASE] = Phase.ENDING
                thread[target, Thread.NEXT] = NEVER
            core[k, Core.PC] = i + 1
            core[k, Core.READY] = cycle + rate[Rate.ISSUE]
            over = _over_at_once(plan, core, thread, k, target)
            if over > clock[Clock.AHEAD]:
                return
            _run_at_once(
                clock, code, plan, row_cycles, core, thread, trace, sram, sram_f32, sram_u16, shadow, regs, regs_f32, k, th, over
            )
            if not is_alone(plan, core, thread, k):
                return
            cycle = over


@inline
def _over_at_once(plan, core, thread, k, th):
    """The cycle in which the operation just issued on thread row th will be over, if nothing can meet it before; else NEVER."""
    i = thread[th, Thread.ROW]
    if not plan[i, Plan.PRIVATE] or not plan[i, Plan.BULKS] or plan[i, Plan.HELD] or thread[th, Thread.PHASE] != Phase.LIVE:
        return NEVER
    if th != core[k, Core.THREAD] or core[k, Core.LIVE] != 1 or core[k, Core.LISTENS]:
        return NEVER
    steps = thread[th, Thread.NUM] // thread[th, Thread.STEP]
    return thread[th, Thread.NEXT] + _busy_cycles(plan, thread, th, i) + (steps - 1) * plan[i, Plan.GAP]


@inline
def _busy_cycles(plan, thread, th, i):
    """Cycles of all beats of the operation on thread row th."""
    step, lanes = thread[th, Thread.STEP], plan[i, Plan.LANES]
    return thread[th, Thread.NUM] // step * ((step + lanes - 1) // lanes) * plan[i, Plan.CYCLES]


@inline
def _run_at_once(
    clock, code, plan, row_cycles, core, thread, trace, sram, sram_f32, sram_u16, shadow, regs, regs_f32, k, th, over,
):  # fmt: skip
    """Execute the whole operation just issued on the main thread, thread row th, and let it be over in cycle `over`."""
    num = thread[th, Thread.NUM]
    run_elements(
        code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, 0, num, thread[th, Thread.ADDR_A], thread[th, Thread.ADDR_B]
    )
    busy = _busy_cycles(plan, thread, th, thread[th, Thread.ROW])
    count_elements(plan, core, thread, k, th, num)
    count_busy(plan, row_cycles, core, thread, k, th, busy)
    core[k, Core.STALL + Stall.OVERHEAD] += over - core[k, Core.ACCOUNTED] - busy
    core[k, Core.ACCOUNTED] = over
    core[k, Core.LAST_BANK] = 0
    core[k, Core.LAST_THREAD] = 0
    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], over - 1)
    _finish(clock, code, row_cycles, core, thread, trace, shadow, k, th, over)


@leaf
def _control(clock, rate, code, row_cycles, core, trace, regs, k, i, cycle):
    """Execute control instruction i: tasks and branches, which do not use the datapath."""
    op = code[i, Col.OP]
    bit = 1 << code[i, Col.TASK]
    cost = rate[Rate.CONTROL]
    core[k, Core.PC] = i + 1
    if op == Op.ACTIVATE:
        core[k, Core.ACTIVE] |= bit
    elif op == Op.BLOCK:
        core[k, Core.BLOCKED] |= bit
    elif op == Op.UNBLOCK:
        core[k, Core.BLOCKED] &= ~bit
    elif _holds(code, regs, k, i):
        core[k, Core.PC] = code[i, Col.TARGET]
        cost = rate[Rate.TAKEN]
    else:
        cost = rate[Rate.NOT_TAKEN]
    _count_control(clock, code, row_cycles, core, trace, k, i, cost, cycle)


@inline
def _count_control(clock, code, row_cycles, core, trace, k, i, cost, cycle):
    """Count a control instruction that takes `cost` cycles; the next one issues after them."""
    core[k, Core.READY] = cycle + cost
    core[k, Core.INSTRUCTIONS] += 1
    row_cycles[i, 0] += cost
    row_cycles[i, 1] += cost
    row_cycles[i, 2] += 1
    if clock[Clock.TRACED] and core[k, Core.TRACED]:
        branch = Op.JUMP <= code[i, Col.OP] <= Op.BNE
        if clock[Clock.TRACED] & (Category.OPERATION if branch else Category.SYNC):
            note(trace, Note.CONTROL, cycle, cycle + cost, k, i, 0, 0, 0)
    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], cycle + cost - 1)


@leaf
def _holds(code, regs, k, i):
    """Whether the branch in row i is taken."""
    op = code[i, Col.OP]
    if op == Op.JUMP:
        return True
    a = _scalar_bits(code, regs, k, i, Col.A)
    b = _scalar_bits(code, regs, k, i, Col.B)
    if code[i, Col.TYPE] == Type.F32:
        return _compare(op, bits_to_f32(a), bits_to_f32(b))
    return _compare(op, wrap_i32(a), wrap_i32(b))


@inline
def _scalar_bits(code, regs, k, i, operand):
    base = code[i, operand + Operand.BASE]
    return np.int64(regs[k, base]) if code[i, operand + Operand.KIND] == Kind.REG else base


@inline
def _compare(op, a, b):
    if op == Op.BLT:
        return a < b
    if op == Op.BGE:
        return a >= b
    if op == Op.BEQ:
        return a == b
    return a != b
