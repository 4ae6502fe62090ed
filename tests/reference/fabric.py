"""Wavelets on their way: queues with a latency, routers, and the host's ports.

Everything in a cycle is decided from the state at the end of the cycle before: queues answer
questions from what was committed, `put` and `take` only become visible with `commit`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from wse.isa import COMMAND_BITS, COMMANDS_MASK, TASK_MASK, TASK_SHIFT, Command, Fault, Pop, Port


class Wavelet(NamedTuple):
    """A wavelet in a queue."""

    ready: int  # the cycle it can be taken from
    bits: int
    control: bool


class Fifo:
    """A queue that is reached in `latency` cycles; wavelets under way are in it, and count. It gives one wavelet a cycle."""

    def __init__(self, latency: int, room: float = math.inf) -> None:
        self.latency = latency
        self.room = room
        self.items: list[Wavelet] = []  # oldest first
        self.sent: list[Wavelet] = []  # put in this cycle
        self.taken = False  # in this cycle

    def has_room(self) -> bool:
        return len(self.items) < self.room

    def head(self, t: int) -> Wavelet | None:
        """The oldest wavelet, if it can be taken in t. They arrive in order, so no other could."""
        there = bool(self.items) and not self.taken and self.items[0].ready <= t
        return self.items[0] if there else None

    def num_ready(self, t: int) -> int:
        """Wavelets that have arrived in t."""
        return sum(wavelet.ready <= t for wavelet in self.items)

    def has_data(self, t: int) -> bool:
        """Whether an operand can be taken in t."""
        head = self.head(t)
        return head is not None and not head.control

    def put(self, t: int, bits: int, control: bool = False) -> None:
        self.sent.append(Wavelet(t + self.latency, bits, control))

    def take(self) -> int:
        self.taken = True
        return self.items[0].bits

    def commit(self) -> None:
        """End of the cycle."""
        self.items = self.items[int(self.taken) :] + self.sent
        self.sent, self.taken = [], False


class Channel:
    """One color in one router: its FIFOs by rx port, for each tx port the queue that the port leads to, and its switch.

    `positions`: (rx port, tx ports) of each route position.
    """

    def __init__(self, color: int, positions: list[tuple[Port, set[Port]]], ring: bool, pop: Pop) -> None:
        self.color = color
        self.positions, self.ring, self.pop = positions, ring, pop
        self.is_switch = len(positions) > 1 or not ring or pop is not Pop.NEVER
        self.fifos: dict[Port, Fifo] = {}
        self.queues: dict[Port, Fifo] = {}
        self.position = 0
        self.next_position = 0  # from the next cycle on
        self.rewrites: list[tuple[int, Port, set[Port]]] = []  # likewise
        self.fault = Fault.NONE
        self.sent = self.wait = 0
        self.port_sent = dict.fromkeys(Port, 0)

    @property
    def fifo(self) -> Fifo:
        """The FIFO that is served."""
        return self.fifos[self.positions[self.position][0]]

    @property
    def tx(self) -> set[Port]:
        return self.positions[self.position][1]

    def absorb_spent(self, t: int) -> bool:
        """Take a control wavelet that has nothing left to say off the served FIFO, and obey it at once; whether there was one."""
        head = self.fifo.head(t)
        if head is None or not head.control or not self.is_switch or self.popped(head.bits) & (COMMANDS_MASK | TASK_MASK << TASK_SHIFT):
            return False
        self.fifo.take()
        self.position = self.next_position = self.after(head.bits)
        return True

    def send(self, t: int) -> None:
        """The oldest wavelet of the served FIFO goes out through all tx ports."""
        head = self.fifo.items[0]
        bits = self.fifo.take()
        if head.control and self.is_switch:
            self.next_position = self.after(bits)
            bits = self.popped(bits)
        self.sent += 1
        self.wait += t - head.ready
        for port in self.tx:
            self.port_sent[port] += 1
            self.queues[port].put(t, bits, head.control)

    def after(self, bits: int) -> int:
        """The position that a control wavelet's first command leads to."""
        command = bits & (1 << COMMAND_BITS) - 1
        if command == Command.ADVANCE:
            if self.position + 1 < len(self.positions):
                return self.position + 1
            if not self.ring:
                self.fault = Fault.SWITCH_PAST_END
            return 0
        return 0 if command == Command.RESET else self.position

    def popped(self, bits: int) -> int:
        """A control wavelet without the command obeyed here."""
        advance = bits & (1 << COMMAND_BITS) - 1 == Command.ADVANCE
        if self.pop is Pop.NEVER or (self.pop is Pop.ON_ADVANCE and not advance):
            return bits
        commands = bits & COMMANDS_MASK
        return bits - commands + (commands >> COMMAND_BITS)

    def commit(self) -> None:
        """End of the cycle."""
        self.position = self.next_position
        for position, rx, tx in self.rewrites:
            self.positions[position] = (rx, tx)
        self.rewrites = []


class Router:
    """The channels of one PE, which share its ports."""

    def __init__(self, channels: list[Channel]) -> None:
        self.channels = channels

    def step(self, t: int) -> bool:
        """Send what can leave in t, first come, first served; whether anything was done."""
        absorbed = [channel for channel in self.channels if channel.absorb_spent(t)]
        taken: set[Port] = set()
        waiting = [(channel.fifo.head(t), channel) for channel in self.channels if channel.fifo.head(t)]
        for _, channel in sorted(waiting, key=lambda pair: (pair[0].ready, pair[1].color)):
            if taken.isdisjoint(channel.tx) and all(channel.queues[port].has_room() for port in channel.tx):
                taken.update(channel.tx)
                channel.send(t)
        return bool(taken or absorbed)


class HostIn:
    """The host's end of a link into the wafer: wavelets not sent yet, and the FIFO they go to."""

    def __init__(self, fifo: Fifo) -> None:
        self.pending: list[int] = []
        self.fifo = fifo

    def step(self, t: int) -> bool:
        """Send the next wavelet if there is room; whether one was sent."""
        if not self.pending or not self.fifo.has_room():
            return False
        self.fifo.put(t, self.pending.pop(0))
        return True
