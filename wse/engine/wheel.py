"""The event wheel and the FIFOs: who acts in which cycle, and how wavelets wait.

The wheel is a ring of lists, a pair per cycle modulo its size (channels and host sources; cores); an entity is in at most one list.
Waking an entity too early is harmless: it looks, finds nothing to do, and sleeps again.
"""

from __future__ import annotations

from wse._jit import inline, leaf
from wse.engine.state import NEVER, WHEEL_SLOTS, Clock, Event, Fifo, Waits
from wse.isa import Fault


@inline
def schedule(event, wheel, clock, entity, cycle):
    """See to it that `entity` is looked at in `cycle` at the latest."""
    kind = 1 if entity >= clock[Clock.FIRST_CORE] else 0
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
def room_cycle(fifo, ring, f):
    """First cycle in which a wavelet can be sent into FIFO f: after the exit of the one that leaves it room.

    NEVER when that exit is not known yet.
    """
    count = fifo[f, Fifo.COUNT]
    room = fifo[f, Fifo.ROOM]
    if count >= room:
        return NEVER
    slot = fifo[f, Fifo.BASE] + ((fifo[f, Fifo.HEAD] + count - room) & fifo[f, Fifo.MASK])
    return ring[slot, 0] + 1


@inline
def head_slot(fifo, f):
    """Ring slot of the oldest entry of FIFO f."""
    return fifo[f, Fifo.BASE] + (fifo[f, Fifo.HEAD] & fifo[f, Fifo.MASK])


@inline
def head_cycle(fifo, ring, f):
    """Cycle from which the oldest entry of FIFO f can be used; NEVER when there is none."""
    if fifo[f, Fifo.COUNT] == 0:
        return NEVER
    return ring[head_slot(fifo, f), 0]


@inline
def head_bits(fifo, ring, f):
    """Bits of the oldest entry of FIFO f, which has one."""
    return ring[head_slot(fifo, f), 1]


@inline
def ready_cycle(fifo, ring, f):
    """Cycle from which the oldest entry of FIFO f can leave it: one does so in a cycle. NEVER when there is none."""
    if fifo[f, Fifo.COUNT] == 0:
        return NEVER
    return max(head_cycle(fifo, ring, f), last_exit(fifo, ring, f) + 1)


@inline
def last_exit(fifo, ring, f):
    """Cycle in which the latest entry left FIFO f; -1 before any has."""
    return ring[fifo[f, Fifo.BASE] + ((fifo[f, Fifo.HEAD] - 1) & fifo[f, Fifo.MASK]), 0]


@inline
def pop(fifo, ring, event, wheel, clock, todo, f, cycle):
    """The oldest entry of FIFO f leaves in `cycle`. Returns its bits."""
    slot = head_slot(fifo, f)
    ring[slot, 0] = cycle
    fifo[f, Fifo.HEAD] += 1
    fifo[f, Fifo.COUNT] -= 1
    wake_producer(fifo, event, wheel, clock, todo, f, cycle)
    return ring[slot, 1]


@inline
def push(fifo, ring, event, wheel, clock, todo, f, usable, bits):
    """Put a wavelet into FIFO f, usable from cycle `usable`."""
    count = fifo[f, Fifo.COUNT]
    slot = fifo[f, Fifo.BASE] + ((fifo[f, Fifo.HEAD] + count) & fifo[f, Fifo.MASK])
    ring[slot, 0] = usable
    ring[slot, 1] = bits
    fifo[f, Fifo.COUNT] = count + 1
    wake_consumer(fifo, event, wheel, clock, todo, f, count, usable)


@inline
def wake_producer(fifo, event, wheel, clock, todo, f, cycle):
    """An entry left FIFO f in `cycle`: wake a producer that waits for room."""
    if fifo[f, Fifo.WAITS] & Waits.PRODUCER:
        fifo[f, Fifo.WAITS] &= ~Waits.PRODUCER
        producer = fifo[f, Fifo.PRODUCER]
        if producer < clock[Clock.NUM_CHANNELS]:
            add_todo(todo, producer)
        else:
            schedule(event, wheel, clock, producer, cycle + 1)


@inline
def wake_consumer(fifo, event, wheel, clock, todo, f, count, usable):
    """An entry, usable from `usable` on, came into FIFO f, which held `count`: wake a consumer that has nothing else to wait for."""
    if f < clock[Clock.NUM_ROUTER_FIFOS]:
        if count == 0:
            add_todo(todo, fifo[f, Fifo.CONSUMER])
    elif fifo[f, Fifo.WAITS] & Waits.CONSUMER:
        fifo[f, Fifo.WAITS] &= ~Waits.CONSUMER
        schedule(event, wheel, clock, fifo[f, Fifo.CONSUMER], usable)


@inline
def add_todo(todo, c):
    """Note that channel c may be able to send; `drain` sees to it."""
    num = todo[0] + 1
    todo[num] = c
    todo[0] = num


@leaf
def note_fault(clock, fault, pe, rank, color, row, cycle):
    """Record a fault; the run stops at the end of this cycle. Of several, the one on the lowest PE counts, there the router's first."""
    before = clock[Clock.FAULT] != Fault.NONE
    if before and (clock[Clock.FAULT_PE], clock[Clock.FAULT_RANK], clock[Clock.FAULT_COLOR]) <= (pe, rank, color):
        return
    clock[Clock.FAULT] = fault
    clock[Clock.FAULT_PE] = pe
    clock[Clock.FAULT_RANK] = rank
    clock[Clock.FAULT_COLOR] = color
    clock[Clock.FAULT_ROW] = row
    clock[Clock.FAULT_CYCLE] = cycle
