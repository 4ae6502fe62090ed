"""Routes: what routers do with each color, from how a kernel writer lays them to the tables of a `Program`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wse.errors import ProgramError
from wse.frame import Area
from wse.isa import MAX_POSITIONS, NUM_SWITCH_COLS, Col, Op, Pop, Port, Switch
from wse.program import Program, Rect, class_rows
from wse.where import refusal


@dataclass(frozen=True)
class Route:
    """What a router does with a color: positions of (rx port, mask of tx ports), and how a switch goes from one to the next.

    A plain route is a ring of one position that never pops: control wavelets change nothing there.
    """

    positions: tuple[tuple[Port, int], ...]
    ring: bool = True
    pop: Pop = Pop.NEVER
    line: int = 0  # index into `Program.source_lines`

    @property
    def behaviour(self) -> tuple[Any, ...]:
        """What the router does: everything but where it was written."""
        return self.positions, self.ring, self.pop

    def __str__(self) -> str:
        return " then ".join(f"{rx.name} to {'+'.join(port.name for port in Port if tx >> port & 1)}" for rx, tx in self.positions)


def position(rect: Rect, color: int, rx: Port, tx: Iterable[Port]) -> tuple[Port, int]:
    """(rx port, mask of tx ports) of one route position on the PEs of `rect`. Raises `ProgramError` when there can be none such."""
    mask = sum({1 << port for port in tx})
    if not mask or (mask & (1 << rx) and rx != Port.RAMP):
        help = "give tx the ports through which it goes on: " + ", ".join(port.name for port in Port if port != rx)
        raise refusal(f"color {color} in {rect}: rx {rx.name} needs at least one other tx port", help, rect)
    return rx, mask


def switch(rect: Rect, color: int, positions: Iterable[tuple[Port, Iterable[Port]]], ring: bool, pop: Pop) -> Route:
    """The route with these positions, given as (rx, tx), on the PEs of `rect`. Raises `ProgramError` for too many or none."""
    route = Route(tuple(position(rect, color, rx, tx) for rx, tx in positions), ring, pop)
    if not 1 <= len(route.positions) <= MAX_POSITIONS:
        counted = f"color {color} in {rect}: a switch has 1 to {MAX_POSITIONS} positions, got {len(route.positions)}"
        raise refusal(counted, "split the work over two colors, or rewrite a position with reroute()", rect)
    return route


class Routes:
    """The routes laid so far on a mesh of height x width PEs: a route for each (PE, color) that has one."""

    def __init__(self, width: int, height: int) -> None:
        self._shape = height, width
        self._distinct: dict[Route, int] = {}  # numbered
        self.at: dict[int, np.ndarray] = {}  # color -> int32 (height, width), number of a route, -1 unrouted

    def clash(self, color: int, area: Area, route: Route) -> tuple[int, int, Route] | None:
        """The first PE of `area`, as (x, y), where `color` has another route than `route`, and which."""
        if color not in self.at:
            return None
        there = self.at[color][area.index]
        for number in np.unique(there[there >= 0]):
            other = list(self._distinct)[number]
            if other.behaviour != route.behaviour:
                y, x = np.argwhere(there == number)[0]
                return area.columns[x], area.rows[y], other
        return None

    def lay(self, color: int, area: Area, route: Route) -> None:
        """Give `color` this route on the PEs of `area`, where there is no `clash`."""
        if color not in self.at:
            self.at[color] = np.full(self._shape, -1, np.int32)
        self.at[color][area.index] = self._distinct.setdefault(route, len(self._distinct))

    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """`Program`'s channels, sorted by PE, then color: PE, color, rx, tx, line of each; and its switches, before run-time routes."""
        pe, color, route = self._channels()
        first = np.array([(*distinct.positions[0], distinct.line) for distinct in self._distinct], np.int64).reshape(-1, 3)[route]
        return pe, color, first[:, 0], first[:, 1], first[:, 2], self._switches(route)

    def _channels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(PE, color, number of the route) of every channel."""
        pes, colors, routes = [], [], []
        for color, route in self.at.items():
            pe = np.flatnonzero(route.ravel() >= 0)
            pes.append(pe)
            colors.append(np.full(len(pe), color))
            routes.append(route.ravel()[pe])
        if not pes:
            empty = np.zeros(0, np.int64)
            return empty, empty, empty
        columns = [np.concatenate(parts).astype(np.int64) for parts in (pes, colors, routes)]
        order = np.lexsort((columns[1], columns[0]))
        return columns[0][order], columns[1][order], columns[2][order]

    def _switches(self, route: np.ndarray) -> np.ndarray:
        """Rows of `Program.switches` for the channels with a switch; `route`: the number of each channel's."""
        rows = np.array([_switch_row(distinct) for distinct in self._distinct], np.int64).reshape(-1, NUM_SWITCH_COLS)
        is_switch = np.array([distinct.behaviour != Route(distinct.positions[:1]).behaviour for distinct in self._distinct], bool)
        channels = np.flatnonzero(is_switch[route]) if len(route) else route
        switches = rows[route[channels]]
        switches[:, Switch.CHANNEL] = channels
        return switches


def with_rewrites(program: Program) -> np.ndarray:
    """`program.switches` with what its REROUTE instructions can add: rows for plain routes, FIFOs, exits."""
    rows = program.switches
    for index, cls in enumerate(program.classes):
        code = program.code[class_rows(program.code, cls.task_entry)]
        members = program.core_pe[program.core_class == index]
        for instruction in code[code[:, Col.OP] == Op.REROUTE]:
            color, position, rx, tx = (int(value) for value in instruction[Col.EXTENT : Col.EXTENT + 4])
            line = program.source_lines[instruction[Col.LINE]]
            channels = program.channels_at(members, color)
            if (channels < 0).any():
                x, y = program.xy(members[np.argmin(channels)])
                raise ProgramError(
                    f"PE ({x},{y}) rewrites color {color}, which has no route there", notes=[line],
                    help=f"give color {color} a first route() or switch() on this PE",
                )  # fmt: skip
            plain = channels[~np.isin(channels, rows[:, Switch.CHANNEL])]
            rows = np.concatenate([rows, _plain_rows(program, plain)])
            mine = np.isin(rows[:, Switch.CHANNEL], channels)
            short = mine & (rows[:, Switch.NUM] <= position)
            if short.any():
                x, y = program.xy(program.channel_pe[rows[np.argmax(short), Switch.CHANNEL]])
                raise ProgramError(
                    f"PE ({x},{y}) rewrites position {position} of color {color}, which has {rows[np.argmax(short), Switch.NUM]} there",
                    notes=[line], help="positions count from 0",
                )  # fmt: skip
            rows[mine, Switch.FIFOS] |= 1 << rx
            rows[mine, Switch.EXITS] |= tx
    return rows[np.argsort(rows[:, Switch.CHANNEL])]


def _plain_rows(program: Program, channels: np.ndarray) -> np.ndarray:
    """Rows of `Program.switches` for channels with a plain route."""
    rows = np.tile(_switch_row(Route(())), (len(channels), 1))
    rx, tx = program.channel_rx[channels], program.channel_tx[channels]
    rows[:, Switch.CHANNEL], rows[:, Switch.NUM] = channels, 1
    rows[:, Switch.RX], rows[:, Switch.FIFOS] = rx, 1 << rx
    rows[:, Switch.TX], rows[:, Switch.EXITS] = tx, tx
    return rows


def _switch_row(route: Route) -> np.ndarray:
    row = np.zeros(NUM_SWITCH_COLS, np.int64)
    row[Switch.RX : Switch.RX + MAX_POSITIONS] = -1
    row[Switch.NUM], row[Switch.RING], row[Switch.POP] = len(route.positions), route.ring, route.pop
    for i, (rx, tx) in enumerate(route.positions):
        row[Switch.RX + i], row[Switch.TX + i] = rx, tx
        row[Switch.FIFOS] |= 1 << rx
        row[Switch.EXITS] |= tx
    return row
