"""Parts: groups of PEs that neither a route nor a shared link connects, run one after another so that each stays in the processor's cache.

Parts share nothing but the end of the run. Each runs to its own end; then the run's end is known, and what is
left to do in the others up to then is done. Not for programs that can fault or have outputs: there a part could go on for too long.
"""

from __future__ import annotations

import numpy as np

from wse._jit import kernel, leaf
from wse.engine.state import Chan, Clock, Core, Event, Fifo
from wse.engine.wheel import schedule
from wse.program import Program

MOST_PARTS = 1024


def find_parts(
    program: Program, fifo: np.ndarray, chan: np.ndarray, rival: np.ndarray, first_core: int
) -> tuple[np.ndarray, np.ndarray]:
    """(entities sorted by part, index of each part's first, ending with their number)."""
    num_entities = first_core + len(program.core_pe)
    parent = np.arange(num_entities)
    _join(parent, fifo, chan, rival)
    labels, part = np.unique(parent, return_inverse=True)
    if len(labels) > MOST_PARTS:  # parts are independent, so several together are too
        part = part * MOST_PARTS // len(labels)
        labels = labels[:MOST_PARTS]
    starts = np.searchsorted(np.sort(part), np.arange(len(labels) + 1))
    return np.argsort(part, kind="stable"), starts.astype(np.int64)


@kernel
def _join(parent: np.ndarray, fifo: np.ndarray, chan: np.ndarray, rival: np.ndarray) -> None:
    """Union-find: what puts wavelets into a FIFO and what takes them out belong together, and channels that share a tx port do.

    Ends with the root of each entity.
    """
    for f in range(len(fifo)):
        _unite(parent, fifo[f, Fifo.PRODUCER], fifo[f, Fifo.CONSUMER])
    for c in range(len(chan)):
        for i in range(chan[c, Chan.RIVALS], chan[c, Chan.RIVALS] + chan[c, Chan.NUM_RIVALS]):
            _unite(parent, c, rival[i])
    for e in range(len(parent)):
        parent[e] = _root(parent, e)


@leaf
def _unite(parent, a, b):
    a, b = _root(parent, a), _root(parent, b)
    parent[max(a, b)] = min(a, b)


@leaf
def _root(parent, e):
    while parent[e] != e:
        parent[e] = parent[parent[e]]
        e = parent[e]
    return e


@leaf
def load_part(event, wheel, clock, core, part_entity, first, last):
    """Put what is pending in entities first .. last - 1 of `part_entity` on the empty wheel, and count the live cores among them."""
    clock[Clock.PENDING] = 0
    clock[Clock.ALIVE] = 0
    clock[Clock.SURE] = -1
    for i in range(first, last):
        e = part_entity[i]
        when = event[e, Event.WHEN]
        if when >= 0:
            event[e, Event.WHEN] = -1
            schedule(event, wheel, clock, e, when)
        if e >= clock[Clock.FIRST_CORE] and not core[e - clock[Clock.FIRST_CORE], Core.ENDED]:
            clock[Clock.ALIVE] += 1


@leaf
def unload_part(event, wheel, clock, part_entity, first, last):
    """Empty the wheel again; what is pending stays noted in `event`."""
    if clock[Clock.PENDING] > 0:
        for i in range(first, last):
            e = part_entity[i]
            when = event[e, Event.WHEN]
            if when >= 0:
                wheel[1 if e >= clock[Clock.FIRST_CORE] else 0, when % wheel.shape[1]] = -1


@kernel
def join_parts(event: np.ndarray, wheel: np.ndarray, clock: np.ndarray, core: np.ndarray, part_entity: np.ndarray) -> None:
    """Put what is pending in all parts on the wheel, to go on as one."""
    wheel[:] = -1
    load_part(event, wheel, clock, core, part_entity, 0, len(part_entity))
