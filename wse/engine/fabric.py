"""Routers and host links: how wavelets move, and arbitration where colors share a port.

A channel sends a wavelet in the first cycle in which it is there and every destination has room, and that cycle is worked out as
soon as both are known, which is usually ahead of time. Where colors share a port, this holds as long as no rival can have
a wavelet there by then; otherwise the routers settle it in the cycle itself. What was sent ahead is kept in a journal until
its cycle has passed, and taken back when the run ends before.
"""

from __future__ import annotations

from wse._jit import inline, leaf
from wse.engine.state import HORIZON, NEVER, Chan, Clock, Core, Fifo, Phase, Plan, Rate, Sent, Sink, Source, Thread, Turn, Waits
from wse.engine.switch import CONTROL_BIT, count_ports, obey, popped_bits, schedule_switch, served_fifo
from wse.engine.trace import Category, Note, count_back, note, settle
from wse.engine.wheel import add_todo, head_cycle, head_slot, last_exit, pop, push, room_cycle, schedule, wake_consumer, wake_producer


@leaf
def drain(
    clock, rate, plan, fifo, ring, chan, rival, switch, core, thread, event, wheel, todo, journal, trace,
    source, sink, out_value, out_cycle, cycle,
):  # fmt: skip
    """Let every channel that was noted send what it can: each wavelet in its cycle, until one has to wait for what is not known yet."""
    while todo[0] > 0:
        c = todo[todo[0]]
        todo[0] -= 1
        if chan[c, Chan.SWITCH] >= 0:
            schedule_switch(fifo, ring, chan, switch, event, wheel, clock, c, cycle)
        elif chan[c, Chan.NUM_DST] == 1 and chan[c, Chan.DST] >= 0:
            _send_line(
                clock, rate, plan, fifo, ring, chan, rival, core, thread, event, wheel, todo, journal, trace, source, c, cycle, False
            )
        elif chan[c, Chan.NUM_DST] == 2 and chan[c, Chan.DST] >= 0 and chan[c, Chan.DST + 1] >= 0:
            _send_line(
                clock, rate, plan, fifo, ring, chan, rival, core, thread, event, wheel, todo, journal, trace, source, c, cycle, True
            )
        else:
            _send_tree(
                clock, rate, plan, fifo, ring, chan, rival, core, thread, event, wheel, todo, journal, trace,
                source, sink, out_value, out_cycle, c, cycle,
            )  # fmt: skip


@inline
def _send_line(clock, rate, plan, fifo, ring, chan, rival, core, thread, event, wheel, todo, journal, trace, source, c, cycle, both):
    """`drain` for channel c with one or two (`both`) destinations on the mesh: what the FIFOs hold stays in locals between wavelets.

    `both` is a literal, so that there is one copy of this for each.
    """
    head, count, base, mask = fifo[c, Fifo.HEAD], fifo[c, Fifo.COUNT], fifo[c, Fifo.BASE], fifo[c, Fifo.MASK]
    d, d_latency, d_count, d_room, d_end, d_base, d_mask = _destination(clock, rate, fifo, chan[c, Chan.DST])
    e, e_latency, e_count, e_room, e_end, e_base, e_mask = d, d_latency, d_count, d_room, d_end, d_base, d_mask
    if both:
        e, e_latency, e_count, e_room, e_end, e_base, e_mask = _destination(clock, rate, fifo, chan[c, Chan.DST + 1])
    quiet = chan[c, Chan.QUIET]
    traced = clock[Clock.TRACED] & Category.FABRIC and chan[c, Chan.TRACED]
    at = ring[base + ((head - 1) & mask), 0]
    first = at
    sent = 0
    wait = 0
    while count > 0:
        if d_count + sent >= d_room or (both and e_count + sent >= e_room):
            if d_count + sent >= d_room:
                fifo[d, Fifo.WAITS] |= Waits.PRODUCER
            if both and e_count + sent >= e_room:
                fifo[e, Fifo.WAITS] |= Waits.PRODUCER
            break
        slot = base + (head & mask)
        usable = ring[slot, 0]
        leave = max(at + 1, usable, ring[d_base + ((d_end - d_room) & d_mask), 0] + 1)
        if both:
            leave = max(leave, ring[e_base + ((e_end - e_room) & e_mask), 0] + 1)
        if leave >= quiet:
            quiet = _quiet_until(clock, plan, fifo, ring, chan, rival, core, thread, source, c, leave, cycle)
            chan[c, Chan.QUIET] = quiet
        if leave >= quiet or not _note_sent(clock, journal, len(chan), ring[slot, 1], usable, c, leave, cycle):
            schedule(event, wheel, clock, c, leave)
            break
        at = leave
        ring[slot, 0] = at
        to = d_base + (d_end & d_mask)
        ring[to, 0] = at + d_latency
        ring[to, 1] = ring[slot, 1]
        if both:
            to = e_base + (e_end & e_mask)
            ring[to, 0] = at + e_latency
            ring[to, 1] = ring[slot, 1]
        if sent == 0:
            first = at
        wait += at - usable
        if traced:
            note(trace, Note.SEND, at, at + 1, c, ring[slot, 1], chan[c, Chan.TX], chan[c, Chan.SENT] + sent, usable)
        head += 1
        count -= 1
        d_end += 1
        e_end += 1
        sent += 1
    if sent > 0:
        fifo[c, Fifo.HEAD] = head
        fifo[c, Fifo.COUNT] = count
        fifo[d, Fifo.COUNT] = d_count + sent
        chan[c, Chan.SENT] += sent
        chan[c, Chan.WAIT] += wait
        clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], at)
        wake_producer(fifo, event, wheel, clock, todo, c, first)
        wake_consumer(fifo, event, wheel, clock, todo, d, d_count, first + d_latency)
        if both:
            fifo[e, Fifo.COUNT] = e_count + sent
            wake_consumer(fifo, event, wheel, clock, todo, e, e_count, first + e_latency)


@inline
def _destination(clock, rate, fifo, d):
    """FIFO d, cycles to it, and what it holds: (d, latency, entries, room, number of its next entry, base, mask)."""
    latency = rate[Rate.HOP] if d < clock[Clock.NUM_ROUTER_FIFOS] else rate[Rate.RAMP_IN]
    count = fifo[d, Fifo.COUNT]
    return d, latency, count, fifo[d, Fifo.ROOM], fifo[d, Fifo.HEAD] + count, fifo[d, Fifo.BASE], fifo[d, Fifo.MASK]


@leaf
def _send_tree(
    clock, rate, plan, fifo, ring, chan, rival, core, thread, event, wheel, todo, journal, trace, source, sink, out_value, out_cycle,
    c, cycle,
):  # fmt: skip
    """`drain` for channel c with more than two destinations, or with one off the mesh."""
    at = last_exit(fifo, ring, c)
    while fifo[c, Fifo.COUNT] > 0:
        slot = head_slot(fifo, c)
        usable = ring[slot, 0]
        at = max(at + 1, usable)
        full = False
        for i in range(chan[c, Chan.NUM_DST]):
            d = chan[c, Chan.DST + i]
            if d >= 0:
                free = room_cycle(fifo, ring, d)
                if free == NEVER:
                    fifo[d, Fifo.WAITS] |= Waits.PRODUCER
                at = max(at, free)
            else:
                full |= sink[-1 - d, Sink.COUNT] == out_value.shape[1]
        if at == NEVER:
            break
        if full:  # once there is a larger buffer
            schedule(event, wheel, clock, c, at)
            break
        if at >= chan[c, Chan.QUIET]:
            chan[c, Chan.QUIET] = _quiet_until(clock, plan, fifo, ring, chan, rival, core, thread, source, c, at, cycle)
        if at >= chan[c, Chan.QUIET] or not _note_sent(clock, journal, len(chan), ring[slot, 1], usable, c, at, cycle):
            schedule(event, wheel, clock, c, at)
            break
        bits = pop(fifo, ring, event, wheel, clock, todo, c, at)
        _send(clock, rate, fifo, ring, chan, event, wheel, todo, trace, sink, out_value, out_cycle, c, bits, usable, at)


@inline
def _send(clock, rate, fifo, ring, chan, event, wheel, todo, trace, sink, out_value, out_cycle, c, bits, usable, at):
    """Send a wavelet that channel c has just taken out of its FIFO, in cycle `at`; it could have left from `usable` on."""
    if clock[Clock.TRACED] & Category.FABRIC and chan[c, Chan.TRACED]:
        note(trace, Note.SEND, at, at + 1, c, bits, chan[c, Chan.TX], chan[c, Chan.SENT], usable)
    chan[c, Chan.SENT] += 1
    chan[c, Chan.WAIT] += at - usable
    for i in range(chan[c, Chan.NUM_DST]):
        d = chan[c, Chan.DST + i]
        if d >= 0:
            latency = rate[Rate.HOP] if d < clock[Clock.NUM_ROUTER_FIFOS] else rate[Rate.RAMP_IN]
            push(fifo, ring, event, wheel, clock, todo, d, at + latency, bits)
        else:
            _deliver(clock, trace, sink, out_value, out_cycle, -1 - d, at, at + rate[Rate.HOP], bits)
    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], at)


@inline
def _quiet_until(clock, plan, fifo, ring, chan, rival, core, thread, source, c, at, cycle):
    """A cycle before which no rival of channel c has a wavelet to send; stops looking once it is not after `at`."""
    quiet = NEVER
    first = chan[c, Chan.RIVALS]
    for j in range(first, first + chan[c, Chan.NUM_RIVALS]):
        other = rival[j]
        s = chan[other, Chan.SOURCE]
        if chan[other, Chan.SWITCH] >= 0:
            arrival = cycle
        elif fifo[other, Fifo.COUNT] > 0:
            arrival = head_cycle(fifo, ring, other)
        elif s < 0:
            arrival = cycle
        else:
            k = fifo[s, Fifo.PRODUCER] - clock[Clock.FIRST_CORE]
            if fifo[s, Fifo.HEAD] + fifo[s, Fifo.COUNT] != fifo[other, Fifo.HEAD]:
                arrival = cycle  # some wavelet is on its way
            elif k < 0:
                host = fifo[s, Fifo.PRODUCER] - clock[Clock.NUM_CHANNELS]
                arrival = cycle + chan[other, Chan.DELAY] if source[host, Source.POS] < source[host, Source.END] else NEVER
            else:
                arrival = _next_beat(plan, core, thread, k, s, cycle)
                if arrival < NEVER:
                    arrival += chan[other, Chan.DELAY]
        quiet = min(quiet, arrival)
        if quiet <= at:
            break
    return quiet


@inline
def look_ahead(clock, plan, fifo, chan, core, thread, sink, limit, cycle):
    """Work out how long the run will last at least while outputs are awaited: until the last of them can have arrived."""
    sure = cycle
    for s in range(len(sink)):
        c = sink[s, Sink.CHANNEL]
        f = chan[c, Chan.SOURCE]
        if f < 0:
            continue
        k = fifo[f, Fifo.PRODUCER] - clock[Clock.FIRST_CORE]
        missing = sink[s, Sink.AWAITED] - (fifo[f, Fifo.HEAD] + fifo[f, Fifo.COUNT])
        if k >= 0 and missing > 0:
            at = _next_beat(plan, core, thread, k, f, cycle)
            if at < NEVER:
                sure = max(sure, at + missing - 1 + chan[c, Chan.DELAY])
    clock[Clock.SURE] = min(sure, limit - 1)
    clock[Clock.AHEAD] = clock[Clock.SURE]


@inline
def _next_beat(plan, core, thread, k, f, cycle):
    """A cycle before which core k executes no further beat that sends into FIFO f."""
    if core[k, Core.LISTENS]:
        return cycle
    if core[k, Core.ENDED]:
        return NEVER
    th = core[k, Core.STREAM]
    if th < 0:
        th = core[k, Core.THREAD]
        if core[k, Core.LIVE] == 0:
            return max(cycle, core[k, Core.READY]) if core[k, Core.RUNNING] else cycle
        if core[k, Core.LIVE] > 1 or thread[th, Thread.PHASE] == Phase.FREE:
            return cycle
    # nothing can happen on this core before the end of the operation on thread row th
    at = max(cycle, thread[th, Thread.NEXT])
    if thread[th, Thread.PHASE] == Phase.LIVE and thread[th, Thread.FIFO_D] != f:
        i = thread[th, Thread.ROW]
        at += (thread[th, Thread.NUM] - thread[th, Thread.POS]) // plan[i, Plan.LANES] * plan[i, Plan.CYCLES]
    return at


@inline
def _note_sent(clock, journal, num_channels, bits, usable, c, at, cycle):
    """Write into the journal that channel c sends in cycle `at`; False if that is too far ahead, or there are too many.

    The journal always has a place for a wavelet of every channel in the cycle at hand.
    """
    if at <= clock[Clock.SURE]:
        return True
    if at > cycle + HORIZON:
        return False
    n = clock[Clock.NUM_SENT]
    if n >= len(journal) - num_channels:
        if clock[Clock.SWEPT] != cycle:
            n = _sweep(clock, journal, cycle)
        if at > cycle and n >= len(journal) - num_channels:
            return False
    journal[n, Sent.CHANNEL] = c
    journal[n, Sent.CYCLE] = at
    journal[n, Sent.USABLE] = usable
    journal[n, Sent.BITS] = bits
    clock[Clock.NUM_SENT] = n + 1
    return True


@leaf
def _sweep(clock, journal, cycle):
    """Forget what was sent before `cycle`: it will not be taken back. Returns how many entries stay."""
    kept = 0
    for n in range(clock[Clock.NUM_SENT]):
        if journal[n, Sent.CYCLE] >= cycle:
            for column in range(4):
                journal[kept, column] = journal[n, column]
            kept += 1
    clock[Clock.NUM_SENT] = kept
    clock[Clock.SWEPT] = cycle
    return kept


@leaf
def take_back(fifo, ring, chan, event, wheel, clock, journal, trace, sink, end):
    """Undo what was sent in cycle `end` or later, latest first, as if it had yet to be sent; empties the journal, settles the trace."""
    for n in range(clock[Clock.NUM_SENT] - 1, -1, -1):
        at = journal[n, Sent.CYCLE]
        if at < end:
            continue
        c = journal[n, Sent.CHANNEL]
        for i in range(chan[c, Chan.NUM_DST]):
            d = chan[c, Chan.DST + i]
            if d >= 0:
                fifo[d, Fifo.COUNT] -= 1
                # what left this slot before is no longer known, but it left before `end`: there is room from then on
                ring[fifo[d, Fifo.BASE] + ((fifo[d, Fifo.HEAD] + fifo[d, Fifo.COUNT]) & fifo[d, Fifo.MASK]), 0] = end - 1
            else:
                sink[-1 - d, Sink.COUNT] -= 1
                if clock[Clock.TRACED] & Category.HOST and sink[-1 - d, Sink.TRACED]:
                    count_back(trace, at)
        fifo[c, Fifo.HEAD] -= 1
        fifo[c, Fifo.COUNT] += 1
        slot = head_slot(fifo, c)
        ring[slot, 0] = journal[n, Sent.USABLE]
        ring[slot, 1] = journal[n, Sent.BITS]
        chan[c, Chan.SENT] -= 1
        chan[c, Chan.WAIT] -= at - journal[n, Sent.USABLE]
        schedule(event, wheel, clock, c, at)
        if clock[Clock.TRACED] & Category.FABRIC and chan[c, Chan.TRACED]:
            count_back(trace, at)
    clock[Clock.NUM_SENT] = 0
    settle(trace, end)


@leaf
def _deliver(clock, trace, sink, out_value, out_cycle, s, at, arrival, bits):
    """A wavelet leaves the mesh for the host in cycle `at`; the last awaited one ends the run when it arrives."""
    n = sink[s, Sink.COUNT]
    if clock[Clock.TRACED] & Category.HOST and sink[s, Sink.TRACED]:
        note(trace, Note.HOST_OUT, at, at + 1, s, bits, 0, n, arrival)
    out_value[s, n] = bits
    out_cycle[s, n] = arrival
    n += 1
    sink[s, Sink.COUNT] = n
    if n == sink[s, Sink.AWAITED]:
        clock[Clock.AWAITING] -= 1
        clock[Clock.LAST_AWAITED] = max(clock[Clock.LAST_AWAITED], arrival)
        if clock[Clock.AWAITING] == 0:
            clock[Clock.STOP_AT] = clock[Clock.LAST_AWAITED]
    if n + HORIZON >= out_value.shape[1]:
        clock[Clock.FULL] = 1


@leaf
def send_now(clock, rate, fifo, ring, chan, switch, event, wheel, todo, trace, sink, out_value, out_cycle, c, cycle):
    """Send the oldest wavelet of channel c in `cycle` through all its tx ports, if every destination has room.

    The wavelet is there and the ports are free: the caller has seen to that. Without room the channel
    sleeps until there is. Returns whether it sent.
    """
    for i in range(chan[c, Chan.NUM_DST]):
        d = chan[c, Chan.DST + i]
        if d >= 0 and not has_room(fifo, ring, event, wheel, clock, c, d, cycle):
            return False
    s = chan[c, Chan.SWITCH]
    f = served_fifo(chan, switch, c)
    usable = head_cycle(fifo, ring, f)
    bits = pop(fifo, ring, event, wheel, clock, todo, f, cycle)
    obeys = s >= 0 and bits & CONTROL_BIT != 0 and switch[s, Turn.OBEYS] == 1
    carried = popped_bits(switch, s, bits) if obeys else bits
    _send(clock, rate, fifo, ring, chan, event, wheel, todo, trace, sink, out_value, out_cycle, c, carried, usable, cycle)
    if s >= 0:
        count_ports(chan, switch, c)
        if obeys:
            obey(chan, switch, clock, s, bits, cycle)
    add_todo(todo, c)
    return True


@inline
def has_room(fifo, ring, event, wheel, clock, entity, d, cycle):
    """Whether FIFO d has room in `cycle`; if not, `entity` (a channel or a source) is woken when it does."""
    room = room_cycle(fifo, ring, d)
    if room <= cycle:
        return True
    if room < NEVER:
        schedule(event, wheel, clock, entity, room)
    else:
        fifo[d, Fifo.WAITS] |= Waits.PRODUCER
    return False


@leaf
def stream_in(clock, rate, fifo, ring, event, wheel, todo, trace, source, host_data, s, entity, cycle):
    """Host source s puts its next wavelet on its link, if the router has room."""
    d = source[s, Source.DST]
    pos = source[s, Source.POS]
    if pos == source[s, Source.END] or not has_room(fifo, ring, event, wheel, clock, entity, d, cycle):
        return
    push(fifo, ring, event, wheel, clock, todo, d, cycle + rate[Rate.HOP], host_data[pos])
    if clock[Clock.TRACED] & Category.HOST and source[s, Source.TRACED]:
        note(trace, Note.HOST_IN, cycle, cycle + 1, s, host_data[pos], 0, 0, 0)
    source[s, Source.POS] = pos + 1
    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], cycle)
    if pos + 1 < source[s, Source.END]:
        schedule(event, wheel, clock, entity, cycle + 1)


@inline
def note_contender(chan, router_count, router_chan, work, num_routers, c):
    """Remember that channel c wants to send this cycle; returns the number of routers noted."""
    r = chan[c, Chan.ROUTER]
    n = router_count[r]
    router_chan[r, n] = c
    router_count[r] = n + 1
    if n == 0:
        work[num_routers] = r
        num_routers += 1
    return num_routers


@leaf
def arbitrate(
    clock, rate, fifo, ring, chan, switch, event, wheel, todo, trace, sink, out_value, out_cycle, router_count, router_chan, r, cycle,
):  # fmt: skip
    """Serve the contenders of router r: the wavelet that could have left earliest first, ties to the lower color."""
    n = router_count[r]
    router_count[r] = 0
    for i in range(1, n):  # insertion sort by (cycle it could first have left, color); few entries
        c = router_chan[r, i]
        usable = head_cycle(fifo, ring, served_fifo(chan, switch, c))
        j = i
        while j > 0:
            other = router_chan[r, j - 1]
            before = head_cycle(fifo, ring, served_fifo(chan, switch, other))
            if before < usable or (before == usable and other < c):  # channels of a router are in the order of their colors
                break
            router_chan[r, j] = other
            j -= 1
        router_chan[r, j] = c
    taken = 0
    for i in range(n):
        c = router_chan[r, i]
        ports = chan[c, Chan.TX]
        if taken & ports:
            schedule(event, wheel, clock, c, cycle + 1)
        elif send_now(clock, rate, fifo, ring, chan, switch, event, wheel, todo, trace, sink, out_value, out_cycle, c, cycle):
            taken |= ports
