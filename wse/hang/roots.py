"""From a wait-for graph to its roots: circular waits, and things waited for that will never come."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np

from wse.hang.nodes import KINDS, SILENT, THREADS, Nodes


@dataclass(frozen=True)
class Found:
    """The roots of a graph, as nodes. A node is in at most one root; what is in none is queued behind them."""

    cycles: list[np.ndarray]  # strongly connected: every node waits, directly or not, for every other
    ends: np.ndarray  # nodes that wait for nothing that could still happen
    before: list[np.ndarray]  # threads, tasks and host ports that wait for each end directly
    queued: np.ndarray


class _Adjacency:
    """Neighbours of nodes, all in one array."""

    def __init__(self, source: np.ndarray, target: np.ndarray, num: int):
        order = np.argsort(source, kind="stable")
        self.neighbour = target[order]
        self.first = np.searchsorted(source[order], np.arange(num + 1))

    def of(self, nodes: np.ndarray) -> np.ndarray:
        """All neighbours of `nodes`, one after another."""
        first, size = self.first[nodes], self.first[nodes + 1] - self.first[nodes]
        start = np.repeat(first - (np.cumsum(size) - size), size)
        return self.neighbour[start + np.arange(len(start))]


def find_roots(nodes: Nodes) -> Found:
    """The roots of what waits in `nodes`."""
    num = nodes.num
    edges = np.stack(np.divmod(np.unique(nodes.source * num + nodes.target), max(num, 1)))
    onward = _Adjacency(edges[0], edges[1], num)
    part = np.zeros(num, bool)  # of the hang: whatever something waits for, directly or not
    fresh = np.flatnonzero(nodes.waiter)
    while len(fresh):
        part[fresh] = True
        fresh = np.unique(onward.of(fresh))
        fresh = fresh[~part[fresh]]
    source, target = edges[:, part[edges[0]]]
    back = _Adjacency(target, source, num)
    num_onward = np.bincount(source, minlength=num)
    ends = np.flatnonzero(part & (num_onward == 0))
    left = _peel(part.copy(), ends, num_onward, back)
    num_back = np.bincount(target[left[source] & left[target]], minlength=num)
    left = _peel(left, np.flatnonzero(left & (num_back == 0)), num_back, onward)
    graph = nx.DiGraph()
    inside = left[source] & left[target]
    graph.add_edges_from(zip(source[inside].tolist(), target[inside].tolist(), strict=True))
    cycles = [
        np.array(sorted(component), np.int64)
        for component in nx.strongly_connected_components(graph)
        if len(component) > 1 or graph.has_edge(*list(component) * 2)
    ]
    cycles.sort(key=lambda cycle: int(cycle[0]))
    taken = np.zeros(num, bool)
    taken[ends] = True
    for cycle in cycles:
        taken[cycle] = True
    before = []
    for end in ends:
        direct = np.unique(back.of(np.array([end])))
        direct = direct[~taken[direct]]
        taken[direct] = True
        before.append(direct)
    return Found(cycles, ends, before, np.flatnonzero(part & ~taken & _speaks(nodes)))


def _peel(left: np.ndarray, bare: np.ndarray, degree: np.ndarray, towards: _Adjacency) -> np.ndarray:
    """`left` without the nodes `bare` (of degree 0), those that are bare without them, and so on."""
    degree = degree.copy()
    while len(bare):
        left[bare] = False
        touched = towards.of(bare)
        np.subtract.at(degree, touched, 1)
        touched = np.unique(touched)
        bare = touched[left[touched] & (degree[touched] == 0)]
    return left


def walk(nodes: Nodes, members: np.ndarray) -> np.ndarray:
    """The nodes of one cycle through strongly connected `members`, in the order of who waits for whom, from the lowest thread on."""
    inside = np.zeros(nodes.num, bool)
    inside[members] = True
    kept = inside[nodes.source] & inside[nodes.target]
    onward = _Adjacency(nodes.source[kept], nodes.target[kept], nodes.num)
    seen: dict[int, int] = {}
    at = int(members[0])
    while at not in seen:
        seen[at] = len(seen)
        at = int(onward.neighbour[onward.first[at]])
    path = np.array(list(seen)[seen[at] :], np.int64)
    threads = path[np.isin(nodes.kind[path], [KINDS.index(kind) for kind in THREADS])]
    start = int(np.argmax(path == (threads if len(threads) else path).min()))
    path = np.roll(path, -start)
    return path[_speaks(nodes)[path]]


def _speaks(nodes: Nodes) -> np.ndarray:
    """bool (num_nodes,): whether a node is more than a joint of the graph."""
    return ~np.isin(nodes.kind, [-1, *(KINDS.index(kind) for kind in SILENT)])
