"""Route: a path and a color for every net between blocks.

A net carries one vector from an exit PE (or the host's edge) to an entry PE, and from there to every PE of the block that takes it.
Nets that meet in a router get different colors: the conflict graph is colored.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx

from wse.compiler.place import Placement
from wse.errors import DoesNotFitError
from wse.isa import OPPOSITE, PORT_STEP, Port
from wse.program import Rect

FIRST_NET_COLOR = 15  # those below belong to the insides of blocks: 5 along each axis, 3 for heads, 2 to gather


@dataclass(frozen=True)
class Net:
    """One vector's way. `hops`: per PE (x, y) its rx port and tx ports. The host's end is a port off the mesh."""

    name: str
    color: int
    hops: dict[tuple[int, int], tuple[Port, frozenset[Port]]]

    def dump(self) -> str:
        """One line for people."""
        return f"{self.name}: color {self.color}, {len(self.hops)} routers"


def entry_and_exit(placement: Placement, i: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The PE through which block i takes its input, and the one through which its output leaves."""
    rect = placement.rects[i]
    near, far = (rect.x, rect.x + rect.width - 1)
    if not placement.eastward[i]:
        near, far = far, near
    return (near, rect.y), (far, rect.y)


def route(placement: Placement, num_colors: int) -> tuple[Net, ...]:
    """Nets 0..n: the host to block 0, block i-1 to block i, and the last block to the host. Raises `DoesNotFitError`."""
    names, ways = [], []
    for i, rect in enumerate(placement.rects):
        entry, _ = entry_and_exit(placement, i)
        if i == 0:
            start, source = (0, entry[1]), Port.WEST
        else:
            start, source = entry_and_exit(placement, i - 1)[1], Port.RAMP
        ways.append(_spread(_path(start, entry), source, rect))
        names.append(f"{'host' if i == 0 else placement.names[i - 1]} -> {placement.names[i]}")
    _, last = entry_and_exit(placement, len(placement.rects) - 1)
    ways.append(_tree(_path(last, (placement.width - 1, last[1])), Port.RAMP, {(placement.width - 1, last[1]): {Port.EAST}}))
    names.append(f"{placement.names[-1]} -> host")
    conflicts = nx.Graph()
    conflicts.add_nodes_from(range(len(ways)))
    at: dict[tuple[int, int], list[int]] = {}
    for i, hops in enumerate(ways):
        for pe in hops:
            conflicts.add_edges_from((i, other) for other in at.get(pe, ()))
            at.setdefault(pe, []).append(i)
    colors = nx.greedy_color(conflicts, strategy="DSATUR")
    need = max(colors.values()) + 1
    if FIRST_NET_COLOR + need > num_colors:
        raise DoesNotFitError(
            f"the nets between blocks need {need} colors, {num_colors - FIRST_NET_COLOR} are left",
            help="place blocks that follow each other side by side",
        )
    return tuple(Net(name, FIRST_NET_COLOR + colors[i], hops) for i, (name, hops) in enumerate(zip(names, ways, strict=True)))


def _path(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """PEs from start to end, along x first, then along y."""
    (x, y), path = start, [start]
    while x != end[0]:
        x += 1 if end[0] > x else -1
        path.append((x, y))
    while y != end[1]:
        y += 1 if end[1] > y else -1
        path.append((x, y))
    return path


def _spread(path: list[tuple[int, int]], source: Port, rect: Rect) -> dict[tuple[int, int], tuple[Port, frozenset[Port]]]:
    """A path into a rectangle and on to all its PEs: along the entry's column, then along every row."""
    ex, ey = path[-1]
    inside = (pe for pe in _rect_pes(rect))
    extra: dict[tuple[int, int], set[Port]] = {pe: {Port.RAMP} for pe in inside}
    for y in range(rect.y, rect.y + rect.height):
        if y > rect.y and y > ey:
            extra[(ex, y - 1)].add(Port.SOUTH)
        for x in range(rect.x, rect.x + rect.width - 1):
            if x >= ex:
                extra[(x, y)].add(Port.EAST)
            else:
                extra[(x + 1, y)].add(Port.WEST)
    return _tree(path, source, extra)


def _rect_pes(rect: Rect) -> Iterable[tuple[int, int]]:
    return ((x, y) for y in range(rect.y, rect.y + rect.height) for x in range(rect.x, rect.x + rect.width))


def _tree(
    path: list[tuple[int, int]], source: Port, extra: dict[tuple[int, int], set[Port]]
) -> dict[tuple[int, int], tuple[Port, frozenset[Port]]]:
    """Hops of a tree: a path, and further tx ports of PEs, each leading to a PE of the tree or off the mesh."""
    tx: dict[tuple[int, int], set[Port]] = {pe: set(ports) for pe, ports in extra.items()}
    for a, b in itertools.pairwise(path):
        step = (b[0] - a[0], b[1] - a[1])
        port = next(port for port, delta in PORT_STEP.items() if delta == step)
        tx.setdefault(a, set()).add(port)
    for pe in path:
        tx.setdefault(pe, set())
    rx: dict[tuple[int, int], Port] = {}
    order = [(path[0], source)]
    while order:
        pe, port = order.pop()
        rx[pe] = port
        for out in tx[pe] - {Port.RAMP}:
            dx, dy = PORT_STEP[out]
            there = (pe[0] + dx, pe[1] + dy)
            if there in tx and there not in rx:
                order.append((there, OPPOSITE[out]))
    return {pe: (rx[pe], frozenset(ports)) for pe, ports in tx.items()}
