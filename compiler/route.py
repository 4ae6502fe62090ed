"""Route: a path and a color for every net between blocks.

What each net looks like (lanes of rows, or one trunk) is decided in `nets.py`. Paths are negotiated as in PathFinder (McMurchie and
Ebeling, 1995): every lane takes its cheapest path, routers that more nets cross than there are colors get dearer, and the
nets there are routed again. It deviates in that links are never full, since colors share them in time; sharing only costs. Then the
conflict graph of nets that meet in a router is colored.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np

from wse.compiler.nets import KIND_NAMES, STACKED, TRUNK, measure
from wse.compiler.path import find_path
from wse.compiler.place import Placement
from wse.errors import DoesNotFitError
from wse.isa import OPPOSITE, PORT_STEP, Port
from wse.program import Rect

FIRST_NET_COLOR = 16  # those below belong to the insides of blocks: 5 along each axis, 3 for heads, 2 to gather, 1 to spread
ROUNDS = 12  # of negotiation
SHARED_LINK_COST = 2  # of a link another net uses, beside 1 for the link itself: a detour of two links avoids one shared one
FULL_ROUTER_COST = 8  # per round, of a router with more nets than colors

PE = tuple[int, int]
Hop = tuple[Port, frozenset[Port]]


@dataclass(frozen=True)
class Lane:
    """One stream of a net. `hops`: per PE (x, y) its rx port and tx ports; the host's end is a port off the mesh."""

    color: int
    hops: dict[PE, Hop]


@dataclass(frozen=True)
class Net:
    """How one vector gets from block to block.

    `kind`: of `nets.py`. A trunk has one lane, the others one per row. `exits`: per lane the PE that sends it. `entries`: per row of
    the block that takes it, the PE it reaches first; empty when the host takes it. `detour`: links beyond the shortest way.
    """

    name: str
    kind: int
    lanes: tuple[Lane, ...]
    exits: tuple[PE, ...]
    entries: tuple[PE, ...]
    detour: int = 0

    def dump(self) -> str:
        """One line for people."""
        colors = ", ".join(str(color) for color in sorted({lane.color for lane in self.lanes}))
        routers = len({pe for lane in self.lanes for pe in lane.hops})
        lanes = f"{len(self.lanes)} lanes {KIND_NAMES[self.kind]}" if self.kind != TRUNK else KIND_NAMES[TRUNK]
        return f"{self.name}: {lanes}, color {colors}, {routers} routers" + (f", detour {self.detour}" if self.detour else "")


    def facts(self) -> dict[str, Any]:
        """The same for programs."""
        colors = sorted({lane.color for lane in self.lanes})
        num_routers = len({pe for lane in self.lanes for pe in lane.hops})
        kind = {"kind": KIND_NAMES[self.kind], "num_lanes": len(self.lanes)}
        return {"name": self.name, **kind, "colors": colors, "num_routers": num_routers, "detour_links": self.detour}


@dataclass
class _Wish:
    """A lane to be routed: from `start` (entered through `source`) to `end`, and `tail`: tx ports of the PEs beyond."""

    net: int
    start: PE
    source: Port
    end: PE
    tail: dict[PE, set[Port]]
    path: list[PE] = field(default_factory=list)

    @property
    def pes(self) -> set[PE]:
        return self.tail.keys() | set(self.path)


def route(placement: Placement, dim: int, num_colors: int) -> tuple[Net, ...]:
    """Nets 0..n: the host to block 0, block i-1 to block i, and the last block to the host, of `dim` wavelets each.

    Raises `DoesNotFitError` naming the router that lacks colors.
    """
    names = ("host", *placement.names, "host")
    plans = [_plan(placement, dim, i) for i in range(len(placement.rects) + 1)]
    wishes = [wish for _, wanted, _, _ in plans for wish in wanted]
    colors = _negotiate(placement, wishes, num_colors - FIRST_NET_COLOR, [f"{a} -> {b}" for a, b in itertools.pairwise(names)])
    nets = []
    for i, (kind, _, exits, entries) in enumerate(plans):
        mine = [(wish, color) for wish, color in zip(wishes, colors, strict=True) if wish.net == i]
        lanes = tuple(Lane(FIRST_NET_COLOR + color, _tree(wish)) for wish, color in mine)
        detour = sum(len(wish.path) - 1 - abs(wish.start[0] - wish.end[0]) - abs(wish.start[1] - wish.end[1]) for wish, _ in mine)
        nets.append(Net(f"{names[i]} -> {names[i + 1]}", kind, lanes, exits, entries, detour))
    return tuple(nets)


def final_exit(placement: Placement) -> PE:
    """The PE through which the last block's results leave: the top of its output side, east unless it is west."""
    rect = placement.rects[-1]
    return (rect.x if placement.outputs[-1] == Port.WEST else rect.x + rect.width - 1, rect.y)


def _plan(placement: Placement, dim: int, i: int) -> tuple[int, list[_Wish], tuple[PE, ...], tuple[PE, ...]]:
    """(kind, lanes wanted, exits, entries) of net i."""
    if i == len(placement.rects):
        start = final_exit(placement)
        end = (placement.width - 1, start[1])
        return TRUNK, [_Wish(i, start, Port.RAMP, end, {end: {Port.EAST}})], (start,), ()
    b = placement.rects[i]
    if i == 0:
        x = b.x + b.width - 1 if placement.inputs[0] == Port.EAST else b.x
        y = b.y + b.height - 1 if placement.inputs[0] == Port.SOUTH else b.y
        return TRUNK, [_Wish(i, (0, y), Port.WEST, (x, y), _column(b, x, y))], ((0, y),), _column_pes(b, x)
    a = placement.rects[i - 1]
    kind, _, _, ax, ay, bx, by = measure(
        dim, a.x, a.y, a.width, a.height, placement.outputs[i - 1], b.x, b.y, b.width, b.height, placement.inputs[i], 1, 1
    )
    if kind == TRUNK:
        return kind, [_Wish(i, (ax, ay), Port.RAMP, (bx, by), _column(b, bx, by))], ((ax, ay),), _column_pes(b, bx)
    rows = [r for r in range(a.height) if r * -(-dim // a.height) < dim]  # the last rows may hold nothing
    step = 1 if kind == STACKED else 0
    exits = tuple((ax + step * r, ay + r) for r in rows)
    entries = tuple((bx + step * r, by + r) for r in rows)
    tails = [{pe: {Port.RAMP}} if kind == STACKED else _row(b, pe) for pe in entries]
    return kind, [_Wish(i, s, Port.RAMP, e, tail) for s, e, tail in zip(exits, entries, tails, strict=True)], exits, entries


def _column_pes(rect: Rect, x: int) -> tuple[PE, ...]:
    return tuple((x, y) for y in range(rect.y, rect.y + rect.height))


def _column(rect: Rect, x: int, y: int) -> dict[PE, set[Port]]:
    """From (x, y), the top or bottom of a column, on to all of it."""
    onward = Port.SOUTH if y == rect.y else Port.NORTH
    far = rect.y + rect.height - 1 if y == rect.y else rect.y
    return {pe: {Port.RAMP} if pe[1] == far else {Port.RAMP, onward} for pe in _column_pes(rect, x)}


def _row(rect: Rect, entry: PE) -> dict[PE, set[Port]]:
    """From the west or east end of a row on to all of it."""
    onward, far = (Port.EAST, rect.x + rect.width - 1) if entry[0] == rect.x else (Port.WEST, rect.x)
    return {(x, entry[1]): {Port.RAMP} if x == far else {Port.RAMP, onward} for x in range(rect.x, rect.x + rect.width)}


def _negotiate(placement: Placement, wishes: list[_Wish], num_free: int, names: list[str]) -> list[int]:
    """Give every wish a path; their colors, from 0. Straight lines first, then whoever crosses a full router again."""
    traffic = _Traffic(placement.width, placement.height, num_free)
    again = wishes
    for _ in range(ROUNDS):
        for wish in again:
            traffic.count(wish, -1)
            wish.path = traffic.straight(wish) or traffic.cheapest(wish)
            if not wish.path:
                raise DoesNotFitError(f"net {names[wish.net]} finds no way from PE {wish.start} to PE {wish.end}")
            traffic.count(wish, 1)
        colors, conflicts = _color(wishes)
        if max(colors) < num_free:
            return colors
        lacking = {i for i, color in enumerate(colors) if color >= num_free}
        full = lacking | {other for i in lacking for other in conflicts[i]}
        traffic.raise_prices(wishes[i] for i in full)
        again = [wishes[i] for i in sorted(full)]
    at = int(np.argmax(traffic.crowd))
    pe = (at % placement.width, at // placement.width)
    there = sorted({names[wish.net] for wish in wishes if pe in wish.pes})
    raise DoesNotFitError(
        f"the nets between blocks need {max(colors) + 1} colors, {max(0, num_free)} are left of {FIRST_NET_COLOR + num_free}",
        notes=[f"the fullest router, of PE ({pe[0]},{pe[1]}), is crossed by {traffic.crowd.max()} lanes: {', '.join(there[:6])}"],
        help=f"a machine with num_colors={FIRST_NET_COLOR + max(colors) + 1} would do"
             + ("; or place blocks that follow each other side by side" if num_free > 1 else ""),
    )  # fmt: skip


class _Traffic:
    """What routers and links carry so far, and what it costs to come on top; arrays are (y, x) and (y, x, port)."""

    def __init__(self, width: int, height: int, num_free: int):
        self.num_free = num_free
        self.crowd = np.zeros((height, width), np.int32)  # lanes per router
        self.shared = np.zeros((height, width, 4), np.int32)  # lanes per link
        self.price = np.zeros((height, width), np.int32)  # of routers that were full before

    def count(self, wish: _Wish, change: int) -> None:
        """Add or take away a wish's path, if it has one."""
        if wish.path:
            for x, y in wish.pes:
                self.crowd[y, x] += change
            for a, b in itertools.pairwise(wish.path):
                self.shared[a[1], a[0], _port(a, b)] += change

    def straight(self, wish: _Wish) -> list[PE] | None:
        """The path along y, then along x, if no router on it has a price or is full, no link is shared, and it meets no tail of its own."""
        (x, y), path = wish.start, [wish.start]
        while (x, y) != wish.end:
            if y != wish.end[1]:
                y += 1 if wish.end[1] > y else -1
            else:
                x += 1 if wish.end[0] > x else -1
            if self.shared[path[-1][1], path[-1][0], _port(path[-1], (x, y))]:
                return None
            path.append((x, y))
        dear = any(self.price[y, x] or self.crowd[y, x] >= self.num_free for x, y in path)
        return None if dear or any(pe in wish.tail for pe in path[:-1]) else path

    def cheapest(self, wish: _Wish) -> list[PE]:
        """The path of least cost; empty when there is none."""
        cost = self.price + FULL_ROUTER_COST * np.maximum(0, self.crowd + 1 - self.num_free)
        return find_path(cost, SHARED_LINK_COST * self.shared, wish.start, wish.end, set(wish.tail))

    def raise_prices(self, wishes: Iterable[_Wish]) -> None:
        """Routers where several of these wishes meet get dearer."""
        for (x, y), lanes in Counter(pe for wish in wishes for pe in wish.pes).items():
            if lanes > 1:
                self.price[y, x] += FULL_ROUTER_COST * lanes


def _color(wishes: list[_Wish]) -> tuple[list[int], nx.Graph]:
    """A color per wish: a net's lanes share one unless they meet; and the graph of lanes that meet."""
    conflicts = nx.Graph()
    conflicts.add_nodes_from(range(len(wishes)))
    at: dict[PE, list[int]] = {}
    for i, wish in enumerate(wishes):
        for pe in wish.pes:
            conflicts.add_edges_from((i, other) for other in at.get(pe, ()))
            at.setdefault(pe, []).append(i)
    torn = {wishes[i].net for i, j in conflicts.edges if wishes[i].net == wishes[j].net}
    group = {i: (wish.net, i if wish.net in torn else -1) for i, wish in enumerate(wishes)}
    groups = nx.Graph()
    groups.add_nodes_from(group.values())
    groups.add_edges_from((group[i], group[j]) for i, j in conflicts.edges)
    colors = nx.greedy_color(groups, strategy="DSATUR")
    return [colors[group[i]] for i in range(len(wishes))], conflicts


def _port(a: PE, b: PE) -> Port:
    step = (b[0] - a[0], b[1] - a[1])
    return next(port for port, delta in PORT_STEP.items() if delta == step)


def _tree(wish: _Wish) -> dict[PE, Hop]:
    """The hops of a routed wish: its path, then its tail."""
    tx = {pe: set(ports) for pe, ports in wish.tail.items()}
    for a, b in itertools.pairwise(wish.path):
        tx.setdefault(a, set()).add(_port(a, b))
    hops: dict[PE, Hop] = {}
    order = [(wish.path[0], wish.source)]
    while order:
        pe, rx = order.pop()
        hops[pe] = (rx, frozenset(tx[pe]))
        for port in tx[pe] - {Port.RAMP}:
            there = (pe[0] + PORT_STEP[port][0], pe[1] + PORT_STEP[port][1])
            if there in tx:
                order.append((there, OPPOSITE[port]))
    return hops


@dataclass(frozen=True)
class RouteReport:
    """What routing came to: colors per router (as counts), links that several lanes share, and detours."""

    routers_by_colors: dict[int, int]  # number of net colors -> routers that carry so many
    shared_links: int
    most_shared: int  # lanes on the most shared link
    detour_links: int
    num_links: int

    def dump(self) -> str:
        """Lines for people."""
        colors = ", ".join(f"{routers:,} with {n}" for n, routers in sorted(self.routers_by_colors.items()))
        return (f"net colors per router: {colors}\nlinks: {self.num_links:,} used, {self.shared_links:,} of them by several lanes"
                f" (at most {self.most_shared}); detours: {self.detour_links:,} links")  # fmt: skip


def report_routes(nets: tuple[Net, ...]) -> RouteReport:
    """Count what the nets use."""
    lanes = [lane for net in nets for lane in net.lanes]
    colors = Counter(pe for lane in lanes for pe in lane.hops)
    links = Counter((pe, port) for lane in lanes for pe, (_, tx) in lane.hops.items() for port in tx if port is not Port.RAMP)
    several = [n for n in links.values() if n > 1]
    return RouteReport(
        dict(Counter(colors.values())), len(several), max(links.values(), default=0), sum(net.detour for net in nets), len(links)
    )
