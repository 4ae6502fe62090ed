"""Trace records: what happened in which cycle, in one table of bounded size.

Where something is worked out ahead of its cycle, so is its record, so that records are not in the order of cycles, and some are
taken back when the run ends before. What does not fit is dropped from the end of the window, whole cycles at a time: what is
kept is then all there was before one cycle, whatever order the engine looked at things in.
"""

from __future__ import annotations

from enum import IntEnum

from wse._jit import leaf


class Category(IntEnum):
    """What can be traced; `Clock.TRACED` is a mask of these."""

    TASK = 1  # tasks, from being picked to their end
    OPERATION = 2  # vector operations, from issue to end, and branches
    FABRIC = 4  # every wavelet that leaves a router
    QUEUE = 8  # cycles in which an operation waits for a wavelet or for room
    SYNC = 16  # activate, block, unblock, reroute
    HOST = 32  # wavelets between host and mesh


class Note(IntEnum):
    """Kinds of records."""

    TASK = 0  # who: core; a: task
    OPERATION = 1  # who: core; a: row of code; b: thread; c: elements
    CONTROL = 2  # who: core; a: row of code
    WAIT_DATA = 3  # who: core; a: row of code; b: thread
    WAIT_ROOM = 4  # likewise
    SEND = 5  # who: channel; a: bits; b: mask of tx ports; c: how many it sent before; d: cycle from which it could have left
    HOST_IN = 6  # who: source; a: bits
    HOST_OUT = 7  # who: sink; a: bits; c: how many came before; d: cycle of arrival


class Record(IntEnum):
    """Columns of `trace`, from row 1 on."""

    CYCLE = 0
    END = 1  # cycle after its last
    KIND = 2
    WHO = 3
    A = 4
    B = 5
    C = 6
    D = 7


class Window(IntEnum):
    """Entries of row 0 of `trace`."""

    NUM = 0  # rows in use, this one included
    SETTLED = 1  # rows that will not be taken back
    FIRST = 2  # cycles of interest
    LAST = 3  # cycle after them
    UNTIL = 4  # cycle from which records are dropped, for want of space; LAST before any is
    DROPPED = 5


@leaf
def note(trace, kind, cycle, end, who, a, b, c, d):
    """Record what lasted from `cycle` to before `end`, if the window has a part of it."""
    if end <= trace[0, Window.FIRST] or cycle >= trace[0, Window.LAST]:
        return
    if trace[0, Window.NUM] == len(trace) and cycle < trace[0, Window.UNTIL]:
        _make_space(trace)
    if cycle >= trace[0, Window.UNTIL]:
        trace[0, Window.DROPPED] += 1
        return
    n = trace[0, Window.NUM]
    trace[n, Record.CYCLE] = cycle
    trace[n, Record.END] = end
    trace[n, Record.KIND] = kind
    trace[n, Record.WHO] = who
    trace[n, Record.A] = a
    trace[n, Record.B] = b
    trace[n, Record.C] = c
    trace[n, Record.D] = d
    trace[0, Window.NUM] = n + 1


@leaf
def _make_space(trace):
    """Drop the latest cycles, so that half of the table at most is in use."""
    num, most = trace[0, Window.NUM], (len(trace) - 1) // 2
    low, high = trace[1, Record.CYCLE], trace[1, Record.CYCLE] + 1
    for n in range(2, num):
        low = min(low, trace[n, Record.CYCLE])
        high = max(high, trace[n, Record.CYCLE] + 1)
    while high - low > 1:  # at most `most` records before `low`
        middle = (low + high) // 2
        before = 0
        for n in range(1, num):
            before += 1 if trace[n, Record.CYCLE] < middle else 0
        if before <= most:
            low = middle
        else:
            high = middle
    trace[0, Window.UNTIL] = low
    trace[0, Window.DROPPED] += num - _keep_before(trace, 1, low)


@leaf
def _keep_before(trace, first, cycle):
    """Take records of `cycle` or later out of rows `first` on; returns how many rows stay in use."""
    kept, settled = first, first
    for n in range(first, trace[0, Window.NUM]):
        if trace[n, Record.CYCLE] < cycle:
            if kept < n:
                for column in range(8):
                    trace[kept, column] = trace[n, column]
            kept += 1
        if n < trace[0, Window.SETTLED]:
            settled = kept
    trace[0, Window.NUM], trace[0, Window.SETTLED] = kept, settled
    return kept


@leaf
def count_back(trace, cycle):
    """What was recorded for `cycle` alone is being taken back; if it was dropped, it is no longer."""
    if max(trace[0, Window.FIRST], trace[0, Window.UNTIL]) <= cycle < trace[0, Window.LAST]:
        trace[0, Window.DROPPED] -= 1


@leaf
def settle(trace, end):
    """The run has ended before cycle `end`: forget what was noted for later, cut short what would have gone on waiting."""
    if len(trace) == 0:
        return
    _keep_before(trace, trace[0, Window.SETTLED], end)
    for n in range(trace[0, Window.SETTLED], trace[0, Window.NUM]):
        if trace[n, Record.KIND] == Note.WAIT_DATA or trace[n, Record.KIND] == Note.WAIT_ROOM:
            trace[n, Record.END] = min(trace[n, Record.END], end)
    trace[0, Window.SETTLED] = trace[0, Window.NUM]
