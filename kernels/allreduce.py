"""All-reduce: every PE of a line ends with the same bits; by reduce and broadcast, or around a ring. And which is cheapest.

Tolerance and order of additions as in `reduce`. The ring is `2 (P - 1) B / P + 4 P - 6 + 2 (P - 1)(2T + 1)` cycles in the
source (arXiv 2404.15888), where a chunk of B / P is no longer than the way to the next PE.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from wse.builder import ProgramBuilder
from wse.errors import ProgramError
from wse.isa import Op, Type
from wse.kernels.broadcast import broadcast, broadcast_cycles, broadcast_hops, broadcast_rect, broadcast_rect_cycles, broadcast_rect_hops
from wse.kernels.cost import issue_wait, pass_cycles
from wse.kernels.line import SENDER, Line, join, ring_wires
from wse.kernels.reduce import CHAIN, Algorithm, num_wavelets, reduce, reduce_colors, reduce_cycles, reduce_hops, reduce_loads, root_of
from wse.operands import View
from wse.program import Rect
from wse.spec import MachineSpec
from wse.where import kernel_line

RING = Algorithm("ring")


def allreduce(
    program: ProgramBuilder, line: Line, value: View, op: Op = Op.ADD, shape: Any = None, algorithm: Algorithm | None = None,
    type: Type | None = None,
) -> None:  # fmt: skip
    """Combine `value` of all PEs of each line into `value` on all of them.

    `algorithm` None: the one `best_allreduce` predicts to be cheapest for a value of this size. "ring" wants a
    one-dimensional value and no `shape`. `shape` and `type` as in `reduce`. Raises `ProgramError`.
    """
    if algorithm is None:
        num_colors = program.spec.num_colors if line.colors is None else len(line.colors)
        algorithm = best_allreduce(program.spec, line.length, [num_wavelets(value, type)], num_colors)
    if algorithm == RING:
        with program.op("reduce"):
            _ring(program, line, value, op, shape, type)
    else:
        root = reduce(program, line, value, op, shape, algorithm, type)
        broadcast(program, line, value, root, shape, type)


def allreduce_cycles(spec: MachineSpec, algorithm: Algorithm, length: int, num: int) -> int:
    """Predicted cycles of `allreduce` of `num` wavelets on an idle machine."""
    if algorithm == RING:
        return _ring_cycles(spec, length, num)
    root = root_of(algorithm, length)
    return reduce_cycles(spec, algorithm, length, num) + broadcast_cycles(spec, length, num, root)


def allreduce_hops(algorithm: Algorithm, length: int, num: int) -> int:
    """Wavelet-hops of `allreduce` along one line: exact."""
    if algorithm == RING:
        sent = ((_chunk(num, length, (i - step) % length)[1], i) for i in range(length) for step in range(2 * (length - 1)))
        return sum(size * abs((i + 1) % length - i) for size, i in sent)
    return reduce_hops(algorithm, length, num) + broadcast_hops(length, num)


def allreduce_loads(algorithm: Algorithm, length: int, num: int) -> np.ndarray:
    """The same by link: int64 (length - 1,), wavelets between each PE of the line and the next."""
    if algorithm != RING:
        return reduce_loads(algorithm, length, num) + num
    sent = [sum(_chunk(num, length, (i - step) % length)[1] for step in range(2 * (length - 1))) for i in range(length)]
    return np.array(sent[:-1], np.int64) + sent[-1]


def allreduce_colors(algorithm: Algorithm, length: int) -> int:
    """Colors that `allreduce` takes on a line, at most."""
    if length == 1:
        return 0
    return min(3, length) if algorithm == RING else reduce_colors(algorithm, length) + 1


def best_allreduce(spec: MachineSpec, length: int, sizes: Iterable[int], num_colors: int, rooted: bool = False) -> Algorithm:
    """The algorithm of least predicted cycles, in sum, for all-reduces of these `sizes` with no more than `num_colors` colors.

    The star needs 2, the chain 3. For the two-tree it looks at one group and at about sqrt P of them: in-group and
    between-group stages balance there. `rooted`: without the ring, which knows no root and wants values of fixed size. Raises
    `ProgramError` for fewer than 2 colors.
    """
    sizes = list(sizes)
    balanced = math.isqrt(length)
    groups = sorted({1, *range(max(1, balanced - 1), balanced + 3)})
    candidates = [CHAIN, *(Algorithm("two_tree", k) for k in groups), *map(Algorithm, ("two_phase", "tree", "star"))]
    if not rooted:
        candidates.append(RING)
    fitting = [a for a in candidates if allreduce_colors(a, length) <= num_colors]
    if not fitting:
        raise ProgramError(f"an all-reduce along {length} PEs needs 2 colors at least, {num_colors} may be used")
    return min(fitting, key=lambda a: sum(allreduce_cycles(spec, a, length, num) for num in sizes))  # the first of equals


# --- rectangles -------------------------------------------------------------------------------------------------


def reduce_rect(program: ProgramBuilder, rect: Rect, value: View, op: Op = Op.ADD, colors: Any = None) -> None:
    """Combine `value` of all PEs of `rect` at its north-west PE: chains along the rows, then down the first column."""
    reduce(program, Line(rect, "x", colors), value, op)
    reduce(program, Line(rect.column(0), "y", colors), value, op)


def reduce_rect_cycles(spec: MachineSpec, width: int, height: int, num: int) -> int:
    """Predicted cycles of `reduce_rect`: two chains (X-Y reduce of arXiv 2404.15888)."""
    return reduce_cycles(spec, CHAIN, width, num) + reduce_cycles(spec, CHAIN, height, num)


def allreduce_rect(program: ProgramBuilder, rect: Rect, value: View, op: Op = Op.ADD, colors: Any = None) -> None:
    """`reduce_rect`, then `broadcast_rect`: every PE of `rect` ends with the same bits."""
    reduce_rect(program, rect, value, op, colors)
    broadcast_rect(program, rect, value, colors)


def allreduce_rect_cycles(spec: MachineSpec, width: int, height: int, num: int) -> int:
    """Predicted cycles of `allreduce_rect`."""
    return reduce_rect_cycles(spec, width, height, num) + broadcast_rect_cycles(spec, width, height, num)


def allreduce_rect_hops(width: int, height: int, num: int) -> int:
    """Wavelet-hops of `allreduce_rect`."""
    return ((width - 1) * height + height - 1) * num + broadcast_rect_hops(width, height, num)


# --- ring -------------------------------------------------------------------------------------------------------


def _chunk(num: int, length: int, c: int) -> tuple[int, int]:
    """(first element, size) of chunk c of P: equal sizes, the last ones shorter or empty."""
    size = -(-num // length)
    first = min(c * size, num)
    return first, min(size, num - first)


def _ring(program: ProgramBuilder, line: Line, value: View, op: Op, shape: Any, type: Type | None) -> None:
    """Reduce-scatter, then all-gather: P - 1 rounds each, in which every PE sends a chunk and takes one in.

    A microthread sends, or rings of chunks longer than the queues would wait for each other for ever.
    """
    length = line.length
    if shape is not None or len(value.shape) != 1 or not isinstance(value.shape[0], int):
        raise ProgramError("a ring all-reduce wants a one-dimensional value of fixed size", notes=[kernel_line()])
    if length == 1:
        return
    colors = ring_wires(program, line, range(length))
    for i in range(length):
        pe = program.pes(line.at(i))
        out, into = pe.send(colors[i]), pe.recv(colors[(i - 1) % length])
        for step in range(2 * (length - 1)):
            first, size = _chunk(value.shape[0], length, (i - step) % length)
            if size:
                pe.mov(out, value[first : first + size], thread=SENDER, type=type)
            first, size = _chunk(value.shape[0], length, (i - step - 1) % length)
            if size and step < length - 1:
                pe.vector(op, value[first : first + size], into, value[first : first + size], type=type)
            elif size:
                pe.mov(value[first : first + size], into, type=type)
        join(pe, value, SENDER)


def _ring_cycles(spec: MachineSpec, length: int, num: int) -> int:
    """Per round a chunk's way and its beats; where the chunk is longer than the way, twice its beats: send and receive share the datapath.

    Then the wait for the sender, one issue. Exact where P divides B, an estimate where not.
    """
    if length == 1 or not num:
        return 0
    size = -(-num // length)
    rounds = 2 * (length - 1)
    apart = pass_cycles(spec, 1)
    long_way = pass_cycles(spec, length - 1) - apart
    return rounds * (issue_wait(spec) + size + max(size, apart)) + 2 * long_way + spec.issue_cycles
