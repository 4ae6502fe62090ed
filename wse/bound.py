"""Lower bounds: cycles that no program for this placement could go below, and what they are made of.

A bound leaves out whatever could in principle overlap: it is a floor to hold measurements against, not a prediction.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from wse.compiler.compile import Compiled
from wse.compiler.graph import Op, OpKind
from wse.compiler.partition import Block
from wse.compiler.route import entry_and_exit
from wse.spec import MachineSpec


@dataclass(frozen=True)
class Bound:
    """Cycles of one token in one block, or on the nets between blocks. Blocks follow one another, so bounds add up."""

    name: str
    arithmetic: float  # all operations, spread evenly over the block's PEs
    distance: float  # hops and ramps that dependent steps have to cross
    transfer: float  # wavelets of a vector that crosses one link
    last: float = 0.0  # the part of the arithmetic that can go on while the block's output leaves

    @property
    def cycles(self) -> float:
        """While results travel inside the block, and while its output leaves, PEs can compute; the rest follows one after another."""
        return max(self.arithmetic - self.last, self.distance) + max(self.last, self.transfer)

    @property
    def bound_by(self) -> str:
        """The largest part."""
        return max(("arithmetic", "transfer", "distance"), key=lambda part: getattr(self, part))


def token_bounds(compiled: Compiled, position: int) -> tuple[Bound, ...]:
    """The bound of every block for the token at `position`, in order, and of the nets that join them, last."""
    blocks = (_block_bound(compiled, block, position) for block in compiled.blocks)
    return (*blocks, _net_bound(compiled))


def mean_bounds(compiled: Compiled, positions: range) -> tuple[Bound, ...]:
    """`token_bounds`, averaged over positions: all parts grow linearly with the position, so the two ends tell."""
    ends = zip(token_bounds(compiled, positions[0]), token_bounds(compiled, positions[-1]), strict=True)
    parts = [field.name for field in fields(Bound) if field.name != "name"]
    return tuple(Bound(a.name, *((getattr(a, part) + getattr(b, part)) / 2 for part in parts)) for a, b in ends)


def _block_bound(compiled: Compiled, block: Block, position: int) -> Bound:
    """What one block needs from the vector's first wavelet on.

    The norm that comes first needs the whole vector, and everything else needs the norm. Only the last op's arithmetic can overlap
    with a transfer, that of its own output: its first elements can leave while others are still being computed.
    """
    spec, graph = compiled.spec, compiled.graph
    if block.layer is None:
        ops = [op for op in graph.ops if op.layer is None and op.kind is not OpKind.EMBED]
        lines = [block.height, block.width]  # logits are summed along a column, then their maximum sought along a row
        last = {"argmax"}
    else:
        ops = list(graph.layer(block.layer))
        # q|k|v, weighted values, gate|up along columns; output projection and down along rows; scores where a head spans columns
        lines = [block.height] * 3 + [block.width] * 2 + [block.slices]
        last = {f"L{block.layer}.down", f"L{block.layer}.ffn_residual"}
    num_pes = block.width * block.height
    cycles = {op.name: arithmetic_cycles(spec, op, position) / num_pes for op in ops}
    crossing = spec.ramp_out_cycles + spec.ramp_in_cycles
    distance = sum((length - 1) * spec.hop_cycles + crossing for length in lines if length > 1)
    dim = compiled.model.config.dim
    return Bound(block.name, sum(cycles.values()), distance, dim, sum(cycles[name] for name in last))


def arithmetic_cycles(spec: MachineSpec, op: Op, position: int) -> float:
    """Cycles of one PE that did all of `op` for the token at `position`, every beat full and nothing else in the way.

    Counted is what the mathematics asks for, with products and sums fused where they can be; a special function takes
    `special_cycles` an element.
    """
    c = op.config
    size = op.shape[0] if op.shape else 1
    seen = position + 1
    fma = op.macs(position)
    add = special = 0
    if op.kind is OpKind.RMSNORM:
        add, special = 2 * size, 1  # times the scale and the weight; 1 / sqrt; squares can be taken while the vector comes in
    elif op.kind is OpKind.ROPE:
        pairs = (c.q_dim + c.kv_dim) // 2
        fma, add, special = 2 * pairs, 2 * pairs, c.head_size  # a sine and a cosine per pair of one head
    elif op.kind is OpKind.ATTENTION:
        add, special = 2 * seen * c.n_heads, (seen + 1) * c.n_heads  # maximum, sum; exponentials, and one division a head
    elif op.kind is OpKind.SWIGLU:
        add, special = size, size
    elif op.kind is OpKind.RESIDUAL:
        add = size
    elif op.kind is OpKind.ARGMAX:
        add = c.vocab_size - 1
    return fma / spec.fma_lanes * spec.fma_cycles + add / spec.add_lanes * spec.add_cycles + special * spec.special_cycles


def _net_bound(compiled: Compiled) -> Bound:
    """Hops of the nets from the host's edge through all blocks and back, and logits where they leave the wafer."""
    spec, placement = compiled.spec, compiled.placement
    num_hops, at = 0, (0, entry_and_exit(placement, 0)[0][1])
    for i in range(len(placement.rects)):
        entry, exit = entry_and_exit(placement, i)
        num_hops += abs(entry[0] - at[0]) + abs(entry[1] - at[1])
        at = exit
    num_hops += placement.width - 1 - at[0]
    crossing = (spec.ramp_out_cycles + spec.ramp_in_cycles) * len(placement.rects)
    out = compiled.model.config.vocab_size if compiled.head == "logits" else 0
    return Bound("nets", 0.0, num_hops * spec.hop_cycles + crossing, out)
