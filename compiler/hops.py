"""Hops: what a placement costs once it is routed, to the last hop: what blocks skip among defects and what lanes go around is counted.

Placers look at thousands of placements and cost each in closed form (`nets.measure`), as if nothing were skipped and every way straight.
Cycles stay those of the closed forms.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from wse.compiler.compile import Placed
from wse.compiler.cost import Cost, Shape, block_cost, ceil_div
from wse.compiler.nets import ASIDE, TRUNK
from wse.compiler.partition import Block, Partitioner
from wse.compiler.place import Placement
from wse.compiler.placers.problem import Problem
from wse.compiler.route import Net
from wse.frame import Frame
from wse.isa import Port


def placed_shape(partitioner: Partitioner, block: Block, frame: Frame) -> Shape:
    """The shape of a block where it lies, with the links from each of its columns and rows to the next."""
    shape = partitioner.shape(block)
    if not frame.skips:
        return shape
    columns, rows = (tuple(b - a for a, b in itertools.pairwise(lines)) for lines in (frame.columns, frame.rows))
    return replace(shape, column_links=columns, row_links=rows)


def routed_cost(placed: Placed, nets: tuple[Net, ...]) -> Cost:
    """One token of a model that is placed and routed."""
    partitioner = Partitioner(placed.model.config, placed.spec, placed.dtype, placed.context)
    costs = block_costs(placed.placement, placed.blocks, partitioner), net_costs(placed.problem, placed.placement, nets)
    return sum(itertools.chain(*costs), Cost(0, 0))


def block_costs(placement: Placement, blocks: tuple[Block, ...], partitioner: Partitioner) -> tuple[Cost, ...]:
    """Of every block, for a token in the middle of the context."""
    return tuple(
        block_cost(partitioner.spec, placed_shape(partitioner, block, frame), partitioner.context // 2)
        for block, frame in zip(blocks, placement.frames, strict=True)
    )


def net_costs(problem: Problem, placement: Placement, nets: tuple[Net, ...]) -> tuple[Cost, ...]:
    """Of every net. Hops are those of its lanes and of the gathering before, less the spreading that `cost.TAKE_IN` has."""
    ends = itertools.pairwise((None, *placement.rects, None))
    return tuple(
        Cost(problem.net(i, a, b).cycles, _net_hops(placement, i, net, problem.dim))
        for i, (net, (a, b)) in enumerate(zip(nets, ends, strict=True))
    )


def lane_hops(net: Net, vector: int) -> dict[tuple[int, int], int]:
    """Hops that start on each PE of a net's lanes, when it passes `vector` wavelets."""
    hops: dict[tuple[int, int], int] = {}
    for lane, wavelets in zip(net.lanes, _segments(vector, len(net.lanes), net.kind), strict=True):
        for pe, (_, tx) in lane.hops.items():
            hops[pe] = hops.get(pe, 0) + wavelets * len(tx - {Port.RAMP})
    return hops


def _net_hops(placement: Placement, i: int, net: Net, dim: int) -> int:
    """Of net i. A trunk's segments come down or up the exit column; lanes to a block beside run on along its rows."""
    last = len(placement.rects)
    hops = sum(lane_hops(net, 1 if i == last else dim).values())
    if net.kind == ASIDE:
        columns = placement.frames[i].columns
        return hops - dim * (columns[-1] - columns[0])
    if net.kind == TRUNK and 0 < i < last:
        rows = placement.frames[i - 1].rows
        length = ceil_div(dim, len(rows))
        hops += sum(abs(y - net.exits[0][1]) * max(0, min(length, dim - r * length)) for r, y in enumerate(rows))
    return hops


def _segments(vector: int, num: int, kind: int) -> list[int]:
    """Wavelets of each of a net's lanes."""
    if kind == TRUNK:
        return [vector] * num
    length = ceil_div(vector, num)
    return [max(0, min(length, vector - row * length)) for row in range(num)]
