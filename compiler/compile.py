"""Compile: all stages in a row, from a model's name to a program, with every intermediate value kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from wse.compiler.constraints import Constraints, read_constraints
from wse.compiler.graph import Graph, build_graph
from wse.compiler.load import load_model
from wse.compiler.lower import lower
from wse.compiler.model import Model, quantize_storage
from wse.compiler.partition import Block, Partitioner
from wse.compiler.place import Placement, read_placement
from wse.compiler.placers import find_placement
from wse.compiler.placers.problem import Problem, Search, make_problem
from wse.compiler.placers.snake import default_mesh
from wse.compiler.route import Net, route
from wse.errors import ConfigError, DoesNotFitError
from wse.program import Program
from wse.spec import MachineSpec


@dataclass(frozen=True)
class PlaceOptions:
    """How a model is put on the mesh. `placement` (a file) takes the place of all but `mesh`, which it must then agree with."""

    placer: str = "snake"
    split: str = "layer"
    objective: str = "both"
    search: Search = field(default_factory=Search)
    constraints: Path | None = None
    placement: Path | None = None


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


def compile_model(
    name: str,
    spec: MachineSpec,
    *,
    dtype: str = "f16",
    context: int | None = None,
    mesh: tuple[int, int] | None = None,
    options: PlaceOptions | None = None,
    head: str = "greedy",
) -> Compiled:
    """Run every stage. `context` defaults to the model's own, at most 256; `head` is "greedy" or "logits".

    Raises the `WseError` of the stage that refuses.
    """
    return compile_placed(place_model(name, spec, dtype=dtype, context=context, mesh=mesh, options=options), head)


def compile_placed(placed: Placed, head: str = "greedy") -> Compiled:
    """The stages after placing: route, lower."""
    model, placement, spec = placed.model, placed.placement, placed.spec
    nets = route(placement, model.config.dim, spec.num_colors)
    program = lower(model, spec, placed.blocks, placement, nets, placed.dtype, placed.context, head)
    graph = build_graph(model.config)
    return Compiled(spec, model, graph, placed.blocks, placement, nets, program, placed.dtype, placed.context, head)


def place_model(
    name: str,
    spec: MachineSpec,
    *,
    dtype: str = "f16",
    context: int | None = None,
    mesh: tuple[int, int] | None = None,
    options: PlaceOptions | None = None,
) -> Placed:
    """The stages up to placing: load, partition, place."""
    options = options or PlaceOptions()
    model = quantize_storage(load_model(name), dtype)
    seq_len = model.config.seq_len
    context = min(seq_len, 256) if context is None else context
    if not 1 <= context <= seq_len:
        raise ConfigError(f"context {context} is outside 1..{seq_len}, the positions '{model.name}' was made for")
    partitioner = Partitioner(model.config, spec, dtype, context)
    if options.placement is not None:
        placement = read_placement(options.placement)
        problem = fixed_problem(placement, partitioner)
        if mesh not in (None, (placement.width, placement.height)):
            raise ConfigError(f"{options.placement} is for a mesh of {placement.width}x{placement.height}, not {mesh[0]}x{mesh[1]}")  # type: ignore[index]
    else:
        problem = _new_problem(partitioner, mesh, options)
        found = find_placement(problem, options.placer, options.search)
        origin = {"model": name, "arch": spec.name, "dtype": dtype, "context": context, "split": options.split}
        placement = replace(found, about=origin | dict(found.about))
    return Placed(spec, model, dtype, context, problem, placement, placement.blocks(partitioner))


def fixed_problem(placement: Placement, partitioner: Partitioner) -> Problem:
    """The problem that has this placement as its only answer. Raises `ConfigError` when it is illegal."""
    spec = partitioner.spec
    if placement.width > spec.width or placement.height > spec.height:
        raise DoesNotFitError(f"a mesh of {placement.width}x{placement.height} PEs is larger than the machine's {spec.width}x{spec.height}")
    placement.verify()
    blocks = placement.blocks(partitioner)
    sides = {(n, key): side for key, of in (("input", placement.inputs), ("output", placement.outputs))
             for n, side in zip(placement.names, of, strict=True)}  # fmt: skip
    pins = {name: (rect.x, rect.y) for name, rect in zip(placement.names, placement.rects, strict=True)}
    return Problem.of(partitioner, tuple((block,) for block in blocks), (placement.width, placement.height), "both",
                      Constraints(pins=pins, sides=sides))  # fmt: skip


def _new_problem(partitioner: Partitioner, mesh: tuple[int, int] | None, options: PlaceOptions) -> Problem:
    spec, blocks = partitioner.spec, partitioner.partition(options.split)
    constraints = Constraints()
    if options.constraints is not None:
        constraints = read_constraints(options.constraints, tuple(block.name for block in blocks))
    if mesh is None:
        mesh = default_mesh(blocks, spec.width, spec.height) or (spec.width, spec.height)
    if mesh[0] > spec.width or mesh[1] > spec.height:
        raise DoesNotFitError(f"a mesh of {mesh[0]}x{mesh[1]} PEs is larger than the machine's {spec.width}x{spec.height}")
    return make_problem(partitioner, mesh, options.split, options.objective, constraints)
