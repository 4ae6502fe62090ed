"""Lower bounds: cycles that no program for this placement could go below, and what they are made of.

A bound leaves out whatever could in principle overlap: it is a floor to hold measurements against, not a prediction.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from wse.compiler.compile import Compiled
from wse.compiler.cost import Part, ceil_div
from wse.compiler.graph import Op, OpKind
from wse.compiler.nets import TRUNK
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
    blocks = (_block_bound(compiled, i, position) for i in range(len(compiled.blocks)))
    return (*blocks, _net_bound(compiled))


def mean_bounds(compiled: Compiled, positions: range) -> tuple[Bound, ...]:
    """`token_bounds`, averaged over positions: all parts grow linearly with the position, so the two ends tell."""
    ends = zip(token_bounds(compiled, positions[0]), token_bounds(compiled, positions[-1]), strict=True)
    parts = [field.name for field in fields(Bound) if field.name != "name"]
    return tuple(Bound(a.name, *((getattr(a, part) + getattr(b, part)) / 2 for part in parts)) for a, b in ends)


def _block_bound(compiled: Compiled, i: int, position: int) -> Bound:
    """What one block needs from the vector's first wavelet on.

    The norm that comes first needs the whole vector, and everything else needs the norm. Only the last op's arithmetic can overlap
    with a transfer, that of its own output: its first elements can leave while others are still being computed.
    """
    spec, block, dim = compiled.spec, compiled.blocks[i], compiled.model.config.dim
    ops = block.ops(compiled.graph)
    if block.part is Part.FINAL:
        lines = [block.height, block.width]  # logits are summed along a column, then their maximum sought along a row
    else:
        lines = []
        if block.part is not Part.FEED_FORWARD:  # q|k|v and weighted values along columns; output projection along rows; scores in heads
            lines += [block.height, block.height, block.width, block.slices]
        if block.part is not Part.ATTENTION:  # gate|up along columns, down along rows
            lines += [block.height, block.width]
    last = {op.name for op in ops[-1 if block.part is Part.FINAL else -2 :]}  # argmax, or the projection and the residual after it
    out = compiled.nets[i + 1]
    transfer = 0 if block.part is Part.FINAL else dim if out.kind == TRUNK else ceil_div(dim, block.height)  # over one link of the net
    num_pes = block.width * block.height
    cycles = {op.name: arithmetic_cycles(spec, op, position) / num_pes for op in ops}
    crossing = spec.ramp_out_cycles + spec.ramp_in_cycles
    distance = sum((length - 1) * spec.hop_cycles + crossing for length in lines if length > 1)
    return Bound(block.name, sum(cycles.values()), distance, transfer, sum(cycles[name] for name in last))


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
    """Hops of the nets from the host's edge through all blocks and back, the vector that the host streams, and logits that leave."""
    spec, placement, config = compiled.spec, compiled.placement, compiled.model.config
    num_hops = placement.width - 1 - compiled.nets[-1].exits[0][0]
    for net in compiled.nets[:-1]:
        num_hops += min(abs(a[0] - b[0]) + abs(a[1] - b[1]) for a in net.exits for b in net.entries)
    crossing = (spec.ramp_out_cycles + spec.ramp_in_cycles) * len(placement.rects)
    out = config.vocab_size if compiled.head == "logits" else 0
    return Bound("nets", 0.0, num_hops * spec.hop_cycles + crossing, config.dim + out)
