"""Prediction: what the cost model that places blocks said beforehand, for the same tokens that were measured.

Hops are predicted to the last one, among defects too. Cycles of a block are those of its ops, one after another, from when it has its
input to when its output can leave; the way from block to block is the nets'. What a block skips is not in them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from wse.compiler.compile import Compiled, fixed_problem
from wse.compiler.cost import TAKE_IN, Cost, Shape, op_costs
from wse.compiler.hops import lane_hops, net_costs, placed_shape
from wse.compiler.partition import Partitioner
from wse.program import Rect

OpCosts = dict[str, Cost]
"""Mean cost per token of each op of a block, by its name in the program."""


@dataclass(frozen=True)
class Prediction:
    """Mean cost of one token of `positions`, in a model compiled with the greedy head."""

    blocks: tuple[OpCosts, ...]
    nets: tuple[Cost, ...]  # as `Compiled.nets`
    hops_inside: tuple[float, ...]  # that start on a PE of each block's rectangle, those of nets among them

    @property
    def total(self) -> Cost:
        """Of the whole token, from the host and back."""
        return sum((cost for ops in self.blocks for cost in ops.values()), sum(self.nets, Cost(0, 0)))

    def block_cycles(self, i: int) -> float:
        """Of block i's ops."""
        return sum(cost.cycles for cost in self.blocks[i].values())

    def op_cycles(self, num_pes: Sequence[int]) -> dict[str, float]:
        """Cycles of each op, the mean over the blocks that have it, each with its `num_pes`."""
        sums, pes = defaultdict[str, float](float), defaultdict[str, int](int)
        for ops, num in zip(self.blocks, num_pes, strict=True):
            for op, cost in ops.items():
                sums[op] += num * cost.cycles
                pes[op] += num
        return {op: sums[op] / pes[op] for op in sums if op != TAKE_IN}


def predict(compiled: Compiled, positions: range) -> Prediction:
    """The cost model's word on tokens at `positions`, at least one, each alone on the wafer."""
    partitioner = Partitioner(compiled.model.config, compiled.spec, compiled.dtype, compiled.context)
    problem, rects = fixed_problem(compiled.placement, partitioner), compiled.placement.footprints
    known: dict[Shape, OpCosts] = {}  # blocks of a kind and shape cost the same
    blocks = []
    for block, frame in zip(compiled.blocks, compiled.placement.frames, strict=True):
        key = placed_shape(partitioner, block, frame)
        if key not in known:
            known[key] = _mean([op_costs(compiled.spec, key, position) for position in positions])
        blocks.append(known[key])
    nets = net_costs(problem, compiled.placement, compiled.nets)
    lanes = [lane_hops(net, vector) for net, vector in zip(compiled.nets, (*(len(nets) - 1) * [problem.dim], 1), strict=True)]
    inside = [sum(cost.hops for cost in ops.values()) for ops in blocks]
    for i, (net, of_net) in enumerate(zip(nets, lanes, strict=True)):
        for k, rect in enumerate(rects):
            inside[k] += sum(hops for pe, hops in of_net.items() if rect.contains(Rect(*pe, 1, 1)))
        beyond = net.hops - sum(of_net.values())
        if beyond:  # gathered for the net in other colors by the block before; or carried on along the rows of the one after
            inside[i - 1 if beyond > 0 else i] += beyond
    return Prediction(tuple(blocks), nets, tuple(inside))


def _mean(tokens: list[OpCosts]) -> OpCosts:
    sums = {op: sum((token[op] for token in tokens), Cost(0, 0)) for op in tokens[0]}
    return {op: Cost(total.cycles / len(tokens), total.hops / len(tokens)) for op, total in sums.items()}
