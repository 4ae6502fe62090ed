"""Compare: placements side by side, and where the difference comes from: which blocks changed shape, which nets got longer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from wse.compiler.compile import fixed_problem
from wse.compiler.cost import Cost, Part
from wse.compiler.hops import block_costs, net_costs
from wse.compiler.nets import KIND_NAMES, TRUNK
from wse.compiler.partition import Partitioner
from wse.compiler.place import Placement
from wse.compiler.route import Net, report_routes, route
from wse.isa import Port

ARROW = " -> "  # between the ends of a net, in its name


@dataclass(frozen=True)
class Piece:
    """A block or a net of a placement: its predicted cost per token, and how it lies there, in words."""

    cost: Cost
    how: str


@dataclass(frozen=True)
class Described:
    """A placement taken apart. `measured`: of the run it was used in (a summary's keys), or empty."""

    name: str
    facts: dict[str, Any]
    blocks: dict[str, Piece]
    nets: dict[str, Piece]
    measured: dict[str, Any]

    @property
    def cost(self) -> Cost:
        return sum((piece.cost for piece in (*self.blocks.values(), *self.nets.values())), Cost(0, 0))


@dataclass(frozen=True)
class Change:
    """What a block or net costs more (or less) in one placement than in another."""

    name: str
    cycles: float
    hops: float
    before: str
    after: str

    def dump(self) -> str:
        """One line for people."""
        how = f"{self.before} -> {self.after}" if self.before != self.after else self.after
        return f"{self.name}: {self.hops:+,.0f} hops, {self.cycles:+,.0f} cycles ({how})"


def describe(name: str, placement: Placement, partitioner: Partitioner, measured: dict[str, Any] | None = None) -> Described:
    """Take a placement apart. Raises the error of the stage that refuses it."""
    problem = fixed_problem(placement, partitioner)
    shapes, nets = placement.blocks(partitioner), route(placement, problem.dim, partitioner.spec.num_colors)
    blocks = {
        block.name: Piece(cost, f"{block.width}x{block.height} at {rect}")
        for block, cost, rect in zip(shapes, block_costs(placement, shapes, partitioner), placement.footprints, strict=True)
    }
    costs = {net.name: Piece(cost, _how(net)) for net, cost in zip(nets, net_costs(problem, placement, nets), strict=True)}
    hottest, wavelets = _hottest_link(nets, problem.dim)
    routes = report_routes(nets)
    fullest = max(shapes, key=lambda block: block.sram_bytes)
    total = sum((piece.cost for piece in (*blocks.values(), *costs.values())), Cost(0, 0))
    facts = {
        "mesh": f"{placement.width}x{placement.height}",
        **({"defects": placement.defects.digest} if placement.defects is not None else {}),
        **{key: placement.about.get(key, "?") for key in ("placer", "seed", "split", "objective")},
        "num_pes": sum(rect.num_pes for rect in placement.rects),
        "predicted_cycles_per_token": round(total.cycles), "predicted_hops_per_token": round(total.hops),
        "hops_in_blocks": round(sum(piece.cost.hops for piece in blocks.values())),
        "hops_between_blocks": round(sum(piece.cost.hops for piece in costs.values())),
        "hottest_net_link": hottest, "hottest_net_link_wavelets": wavelets,
        "shared_links": routes.shared_links, "detour_links": routes.detour_links, "most_colors": max(routes.routers_by_colors),
        "sram_peak_bytes": fullest.sram_bytes, "sram_peak_block": fullest.name,
    }  # fmt: skip
    return Described(name, facts, blocks, costs, measured or {})


def changes(a: Described, b: Described) -> tuple[list[Change], list[Change]]:
    """(blocks, nets) that cost more or fewer hops or cycles in `b` than in `a`, the largest first; what one lacks counts as nothing.

    A layer that is one block in one of them and two in the other is compared as one; the net between its halves is "within" it.
    """
    none = Piece(Cost(0, 0), "none")
    torn = {_layer(name) for name in a.blocks.keys() ^ b.blocks.keys()}  # layers of which one has the whole and the other halves
    found = []
    for before, after in ((a.blocks, b.blocks), (a.nets, b.nets)):
        before, after = _joined(before, torn), _joined(after, torn)
        pairs = {name: (before.get(name, none), after.get(name, none)) for name in (*before, *after)}
        differ = [
            Change(name, y.cost.cycles - x.cost.cycles, y.cost.hops - x.cost.hops, x.how, y.how)
            for name, (x, y) in pairs.items() if x.cost != y.cost
        ]  # fmt: skip
        found.append(sorted(differ, key=lambda change: (-abs(change.hops), -abs(change.cycles))))
    return found[0], found[1]


def _layer(block: str) -> str:
    """The layer that a block is, or is half of; the block itself for what is no layer."""
    return block.removesuffix(f" {Part.ATTENTION}").removesuffix(f" {Part.FEED_FORWARD}")


def _joined(pieces: dict[str, Piece], layers: set[str]) -> dict[str, Piece]:
    """Blocks, or nets, with the halves of these layers as one."""
    found: dict[str, Piece] = {}
    for name, piece in pieces.items():
        ends = list(dict.fromkeys(_layer(end) if _layer(end) in layers else end for end in name.split(ARROW)))
        whole = ARROW.join(ends) if ARROW not in name or len(ends) > 1 else f"within {ends[0]}"
        known = found.get(whole)
        found[whole] = piece if known is None else Piece(known.cost + piece.cost, f"{known.how} and {piece.how}")
    return found


def _how(net: Net) -> str:
    links, num = sum(len(lane.hops) - 1 for lane in net.lanes), len(net.lanes)
    kind = KIND_NAMES[net.kind] if net.kind == TRUNK else f"{num} lane{'s' * (num != 1)} {KIND_NAMES[net.kind]}"
    return f"{kind}, {links} link{'s' * (links != 1)}"


def _hottest_link(nets: tuple[Net, ...], dim: int) -> tuple[str, int]:
    """The link between PEs that nets load most, and its wavelets per token."""
    load: Counter[tuple[tuple[int, int], Port]] = Counter()
    for net in nets[:-1]:  # the last carries one result
        for lane in net.lanes:
            for pe, (_, tx) in lane.hops.items():
                for port in tx - {Port.RAMP}:
                    load[pe, port] += dim if net.kind == TRUNK else -(-dim // len(net.lanes))
    if not load:
        return "none", 0
    ((x, y), port), wavelets = max(load.items(), key=lambda item: (item[1], item[0]))
    return f"({x},{y}) {port.name}", wavelets
