"""What the reference machine computes: f32, i32, and where f16 is rounded."""

from __future__ import annotations

import numpy as np
import pytest
from reference.arithmetic import bits_of_f32, compute
from reference.timing import load, on_one_pe

from wse.builder import Pes
from wse.isa import Op, Type


@pytest.mark.parametrize(
    ("op", "a", "b", "wanted"),
    [
        (Op.DIV, 1, 0, np.inf), (Op.DIV, -1, 0, -np.inf), (Op.DIV, 0, 0, np.nan), (Op.EXP, 100, 0, np.inf), (Op.EXP, -200, 0, 0),
        (Op.RSQRT, 0, 0, np.inf), (Op.RSQRT, -1, 0, np.nan), (Op.RSQRT, 4, 0, 0.5), (Op.SILU, -1000, 0, 0), (Op.SILU, 50, 0, 50),
        (Op.SIN, np.inf, 0, np.nan), (Op.COS, 0, 0, 1), (Op.MAX, np.nan, 2, 2), (Op.MIN, 2, np.nan, np.nan),
        (Op.MUL, 3e38, 10, np.inf),
    ],
)  # fmt: skip
def test_f32_arithmetic(op: Op, a: float, b: float, wanted: float) -> None:
    bits = compute(op, Type.F32, bits_of_f32(np.float32(a)), bits_of_f32(np.float32(b)), 0)
    assert np.array_equal(np.uint32(bits).view(np.float32), np.float32(wanted), equal_nan=True)


@pytest.mark.parametrize(
    ("op", "a", "b", "wanted"),
    [
        (Op.ADD, 2**31 - 1, 1, -(2**31)), (Op.MUL, 2**16, 2**16, 0), (Op.DIV, -7, 2, -4), (Op.DIV, -(2**31), -1, -(2**31)),
        (Op.MOD, -7, 3, 2), (Op.MOD, 7, -3, -2), (Op.MAX, -1, 1, 1), (Op.SUB, -(2**31), 1, 2**31 - 1),
    ],
)  # fmt: skip
def test_i32_arithmetic(op: Op, a: int, b: int, wanted: int) -> None:
    assert compute(op, Type.I32, a & 0xFFFFFFFF, b & 0xFFFFFFFF, 0) == wanted & 0xFFFFFFFF


def test_fmac_rounds_the_product_and_the_sum() -> None:
    """(1 + e)(1 - e) - 1 with e = 2**-13: the product rounds to 1; fused, -2**-26 would remain."""
    e = np.float32(2.0**-13)
    a, b, d = (bits_of_f32(np.float32(value)) for value in (1 + e, 1 - e, -1))
    assert compute(Op.FMAC, Type.F32, a, b, d) == 0


def test_f16_is_rounded_when_stored() -> None:
    """1 + 2**-11 is a tie and goes to the even neighbour, 1; the sum itself was in f32."""

    def code(pe: Pes) -> None:
        pe.add(pe.zeros("h", 2, Type.F16), pe.const("x", [2.0**-11, 3 * 2.0**-11]), 1.0)

    machine = load(on_one_pe(code))
    machine.run()
    assert machine.snapshot()["sram"].view(np.float16)[:2].tolist() == [1, 1 + 2.0**-9]
