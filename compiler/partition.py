"""Partition: which rectangle of PEs each group of ops gets, and how its tensors are cut into tiles.

One block per transformer layer, and one for the final norm, logits and argmax. A layer's columns are
its KV groups, each cut into `slices` of the head size; its rows are as many as SRAM asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from wse.compiler.model import ModelConfig
from wse.errors import DoesNotFitError
from wse.kernels.collectives import broadcast_cycles, reduce_cycles
from wse.spec import MachineSpec

Shape = tuple[int, int, int]  # width, height, slices
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
                  lambda w, h, g: _layer_cycles(config, spec, context, w, h, g), spec)  # fmt: skip
    final = _best("final", _final_shapes(config), lambda w, h, g: _final_bytes(config, weight, w, h),
                  lambda w, h, g: _final_cycles(config, spec, w, h), spec)  # fmt: skip
    blocks = [Block(f"layer {i}", i, *layer) for i in range(config.n_layers)]
    return (*blocks, Block("final", None, *final))


def _best(
    name: str, shapes: Iterable[Shape], bytes_of: Callable[..., int], cycles_of: Callable[..., float], spec: MachineSpec
) -> tuple[int, int, int, int]:
    """The shape of least predicted cycles times PEs among those that fit."""
    best: tuple[float, tuple[int, int, int, int]] | None = None
    least: tuple[int, int, int] | None = None  # bytes, width, height of what the machine has PEs for
    narrowest = (1 << 62, 0)
    for width, height, slices in shapes:
        narrowest = min(narrowest, (width, height))
        if width > spec.width or height > spec.height:
            continue
        need = bytes_of(width, height, slices)
        least = (need, width, height) if least is None else min(least, (need, width, height))
        if need + CODE_BYTES > spec.data_bytes:
            continue
        cost = cycles_of(width, height, slices) * width * height
        if best is None or cost < best[0]:
            best = (cost, (width, height, slices, need))
    if least is None:
        raise DoesNotFitError(
            f"block '{name}' does not fit: it needs at least {narrowest[0]}x{narrowest[1]} PEs, {spec.name} has {spec.width}x{spec.height}",
            help="take a machine with more PEs",
        )
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


def _layer_cycles(config: ModelConfig, spec: MachineSpec, context: int, width: int, height: int, slices: int) -> float:
    x, qkv, q, hidden = _layer_sizes(config, width, height, slices)
    group = config.n_heads // config.n_kv_heads
    along_y = [qkv, 2 * hidden, q + group, group, 1, 1]
    along_x = [x, x] + ([group * ceil_div(context, height) // 2] if slices > 1 else [])
    cycles = x * (qkv + 2 * hidden + 2) + q * (x + 1) + hidden * (x + 1) + config.dim
    cycles += spec.special_cycles * (hidden + q + 2 * q)
    for length, sizes in ((height, along_y), (width, along_x)):
        for num in sizes:
            cycles += reduce_cycles(spec, length, num, length // 2) + broadcast_cycles(spec, length, num, length // 2)
    return cycles


def _final_bytes(config: ModelConfig, weight: int, width: int, height: int) -> int:
    x, m = ceil_div(config.dim, height), ceil_div(config.vocab_size, width)
    return weight * x * m + 4 * (3 * x + m + 4) + 4 * 8


def _final_cycles(config: ModelConfig, spec: MachineSpec, width: int, height: int) -> float:
    x, m = ceil_div(config.dim, height), ceil_div(config.vocab_size, width)
    return x * (m + 1) + reduce_cycles(spec, height, m, height // 2) + m + 24 * width + config.dim
