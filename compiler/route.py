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
from wse.frame import Frame
from wse.isa import OPPOSITE, PORT_STEP, Port

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
    the block that takes it, the PE it reaches first. The host's end is at the mesh's edge. `detour`: links beyond the shortest way.
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

    def strays(self, num: int) -> bool:
        """Whether start and end, of one of `num` lanes, are neither in line nor as near as in neighbouring blocks."""
        across, down = abs(self.start[0] - self.end[0]), abs(self.start[1] - self.end[1])
        return bool(across and down) or across + down >= 2 * num

    @property
    def pes(self) -> set[PE]:
        return self.tail.keys() | set(self.path)


_Plan = tuple[int, list[_Wish], tuple[PE, ...], tuple[PE, ...]]
"""(kind, lanes wanted, exits, entries) of a net."""


def route(placement: Placement, dim: int, num_colors: int) -> tuple[Net, ...]:
    """Nets 0..n: the host to block 0, block i-1 to block i, and the last block to the host, of `dim` wavelets each.

    Raises `DoesNotFitError` naming the router that lacks colors.
    """
    names = ("host", *placement.names, "host")
    plans = [_plan(placement, dim, i) for i in range(len(placement.rects) + 1)]
    names_of = [f"{a} -> {b}" for a, b in itertools.pairwise(names)]
    try:
        wishes, colors = _negotiate(placement, plans, num_colors - FIRST_NET_COLOR, names_of)
    except DoesNotFitError:  # lanes that bend, since their blocks skip different rows or columns, or go far, take many colors
        stray = [i for i, (_, wanted, _, _) in enumerate(plans) if len(wanted) > 1 and any(wish.strays(len(wanted)) for wish in wanted)]
        if not stray:
            raise
        plans = [_trunk(placement, i) if i in stray else plan for i, plan in enumerate(plans)]
        wishes, colors = _negotiate(placement, plans, num_colors - FIRST_NET_COLOR, names_of)
    nets = []
    for i, (kind, _, exits, entries) in enumerate(plans):
        mine = [(wish, color) for wish, color in zip(wishes, colors, strict=True) if wish.net == i]
        lanes = tuple(Lane(FIRST_NET_COLOR + color, _tree(wish)) for wish, color in mine)
        detour = sum(len(wish.path) - 1 - abs(wish.start[0] - wish.end[0]) - abs(wish.start[1] - wish.end[1]) for wish, _ in mine)
        nets.append(Net(f"{names[i]} -> {names[i + 1]}", kind, lanes, exits, entries, detour))
    return tuple(nets)


def final_exit(placement: Placement) -> PE:
    """The PE through which the last block's results leave: the top of its output side, east unless it is west."""
    frame = placement.frames[-1]
    return frame.columns[0 if placement.outputs[-1] == Port.WEST else -1], frame.rows[0]


def _trunk(placement: Placement, i: int) -> _Plan:
    """The plan of net i, between two blocks, as a trunk from the corner of the one to the nearest of the other."""
    corners = []
    for frame, side in ((placement.frames[i - 1], placement.outputs[i - 1]), (placement.frames[i], placement.inputs[i])):
        xs = [frame.columns[k] for k, far in ((0, Port.EAST), (-1, Port.WEST)) if side != far]
        ys = [frame.rows[k] for k, far in ((0, Port.SOUTH), (-1, Port.NORTH)) if side != far]
        corners.append(list(itertools.product(xs, ys)))
    start, end = min(itertools.product(*corners), key=lambda pair: abs(pair[0][0] - pair[1][0]) + abs(pair[0][1] - pair[1][1]))
    into = placement.frames[i]
    return TRUNK, [_Wish(i, start, Port.RAMP, end, _column(into, *end))], (start,), _column_pes(into, end[0])


def _plan(placement: Placement, dim: int, i: int) -> _Plan:
    """(kind, lanes wanted, exits, entries) of net i."""
    if i == len(placement.rects):
        start = final_exit(placement)
        end = _edge(placement, placement.width - 1, start[1])
        return TRUNK, [_Wish(i, start, Port.RAMP, end, {end: {Port.EAST}})], (start,), (end,)
    into = placement.frames[i]
    if i == 0:
        x = into.columns[-1 if placement.inputs[0] == Port.EAST else 0]
        y = into.rows[-1 if placement.inputs[0] == Port.SOUTH else 0]
        host = _edge(placement, 0, y)
        return TRUNK, [_Wish(i, host, Port.WEST, (x, y), _column(into, x, y))], (host,), _column_pes(into, x)
    a, b, out = placement.rects[i - 1], placement.rects[i], placement.frames[i - 1]
    kind, _, _, ax, ay, bx, by = measure(
        dim, a.x, a.y, a.width, a.height, placement.outputs[i - 1], b.x, b.y, b.width, b.height, placement.inputs[i], 1, 1
    )
    if kind == TRUNK:
        start, end = out.physical(ax, ay), into.physical(bx, by)
        return kind, [_Wish(i, start, Port.RAMP, end, _column(into, *end))], (start,), _column_pes(into, end[0])
    rows = [r for r in range(a.height) if r * -(-dim // a.height) < dim]  # the last rows may hold nothing
    across = [(out.physical(ax, ay)[0], into.physical(bx, by)[0])] * len(rows)
    if kind == STACKED:
        across = _stacked_columns(out, into, len(rows))
    exits = tuple((x, out.rows[r]) for r, (x, _) in zip(rows, across, strict=True))
    entries = tuple((x, into.rows[r]) for r, (_, x) in zip(rows, across, strict=True))
    tails = [{pe: {Port.RAMP}} if kind == STACKED else _row(into, pe) for pe in entries]
    return kind, [_Wish(i, s, Port.RAMP, e, tail) for s, e, tail in zip(exits, entries, tails, strict=True)], exits, entries


def _edge(placement: Placement, x: int, y: int) -> PE:
    """The PE of column x, an outer one, that the host joins: that of row y, or the nearest that works."""
    if placement.defects is None:
        return x, y
    working = np.flatnonzero(~placement.defects.dead[:, x])
    if not len(working):
        raise DoesNotFitError(f"every PE of column {x} is dead: the host finds no way in")
    return x, int(working[np.argmin(np.abs(working - y))])


def _stacked_columns(out: Frame, into: Frame, num: int) -> list[tuple[int, int]]:
    """The column of each of `num` lanes where it leaves and where it enters: the same one as long as both frames use as many."""
    left = max(out.columns[0], into.columns[0])
    both = sorted(set(out.columns) & set(into.columns))
    if len(both) >= num:
        return [(x, x) for x in both[:num]]
    a, b = ([x for x in frame.columns if x >= left][:num] for frame in (out, into))
    return list(zip(a, b, strict=True))


def _column_pes(frame: Frame, x: int) -> tuple[PE, ...]:
    return tuple((x, y) for y in frame.rows)


def _column(frame: Frame, x: int, y: int) -> dict[PE, set[Port]]:
    """From (x, y), the top or bottom of a column, on to all of it."""
    onward, far = (Port.SOUTH, frame.rows[-1]) if y == frame.rows[0] else (Port.NORTH, frame.rows[0])
    return {(x, at): _drop(at in frame.rows, at == far, onward) for at in range(frame.rows[0], frame.rows[-1] + 1)}


def _row(frame: Frame, entry: PE) -> dict[PE, set[Port]]:
    """From the west or east end of a row on to all of it."""
    onward, far = (Port.EAST, frame.columns[-1]) if entry[0] == frame.columns[0] else (Port.WEST, frame.columns[0])
    return {(at, entry[1]): _drop(at in frame.columns, at == far, onward) for at in range(frame.columns[0], frame.columns[-1] + 1)}


def _drop(used: bool, last: bool, onward: Port) -> set[Port]:
    """The tx ports of a PE on the way along a block: to its core if the block uses it, and on unless it is the last."""
    return ({Port.RAMP} if used else set()) | (set() if last else {onward})


def _negotiate(placement: Placement, plans: list[_Plan], num_free: int, names: list[str]) -> tuple[list[_Wish], list[int]]:
    """The lanes wanted, each with a path, and their colors, from 0. Straight lines first, then whoever crosses a full router again."""
    wishes = [wish for _, wanted, _, _ in plans for wish in wanted]
    traffic = _Traffic(placement, num_free)
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
            return wishes, colors
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

    def __init__(self, placement: Placement, num_free: int):
        width, height = placement.width, placement.height
        self.num_free = num_free
        self.dead = np.zeros((height, width), bool) if placement.defects is None else placement.defects.dead
        self.closed = np.zeros((height, width, 4), bool) if placement.defects is None else placement.defects.closed
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
        """The path along y, then x, if no router on it has a price or is full, no link is shared or dead, and it meets no own tail."""
        (x, y), path = wish.start, [wish.start]
        if self.dead[wish.end[1], x]:
            return None
        while (x, y) != wish.end:
            if y != wish.end[1]:
                y += 1 if wish.end[1] > y else -1
            else:
                x += 1 if wish.end[0] > x else -1
            link = path[-1][1], path[-1][0], _port(path[-1], (x, y))
            if self.shared[link] or self.closed[link]:
                return None
            path.append((x, y))
        dear = any(self.price[y, x] or self.crowd[y, x] >= self.num_free for x, y in path)
        return None if dear or any(pe in wish.tail for pe in path[:-1]) else path

    def cheapest(self, wish: _Wish) -> list[PE]:
        """The path of least cost; empty when there is none."""
        cost = self.price + FULL_ROUTER_COST * np.maximum(0, self.crowd + 1 - self.num_free)
        link_cost = np.where(self.closed, -1, SHARED_LINK_COST * self.shared)
        return find_path(cost, link_cost, wish.start, wish.end, set(wish.tail), self.dead)

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
