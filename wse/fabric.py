"""Routers and host links: one attempt to move a wavelet in a cycle, and arbitration where colors share a port."""

from __future__ import annotations

from wse._jit import inline, leaf
from wse.events import has_room, head_slot, pop, push, schedule, wait_for_room
from wse.state import NEVER, Chan, Clock, Fifo, Sink, Source


@inline
def try_send(fifo, ring, chan, event, wheel, clock, sink, out_value, out_cycle, hop, num_channels, num_cores, c, cycle):
    """Send the oldest wavelet of channel c through all its tx ports, if every destination had room.

    The wavelet is there and the ports are free: the caller has seen to that. Without room the channel
    sleeps until the full destination is popped. Returns whether it sent.
    """
    num_dst = chan[c, Chan.NUM_DST]
    for i in range(num_dst):
        d = chan[c, Chan.DST + i]
        if d >= 0 and not has_room(fifo, d, cycle):
            wait_for_room(fifo, event, wheel, clock, 0, c, d, cycle)
            return False
    slot = head_slot(fifo, c)
    there = ring[slot, 0]
    bits = ring[slot, 1]
    pop(fifo, event, wheel, clock, num_channels, num_cores, c, cycle)
    for i in range(num_dst):
        d = chan[c, Chan.DST + i]
        if d >= 0:
            push(fifo, ring, event, wheel, clock, num_channels, d, cycle + fifo[d, Fifo.LATENCY], bits)
        else:
            _deliver(clock, sink, out_value, out_cycle, -1 - d, cycle + hop, bits)
    chan[c, Chan.SENT] += 1
    chan[c, Chan.WAIT] += cycle - there
    if fifo[c, Fifo.COUNT] > 0:
        there = ring[head_slot(fifo, c), 0]
        schedule(event, wheel, clock, 0, c, there if there > cycle else cycle + 1)
    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], cycle)
    return True


@leaf
def _deliver(clock, sink, out_value, out_cycle, s, arrival, bits):
    """A wavelet leaves the mesh for the host; the last awaited one ends the run when it arrives."""
    n = sink[s, Sink.COUNT]
    out_value[s, n] = bits
    out_cycle[s, n] = arrival
    n += 1
    sink[s, Sink.COUNT] = n
    if n == sink[s, Sink.AWAITED]:
        clock[Clock.AWAITING] -= 1
        if clock[Clock.AWAITING] == 0:
            clock[Clock.STOP_AT] = arrival
    if n == out_value.shape[1]:
        clock[Clock.SINK_FULL] = 1


@leaf
def stream_in(fifo, ring, event, wheel, clock, source, host_data, hop, num_channels, s, entity, cycle):
    """Host source s puts its next wavelet on its link, if the router had room."""
    d = source[s, Source.DST]
    pos = source[s, Source.POS]
    if pos == source[s, Source.END]:
        return
    if not has_room(fifo, d, cycle):
        wait_for_room(fifo, event, wheel, clock, 0, entity, d, cycle)
        return
    push(fifo, ring, event, wheel, clock, num_channels, d, cycle + hop, host_data[pos])
    source[s, Source.POS] = pos + 1
    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], cycle)
    if pos + 1 < source[s, Source.END]:
        schedule(event, wheel, clock, 0, entity, cycle + 1)


@inline
def note_contender(chan, router_count, router_chan, work, num_routers, c):
    """Remember that contended channel c wants to send this cycle; returns the number of routers noted."""
    r = chan[c, Chan.ROUTER]
    n = router_count[r]
    router_chan[r, n] = c
    router_count[r] = n + 1
    if n == 0:
        work[num_routers] = r
        num_routers += 1
    return num_routers


@leaf
def arbitrate(fifo, ring, chan, event, wheel, clock, sink, out_value, out_cycle, router_count, router_chan, hop,
              num_channels, num_cores, r, cycle):  # fmt: skip
    """Serve the contenders of router r: the wavelet that could have left earliest first, ties to the lower color."""
    n = router_count[r]
    router_count[r] = 0
    for i in range(1, n):  # insertion sort by (cycle it could first have left, color); few entries
        c = router_chan[r, i]
        there = ring[head_slot(fifo, c), 0]
        j = i
        while j > 0:
            other = router_chan[r, j - 1]
            other_there = ring[head_slot(fifo, other), 0]
            if other_there < there or (other_there == there and chan[other, Chan.COLOR] < chan[c, Chan.COLOR]):
                break
            router_chan[r, j] = other
            j -= 1
        router_chan[r, j] = c
    taken = 0
    for i in range(n):
        c = router_chan[r, i]
        ports = chan[c, Chan.TX]
        if taken & ports:
            schedule(event, wheel, clock, 0, c, cycle + 1)
        elif try_send(
            fifo, ring, chan, event, wheel, clock, sink, out_value, out_cycle, hop, num_channels, num_cores, c, cycle
        ):
            taken |= ports


@leaf
def no_wavelet(fifo, ring, c, cycle):
    """0 if channel c has a wavelet that can leave in `cycle`, else the cycle to look again (NEVER: a push will wake it)."""
    if fifo[c, Fifo.COUNT] == 0:
        return NEVER
    there = ring[head_slot(fifo, c), 0]
    return there if there > cycle else 0
