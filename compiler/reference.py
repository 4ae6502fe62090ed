"""What the model computes, in plain NumPy: the yardstick for every op that runs on the wafer.

Float32 throughout, weights as the model holds them. A step keeps the output of every op of the graph by name, so
that a disagreement can be traced to the first op that differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np

from wse.compiler.graph import Op, OpKind, build_graph
from wse.compiler.model import Model
from wse.compiler.rope import rope_rotation, rotate_pairs
from wse.compiler.sampling import greedy
from wse.errors import ConfigError, DoesNotFitError


class Reference:
    """A model, its key-value cache, and the position of the next token."""

    def __init__(self, model: Model, *, context: int | None = None):
        """`context` positions (the model's seq_len when None) is the most that fits before `reset`."""
        self.model = model
        self.graph = build_graph(model.config)
        self.context = model.config.seq_len if context is None else context
        self.position = 0
        c = model.config
        self.keys = np.zeros((c.n_layers, self.context, c.n_kv_heads, c.head_size), np.float32)
        self.values = np.zeros_like(self.keys)
        self._weights: dict[int, np.ndarray] = {}  # float32 copies of what is stored as float16, made at first use
        self._inputs = {op.name: self.graph.inputs(op.name) for op in self.graph.ops}

    def reset(self) -> None:
        """Forget every token."""
        self.position = 0

    def step(self, token: int) -> dict[str, np.ndarray]:
        """Feed one token; every op's output by name, float32 except `argmax`, an int64 scalar.

        Raises ConfigError for a token outside the vocabulary, DoesNotFitError when the context is full.
        """
        if not 0 <= token < self.model.config.vocab_size:
            raise ConfigError(f"token {token} is outside the vocabulary of {self.model.config.vocab_size}")
        if self.position >= self.context:
            raise DoesNotFitError(
                f"the context of {self.context} positions is full",
                help="ask for fewer tokens or a longer context",
            )
        outputs: dict[str, np.ndarray] = {}
        for op in self.graph.ops:
            inputs = [outputs[name] for name in self._inputs[op.name]]
            outputs[op.name] = self._run(op, inputs, token)
        self.position += 1
        return outputs

    def generate(
        self,
        prompt_ids: Sequence[int],
        n: int,
        *,
        choose: Callable[[np.ndarray], int] = greedy,
        stop_ids: Collection[int] = (),
    ) -> list[int]:
        """Feed a prompt and then up to `n` tokens chosen from the logits; the chosen ones, a stop id included.

        The last one chosen is not fed back: `position` advances by len(prompt_ids) + n - 1.
        """
        if not prompt_ids:
            raise ConfigError("the prompt is empty: there is no token to start from")
        for token in prompt_ids:
            logits = self.step(token)["logits"]
        chosen: list[int] = []
        while len(chosen) < n:
            if chosen:
                logits = self.step(chosen[-1])["logits"]
            chosen.append(choose(logits))
            if chosen[-1] in stop_ids:
                break
        return chosen

    def _run(self, op: Op, inputs: list[np.ndarray], token: int) -> np.ndarray:
        weights = [name for name, _ in op.weights]
        match op.kind:
            case OpKind.EMBED:
                return self.model.weights[weights[0]][token].astype(np.float32)
            case OpKind.RMSNORM:
                (x,) = inputs
                return rmsnorm(x, self._weight(weights[0]), self.model.config.norm_eps)
            case OpKind.GEMV:
                (x,) = inputs
                return np.concatenate([self._weight(name) @ x for name in weights])
            case OpKind.ROPE:
                return self._rope(inputs[0])
            case OpKind.ATTENTION:
                assert op.layer is not None
                return self._attention(op.layer, inputs[0])
            case OpKind.RESIDUAL:
                x, y = inputs
                return x + y
            case OpKind.SWIGLU:
                gate, up = np.split(inputs[0], 2)
                return silu(gate) * up
            case OpKind.ARGMAX:
                return np.asarray(greedy(inputs[0]))

    def _weight(self, name: str) -> np.ndarray:
        stored = self.model.weights[name]
        if stored.dtype == np.float32:
            return stored
        if id(stored) not in self._weights:
            self._weights[id(stored)] = stored.astype(np.float32)
        return self._weights[id(stored)]

    def _rope(self, qkv: np.ndarray) -> np.ndarray:  # (q_dim + 2 kv_dim,) -> same
        c = self.model.config
        cos, sin = rope_rotation(self.model.rope_freqs, self.position)
        rotating = qkv[: c.q_dim + c.kv_dim].reshape(-1, c.head_size)
        return np.concatenate([rotate_pairs(rotating, cos, sin).ravel(), qkv[c.q_dim + c.kv_dim :]])

    def _attention(self, layer: int, qkv: np.ndarray) -> np.ndarray:  # (q_dim + 2 kv_dim,) -> (q_dim,)
        c = self.model.config
        q, k, v = np.split(qkv, [c.q_dim, c.q_dim + c.kv_dim])
        self.keys[layer, self.position] = k.reshape(c.n_kv_heads, c.head_size)
        self.values[layer, self.position] = v.reshape(c.n_kv_heads, c.head_size)
        keys = self.keys[layer, : self.position + 1].transpose(1, 2, 0)  # (n_kv_heads, head_size, positions)
        values = self.values[layer, : self.position + 1].transpose(1, 0, 2)  # (n_kv_heads, positions, head_size)
        grouped = q.reshape(c.n_kv_heads, c.n_heads // c.n_kv_heads, c.head_size)
        scores = (grouped @ keys) * np.float32(1.0 / math.sqrt(c.head_size))
        return (softmax(scores) @ values).ravel()


def rmsnorm(x: np.ndarray, w: np.ndarray, eps: float) -> np.ndarray:
    """x * (1 / sqrt(mean(x^2) + eps)) * w, all float32 (dim,)."""
    mean = np.mean(x * x, dtype=np.float32)
    return x * (np.float32(1.0) / np.sqrt(mean + np.float32(eps))) * w


def softmax(x: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, the maximum subtracted first."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x)); a hugely negative x gives -0, as the overflowing exp should."""
    with np.errstate(over="ignore"):
        return x / (np.float32(1.0) + np.exp(-x))
