"""Cost: predicted cycles and hops of one token in a block of a given shape.

Hops are exact: which links a vector crosses does not depend on time. Cycles are the sum of what the kernels predict for
themselves, one after another; `tests/test_nets.py` holds both beside what is measured.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from wse.compiler.model import ModelConfig
from wse.isa import Op
from wse.kernels.allreduce import allreduce_hops, allreduce_loads, best_allreduce
from wse.kernels.cost import pass_cycles, vector_cycles
from wse.kernels.gemv import gemv_cycles, multiply_cycles
from wse.kernels.reduce import Algorithm, reduce_cycles, reduce_hops, reduce_loads, root_of
from wse.kernels.rmsnorm import rmsnorm_cycles
from wse.kernels.transformer import append_cache_cycles, attend_cycles, rope_cycles, swiglu_cycles
from wse.spec import MachineSpec

TAKE_IN = "take_in"
"""The op in which a block waits for its turn; the others are named as in the graph, without the layer."""

LINE_COLORS, HEAD_COLORS = 5, 3  # colors for the all-reduces along each axis, and for those among the columns of a head


class Part(StrEnum):
    """What a block computes: a whole layer, either half of one, or the final norm, logits and argmax."""

    LAYER = "layer"
    ATTENTION = "attention"
    FEED_FORWARD = "feed_forward"
    FINAL = "final"


class Cost(NamedTuple):
    """What one token costs."""

    cycles: float
    hops: float

    def __add__(self, other: tuple[float, ...]) -> Cost:  # type: ignore[override]
        return Cost(self.cycles + other[0], self.hops + other[1])


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


@dataclass(frozen=True)
class Sums:
    """How a block all-reduces: along y, along x, and among the columns of a head."""

    y: Algorithm
    x: Algorithm
    heads: Algorithm


@dataclass(frozen=True)
class Shape:
    """A block's part of a model on `width` x `height` PEs, its columns holding 1 / `slices` of a head each, for `context` positions."""

    config: ModelConfig
    part: Part
    width: int
    height: int
    slices: int
    context: int
    column_links: tuple[int, ...] = ()  # from each column to the next, and from each row; empty: 1, the block skips none
    row_links: tuple[int, ...] = ()

    # lengths of one PE's pieces, padded: what a PE of row 0 and column 0 holds

    @property
    def x(self) -> int:
        """Of the residual vector."""
        return ceil_div(self.config.dim, self.height)

    @property
    def head_part(self) -> int:
        """Of one head."""
        return self.config.head_size // self.slices

    @property
    def group(self) -> int:
        """Query heads per key-value head."""
        return self.config.n_heads // self.config.n_kv_heads

    @property
    def hidden(self) -> int:
        """Of the feed-forward's inner vector."""
        return ceil_div(self.config.hidden_dim, self.width)

    @property
    def vocab(self) -> int:
        """Of the logits."""
        return ceil_div(self.config.vocab_size, self.width)

    @property
    def slots(self) -> int:
        """Positions of the fullest row's cache."""
        return ceil_div(self.context, self.height)

    @property
    def has_attention(self) -> bool:
        return self.part in (Part.LAYER, Part.ATTENTION)

    @property
    def has_feed_forward(self) -> bool:
        return self.part in (Part.LAYER, Part.FEED_FORWARD)

    def sum_sizes(self) -> tuple[list[int], list[int]]:
        """Wavelets of each all-reduce along y and along x, those among a head's columns left out."""
        if self.part is Part.FINAL:
            return [1, self.vocab], []
        y, x, s = [], [], self.head_part
        if self.has_attention:
            y += [1, (self.group + 2) * s, self.group, self.group * (s + 1)]
            x.append(self.x)
        if self.has_feed_forward:
            y += [1, 2 * self.hidden]
            x.append(self.x)
        return y, x

    def sums(self, spec: MachineSpec) -> Sums:
        """The cheapest algorithms by predicted cycles for all of the block's sums, one per line so that the colors suffice.

        Among a head's columns with half the cache in use.
        """
        y, x = self.sum_sizes()
        rooted = self.part is Part.FINAL
        return Sums(
            y=best_allreduce(spec, self.height, y, LINE_COLORS, rooted=rooted),
            x=best_allreduce(spec, self.width, x, LINE_COLORS),
            heads=best_allreduce(spec, self.slices, [self.group * ceil_div(self.slots, 2)], HEAD_COLORS, rooted=True),
        )


def block_cost(spec: MachineSpec, shape: Shape, position: int) -> Cost:
    """One token at `position` (from 0), from when the block has its input to when its output can leave; greedy head."""
    return sum(op_costs(spec, shape, position).values(), Cost(0, 0))


def op_costs(spec: MachineSpec, shape: Shape, position: int) -> dict[str, Cost]:
    """`block_cost` by op, named as in the program, in its order.

    `TAKE_IN` has the hops of the input along the rows alone: how long a block waits for its input is its net's matter.
    """
    sums = shape.sums(spec)
    costs = {TAKE_IN: Cost(0, shape.config.dim * (sum(shape.column_links) or shape.width - 1))}
    if shape.has_attention:
        costs |= _attention(spec, shape, sums, position)
    if shape.has_feed_forward:
        costs |= _feed_forward(spec, shape, sums)
    if shape.part is Part.FINAL:
        costs |= _final(spec, shape, sums)
    return costs


def _attention(spec: MachineSpec, s: Shape, sums: Sums, position: int) -> dict[str, Cost]:
    held, n = ceil_div(position + 1, s.height), s.group * s.head_part  # positions on the fullest row
    attend = attend_cycles(spec, s.group, s.head_part, s.slots, held, s.height, sums.y, s.slices, sums.heads)
    attend_hops = _along_y(s, sums, s.group, s.group * (s.head_part + 1)) + _in_heads(s, sums, position)
    return {
        "attn_norm": _norm(spec, s, sums),
        "qkv": _gemv_along_y(spec, s, sums, n + 2 * s.head_part),
        "rope": Cost(rope_cycles(spec, s.group + 1, s.head_part), 0),
        "cache": Cost(append_cache_cycles(spec, s.head_part, here=True), 0),
        "attention": Cost(attend, attend_hops),
        "attn_out": _gemv_along_x(spec, s, sums, n),
        "attn_residual": Cost(vector_cycles(spec, Op.ADD, s.x), 0),
    }


def _in_heads(s: Shape, sums: Sums, position: int) -> int:
    """Hops among the columns of each head: sums over the positions that each row holds."""
    if s.slices == 1:
        return 0
    links = [s.column_links[h * s.slices :][: s.slices - 1] for h in range(s.config.n_kv_heads)]
    held = Counter(_held_by_row(position, s.height))
    return sum(rows * _allreduce(sums.heads, s.slices, s.group * num, head) for num, rows in held.items() for head in links)


def _allreduce(algorithm: Algorithm, length: int, num: int, links: tuple[int, ...]) -> int:
    """Hops of an all-reduce along a line, of so many links from each PE to the next."""
    return int(allreduce_loads(algorithm, length, num) @ links) if links else allreduce_hops(algorithm, length, num)


def _reduce(algorithm: Algorithm, length: int, num: int, links: tuple[int, ...]) -> int:
    return int(reduce_loads(algorithm, length, num) @ links) if links else reduce_hops(algorithm, length, num)


def _held_by_row(position: int, rows: int) -> list[int]:
    """Positions that each row of the cache holds, 0 to `position` in turn."""
    return [(position + rows - row) // rows for row in range(rows)]


def _feed_forward(spec: MachineSpec, s: Shape, sums: Sums) -> dict[str, Cost]:
    return {
        "ffn_norm": _norm(spec, s, sums),
        "gate_up": _gemv_along_y(spec, s, sums, 2 * s.hidden),
        "swiglu": Cost(swiglu_cycles(spec, s.hidden), 0),
        "down": _gemv_along_x(spec, s, sums, s.hidden),
        "ffn_residual": Cost(vector_cycles(spec, Op.ADD, s.x), 0),
    }


def _final(spec: MachineSpec, s: Shape, sums: Sums) -> dict[str, Cost]:
    """Norm, logits summed on one row, and the best so far passed along it, then up to the exit."""
    root = root_of(sums.y, s.height)
    logits = multiply_cycles(spec, s.x, s.vocab) + reduce_cycles(spec, sums.y, s.height, s.vocab)
    stage = pass_cycles(spec, 1) + spec.branch_taken_cycles + 2
    best = vector_cycles(spec, Op.ARGMAX, s.vocab) + (s.width - 1) * stage + (pass_cycles(spec, root) if root else 0)
    return {
        "final_norm": _norm(spec, s, sums),
        "logits": Cost(logits, s.width * _reduce(sums.y, s.height, s.vocab, s.row_links)),
        "argmax": Cost(best, 2 * (sum(s.column_links) or s.width - 1) + (sum(s.row_links[:root]) or root)),
    }


def _norm(spec: MachineSpec, s: Shape, sums: Sums) -> Cost:
    return Cost(rmsnorm_cycles(spec, sums.y, s.height, 1, s.x), _along_y(s, sums, 1))


def _gemv_along_y(spec: MachineSpec, s: Shape, sums: Sums, num: int) -> Cost:
    return Cost(gemv_cycles(spec, sums.y, s.height, s.x, num), _along_y(s, sums, num))


def _gemv_along_x(spec: MachineSpec, s: Shape, sums: Sums, num: int) -> Cost:
    return Cost(gemv_cycles(spec, sums.x, s.width, num, s.x), s.height * _allreduce(sums.x, s.width, s.x, s.column_links))


def _along_y(s: Shape, sums: Sums, *sizes: int) -> int:
    """Hops of all-reduces of so many wavelets along every column."""
    return s.width * sum(_allreduce(sums.y, s.height, num, s.row_links) for num in sizes)
