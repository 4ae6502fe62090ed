"""The event wheel and the FIFOs: who acts in which cycle, and how wavelets wait.

The wheel is a ring of lists, one slot per cycle modulo its size; an entity is in at most one list.
Waking an entity too early is harmless: it looks, finds nothing to do, and sleeps again.
"""

from __future__ import annotations

from wse._jit import inline
from wse.state import WHEEL_SLOTS, Clock, Event, Fifo


@inline
def schedule(event, wheel, clock, kind, entity, cycle):
    """See to it that `entity` is looked at in `cycle` at the latest; kind 0 channels and sources, 1 cores."""
    when = event[entity, Event.WHEN]
    if when >= 0:
        if when <= cycle:
            return
        before = event[entity, Event.PREVIOUS]
        after = event[entity, Event.NEXT]
        if before >= 0:
            event[before, Event.NEXT] = after
        else:
            wheel[kind, when & (WHEEL_SLOTS - 1)] = after
        if after >= 0:
            event[after, Event.PREVIOUS] = before
    else:
        clock[Clock.PENDING] += 1
    slot = cycle & (WHEEL_SLOTS - 1)
    first = wheel[kind, slot]
    event[entity, Event.WHEN] = cycle
    event[entity, Event.NEXT] = first
    event[entity, Event.PREVIOUS] = -1
    if first >= 0:
        event[first, Event.PREVIOUS] = entity
    wheel[kind, slot] = entity


@inline
def collect(event, wheel, clock, work, kind, cycle):
    """Take the entities due in `cycle` off the wheel into `work`; returns how many. Later rounds stay."""
    slot = cycle & (WHEEL_SLOTS - 1)
    entity = wheel[kind, slot]
    wheel[kind, slot] = -1
    num = 0
    kept = -1
    while entity >= 0:
        following = event[entity, Event.NEXT]
        if event[entity, Event.WHEN] == cycle:
            event[entity, Event.WHEN] = -1
            work[num] = entity
            num += 1
        else:
            event[entity, Event.NEXT] = kept
            event[entity, Event.PREVIOUS] = -1
            if kept >= 0:
                event[kept, Event.PREVIOUS] = entity
            kept = entity
        entity = following
    wheel[kind, slot] = kept
    clock[Clock.PENDING] -= num
    return num


@inline
def has_room(fifo, f, cycle):
    """Whether FIFO f had room at the end of cycle - 1: what was popped in `cycle` still counts."""
    popped = 1 if fifo[f, Fifo.LAST_POP] == cycle else 0
    return fifo[f, Fifo.COUNT] + popped < fifo[f, Fifo.ROOM]


@inline
def wait_for_room(fifo, event, wheel, clock, kind, entity, f, cycle):
    """`entity` found no room in FIFO f: look again when there is, which is next cycle if f was popped in this one."""
    if fifo[f, Fifo.COUNT] < fifo[f, Fifo.ROOM]:
        schedule(event, wheel, clock, kind, entity, cycle + 1)
    else:
        fifo[f, Fifo.PRODUCER_WAITS] = 1


@inline
def head_slot(fifo, f):
    """Ring slot of the oldest entry of FIFO f."""
    return fifo[f, Fifo.BASE] + (fifo[f, Fifo.HEAD] & fifo[f, Fifo.MASK])


@inline
def pop(fifo, event, wheel, clock, num_channels, num_cores, f, cycle):
    """Take the oldest entry out of FIFO f, and wake a producer that waits for room."""
    fifo[f, Fifo.HEAD] += 1
    fifo[f, Fifo.COUNT] -= 1
    fifo[f, Fifo.LAST_POP] = cycle
    if fifo[f, Fifo.PRODUCER_WAITS]:
        fifo[f, Fifo.PRODUCER_WAITS] = 0
        producer = fifo[f, Fifo.PRODUCER]
        kind = 1 if num_channels <= producer < num_channels + num_cores else 0
        schedule(event, wheel, clock, kind, producer, cycle + 1)


@inline
def push(fifo, ring, event, wheel, clock, num_channels, f, usable, bits):
    """Put a wavelet into FIFO f, usable from cycle `usable`, and wake a consumer that has nothing else to wait for."""
    count = fifo[f, Fifo.COUNT]
    slot = fifo[f, Fifo.BASE] + ((fifo[f, Fifo.HEAD] + count) & fifo[f, Fifo.MASK])
    ring[slot, 0] = usable
    ring[slot, 1] = bits
    fifo[f, Fifo.COUNT] = count + 1
    if f < num_channels:
        if count == 0:
            schedule(event, wheel, clock, 0, f, usable)
    elif fifo[f, Fifo.CONSUMER_WAITS]:
        fifo[f, Fifo.CONSUMER_WAITS] = 0
        schedule(event, wheel, clock, 1, fifo[f, Fifo.CONSUMER], usable)
