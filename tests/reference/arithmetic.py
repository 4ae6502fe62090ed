"""What an opcode computes for one element: 32-bit patterns in, a 32-bit pattern out.

Values travel as Python ints holding 32 bits, the way registers hold them, f16 values widened to f32. Each operation in
f32 or f16 is one NumPy scalar operation of that type, so each rounds once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wse.isa import Op, Type

NAN = 0x7FC00000
two_nans: list[tuple[int, int]] = []
"""Results so far of two NaNs with different bits: which of them comes out is not specified."""


def f32(bits: int) -> np.float32:
    """The pattern read as f32."""
    return np.uint32(bits).view(np.float32)


def i32(bits: int) -> int:
    """The pattern read as i32."""
    return bits - (1 << 32) if bits >= 1 << 31 else bits


def bits_of_f32(value: np.float32) -> int:
    """The pattern of an f32."""
    return int(np.float32(value).view(np.uint32))


def bits_of_i32(value: int) -> int:
    """The pattern of an integer, wrapped around to 32 bits."""
    return value & 0xFFFFFFFF


def widen(half: int) -> int:
    """The f32 pattern of an f16 pattern; exact."""
    return bits_of_f32(np.float32(np.uint16(half).view(np.float16)))


def narrow(bits: int) -> int:
    """The f16 pattern nearest to an f32 pattern, ties to even."""
    with np.errstate(all="ignore"):
        return int(np.float16(f32(bits)).view(np.uint16))


def compute(op: Op, type: Type, a: int, b: int, d: int) -> int:
    """One element of `op` in `type`; `d` is what the destination held, for FMAC.

    Raises `ZeroDivisionError` for an i32 DIV or MOD by zero.
    """
    if type is Type.F16:
        return _compute_f16(op, a, b, d)
    if type is Type.MIXED:
        return compute(Op.FMAC, Type.F32, widen(narrow(a)), widen(narrow(b)), d)
    if op is Op.MOV:
        return a
    if op is Op.ITOF:
        return bits_of_f32(np.float32(i32(a)))
    if type is Type.I32:
        return bits_of_i32(_INTEGER[op](i32(a), i32(b)))
    if op is not Op.MAX and op is not Op.MIN:
        nans = {bits for bits in (a, b, *([d] if op is Op.FMAC else [])) if np.isnan(f32(bits))}
        if len(nans) > 1:
            two_nans.append((a, b))
    with np.errstate(all="ignore"):
        if op is Op.FMAC:
            return bits_of_f32(f32(d) + f32(a) * f32(b))
        if op in _FLOAT:
            return bits_of_f32(_FLOAT[op](f32(a), f32(b)))
        result = np.float32(_SPECIAL[op](float(f32(a)), float(f32(b))))
    return NAN if np.isnan(result) else bits_of_f32(result)


def _compute_f16(op: Op, a: int, b: int, d: int) -> int:
    """`compute` in f16: sources rounded to it, then the result."""
    if op is Op.ITOF:
        return widen(narrow(compute(op, Type.F32, a, b, d)))
    x, y, z = (np.uint16(narrow(bits)).view(np.float16) for bits in (a, b, d))
    if op is Op.MOV:
        return widen(narrow(a))
    if op not in _FLOAT and op is not Op.FMAC:
        return widen(narrow(compute(op, Type.F32, widen(narrow(a)), widen(narrow(b)), d)))
    with np.errstate(all="ignore"):
        result = z + x * y if op is Op.FMAC else _FLOAT[op](x, y)
    return widen(int(np.float16(result).view(np.uint16)))


def compare(op: Op, type: Type, a: int, b: int) -> bool:
    """Whether a branch is taken; with a NaN only BNE is."""
    x, y = (i32(a), i32(b)) if type is Type.I32 else (float(f32(a)), float(f32(b)))
    return {Op.JUMP: True, Op.BLT: x < y, Op.BGE: x >= y, Op.BEQ: x == y, Op.BNE: x != y}[op]


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _rsqrt(a: float) -> float:
    if a == 0:
        return math.inf
    return 1 / math.sqrt(a) if a > 0 else math.nan


def _divide(a: float, b: float) -> float:
    return float(np.float64(a) / np.float64(b))  # IEEE where Python would raise


_INTEGER: dict[Op, Callable[[int, int], int]] = {
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.MAX: lambda a, b: a if a > b else b,
    Op.MIN: lambda a, b: a if a < b else b,
    Op.DIV: lambda a, b: a // b,
    Op.MOD: lambda a, b: a % b,
}

_FLOAT: dict[Op, Callable[[Any, Any], Any]] = {
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.MAX: lambda a, b: a if a > b else b,
    Op.MIN: lambda a, b: a if a < b else b,
}

_SPECIAL: dict[Op, Callable[[float, float], float]] = {
    Op.DIV: _divide,
    Op.EXP: lambda a, _: _exp(a),
    Op.RSQRT: lambda a, _: _rsqrt(a),
    Op.SILU: lambda a, _: _divide(a, 1 + _exp(-a)),
    Op.SIN: lambda a, _: math.sin(a) if math.isfinite(a) else math.nan,
    Op.COS: lambda a, _: math.cos(a) if math.isfinite(a) else math.nan,
}
