"""Problem: what a placer is given, and how good and how legal an answer is.

The cost of a placement is a sum: of every block in its shape, and of every net between two blocks where they lie. So a bound
from below is a shortest path through the shapes, with every net as short as its two shapes allow and all the PEs the mesh has.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from wse.compiler.constraints import Constraints
from wse.compiler.cost import Cost
from wse.compiler.footprint import Footprints
from wse.compiler.nets import FREE, measure, measure_in, measure_out
from wse.compiler.partition import Block, Partitioner
from wse.compiler.place import Placement
from wse.defects import Defects
from wse.errors import ConfigError
from wse.program import Rect

OBJECTIVES = {"both": 0.5, "cycles": 1.0, "hops": 0.0}  # share of cycles; each is counted in multiples of its own bound
NUM_WIDTHS = 12  # besides the best, how many widths of a block are tried where something is dead
Shape = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Search:
    """How to search. `time_budget` (seconds) only cuts a search short: without it, the same seed gives the same placement.

    `on_best` is told of every improvement: (seconds, cost in bounds, cost of one token); `on_done` of the part of the search that is
    done, 0 to 1.
    """

    seed: int = 0
    time_budget: float | None = None
    starts: int = 4
    moves: int = 1_000_000  # per start
    on_best: Callable[[float, float, Cost], None] = field(default=lambda seconds, value, cost: None)
    on_done: Callable[[float], None] = field(default=lambda part: None)


@dataclass(frozen=True)
class Problem:
    """Blocks with the shapes each may have, what a shape and a net cost, a mesh, and constraints."""

    shapes: tuple[tuple[Block, ...], ...]  # per block, the default first
    costs: tuple[tuple[Cost, ...], ...]  # of each shape
    width: int
    height: int
    dim: int
    hop_cycles: int
    ramp_cycles: int
    objective: str = "both"
    constraints: Constraints = field(default_factory=Constraints)
    defects: Defects | None = None

    @staticmethod
    def of(
        partitioner: Partitioner, shapes: tuple[tuple[Block, ...], ...], mesh: tuple[int, int], objective: str, constraints: Constraints,
        defects: Defects | None = None,
    ) -> Problem:  # fmt: skip
        """The problem with these shapes, each costed for a token in the middle of the context."""
        known: dict[tuple[str, int, int], Cost] = {}
        for block in itertools.chain.from_iterable(shapes):
            key = (block.part.value, block.width, block.height)
            if key not in known:
                known[key] = partitioner.cost(block)
        costs = tuple(tuple(known[b.part.value, b.width, b.height] for b in blocks) for blocks in shapes)
        spec = partitioner.spec
        ramp = spec.ramp_in_cycles + spec.ramp_out_cycles + 1
        return Problem(shapes, costs, *mesh, partitioner.config.dim, spec.hop_cycles, ramp, objective, constraints, defects)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(shapes[0].name for shapes in self.shapes)

    @property
    def mesh(self) -> Rect:
        return Rect(0, 0, self.width, self.height)

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        return tuple(self.constraints.sides.get((name, "input"), FREE) for name in self.names)

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        return tuple(self.constraints.sides.get((name, "output"), FREE) for name in self.names)

    @cached_property
    def bounds(self) -> Cost:
        """No placement takes fewer cycles, none fewer hops; not both of one placement."""
        return Cost(self._bound((1, 0)), self._bound((0, 1)))

    @cached_property
    def weights(self) -> tuple[float, float]:
        """What a cycle and a hop count for: 1.0 is a placement at its lower bound."""
        share = OBJECTIVES[self.objective]
        return share / self.bounds.cycles, (1 - share) / self.bounds.hops

    def weigh(self, cost: Cost) -> float:
        """The objective, to be made small."""
        return cost.cycles * self.weights[0] + cost.hops * self.weights[1]

    @cached_property
    def lower_bound(self) -> float:
        """No placement has a smaller objective."""
        return self._bound(self.weights)

    def area(self, i: int) -> Rect:
        """Where block i may be, keep-out areas aside."""
        span = self.constraints.spans.get(self.names[i])
        return span.area(self.mesh) if span else self.mesh

    @cached_property
    def footprints(self) -> Footprints | None:
        """What blocks take on the mesh where some of it is dead; None where nothing is."""
        return None if self.defects is None else Footprints(self.defects)

    def footprint(self, rect: Rect) -> Rect | None:
        """What a block of `rect`'s size takes on the mesh with its corner there; None where it cannot be."""
        if self.footprints is None:
            return rect
        if not self.mesh.contains(rect):
            return None
        across, down = self.footprints.skipped(rect.width, rect.height)[rect.y, rect.x].tolist()
        return None if across < 0 else Rect(rect.x, rect.y, rect.width + across, rect.height + down)

    def net(self, i: int, a: Rect | None, b: Rect | None) -> Cost:
        """Cost of net i, from block i - 1 at `a` (None: the host) to block i at `b` (None: the host)."""
        if a is None or b is None:
            if b is not None:
                hops, cycles = measure_in(self.dim, b.x, b.width, b.height, self.inputs[0], self.hop_cycles, self.ramp_cycles)
            else:
                assert a is not None
                hops, cycles = measure_out(self.width, a.x, a.width, self.outputs[-1], self.hop_cycles, self.ramp_cycles)
            return Cost(cycles, hops)
        _, hops, cycles, *_ = measure(
            self.dim, a.x, a.y, a.width, a.height, self.outputs[i - 1], b.x, b.y, b.width, b.height, self.inputs[i],
            self.hop_cycles, self.ramp_cycles,
        )  # fmt: skip
        return Cost(cycles, hops)

    def cost(self, placement: Placement) -> Cost:
        """Predicted cycles and hops of one token."""
        total = Cost(0, 0)
        for i, rect in enumerate(placement.rects):
            total += self.costs[i][self.shape_index(i, (rect.width, rect.height))]
        for i, (a, b) in enumerate(itertools.pairwise([None, *placement.rects, None])):
            total += self.net(i, a, b)
        return total

    def shape_index(self, i: int, shape: Shape) -> int:
        """Index of a width and height among block i's shapes. Raises `ConfigError`."""
        for k, block in enumerate(self.shapes[i]):
            if (block.width, block.height) == shape:
                return k
        raise ConfigError(f"block '{self.names[i]}' cannot be {shape[0]}x{shape[1]} PEs here")

    def placement(self, rects: tuple[Rect, ...]) -> Placement:
        """These rectangles as a placement on this mesh. Raises `ConfigError` where a block cannot be for defects."""
        return Placement(self.width, self.height, rects, self.names, self.inputs, self.outputs, defects=self.defects).fitted()

    def is_legal(self, rects: tuple[Rect, ...]) -> bool:
        """Whether rectangles lie in the mesh without overlap and keep all constraints."""
        try:
            self.verify(self.placement(rects))
        except ConfigError:
            return False
        return True

    def verify(self, placement: Placement) -> None:
        """Raise `ConfigError` unless the placement is legal and keeps all constraints."""
        placement.verify()
        broken = self.constraints.broken(placement)
        if broken:
            raise ConfigError(broken)

    def _bound(self, weights: tuple[float, float]) -> float:
        """Least weighted cost of any placement.

        By Lagrange: with a price on every PE, the cheapest chain of shapes less what all free PEs are worth is a bound at any
        price; the best price is found by golden section, since the bound is concave in it.
        """
        there = int(self.usable.sum())
        value = lambda price: self._shortest(weights, price) - price * there  # noqa: E731
        low, high = 0.0, 2 * self._shortest(weights, 0.0) / max(1, there)
        ratio = (math.sqrt(5) - 1) / 2
        for _ in range(30):
            a, b = high - ratio * (high - low), low + ratio * (high - low)
            low, high = (low, b) if value(a) > value(b) else (a, high)
        return max(value(0.0), value((low + high) / 2))

    @cached_property
    def open(self) -> np.ndarray:
        """bool (height, width): PEs that are in no keep-out area."""
        found = np.ones((self.height, self.width), bool)
        for area in self.constraints.keep_out:
            found[area.y : area.y + area.height, area.x : area.x + area.width] = False
        return found

    @property
    def usable(self) -> np.ndarray:
        """bool (height, width): those of them that work."""
        return self.open if self.defects is None else self.open & ~self.defects.dead

    def _shortest(self, weights: tuple[float, float], price: float) -> float:
        """Least weighted cost of shapes and nets, each net as short as its two shapes allow, and `price` per PE."""
        weigh = lambda cost: cost.cycles * weights[0] + cost.hops * weights[1]  # noqa: E731
        best: np.ndarray | None = None
        for i, (blocks, costs) in enumerate(zip(self.shapes, self.costs, strict=True)):
            own = np.array([weigh(cost) + price * block.num_pes for block, cost in zip(blocks, costs, strict=True)])
            cycles, hops = self._shortest_nets(i)
            step = cycles * weights[0] + hops * weights[1]
            best = own + (step[0] if best is None else (best[:, None] + step).min(0))
        assert best is not None
        return float(best.min()) + weigh(Cost(self.hop_cycles + self.ramp_cycles, 1))

    def _shortest_nets(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """(cycles, hops), each (shapes of block i - 1, shapes of block i), of the least net i can cost; one row for the host."""
        shapes = [[(b.width, b.height) for b in self.shapes[k]] for k in ((i - 1, i) if i else (i,))]
        before: list[Shape | None] = list(shapes[0]) if i else [None]
        key = (tuple(before), tuple(shapes[-1]))
        if key not in self._nets:
            table = np.array([[self._shortest_net(a, b) for b in shapes[-1]] for a in before])
            self._nets[key] = (table[..., 0], table[..., 1])
        return self._nets[key]

    def _shortest_net(self, a: Shape | None, b: Shape) -> Cost:
        """Side by side, or corner to corner, on any mesh and any sides."""
        if a is None:
            hops, cycles = measure_in(self.dim, 0, *b, FREE, self.hop_cycles, self.ramp_cycles)
            return Cost(cycles, hops)
        ways = [measure(self.dim, 0, 0, *a, FREE, a[0], y, *b, FREE, self.hop_cycles, self.ramp_cycles) for y in (0, a[1] - 1)]
        return Cost(min(way[2] for way in ways), min(way[1] for way in ways))

    @cached_property
    def _nets(self) -> dict[tuple[tuple[Shape | None, ...], tuple[Shape, ...]], tuple[np.ndarray, np.ndarray]]:
        return {}


def make_problem(
    partitioner: Partitioner, mesh: tuple[int, int], split: str = "layer", objective: str = "both", constraints: Constraints | None = None,
    defects: Defects | None = None,
) -> Problem:  # fmt: skip
    """The problem of placing a model. Raises `DoesNotFitError` when a block has no shape that fits a PE's SRAM."""
    if objective not in OBJECTIVES:
        raise ConfigError(f"objective '{objective}' is not one of {', '.join(OBJECTIVES)}")
    constraints = constraints if constraints is not None else Constraints()
    shapes = []
    whole = Rect(0, 0, *mesh)

    def room(name: str) -> tuple[int, int]:
        area = constraints.spans[name].area(whole) if name in constraints.spans else whole
        return area.width, area.height

    # a block as wide as the mesh cannot skip columns, and what is left between skipped ones is odd: other widths are worth trying too
    for blocks in partitioner.candidates(split, room, num_widths=0 if defects is None else NUM_WIDTHS):
        wanted = constraints.shapes.get(blocks[0].name)
        shapes.append((partitioner.block(blocks[0].name, blocks[0].layer, blocks[0].part, *wanted),) if wanted else blocks)
    return Problem.of(partitioner, tuple(shapes), mesh, objective, constraints, defects)
