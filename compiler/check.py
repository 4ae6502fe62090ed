"""Check: every op's output on the wafer against the NumPy reference, read out of SRAM after each token.

A PE reuses some buffers within a token, so the ops compared are those whose output is still there
when the token is done: the others show in the ones that follow them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wse.compiler.compile import Compiled
from wse.compiler.cost import Part
from wse.compiler.lower import head_columns, logits_row, segments
from wse.compiler.reference import Reference
from wse.machine import Machine

TOLERANCE = 1e-4
"""Largest accepted max |wafer - reference| / max |reference| per op: f32 sums in another order."""


@dataclass(frozen=True)
class OpCheck:
    """One op's output compared: `error` is relative to the largest value; `pe` holds the worst element."""

    op: str
    error: float
    element: int
    pe: tuple[int, int]
    wafer: float
    reference: float


def check_ops(compiled: Compiled, machine: Machine, expected: dict[str, np.ndarray]) -> list[OpCheck]:
    """Compare what the machine's SRAM holds after a token with the reference's outputs for it, in graph order."""
    checks = []
    for i, block in enumerate(compiled.blocks):
        rect = compiled.placement.rects[i]
        for op, array, index, along_y in _outputs(compiled, i):
            values = np.zeros(expected[op].size, np.float32)
            pes = [(0, 0)] * values.size
            for j, part in enumerate(index):
                root = logits_row(compiled.spec, compiled.model.config, block) if op == "logits" else 0
                pe = (rect.x, rect.y + j) if along_y else (rect.x + j, rect.y + root)
                held = machine.read(*pe, array).reshape(-1)
                where = part[part >= 0]
                values[where] = held[: len(part)][part >= 0]
                for element in where:
                    pes[element] = pe
            checks.append(_compare(op, values, expected[op].reshape(-1), pes))
    return checks


def _compare(op: str, values: np.ndarray, expected: np.ndarray, pes: list[tuple[int, int]]) -> OpCheck:
    difference = np.abs(values - expected)
    worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
    error = float(difference[worst] / max(float(np.abs(expected).max()), 1e-30))
    return OpCheck(op, error, worst, pes[worst], float(values[worst]), float(expected[worst]))


def _outputs(compiled: Compiled, i: int) -> list[tuple[str, str, list[np.ndarray], bool]]:
    """(op, array, element indices per row or column, whether it lies along y) of block i."""
    config, block = compiled.model.config, compiled.blocks[i]
    rows = segments(config.dim, block.height)
    if block.part is Part.FINAL:
        return [("final_norm", "normed", rows, True), ("logits", "logits", segments(config.vocab_size, block.width), False)]
    outputs: list[tuple[str, str, list[np.ndarray], bool]] = []
    if block.part is not Part.FEED_FORWARD:
        q_of, k_of = head_columns(config.n_kv_heads, config.n_heads // config.n_kv_heads, config.head_size, block.slices)
        qkv = [np.concatenate([q, config.q_dim + k, config.q_dim + config.kv_dim + k]) for q, k in zip(q_of, k_of, strict=True)]
        outputs += [("rope", "qkv", qkv, False), ("attention", "attended", q_of, False)]
    if block.part is Part.ATTENTION:
        outputs += [("attn_out", "delta", rows, True), ("attn_residual", "x", rows, True)]
    else:
        hidden = segments(config.hidden_dim, block.width)
        size = len(hidden[0])
        both = []
        for segment in hidden:
            padded = np.pad(segment, (0, size - len(segment)), constant_values=-1)
            both.append(np.concatenate([padded, np.where(padded < 0, -1, padded + config.hidden_dim)]))
        outputs += [("ffn_norm", "normed", rows, True), ("gate_up", "gate_up", both, False), ("swiglu", "act", hidden, False)]
        outputs += [("down", "delta", rows, True), ("ffn_residual", "x", rows, True)]
    return [(f"L{block.layer}.{op}", array, index, along_y) for op, array, index, along_y in outputs]


def new_reference(compiled: Compiled) -> Reference:
    """The NumPy reference for the same stored weights and context."""
    return Reference(compiled.model, context=compiled.context)
