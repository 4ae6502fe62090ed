"""The operators of a decode step on the PEs of one rectangle, in the two vector layouts of the design (section 4).

In y-layout PE row r holds segment r and all columns have a copy; in x-layout column c holds segment
c and all rows have a copy. Every function appends code for all PEs of the rectangle of `lines`.
"""

from __future__ import annotations

from wse.builder import Pes, ProgramBuilder
from wse.isa import Op, Type
from wse.kernels.collectives import Line, allreduce
from wse.operands import Reg, View


def gemv(program: ProgramBuilder, line: Line, y: View, tile: View, x: View, combine: bool = True) -> None:
    """y = sum over the line of tile^T x: tile (k, m), x (k,), y (m,).

    Predicted local cycles: k (ceil(m / lanes) * cycles per beat + map step).
    """
    pe = program.pes(line.rect)
    pe.mov(y, 0.0)
    pe.fmac(y, tile, x[:, None], mapped=True)
    if combine:
        allreduce(program, line, y)


def rmsnorm(program: ProgramBuilder, line: Line, out: View, x: View, w: View, scale: View, dim: int, eps: float) -> None:
    """out = x / sqrt(mean(x^2) + eps) * w over a vector of `dim` spread along the line; `scale` (1,) is scratch."""
    pe = program.pes(line.rect)
    pe.mov(scale, 0.0)
    pe.fmac(scale, x, x)
    allreduce(program, line, scale)
    pe.mul(scale, scale, 1.0 / dim)
    pe.add(scale, scale, eps)
    pe.rsqrt(scale, scale)
    pe.mul(out, x, scale)
    pe.mul(out, out, w)


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


def attend(
    program: ProgramBuilder, y_line: Line, head_lines: list[Line], q: View, keys: View, values: View,
    scores: View, top: View, out: View, num: Reg, scale: float,
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
            allreduce(program, head_line, scores, shape=live)
    with program.op("softmax"):
        tops = top.strided(live, (1, 0))
        pe.mul(scores, scores, scale, shape=live)
        pe.mov(top, -1e30)
        pe.max(tops, scores, tops, shape=live)
        allreduce(program, y_line, top, Op.MAX)
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
        allreduce(program, y_line, out)
        pe.div(weighted, weighted, sums[:, None])


def swiglu(pe: Pes, gate_up: View, out: View) -> None:
    """out = silu(gate) * up; gate_up is (2, m), out (m,)."""
    pe.silu(out, gate_up[0])
    pe.mul(out, out, gate_up[1])
