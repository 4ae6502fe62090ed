"""The local product of a GEMM: C += A B on each PE, with one mapped instruction, or in loops as published kernels have it.

Layout: a (k, m), b (k, n) and c (n, m), so that every multiply-accumulate runs along m. `from_a` and `from_b` are registers with the
elements to skip to the buffer at hand. All three are of one type, f32 or f16, in which products and sums are rounded, in the order of k
for each element of c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wse.builder import Pes
from wse.isa import Op, Type
from wse.kernels.cost import loop_cycles, mapped_cycles, vector_cycles
from wse.operands import Reg, View
from wse.spec import MachineSpec


@dataclass(frozen=True)
class Product:
    """A way to multiply tiles, and its predicted cycles for extents (m, k, n) and a type: exact on a PE that does nothing else."""

    emit: Callable[[Pes, View, View, View, Reg, Reg], None]
    cycles: Callable[[MachineSpec, int, int, int, Type], int]


def _mapped(pe: Pes, c: View, a: View, b: View, from_a: Reg, from_b: Reg) -> None:
    """One instruction: for every k and n, c[n] += a[k] * b[k, n]."""
    pe.fmac(c[None], a[:, None].shifted(from_a), b[:, :, None].shifted(from_b), mapped=True, type=a.type)


def _mapped_cycles(spec: MachineSpec, m: int, k: int, n: int, type: Type) -> int:
    return mapped_cycles(spec, Op.FMAC, k * n, m, type)


def _add(pe: Pes, offset: Reg, num: int) -> None:
    pe.add(offset, offset, num)


def emit_looped(
    pe: Pes, c: View, a: View, b: View, from_a: Reg, from_b: Reg, advance: Callable[[Pes, Reg, int], None] = _add
) -> None:  # fmt: skip
    """As in the vendor's GEMM example: load a scalar of b, multiply-accumulate along m, advance c; after all n, advance a.

    `advance` adds elements to the offset of c or a.
    """
    program = pe.program
    (k, m), n = a.shape, c.shape[0]
    scalar = program.reg()
    at_a, at_b, at_c = (program.reg(Type.I32) for _ in range(3))
    pe.mov(at_a, from_a)
    pe.mov(at_b, from_b)
    with pe.loop(k):
        pe.mov(at_c, 0)
        with pe.loop(n):
            pe.mov(scalar, b[0, 0].shifted(at_b))
            pe.fmac(c[0].shifted(at_c), a[0].shifted(at_a), scalar, type=a.type)
            pe.add(at_b, at_b, 1)
            advance(pe, at_c, m)
        advance(pe, at_a, m)
    program.release(scalar, at_a, at_b, at_c)


def _looped_cycles(spec: MachineSpec, m: int, k: int, n: int, type: Type) -> int:
    move, add = vector_cycles(spec, Op.MOV, 1), vector_cycles(spec, Op.ADD, 1)
    inner = loop_cycles(spec, n, move + vector_cycles(spec, Op.FMAC, m, type=type) + 2 * add)
    return 2 * move + loop_cycles(spec, k, move + inner + add)


def _stepped(pe: Pes, c: View, a: View, b: View, from_a: Reg, from_b: Reg) -> None:
    """As in MeshGEMM: a loop over k around an instruction that maps over n."""
    program = pe.program
    (k, m), n = a.shape, c.shape[0]
    at_a, at_b = program.reg(Type.I32), program.reg(Type.I32)
    pe.mov(at_a, from_a)
    pe.mov(at_b, from_b)
    with pe.loop(k):
        pe.fmac(c, a[0].shifted(at_a), b[0, :, None].shifted(at_b), mapped=True, type=a.type)
        pe.add(at_a, at_a, m)
        pe.add(at_b, at_b, n)
    program.release(at_a, at_b)


def _stepped_cycles(spec: MachineSpec, m: int, k: int, n: int, type: Type) -> int:
    body = mapped_cycles(spec, Op.FMAC, n, m, type) + 2 * vector_cycles(spec, Op.ADD, 1)
    return 2 * vector_cycles(spec, Op.MOV, 1) + loop_cycles(spec, k, body)


MAPPED = Product(_mapped, _mapped_cycles)
STEPPED = Product(_stepped, _stepped_cycles)
LOOPED = Product(emit_looped, _looped_cycles)


def cut_tiles(matrix: np.ndarray, side: int) -> np.ndarray:
    """A matrix in side x side tiles (side, side, rows, columns) of equal size, padded with zeros to the south and east."""
    rows, columns = (-(-extent // side) for extent in matrix.shape)
    padded = np.zeros((side * rows, side * columns), np.float32)
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    return padded.reshape(side, rows, side, columns).swapaxes(1, 2)


def join_tiles(tiles: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The matrix of `shape` that was cut, or computed, in tiles (side, side, rows, columns)."""
    side, _, rows, columns = tiles.shape
    return tiles.swapaxes(1, 2).reshape(side * rows, side * columns)[: shape[0], : shape[1]]
