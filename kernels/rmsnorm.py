"""RMSNorm of one or more vectors that are spread along a line of PEs."""

from __future__ import annotations

import numpy as np

from wse.builder import ProgramBuilder
from wse.isa import Op, Type
from wse.kernels.allreduce import allreduce, allreduce_cycles
from wse.kernels.cost import vector_cycles, wavelets
from wse.kernels.line import Line
from wse.kernels.reduce import Algorithm
from wse.operands import View
from wse.spec import MachineSpec


def rmsnorm(
    program: ProgramBuilder, line: Line, out: View, x: View, w: View, scale: View, dim: int, eps: float,
    algorithm: Algorithm | None = None, type: Type | None = None,
) -> None:  # fmt: skip
    """out = x / sqrt(mean(x^2) + eps) * w for vectors of `dim` spread along each line.

    x and out are (n,) or, for several vectors, (rows, n); w (n,); `scale` (1,) or (rows,) is scratch. Contract:
    `rmsnorm_reference` to within (dim + 4) 2^-24 relative: the sum of squares is rounded `dim` times, and halved by the root.
    `type` F16: all in f16, to within (dim + 4) 2^-11, and the sums packed.
    """
    pe = program.pes(line.rect)
    one_each = scale[:, None] if len(x.shape) == 2 else scale
    pe.mov(scale, 0.0, type=type)
    pe.fmac(one_each, x, x, type=type)
    allreduce(program, line, scale, algorithm=algorithm, type=type)
    pe.mul(scale, scale, 1.0 / dim, type=type)
    pe.add(scale, scale, eps, type=type)
    pe.rsqrt(scale, scale, type=type)
    pe.mul(out, x, one_each, type=type)
    pe.mul(out, out, w, type=type)


def rmsnorm_cycles(spec: MachineSpec, algorithm: Algorithm, length: int, rows: int, n: int, type: Type | None = None) -> int:
    """Predicted cycles of `rmsnorm` with n elements of each of `rows` vectors per PE; as exact as the all-reduce's."""
    local = sum(vector_cycles(spec, op, rows, type=type) for op in (Op.MOV, Op.MUL, Op.ADD, Op.RSQRT))
    local += vector_cycles(spec, Op.FMAC, rows, n, type=type) + 2 * vector_cycles(spec, Op.MUL, rows, n, type=type)
    return local + allreduce_cycles(spec, algorithm, length, wavelets(rows, type))


def rmsnorm_reference(x: np.ndarray, w: np.ndarray, eps: float) -> np.ndarray:
    """x (…, dim), w (dim,), in f64."""
    x = x.astype(np.float64)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w
