"""Beats with operands that are not an element at a time of the fabric or of memory: packed wavelets, control wavelets, FIFOs in SRAM."""

from __future__ import annotations

import numpy as np

from wse._jit import bits_to_f32, f32_to_f16, inline, leaf
from wse.engine.alu import compute_bits, half_bits, load_bits, store_bits, wrap_i32
from wse.engine.elements import element_address
from wse.engine.state import Core, Plan, SramFifo, Thread
from wse.engine.switch import CONTROL_BIT
from wse.engine.wheel import pop, push
from wse.isa import Col, Kind, Op, Operand, Type


@inline
def beat_size(plan, thread, th, i):
    """Elements of the next beat of the operation on thread row th."""
    pos = thread[th, Thread.POS]
    num = min(plan[i, Plan.LANES], thread[th, Thread.STEP] - thread[th, Thread.IN_STEP])
    if plan[i, Plan.PER_WAVELET] == 2:
        num = min(num, 2 - (pos & 1))
    return num


@leaf
def takes_wavelet(code, plan, thread, th, i, operand, packed, pos):
    """Whether element `pos` takes a wavelet for a source operand."""
    kind = code[i, operand + Operand.KIND]
    if kind == Kind.FABRIC_IN:
        return plan[i, packed] == 0 or pos & 1 == 0
    if kind == Kind.FABRIC_HELD:
        step = thread[th, Thread.STEP]
        return pos % step == 0 and (plan[i, packed] == 0 or (pos // step) & 1 == 0)
    return False


@leaf
def sends_wavelet(code, plan, thread, th, i, pos, num):
    """Whether a wavelet leaves with one of the elements pos .. pos + num - 1."""
    kind = code[i, Col.D + Operand.KIND]
    if kind != Kind.FABRIC_OUT and kind != Kind.CONTROL_OUT:
        return False
    return plan[i, Plan.PACKED_D] == 0 or (pos + num - 1) & 1 == 1 or pos + num == thread[th, Thread.NUM]


@leaf
def fifos_ready(code, plan, sram_fifo, core, thread, k, th):
    """(elements there, room there) in the FIFOs in SRAM for the next beat of the operation on thread row th."""
    i = thread[th, Thread.ROW]
    num = beat_size(plan, thread, th, i)
    data = True
    for operand in (Col.A, Col.B):
        if code[i, operand + Operand.KIND] == Kind.FIFO_POP:
            data = data and sram_fifo[core[k, Core.SRAM_FIFO] + code[i, operand + Operand.BASE], SramFifo.COUNT] >= num
    room = True
    if code[i, Col.D + Operand.KIND] == Kind.FIFO_PUSH:
        q = core[k, Core.SRAM_FIFO] + code[i, Col.D + Operand.BASE]
        room = sram_fifo[q, SramFifo.COUNT] + num <= sram_fifo[q, SramFifo.CAPACITY]
    return data, room


@leaf
def odd_beat(
    code, plan, fifo, ring, sram_fifo, core, thread, event, wheel, clock, todo, sram, sram_u16, regs, regs_f32, k, th, cycle, leaves,
):  # fmt: skip
    """Execute the elements of the next beat; a wavelet it sends can leave from `leaves` on. Returns (elements, tasks named)."""
    i = thread[th, Thread.ROW]
    op, type = code[i, Col.OP], code[i, Col.TYPE]
    first = thread[th, Thread.POS]
    num = beat_size(plan, thread, th, i)
    named = np.int64(0)
    for operand in (Col.A, Col.B, Col.D):
        kind = code[i, operand + Operand.KIND]
        if kind == Kind.FIFO_POP or kind == Kind.FIFO_PUSH:
            q = core[k, Core.SRAM_FIFO] + code[i, operand + Operand.BASE]
            task = sram_fifo[q, SramFifo.ON_POP if kind == Kind.FIFO_POP else SramFifo.ON_PUSH]
            if task >= 0:
                named |= 1 << task
    for pos in range(first, first + num):
        x = _source(
            code, plan, fifo, ring, sram_fifo, core, thread, event, wheel, clock, todo, sram, sram_u16, regs, k, th, cycle, pos,
            Col.A, Thread.FIFO_A, Thread.ADDR_A, Thread.WORD_A, Thread.HELD_A, Plan.PACKED_A,
        )  # fmt: skip
        y = _source(
            code, plan, fifo, ring, sram_fifo, core, thread, event, wheel, clock, todo, sram, sram_u16, regs, k, th, cycle, pos,
            Col.B, Thread.FIFO_B, Thread.ADDR_B, Thread.WORD_B, Thread.HELD_B, Plan.PACKED_B,
        )  # fmt: skip
        d_kind, d_type = code[i, Col.D + Operand.KIND], code[i, Col.D + Operand.TYPE]
        at = element_address(code, thread, th, i, Col.D, Thread.ADDR_D, pos) if d_kind == Kind.MEM else thread[th, Thread.ADDR_D]
        if op == Op.ARGMAX:
            if bits_to_f32(x) > regs_f32[k, at]:
                regs[k, at] = wrap_i32(x)
                regs[k, at + 1] = wrap_i32(y + pos)
            continue
        z = load_bits(sram, sram_u16, regs, k, d_kind, d_type, at, 0) if op == Op.FMAC else 0
        bits = compute_bits(op, type, x, y, z)
        if d_kind == Kind.FIFO_PUSH:
            q = core[k, Core.SRAM_FIFO] + code[i, Col.D + Operand.BASE]
            at = sram_fifo[q, SramFifo.FIRST] + sram_fifo[q, SramFifo.COUNT]
            at = sram_fifo[q, SramFifo.BASE] + at % sram_fifo[q, SramFifo.CAPACITY]
            sram_fifo[q, SramFifo.COUNT] += 1
            store_bits(sram, sram_u16, regs, k, Kind.MEM, sram_fifo[q, SramFifo.TYPE], at, bits)
        elif d_kind == Kind.CONTROL_OUT:
            push(fifo, ring, event, wheel, clock, todo, thread[th, Thread.FIFO_D], leaves, bits | CONTROL_BIT)
        elif d_kind == Kind.FABRIC_OUT:
            if plan[i, Plan.PACKED_D]:
                half = np.int64(f32_to_f16(bits_to_f32(bits)))
                bits = half if pos & 1 == 0 else thread[th, Thread.HALF_D] | half << 16
                thread[th, Thread.HALF_D] = half
            if sends_wavelet(code, plan, thread, th, i, pos, 1):
                push(fifo, ring, event, wheel, clock, todo, thread[th, Thread.FIFO_D], leaves, bits)
        else:
            store_bits(sram, sram_u16, regs, k, d_kind, d_type, at, bits)
    return num, named


@leaf
def _source(
    code, plan, fifo, ring, sram_fifo, core, thread, event, wheel, clock, todo, sram, sram_u16, regs, k, th, cycle, pos,
    operand, fifo_col, addr_col, word_col, held_col, packed,
):  # fmt: skip
    """32 bits of a source of element `pos`."""
    i = thread[th, Thread.ROW]
    kind = code[i, operand + Operand.KIND]
    if kind == Kind.MEM:
        at = element_address(code, thread, th, i, operand, addr_col, pos)
        return load_bits(sram, sram_u16, regs, k, kind, code[i, operand + Operand.TYPE], at, 0)
    if kind == Kind.FIFO_POP:
        q = core[k, Core.SRAM_FIFO] + code[i, operand + Operand.BASE]
        at = sram_fifo[q, SramFifo.BASE] + sram_fifo[q, SramFifo.FIRST] % sram_fifo[q, SramFifo.CAPACITY]
        sram_fifo[q, SramFifo.FIRST] += 1
        sram_fifo[q, SramFifo.COUNT] -= 1
        return load_bits(sram, sram_u16, regs, k, Kind.MEM, sram_fifo[q, SramFifo.TYPE], at, 0)
    if kind == Kind.FABRIC_IN or kind == Kind.FABRIC_HELD:
        if takes_wavelet(code, plan, thread, th, i, operand, packed, pos):
            bits = pop(fifo, ring, event, wheel, clock, todo, thread[th, fifo_col], cycle)
            thread[th, word_col] = bits
            thread[th, held_col] = half_bits(bits, 0) if plan[i, packed] else bits
        elif plan[i, packed] and (kind == Kind.FABRIC_IN or pos % thread[th, Thread.STEP] == 0):
            thread[th, held_col] = half_bits(thread[th, word_col], 1)
        return thread[th, held_col]
    return load_bits(sram, sram_u16, regs, k, kind, Type.F32, thread[th, addr_col], thread[th, addr_col])
