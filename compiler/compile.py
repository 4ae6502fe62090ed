"""Compile: all stages in a row, from a model's name to a program, with every intermediate value kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from wse.compiler.constraints import Constraints, read_constraints
from wse.compiler.cost import ceil_div
from wse.compiler.graph import Graph, build_graph
from wse.compiler.load import load_model
from wse.compiler.lower import fitting_copies, lower
from wse.compiler.model import Model, quantize_storage
from wse.compiler.partition import Block, Partitioner
from wse.compiler.place import Placement, read_placement
from wse.compiler.placers import find_placement
from wse.compiler.placers.greedy import try_place
from wse.compiler.placers.problem import Problem, Search, make_problem
from wse.compiler.placers.snake import default_mesh, find_snake
from wse.compiler.route import Net, route
from wse.defects import Defects, read_defects
from wse.errors import ConfigError
from wse.program import Program
from wse.spec import MachineSpec

DEFAULT_CONTEXT = 256
"""Positions to keep room for when nothing is said, or the model's own if those are fewer."""

READING_SHARE = {"anneal": 0.4, "exact": 0.1}
"""Of the time up to a placement, the usual part that reading a large model takes with these placers; more with the others."""


@dataclass(frozen=True)
class DefectOptions:
    """What is dead on the mesh: as the file `map` says, or at random, with the arguments of `Defects.random`."""

    map: Path | None = None
    dead_pes: float = 0.0
    dead_links: float = 0.0
    seed: int = 0
    dead_routers: bool = False

    def __bool__(self) -> bool:
        return self.map is not None or self.is_random

    @property
    def is_random(self) -> bool:
        return bool(self.dead_pes or self.dead_links)

    def on(self, width: int, height: int) -> Defects | None:
        """The map for a mesh of this size, None if nothing is dead. Raises `ConfigError`."""
        if self.map is None and not self.is_random:
            return None
        if self.map is None:
            return Defects.random(width, height, self.dead_pes, self.dead_links, self.seed, self.dead_routers)
        if self.is_random:
            raise ConfigError("a map of defects is either given or drawn at random", help="leave --dead-pes and --dead-links out")
        found = read_defects(self.map)
        if (found.width, found.height) != (width, height):
            raise ConfigError(f"{self.map} is a map of {found.width}x{found.height} PEs, the mesh has {width}x{height}")
        return found

    @property
    def mesh(self) -> tuple[int, int] | None:
        """The mesh a given map is of."""
        if self.map is None:
            return None
        found = read_defects(self.map)
        return found.width, found.height


@dataclass(frozen=True)
class PlaceOptions:
    """How a model is put on the mesh. `placement` (a file) takes the place of all but `mesh` and defects, with which it must then agree."""

    placer: str = "snake"
    split: str = "layer"
    objective: str = "both"
    search: Search = field(default_factory=Search)
    constraints: Path | None = None
    placement: Path | None = None
    defects: DefectOptions = field(default_factory=DefectOptions)


@dataclass(frozen=True)
class Placed:
    """A model as far as it is placed."""

    spec: MachineSpec
    model: Model  # as stored in SRAM
    dtype: str
    context: int
    problem: Problem  # what the placement answers; for a placement read from a file, with the shapes it gives alone
    placement: Placement
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Compiled:
    """A model as it stands after every stage."""

    spec: MachineSpec
    model: Model  # as stored in SRAM
    graph: Graph
    blocks: tuple[Block, ...]
    placement: Placement
    nets: tuple[Net, ...]
    program: Program
    dtype: str
    context: int
    head: str
    kept: tuple[str, ...]  # ops of a layer whose outputs are copied for verification though their buffers are reused


OnStage = Callable[[float, str], None]


def compile_model(
    name: str,
    spec: MachineSpec,
    *,
    dtype: str = "f16",
    context: int | None = None,
    mesh: tuple[int, int] | None = None,
    options: PlaceOptions | None = None,
    head: str = "greedy",
    keep_outputs: bool = False,
    on_stage: OnStage = lambda done, what: None,
) -> Compiled:
    """Run every stage. `context` defaults to the model's own, at most `DEFAULT_CONTEXT`; `head` is "greedy" or "logits".

    `keep_outputs`: for verification, keep copies of outputs whose buffers are reused within a token, where SRAM allows.
    `on_stage(done, what)` is told the fraction done, by the usual shares of time, and what comes next.

    Raises the `WseError` of the stage that refuses.
    """
    placed = place_model(
        name, spec, dtype=dtype, context=context, mesh=mesh, options=options, on_stage=lambda done, what: on_stage(0.6 * done, what)
    )
    on_stage(0.6, "lowering to a program")
    return compile_placed(placed, head, keep_outputs)


def compile_placed(placed: Placed, head: str = "greedy", keep_outputs: bool = False) -> Compiled:
    """The stages after placing: route, lower."""
    model, placement, spec, blocks = placed.model, placed.placement, placed.spec, placed.blocks
    nets = route(placement, model.config.dim, spec.num_colors)
    kept = fitting_copies(model.config, spec, blocks) if keep_outputs else ()
    program = lower(model, spec, blocks, placement, nets, placed.dtype, placed.context, head, kept)
    graph = build_graph(model.config)
    return Compiled(spec, model, graph, blocks, placement, nets, program, placed.dtype, placed.context, head, kept)


def place_model(
    name: str,
    spec: MachineSpec,
    *,
    dtype: str = "f16",
    context: int | None = None,
    mesh: tuple[int, int] | None = None,
    options: PlaceOptions | None = None,
    on_stage: OnStage = lambda done, what: None,
) -> Placed:
    """The stages up to placing: load, partition, place. Arguments as `compile_model`'s."""
    options = options or PlaceOptions()
    share = READING_SHARE.get(options.placer, 0.8) if options.placement is None else 0.9
    reading = lambda part: on_stage(share * part, "reading the model")  # noqa: E731
    reading(0.0)
    model = quantize_storage(load_model(name, on_part=lambda part: reading(0.7 * part)), dtype, lambda part: reading(0.7 + 0.3 * part))
    seq_len = model.config.seq_len
    context = min(seq_len, DEFAULT_CONTEXT) if context is None else context
    if not 1 <= context <= seq_len:
        raise ConfigError(f"context {context} is outside 1..{seq_len}, the positions '{model.name}' was made for")
    placing = lambda part: on_stage(share + (1 - share) * part, "partition, place, route")  # noqa: E731
    placing(0.0)
    partitioner = Partitioner(model.config, spec, dtype, context)
    if options.placement is not None:
        placement = read_placement(options.placement)
        _check_mesh(placement.width, placement.height, spec, str(options.placement))
        problem = fixed_problem(placement, partitioner)
        if mesh not in (None, (placement.width, placement.height)):
            raise ConfigError(f"{options.placement} is for a mesh of {placement.width}x{placement.height}, not {mesh[0]}x{mesh[1]}")  # type: ignore[index]
        if options.defects and options.defects.on(placement.width, placement.height) != placement.defects:
            theirs = f"defects: {placement.defects}" if placement.defects else "no defects"
            raise ConfigError(f"{options.placement} was made for other defects", notes=[f"it has {theirs}"],
                              help="leave the options on defects out: a placement brings its own")  # fmt: skip
    else:
        problem = _new_problem(partitioner, mesh, options)
        told = options.search.on_done

        def on_done(part: float) -> None:
            told(part)
            placing(part)

        found = find_placement(problem, options.placer, replace(options.search, on_done=on_done))
        origin = {"model": name, "arch": spec.name, "dtype": dtype, "context": context, "split": options.split}
        wishes = problem.constraints
        placement = replace(found, about=origin | dict(found.about), pinned=wishes.flagged, wishes=wishes.entries)
    return Placed(spec, model, dtype, context, problem, placement, placement.blocks(partitioner))


def fixed_problem(placement: Placement, partitioner: Partitioner) -> Problem:
    """The problem that has this placement as its only answer. Raises `ConfigError` when it is illegal."""
    placement.verify()
    blocks = placement.blocks(partitioner)
    sides = {(n, key): side for key, of in (("input", placement.inputs), ("output", placement.outputs))
             for n, side in zip(placement.names, of, strict=True)}  # fmt: skip
    pins = {name: (rect.x, rect.y) for name, rect in zip(placement.names, placement.rects, strict=True)}
    return Problem.of(partitioner, tuple((block,) for block in blocks), (placement.width, placement.height), "both",
                      Constraints(pins=pins, sides=sides), placement.defects)  # fmt: skip


def _new_problem(partitioner: Partitioner, mesh: tuple[int, int] | None, options: PlaceOptions) -> Problem:
    spec, blocks = partitioner.spec, partitioner.partition(options.split)
    constraints = Constraints()
    if options.constraints is not None:
        constraints = read_constraints(options.constraints, tuple(block.name for block in blocks))
    defects = options.defects

    def on(mesh: tuple[int, int]) -> Problem:
        return make_problem(partitioner, mesh, options.split, options.objective, constraints, defects.on(*mesh))

    mesh = mesh or defects.mesh
    if mesh is not None:
        _check_mesh(*mesh, spec, "--mesh")
        return on(mesh)
    mesh = default_mesh(blocks, spec.width, spec.height) or (spec.width, spec.height)
    if not defects:
        return on(mesh)
    for eighths in range(9):  # larger, until spare rows and columns make up for what is dead
        wider = (min(spec.width, ceil_div(mesh[0] * (8 + eighths), 8)), min(spec.height, ceil_div(mesh[1] * (8 + eighths), 8)))
        problem = on(wider)
        if (find_snake if options.placer == "snake" else try_place)(problem) is not None:
            return problem
    return on(mesh)


def _check_mesh(width: int, height: int, spec: MachineSpec, where: str) -> None:
    if width > spec.width or height > spec.height:
        raise ConfigError(f"{where}: a mesh of {width}x{height} PEs is more than {spec.name} has, {spec.width}x{spec.height}")
