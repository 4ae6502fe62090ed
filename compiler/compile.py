"""Compile: all stages in a row, from a model's name to a program, with every intermediate value kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wse.compiler.graph import Graph, build_graph
from wse.compiler.load import load_model
from wse.compiler.lower import fitting_copies, lower
from wse.compiler.model import Model, quantize_storage
from wse.compiler.partition import Block, partition
from wse.compiler.place import Placement, place, read_placement
from wse.compiler.route import Net, route
from wse.errors import ConfigError
from wse.program import Program
from wse.spec import MachineSpec

DEFAULT_CONTEXT = 256
"""Positions to keep room for when nothing is said, or the model's own if those are fewer."""


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


def compile_model(
    name: str,
    spec: MachineSpec,
    *,
    dtype: str = "f16",
    context: int | None = None,
    mesh: tuple[int, int] | None = None,
    placement_file: Path | None = None,
    head: str = "greedy",
    keep_outputs: bool = False,
    on_stage: Callable[[float, str], None] = lambda done, what: None,
) -> Compiled:
    """Run every stage. `context` defaults to the model's own, at most `DEFAULT_CONTEXT`; `head` is "greedy" or "logits".

    `keep_outputs`: for verification, keep copies of outputs whose buffers are reused within a token, where SRAM allows.
    `on_stage(done, what)` is told the fraction done, by the usual shares of time, and what comes next.

    Raises the `WseError` of the stage that refuses.
    """
    on_stage(0.0, "reading the model")
    model = quantize_storage(load_model(name), dtype)
    seq_len = model.config.seq_len
    context = min(seq_len, DEFAULT_CONTEXT) if context is None else context
    if not 1 <= context <= seq_len:
        raise ConfigError(f"context {context} is outside 1..{seq_len}, the positions '{model.name}' was made for")
    on_stage(0.5, "partition, place, route")
    if mesh is not None:
        _check_mesh(*mesh, spec, "--mesh")
    blocks = partition(model.config, spec, dtype, context)
    if placement_file is not None:
        placement = read_placement(placement_file)
        _check_mesh(placement.width, placement.height, spec, str(placement_file))
    else:
        placement = place(blocks, spec, mesh)
    placement.verify(blocks)
    nets = route(placement, spec.num_colors)
    on_stage(0.6, "lowering to a program")
    kept = fitting_copies(model.config, spec, blocks[0]) if keep_outputs else ()
    program = lower(model, spec, blocks, placement, nets, dtype, context, head, kept)
    return Compiled(spec, model, build_graph(model.config), blocks, placement, nets, program, dtype, context, head, kept)


def _check_mesh(width: int, height: int, spec: MachineSpec, where: str) -> None:
    if width > spec.width or height > spec.height:
        raise ConfigError(f"{where}: a mesh of {width}x{height} PEs is more than {spec.name} has, {spec.width}x{spec.height}")
