"""Check: every op's output on the wafer against the NumPy reference, read out of SRAM after each token.

A PE reuses some buffers within a token. Those outputs are compared when the model was compiled to keep copies of them
(`compile_model(keep_outputs=True)`); otherwise they show in the ops that follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wse.compiler.compile import Compiled
from wse.compiler.cost import Part
from wse.compiler.lower import REUSED, WEIGHT_ARRAYS, head_columns, kept_array, logits_row, segments
from wse.compiler.reference import Reference
from wse.machine import Machine

TOLERANCE = 1e-4
"""Largest accepted max |wafer - reference| / max |reference| per op: f32 sums in another order."""


@dataclass(frozen=True)
class Output:
    """One op's output as the wafer holds it: every copy that rows or columns have of it."""

    op: str
    block: str
    values: np.ndarray  # float32 (num_copies, size)
    pes: np.ndarray  # int64 (num_copies, size, 2), x and y of the PE that holds an element


@dataclass(frozen=True)
class OpCheck:
    """One op's output compared: `error` is relative to the largest value; `pe` holds the worst element."""

    op: str
    block: str
    error: float
    element: int
    pe: tuple[int, int]
    wafer: float
    reference: float


def compare(output: Output, expected: np.ndarray) -> OpCheck:
    """An output, all its copies, against the reference's."""
    expected = expected.reshape(-1)
    difference = np.abs(output.values - expected)
    copy, worst = np.unravel_index(int(np.argmax(np.where(np.isnan(difference), np.inf, difference))), difference.shape)
    error = float(difference[copy, worst] / max(float(np.abs(expected).max()), 1e-30))
    x, y = (int(n) for n in output.pes[copy, worst])
    return OpCheck(output.op, output.block, error, int(worst), (x, y), float(output.values[copy, worst]), float(expected[worst]))


def read_outputs(compiled: Compiled, machine: Machine) -> Iterator[Output]:
    """The outputs that SRAM still holds after a token, in graph order."""
    for i, block in enumerate(compiled.blocks):
        rect, frame = compiled.placement.rects[i], compiled.placement.frames[i]
        for op, array, index, along_y in _arrays(compiled, i):
            copies = range(rect.width if along_y else rect.height)
            if op == "logits":
                row = logits_row(compiled.spec, compiled.model.config, block)
                copies = range(row, row + 1)
            shape = (len(copies), compiled.graph.op(op).shape[0])
            values, pes = np.zeros(shape, np.float32), np.zeros((*shape, 2), np.int64)
            for c, copy in enumerate(copies):
                for j, part in enumerate(index):
                    pe = frame.physical(*((rect.x + copy, rect.y + j) if along_y else (rect.x + j, rect.y + copy)))
                    there = part >= 0
                    values[c, part[there]] = machine.read(*pe, array).reshape(-1)[: len(part)][there]
                    pes[c, part[there]] = pe
            yield Output(op, block.name, values, pes)


def not_compared(compiled: Compiled) -> tuple[str, ...]:
    """Ops of a layer that were reused without a copy, because SRAM had no room for one."""
    return tuple(op for op in REUSED if op not in compiled.kept)


def changed_weights(compiled: Compiled, machine: Machine, block_name: str) -> list[tuple[str, str, tuple[int, int], int]]:
    """(op, array, PE, number of elements) of weights in a block's SRAM that are no longer as they were loaded."""
    i = next(i for i, block in enumerate(compiled.blocks) if block.name == block_name)
    frame, loaded, changed = compiled.placement.frames[i], Machine(compiled.program), []
    prefix = "" if compiled.blocks[i].layer is None else f"L{compiled.blocks[i].layer}."
    mine = {op.name for op in compiled.blocks[i].ops(compiled.graph)}
    for op, array in WEIGHT_ARRAYS.items():
        if prefix + op not in mine:
            continue
        for y in frame.rows:
            for x in frame.columns:
                num = int(np.sum(machine.read(x, y, array) != loaded.read(x, y, array)))
                if num:
                    changed.append((prefix + op, array, (x, y), num))
    return changed


def _arrays(compiled: Compiled, i: int) -> list[tuple[str, str, list[np.ndarray], bool]]:
    """(op, array, element indices per row or column, whether it lies along y) of block i, in graph order."""
    config, block = compiled.model.config, compiled.blocks[i]
    rows = segments(config.dim, block.height)
    if block.part is Part.FINAL:
        return [("final_norm", "normed", rows, True), ("logits", "logits", segments(config.vocab_size, block.width), False)]
    q_of, k_of = head_columns(config.n_kv_heads, config.n_heads // config.n_kv_heads, config.head_size, block.slices)
    qkv = [
        np.concatenate([q, config.q_dim + k, config.q_dim + config.kv_dim + k]) for q, k in zip(q_of, k_of, strict=True)
    ]
    hidden = segments(config.hidden_dim, block.width)
    size = len(hidden[0])
    both = []
    for segment in hidden:
        padded = np.pad(segment, (0, size - len(segment)), constant_values=-1)
        both.append(np.concatenate([padded, np.where(padded < 0, -1, padded + config.hidden_dim)]))
    held = {
        "attn_norm": (kept_array("attn_norm"), rows, True),
        "qkv": (kept_array("qkv"), qkv, False),
        "rope": ("qkv", qkv, False),
        "attention": ("attended", q_of, False),
        "attn_out": (kept_array("attn_out"), rows, True),
        "attn_residual": (kept_array("attn_residual"), rows, True),
        "ffn_norm": ("normed", rows, True),
        "gate_up": ("gate_up", both, False),
        "swiglu": ("act", hidden, False),
        "down": ("delta", rows, True),
        "ffn_residual": ("x", rows, True),
    }
    mine, left_out = {op.name for op in block.ops(compiled.graph)}, not_compared(compiled)
    return [(f"L{block.layer}.{op}", *where) for op, where in held.items() if f"L{block.layer}.{op}" in mine and op not in left_out]


def new_reference(compiled: Compiled) -> Reference:
    """The NumPy reference for the same stored weights and context."""
    return Reference(compiled.model, context=compiled.context)
