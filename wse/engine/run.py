"""The main loop of the `cycle` engine: event-driven at wavelet granularity, after design section 2.

Only cycles in which something can happen are looked at, and in them only the cores, routers and
host links that can act. Within a cycle the order of visits does not matter: room is judged by the state at the end of the cycle
before, and what is sent arrives later.
"""

from __future__ import annotations

from wse._jit import kernel, leaf
from wse.engine.account import account, attribute
from wse.engine.core import step_core
from wse.engine.fabric import arbitrate, drain, look_ahead, note_contender, send_now, stream_in, take_back
from wse.engine.parts import load_part, unload_part
from wse.engine.state import NEVER, WHEEL_SLOTS, Chan, Clock, Core, State
from wse.engine.switch import turn
from wse.engine.wheel import add_todo, collect, ready_cycle, schedule
from wse.isa import Fault, Status

ENOUGH = 8  # cycles that it pays to look ahead for


@kernel
def run(state: State, limit: int) -> int:
    """Execute cycles from NOW on until the run is over or cycle `limit` is reached; returns a Status.

    RUNNING means that a buffer is nearly full: enlarge a sink's, empty that of notes, and call again.
    """
    clock, plan, chan, event, wheel = state.clock, state.plan, state.chan, state.event, state.wheel
    awaited = clock[Clock.AWAITING] > 0 or clock[Clock.STOP_AT] < NEVER
    # With nothing awaited the run lasts at least as long as any program, so whatever a program does, it does within the run.
    clock[Clock.TO_END] = not awaited
    clock[Clock.AHEAD] = -1 if awaited else limit - 1
    clock[Clock.SURE] = -1
    for c in range(len(chan)):  # the host may have fed what nobody could foresee
        chan[c, Chan.QUIET] = 0 if chan[c, Chan.NUM_RIVALS] else NEVER
    if len(state.part_start) > 2:
        status, cycle = _run_parts(state, limit)
    else:
        status, cycle = _advance(state, clock[Clock.NOW], limit, not awaited and not clock[Clock.REACTIVE])
    clock[Clock.NOW] = cycle
    clock[Clock.STATUS] = status
    if status != Status.RUNNING:
        take_back(state.fifo, state.ring, chan, event, wheel, clock, state.journal, state.sink, cycle)
        for k in range(len(state.core)):
            accounted = state.core[k, Core.ACCOUNTED]
            if status == Status.DEADLOCK and accounted > cycle:  # looked at again after the last time anything was done
                attribute(
                    state.code, state.fifo, state.ring, plan, state.sram_fifo, state.core, state.thread, k, cycle, accounted, -1
                )
                state.core[k, Core.ACCOUNTED] = cycle
            account(
                clock, state.code, plan, state.row_cycles, state.fifo, state.ring, state.sram_fifo, state.core, state.thread,
                state.sram, state.sram_f32, state.sram_u16, state.regs, state.regs_f32, k, cycle,
            )  # fmt: skip
    if status == Status.DEADLOCK and clock[Clock.REACTIVE] and not awaited and clock[Clock.ALIVE] == 0:
        status = Status.DONE  # a reactive program is over when nothing can move
        clock[Clock.STATUS] = status
    return status


@leaf
def _run_parts(state, limit):
    """`_advance` for parts that share nothing: one after another. Returns (status, cycle)."""
    clock, event, wheel, core = state.clock, state.event, state.wheel, state.core
    part_entity, part_start = state.part_entity, state.part_start
    wheel[:] = -1
    num_parts = len(part_start) - 1
    overall, end = Status.DONE, clock[Clock.NOW]
    for p in range(num_parts):
        load_part(event, wheel, clock, core, part_entity, part_start[p], part_start[p + 1])
        status, cycle = _advance(state, clock[Clock.NOW], limit, True)
        take_back(state.fifo, state.ring, state.chan, event, wheel, clock, state.journal, state.sink, cycle)
        unload_part(event, wheel, clock, part_entity, part_start[p], part_start[p + 1])
        end = max(end, cycle)
        if overall == Status.DONE or status == Status.LIMIT:
            overall = status
    # the others go on until the run ends, or, if it ends because nothing can move, until nothing can move in them either
    upto = limit if overall == Status.DEADLOCK else end
    for p in range(num_parts):
        load_part(event, wheel, clock, core, part_entity, part_start[p], part_start[p + 1])
        if clock[Clock.PENDING] > 0:
            _, cycle = _advance(state, clock[Clock.NOW], upto, False)
            take_back(state.fifo, state.ring, state.chan, event, wheel, clock, state.journal, state.sink, cycle)
            unload_part(event, wheel, clock, part_entity, part_start[p], part_start[p + 1])
    if overall == Status.DEADLOCK:
        end = max(clock[Clock.NOW], clock[Clock.LAST_ACTIVE] + 1)
        if end >= limit:
            return Status.LIMIT, limit
    return overall, end


@leaf
def _advance(state, cycle, limit, to_end):
    """Execute cycles from `cycle` on. Returns (status, cycle in which it stopped); `to_end`: stop when all programs have ended."""
    clock, rate, code, plan, row_cycles = state.clock, state.rate, state.code, state.plan, state.row_cycles
    task_entry, queue_of = state.task_entry, state.queue_of
    fifo, ring, chan, rival, core, thread = state.fifo, state.ring, state.chan, state.rival, state.core, state.thread
    switch, binding, sram_fifo = state.switch, state.binding, state.sram_fifo
    event, wheel, work, todo, journal, note = state.event, state.wheel, state.work, state.todo, state.journal, state.note
    router_count, router_chan = state.router_count, state.router_chan
    source, sink, host_data = state.source, state.sink, state.host_data
    out_value, out_cycle = state.out_value, state.out_cycle
    sram, sram_f32, sram_u16 = state.sram, state.sram_f32, state.sram_u16
    regs, regs_f32 = state.regs, state.regs_f32
    num_channels, first_core = chan.shape[0], clock[Clock.FIRST_CORE]
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
                step_core(
                    clock, rate, code, plan, row_cycles, task_entry, queue_of, fifo, ring, chan, rival, switch, binding, sram_fifo,
                    core, thread, event, wheel, todo, journal, note, source, sink, out_value, out_cycle, sram, sram_f32, sram_u16, regs,
                    regs_f32, first_core, work[i] - first_core, cycle,
                )  # fmt: skip
                if todo[0]:
                    drain(
                        clock, rate, plan, fifo, ring, chan, rival, switch, core, thread, event, wheel, todo, journal,
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
                    stream_in(clock, rate, fifo, ring, event, wheel, todo, source, host_data, s, c, cycle)
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
                        clock, rate, fifo, ring, chan, switch, event, wheel, todo, sink, out_value, out_cycle,
                        router_chan[r, 0], cycle,
                    )  # fmt: skip
                else:
                    arbitrate(
                        clock, rate, fifo, ring, chan, switch, event, wheel, todo, sink, out_value, out_cycle, router_count, router_chan,
                        r, cycle,
                    )  # fmt: skip
            if todo[0]:
                drain(
                    clock, rate, plan, fifo, ring, chan, rival, switch, core, thread, event, wheel, todo, journal,
                    source, sink, out_value, out_cycle, cycle,
                )  # fmt: skip
        cycle += 1
        if clock[Clock.FAULT] != Fault.NONE:
            status = Status.FAULT
    return status, cycle


@kernel
def wake_source(state: State, entity: int) -> None:
    """Let a host source that has new data send from the current cycle on."""
    schedule(state.event, state.wheel, state.clock, entity, state.clock[Clock.NOW])
