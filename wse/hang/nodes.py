"""What the nodes of a wait-for graph are, and where each kind begins in their numbering."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Kind(StrEnum):
    """What a node waits for, or why what others wait for will not come."""

    # a thread of a core
    WAVELET = "wavelet"  # of a color
    ROOM = "room"  # on a color
    POP = "fifo_element"  # in a FIFO in SRAM
    PUSH = "fifo_room"  # in a FIFO in SRAM
    MICROTHREAD = "microthread"  # that the next instruction is for, to be free
    # other things that wait
    TASK = "blocked_task"
    ROUTER = "router_room"  # wavelets in a router, for room at the next one or in a core's queue
    UNSERVED = "router_switch"  # wavelets in a router, for a switch that serves another rx port
    SWITCH = "switch"  # a position that does not do what others wait for
    HOST_IN = "host_room"
    HOST_OUT = "host_output"
    # whom they wait for
    SENDER = "sender"  # a core, of wavelets
    FEED = "host_input"  # the host, of wavelets
    NOBODY = "no_source"  # of wavelets
    TAKER = "taker"  # a core, of what is in its queue
    CORE = "core"  # to get on with its code


THREADS = frozenset({Kind.WAVELET, Kind.ROOM, Kind.POP, Kind.PUSH, Kind.MICROTHREAD})
SILENT = frozenset({Kind.SENDER, Kind.FEED, Kind.NOBODY, Kind.TAKER, Kind.CORE})  # only joints of the graph, unless nothing follows
KINDS = tuple(Kind)
NUMBER = {kind: i for i, kind in enumerate(KINDS)}


@dataclass(frozen=True)
class Nodes:
    """A wait-for graph: a column of facts per node, -1 where there is none, and edges from who waits to what it waits for."""

    kind: np.ndarray  # int64 (num_nodes,), index into `KINDS`, -1 for a node that has no part in the hang
    pe: np.ndarray
    number: np.ndarray  # of the thread, task, switch position, host port
    color: np.ndarray
    port: np.ndarray  # a Port: where the wavelet would come from, or leave to
    row: np.ndarray  # of the instruction
    since: np.ndarray  # cycle
    queued: np.ndarray
    room: np.ndarray
    done: np.ndarray  # elements, or wavelets sent
    total: np.ndarray
    fifo: np.ndarray  # index into `CodeClass.fifos`
    source: np.ndarray  # int64 (num_edges,), node
    target: np.ndarray  # int64 (num_edges,), node
    waiter: np.ndarray  # bool (num_nodes,): threads, tasks and host ports that wait

    @property
    def num(self) -> int:
        return len(self.kind)


FACTS = ("kind", "pe", "number", "color", "port", "row", "since", "queued", "room", "done", "total", "fifo")
