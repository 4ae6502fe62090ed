"""Reductions made of chains: plain, two-phase and two-tree. See `reduce` for the contract."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from wse.builder import ProgramBuilder
from wse.isa import Op
from wse.kernels.algorithm import Algorithm, Method
from wse.kernels.cost import issue_wait, pass_cycles
from wse.kernels.line import Line, wire
from wse.operands import View
from wse.spec import MachineSpec


def _groups(length: int, num: int) -> list[tuple[int, int]]:
    """(first index, size) of `num` groups of a line, sizes as equal as can be."""
    num = max(1, min(num, length))
    bounds = [length * k // num for k in range(num + 1)]
    return [(a, b - a) for a, b in pairwise(bounds)]


Chain = tuple[Sequence[int], int]  # indices along the line, and which of them is the root


def phases(length: int, algorithm: Algorithm) -> tuple[list[Chain], Chain]:
    """The chains inside the groups, and the chain of the groups' roots, of the algorithms made of chains."""
    middle = algorithm.name == "two_tree"
    num = {"chain": 1, "two_phase": math.isqrt(length - 1) + 1 if length > 1 else 1}.get(algorithm.name, algorithm.groups)
    inside: list[Chain] = [(range(first, first + n), n // 2 if middle else 0) for first, n in _groups(length, num)]
    roots = [stops[root] for stops, root in inside]
    return inside, (roots, len(roots) // 2 if middle else 0)


def chain_root(length: int, algorithm: Algorithm) -> int:
    """Index of the PE where the result ends."""
    _, (roots, root) = phases(length, algorithm)
    return roots[root]


def _chain_links(length: int, algorithm: Algorithm) -> list[tuple[int, int]]:
    inside, between = phases(length, algorithm)
    return [(a, b) for chain in [*inside, between] for a, b, _ in _inward(*chain)]


def _chain_colors(length: int, algorithm: Algorithm) -> int:
    """Two colors for a phase in which some chain has two links or more."""
    inside, between = phases(length, algorithm)
    return sum(min(2, max(len(stops) for stops, _ in phase) - 1) for phase in (inside, [between]))


def _inward(stops: Sequence[int], root: int) -> list[tuple[int, int, int]]:
    """Both ends of `stops` chain to stops[root], the lower end first: (sender, receiver, turn).

    The turn, 0 or 1, tells two colors apart: those of neighbouring stages, and of the root's two neighbours, differ.
    """
    low = [(stops[k], stops[k + 1], k % 2) for k in range(root)]
    return low + [(stops[k], stops[k - 1], (k + 1) % 2) for k in range(len(stops) - 1, root, -1)]


def chain_wires(program: ProgramBuilder, line: Line, chains: Iterable[Chain]) -> list[tuple[int, int, int]]:
    """(sender, receiver, color) of every stage of chains that run at the same time, each chain's from its ends to its root."""
    links = [link for chain in chains for link in _inward(*chain)]
    turns = ([hop for a, b, t in links if t == turn for hop in line.path(a, b)] for turn in (0, 1))
    colors = [wire(program, hops, line.colors) if hops else -1 for hops in turns]
    return [(source, to, colors[turn]) for source, to, turn in links]


def _chains(program: ProgramBuilder, line: Line, value: View, op: Op, how: dict[str, Any], algorithm: Algorithm) -> None:
    """Every stage adds what arrives and passes it on; a root adds the lower side, then the higher, and is done before it sends.

    (A root that passed on its group's last stream as it comes would start earlier, but have it meet the next group's on a ramp.)
    """
    inside, between = phases(line.length, algorithm)
    arriving: dict[int, int] = {}  # index -> color of what it has been sent and not yet combined

    def add(i: int) -> None:
        pe = program.pes(line.at(i))
        pe.vector(op, value, pe.recv(arriving.pop(i)), value, **how)

    for phase in (inside, [between]):
        for source, to, color in chain_wires(program, line, phase):
            pe = program.pes(line.at(source))
            if source in arriving:
                pe.vector(op, pe.send(color), pe.recv(arriving.pop(source)), value, **how)
            else:
                pe.mov(pe.send(color), value, **how)
            if to in arriving:
                add(to)
            arriving[to] = color
        for i in list(arriving):
            add(i)


def _chain_cycles(spec: MachineSpec, algorithm: Algorithm, length: int, num: int) -> int:
    """Chain: B + (2T + 2)(P - 1). In groups: the groups' chains, then the chain of the roots.

    For P a square, two-phase is 2B + P - 1 + (2T + 1)(2 sqrt P - 2), in the source max(2B, E / N + P - 1) + …: some of it overlaps there.
    """
    inside, (roots, root) = phases(length, algorithm)
    wait, apart = issue_wait(spec), pass_cycles(spec, 1)
    after = {  # groups differ by one PE in size at most
        n: _add_sides(spec, 0, [wait + stages * apart for stages in (r, n - 1 - r) if stages], num)
        for n, r in {(len(stops), r) for stops, r in inside}
    }
    ready = [after[len(stops)] for stops, _ in inside]
    arrivals = []
    for side in (range(root), range(len(roots) - 1, root, -1)):
        begin, before = 0, None  # first beat of the stage before, and where that is
        for k in side:
            arrival = 0 if before is None else begin + pass_cycles(spec, abs(roots[k] - before))
            begin, before = max(ready[k] + wait, arrival), roots[k]
        if before is not None:
            arrivals.append(begin + pass_cycles(spec, abs(roots[root] - before)))
    return _add_sides(spec, ready[root], arrivals, num)


def _add_sides(spec: MachineSpec, ready: int, arrivals: list[int], num: int) -> int:
    """When a root that is ready then has added the one or two streams that arrive then, the first of the list first.

    Both come in over one ramp: until the second stream has filled its queue, it takes turns there with the first.
    """
    end, lost = ready, 0
    if len(arrivals) == 2:
        first, second = arrivals
        full = min(num, spec.core_queue_room)
        lost = max(0, min(full, num - max(0, second - first)) - max(0, first - second) - max(0, ready - first))
    for arrival in arrivals:
        end = max(end + issue_wait(spec), arrival) + num + lost
        lost = 0
    return end


CHAINS = Method(_chains, _chain_links, _chain_cycles, _chain_colors)
