"""The main loop of the `cycle` engine: event-driven at wavelet granularity, after design section 2.

Only cycles in which something can happen are looked at, and in them only the cores, routers and host links that can act. Within a
cycle the order of visits does not matter: room is judged by the state at the end of the cycle before, and what is sent arrives
later. A core goes on ahead of time while nothing else can meet it: then a visit to its part of memory is worth many cycles. The loop
is one kernel without helpers between it and what acts: every level of calls below a kernel is compiled once more.
"""

from __future__ import annotations

import numpy as np

from wse._jit import kernel
from wse.engine.account import account, attribute
from wse.engine.core import is_alone, step_threads
from wse.engine.fabric import arbitrate, drain, look_ahead, note_contender, send_now, stream_in, take_back
from wse.engine.parts import load_part, unload_part
from wse.engine.state import NEVER, WHEEL_SLOTS, Chan, Clock, Core, State
from wse.engine.stream import run_stream
from wse.engine.switch import turn
from wse.engine.wheel import add_todo, collect, ready_cycle, schedule
from wse.isa import Fault, Status

ENOUGH = 8  # cycles that it pays to look ahead for


def run(state: State, limit: int) -> Status:
    """Execute cycles from NOW on until the run is over or cycle `limit` is reached.

    RUNNING means that a buffer is nearly full: enlarge a sink's, empty that of marks, and call again.
    """
    clock, chan = state.clock, state.chan
    now = int(clock[Clock.NOW])
    awaited = bool(clock[Clock.AWAITING] > 0 or clock[Clock.STOP_AT] < NEVER)
    # With nothing awaited the run lasts at least as long as any program, so whatever a program does, it does within the run.
    clock[Clock.TO_END] = not awaited
    clock[Clock.AHEAD] = -1 if awaited else limit - 1
    clock[Clock.SURE] = -1
    # the host may have fed what nobody could foresee
    chan[:, Chan.QUIET] = np.where(chan[:, Chan.NUM_RIVALS] == 0, NEVER, 0)
    if len(state.part_start) > 2:
        status, cycle = _run_parts(state, now, limit)
    else:
        status, cycle = advance(state, 0, 0, now, limit, not awaited and not clock[Clock.REACTIVE])
    if status != Status.RUNNING:
        settle(state, status == Status.DEADLOCK, cycle)
    if status == Status.DEADLOCK and clock[Clock.REACTIVE] and not awaited and clock[Clock.ALIVE] == 0:
        status = Status.DONE  # a reactive program is over when nothing can move
    clock[Clock.NOW], clock[Clock.STATUS] = cycle, status
    return Status(status)


def _run_parts(state: State, now: int, limit: int) -> tuple[int, int]:
    """`advance` for parts that share nothing, one after another. Returns (status, cycle in which the run ends)."""
    clock = state.clock
    state.wheel[:] = -1
    parts = list(zip(state.part_start[:-1].tolist(), state.part_start[1:].tolist(), strict=True))
    overall, end = int(Status.DONE), now
    for first, last in parts:
        status, cycle = advance(state, first, last, now, limit, True)
        end = max(end, cycle)
        if overall == Status.DONE or status == Status.LIMIT:
            overall = status
    # the others go on until the run ends, or, if it ends because nothing can move, until nothing can move in them either
    upto = limit if overall == Status.DEADLOCK else end
    for first, last in parts:
        advance(state, first, last, now, upto, False)
    if overall == Status.DEADLOCK:
        end = max(now, int(clock[Clock.LAST_ACTIVE]) + 1)
        if end >= limit:
            return Status.LIMIT, limit
    return overall, end


@kernel
def advance(state: State, first: int, last: int, cycle: int, limit: int, to_end: bool) -> tuple[int, int]:
    """Execute cycles from `cycle` on; `to_end`: stop when all programs have ended. Returns (status, cycle in which it stopped).

    With `first` < `last` only the part that these entries of `part_entity` name: its events are put on the empty wheel, and taken off
    again.
    """
    clock, rate, code, plan, row_cycles = state.clock, state.rate, state.code, state.plan, state.row_cycles
    task_entry, queue_of = state.task_entry, state.queue_of
    fifo, ring, chan, rival, core, thread = state.fifo, state.ring, state.chan, state.rival, state.core, state.thread
    switch, binding, sram_fifo = state.switch, state.binding, state.sram_fifo
    event, wheel, work, todo, journal = state.event, state.wheel, state.work, state.todo, state.journal
    mark, trace = state.mark, state.trace
    router_count, router_chan = state.router_count, state.router_chan
    source, sink, host_data = state.source, state.sink, state.host_data
    out_value, out_cycle = state.out_value, state.out_cycle
    sram, sram_f32, sram_u16 = state.sram, state.sram_f32, state.sram_u16
    shadow, regs, regs_f32 = state.shadow, state.regs, state.regs_f32
    num_channels, first_core = chan.shape[0], clock[Clock.FIRST_CORE]
    if first < last:
        load_part(event, wheel, clock, core, state.part_entity, first, last)
    status = Status.RUNNING
    while status == Status.RUNNING:
        if cycle >= clock[Clock.STOP_AT]:
            status = Status.DONE
            break
        if cycle >= limit:
            status = Status.LIMIT
            break
        if to_end and clock[Clock.ALIVE] == 0:
            status = Status.DONE
            break
        if clock[Clock.PENDING] == 0 and clock[Clock.STOP_AT] == NEVER:
            cycle = max(clock[Clock.NOW], clock[Clock.LAST_ACTIVE] + 1)
            status = Status.DEADLOCK
            if cycle >= limit:
                cycle = limit
                status = Status.LIMIT
            break
        if clock[Clock.FULL]:
            break
        slot = cycle & (WHEEL_SLOTS - 1)
        if wheel[1, slot] >= 0:
            if not clock[Clock.TO_END] and clock[Clock.SURE] < cycle + ENOUGH:
                look_ahead(clock, plan, fifo, chan, core, thread, sink, limit, cycle)
            for i in range(collect(event, wheel, clock, work, 1, cycle)):
                k = work[i] - first_core
                at = cycle
                while True:
                    look = NEVER
                    if core[k, Core.STREAM] < 0:
                        look = step_threads(
                            clock, rate, code, plan, row_cycles, task_entry, queue_of, fifo, ring, chan, switch, binding, sram_fifo,
                            core, thread, event, wheel, todo, mark, trace, sram, sram_f32, sram_u16, shadow, regs, regs_f32, k, at,
                        )  # fmt: skip
                    if core[k, Core.STREAM] >= 0:
                        look = run_stream(
                            clock, rate, code, plan, row_cycles, fifo, ring, chan, rival, switch, core, thread, event, wheel, todo,
                            journal, trace, source, sink, out_value, out_cycle, sram, sram_f32, sram_u16, regs, regs_f32,
                            k, core[k, Core.STREAM], cycle,
                        )  # fmt: skip
                    if look > clock[Clock.AHEAD] or not is_alone(plan, core, thread, k):
                        break
                    if clock[Clock.TO_END]:
                        clock[Clock.SURE] = max(clock[Clock.SURE], look)
                    at = look
                if look < NEVER:
                    schedule(event, wheel, clock, work[i], look)
                if todo[0]:
                    drain(
                        clock, rate, plan, fifo, ring, chan, rival, switch, core, thread, event, wheel, todo, journal, trace,
                        source, sink, out_value, out_cycle, cycle,
                    )  # fmt: skip
            if clock[Clock.ALIVE] == 0 and to_end:
                continue
        if wheel[0, slot] >= 0:
            num_routers = 0
            for i in range(collect(event, wheel, clock, work, 0, cycle)):
                c = work[i]
                if c >= num_channels:
                    s = c - num_channels
                    stream_in(clock, rate, fifo, ring, event, wheel, todo, trace, source, host_data, s, c, cycle)
                    continue
                if chan[c, Chan.SWITCH] >= 0:
                    if turn(fifo, ring, chan, switch, event, wheel, clock, todo, c, cycle):
                        num_routers = note_contender(chan, router_count, router_chan, work, num_routers, c)
                elif chan[c, Chan.NUM_RIVALS] and ready_cycle(fifo, ring, c) <= cycle:
                    num_routers = note_contender(chan, router_count, router_chan, work, num_routers, c)
                else:
                    add_todo(todo, c)
            for i in range(num_routers):
                r = work[i]
                if router_count[r] == 1:
                    router_count[r] = 0
                    send_now(
                        clock, rate, fifo, ring, chan, switch, event, wheel, todo, trace, sink, out_value, out_cycle,
                        router_chan[r, 0], cycle,
                    )  # fmt: skip
                else:
                    arbitrate(
                        clock, rate, fifo, ring, chan, switch, event, wheel, todo, trace, sink, out_value, out_cycle, router_count,
                        router_chan, r, cycle,
                    )  # fmt: skip
            if todo[0]:
                drain(
                    clock, rate, plan, fifo, ring, chan, rival, switch, core, thread, event, wheel, todo, journal, trace,
                    source, sink, out_value, out_cycle, cycle,
                )  # fmt: skip
        cycle += 1
        if clock[Clock.FAULT] != Fault.NONE:
            status = Status.FAULT
    if status != Status.RUNNING:
        take_back(fifo, ring, chan, event, wheel, clock, journal, trace, sink, cycle)
    if first < last:
        unload_part(event, wheel, clock, state.part_entity, first, last)
    return status, cycle


@kernel
def settle(state: State, silent: bool, cycle: int) -> None:
    """Bring all cores' counters and memory up to `cycle`, in which a run ended; `silent`: because nothing could move."""
    for k in range(len(state.core)):
        accounted = state.core[k, Core.ACCOUNTED]
        if silent and accounted > cycle:  # looked at again after the last time anything was done
            attribute(
                state.clock, state.code, state.fifo, state.ring, state.plan, state.sram_fifo, state.core, state.thread, state.trace,
                k, cycle, accounted, -1,
            )  # fmt: skip
            state.core[k, Core.ACCOUNTED] = cycle
        account(
            state.clock, state.code, state.plan, state.row_cycles, state.fifo, state.ring, state.sram_fifo, state.core, state.thread,
            state.trace, state.sram, state.sram_f32, state.sram_u16, state.regs, state.regs_f32, k, cycle,
        )  # fmt: skip


@kernel
def wake_source(state: State, entity: int) -> None:
    """Let a host source that has new data send from the current cycle on."""
    schedule(state.event, state.wheel, state.clock, entity, state.clock[Clock.NOW])
