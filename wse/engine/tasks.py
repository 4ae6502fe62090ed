"""Tasks that wavelets start: data tasks, and control wavelets that name a task (rules in `wse.isa`)."""

from __future__ import annotations

import numpy as np

from wse._jit import leaf
from wse.engine.alu import wrap_i32
from wse.engine.state import NEVER, Bind, Clock, Core, Fifo, Phase, Thread, Waits
from wse.engine.switch import CONTROL_BIT
from wse.engine.wheel import head_bits, note_fault, pop, ready_cycle
from wse.isa import TASK_MASK, TASK_SHIFT, Fault


@leaf
def runnable_tasks(fifo, ring, binding, core, k, cycle):
    """Bit mask of the tasks that core k could pick in `cycle`."""
    runnable = core[k, Core.ACTIVE]
    first = core[k, Core.BINDING]
    for i in range(first, first + core[k, Core.NUM_BINDINGS]):
        f = binding[i, Bind.FIFO]
        if ready_cycle(fifo, ring, f) <= cycle and head_bits(fifo, ring, f) & CONTROL_BIT == 0:
            runnable |= 1 << binding[i, Bind.TASK]
    return runnable & ~core[k, Core.BLOCKED]


@leaf
def consume_for_task(fifo, ring, event, wheel, clock, todo, binding, core, regs, k, task, cycle):
    """If `task` is a data task of core k, take its wavelet."""
    first = core[k, Core.BINDING]
    for i in range(first, first + core[k, Core.NUM_BINDINGS]):
        if binding[i, Bind.TASK] == task:
            bits = pop(fifo, ring, event, wheel, clock, todo, binding[i, Bind.FIFO], cycle)
            regs[k, binding[i, Bind.REGISTER]] = wrap_i32(bits)
            clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], cycle)


@leaf
def take_controls(fifo, ring, event, wheel, clock, todo, queue_of, task_entry, binding, core, k, cycle):
    """Take the control wavelets that are next in the queues of core k; bit mask of the tasks they name."""
    named = np.int64(0)
    for color in range(queue_of.shape[2]):
        f = np.int64(queue_of[k, 0, color])
        if f < 0 or ready_cycle(fifo, ring, f) > cycle:
            continue
        bits = head_bits(fifo, ring, f)
        if bits & CONTROL_BIT == 0:
            continue
        pop(fifo, ring, event, wheel, clock, todo, f, cycle)
        clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], cycle)
        task = (bits >> TASK_SHIFT & TASK_MASK) - 1
        if task < 0:
            continue
        good = task < core[k, Core.NUM_TASKS] and task_entry[core[k, Core.TASKS] + task] >= 0
        first = core[k, Core.BINDING]
        for i in range(first, first + core[k, Core.NUM_BINDINGS]):
            good = good and binding[i, Bind.TASK] != task
        if good:
            named |= 1 << task
        else:
            note_fault(clock, Fault.BAD_TASK, core[k, Core.PE], 1, color, -1, cycle)
    return named


@leaf
def listen(fifo, ring, queue_of, binding, core, thread, k, cycle):
    """When a wavelet may next start something on core k: the cycle to look again, NEVER when one that comes in will wake the core."""
    look = NEVER
    for color in range(queue_of.shape[2]):
        f = np.int64(queue_of[k, 0, color])
        if f >= 0:
            ready = ready_cycle(fifo, ring, f)
            if ready == NEVER:
                fifo[f, Fifo.WAITS] |= Waits.CONSUMER
            elif head_bits(fifo, ring, f) & CONTROL_BIT:
                look = min(look, max(ready, cycle + 1))
    if not core[k, Core.RUNNING] and thread[core[k, Core.THREAD], Thread.PHASE] == Phase.FREE:
        first = core[k, Core.BINDING]
        for i in range(first, first + core[k, Core.NUM_BINDINGS]):
            if core[k, Core.BLOCKED] >> binding[i, Bind.TASK] & 1 == 0:
                look = min(look, max(ready_cycle(fifo, ring, binding[i, Bind.FIFO]), cycle + 1))
    return look


@leaf
def awaits_data(fifo, binding, core, k):
    """Whether a wavelet is queued or under way to a data task of core k."""
    waiting = 0
    first = core[k, Core.BINDING]
    for i in range(first, first + core[k, Core.NUM_BINDINGS]):
        waiting += fifo[binding[i, Bind.FIFO], Fifo.COUNT]
    return waiting > 0
