"""The `cycle` engine: event-driven at wavelet granularity, after design section 2.

Only cycles in which something can happen are looked at, and in them only the cores, routers and
host links that can act. Within a cycle the order of visits does not matter: room is judged by the state at the end of the cycle
before, and what is sent arrives later.
"""

from __future__ import annotations

from wse._jit import kernel
from wse.core import account, attribute, step_core
from wse.events import collect, schedule
from wse.fabric import arbitrate, no_wavelet, note_contender, stream_in, try_send
from wse.isa import Fault, Status
from wse.state import NEVER, WHEEL_SLOTS, Chan, Clock, Core, Rate, State


@kernel
def run(state: State, limit: int) -> int:
    """Execute cycles from NOW on until the run is over or cycle `limit` is reached; returns a Status.

    RUNNING means that a sink's buffer is full: enlarge it and call again.
    """
    clock, rate, code = state.clock, state.rate, state.code
    op_class, flops, task_entry = state.op_class, state.flops, state.task_entry
    fifo, ring, chan, core, thread = state.fifo, state.ring, state.chan, state.core, state.thread
    event, wheel, work = state.event, state.wheel, state.work
    router_count, router_chan = state.router_count, state.router_chan
    source, sink, host_data = state.source, state.sink, state.host_data
    out_value, out_cycle = state.out_value, state.out_cycle
    sram, sram_f32, sram_u16 = state.sram, state.sram_f32, state.sram_u16
    regs, regs_f32 = state.regs, state.regs_f32
    num_channels, num_cores = chan.shape[0], core.shape[0]
    hop = rate[Rate.HOP]
    awaited = clock[Clock.AWAITING] > 0 or clock[Clock.STOP_AT] < NEVER
    cycle = clock[Clock.NOW]
    status = Status.RUNNING
    while status == Status.RUNNING:
        if cycle >= clock[Clock.STOP_AT]:
            status = Status.DONE
            break
        if cycle >= limit:
            status = Status.LIMIT
            break
        if not awaited and clock[Clock.ALIVE] == 0:
            status = Status.DONE
            break
        if clock[Clock.PENDING] == 0 and clock[Clock.STOP_AT] == NEVER:
            cycle = max(clock[Clock.NOW], clock[Clock.LAST_ACTIVE] + 1)
            status = Status.DEADLOCK
            if cycle >= limit:
                cycle = limit
                status = Status.LIMIT
            break
        if clock[Clock.SINK_FULL]:
            break
        slot = cycle & (WHEEL_SLOTS - 1)
        if wheel[1, slot] >= 0:
            for i in range(collect(event, wheel, clock, work, 1, cycle)):
                step_core(
                    clock, rate, code, op_class, flops, task_entry, fifo, ring, chan, core, thread, event, wheel,
                    sram, sram_f32, sram_u16, regs, regs_f32, num_channels, num_cores, work[i] - num_channels, cycle,
                )  # fmt: skip
            if clock[Clock.ALIVE] == 0 and not awaited:
                continue
        if wheel[0, slot] >= 0:
            num_routers = 0
            for i in range(collect(event, wheel, clock, work, 0, cycle)):
                c = work[i]
                if c >= num_channels:
                    s = c - num_channels - num_cores
                    stream_in(fifo, ring, event, wheel, clock, source, host_data, hop, num_channels, s, c, cycle)
                    continue
                later = no_wavelet(fifo, ring, c, cycle)
                if later:
                    if later < NEVER:
                        schedule(event, wheel, clock, 0, c, later)
                elif chan[c, Chan.CONTENDED]:
                    num_routers = note_contender(chan, router_count, router_chan, work, num_routers, c)
                else:
                    try_send(
                        fifo, ring, chan, event, wheel, clock, sink, out_value, out_cycle, hop, num_channels, num_cores, c, cycle
                    )
            for i in range(num_routers):
                arbitrate(
                    fifo, ring, chan, event, wheel, clock, sink, out_value, out_cycle, router_count, router_chan, hop,
                    num_channels, num_cores, work[i], cycle,
                )  # fmt: skip
        cycle += 1
        if clock[Clock.FAULT] != Fault.NONE:
            status = Status.FAULT
    clock[Clock.NOW] = cycle
    clock[Clock.STATUS] = status
    if status != Status.RUNNING:
        for k in range(num_cores):
            accounted = core[k, Core.ACCOUNTED]
            if status == Status.DEADLOCK and accounted > cycle:  # looked at again after the last time anything was done
                attribute(fifo, ring, core, thread, k, cycle, accounted, -1)
                core[k, Core.ACCOUNTED] = cycle
            account(clock, code, fifo, ring, core, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, cycle)
    return status


@kernel
def wake_source(state: State, entity: int) -> None:
    """Let a host source that has new data send from the current cycle on."""
    schedule(state.event, state.wheel, state.clock, 0, entity, state.clock[Clock.NOW])
