"""The graph of a decode step: names, order, shapes, costs."""

from __future__ import annotations

import dataclasses
import math

import networkx as nx
import pytest
from checkpoints import CONFIG, random_model

from wse.compiler.graph import Graph, OpKind, build_graph
from wse.compiler.model import ModelConfig
from wse.compiler.reference import Reference
from wse.errors import ConfigError

ATTENTION = ["attn_norm", "qkv", "rope", "attention", "attn_out", "attn_residual"]
LAYER = [*ATTENTION, "ffn_norm", "gate_up", "swiglu", "down", "ffn_residual"]


def test_ops_stand_in_the_order_of_execution():
    names = [op.name for op in build_graph(CONFIG).ops]
    layers = [f"L{i}.{name}" for i in range(CONFIG.n_layers) for name in LAYER]
    assert names == ["embed", *layers, "final_norm", "logits", "argmax"]


def test_dump_of_a_small_model():
    assert build_graph(dataclasses.replace(CONFIG, n_layers=1)).dump() == (
        """\
embed = embed(token) tok_embeddings[300x24] -> [24]
L0.attn_norm = rmsnorm(embed) layers.0.attn_norm[24] -> [24]
L0.qkv = gemv(L0.attn_norm) layers.0.wq[24x24] layers.0.wk[12x24] layers.0.wv[12x24] -> [48]
L0.rope = rope(L0.qkv) -> [48]
L0.attention = attention(L0.rope) -> [24]
L0.attn_out = gemv(L0.attention) layers.0.wo[24x24] -> [24]
L0.attn_residual = residual(embed, L0.attn_out) -> [24]
L0.ffn_norm = rmsnorm(L0.attn_residual) layers.0.ffn_norm[24] -> [24]
L0.gate_up = gemv(L0.ffn_norm) layers.0.w_gate[40x24] layers.0.w_up[40x24] -> [80]
L0.swiglu = swiglu(L0.gate_up) -> [40]
L0.down = gemv(L0.swiglu) layers.0.w_down[24x40] -> [24]
L0.ffn_residual = residual(L0.attn_residual, L0.down) -> [24]
final_norm = rmsnorm(L0.ffn_residual) final_norm[24] -> [24]
logits = gemv(final_norm) output[300x24] -> [300]
argmax = argmax(logits) -> []
"""
    )


def test_shapes_are_those_the_reference_makes():
    model = random_model(dataclasses.replace(CONFIG, head_size=10))
    outputs = Reference(model).step(3)
    graph = build_graph(model.config)
    assert list(outputs) == [op.name for op in graph.ops]
    assert {name: array.shape for name, array in outputs.items()} == {op.name: op.shape for op in graph.ops}


def test_costs_add_up_to_those_of_the_model():
    graph = build_graph(CONFIG)
    shapes = CONFIG.weight_shapes()
    matrices = sum(math.prod(shape) for name, shape in shapes.items() if len(shape) == 2 and name != "tok_embeddings")
    assert sum(op.macs() for op in graph.ops if op.kind is OpKind.GEMV) == matrices
    assert sum(op.num_weights() for op in graph.ops) == sum(map(math.prod, shapes.values()))
    f16, f32 = (sum(op.weight_bytes(dtype) for op in graph.ops) for dtype in ("f16", "f32"))
    assert f32 - f16 == 2 * (matrices + math.prod(shapes["tok_embeddings"]))

    attention = graph.op("L1.attention")
    assert attention.macs(position=9) == 2 * 10 * CONFIG.q_dim  # ten keys, ten values
    assert attention.flops(9) == 2 * attention.macs(9) + 5 * 10 * CONFIG.n_heads + CONFIG.q_dim
    assert attention.cache_bytes(CONFIG.seq_len, "f32") == 2 * 16 * 12 * 4
    assert graph.op("embed").flops() == graph.op("L0.qkv").cache_bytes(16) == 0


def test_lookups():
    graph = build_graph(CONFIG)
    assert graph.inputs("L1.attn_residual") == ("L0.ffn_residual", "L1.attn_out")
    assert [op.name for op in graph.layer(1)] == [f"L1.{name}" for name in LAYER]
    with pytest.raises(ConfigError, match=r"L0\.qvk") as caught:
        graph.op("L0.qvk")
    assert "L0.qkv" in caught.value.help


@pytest.mark.parametrize("damage", ["order", "edge shape", "operand", "weight", "node"])
def test_verify_finds_damage(damage):
    graph = build_graph(CONFIG)
    ops, digraph = list(graph.ops), nx.DiGraph(graph.digraph)
    if damage == "order":
        ops[2], ops[3] = ops[3], ops[2]
    elif damage == "edge shape":
        digraph.edges["embed", "L0.attn_norm"]["shape"] = (7,)
    elif damage == "operand":
        digraph.remove_edge("embed", "L0.attn_residual")
    elif damage == "weight":
        ops[-3] = dataclasses.replace(ops[-3], weights=())
    else:
        ops.pop()
    with pytest.raises(ConfigError, match="graph"):
        Graph(CONFIG, tuple(ops), digraph).verify()


def test_a_full_size_model_is_cheap_to_build():
    config = ModelConfig(8192, 28672, 80, 64, 8, 128, 128256, 8192)
    assert len(build_graph(config).ops) == 80 * len(LAYER) + 4
