"""Cost: predicted cycles and hops of one token, for a block of a given shape, for a net, for a whole placement.

Hops are exact: which links a vector crosses does not depend on time. Cycles are the sum of what the longest PE
does, one operation after another, plus the collectives' closed forms (arXiv 2404.15888); `tests/test_cost.py` holds
both beside what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from wse.compiler.model import ModelConfig
from wse.kernels.collectives import best_root, broadcast_cycles, reduce_cycles
from wse.spec import MachineSpec


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
class Sizes:
    """Lengths of one PE's pieces in a block of `width` x `height` PEs, padded: what a PE of row 0 and column 0 holds."""

    x: int  # of the residual vector
    part: int  # of one head
    group: int  # query heads per key-value head
    hidden: int
    vocab: int

    @staticmethod
    def of(config: ModelConfig, width: int, height: int, slices: int) -> Sizes:
        """Of a block whose columns hold 1 / `slices` of a head each."""
        return Sizes(ceil_div(config.dim, height), config.head_size // slices, config.n_heads // config.n_kv_heads,
                     ceil_div(config.hidden_dim, width), ceil_div(config.vocab_size, width))  # fmt: skip


def block_cost(
    config: ModelConfig, spec: MachineSpec, part: Part, width: int, height: int, slices: int, context: int, position: int
) -> Cost:
    """One token at `position` (from 0) of `context`, from when the block has its input to when its output can leave; greedy head."""
    tally = _Tally(config, spec, width, height, Sizes.of(config, width, height, slices))
    tally.hops += config.dim * (width - 1)  # the input, along every row
    if part in (Part.LAYER, Part.ATTENTION):
        tally.attention(slices, context, position)
    if part in (Part.LAYER, Part.FEED_FORWARD):
        tally.feed_forward()
    if part is Part.FINAL:
        tally.final()
    return Cost(tally.cycles, tally.hops)


class _Tally:
    """Adds up operations in the order `lower` writes them."""

    def __init__(self, config: ModelConfig, spec: MachineSpec, width: int, height: int, sizes: Sizes):
        self.config, self.spec, self.width, self.height, self.sizes = config, spec, width, height, sizes
        self.roots = {"x": best_root(spec, width, sizes.x), "y": best_root(spec, height, sizes.x)}
        self.cycles = self.hops = 0.0

    def attention(self, slices: int, context: int, position: int) -> None:
        s, heads = self.sizes, self.sizes.group + 1
        held, slots = ceil_div(position + 1, self.height), ceil_div(context, self.height)  # on the fullest row
        self.rmsnorm()
        self.gemv("y", s.x, (s.group + 2) * s.part)
        self.special(1 + s.part)  # position to float, sine and cosine of half a head each
        self.vector(s.part // 2, *[heads * s.part // 2] * 6)
        self.special(1)  # position mod rows
        self.cycles += self.spec.branch_not_taken_cycles
        self.copy(s.part, s.part)
        self.vector(1, 1)
        self.copy(s.group * slots)
        for _ in range(s.group):
            self.mapped(s.part, held)
        if slices > 1:
            self.allreduce_heads(slices, s.group * held, s.group * (position + 1))
        self.vector(*[s.group * held] * 4)
        self.copy(s.group)
        self.allreduce("y", s.group)
        self.special(s.group * held)
        self.copy(s.group * (s.part + 1))
        for _ in range(s.group):
            self.mapped(held, s.part)
        self.allreduce("y", s.group * (s.part + 1))
        self.special(s.group * s.part)
        self.gemv("x", s.group * s.part, s.x)
        self.vector(s.x)

    def feed_forward(self) -> None:
        s = self.sizes
        self.rmsnorm()
        self.gemv("y", s.x, 2 * s.hidden)
        self.special(s.hidden)
        self.vector(s.hidden)
        self.gemv("x", s.hidden, s.x)
        self.vector(s.x)

    def final(self) -> None:
        s, spec, width, height = self.sizes, self.spec, self.width, self.height
        self.rmsnorm()
        self.copy(s.vocab)
        self.mapped(s.x, s.vocab)
        root = self.roots["y"]
        self.cycles += reduce_cycles(spec, height, s.vocab, root)
        self.hops += width * (height - 1) * s.vocab
        self.vector(1, s.vocab)
        stage = spec.ramp_in_cycles + spec.ramp_out_cycles + spec.hop_cycles + spec.branch_taken_cycles + 3
        self.cycles += (width - 1) * stage + (root * spec.hop_cycles + 2 if root else 0)
        self.hops += 2 * (width - 1) + root

    def rmsnorm(self) -> None:
        self.vector(1, self.sizes.x)
        self.allreduce("y", 1)
        self.vector(1, 1, self.sizes.x, self.sizes.x)
        self.special(1)

    def gemv(self, axis: str, k: int, m: int) -> None:
        self.copy(m)
        self.mapped(k, m)
        self.allreduce(axis, m)

    def mapped(self, k: int, m: int) -> None:
        beats = ceil_div(m, self.spec.fma_lanes) * self.spec.fma_cycles
        self.cycles += k * (beats + self.spec.map_step_cycles) + self.spec.issue_cycles - 1

    def copy(self, *lengths: int) -> None:
        self.cycles += sum(ceil_div(n, self.spec.move_lanes) * self.spec.move_cycles + self.spec.issue_cycles - 1 for n in lengths)

    def vector(self, *lengths: int) -> None:
        self.cycles += sum(ceil_div(n, self.spec.add_lanes) * self.spec.add_cycles + self.spec.issue_cycles - 1 for n in lengths)

    def special(self, n: int) -> None:
        self.cycles += n * self.spec.special_cycles

    def allreduce(self, axis: str, num: int) -> None:
        length, lines = (self.width, self.height) if axis == "x" else (self.height, self.width)
        root = self.roots[axis]
        self.cycles += reduce_cycles(self.spec, length, num, root) + broadcast_cycles(self.spec, length, num, root)
        self.hops += lines * 2 * (length - 1) * num

    def allreduce_heads(self, slices: int, num: int, num_all_rows: int) -> None:
        root = slices // 2
        self.cycles += reduce_cycles(self.spec, slices, num, root) + broadcast_cycles(self.spec, slices, num, root)
        self.hops += self.config.n_kv_heads * 2 * (slices - 1) * num_all_rows
