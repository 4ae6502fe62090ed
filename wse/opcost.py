"""Cost by op: the counters of code rows, summed over the ops that the rows were written for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from wse.compiler.cost import TAKE_IN
from wse.program import Program, Rect, class_rows

COLLECTIVES = ("reduce", "broadcast")
BETWEEN = (TAKE_IN, "pass_on", "next_token", "kept")
"""Ops that are no part of a block's work on a token: the way from block to block, and copies kept for verification."""


def cost_by_op(program: Program, row_busy: np.ndarray, row_elapsed: np.ndarray, num_tokens: int) -> list[dict[str, Any]]:
    """One record per op, in the order of the code: busy and elapsed PE-cycles, the part of the latter in collectives, shares.

    `row_busy`, `row_elapsed`: int64 (num_instructions,), summed over all PEs, of `num_tokens` tokens. Parts of an op (`op/part`)
    count for the op. `elapsed_cycles_per_token` is the mean over the PEs that run the op: about what the op adds to a
    block's time. Shares leave out the op in which a block waits for its turn.
    """
    names, op_of = _ops_of_rows(program)
    inside = np.array([name.rpartition("/")[2] in COLLECTIVES for name in program.op_names])[program.row_ops]
    busy, elapsed, collective = (
        np.bincount(op_of, weights, len(names)).astype(np.int64) for weights in (row_busy, row_elapsed, row_elapsed * inside)
    )
    pes = _pes_by_op(program, op_of, len(names))
    working = [i for i, name in enumerate(names) if name != TAKE_IN]
    total = max(1, int(elapsed[working].sum()))
    return [
        {
            "op": names[i],
            "busy_pe_cycles": int(busy[i]),
            "elapsed_pe_cycles": int(elapsed[i]),
            "collective_pe_cycles": int(collective[i]),
            "elapsed_cycles_per_token": float(elapsed[i] / max(1, pes[i] * num_tokens)),
            "elapsed_frac": float(elapsed[i] / total) if i in working else None,
        }
        for i in range(len(names))
        if elapsed[i] or busy[i]
    ]


def block_op_cycles(program: Program, row_elapsed: np.ndarray, rects: Iterable[Rect], num_tokens: int) -> list[dict[str, float]]:
    """Per rectangle, the cycles per token of each op there: elapsed, the mean over the PEs that run it.

    Code that PEs of several rectangles share was counted together, so each of them has the mean.
    """
    names, op_of = _ops_of_rows(program)
    members = np.bincount(program.core_class, minlength=len(program.classes))
    rows = [class_rows(program.code, cls.task_entry) for cls in program.classes]
    pes_of_row = np.zeros(len(program.code), np.int64)
    for mine, num in zip(rows, members, strict=True):
        pes_of_row[mine] += num
    mean = row_elapsed / (np.maximum(1, pes_of_row) * num_tokens)
    result = []
    for rect in rects:
        inside = program.inside(program.core_pe, rect)
        cycles, pes = np.zeros(len(names)), np.zeros(len(names), np.int64)
        for cls, num in zip(*np.unique(program.core_class[inside], return_counts=True), strict=True):
            mine = op_of[rows[cls]]
            cycles += num * np.bincount(mine, mean[rows[cls]], len(names))
            pes[np.unique(mine)] += num
        result.append({name: float(cycles[i] / pes[i]) for i, name in enumerate(names) if pes[i]})
    return result


def _ops_of_rows(program: Program) -> tuple[list[str], np.ndarray]:
    """Ops without their parts, in the order of the code, and the index of each row's among them, int64 (num_instructions,)."""
    ops = [name.partition("/")[0] for name in program.op_names]
    names = list(dict.fromkeys(ops[tag] for tag in program.row_ops))
    return names, np.array([names.index(op) if op in names else -1 for op in ops])[program.row_ops]


def _pes_by_op(program: Program, op_of: np.ndarray, num_ops: int) -> np.ndarray:
    """PEs whose code has a row of each op."""
    members = np.bincount(program.core_class, minlength=len(program.classes))
    pes = np.zeros(num_ops, np.int64)
    for cls, num in zip(program.classes, members, strict=True):
        pes[np.unique(op_of[class_rows(program.code, cls.task_entry)])] += num
    return pes
