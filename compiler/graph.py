"""The graph of one decode step: what a transformer computes for a token, before any thought of where.

Nodes are ops in the order they can run, edges are the tensors between them. Shapes are those of a single token;
the only state is the key-value cache inside each `attention`. `reference` runs this graph, later stages place it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import networkx as nx

from wse.compiler.model import STORAGE_DTYPES, ModelConfig
from wse.errors import ConfigError, nearest

Shape = tuple[int, ...]


class OpKind(StrEnum):
    """What an op does; x and y are its inputs, w its weights."""

    EMBED = "embed"  # row of w for the token
    RMSNORM = "rmsnorm"  # x / sqrt(mean(x^2) + eps) * w
    GEMV = "gemv"  # concat(w @ x for every w)
    ROPE = "rope"  # rotate the q and k parts of q|k|v by the position, pass v on
    ATTENTION = "attention"  # append k, v to the cache; softmax(q . k / sqrt(head_size)) over it, times v
    RESIDUAL = "residual"  # x + y
    SWIGLU = "swiglu"  # silu(gate) * up of gate|up
    ARGMAX = "argmax"  # lowest index of the largest logit


@dataclass(frozen=True)
class Op:
    """One operation on one token. Costs count a multiply-accumulate as two flops, any other operation as one."""

    name: str
    kind: OpKind
    layer: int | None  # None before the first and after the last layer
    shape: Shape  # of the output
    weights: tuple[tuple[str, Shape], ...]  # canonical name, shape
    config: ModelConfig

    def macs(self, position: int = 0) -> int:
        """Multiply-accumulates for the token at `position` (only attention depends on it)."""
        if self.kind is OpKind.GEMV:
            return sum(math.prod(shape) for _, shape in self.weights)
        if self.kind is OpKind.ATTENTION:
            return 2 * (position + 1) * self.config.q_dim  # scores, then weighted values
        return 0

    def flops(self, position: int = 0) -> int:
        """All arithmetic for the token at `position`; exp, sqrt, division and comparison count one each."""
        size = math.prod(self.shape)
        other = {
            OpKind.EMBED: 0,
            OpKind.RMSNORM: 4 * size + 3,  # square, add, scale, times w; mean, eps, 1/sqrt
            OpKind.GEMV: 0,
            OpKind.ROPE: 3 * (self.config.q_dim + self.config.kv_dim),  # a pair: 4 products, 2 sums
            OpKind.ATTENTION: 5 * (position + 1) * self.config.n_heads,  # scale, max, subtract, exp, sum; see below
            OpKind.RESIDUAL: size,
            OpKind.SWIGLU: 5 * size,  # negate, exp, add, divide, times up
            OpKind.ARGMAX: self.config.vocab_size - 1,
        }[self.kind]
        if self.kind is OpKind.ATTENTION:
            other += size  # the values are divided by the sum once, at the end
        return 2 * self.macs(position) + other

    def num_weights(self) -> int:
        """Stored numbers this op needs; the embedding is counted in full."""
        return sum(math.prod(shape) for _, shape in self.weights)

    def weight_bytes(self, dtype: str) -> int:
        """Bytes of weights when matrices are stored as `dtype` ('f16' or 'f32') and norm vectors as float32."""
        itemsize = STORAGE_DTYPES[dtype].itemsize
        return sum(math.prod(shape) * (itemsize if len(shape) == 2 else 4) for _, shape in self.weights)

    def cache_bytes(self, context: int, dtype: str = "f32") -> int:
        """Bytes of keys and values for `context` positions; 0 for all but attention."""
        if self.kind is not OpKind.ATTENTION:
            return 0
        return 2 * context * self.config.kv_dim * STORAGE_DTYPES[dtype].itemsize


@dataclass(frozen=True)
class Graph:
    """Ops in topological order, and the tensors between them."""

    config: ModelConfig
    ops: tuple[Op, ...]
    digraph: nx.DiGraph  # node: op name; edge: shape=Shape, operand=int (0 for the first input)

    def op(self, name: str) -> Op:
        """The op called `name`; ConfigError, with the nearest name, when there is none."""
        if name not in self.digraph:
            raise ConfigError(f"no op '{name}' in the graph", help=nearest(name, self.digraph))
        return self.digraph.nodes[name]["op"]

    def inputs(self, name: str) -> tuple[str, ...]:
        """Names of the ops whose outputs `name` takes, in operand order."""
        edges = self.digraph.in_edges(name, data="operand")
        return tuple(source for source, _, _ in sorted(edges, key=lambda edge: edge[2]))

    def layer(self, index: int) -> tuple[Op, ...]:
        """The ops of one layer, in order."""
        return tuple(op for op in self.ops if op.layer == index)

    def verify(self) -> None:
        """Raise ConfigError when order, shapes or weights are inconsistent with the config."""
        place = {op.name: i for i, op in enumerate(self.ops)}
        if len(place) != len(self.ops) or set(place) != set(self.digraph):
            raise ConfigError("graph: op names are not unique, or differ from the graph's nodes")
        for source, sink, shape in self.digraph.edges(data="shape"):
            if place[source] >= place[sink]:
                raise ConfigError(f"graph: {sink} takes {source}, which comes later")
            if shape != self.op(source).shape:
                raise ConfigError(f"graph: {source} -> {sink} carries {shape}, but {source} makes {self.op(source).shape}")
        for op in self.ops:
            taken = [self.op(source).shape for source in self.inputs(op.name)]
            if taken != _input_shapes(op):
                raise ConfigError(f"graph: {op.name} takes {taken}, expected {_input_shapes(op)}")
        used = [weight for op in self.ops for weight in op.weights]
        if len(dict(used)) != len(used) or dict(used) != self.config.weight_shapes():
            raise ConfigError("graph: the ops do not use every weight of the model exactly once")

    def dump(self) -> str:
        """Stable text, one op per line."""
        lines = []
        for op in self.ops:
            inputs = ", ".join(self.inputs(op.name)) or "token"
            weights = "".join(f" {name}[{'x'.join(map(str, shape))}]" for name, shape in op.weights)
            lines.append(f"{op.name} = {op.kind}({inputs}){weights} -> [{'x'.join(map(str, op.shape))}]")
        return "\n".join(lines) + "\n"


def build_graph(config: ModelConfig) -> Graph:
    """The verified graph of one decode step of a model of this shape."""
    config.verify()
    c = config
    shapes = config.weight_shapes()
    digraph = nx.DiGraph()
    ops: list[Op] = []

    def add(name: str, kind: OpKind, width: int, inputs: list[str], weights: list[str], layer: int | None = None) -> str:
        prefix = "" if layer is None else f"layers.{layer}."
        named = tuple((prefix + weight, shapes[prefix + weight]) for weight in weights)
        op = Op(name, kind, layer, () if kind is OpKind.ARGMAX else (width,), named, config)
        ops.append(op)
        digraph.add_node(name, op=op)
        for operand, source in enumerate(inputs):
            digraph.add_edge(source, name, shape=digraph.nodes[source]["op"].shape, operand=operand)
        return name

    x = add("embed", OpKind.EMBED, c.dim, [], ["tok_embeddings"])
    for i in range(c.n_layers):
        norm = add(f"L{i}.attn_norm", OpKind.RMSNORM, c.dim, [x], ["attn_norm"], i)
        qkv = add(f"L{i}.qkv", OpKind.GEMV, c.q_dim + 2 * c.kv_dim, [norm], ["wq", "wk", "wv"], i)
        rope = add(f"L{i}.rope", OpKind.ROPE, c.q_dim + 2 * c.kv_dim, [qkv], [], i)
        attention = add(f"L{i}.attention", OpKind.ATTENTION, c.q_dim, [rope], [], i)
        out = add(f"L{i}.attn_out", OpKind.GEMV, c.dim, [attention], ["wo"], i)
        x = add(f"L{i}.attn_residual", OpKind.RESIDUAL, c.dim, [x, out], [], i)
        norm = add(f"L{i}.ffn_norm", OpKind.RMSNORM, c.dim, [x], ["ffn_norm"], i)
        gate_up = add(f"L{i}.gate_up", OpKind.GEMV, 2 * c.hidden_dim, [norm], ["w_gate", "w_up"], i)
        swiglu = add(f"L{i}.swiglu", OpKind.SWIGLU, c.hidden_dim, [gate_up], [], i)
        down = add(f"L{i}.down", OpKind.GEMV, c.dim, [swiglu], ["w_down"], i)
        x = add(f"L{i}.ffn_residual", OpKind.RESIDUAL, c.dim, [x, down], [], i)
    norm = add("final_norm", OpKind.RMSNORM, c.dim, [x], ["final_norm"])
    logits = add("logits", OpKind.GEMV, c.vocab_size, [norm], ["output"])
    add("argmax", OpKind.ARGMAX, 1, [logits], [])

    graph = Graph(config, tuple(ops), digraph)
    graph.verify()
    return graph


def _input_shapes(op: Op) -> list[Shape]:
    """What an op of this kind and output shape must be given, and in how many operands."""
    c = op.config
    if op.kind is OpKind.EMBED:
        return []
    if op.kind is OpKind.GEMV:
        return [(columns,) for columns in {shape[1] for _, shape in op.weights}]
    if op.kind is OpKind.ATTENTION:
        return [(c.q_dim + 2 * c.kv_dim,)]
    if op.kind is OpKind.SWIGLU:
        return [(2 * op.shape[0],)]
    if op.kind is OpKind.ARGMAX:
        return [(c.vocab_size,)]
    return [op.shape] * (2 if op.kind is OpKind.RESIDUAL else 1)
