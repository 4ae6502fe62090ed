"""Elements of the operation under way on a thread: where they are in memory, and running a range of them."""

from __future__ import annotations

from wse._jit import inline, leaf
from wse.engine.alu import load_bits, run_matrix_vector, run_row, simple_bits, store_bits
from wse.engine.state import Thread
from wse.isa import Col, Kind, Op, Operand, Type


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
    if pos % inner == 0 and _is_matrix_vector(code, thread, th, i):
        rows = (stop - pos) // inner
        run_matrix_vector(
            sram_f32, sram_u16, code[i, Col.TYPE], code[i, Col.A + Operand.TYPE] == Type.F16, inner, pos // inner, rows,
            thread[th, Thread.ADDR_D], code[i, Col.D + Operand.STRIDE + 2], thread[th, Thread.ADDR_A],
            code[i, Col.A + Operand.STRIDE + 2], thread[th, Thread.ADDR_B], code[i, Col.B + Operand.STRIDE + 2],
        )  # fmt: skip
        pos += rows * inner
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


@leaf
def _is_matrix_vector(code, thread, th, i):
    """Whether the operation is d[i, :] += a[i, :] * b[i] over two dimensions of memory, as of a matrix-vector product.

    d and b are of its type, f32 or f16, and do not overlap: b is read once for a whole row.
    """
    type = code[i, Col.TYPE]
    if code[i, Col.OP] != Op.FMAC or thread[th, Thread.EXTENT] * thread[th, Thread.EXTENT + 1] != 1:
        return False
    if type != Type.F32 and (type != Type.F16 or code[i, Col.A + Operand.TYPE] != Type.F16):
        return False
    for operand in (Col.D, Col.A, Col.B):
        if code[i, operand + Operand.KIND] != Kind.MEM or code[i, operand + Operand.STRIDE + 3] != (0 if operand == Col.B else 1):
            return False
    if code[i, Col.D + Operand.TYPE] != type or code[i, Col.B + Operand.TYPE] != type:
        return False
    steps = thread[th, Thread.EXTENT + 2] - 1
    d = thread[th, Thread.ADDR_D]
    d_last = d + steps * code[i, Col.D + Operand.STRIDE + 2]
    b = thread[th, Thread.ADDR_B]
    b_last = b + steps * code[i, Col.B + Operand.STRIDE + 2]
    return max(b, b_last) < min(d, d_last) or min(b, b_last) >= max(d, d_last) + thread[th, Thread.EXTENT + 3]


@inline
def run_element(code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, a_bits, b_bits):
    """Execute element `pos` alone, as `run_elements` would: the common operations without a call."""
    i = thread[th, Thread.ROW]
    op = code[i, Col.OP]
    half = code[i, Col.TYPE] == Type.F16
    if not thread[th, Thread.LINEAR] or op > Op.MIN or (code[i, Col.TYPE] != Type.F32 and not half and op != Op.MOV):
        return run_elements(code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, pos + 1, a_bits, b_bits)
    at = thread[th, Thread.ADDR_A] + pos * code[i, Col.A + Operand.STRIDE + 3]
    a_bits = load_bits(sram, sram_u16, regs, k, code[i, Col.A + Operand.KIND], code[i, Col.A + Operand.TYPE], at, a_bits)
    if op != Op.MOV:
        at = thread[th, Thread.ADDR_B] + pos * code[i, Col.B + Operand.STRIDE + 3]
        b_bits = load_bits(sram, sram_u16, regs, k, code[i, Col.B + Operand.KIND], code[i, Col.B + Operand.TYPE], at, b_bits)
    bits = simple_bits(op, half, a_bits, b_bits)
    at = thread[th, Thread.ADDR_D] + pos * code[i, Col.D + Operand.STRIDE + 3]
    store_bits(sram, sram_u16, regs, k, code[i, Col.D + Operand.KIND], code[i, Col.D + Operand.TYPE], at, bits)
    return bits, False


@inline
def _offset(code, i, operand, i0, i1, i2, j):
    s = operand + Operand.STRIDE
    return i0 * code[i, s] + i1 * code[i, s + 1] + i2 * code[i, s + 2] + j * code[i, s + 3]


@leaf
def element_address(code, thread, th, i, operand, addr_col, pos):
    """Element address of a memory operand for element `pos`."""
    s = operand + Operand.STRIDE
    at = thread[th, addr_col]
    for axis in range(3, -1, -1):
        extent = thread[th, Thread.EXTENT + axis]
        at += pos % extent * code[i, s + axis]
        pos //= extent
    return at
