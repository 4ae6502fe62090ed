"""Switches: channels whose route has positions, which control wavelets and cores change (rules in `wse.isa`).

A channel with a switch acts in its cycle, never ahead of it: what it does next depends on wavelets still to come.
"""

from __future__ import annotations

from wse._jit import inline, leaf
from wse.engine.state import NEVER, Chan, Clock, Turn
from wse.engine.wheel import head_bits, note_fault, pop, ready_cycle, schedule
from wse.isa import COMMAND_BITS, COMMANDS_MASK, TASK_MASK, TASK_SHIFT, Command, Fault, Pop

CONTROL_BIT = 1 << 32
"""Set in the bits of a control wavelet."""

SAYS_SOMETHING = COMMANDS_MASK | TASK_MASK << TASK_SHIFT


@inline
def served_fifo(chan, switch, c):
    """The FIFO that channel c sends from."""
    s = chan[c, Chan.SWITCH]
    return c if s < 0 else switch[s, Turn.FIFO]


@leaf
def schedule_switch(fifo, ring, chan, switch, event, wheel, clock, c, cycle):
    """See to it that switched channel c is looked at when its next wavelet can leave, but after `cycle`."""
    ready = ready_cycle(fifo, ring, switch[chan[c, Chan.SWITCH], Turn.FIFO])
    if ready < NEVER:
        schedule(event, wheel, clock, c, max(ready, cycle + 1))


@leaf
def turn(fifo, ring, chan, switch, event, wheel, clock, todo, c, cycle):
    """Let switched channel c take off a spent control wavelet; whether it then has a wavelet that could leave in `cycle`.

    If not, it is scheduled for when it may.
    """
    s = chan[c, Chan.SWITCH]
    _apply_rewrite(chan, switch, s, cycle)
    f = switch[s, Turn.FIFO]
    ready = ready_cycle(fifo, ring, f)
    if ready <= cycle:
        bits = head_bits(fifo, ring, f)
        if bits & CONTROL_BIT and switch[s, Turn.OBEYS] and popped_bits(switch, s, bits) & SAYS_SOMETHING == 0:
            pop(fifo, ring, event, wheel, clock, todo, f, cycle)
            clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], cycle)
            obey(chan, switch, clock, s, bits, cycle)
            ready = ready_cycle(fifo, ring, switch[s, Turn.FIFO])
    if ready <= cycle:
        return True
    if switch[s, Turn.REWRITE] >= 0:
        ready = min(ready, switch[s, Turn.REWRITE_FROM])
    if ready < NEVER:
        schedule(event, wheel, clock, c, ready)
    return False


@leaf
def popped_bits(switch, s, bits):
    """What a control wavelet carries on after it was obeyed at switch s."""
    advance = bits & ((1 << COMMAND_BITS) - 1) == Command.ADVANCE
    if switch[s, Turn.POP] == Pop.NEVER or (switch[s, Turn.POP] == Pop.ON_ADVANCE and not advance):
        return bits
    commands = bits & COMMANDS_MASK
    return bits - commands + (commands >> COMMAND_BITS)


@leaf
def obey(chan, switch, clock, s, bits, cycle):
    """Apply the first command of a control wavelet to switch s."""
    command = bits & ((1 << COMMAND_BITS) - 1)
    position = switch[s, Turn.POSITION]
    if command == Command.ADVANCE:
        position += 1
        if position == switch[s, Turn.NUM]:
            position = 0
            if not switch[s, Turn.RING]:
                note_fault(clock, Fault.SWITCH_PAST_END, switch[s, Turn.PE], 0, switch[s, Turn.COLOR], -1, cycle)
    elif command == Command.RESET:
        position = 0
    switch[s, Turn.POSITION] = position
    _set_route(chan, switch, s)


@leaf
def _set_route(chan, switch, s):
    """Make the current position of switch s what its channel does."""
    c = switch[s, Turn.CHANNEL]
    position = switch[s, Turn.POSITION]
    ports = switch[s, Turn.TX + position]
    switch[s, Turn.FIFO] = switch[s, Turn.FIFO_OF + switch[s, Turn.RX + position]]
    chan[c, Chan.TX] = ports
    num = 0
    for port in range(5):
        if ports >> port & 1:
            chan[c, Chan.DST + num] = switch[s, Turn.DST_OF + port]
            num += 1
    chan[c, Chan.NUM_DST] = num


@leaf
def reroute(chan, switch, event, wheel, clock, pe, color, position, rx, tx, cycle):
    """A core overwrites a position of `color` at its router, from the next cycle on."""
    s, after = 0, len(switch)  # rows are in the order of PE and color
    while after - s > 1:
        middle = (s + after) // 2
        if (switch[middle, Turn.PE], switch[middle, Turn.COLOR]) <= (pe, color):
            s = middle
        else:
            after = middle
    _apply_rewrite(chan, switch, s, cycle)
    switch[s, Turn.REWRITE] = position
    switch[s, Turn.REWRITE_RX] = rx
    switch[s, Turn.REWRITE_TX] = tx
    switch[s, Turn.REWRITE_FROM] = cycle + 1
    schedule(event, wheel, clock, switch[s, Turn.CHANNEL], cycle + 1)


@inline
def _apply_rewrite(chan, switch, s, cycle):
    """Put a rewritten position into force once its cycle has come."""
    position = switch[s, Turn.REWRITE]
    if position >= 0 and switch[s, Turn.REWRITE_FROM] <= cycle:
        switch[s, Turn.RX + position] = switch[s, Turn.REWRITE_RX]
        switch[s, Turn.TX + position] = switch[s, Turn.REWRITE_TX]
        switch[s, Turn.REWRITE] = -1
        _set_route(chan, switch, s)


@leaf
def count_ports(chan, switch, c):
    """Count a wavelet that leaves through the ports of switched channel c."""
    s = chan[c, Chan.SWITCH]
    for port in range(5):
        switch[s, Turn.SENT + port] += chan[c, Chan.TX] >> port & 1
