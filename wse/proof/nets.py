"""Where the wavelets of each color come from, and how many a way through the fabric holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wse.follow import follow
from wse.isa import OPPOSITE, PORT_STEP, Col, Kind, Operand, Port, Switch
from wse.program import Program


@dataclass(frozen=True)
class Nets:
    """Where the wavelets of each channel come from. Arrays are (num_channels,)."""

    root: np.ndarray  # channel where they enter the fabric
    links: np.ndarray  # from there
    steady: np.ndarray  # bool: no switch on the way
    ring: np.ndarray  # bool: the routes lead back to themselves
    sinks: np.ndarray  # int64 (num_sinks,), channels that bring wavelets from a core to another (or itself) by plain routes alone
    room: np.ndarray  # int64 (num_sinks,), wavelets that the way there holds


def trace(program: Program) -> Nets:
    """Follow every channel back through the rx ports of plain routes.

    Colors with control wavelets have no `sinks`: those wavelets are not for the instructions that receive.
    """
    color, rx = program.channel_color, program.channel_rx
    num = len(rx)
    root, switched = np.arange(num), np.zeros(num, bool)
    switched[program.switches[:, Switch.CHANNEL]] = True
    tx = program.channel_ports()[1]
    for port in PORT_STEP:
        at = np.flatnonzero(rx == port)
        there = program.across(at, port)
        at, there = at[there >= 0], there[there >= 0]
        good = tx[there] >> OPPOSITE[port] & 1 == 1
        root[at[good]] = there[good]
    root, links, switched = follow(root, switched)
    ring = links >= num
    spec, code = program.spec, program.code
    plain = np.ones(spec.num_colors, bool)
    plain[code[code[:, Col.D + Operand.KIND] == Kind.CONTROL_OUT, Col.D + Operand.BASE]] = False
    sinks = np.flatnonzero((program.channel_tx >> Port.RAMP & 1 == 1) & ~switched & ~ring & plain[color] & (rx[root] == Port.RAMP))
    return Nets(root, links, ~switched, ring, sinks, spec.ramp_fifo_room + links[sinks] * spec.link_fifo_room + spec.core_queue_room)
