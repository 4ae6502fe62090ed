"""Wavelets on their way: queues with a latency, routers, and the host's ports.

Everything in a cycle is decided from the state at the end of the cycle before: queues answer
questions from what was committed, `put` and `take` only become visible with `commit`.
"""

from __future__ import annotations

import math

from wse.isa import Port


class Fifo:
    """A queue that is reached in `latency` cycles; wavelets under way are in it, and count."""

    def __init__(self, latency: int, room: float = math.inf) -> None:
        self.latency = latency
        self.room = room
        self.items: list[tuple[int, int]] = []  # (cycle it can be taken from, 32 bits), oldest first
        self.sent: list[tuple[int, int]] = []  # put in this cycle
        self.taken = 0  # taken in this cycle

    def has_room(self) -> bool:
        return len(self.items) < self.room

    def num_ready(self, t: int) -> int:
        """Wavelets that could be taken in t. They arrive in order, so these are the oldest."""
        return sum(cycle <= t for cycle, _ in self.items)

    def put(self, t: int, bits: int) -> None:
        self.sent.append((t + self.latency, bits))

    def take(self) -> int:
        self.taken += 1
        return self.items[self.taken - 1][1]

    def commit(self) -> None:
        """End of the cycle."""
        self.items = self.items[self.taken :] + self.sent
        self.sent, self.taken = [], 0


class Channel:
    """One color in one router: its FIFO, and for each tx port the queue that the port leads to."""

    def __init__(self, color: int, fifo: Fifo) -> None:
        self.color = color
        self.fifo = fifo
        self.tx: dict[Port, Fifo] = {}
        self.sent = 0
        self.wait = 0

    @property
    def arrival(self) -> int:
        """The cycle from which the head wavelet could have left."""
        return self.fifo.items[0][0]


class Router:
    """The channels of one PE, which share its ports."""

    def __init__(self, channels: list[Channel]) -> None:
        self.channels = channels

    def step(self, t: int) -> bool:
        """Send what can leave in t, first come, first served; whether anything was sent."""
        taken: set[Port] = set()
        waiting = [channel for channel in self.channels if channel.fifo.num_ready(t)]
        for channel in sorted(waiting, key=lambda channel: (channel.arrival, channel.color)):
            if taken.isdisjoint(channel.tx) and all(queue.has_room() for queue in channel.tx.values()):
                taken.update(channel.tx)
                channel.sent += 1
                channel.wait += t - channel.arrival
                bits = channel.fifo.take()
                for queue in channel.tx.values():
                    queue.put(t, bits)
        return bool(taken)


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
