"""The operators of a decode step on the PEs of one rectangle, in the two vector layouts of the design (section 4).

In y-layout PE row r holds segment r and all columns have a copy; in x-layout column c holds segment
c and all rows have a copy. Every function appends code for all PEs of the rectangle of `lines`.

Contracts: each `*_reference` in f64, to within the relative error said there; each `*_cycles` exact on PEs that start
together, from the rules alone. GEMV and RMSNorm have files of their own.
"""

from __future__ import annotations

import numpy as np

from wse.builder import Pes, ProgramBuilder
from wse.isa import Op, Type
from wse.kernels.allreduce import allreduce, allreduce_cycles
from wse.kernels.cost import mapped_cycles, vector_cycles
from wse.kernels.line import Line
from wse.kernels.reduce import Algorithm
from wse.operands import Reg, View
from wse.spec import MachineSpec


def rope(pe: Pes, heads: View, freqs: View, scratch: View, pos: Reg) -> None:
    """Rotate adjacent pairs of every head in place by pos * freq. heads (n, s), freqs (s / 2,), scratch (3 + 2 n, s / 2)."""
    n = heads.shape[0]
    angle, sin, cos = scratch[0], scratch[1], scratch[2]
    even, odd = heads[:, 0::2], heads[:, 1::2]
    a, b = scratch[3 : 3 + n], scratch[3 + n : 3 + 2 * n]
    position = pe.program.reg()
    pe.itof(position, pos)
    pe.mul(angle, freqs, position)
    pe.program.release(position)
    pe.sin(sin, angle)
    pe.cos(cos, angle)
    pe.mul(a, even, sin[None, :])
    pe.mul(b, odd, sin[None, :])
    pe.mul(even, even, cos[None, :])
    pe.sub(even, even, b)
    pe.mul(odd, odd, cos[None, :])
    pe.add(odd, odd, a)


def rope_cycles(spec: MachineSpec, n: int, s: int) -> int:
    """Predicted cycles of `rope` on n heads of s elements."""
    once = vector_cycles(spec, Op.ITOF, 1) + vector_cycles(spec, Op.MUL, s // 2) + 2 * vector_cycles(spec, Op.SIN, s // 2)
    return once + 4 * vector_cycles(spec, Op.MUL, n, s // 2) + 2 * vector_cycles(spec, Op.ADD, n, s // 2)


def rope_reference(heads: np.ndarray, freqs: np.ndarray, pos: int) -> np.ndarray:
    """heads (n, s) rotated. Error 4 x 2^-24 of the pair's length, and pos x freq x 2^-24 radians: the angle is rounded to f32."""
    angle = pos * freqs.astype(np.float64)
    even, odd = heads[:, 0::2].astype(np.float64), heads[:, 1::2].astype(np.float64)
    rotated = (even * np.cos(angle) - odd * np.sin(angle), even * np.sin(angle) + odd * np.cos(angle))
    return np.stack(rotated, axis=-1).reshape(heads.shape)


def append_cache(pe: Pes, keys: View, values: View, k: View, v: View, row: Reg, pos: Reg, num_rows: int, num: Reg) -> None:
    """On the row that is pos mod num_rows, store k as column `num` of keys (s, slots), v as row `num` of values (slots, s)."""
    program = pe.program
    here, offset = program.reg(Type.I32), program.reg(Type.I32)
    skip = program.label("not this row")
    pe.mod(here, pos, num_rows)
    pe.branch(Op.BNE, here, row, skip)
    pe.mov(keys[:, 0].shifted(num), k)
    pe.mul(offset, num, values.shape[1])
    pe.mov(values[0].shifted(offset), v)
    pe.add(num, num, 1)
    pe.place(skip)
    program.release(here, offset)


def append_cache_cycles(spec: MachineSpec, s: int, here: bool) -> int:
    """Predicted cycles of `append_cache` of s elements of k and of v, on the row that stores them or another."""
    find = vector_cycles(spec, Op.MOD, 1)
    if not here:
        return find + spec.branch_taken_cycles
    store = 2 * vector_cycles(spec, Op.MOV, s) + vector_cycles(spec, Op.MUL, 1) + vector_cycles(spec, Op.ADD, 1)
    return find + spec.branch_not_taken_cycles + store


def attend(
    program: ProgramBuilder, y_line: Line, head_lines: list[Line], q: View, keys: View, values: View,
    scores: View, top: View, out: View, num: Reg, scale: float, along_y: Algorithm | None = None, along_heads: Algorithm | None = None,
) -> None:  # fmt: skip
    """Attention of the query heads q (n, s) over the positions this row holds, combined over rows.

    keys (s, slots), values (slots, s), scores (n, slots), top (n,); out (n * s + n,): weighted values, then sums. Where heads span
    columns, scores are first summed along `head_lines`. Softmax subtracts the maximum over all rows.
    """
    pe = program.pes(y_line.rect)
    n, s = q.shape
    weighted, sums = out[: n * s].reshape(n, s), out[n * s :]
    live = (n, num)
    with program.op("scores"):
        pe.mov(scores, 0.0)
        for head in range(n):
            column = keys.strided((s, num), (keys.shape[1], 1))
            query = q[head].strided((s, num), (1, 0))
            pe.fmac(scores[head].strided((s, num), (0, 1)), column, query, shape=(s, num), mapped=True)
        for head_line in head_lines:
            allreduce(program, head_line, scores, shape=live, algorithm=along_heads)
    with program.op("softmax"):
        tops = top.strided(live, (1, 0))
        pe.mul(scores, scores, scale, shape=live)
        pe.mov(top, -1e30)
        pe.max(tops, scores, tops, shape=live)
        allreduce(program, y_line, top, Op.MAX, algorithm=along_y)
        pe.sub(scores, scores, tops, shape=live)
        pe.exp(scores, scores, shape=live)
    with program.op("values"):
        pe.mov(out, 0.0)
        pe.add(sums.strided(live, (1, 0)), scores, sums.strided(live, (1, 0)), shape=live)
        for head in range(n):
            pe.fmac(
                weighted[head].strided((num, s), (0, 1)), values.strided((num, s), (s, 1)),
                scores[head].strided((num, s), (1, 0)), shape=(num, s), mapped=True,
            )  # fmt: skip
        allreduce(program, y_line, out, algorithm=along_y)
        pe.div(weighted, weighted, sums[:, None])


def attend_cycles(
    spec: MachineSpec, n: int, s: int, slots: int, num: int, rows: int, along_y: Algorithm, columns: int, along_heads: Algorithm,
) -> int:  # fmt: skip
    """Predicted cycles of `attend` with `num` of `slots` positions on each of `rows` rows, heads over `columns` columns."""
    weights = n * num
    cycles = vector_cycles(spec, Op.MOV, n, slots) + n * mapped_cycles(spec, Op.FMAC, s, num)
    if columns > 1:
        cycles += allreduce_cycles(spec, along_heads, columns, weights)
    cycles += vector_cycles(spec, Op.MUL, weights) + vector_cycles(spec, Op.MOV, n) + vector_cycles(spec, Op.MAX, weights)
    cycles += allreduce_cycles(spec, along_y, rows, n) + vector_cycles(spec, Op.SUB, weights) + vector_cycles(spec, Op.EXP, weights)
    cycles += vector_cycles(spec, Op.MOV, n * s + n) + vector_cycles(spec, Op.ADD, weights) + n * mapped_cycles(spec, Op.FMAC, num, s)
    return cycles + allreduce_cycles(spec, along_y, rows, n * s + n) + vector_cycles(spec, Op.DIV, n, s)


def attend_reference(q: np.ndarray, keys: np.ndarray, values: np.ndarray, scale: float) -> np.ndarray:
    """q (n, s), keys (positions, s), values (positions, s) -> (n, s).

    Error 1e-5 of the largest value while scores are below 10: exp turns the absolute error of a score, s 2^-24 of its size, into a
    relative one of its weight.
    """
    scores = q.astype(np.float64) @ keys.T.astype(np.float64) * scale
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return weights @ values.astype(np.float64) / weights.sum(1, keepdims=True)


def swiglu(pe: Pes, gate_up: View, out: View, type: Type | None = None) -> None:
    """out = silu(gate) * up; gate_up is (2, m), out (m,). `type` as in `Pes.vector`."""
    pe.silu(out, gate_up[0], type=type)
    pe.mul(out, out, gate_up[1], type=type)


def swiglu_cycles(spec: MachineSpec, m: int) -> int:
    """Predicted cycles of `swiglu`."""
    return vector_cycles(spec, Op.SILU, m) + vector_cycles(spec, Op.MUL, m)


def swiglu_reference(gate_up: np.ndarray) -> np.ndarray:
    """gate_up (2, m) -> (m,); two roundings: relative error 2^-23."""
    gate, up = gate_up.astype(np.float64)
    return gate / (1 + np.exp(-gate)) * up
