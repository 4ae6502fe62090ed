"""One layer of a LLaMA-like decode step over a whole square mesh, as WaferLLM (OSDI'25) runs it: the published benchmark's workload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wse.builder import Pes, ProgramBuilder
from wse.isa import Op, Type
from wse.kernels.allreduce import allreduce
from wse.kernels.gemv import gemv
from wse.kernels.line import Line
from wse.kernels.reduce import Algorithm
from wse.kernels.rmsnorm import rmsnorm
from wse.kernels.transformer import swiglu
from wse.operands import View
from wse.program import Rect

LOWEST = -65504.0  # of f16


@dataclass(frozen=True)
class LayerDims:
    """The layer's sizes: one head, no grouped queries; each is cut into equal parts, one for each row or column of `side` x `side` PEs."""

    side: int
    dim: int
    hidden_dim: int
    seq_len: int

    @property
    def parts(self) -> tuple[int, int, int]:
        """Elements of dim, hidden_dim and seq_len on a PE."""
        return self.dim // self.side, self.hidden_dim // self.side, self.seq_len // self.side


def decode_layer(program: ProgramBuilder, dims: LayerDims, algorithm: Algorithm) -> None:
    """The layer in f16, weights and KV cache zero: ten all-reduces by `algorithm`, seven along y and three along x.

    Norm (y), q|k|v (y), RoPE from a table, append to one row, scores (x), their maximum (y) and sum (y), weighted values (y), output
    (x), norm (y), gate|up (y), SiLU and product, down (x). All of seq_len positions are attended to.
    """
    rect = Rect(0, 0, dims.side, dims.side)
    pe, along_y, along_x = program.pes(rect), Line(rect, "y"), Line(rect, "x")
    d, f, s = dims.parts
    zeros = lambda name, *shape: pe.zeros(name, shape, Type.F16)  # noqa: E731
    how: dict[str, Any] = {"algorithm": algorithm, "type": Type.F16}
    x, normed, scale, part = zeros("x", d), zeros("normed", d), zeros("scale", 1), zeros("part", d)
    with program.op("attention norm"):
        rmsnorm(program, along_y, normed, x, zeros("attention norm", d), scale, dims.dim, 1e-5, **how)
    qkv = zeros("qkv", 3, d)
    with program.op("q k v"):
        gemv(program, along_y, qkv.reshape(3 * d), zeros("Wqkv", d, 3 * d), normed, **how)
    with program.op("RoPE"):
        _rotate(pe, qkv[:2], zeros("table", 2, d // 2), zeros("rotated", 2, 2, d // 2))
    keys, values, scores, top, total = zeros("keys", d, s), zeros("values", s, d), zeros("scores", s), zeros("top", 1), zeros("total", 1)
    with program.op("append"):
        row = program.pes(rect.row(-1))
        row.mov(keys[:, s - 1], qkv[1], type=Type.F16)
        row.mov(values[s - 1], qkv[2], type=Type.F16)
    with program.op("scores"):
        gemv(program, along_x, scores, keys, qkv[0], **how)
    with program.op("softmax"):
        pe.mul(scores, scores, float(dims.dim**-0.5), type=Type.F16)
        pe.mov(top, LOWEST, type=Type.F16)
        pe.max(top.strided((s,), (0,)), scores, top.strided((s,), (0,)), type=Type.F16)
        allreduce(program, along_y, top, Op.MAX, **how)
        pe.sub(scores, scores, top, type=Type.F16)
        pe.exp(scores, scores, type=Type.F16)
        pe.mov(total, 0.0, type=Type.F16)
        pe.add(total.strided((s,), (0,)), scores, total.strided((s,), (0,)), type=Type.F16)
        allreduce(program, along_y, total, **how)
        pe.div(scores, scores, total, type=Type.F16)
    with program.op("values"):
        gemv(program, along_y, part, values, scores, **how)
    with program.op("output"):
        gemv(program, along_x, normed, zeros("Wo", d, d), part, **how)
        pe.add(x, x, normed, type=Type.F16)
    with program.op("feed-forward norm"):
        rmsnorm(program, along_y, normed, x, zeros("feed-forward norm", d), scale, dims.dim, 1e-5, **how)
    gate_up, act = zeros("gate up", 2, f), zeros("act", f)
    with program.op("gate up"):
        gemv(program, along_y, gate_up.reshape(2 * f), zeros("Wgu", d, 2 * f), normed, **how)
        swiglu(pe, gate_up, act, Type.F16)
    with program.op("down"):
        gemv(program, along_x, normed, zeros("Wd", f, d), act, **how)
        pe.add(x, x, normed, type=Type.F16)


def _rotate(pe: Pes, heads: View, table: View, scratch: View) -> None:
    """Rotate adjacent pairs of each of `heads` (n, s) in place by the angles whose cosines and sines are in `table` (2, s / 2)."""
    even, odd = heads[:, 0::2], heads[:, 1::2]
    cos, sin = table[0][None, :], table[1][None, :]
    pe.mul(scratch[0], even, sin, type=Type.F16)
    pe.mul(scratch[1], odd, sin, type=Type.F16)
    pe.mul(even, even, cos, type=Type.F16)
    pe.sub(even, even, scratch[1], type=Type.F16)
    pe.mul(odd, odd, cos, type=Type.F16)
    pe.add(odd, odd, scratch[0], type=Type.F16)
