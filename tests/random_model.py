"""A model with random weights, and its partition on a machine: what tests of the compiler put on a mesh."""

from __future__ import annotations

import numpy as np

from wse.compiler.compile import Compiled
from wse.compiler.graph import build_graph
from wse.compiler.lower import lower
from wse.compiler.model import Model, ModelConfig
from wse.compiler.partition import Partitioner
from wse.compiler.place import Placement
from wse.compiler.route import route
from wse.spec import MachineSpec, load_spec

SPEC = load_spec("wse2")


def random_model(dim=24, hidden=40, layers=2, heads=3, kv=3, head_size=8, vocab=37, seq_len=32, seed=1) -> Model:
    """Weights are normal, times 0.3."""
    config = ModelConfig(dim, hidden, layers, heads, kv, head_size, vocab, seq_len)
    rng = np.random.default_rng(seed)
    weights = {name: rng.standard_normal(s).astype(np.float32) * 0.3 for name, s in config.weight_shapes().items()}
    return Model.build("random", config, weights)


def partitioner(model: Model, spec: MachineSpec = SPEC, context: int = 16) -> Partitioner:
    return Partitioner(model.config, spec, "f32", context)


def compile_placed(model: Model, placement: Placement, head: str = "greedy", spec: MachineSpec = SPEC, context: int = 16) -> Compiled:
    """The stages after placing."""
    placement.verify()
    blocks = placement.blocks(partitioner(model, spec, context))
    nets = route(placement, model.config.dim, spec.num_colors)
    program = lower(model, spec, blocks, placement, nets, "f32", context, head)
    return Compiled(spec, model, build_graph(model.config), blocks, placement, nets, program, "f32", context, head, ())
