"""Elements of the operation under way on a thread: where they are in memory, and running a range of them."""

from __future__ import annotations

from wse._jit import bits_to_f32, f32_to_bits, inline, leaf
from wse.engine.alu import alu_f32, load_bits, run_row, store_bits
from wse.engine.state import Thread
from wse.isa import Col, Op, Operand, Type


@leaf
def run_elements(code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, start, stop, a_bits, b_bits):
    """Execute elements start..stop-1 of the operation on thread row th of core k; (result bits, faulty) as `run_row`."""
    i = thread[th, Thread.ROW]
    inner = thread[th, Thread.EXTENT + 3]
    middle = thread[th, Thread.EXTENT + 2]
    outer = thread[th, Thread.EXTENT + 1]
    bits = 0
    faulty = False
    pos = start
    while pos < stop and not faulty:
        j = pos % inner
        rest = pos // inner
        n = min(inner - j, stop - pos)
        i2 = rest % middle
        rest //= middle
        i1 = rest % outer
        i0 = rest // outer
        d = thread[th, Thread.ADDR_D] + _offset(code, i, Col.D, i0, i1, i2, j)
        a = thread[th, Thread.ADDR_A] + _offset(code, i, Col.A, i0, i1, i2, j)
        b = thread[th, Thread.ADDR_B] + _offset(code, i, Col.B, i0, i1, i2, j)
        bits, faulty = run_row(
            sram, sram_f32, sram_u16, regs, regs_f32, k, code[i, Col.OP], code[i, Col.TYPE],
            code[i, Col.D + Operand.KIND], code[i, Col.D + Operand.TYPE], d, code[i, Col.D + Operand.STRIDE + 3],
            code[i, Col.A + Operand.KIND], code[i, Col.A + Operand.TYPE], a, code[i, Col.A + Operand.STRIDE + 3], a_bits,
            code[i, Col.B + Operand.KIND], code[i, Col.B + Operand.TYPE], b, code[i, Col.B + Operand.STRIDE + 3], b_bits,
            pos, n,
        )  # fmt: skip
        pos += n
    return bits, faulty


@inline
def run_element(code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, a_bits, b_bits):
    """Execute element `pos` alone, as `run_elements` would: the common operations without a call."""
    i = thread[th, Thread.ROW]
    op = code[i, Col.OP]
    if not thread[th, Thread.LINEAR] or op > Op.MIN or (code[i, Col.TYPE] != Type.F32 and op != Op.MOV):
        return run_elements(code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, pos + 1, a_bits, b_bits)
    at = thread[th, Thread.ADDR_A] + pos * code[i, Col.A + Operand.STRIDE + 3]
    bits = load_bits(sram, sram_u16, regs, k, code[i, Col.A + Operand.KIND], code[i, Col.A + Operand.TYPE], at, a_bits)
    if op != Op.MOV:
        at = thread[th, Thread.ADDR_B] + pos * code[i, Col.B + Operand.STRIDE + 3]
        b_bits = load_bits(sram, sram_u16, regs, k, code[i, Col.B + Operand.KIND], code[i, Col.B + Operand.TYPE], at, b_bits)
        bits = f32_to_bits(alu_f32(op, bits_to_f32(bits), bits_to_f32(b_bits)))
    at = thread[th, Thread.ADDR_D] + pos * code[i, Col.D + Operand.STRIDE + 3]
    store_bits(sram, sram_u16, regs, k, code[i, Col.D + Operand.KIND], code[i, Col.D + Operand.TYPE], at, bits)
    return bits, False


@inline
def _offset(code, i, operand, i0, i1, i2, j):
    s = operand + Operand.STRIDE
    return i0 * code[i, s] + i1 * code[i, s + 1] + i2 * code[i, s + 2] + j * code[i, s + 3]
