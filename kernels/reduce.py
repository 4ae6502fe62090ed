"""Reduce: the vectors of all PEs of a line combined at one of them, by one of several algorithms.

Contract of all: the result is `reduce_reference` to within the rounding of at most P - 1 f32 additions in another order, so
|error| <= (P - 1) 2^-24 sum |x| (exact for MAX and MIN). The order is fixed by the algorithm: the bits never depend on time.
Cycles and hops are those of the functions here; formulas follow "Near-Optimal Wafer-Scale Reduce"
(HPDC'24, arXiv 2404.15888, section 5), with the spec's latencies in place of T = 2 and hop 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from wse.builder import ProgramBuilder
from wse.errors import ProgramError, nearest
from wse.isa import Op
from wse.kernels.cost import issue_wait, pass_cycles
from wse.kernels.line import Line, wire
from wse.operands import View
from wse.spec import MachineSpec


@dataclass(frozen=True)
class Algorithm:
    """How to reduce or all-reduce: a name, and into how many groups a two-tree cuts the line.

    star: everybody sends to index 0. chain: neighbour to neighbour to index 0. tree: binary, to index 0. two_phase: chains in groups
    of about sqrt P, then a chain of their first PEs. two_tree: in every group both ends chain to the middle, the middles chain to the
    middle one of them ("MeshGEMV", WaferLLM, OSDI'25). ring: all-reduce only, see `allreduce`.
    """

    name: str
    groups: int = 1

    def __str__(self) -> str:
        return f"{self.name} with {self.groups} groups" if self.name == "two_tree" else self.name


CHAIN = Algorithm("chain")


def reduce(
    program: ProgramBuilder, line: Line, value: View, op: Op = Op.ADD, shape: Any = None, algorithm: Algorithm = CHAIN
) -> int:
    """Combine `value` of all PEs of each line into `value` at one of them, whose index is returned (`root_of`).

    The others keep, or lose to partial sums, what they had. `shape` may be dynamic if it is alike along a line. Raises
    `ProgramError` for an unknown algorithm or when the colors do not suffice.
    """
    method_of(algorithm).emit(program, line, value, op, shape, algorithm)
    return root_of(algorithm, line.length)


def root_of(algorithm: Algorithm, length: int) -> int:
    """Index of the PE where `reduce` leaves the result."""
    if algorithm.name != "two_tree":
        return 0
    _, (roots, root) = _phases(length, algorithm)
    return roots[root]


def reduce_cycles(spec: MachineSpec, algorithm: Algorithm, length: int, num: int) -> int:
    """Predicted cycles of `reduce` of `num` wavelets on an idle machine, from the spec's rules."""
    return method_of(algorithm).cycles(spec, algorithm, length, num) if length > 1 and num else 0


def reduce_hops(algorithm: Algorithm, length: int, num: int) -> int:
    """Wavelet-hops of `reduce` along one line: exact."""
    return num * sum(abs(a - b) for a, b in method_of(algorithm).links(length, algorithm))


def reduce_colors(algorithm: Algorithm, length: int) -> int:
    """Colors that `reduce` takes on a line."""
    return method_of(algorithm).colors(length, algorithm)


def reduce_reference(values: np.ndarray, op: Op = Op.ADD) -> np.ndarray:
    """The combination of `values` (length, num), in f64 for sums."""
    return {Op.ADD: np.sum, Op.MAX: np.max, Op.MIN: np.min}[op](values.astype(np.float64), axis=0)


@dataclass(frozen=True)
class Method:
    """One algorithm's code and contract. `links`: who sends to whom, as (sender, receiver) indices; each sends `value` once."""

    emit: Callable[[ProgramBuilder, Line, View, Op, Any, Algorithm], None]
    links: Callable[[int, Algorithm], list[tuple[int, int]]]
    cycles: Callable[[MachineSpec, Algorithm, int, int], int]
    colors: Callable[[int, Algorithm], int]


def num_wavelets(value: View) -> int:
    """Wavelets that `value` is when sent whole; extents in registers count as 1."""
    return math.prod(extent for extent in value.shape if isinstance(extent, int))


def method_of(algorithm: Algorithm) -> Method:
    """The method of that name. Raises `ProgramError`."""
    if algorithm.name not in _METHODS:
        raise ProgramError(f"no reduce algorithm '{algorithm.name}'", help=nearest(algorithm.name, _METHODS))
    return _METHODS[algorithm.name]


# --- star -------------------------------------------------------------------------------------------------------


def _star(program: ProgramBuilder, line: Line, value: View, op: Op, shape: Any, algorithm: Algorithm) -> None:
    """A color for each sender: fixed routes cannot merge. The root takes them in order, so that the sum never depends on time."""
    root = program.pes(line.at(0))
    for source, _ in _star_links(line.length, algorithm):
        color = wire(program, line.path(source, 0), line.colors)
        pe = program.pes(line.at(source))
        pe.mov(pe.send(color), value, shape=shape)
        root.vector(op, value, root.recv(color), value, shape=shape)


def _star_links(length: int, algorithm: Algorithm) -> list[tuple[int, int]]:
    return [(i, 0) for i in range(1, length)]


def _star_cycles(spec: MachineSpec, algorithm: Algorithm, length: int, num: int) -> int:
    """B (P - 1) + 2T + 1 of the source, and the nearest sender's hop. Exact up to 2 wavelets, else at least that.

    The source's senders take turns; here later ones come at once, and take turns on the shared links until their queues are full.
    """
    end = 0
    for i in range(1, length):
        end = max(end + issue_wait(spec), issue_wait(spec) + pass_cycles(spec, i)) + num
    return end


# --- chains: plain, two-phase, two-tree -------------------------------------------------------------------------


def _groups(length: int, num: int) -> list[tuple[int, int]]:
    """(first index, size) of `num` groups of a line, sizes as equal as can be."""
    num = max(1, min(num, length))
    bounds = [length * k // num for k in range(num + 1)]
    return [(a, b - a) for a, b in pairwise(bounds)]


Chain = tuple[Sequence[int], int]  # indices along the line, and which of them is the root


def _phases(length: int, algorithm: Algorithm) -> tuple[list[Chain], Chain]:
    """The chains inside the groups, and the chain of the groups' roots, of the algorithms made of chains."""
    middle = algorithm.name == "two_tree"
    num = {"chain": 1, "two_phase": math.isqrt(length - 1) + 1 if length > 1 else 1}.get(algorithm.name, algorithm.groups)
    inside: list[Chain] = [(range(first, first + n), n // 2 if middle else 0) for first, n in _groups(length, num)]
    roots = [stops[root] for stops, root in inside]
    return inside, (roots, len(roots) // 2 if middle else 0)


def _chain_links(length: int, algorithm: Algorithm) -> list[tuple[int, int]]:
    inside, between = _phases(length, algorithm)
    return [(a, b) for chain in [*inside, between] for a, b, _ in _inward(*chain)]


def _chain_colors(length: int, algorithm: Algorithm) -> int:
    """Two colors for a phase in which some chain has two links or more."""
    inside, between = _phases(length, algorithm)
    return sum(min(2, max(len(stops) for stops, _ in phase) - 1) for phase in (inside, [between]))


def _inward(stops: Sequence[int], root: int) -> list[tuple[int, int, int]]:
    """Both ends of `stops` chain to stops[root], the lower end first: (sender, receiver, turn).

    The turn, 0 or 1, tells two colors apart: those of neighbouring stages, and of the root's two neighbours, differ.
    """
    low = [(stops[k], stops[k + 1], k % 2) for k in range(root)]
    return low + [(stops[k], stops[k - 1], (k + 1) % 2) for k in range(len(stops) - 1, root, -1)]


def _chains(program: ProgramBuilder, line: Line, value: View, op: Op, shape: Any, algorithm: Algorithm) -> None:
    """Every stage adds what arrives and passes it on; a root adds the lower side, then the higher, and is done before it sends.

    (A root that passed on its group's last stream as it comes would start earlier, but have it meet the next group's on a ramp.)
    """
    inside, between = _phases(line.length, algorithm)
    arriving: dict[int, int] = {}  # index -> color of what it has been sent and not yet combined

    def add(i: int) -> None:
        pe = program.pes(line.at(i))
        pe.vector(op, value, pe.recv(arriving.pop(i)), value, shape=shape)

    for phase in (inside, [between]):
        links = [link for chain in phase for link in _inward(*chain)]
        turns = ([hop for a, b, t in links if t == turn for hop in line.path(a, b)] for turn in (0, 1))
        colors = [wire(program, hops, line.colors) if hops else -1 for hops in turns]
        for source, to, turn in links:
            pe = program.pes(line.at(source))
            if source in arriving:
                pe.vector(op, pe.send(colors[turn]), pe.recv(arriving.pop(source)), value, shape=shape)
            else:
                pe.mov(pe.send(colors[turn]), value, shape=shape)
            if to in arriving:
                add(to)
            arriving[to] = colors[turn]
        for i in list(arriving):
            add(i)


def _chain_cycles(spec: MachineSpec, algorithm: Algorithm, length: int, num: int) -> int:
    """Chain: B + (2T + 2)(P - 1). In groups: the groups' chains, then the chain of the roots.

    For P a square, two-phase is 2B + P - 1 + (2T + 1)(2 sqrt P - 2), in the source max(2B, E / N + P - 1) + …: some of it overlaps there.
    """
    inside, (roots, root) = _phases(length, algorithm)
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


# --- binary tree ------------------------------------------------------------------------------------------------


def _tree(program: ProgramBuilder, line: Line, value: View, op: Op, shape: Any, algorithm: Algorithm) -> None:
    """Level s: odd multiples of 2^s send to the PE 2^s below, each level on a color of its own.

    A PE adds what its children send, in order of distance, and passes on the sum with the last of them as it comes.
    """
    colors = []
    while (step := 1 << len(colors)) < line.length:
        senders = range(step, line.length, 2 * step)
        colors.append(wire(program, [hop for i in senders for hop in line.path(i, i - step)], line.colors))
    for i in range(line.length):
        pe = program.pes(line.at(i))
        levels = _children(line.length, i)
        for s in levels[: -1 if i else None]:
            pe.vector(op, value, pe.recv(colors[s]), value, shape=shape)
        if not i:
            continue
        out = pe.send(colors[(i & -i).bit_length() - 1])
        if levels:
            pe.vector(op, out, pe.recv(colors[levels[-1]]), value, shape=shape)
        else:
            pe.mov(out, value, shape=shape)


def _children(length: int, i: int) -> list[int]:
    """Levels on which the PE at index i receives, from the PE 2^level above."""
    levels = range((i & -i).bit_length() - 1 if i else length.bit_length())
    return [s for s in levels if i + (1 << s) < length]


def _tree_links(length: int, algorithm: Algorithm) -> list[tuple[int, int]]:
    return [(i, i - (i & -i)) for i in range(1, length)]


def _tree_cycles(spec: MachineSpec, algorithm: Algorithm, length: int, num: int) -> int:
    """max(B lg P, B P lg P / (2 (P - 1)) + P - 1) + (2T + 1) lg P in the source. Here, when the last child's stream is added.

    At least that: children that send early take turns on the ramp with those before them.
    """
    return _tree_begin(spec, length, 0, num) + num


def _tree_begin(spec: MachineSpec, length: int, i: int, num: int) -> int:
    """First beat of the last addition, or of the send, of the PE at index i."""
    wait = issue_wait(spec)
    begin, end = wait, 0
    for s in _children(length, i):
        begin = max(end + wait, _tree_begin(spec, length, i + (1 << s), num) + pass_cycles(spec, 1 << s))
        end = begin + num
    return begin


_CHAINS = Method(_chains, _chain_links, _chain_cycles, _chain_colors)
_METHODS = {
    "star": Method(_star, _star_links, _star_cycles, lambda length, _: length - 1),
    "chain": _CHAINS,
    "tree": Method(_tree, _tree_links, _tree_cycles, lambda length, _: (length - 1).bit_length()),
    "two_phase": _CHAINS,
    "two_tree": _CHAINS,
}
