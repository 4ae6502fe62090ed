"""Reduce: the vectors of all PEs of a line combined at one of them, by one of several algorithms.

Contract of all: the result is `reduce_reference` to within the rounding of at most P - 1 f32 additions in another order, so
|error| <= (P - 1) 2^-24 sum |x| (exact for MAX and MIN). The order is fixed by the algorithm: the bits never depend on time.
Cycles and hops are those of the functions here; formulas follow "Near-Optimal Wafer-Scale Reduce"
(HPDC'24, arXiv 2404.15888, section 5), with the spec's latencies in place of T = 2 and hop 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wse.builder import ProgramBuilder
from wse.errors import ProgramError, nearest
from wse.isa import MAX_DIMS, Command, Op, Pop, Port, Type
from wse.kernels.algorithm import CHAIN, Algorithm, Method
from wse.kernels.chains import CHAINS, chain_root
from wse.kernels.cost import issue_wait, pass_cycles, wavelets
from wse.kernels.line import Hop, Line, wire
from wse.operands import View
from wse.spec import MachineSpec


def reduce(
    program: ProgramBuilder, line: Line, value: View, op: Op = Op.ADD, shape: Any = None, algorithm: Algorithm = CHAIN,
    type: Type | None = None,
) -> int:  # fmt: skip
    """Combine `value` of all PEs of each line into `value` at one of them, whose index is returned (`root_of`).

    The others keep, or lose to partial sums, what they had. `shape` may be dynamic if it is alike along a line; `type` F16 computes in f16
    and packs two elements in a wavelet. Raises `ProgramError` for an unknown algorithm or when the colors do not suffice.
    """
    with program.op("reduce"):
        method_of(algorithm).emit(program, line, value, op, {"shape": shape, "type": type}, algorithm)
    return root_of(algorithm, line.length)


def root_of(algorithm: Algorithm, length: int) -> int:
    """Index of the PE where `reduce` leaves the result."""
    return chain_root(length, algorithm) if algorithm.name == "two_tree" else 0


def reduce_cycles(spec: MachineSpec, algorithm: Algorithm, length: int, num: int) -> int:
    """Predicted cycles of `reduce` of `num` wavelets on an idle machine, from the spec's rules."""
    return method_of(algorithm).cycles(spec, algorithm, length, num) if length > 1 and num else 0


def reduce_hops(algorithm: Algorithm, length: int, num: int) -> int:
    """Wavelet-hops of `reduce` along one line: exact."""
    method = method_of(algorithm)
    return num * sum(abs(a - b) for a, b in method.links(length, algorithm)) + method.control_hops(length)


def reduce_loads(algorithm: Algorithm, length: int, num: int) -> np.ndarray:
    """The same by link: int64 (length - 1,), wavelets between each PE of the line and the next."""
    method = method_of(algorithm)
    loads = np.full(max(0, length - 1), 1 if method.control_hops(length) else 0, np.int64)  # a control wavelet crosses every link
    for a, b in method.links(length, algorithm):
        loads[min(a, b) : max(a, b)] += num
    return loads


def reduce_colors(algorithm: Algorithm, length: int) -> int:
    """Colors that `reduce` takes on a line."""
    return method_of(algorithm).colors(length, algorithm)


def reduce_reference(values: np.ndarray, op: Op = Op.ADD) -> np.ndarray:
    """The combination of `values` (length, num), in f64 for sums."""
    return {Op.ADD: np.add, Op.MAX: np.maximum, Op.MIN: np.minimum}[op].reduce(values.astype(np.float64), axis=0)


def num_wavelets(value: View, type: Type | None = None) -> int:
    """Wavelets that `value` is when sent whole by an operation of `type`; extents in registers count as 1."""
    return wavelets(math.prod(extent for extent in value.shape if isinstance(extent, int)), type)


def method_of(algorithm: Algorithm) -> Method:
    """The method of that name. Raises `ProgramError`."""
    if algorithm.name not in _METHODS:
        raise ProgramError(f"no reduce algorithm '{algorithm.name}'", help=nearest(algorithm.name, _METHODS))
    return _METHODS[algorithm.name]


# --- star -------------------------------------------------------------------------------------------------------


def _star(program: ProgramBuilder, line: Line, value: View, op: Op, how: dict[str, Any], algorithm: Algorithm) -> None:
    """One color: each PE sends its vector, then a control wavelet by which its router lets pass what comes from behind.

    The vectors come in one stream, nearest first, so that the order never depends on time. The last PE sends a command behind
    its own that puts all switches back, for the next time.
    """
    length = line.length
    if length == 1:
        return
    color = wire(program, _star_hops(line), line.colors)
    for first, n, command in ((1, length - 2, Command.ADVANCE), (length - 1, 1, Command.RESET)):
        if n:
            pe = program.pes(line.at(first, n))
            pe.mov(pe.send(color), value, **how)
            if length > 2:
                pe.send_control(color, command)
    root = program.pes(line.at(0))
    whole = (length - 1, *value.shape)
    if how["shape"] is None and len(whole) <= MAX_DIMS and (how["type"] != Type.F16 or math.prod(value.shape) % 2 == 0):
        root.vector(op, value, root.recv(color), value, **{**how, "shape": whole})
        return
    for _ in range(1, length):
        root.vector(op, value, root.recv(color), value, **how)


def _star_hops(line: Line) -> list[Hop]:
    """RESET goes on through all switches on the way; at the root, where it has nothing left to do, it is taken off the wavelet."""
    if line.length == 2:
        return line.path(1, 0)
    low, high = line.ports
    ramp, on = frozenset({Port.RAMP}), frozenset({low})
    return [
        Hop(line.at(0), high, ramp, ((high, ramp),), Pop.ALWAYS),
        Hop(line.at(1, line.length - 2), Port.RAMP, on, ((high, on),), Pop.ON_ADVANCE),
        Hop(line.at(line.length - 1), Port.RAMP, on),
    ]


def _star_links(length: int, algorithm: Algorithm) -> list[tuple[int, int]]:
    return [(i, 0) for i in range(1, length)]


def _star_cycles(spec: MachineSpec, algorithm: Algorithm, length: int, num: int) -> int:
    """B (P - 1) + 2T + 1 of the source, and the nearest sender's hop. Exact, but for a root that issues anew for every sender.

    Vectors follow each other without a gap, but for the first two: a router is told to let pass an issue after the last of its own. A
    vector shorter than a hop takes the hop.
    """
    apart = max(num, spec.hop_cycles)
    gaps = max(num + issue_wait(spec), spec.hop_cycles) + (length - 3) * apart if length > 2 else 0
    return issue_wait(spec) + pass_cycles(spec, 1) + gaps + num


# --- binary tree ------------------------------------------------------------------------------------------------


def _tree(program: ProgramBuilder, line: Line, value: View, op: Op, how: dict[str, Any], algorithm: Algorithm) -> None:
    """Level s: odd multiples of 2^s send to the PE 2^s below, each level on a color of its own.

    A PE adds what its children send, in order of distance, and passes on the sum with the last of them as it comes.
    """
    colors: list[int] = []
    while (step := 1 << len(colors)) < line.length:
        senders = range(step, line.length, 2 * step)
        colors.append(wire(program, [hop for i in senders for hop in line.path(i, i - step)], line.colors))
    for i in range(line.length):
        pe = program.pes(line.at(i))
        levels = _children(line.length, i)
        for s in levels[: -1 if i else None]:
            pe.vector(op, value, pe.recv(colors[s]), value, **how)
        if not i:
            continue
        out = pe.send(colors[(i & -i).bit_length() - 1])
        if levels:
            pe.vector(op, out, pe.recv(colors[levels[-1]]), value, **how)
        else:
            pe.mov(out, value, **how)


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


_METHODS = {
    "star": Method(
        _star, _star_links, _star_cycles, lambda length, _: min(1, length - 1), control_hops=lambda length: length - 1 if length > 2 else 0
    ),
    "chain": CHAINS,
    "tree": Method(_tree, _tree_links, _tree_cycles, lambda length, _: (length - 1).bit_length()),
    "two_phase": CHAINS,
    "two_tree": CHAINS,
}
