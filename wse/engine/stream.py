"""Streams: an operation that takes or sends wavelets beat by beat, run as far ahead as its wavelets are known.

It has to be the only thing on its core until it ends, so that nothing can come between its beats. Then each beat
executes when its wavelets are there, its output has room and the beat before is over, and all three may be known before their
cycle comes.
"""

from __future__ import annotations

import numpy as np

from wse._jit import bits_to_f32, f32_to_f16, inline, leaf
from wse.engine.account import count_busy, count_elements, note_waits
from wse.engine.alu import half_bits, load_bits, simple_bits, store_bits, wrap_i32
from wse.engine.elements import run_elements
from wse.engine.fabric import drain
from wse.engine.state import NEVER, Clock, Core, Fifo, Phase, Plan, Rate, Thread, Waits
from wse.engine.trace import Category
from wse.engine.wheel import head_cycle, pop, wake_consumer, wake_producer
from wse.isa import Col, Kind, Op, Operand, Stall, Type


@leaf
def is_stream(plan, core, thread, k, th):
    """Whether the operation on thread row th is a stream that nothing else on core k can meet before it ends."""
    if core[k, Core.LIVE] != 1 or core[k, Core.LISTENS] or thread[th, Thread.PHASE] != Phase.LIVE:
        return False
    if not plan[thread[th, Thread.ROW], Plan.STREAMS]:
        return False
    return th == core[k, Core.THREAD] or not (core[k, Core.RUNNING] or core[k, Core.ACTIVE])


@inline
def run_stream(
    clock, rate, code, plan, row_cycles, fifo, ring, chan, rival, switch, core, thread, event, wheel, todo,
    journal, trace, source, sink, out_value, out_cycle, sram, sram_f32, sram_u16, regs, regs_f32, k, th, cycle,
):  # fmt: skip
    """Execute the beats of the stream on thread row th that are known up to `cycle`, or up to cycle AHEAD if that is later.

    Returns the cycle in which to look again; NEVER when an entry or exit of a FIFO will wake the core.
    """
    i = thread[th, Thread.ROW]
    op, type = code[i, Col.OP], code[i, Col.TYPE]
    fd = thread[th, Thread.FIFO_D]
    fa = thread[th, Thread.FIFO_A]
    fb = thread[th, Thread.FIFO_B]
    d_kind, d_type = code[i, Col.D + Operand.KIND], code[i, Col.D + Operand.TYPE]
    a_kind, a_type = code[i, Col.A + Operand.KIND], code[i, Col.A + Operand.TYPE]
    b_kind, b_type = code[i, Col.B + Operand.KIND], code[i, Col.B + Operand.TYPE]
    d_stride = code[i, Col.D + Operand.STRIDE + 3]
    a_stride = code[i, Col.A + Operand.STRIDE + 3]
    b_stride = code[i, Col.B + Operand.STRIDE + 3]
    d_addr = thread[th, Thread.ADDR_D]
    a_addr = thread[th, Thread.ADDR_A]
    b_addr = thread[th, Thread.ADDR_B]
    half = type == Type.F16
    lanes = plan[i, Plan.LANES]
    simple = thread[th, Thread.LINEAR] and op <= Op.MIN and (type == Type.F32 or half or op == Op.MOV)
    # of a packed operand 1: elements at even positions come with a wavelet, those at odd positions leave with one
    a_pair, b_pair, d_pair = plan[i, Plan.PACKED_A], plan[i, Plan.PACKED_B], plan[i, Plan.PACKED_D]
    i_pair = a_pair if fa >= 0 else b_pair
    a_word, b_word, d_half = thread[th, Thread.WORD_A], thread[th, Thread.WORD_B], thread[th, Thread.HALF_D]
    # an element of 32 bits a beat, in memory or a wavelet: most streams in f32
    plain = (
        simple and not half and lanes == 1 and not (a_pair or b_pair or d_pair)
        and (fa >= 0 or (a_kind == Kind.MEM and a_type != Type.F16))
        and (fb >= 0 or op == Op.MOV or (b_kind == Kind.MEM and b_type != Type.F16))
        and (fd >= 0 or (d_kind == Kind.MEM and d_type != Type.F16))
    )  # fmt: skip
    cycles = plan[i, Plan.CYCLES]
    latency = cycles + rate[Rate.RAMP_OUT]
    until = max(cycle, clock[Clock.AHEAD])
    both = fa >= 0 and fb >= 0
    num = thread[th, Thread.NUM]
    waits = clock[Clock.TRACED] & Category.QUEUE and core[k, Core.TRACED]
    if clock[Clock.TO_END]:
        end = thread[th, Thread.NEXT] + (num - thread[th, Thread.POS]) // lanes * cycles  # at the earliest
        clock[Clock.SURE] = max(clock[Clock.SURE], min(end - 1, clock[Clock.AHEAD]))
    look = NEVER
    blocked = False
    while not blocked:
        # what the FIFOs and the operation hold stays in locals until the fabric has to be asked
        fi = fa if fa >= 0 else fb
        i_head, i_count, i_base, i_mask = 0, 0, 0, 0
        if fi >= 0:
            i_head, i_count, i_base, i_mask = fifo[fi, Fifo.HEAD], fifo[fi, Fifo.COUNT], fifo[fi, Fifo.BASE], fifo[fi, Fifo.MASK]
        d_count, d_end, d_room, d_base, d_mask = 0, 0, 0, 0, 0
        if fd >= 0:
            d_count, d_room, d_base, d_mask = fifo[fd, Fifo.COUNT], fifo[fd, Fifo.ROOM], fifo[fd, Fifo.BASE], fifo[fd, Fifo.MASK]
            d_end = fifo[fd, Fifo.HEAD] + d_count
        first = thread[th, Thread.POS]
        start = thread[th, Thread.NEXT]
        accounted = core[k, Core.ACCOUNTED]
        first_at = NEVER
        overhead, no_data, no_room = 0, 0, 0
        beats = 0
        pos = first
        while pos < num:
            stop = min(pos + lanes, num)
            takes = fi >= 0 and pos & i_pair == 0
            takes_both = both and pos & b_pair == 0
            sends = fd >= 0 and (stop & d_pair == 0 or stop == num)
            ready, free = 0, 0
            if takes:
                ready = ring[i_base + (i_head & i_mask), 0] if i_count > 0 else NEVER
            if takes_both:
                ready = max(ready, head_cycle(fifo, ring, fb))
            if sends:
                free = ring[d_base + ((d_end - d_room) & d_mask), 0] + 1 if d_count < d_room else NEVER
            at = max(start, accounted, ready, free)
            if at > until:
                look = at
                break
            if at > accounted:
                could = min(at, max(accounted, start))
                got = min(at, max(could, ready))
                overhead += could - accounted
                no_data += got - could
                no_room += at - got
                if waits:
                    note_waits(trace, thread, k, th, th - core[k, Core.THREAD], could, got, at)
            if takes:
                slot = i_base + (i_head & i_mask)
                ring[slot, 0] = at
                i_head += 1
                i_count -= 1
                if fa >= 0:
                    a_word = ring[slot, 1]
                else:
                    b_word = ring[slot, 1]
            if takes_both:
                b_word = pop(fifo, ring, event, wheel, clock, todo, fb, at)
            bits = np.int64(0)
            if plain:
                a_bits = a_word if fa >= 0 else np.int64(sram[a_addr + pos * a_stride]) & 0xFFFFFFFF
                b_bits = b_word
                if fb < 0 and op != Op.MOV:
                    b_bits = np.int64(sram[b_addr + pos * b_stride]) & 0xFFFFFFFF
                bits = simple_bits(op, False, a_bits, b_bits)
                if fd < 0:
                    sram[d_addr + pos * d_stride] = wrap_i32(bits)
                pos += 1
            while pos < stop:
                a_bits, b_bits = a_addr, b_addr
                if fa >= 0:
                    a_bits = half_bits(a_word, pos & 1) if a_pair else a_word
                if fb >= 0:
                    b_bits = half_bits(b_word, pos & 1) if b_pair else b_word
                if simple:
                    a_bits = load_bits(sram, sram_u16, regs, k, a_kind, a_type, a_addr + pos * a_stride, a_bits)
                    if op != Op.MOV:
                        b_bits = load_bits(sram, sram_u16, regs, k, b_kind, b_type, b_addr + pos * b_stride, b_bits)
                    bits = simple_bits(op, half, a_bits, b_bits)
                    store_bits(sram, sram_u16, regs, k, d_kind, d_type, d_addr + pos * d_stride, bits)
                else:
                    bits, _ = run_elements(code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, pos + 1, a_bits, b_bits)
                if d_pair:
                    bits = np.int64(f32_to_f16(bits_to_f32(bits)))
                    if pos & 1:
                        bits = d_half | bits << 16
                    d_half = bits
                pos += 1
            if sends:
                slot = d_base + (d_end & d_mask)
                ring[slot, 0] = at + latency
                ring[slot, 1] = bits
                d_count += 1
                d_end += 1
            if beats == 0:
                first_at = at
            beats += 1
            start = at + cycles
            accounted = start
        if beats > 0:
            core[k, Core.STALL + Stall.OVERHEAD] += overhead
            core[k, Core.STALL + Stall.DATA] += no_data
            core[k, Core.STALL + Stall.ROOM] += no_room
            core[k, Core.ACCOUNTED] = accounted
            core[k, Core.LAST_BANK] = 0
            core[k, Core.LAST_THREAD] = th - core[k, Core.THREAD]
            thread[th, Thread.POS] = pos
            thread[th, Thread.NEXT] = start
            thread[th, Thread.WORD_A], thread[th, Thread.WORD_B], thread[th, Thread.HALF_D] = a_word, b_word, d_half
            count_elements(plan, core, thread, k, th, pos - first)
            count_busy(plan, row_cycles, core, thread, k, th, beats * cycles)
            clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], start - 1)
            if fi >= 0:
                fifo[fi, Fifo.HEAD] = i_head
                fifo[fi, Fifo.COUNT] = i_count
                wake_producer(fifo, event, wheel, clock, todo, fi, first_at)
            if fd >= 0:
                before = fifo[fd, Fifo.COUNT]
                fifo[fd, Fifo.COUNT] = d_count
                wake_consumer(fifo, event, wheel, clock, todo, fd, before, first_at + latency)
        blocked = True
        if pos == num:
            thread[th, Thread.PHASE] = Phase.ENDING
            core[k, Core.STREAM] = -1
            look = start
        elif look == NEVER:
            if todo[0]:
                drain(
                    clock, rate, plan, fifo, ring, chan, rival, switch, core, thread, event, wheel, todo, journal, trace,
                    source, sink, out_value, out_cycle, cycle,
                )  # fmt: skip
                blocked = False
            elif sends and d_count >= d_room:
                fifo[fd, Fifo.WAITS] |= Waits.PRODUCER
            else:
                if takes and i_count == 0:
                    fifo[fi, Fifo.WAITS] |= Waits.CONSUMER
                if takes_both and fifo[fb, Fifo.COUNT] == 0:
                    fifo[fb, Fifo.WAITS] |= Waits.CONSUMER
    return look
