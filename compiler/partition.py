"""Partition: which rectangle of PEs each group of ops gets, and how its tensors are cut into tiles.

One block per transformer layer, and one for the final norm, logits and argmax. A layer's columns are
its KV groups, each cut into `slices` of the head size; its rows are as many as SRAM asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from wse.compiler.model import ModelConfig
from wse.errors import DoesNotFitError
from wse.kernels.allreduce import allreduce_cycles, best_allreduce
from wse.kernels.reduce import Algorithm, reduce_cycles
from wse.spec import MachineSpec

Shape = tuple[int, int, int]  # width, height, slices
LINE_COLORS, HEAD_COLORS = 5, 3  # colors for the all-reduces along each axis, and for those among the columns of a head
CODE_BYTES = 4096  # kept free for a block's instructions; the linker checks the real size


@dataclass(frozen=True)
class Block:
    """A group of ops on `width` x `height` PEs. `layer` is None for the final block; bytes are those of the fullest PE."""

    name: str
    layer: int | None
    width: int
    height: int
    slices: int
    sram_bytes: int

    def dump(self) -> str:
        """One line for people."""
        return f"{self.name}: {self.width}x{self.height} PEs, {self.sram_bytes} B of SRAM on the fullest"


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def partition(config: ModelConfig, spec: MachineSpec, dtype: str, context: int) -> tuple[Block, ...]:
    """Blocks for `context` positions and weights of `dtype`. Raises `DoesNotFitError` naming the block and what would fit."""
    weight = {"f16": 2, "f32": 4}[dtype]
    layer = _best("layer", _layer_shapes(config), lambda w, h, g: _layer_bytes(config, weight, context, w, h, g),
                  lambda w, h, g: _layer_local_cycles(config, spec, w, h, g),
                  lambda w, h, g: _layer_sum_cycles(config, spec, context, w, h, g), spec)  # fmt: skip
    final = _best("final", _final_shapes(config), lambda w, h, g: _final_bytes(config, weight, w, h),
                  lambda w, h, g: _final_local_cycles(config, w, h),
                  lambda w, h, g: _final_sum_cycles(config, spec, w, h), spec)  # fmt: skip
    blocks = [Block(f"layer {i}", i, *layer) for i in range(config.n_layers)]
    return (*blocks, Block("final", None, *final))


def _best(
    name: str, shapes: Iterable[Shape], bytes_of: Callable[..., int], local_cycles: Callable[..., int], sum_cycles: Callable[..., int],
    spec: MachineSpec,
) -> tuple[int, int, int, int]:  # fmt: skip
    """The shape of least predicted cycles times PEs among those that fit.

    Cycles are those of each PE alone and those of reductions; the latter, dear to predict, only where the former leave hope.
    """
    best: tuple[int, tuple[int, int, int, int]] | None = None
    least = (1 << 62, 0, 0)
    for width, height, slices in shapes:
        need = bytes_of(width, height, slices)
        least = min(least, (need, width, height))
        if need + CODE_BYTES > spec.data_bytes or width > spec.width or height > spec.height:
            continue
        num_pes, cycles = width * height, local_cycles(width, height, slices)
        if best is None or cycles * num_pes < best[0]:
            cost = (cycles + sum_cycles(width, height, slices)) * num_pes
            if best is None or cost < best[0]:
                best = (cost, (width, height, slices, need))
    if best is None:
        need, width, height = least
        raise DoesNotFitError(
            f"block '{name}' does not fit: {need} B on a PE even on {width}x{height} PEs, of {spec.data_bytes - CODE_BYTES} B",
            help="ask for a shorter context, --dtype f16, or a machine with more SRAM or PEs",
        )
    return best[1]


def _layer_shapes(config: ModelConfig) -> Iterator[Shape]:
    for slices in range(1, config.head_size // 2 + 1):
        if config.head_size % (2 * slices) == 0:
            for height in range(1, min(config.dim, 256) + 1):
                yield config.n_kv_heads * slices, height, slices


def _final_shapes(config: ModelConfig) -> Iterator[Shape]:
    for height in range(1, min(config.dim, 128) + 1):
        for width in sorted({max(1, round(height * r)) for r in (0.5, 0.75, 1, 1.25, 1.5, 2)}):
            if width <= config.vocab_size:
                yield width, height, 1


def _layer_sizes(config: ModelConfig, width: int, height: int, slices: int) -> tuple[int, int, int, int]:
    """Lengths of a PE's segments: residual, q|k|v, q, hidden."""
    part = config.head_size // slices
    group = config.n_heads // config.n_kv_heads
    return ceil_div(config.dim, height), (group + 2) * part, group * part, ceil_div(config.hidden_dim, width)


def _layer_bytes(config: ModelConfig, weight: int, context: int, width: int, height: int, slices: int) -> int:
    x, qkv, q, hidden = _layer_sizes(config, width, height, slices)
    part, group, slots = config.head_size // slices, config.n_heads // config.n_kv_heads, ceil_div(context, height)
    matrices = weight * (x * qkv + q * x + x * 2 * hidden + hidden * x)
    cache = 4 * 2 * part * slots
    scratch = (3 + 2 * (group + 1)) * part // 2 + group * slots + 2 * group + q
    return matrices + cache + 4 * (5 * x + qkv + 3 * hidden + scratch + part // 2 + 4) + 4 * 16


def _layer_local_cycles(config: ModelConfig, spec: MachineSpec, width: int, height: int, slices: int) -> int:
    x, qkv, q, hidden = _layer_sizes(config, width, height, slices)
    cycles = x * (qkv + 2 * hidden + 2) + q * (x + 1) + hidden * (x + 1) + config.dim
    return cycles + spec.special_cycles * (hidden + q + 2 * q)


def _layer_sum_cycles(config: ModelConfig, spec: MachineSpec, context: int, width: int, height: int, slices: int) -> int:
    sums = layer_sums(config, spec, context, width, height, slices)
    along_y, along_x, along_heads = _layer_sum_sizes(config, context, width, height, slices)
    lines = ((sums.y, height, along_y), (sums.x, width, along_x), (sums.heads, slices, along_heads))
    return sum(allreduce_cycles(spec, algorithm, length, num) for algorithm, length, sizes in lines for num in sizes)


@dataclass(frozen=True)
class Sums:
    """How a layer's block all-reduces: along y, along x, and among the columns of a head."""

    y: Algorithm
    x: Algorithm
    heads: Algorithm


def layer_sums(config: ModelConfig, spec: MachineSpec, context: int, width: int, height: int, slices: int) -> Sums:
    """The cheapest algorithms by predicted cycles for all of a layer's all-reduces, one per line so that the colors suffice."""
    y, x, heads = _layer_sum_sizes(config, context, width, height, slices)
    return Sums(
        y=best_allreduce(spec, height, y, LINE_COLORS),
        x=best_allreduce(spec, width, x, LINE_COLORS),
        heads=best_allreduce(spec, slices, heads, HEAD_COLORS, rooted=True),
    )


def _layer_sum_sizes(
    config: ModelConfig, context: int, width: int, height: int, slices: int
) -> tuple[list[int], list[int], list[int]]:
    """Wavelets of each all-reduce of a layer along y, along x, and among a head's columns (half the cache in use)."""
    x, qkv, q, hidden = _layer_sizes(config, width, height, slices)
    group = config.n_heads // config.n_kv_heads
    return [1, qkv, group, q + group, 1, 2 * hidden], [x, x], [group * ceil_div(context, 2 * height)]


def _final_bytes(config: ModelConfig, weight: int, width: int, height: int) -> int:
    x, m = ceil_div(config.dim, height), ceil_div(config.vocab_size, width)
    return weight * x * m + 4 * (3 * x + m + 4) + 4 * 8


def _final_local_cycles(config: ModelConfig, width: int, height: int) -> int:
    x, m = ceil_div(config.dim, height), ceil_div(config.vocab_size, width)
    return x * (m + 1) + m + 24 * width + config.dim


def _final_sum_cycles(config: ModelConfig, spec: MachineSpec, width: int, height: int) -> int:
    return reduce_cycles(spec, final_sums(config, spec, width, height), height, ceil_div(config.vocab_size, width))


def final_sums(config: ModelConfig, spec: MachineSpec, width: int, height: int) -> Algorithm:
    """How the final block sums along y: the norm's one value, and the logits."""
    return best_allreduce(spec, height, [1, ceil_div(config.vocab_size, width)], LINE_COLORS, rooted=True)
