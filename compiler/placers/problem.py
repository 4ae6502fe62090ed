"""Problem: what a placer is given, and how good and how legal an answer is.

The cost of a placement is a sum: of every block in its shape, and of every net between two blocks where they lie. So a bound
from below is a shortest path through the shapes, with every net as short as its two shapes allow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

from wse.compiler.constraints import Constraints
from wse.compiler.cost import Cost
from wse.compiler.nets import FREE, measure
from wse.compiler.partition import Block, Partitioner
from wse.compiler.place import Placement
from wse.errors import ConfigError
from wse.isa import Port
from wse.program import Rect

OBJECTIVES = {"both": 0.5, "cycles": 1.0, "hops": 0.0}  # share of cycles; each is counted in multiples of its own bound
Shape = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Search:
    """How to search. `time_budget` (seconds) only cuts a search short: without it, the same seed gives the same placement.

    `on_best` is told of every improvement: (seconds, cost in bounds, cost of one token).
    """

    seed: int = 0
    time_budget: float | None = None
    starts: int = 4
    on_best: Callable[[float, float, Cost], None] = field(default=lambda seconds, value, cost: None)


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

    @staticmethod
    def of(
        partitioner: Partitioner, shapes: tuple[tuple[Block, ...], ...], mesh: tuple[int, int], objective: str, constraints: Constraints
    ) -> Problem:
        """The problem with these shapes, each costed for a token in the middle of the context."""
        known: dict[tuple[str, int, int], Cost] = {}
        for block in itertools.chain.from_iterable(shapes):
            key = (block.part.value, block.width, block.height)
            if key not in known:
                known[key] = partitioner.cost(block)
        costs = tuple(tuple(known[b.part.value, b.width, b.height] for b in blocks) for blocks in shapes)
        spec = partitioner.spec
        ramp = spec.ramp_in_cycles + spec.ramp_out_cycles + 1
        return Problem(shapes, costs, *mesh, partitioner.config.dim, spec.hop_cycles, ramp, objective, constraints)

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
        return Cost(self._shortest((1, 0)), self._shortest((0, 1)))

    @cached_property
    def weights(self) -> tuple[float, float]:
        """What a cycle and a hop count for: 1.0 is a placement at its lower bound."""
        share = OBJECTIVES[self.objective]
        return share / self.bounds.cycles, (1 - share) / self.bounds.hops

    def weigh(self, cost: Cost) -> float:
        """The objective, to be made small."""
        return cost.cycles * self.weights[0] + cost.hops * self.weights[1]

    def lower_bound(self) -> float:
        """No placement has a smaller objective."""
        return self._shortest(self.weights)

    def area(self, i: int) -> Rect:
        """Where block i may be, keep-out areas aside."""
        span = self.constraints.spans.get(self.names[i])
        return span.area(self.mesh) if span else self.mesh

    def net(self, i: int, a: Rect | None, b: Rect | None) -> Cost:
        """Cost of net i, from block i - 1 at `a` (None: the host) to block i at `b` (None: the host)."""
        if a is None:
            assert b is not None
            far = b.x + (b.width - 1 if self.inputs[0] == Port.EAST else 0)
            cycles = self.dim + (far + b.height + b.width) * self.hop_cycles + 2 * self.ramp_cycles + -(-self.dim // b.height)
            return Cost(cycles, self.dim * (far + b.height - 1))
        if b is None:
            far = self.width - a.x - (1 if self.outputs[-1] == Port.WEST else a.width) + 1
            return Cost(far * self.hop_cycles + self.ramp_cycles, far)
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
        """These rectangles as a placement on this mesh."""
        return Placement(self.width, self.height, rects, self.names, self.inputs, self.outputs)

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
        broken = self.constraints.broken(placement.names, placement.rects, self.mesh)
        if broken:
            raise ConfigError(broken)

    def check(self) -> None:
        """Raise `DoesNotFitError` for the first reason, the smallest first, for which no placement can exist."""
        from wse.compiler.placers.explain import impossible

        reason = impossible(self)
        if reason is not None:
            raise reason

    def _shortest(self, weights: tuple[float, float]) -> float:
        """Least weighted cost of shapes and nets, each net as short as its two shapes allow."""
        weigh = lambda cost: cost.cycles * weights[0] + cost.hops * weights[1]  # noqa: E731
        best: dict[Shape, float] = {}
        for i, (blocks, costs) in enumerate(zip(self.shapes, self.costs, strict=True)):
            shapes = [(block.width, block.height) for block in blocks]
            own = dict(zip(shapes, (weigh(cost) for cost in costs), strict=True))
            if i == 0:
                best = {s: own[s] + weigh(self._shortest_net(0, None, s)) for s in shapes}
            else:
                best = {s: own[s] + min(before + weigh(self._shortest_net(i, a, s)) for a, before in best.items()) for s in shapes}
        return min(best.values()) + weigh(Cost(self.hop_cycles + self.ramp_cycles, 1))

    def _shortest_net(self, i: int, a: Shape | None, b: Shape) -> Cost:
        """The least net i can cost between blocks of these shapes, on any mesh: side by side, or corner to corner."""
        key = (a, b)
        if key not in self._nets:
            if a is None:
                self._nets[key] = self.net(0, None, Rect(0, 0, *b))
            else:
                free = replace(self, constraints=Constraints())
                beside = Rect(a[0], 0, *b)
                ways = [free.net(i, Rect(0, 0, *a), beside), free.net(i, Rect(0, 0, *a), Rect(a[0], a[1] - 1, *b))]
                self._nets[key] = Cost(min(way.cycles for way in ways), min(way.hops for way in ways))
        return self._nets[key]

    @cached_property
    def _nets(self) -> dict[tuple[Shape | None, Shape], Cost]:
        return {}


def make_problem(
    partitioner: Partitioner, mesh: tuple[int, int], split: str = "layer", objective: str = "both", constraints: Constraints | None = None
) -> Problem:
    """The problem of placing a model. Raises `DoesNotFitError` when a block has no shape that fits a PE's SRAM."""
    if objective not in OBJECTIVES:
        raise ConfigError(f"objective '{objective}' is not one of {', '.join(OBJECTIVES)}")
    constraints = constraints or Constraints()
    shapes = []
    for blocks in partitioner.candidates(split):
        wanted = constraints.shapes.get(blocks[0].name)
        shapes.append((partitioner.block(blocks[0].name, blocks[0].layer, blocks[0].part, *wanted),) if wanted else blocks)
    return Problem.of(partitioner, tuple(shapes), mesh, objective, constraints)
