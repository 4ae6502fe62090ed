"""Running scripts without time: every core as far as it can get when queues hold all that they ever could.

Lanes that are not shared have one thread that sends and one that takes, so what can be done stays possible until it is done, and the order
does not matter (a Kahn network with bounded channels). No real run gets further: the first operation that did would find no more wavelets
and no more room than this run leaves. Where a way branches, each branch is given all the room on it, though a router sends to all at once:
some hangs of multicasts are only seen when they run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wse._jit import inline, kernel
from wse.program import Program
from wse.proof.nets import Nets
from wse.proof.script import FIFO_LANE, FREE, Script, Step

MOST_WORK = 100_000_000
"""Looks at a thread or at the end of a way after which nothing is proved: a second or two on a common host."""

WITHOUT_END = 1 << 60


@dataclass(frozen=True)
class Lanes:
    """Ways of wavelets between cores, and FIFOs in SRAM: rows are the program's channels, then all cores' FIFOs.

    Cores send into a lane by the row of their own channel; `sinks[first_sink[i]:first_sink[i + 1]]` are the rows at which cores take
    what was sent into row i, `root` leads back (-1: from where nothing is known, so without end).
    """

    core: np.ndarray  # int64 (num_lanes,), -1 for a channel of a PE without code
    root: np.ndarray  # int64 (num_lanes,)
    room: np.ndarray  # int64 (num_lanes,), of the whole way to a sink
    first_sink: np.ndarray  # int64 (num_lanes + 1,)
    sinks: np.ndarray  # int64 (num_sinks,)
    sent: np.ndarray  # int64 (num_lanes,), into a lane; `WITHOUT_END` where anything may be
    taken: np.ndarray  # int64 (num_lanes,), at a sink, likewise
    first_lane: np.ndarray  # int64 (num_cores + 1,), of a core's channels
    first_fifo: np.ndarray  # int64 (num_cores + 1,)
    color: np.ndarray  # int64 (num_channels,)


@dataclass(frozen=True)
class Reached:
    """Where cores come to stand. `current` and `done` have a row for each thread, from `first_thread[core]` on."""

    steps: np.ndarray  # all scripts, one after another
    at: np.ndarray  # int64 (num_cores,), row of `steps` that the main thread has not begun
    current: np.ndarray  # int64 (num_threads,), row of `steps` under way, -1 for none
    done: np.ndarray  # int64 (num_threads,), elements of it
    first_thread: np.ndarray  # int64 (num_cores + 1,)
    lanes: Lanes


def run_scripts(program: Program, nets: Nets, scripts: list[Script]) -> Reached | None:
    """Where all cores come to stand, None after too much work."""
    lanes = _lanes(program, nets, scripts)
    which = program.core_class
    begins = np.cumsum([0] + [len(script.steps) for script in scripts])
    first_thread = _offsets(np.array([cls.num_threads for cls in program.classes], np.int64)[which])
    reached = Reached(
        np.concatenate([script.steps for script in scripts]), begins[which],
        np.full(first_thread[-1], -1), np.zeros(first_thread[-1], np.int64), first_thread, lanes,
    )  # fmt: skip
    done = _advance(
        reached.steps, reached.at, reached.current, reached.done, first_thread, lanes.core, lanes.root, lanes.room, lanes.first_sink,
        lanes.sinks, lanes.sent, lanes.taken, lanes.first_lane, lanes.first_fifo, lanes.color,
        np.arange(len(which)), np.ones(len(which), np.uint8), MOST_WORK,
    )  # fmt: skip
    return reached if done else None


def _offsets(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def _lanes(program: Program, nets: Nets, scripts: list[Script]) -> Lanes:
    """The lanes before anything has been sent."""
    which, num_cores, num_channels = program.core_class, len(program.core_pe), len(program.channel_pe)
    num_fifos = np.array([len(cls.fifos) for cls in program.classes], np.int64)
    first_fifo = num_channels + _offsets(num_fifos[which])
    num = int(first_fifo[-1])
    core_at = np.full(program.width * program.height, -1)
    core_at[program.core_pe] = np.arange(num_cores)
    fifo_core = np.repeat(np.arange(num_cores), num_fifos[which])
    core = np.concatenate([core_at[program.channel_pe], fifo_core])
    root, room = np.full(num, -1), np.zeros(num, np.int64)
    root[nets.sinks], room[nets.sinks] = nets.root[nets.sinks], nets.room
    fifos = np.arange(num_channels, num)
    capacity = np.array([fifo.capacity for cls in program.classes for fifo in cls.fifos], np.int64)
    root[fifos] = fifos
    room[fifos] = capacity[_offsets(num_fifos)[which[fifo_core]] + fifos - first_fifo[fifo_core]]
    sent, taken = np.zeros(num, np.int64), np.zeros(num, np.int64)
    number = np.concatenate([program.channel_color, FIFO_LANE + fifos - first_fifo[fifo_core]])
    for way, count in (("shared_out", sent), ("shared_in", taken)):
        masks = [getattr(script, way) for script in scripts]
        if any(masks):
            there = np.array(masks, np.uint64)[which[core]] >> number.astype(np.uint64) & np.uint64(1) == 1
            count[there & (core >= 0)] = WITHOUT_END
    root[(root >= 0) & (sent[root] == WITHOUT_END)] = -1
    ends = np.flatnonzero((root >= 0) & (taken != WITHOUT_END))
    first_sink = _offsets(np.bincount(root[ends], minlength=num))
    sinks = np.zeros(len(ends), np.int64)
    _sort_by_root(ends, root, first_sink[:-1].copy(), sinks)
    first_lane = np.searchsorted(program.channel_pe, np.append(program.core_pe, program.width * program.height))
    return Lanes(core, root, room, first_sink, sinks, sent, taken, first_lane, first_fifo, program.channel_color)


@kernel
def _sort_by_root(ends, root, place, sinks):
    """Put every one of `ends` into `sinks`, those of a root side by side; `place`: where the first of each root goes."""
    for end in ends:
        sinks[place[root[end]]] = end
        place[root[end]] += 1


@inline
def lane_of(first_lane, first_fifo, color, k, number):
    """The row of core k's lane of this number; every color that code names has a route."""
    if number >= FIFO_LANE:
        return first_fifo[k] + number - FIFO_LANE
    lane = first_lane[k]
    while color[lane] != number:
        lane += 1
    return lane


@kernel
def _advance(
    steps, at, current, done, first_thread, core, root, room, first_sink, sinks, sent, taken, first_lane, first_fifo, color,
    queue, queued, most_work,
):  # fmt: skip
    """Advance every core until none can; False when that takes more than `most_work`. `queue` holds all cores, `queued` says so."""
    num_cores = len(at)
    head, waiting, work = 0, num_cores, 0
    while waiting > 0:
        if work > most_work:
            return False
        k = queue[head]
        head = head + 1 if head + 1 < num_cores else 0
        waiting -= 1
        queued[k] = 0
        moved = True
        while moved:
            moved = False
            main = first_thread[k]
            for t in range(main, first_thread[k + 1]):
                work += 1
                s = current[t]
                if s < 0:
                    continue
                before, num = done[t], steps[s, Step.NUM]
                after = num
                for operand in range(2):
                    number, per = steps[s, Step.LANE_A + 2 * operand], steps[s, Step.PER_A + 2 * operand]
                    if number < 0:
                        continue
                    lane = lane_of(first_lane, first_fifo, color, k, number)
                    if root[lane] < 0 or taken[lane] == WITHOUT_END or sent[root[lane]] == WITHOUT_END:
                        continue
                    there = sent[root[lane]] - taken[lane] + (before + per - 1) // per
                    after = min(after, there * per)
                number, per = steps[s, Step.LANE_D], steps[s, Step.PER_D]
                out = -1
                if number >= 0:
                    out = lane_of(first_lane, first_fifo, color, k, number)
                    if sent[out] == WITHOUT_END:
                        out = -1
                if out >= 0:
                    held = WITHOUT_END
                    for i in range(first_sink[out], first_sink[out + 1]):
                        work += 1
                        held = min(held, taken[sinks[i]] + room[sinks[i]])
                    fits = held - sent[out] + before // per  # wavelets that this operation can have sent
                    if (num + per - 1) // per > fits:
                        after = min(after, min(num - 1, per * fits + per - 1))
                if after <= before:
                    continue
                moved = True
                done[t] = after
                for operand in range(2):
                    number, per = steps[s, Step.LANE_A + 2 * operand], steps[s, Step.PER_A + 2 * operand]
                    if number < 0:
                        continue
                    lane = lane_of(first_lane, first_fifo, color, k, number)
                    if root[lane] < 0 or taken[lane] == WITHOUT_END:
                        continue
                    taken[lane] += (after + per - 1) // per - (before + per - 1) // per
                    other = core[root[lane]]
                    if other != k and not queued[other]:
                        queued[other] = 1
                        queue[(head + waiting) % num_cores] = other
                        waiting += 1
                if out >= 0:
                    per = steps[s, Step.PER_D]
                    sent[out] += ((after + per - 1) // per if after == num else after // per) - before // per
                    for i in range(first_sink[out], first_sink[out + 1]):
                        work += 1
                        other = core[sinks[i]]
                        if other != k and not queued[other]:
                            queued[other] = 1
                            queue[(head + waiting) % num_cores] = other
                            waiting += 1
                if after == num:
                    current[t] = -1
            while steps[at[k], Step.THREAD] >= 0 and current[main] < 0 and current[main + steps[at[k], Step.THREAD]] < 0:
                t = main + steps[at[k], Step.THREAD]
                current[t], done[t] = at[k], 0
                at[k] += 1
                moved = True
        if steps[at[k], Step.THREAD] == FREE and current[main] < 0:
            for own in range(2):
                first = first_lane[k] if own == 0 else first_fifo[k]
                last = first_lane[k + 1] if own == 0 else first_fifo[k + 1]
                for lane in range(first, last):
                    if sent[lane] != WITHOUT_END:
                        sent[lane] = WITHOUT_END
                        for i in range(first_sink[lane], first_sink[lane + 1]):
                            other = core[sinks[i]]
                            if not queued[other]:
                                queued[other] = 1
                                queue[(head + waiting) % num_cores] = other
                                waiting += 1
                    if taken[lane] != WITHOUT_END:
                        taken[lane] = WITHOUT_END
                        if root[lane] >= 0:
                            other = core[root[lane]]
                            if not queued[other]:
                                queued[other] = 1
                                queue[(head + waiting) % num_cores] = other
                                waiting += 1
    return True
