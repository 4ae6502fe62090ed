"""What the datapath computes: runs of elements of one vector operation, with the result bits the machine defines.

Every sum is taken in index order and rounded to f32 at each step; nothing here may be reassociated.
"""

from __future__ import annotations

import math

import numpy as np

from wse._jit import bits_to_f32, f16_to_f32, f32_to_bits, f32_to_f16, inline, leaf
from wse.isa import Kind, Op, Type

QUIET_NAN = 0x7FC00000


@inline
def wrap_i32(value):
    """The low 32 bits of an int64 as a signed number."""
    return ((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000


@inline
def alu_f32(op, a, b):
    """One element of an arithmetic f32 operation with two sources (not FMAC)."""
    if op == Op.ADD:
        return a + b
    if op == Op.MUL:
        return a * b
    if op == Op.SUB:
        return a - b
    if op == Op.MAX:
        return a if a > b else b
    return a if a < b else b


@leaf
def special_f32(op, a, b):
    """One element of a special function: computed in f64, rounded to f32, NaN canonical; returns bits."""
    x = np.float64(a)
    y = np.float64(b)
    r = math.nan
    if op == Op.DIV:
        if y != 0.0:
            r = x / y
        elif x == x and x != 0.0:
            r = math.copysign(math.inf, x) * math.copysign(1.0, y)
    elif op == Op.EXP:
        r = math.inf if x > 709.0 else math.exp(x) if x == x else x
    elif op == Op.RSQRT:
        if x > 0.0:
            r = 1.0 / math.sqrt(x)
        elif x == 0.0:
            r = math.inf
    elif op == Op.SILU:
        if x > -math.inf:
            r = x / (1.0 + math.exp(-x)) if x > -709.0 else -0.0
    elif op == Op.SIN:
        r = math.sin(x) if abs(x) < math.inf else r
    elif op == Op.COS:
        r = math.cos(x) if abs(x) < math.inf else r
    if r != r:
        return QUIET_NAN
    return f32_to_bits(np.float32(r))


@leaf
def alu_i32(op, a, b):
    """One element of an i32 operation, wrapping around; DIV and MOD round down, b is not 0."""
    if op == Op.ADD:
        return wrap_i32(a + b)
    if op == Op.SUB:
        return wrap_i32(a - b)
    if op == Op.MUL:
        return wrap_i32(a * b)
    if op == Op.MAX:
        return a if a > b else b
    if op == Op.MIN:
        return a if a < b else b
    if op == Op.DIV:
        return wrap_i32(a // b)
    return a % b


@inline
def round_f16(bits):
    """The f32 that the f32 with these bits becomes when it is rounded to f16; a subnormal, overflow or NaN as IEEE has it."""
    return f32_to_bits(f16_to_f32(f32_to_f16(bits_to_f32(bits))))


@inline
def half_bits(word, which):
    """The f32 bits of the first (0) or second (1) of the two f16 elements in a packed wavelet."""
    return f32_to_bits(f16_to_f32(np.uint16(word >> 16 * which & 0xFFFF)))


@inline
def simple_bits(op, half, x, y):
    """`compute_bits` for a copy of any type, or for arithmetic up to MIN in f16 (`half`) or f32."""
    if half:
        x, y = round_f16(x), round_f16(y)
    r = x if op == Op.MOV else f32_to_bits(alu_f32(op, bits_to_f32(x), bits_to_f32(y)))
    return round_f16(r) if half else r


@leaf
def compute_bits(op, type, x, y, z):
    """32 result bits of one element in any type; z is what the destination held, for FMAC. The divisor of an i32 division is not 0.

    In f16 a result is computed in f32 and rounded: for one operation on two f16 values that is the same as computing it in f16.
    """
    if type == Type.F16:
        x, y = (x if op == Op.ITOF else round_f16(x)), round_f16(y)
        if op == Op.FMAC:
            product = round_f16(f32_to_bits(bits_to_f32(x) * bits_to_f32(y)))
            return round_f16(f32_to_bits(bits_to_f32(round_f16(z)) + bits_to_f32(product)))
    elif type == Type.MIXED:
        x, y = round_f16(x), round_f16(y)
    if op == Op.MOV:
        r = x
    elif op == Op.ITOF:
        r = f32_to_bits(np.float32(wrap_i32(x)))
    elif type == Type.I32:
        r = alu_i32(op, wrap_i32(x), wrap_i32(y)) & 0xFFFFFFFF
    elif op == Op.FMAC:
        r = f32_to_bits(bits_to_f32(z) + bits_to_f32(x) * bits_to_f32(y))
    elif op < Op.FMAC:
        r = f32_to_bits(alu_f32(op, bits_to_f32(x), bits_to_f32(y)))
    else:
        r = special_f32(op, bits_to_f32(x), bits_to_f32(y))
    return round_f16(r) if type == Type.F16 else r


@inline
def load_bits(sram, sram_u16, regs, core, kind, type, addr, bits):
    """32 bits of one source element: f16 memory widened to f32, anything else as it is."""
    if kind == Kind.MEM:
        if type == Type.F16:
            return f32_to_bits(f16_to_f32(sram_u16[addr]))
        return np.int64(sram[addr]) & 0xFFFFFFFF
    if kind == Kind.REG:
        return np.int64(regs[core, addr]) & 0xFFFFFFFF
    return bits


@inline
def store_bits(sram, sram_u16, regs, core, kind, type, addr, bits):
    """Write 32 bits to memory (narrowed where it is f16) or to a register; a fabric destination takes them elsewhere."""
    if kind == Kind.MEM:
        if type == Type.F16:
            sram_u16[addr] = f32_to_f16(bits_to_f32(bits))
        else:
            sram[addr] = wrap_i32(bits)
    elif kind == Kind.REG:
        regs[core, addr] = wrap_i32(bits)


@leaf
def fmac_f32(y, y0, a, a0, x, n):
    """y[y0 + j] += a[a0 + j] * x for j in 0..n-1."""
    for j in range(n):
        y[y0 + j] = y[y0 + j] + a[a0 + j] * x


@leaf
def fmac_f16(y, y0, a, a0, x, n):
    """The same with a in f16, given as uint16."""
    for j in range(n):
        y[y0 + j] = y[y0 + j] + f16_to_f32(a[a0 + j]) * x


@leaf
def fmac_all_f16(m, y, a, x, n):
    """m[y + j] += m[a + j] * x, all f16 given as uint16 but x, an f32 of an f16 value; product and sum are each rounded to f16."""
    for j in range(n):
        product = f16_to_f32(f32_to_f16(f16_to_f32(m[a + j]) * x))
        m[y + j] = f32_to_f16(f16_to_f32(m[y + j]) + product)


@leaf
def run_matrix_vector(m_f32, m_u16, type, half, n, first, rows, d, d_step, a, a_step, b, b_step):
    """For rows i = first .. first + rows - 1: m[d + i d_step + j] += m[a + i a_step + j] * m[b + i b_step], j = 0 .. n - 1.

    `half`: a is f16; d and b are of `type`, F32 or F16. The arithmetic and its order are those of `fmac_f32`, `fmac_f16` or
    `fmac_all_f16` row by row.
    """
    for i in range(first, first + rows):
        y0 = d + i * d_step
        a0 = a + i * a_step
        if type == Type.F16:
            fmac_all_f16(m_u16, y0, a0, f16_to_f32(m_u16[b + i * b_step]), n)
            continue
        x = m_f32[b + i * b_step]
        if half:
            for j in range(n):
                m_f32[y0 + j] = m_f32[y0 + j] + f16_to_f32(m_u16[a0 + j]) * x
        else:
            for j in range(n):
                m_f32[y0 + j] = m_f32[y0 + j] + m_f32[a0 + j] * x


@leaf
def binary_f32(op, m, d0, ds, a0, as_, b0, bs, n):
    """m[d] = m[a] op m[b] over n elements in f32 memory; one loop per opcode, so that each can be compiled tight."""
    if op == Op.ADD:
        for j in range(n):
            m[d0 + j * ds] = m[a0 + j * as_] + m[b0 + j * bs]
    elif op == Op.MUL:
        for j in range(n):
            m[d0 + j * ds] = m[a0 + j * as_] * m[b0 + j * bs]
    else:
        for j in range(n):
            m[d0 + j * ds] = alu_f32(op, m[a0 + j * as_], m[b0 + j * bs])


@inline
def _stays(dt, d, bk, bt, b, bs, n):
    """Whether source b is one value for a whole row: a scalar that none of the row's n results, side by side from d on, overwrites."""
    if bk != Kind.MEM:
        return True
    d_size = 1 if dt == Type.F16 else 2  # in half words
    b_size = 1 if bt == Type.F16 else 2
    return bs == 0 and (b * b_size + b_size <= d * d_size or b * b_size >= (d + n) * d_size)


@leaf
def run_row(
    sram, sram_f32, sram_u16, regs, regs_f32, core, op, type,
    dk, dt, d, ds, ak, at, a, as_, a_bits, bk, bt, b, bs, b_bits, first, n,
):  # fmt: skip
    """Elements 0..n-1 of a row with linear addresses; `first` is the row's first element index.

    Operand x has kind xk, memory type xt, element address (or register) x, stride xs; x_bits stands in for
    fabric and immediate sources. Returns (result bits of the last element, faulty): a fabric destination has one element a time,
    and the result is what it sends. A division by zero stops the row and is faulty.
    """
    if type == Type.F32 and dk == Kind.MEM and dt == Type.F32:
        if op == Op.FMAC and ds == 1 and ak == Kind.MEM and as_ == 1 and _stays(dt, d, bk, bt, b, bs, n):
            x = bits_to_f32(load_bits(sram, sram_u16, regs, core, bk, bt, b, b_bits))
            if at == Type.F16:
                fmac_f16(sram_f32, d, sram_u16, a, x, n)
            else:
                fmac_f32(sram_f32, d, sram_f32, a, x, n)
            return 0, False
        if Op.ADD <= op <= Op.MIN and ak == Kind.MEM and bk == Kind.MEM and at == Type.F32 and bt == Type.F32:
            binary_f32(op, sram_f32, d, ds, a, as_, b, bs, n)
            return 0, False
    if (
        type == Type.F16 and op == Op.FMAC and dk == Kind.MEM and dt == Type.F16 and ds == 1 and ak == Kind.MEM and at == Type.F16
        and as_ == 1 and _stays(dt, d, bk, bt, b, bs, n)
    ):  # fmt: skip
        x = round_f16(load_bits(sram, sram_u16, regs, core, bk, bt, b, b_bits))
        fmac_all_f16(sram_u16, d, a, bits_to_f32(x), n)
        return 0, False
    r = 0
    for j in range(n):
        x = load_bits(sram, sram_u16, regs, core, ak, at, a + j * as_, a_bits)
        if op == Op.ARGMAX:
            value = bits_to_f32(x)
            if value > regs_f32[core, d]:
                regs_f32[core, d] = value
                base = load_bits(sram, sram_u16, regs, core, bk, bt, b, b_bits)
                regs[core, d + 1] = wrap_i32(base + first + j)
            continue
        y = load_bits(sram, sram_u16, regs, core, bk, bt, b + j * bs, b_bits)
        if type == Type.I32 and (op == Op.DIV or op == Op.MOD) and wrap_i32(y) == 0:
            return r, True
        z = load_bits(sram, sram_u16, regs, core, dk, dt, d + j * ds, 0) if op == Op.FMAC else 0
        r = compute_bits(op, type, x, y, z)
        store_bits(sram, sram_u16, regs, core, dk, dt, d + j * ds, r)
    return r, False
