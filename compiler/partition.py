"""Partition: which rectangles of PEs each group of ops could get, and how its tensors are cut into tiles.

One block per transformer layer, or one per half of it, and one for the final norm, logits and argmax. The columns of a
block with attention are its KV groups, each cut into `slices` of the head size; its rows are at least as many as SRAM asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from wse.compiler.cost import Cost, Part, Sizes, block_cost, ceil_div
from wse.compiler.graph import Graph, Op
from wse.compiler.model import ModelConfig
from wse.errors import ConfigError, DoesNotFitError
from wse.spec import MachineSpec

CODE_BYTES = 4096  # kept free for a block's instructions; the linker checks the real size
SPLITS = ("layer", "half")
MAX_SIDE = 256  # PEs along a side of a block
TALLER = (1, 1.12, 1.25, 1.5, 1.75, 2, 2.5, 3, 4)  # heights tried, as multiples of the least that fits
MAX_SHAPES = 24


@dataclass(frozen=True)
class Block:
    """A group of ops on `width` x `height` PEs. `layer` is None for the final block; bytes are those of the fullest PE."""

    name: str
    layer: int | None
    part: Part
    width: int
    height: int
    slices: int
    sram_bytes: int

    @property
    def num_pes(self) -> int:
        return self.width * self.height

    def dump(self) -> str:
        """One line for people."""
        return f"{self.name}: {self.width}x{self.height} PEs, {self.sram_bytes} B of SRAM on the fullest"

    def ops(self, graph: Graph) -> tuple[Op, ...]:
        """The ops of the graph this block computes."""
        if self.layer is None:
            return tuple(graph.op(name) for name in ("final_norm", "logits", "argmax"))
        ops = graph.layer(self.layer)
        cut = next(i for i, op in enumerate(ops) if op.name.endswith(".ffn_norm"))
        return {Part.LAYER: ops, Part.ATTENTION: ops[:cut], Part.FEED_FORWARD: ops[cut:]}[self.part]


@dataclass(frozen=True)
class Partitioner:
    """What decides the shapes a block may have: the model, the machine, the storage type and the positions to keep."""

    config: ModelConfig
    spec: MachineSpec
    dtype: str
    context: int

    def partition(self, split: str = "layer") -> tuple[Block, ...]:
        """The blocks, each in the shape of least predicted cycles times PEs. Raises `DoesNotFitError`."""
        return tuple(shapes[0] for shapes in self.candidates(split))

    def candidates(self, split: str = "layer") -> tuple[tuple[Block, ...], ...]:
        """Per block the shapes worth trying, that of least predicted cycles times PEs first.

        Left out are shapes that another beats in cycles, hops and PEs. Raises `DoesNotFitError` naming the block and what would fit.
        """
        if split not in SPLITS:
            raise ConfigError(f"split '{split}' is not one of {', '.join(SPLITS)}")
        parts = (Part.LAYER,) if split == "layer" else (Part.ATTENTION, Part.FEED_FORWARD)
        shapes = {part: self._shapes(part) for part in (*parts, Part.FINAL)}
        blocks = []
        for layer in range(self.config.n_layers):
            for part in parts:
                name = f"layer {layer}" if part is Part.LAYER else f"layer {layer} {part}"
                blocks.append(tuple(replace(shape, name=name, layer=layer) for shape in shapes[part]))
        return (*blocks, shapes[Part.FINAL])

    def block(self, name: str, layer: int | None, part: Part, width: int, height: int) -> Block:
        """The block of this very shape. Raises `ConfigError` for a width that cuts no head evenly, `DoesNotFitError` for SRAM."""
        slices = 1
        if part in (Part.LAYER, Part.ATTENTION):
            widths = dict(self._widths(part))
            if width not in widths:
                raise ConfigError(f"block '{name}' cannot be {width} PEs wide", help=f"widths that cut its heads evenly: {sorted(widths)}")
            slices = widths[width]
        need, room = self._bytes(part, width, height, slices), self.spec.data_bytes - CODE_BYTES
        if need > room:
            least = self._least_height(part, width, slices)
            raise DoesNotFitError(
                f"block '{name}' needs {need} B on a PE of its {width}x{height}, of {room} B",
                help=f"at this width it takes {least} rows" if least else "no height is enough at this width: make it wider",
            )
        return Block(name, layer, part, width, height, slices, need)

    def cost(self, block: Block, position: int | None = None) -> Cost:
        """Predicted cost of a token in the block, by default in the middle of the context."""
        position = self.context // 2 if position is None else position
        return block_cost(self.config, self.spec, block.part, block.width, block.height, block.slices, position)

    def _shapes(self, part: Part) -> tuple[Block, ...]:
        found: list[tuple[Block, Cost]] = []
        least = (1 << 62, 0, 0)
        for width, slices in self._widths(part):
            tallest = min(self.config.dim, MAX_SIDE, self.spec.height)
            least = min(least, (self._bytes(part, width, tallest, slices), width, tallest))
            first = self._least_height(part, width, slices)
            for height in sorted({int(first * times) for times in TALLER} | set(range(first, first + 4))) if first else ():
                if height <= tallest:
                    block = Block(part.value, None, part, width, height, slices, self._bytes(part, width, height, slices))
                    found.append((block, self.cost(block)))
        if not found:
            need, width, height = least
            raise DoesNotFitError(
                f"block '{part}' does not fit: {need} B on a PE even on {width}x{height} PEs, of {self.spec.data_bytes - CODE_BYTES} B",
                help="ask for a shorter context, --dtype f16, or a machine with more SRAM or PEs",
            )
        return _worth_trying(found)

    def _widths(self, part: Part) -> Iterator[tuple[int, int]]:
        """(width, slices) a block may have."""
        if part in (Part.LAYER, Part.ATTENTION):
            for slices in range(1, self.config.head_size // 2 + 1):
                if self.config.head_size % (2 * slices) == 0 and self.config.n_kv_heads * slices <= self.spec.width:
                    yield self.config.n_kv_heads * slices, slices
        else:
            length = self.config.hidden_dim if part is Part.FEED_FORWARD else self.config.vocab_size
            for width in range(1, min(length, MAX_SIDE, self.spec.width) + 1):
                yield width, 1

    def _least_height(self, part: Part, width: int, slices: int) -> int:
        """The fewest rows whose PEs hold the block; 0 when none do."""
        low, high = 1, min(self.config.dim, MAX_SIDE, self.spec.height)
        room = self.spec.data_bytes - CODE_BYTES
        if self._bytes(part, width, high, slices) > room:
            return 0
        while low < high:
            middle = (low + high) // 2
            if self._bytes(part, width, middle, slices) > room:
                low = middle + 1
            else:
                high = middle
        return low

    def _bytes(self, part: Part, width: int, height: int, slices: int) -> int:
        """Data bytes of the fullest PE; the linker has the last word."""
        s, weight = Sizes.of(self.config, width, height, slices), {"f16": 2, "f32": 4}[self.dtype]
        if part is Part.FINAL:
            return weight * s.x * s.vocab + 4 * (3 * s.x + s.vocab + 4) + 4 * 8
        slots, q, qkv = ceil_div(self.context, height), s.group * s.part, (s.group + 2) * s.part
        matrices = num_floats = 0
        if part is not Part.FEED_FORWARD:
            matrices += s.x * qkv + q * s.x
            num_floats += qkv + 2 * s.part * slots + (3 + 2 * (s.group + 1)) * s.part // 2 + s.group * slots + 2 * s.group + q
            num_floats += s.part // 2
        if part is not Part.ATTENTION:
            matrices += 3 * s.hidden * s.x
            num_floats += 3 * s.hidden
        norms = 2 if part is Part.LAYER else 1
        return weight * matrices + 4 * (num_floats + (3 + norms) * s.x + 4) + 4 * 16


def _worth_trying(found: list[tuple[Block, Cost]]) -> tuple[Block, ...]:
    """The default shape, then the others that none beats in cycles, hops and PEs, by PEs; at most `MAX_SHAPES`."""
    default = min(found, key=lambda pair: (pair[1].cycles * pair[0].num_pes, pair[0].num_pes))
    keys = [(cost.cycles, cost.hops, block.num_pes) for block, cost in found]
    front = [
        (block, key) for (block, _), key in zip(found, keys, strict=True)
        if not any(other != key and all(o <= k for o, k in zip(other, key, strict=True)) for other in keys)
    ]  # fmt: skip
    front.sort(key=lambda pair: pair[1][0] * pair[1][1] * pair[1][2])  # the balanced ones are kept when there are many
    rest = [block for block, _ in front[: MAX_SHAPES - 1] if block != default[0]]
    return (default[0], *sorted(rest, key=lambda block: (block.num_pes, block.width)))
