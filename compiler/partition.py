"""Partition: which rectangles of PEs each group of ops could get, and how its tensors are cut into tiles.

One block per transformer layer, or one per half of it, and one for the final norm, logits and argmax. The columns of a
block with attention are its KV groups, each cut into `slices` of the head size; its rows are at least as many as SRAM asks for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from wse.compiler.cost import Cost, Part, Shape, block_cost
from wse.compiler.graph import Graph, Op
from wse.compiler.model import ModelConfig
from wse.errors import ConfigError, DoesNotFitError
from wse.spec import MachineSpec

CODE_BYTES = 4096  # kept free for a block's instructions; the linker checks the real size
SPLITS = ("layer", "half")
MAX_SIDE = 256  # PEs along a side of a block
TALLER = (1, 1.12, 1.25, 1.5, 1.75, 2, 2.5, 3, 4)  # heights tried, as multiples of the least that fits
FEW_PES = 1.25  # times those of the shape with the fewest: what is worth trying for its width alone
WEIGHINGS = 6  # steps from all weight on one of cycles, hops and PEs to none


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

    def candidates(
        self, split: str = "layer", room: Callable[[str], tuple[int, int]] | None = None, num_widths: int = 0
    ) -> tuple[tuple[Block, ...], ...]:
        """Per block the shapes worth trying, that of least predicted cycles times PEs first.

        `num_widths`: the lowest shapes of so many widths, from the narrowest to the widest, are among them if they take few PEs.
        `room`: by block name the width and height there is for it; when no shape is that small, the shapes are those for the whole
        machine. Raises `DoesNotFitError` naming the block and what would fit.
        """
        if split not in SPLITS:
            raise ConfigError(f"split '{split}' is not one of {', '.join(SPLITS)}")
        parts = (Part.LAYER,) if split == "layer" else (Part.ATTENTION, Part.FEED_FORWARD)
        named = [(f"layer {layer}" if part is Part.LAYER else f"layer {layer} {part}", layer, part)
                 for layer in range(self.config.n_layers) for part in parts]  # fmt: skip
        machine, known = (self.spec.width, self.spec.height), {}
        blocks = []
        for name, layer, part in [*named, ("final", None, Part.FINAL)]:
            size = room(name) if room else machine
            if (part, size) not in known:
                known[part, size] = self._shapes(part, *size, num_widths) or self._shapes(part, *machine)
            blocks.append(tuple(replace(shape, name=name, layer=layer) for shape in known[part, size]))
        return tuple(blocks)

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
        return block_cost(self.spec, self.shape(block), position)

    def shape(self, block: Block) -> Shape:
        """A block's shape with all that its sizes follow from."""
        return Shape(self.config, block.part, block.width, block.height, block.slices, self.context)

    def _shapes(self, part: Part, max_width: int, max_height: int, num_widths: int = 0) -> tuple[Block, ...]:
        """The shapes within a size; empty when there are none. Raises `DoesNotFitError` if the whole machine is too small."""
        found: list[tuple[Block, Cost]] = []
        least = (1 << 62, 0, 0)
        for width, slices in self._widths(part):
            tallest = min(self.config.dim, MAX_SIDE, self.spec.height)
            least = min(least, (self._bytes(part, width, tallest, slices), width, tallest))
            first = self._least_height(part, width, slices) if width <= max_width else 0
            for height in sorted({int(first * times) for times in TALLER} | set(range(first, first + 4))) if first else ():
                if height <= min(tallest, max_height):
                    block = Block(part.value, None, part, width, height, slices, self._bytes(part, width, height, slices))
                    found.append((block, self.cost(block)))
        if not found and (max_width, max_height) == (self.spec.width, self.spec.height):
            if not least[1]:
                narrowest = self.config.n_kv_heads
                raise DoesNotFitError(
                    f"block '{part}' does not fit: it needs at least {narrowest}x1 PEs, {self.spec.name} has {max_width}x{max_height}",
                    help="take a machine with more PEs",
                )
            need, width, height = least
            raise DoesNotFitError(
                f"block '{part}' does not fit: {need:,} B on a PE even on {width}x{height} PEs, of "
                f"{max(0, self.spec.data_bytes - CODE_BYTES):,} B for data",
                notes=[f"{self.spec.sram_bytes:,} B of SRAM, {self.spec.sram_reserved_bytes:,} reserved, {CODE_BYTES:,} for code"],
                help="ask for a shorter context, --dtype f16, or a machine with more SRAM or PEs",
            )
        if not found:
            return ()
        shapes = _worth_trying(found)
        lowest = [next(same)[0] for _, same in itertools.groupby(found, lambda pair: pair[0].width)]
        few = FEW_PES * min(block.num_pes for block in lowest)
        lowest = [block for block in lowest if block.num_pes <= few]
        picked = [lowest[k * len(lowest) // num_widths] for k in range(num_widths)]
        return tuple(dict.fromkeys((*shapes, *picked)))

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
        s, weight = Shape(self.config, part, width, height, slices, self.context), {"f16": 2, "f32": 4}[self.dtype]
        if part is Part.FINAL:
            return weight * s.x * s.vocab + 4 * (3 * s.x + s.vocab + 4) + 4 * 8
        matrices = num_floats = 0
        if s.has_attention:
            q, qkv = s.group * s.head_part, (s.group + 2) * s.head_part
            matrices += s.x * qkv + q * s.x
            num_floats += qkv + 2 * s.head_part * s.slots + (3 + 2 * (s.group + 1)) * s.head_part // 2 + s.group * s.slots + 2 * s.group + q
            num_floats += s.head_part // 2
        if s.has_feed_forward:
            matrices += 3 * s.hidden * s.x
            num_floats += 3 * s.hidden
        norms = 2 if part is Part.LAYER else 1
        return weight * matrices + 4 * (num_floats + (3 + norms) * s.x + 4) + 4 * 16


def _worth_trying(found: list[tuple[Block, Cost]]) -> tuple[Block, ...]:
    """The default shape, then those that are best for some weighing of cycles, hops and PEs against each other, by PEs."""
    blocks = [block for block, _ in found]
    logs = np.log([(max(cost.cycles, 1), max(cost.hops, 1), block.num_pes) for block, cost in found])  # (shape, 3)
    weights = np.array([(a, b, WEIGHINGS - a - b) for a in range(WEIGHINGS + 1) for b in range(WEIGHINGS + 1 - a)])  # (weighing, 3)
    weights = np.concatenate([weights + 1e-6, [(1, 0, 1)]])  # the last: cycles times PEs; a little of each breaks ties
    chosen = (logs @ weights.T).argmin(0)
    default = blocks[chosen[-1]]
    return (default, *sorted({blocks[k] for k in chosen} - {default}, key=lambda block: (block.num_pes, block.width)))
