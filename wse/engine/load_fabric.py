"""Loading the fabric: FIFOs, channels, switches, who shares a port with whom, and where wavelets come from."""

from __future__ import annotations

import numpy as np

from wse.engine.state import Chan, Fifo, Turn
from wse.engine.tables import table
from wse.follow import follow
from wse.isa import OPPOSITE, PORT_STEP, Pop, Port, Switch
from wse.program import OFF_MESH, Program


def load_fabric(program: Program) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FIFO, channel and switch tables."""
    spec, pe, color = program.spec, program.channel_pe, program.channel_color
    num, first_core = len(pe), len(pe) + len(program.host_in)
    rx, (has_fifo, exits) = program.channel_rx, program.channel_ports()
    # FIFOs: one per channel, for its first rx port; those of switches for other rx ports; the cores' queues
    fifo_of: dict[tuple[int, int], int] = {}
    extra = [(int(c), port) for c in program.switches[:, Switch.CHANNEL] for port in Port if has_fifo[c] >> port & 1 and port != rx[c]]
    for i, key in enumerate(extra):
        fifo_of[key] = num + i
    num_router_fifos = num + len(extra)
    to_core = np.flatnonzero(exits >> Port.RAMP & 1)
    fifo = table(num_router_fifos + len(to_core), len(Fifo))
    of_ramp = np.append(rx, [port for _, port in extra]) == Port.RAMP
    fifo[:num_router_fifos, Fifo.ROOM] = np.where(of_ramp, spec.ramp_fifo_room, spec.link_fifo_room)
    fifo[num_router_fifos:, Fifo.ROOM] = spec.core_queue_room
    # one slot more than there is room for, so that the cycle of the latest exit is still there when all are taken
    sizes = np.array([1 << room.bit_length() for room in range(int(fifo[:, Fifo.ROOM].max(initial=1)) + 1)])
    slots = sizes[fifo[:, Fifo.ROOM]]
    fifo[:, Fifo.MASK] = slots - 1
    fifo[:, Fifo.BASE] = np.cumsum(slots) - slots
    fifo[:, Fifo.PRODUCER] = -1
    fifo[:num_router_fifos, Fifo.CONSUMER] = np.append(np.arange(num), [c for c, _ in extra])
    # where every exit leads
    chan = table(num, max(Chan) + 1)
    chan[:, Chan.TX], chan[:, Chan.SWITCH] = program.channel_tx, -1
    exit_to = np.full((num, len(Port)), -1, np.int64)
    for port in PORT_STEP:
        out = np.flatnonzero(exits & (1 << port))
        there = program.across(out, port)
        inside = there != OFF_MESH
        for c in out[~inside]:
            exit_to[c, port] = -1 - _sink_index(program, int(pe[c]), int(color[c]), port)
        there = there[inside]
        for at in np.flatnonzero(rx[there] != OPPOSITE[port]):
            there[at] = fifo_of[int(there[at]), OPPOSITE[port]]
        exit_to[out[inside], port] = there
        fifo[there, Fifo.PRODUCER] = out[inside]
    queues = np.arange(num_router_fifos, len(fifo))
    exit_to[to_core, Port.RAMP], fifo[queues, Fifo.PRODUCER] = queues, to_core
    fifo[queues, Fifo.CONSUMER] = first_core + np.searchsorted(program.core_pe, pe[to_core])
    from_core = np.flatnonzero(of_ramp)
    fifo[from_core, Fifo.PRODUCER] = first_core + np.searchsorted(program.core_pe, pe[fifo[from_core, Fifo.CONSUMER]])
    for port in (*PORT_STEP, Port.RAMP):
        out = np.flatnonzero(program.channel_tx >> port & 1)
        chan[out, Chan.DST + chan[out, Chan.NUM_DST]] = exit_to[out, port]
        chan[out, Chan.NUM_DST] += 1
    return fifo, chan, _load_switches(program, chan, fifo_of, exit_to)


def _load_switches(program: Program, chan: np.ndarray, fifo_of: dict[tuple[int, int], int], exit_to: np.ndarray) -> np.ndarray:
    """The switch table; notes in `chan` which channels have one."""
    switch = table(len(program.switches), max(Turn) + 1)
    for i, row in enumerate(program.switches):
        c = int(row[Switch.CHANNEL])
        chan[c, Chan.SWITCH] = i
        switch[i, [Turn.CHANNEL, Turn.PE, Turn.COLOR]] = c, program.channel_pe[c], program.channel_color[c]
        switch[i, [Turn.NUM, Turn.RING, Turn.POP]] = row[[Switch.NUM, Switch.RING, Switch.POP]]
        switch[i, Turn.RX : Turn.RX + 4], switch[i, Turn.TX : Turn.TX + 4] = row[Switch.RX : Switch.RX + 4], row[Switch.TX : Switch.TX + 4]
        switch[i, Turn.OBEYS] = row[Switch.NUM] > 1 or not row[Switch.RING] or row[Switch.POP] != Pop.NEVER
        switch[i, [Turn.FIFO, Turn.REWRITE]] = c, -1
        switch[i, Turn.FIFO_OF : Turn.FIFO_OF + 5] = [c if port == program.channel_rx[c] else fifo_of.get((c, port), -1) for port in Port]
        switch[i, Turn.DST_OF : Turn.DST_OF + 5] = exit_to[c]
    return switch


def _sink_index(program: Program, pe: int, color: int, port: Port) -> int:
    for i, sink in enumerate(program.host_out):
        if (sink.pe, sink.color, sink.port) == (pe, color, port):
            return i
    raise AssertionError("verify() has seen to it that ports off the mesh are host ports")


def find_rivals(chan: np.ndarray, pe: np.ndarray, exits: np.ndarray) -> tuple[np.ndarray, int]:
    """List for every channel those of its router that share a tx port with it; also how many routers have such channels or switches."""
    num = len(pe)
    if not num:
        return np.zeros(0, np.int32), 0
    first = np.searchsorted(pe, pe)
    size = np.searchsorted(pe, pe, side="right") - first
    pairs = []
    for step in range(int(size.max())):
        mine = np.flatnonzero(step < size)
        other = first[mine] + step
        meet = (other != mine) & ((exits[mine] & exits[other]) != 0)
        pairs.append(np.stack([mine[meet], other[meet]]))
    mine, other = np.concatenate(pairs, axis=1)
    order = np.argsort(mine, kind="stable")
    chan[:, Chan.NUM_RIVALS] = np.bincount(mine, minlength=num)
    chan[:, Chan.RIVALS] = np.cumsum(chan[:, Chan.NUM_RIVALS]) - chan[:, Chan.NUM_RIVALS]
    switched = np.flatnonzero(chan[:, Chan.SWITCH] >= 0)
    routers = np.unique(np.append(pe[mine], pe[switched]))
    chan[:, Chan.ROUTER] = np.searchsorted(routers, pe)
    return other[order].astype(np.int32), len(routers)


def trace_back(program: Program, fifo: np.ndarray, chan: np.ndarray) -> None:
    """Note for every channel where its wavelets enter the fabric (-1: a switch is on the way), and the least time they take from there."""
    spec, num, num_sources = program.spec, len(chan), len(program.host_in)
    producer = fifo[:num, Fifo.PRODUCER]
    onward = np.where((producer >= 0) & (producer < num), producer, np.arange(num))
    source, links, unsteady = follow(onward, chan[:, Chan.SWITCH] >= 0)
    from_core = producer[source] >= num + num_sources
    chan[:, Chan.SOURCE] = np.where(unsteady | (links >= num), -1, source)
    chan[:, Chan.DELAY] = links * spec.hop_cycles + np.where(from_core, 1 + spec.ramp_out_cycles, spec.hop_cycles)
