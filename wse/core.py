"""One core in one cycle: the main thread's instructions, the threads' beats, and where every cycle went.

`step_core` is called only in cycles in which something can change; `account` fills in what the
cycles between were spent on. An operation that meets nobody (memory and registers only, no other
thread) runs in bulk: its end is computed when it starts, its arithmetic is done when it ends.
"""

from __future__ import annotations

import numpy as np

from wse._jit import bits_to_f32, f32_to_bits, inline, leaf
from wse.alu import alu_f32, load_bits, run_row, store_bits, wrap_i32
from wse.events import has_room, head_slot, pop, push, schedule
from wse.isa import Col, Done, Fault, Kind, Op, Operand, Stall, Type
from wse.state import NEVER, Chan, Clock, Core, Fifo, Rate, Thread


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
def _count_elements(core, thread, k, th, num):
    """Count the work of `num` elements of the operation on thread row th."""
    core[k, Core.FLOPS] += num * thread[th, Thread.FLOPS]
    core[k, Core.READ_BYTES] += num * thread[th, Thread.READ_BYTES]
    core[k, Core.WRITE_BYTES] += num * thread[th, Thread.WRITE_BYTES]


@inline
def _run_one(code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, a_bits, b_bits):
    """Execute element `pos` alone, as `run_elements` would: the common operations without a call."""
    i = thread[th, Thread.ROW]
    op = code[i, Col.OP]
    if not thread[th, Thread.LINEAR] or op > Op.MIN or (code[i, Col.TYPE] != Type.F32 and op != Op.MOV):
        return run_elements(
            code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, pos + 1, a_bits, b_bits
        )
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


@leaf
def catch_up(clock, code, core, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, cycle):
    """Do what the bulk operation on thread row th did before `cycle`, and account for the cycles until then."""
    inner = thread[th, Thread.STEP]
    lanes = thread[th, Thread.LANES]
    cycles = thread[th, Thread.CYCLES]
    gap = thread[th, Thread.GAP]
    first = thread[th, Thread.BULK_POS]
    end = thread[th, Thread.BULK_END]
    beats = (inner + lanes - 1) // lanes
    period = beats * cycles + gap
    passed = cycle - thread[th, Thread.BULK_START]
    done = first
    if passed > 0:  # beats that began before `cycle`: whole steps, then beats of the step at hand
        in_step = min(beats, ((passed - 1) % period) // cycles + 1)
        done = min(end, first + (passed - 1) // period * inner + min(in_step * lanes, inner))
    pos = thread[th, Thread.POS]
    began = _beats_between(pos - first, done - first, inner, lanes, beats)
    accounted = core[k, Core.ACCOUNTED]
    stop = cycle
    if began > 0:
        last = _beats_between(0, done - first, inner, lanes, beats) - 1
        stop = max(cycle, thread[th, Thread.BULK_START] + last // beats * period + (last % beats + 1) * cycles)
        core[k, Core.BUSY + thread[th, Thread.CLASS]] += began * cycles
        core[k, Core.LAST_CLASS] = thread[th, Thread.CLASS]
        clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], stop - 1)
    if stop > accounted:
        core[k, Core.STALL + Stall.OVERHEAD] += stop - accounted - began * cycles
        core[k, Core.ACCOUNTED] = stop
    if done > pos:
        held = thread[th, Thread.HELD]
        a_bits = thread[th, Thread.HELD_BITS] if held == 1 else thread[th, Thread.ADDR_A]
        b_bits = thread[th, Thread.HELD_BITS] if held == 2 else thread[th, Thread.ADDR_B]
        run_elements(code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, done, a_bits, b_bits)
        _count_elements(core, thread, k, th, done - pos)
        thread[th, Thread.POS] = done


@inline
def _beats_between(start, stop, inner, lanes, beats):
    """Beats that handle elements start..stop-1, both counted from the bulk's first element, at beat boundaries."""
    upto = stop // inner * beats + (stop % inner + lanes - 1) // lanes
    return upto - (start // inner * beats + (start % inner + lanes - 1) // lanes)


@inline
def _operand_cycle(fifo, ring, f):
    """Cycle from which the next wavelet of core queue f can be consumed; NEVER when none is under way."""
    if fifo[f, Fifo.COUNT] == 0:
        return NEVER
    return ring[head_slot(fifo, f), 0]


@inline
def data_cycle(fifo, ring, thread, th):
    """Cycle from which all fabric operands of the next beat are there."""
    ready = 0
    f = thread[th, Thread.FIFO_A]
    if f >= 0:
        ready = _operand_cycle(fifo, ring, f)
    f = thread[th, Thread.FIFO_B]
    if f >= 0:
        ready = max(ready, _operand_cycle(fifo, ring, f))
    held = thread[th, Thread.HELD]
    if held and thread[th, Thread.IN_STEP] != 0:
        # the held operand was taken at the start of the step; only the other one can be missing
        f = thread[th, Thread.FIFO_B] if held == 1 else thread[th, Thread.FIFO_A]
        ready = _operand_cycle(fifo, ring, f) if f >= 0 else 0
    return ready


@inline
def account(clock, code, fifo, ring, core, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, cycle):
    """Attribute the cycles since the last call, up to `cycle`, in which core k began no beat."""
    since = core[k, Core.ACCOUNTED]
    if since >= cycle:
        return
    base = core[k, Core.THREAD]
    for th in range(base, base + core[k, Core.NUM_THREADS]):
        if thread[th, Thread.LIVE] and thread[th, Thread.BULK]:
            catch_up(clock, code, core, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, cycle)
            return
    core[k, Core.ACCOUNTED] = cycle
    attribute(fifo, ring, core, thread, k, since, cycle, 1)


@inline
def attribute(fifo, ring, core, thread, k, since, cycle, sign):
    """Add (sign 1) or take back (-1) the cycles since .. cycle - 1, without a beat, to the reasons of core k's stalls."""
    base = core[k, Core.THREAD]
    th = -1
    for i in range(core[k, Core.NUM_THREADS]):
        if thread[base + i, Thread.LIVE]:
            th = base + i
            break
    if th != base and core[k, Core.RUNNING]:
        ready = min(cycle, core[k, Core.READY])
        if ready > since:
            core[k, Core.STALL + Stall.OVERHEAD] += sign * (ready - since)
            since = ready
    if th >= 0 and since < cycle:
        upto = min(cycle, max(since, thread[th, Thread.NEXT]))
        core[k, Core.STALL + Stall.OVERHEAD] += sign * (upto - since)
        if upto < cycle:
            ready = min(cycle, max(upto, data_cycle(fifo, ring, thread, th)))
            core[k, Core.STALL + Stall.DATA] += sign * (ready - upto)
            core[k, Core.STALL + Stall.ROOM] += sign * (cycle - ready)


@leaf
def _find_fifo(chan, core, num_channels, k, color, into_core):
    """The core queue (into_core) or outgoing FIFO of a color at core k; verify() has seen to it that it exists."""
    first = core[k, Core.CHAN]
    for c in range(first, first + core[k, Core.NUM_CHANS]):
        if chan[c, Chan.COLOR] == color:
            if not into_core:
                return c
            for i in range(chan[c, Chan.NUM_DST]):
                d = chan[c, Chan.DST + i]
                if d >= num_channels:
                    return d
    return -1


@leaf
def _resolve(code, chan, core, thread, regs, num_channels, k, th, i, operand, fifo_col, addr_col, num):
    """Address or FIFO of one operand at issue; (ok, bytes per element, 0 if it is not in memory)."""
    kind = code[i, operand + Operand.KIND]
    base = code[i, operand + Operand.BASE]
    thread[th, fifo_col] = -1
    thread[th, addr_col] = base
    if kind == Kind.FABRIC_IN or kind == Kind.FABRIC_HELD:
        thread[th, fifo_col] = _find_fifo(chan, core, num_channels, k, base, True)
    elif kind == Kind.FABRIC_OUT:
        thread[th, fifo_col] = _find_fifo(chan, core, num_channels, k, base, False)
    if kind != Kind.MEM:
        return True, 0
    size = 2 if code[i, operand + Operand.TYPE] == Type.F16 else 4
    first = base // size
    r = code[i, operand + Operand.OFFSET_REG]
    if r >= 0:
        first += regs[k, r]
    low = first
    high = first
    for axis in range(4):
        reach = (thread[th, Thread.EXTENT + axis] - 1) * code[i, operand + Operand.STRIDE + axis]
        low += min(0, reach)
        high += max(0, reach)
    thread[th, addr_col] = core[k, Core.SRAM] * (4 // size) + first
    return num == 0 or (low >= 0 and (high + 1) * size <= core[k, Core.SRAM_BYTES]), size


@leaf
def issue(clock, rate, code, op_class, flops, chan, core, thread, regs, num_channels, k, th, i, cycle):
    """Set up vector instruction i on thread row th. Returns whether its operands are in bounds."""
    op = code[i, Col.OP]
    num = 1
    for axis in range(4):
        extent = code[i, Col.EXTENT + axis]
        r = code[i, Col.EXTENT_REG + axis]
        if r >= 0:
            extent = max(0, regs[k, r])
        thread[th, Thread.EXTENT + axis] = extent
        num *= extent
    ok_d, size_d = _resolve(
        code, chan, core, thread, regs, num_channels, k, th, i, Col.D, Thread.FIFO_D, Thread.ADDR_D, num
    )
    ok_a, size_a = _resolve(
        code, chan, core, thread, regs, num_channels, k, th, i, Col.A, Thread.FIFO_A, Thread.ADDR_A, num
    )
    ok_b, size_b = _resolve(
        code, chan, core, thread, regs, num_channels, k, th, i, Col.B, Thread.FIFO_B, Thread.ADDR_B, num
    )
    kind_a = code[i, Col.A + Operand.KIND]
    kind_b = code[i, Col.B + Operand.KIND]
    held = 1 if kind_a == Kind.FABRIC_HELD else 2 if kind_b == Kind.FABRIC_HELD else 0
    streams = thread[th, Thread.FIFO_D] >= 0 or kind_a == Kind.FABRIC_IN or kind_b == Kind.FABRIC_IN
    cls = op_class[op]
    mapped = code[i, Col.MAPPED]
    thread[th, Thread.LIVE] = 1
    thread[th, Thread.ROW] = i
    thread[th, Thread.POS] = 0
    thread[th, Thread.NUM] = num
    thread[th, Thread.CLASS] = cls
    thread[th, Thread.LANES] = 1 if streams else rate[Rate.LANES + cls]
    thread[th, Thread.CYCLES] = rate[Rate.CYCLES + cls]
    thread[th, Thread.HELD] = held
    thread[th, Thread.STEP] = max(1, thread[th, Thread.EXTENT + 3] if mapped else num)
    thread[th, Thread.GAP] = rate[Rate.MAP_STEP] if mapped else 0
    thread[th, Thread.FLOPS] = flops[op] if code[i, Col.TYPE] == Type.F32 else 0
    thread[th, Thread.READ_BYTES] = size_a + size_b + (size_d if op == Op.FMAC else 0)
    thread[th, Thread.WRITE_BYTES] = size_d
    thread[th, Thread.ENDING] = num == 0
    thread[th, Thread.BULK] = 0
    thread[th, Thread.IN_STEP] = 0
    thread[th, Thread.LINEAR] = thread[th, Thread.EXTENT + 3] == num
    # ready for its first beat, or, with nothing to do, over
    thread[th, Thread.NEXT] = cycle + rate[Rate.ISSUE] - 1 + thread[th, Thread.GAP] if num else cycle + rate[Rate.ISSUE]
    core[k, Core.LIVE] += 1
    core[k, Core.INSTRUCTIONS] += 1
    under_way = cycle + rate[Rate.ISSUE] - 1 if code[i, Col.THREAD] else cycle
    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], under_way, thread[th, Thread.NEXT] - 1)
    return ok_d and ok_a and ok_b


@leaf
def _finish(code, core, thread, k, th, cycle):
    """The operation on thread row th is over: free the thread, wake the main thread or a task."""
    thread[th, Thread.LIVE] = 0
    core[k, Core.LIVE] -= 1
    if th == core[k, Core.THREAD]:
        core[k, Core.READY] = cycle
        return
    i = thread[th, Thread.ROW]
    if code[i, Col.DONE] == Done.ACTIVATE:
        core[k, Core.ACTIVE] |= 1 << code[i, Col.TASK]
    elif code[i, Col.DONE] == Done.UNBLOCK:
        core[k, Core.BLOCKED] &= ~(1 << code[i, Col.TASK])


@leaf
def _holds(code, regs, k, i):
    """Whether the branch in row i is taken."""
    op = code[i, Col.OP]
    if op == Op.JUMP:
        return True
    a = _scalar_bits(code, regs, k, i, Col.A)
    b = _scalar_bits(code, regs, k, i, Col.B)
    if code[i, Col.TYPE] == Type.F32:
        return _compare(op, bits_to_f32(a), bits_to_f32(b))
    return _compare(op, wrap_i32(a), wrap_i32(b))


@inline
def _scalar_bits(code, regs, k, i, operand):
    base = code[i, operand + Operand.BASE]
    return np.int64(regs[k, base]) if code[i, operand + Operand.KIND] == Kind.REG else base


@inline
def _compare(op, a, b):
    if op == Op.BLT:
        return a < b
    if op == Op.BGE:
        return a >= b
    if op == Op.BEQ:
        return a == b
    return a != b


@leaf
def _control(clock, rate, code, core, regs, k, i, cycle):
    """Execute control instruction i: tasks and branches, which do not use the datapath."""
    op = code[i, Col.OP]
    bit = 1 << code[i, Col.TASK]
    cost = rate[Rate.CONTROL]
    core[k, Core.PC] = i + 1
    if op == Op.ACTIVATE:
        core[k, Core.ACTIVE] |= bit
    elif op == Op.BLOCK:
        core[k, Core.BLOCKED] |= bit
    elif op == Op.UNBLOCK:
        core[k, Core.BLOCKED] &= ~bit
    elif _holds(code, regs, k, i):
        core[k, Core.PC] = code[i, Col.TARGET]
        cost = rate[Rate.TAKEN]
    else:
        cost = rate[Rate.NOT_TAKEN]
    core[k, Core.READY] = cycle + cost
    core[k, Core.INSTRUCTIONS] += 1
    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], cycle + cost - 1)


@leaf
def _fault(clock, fault, k, i, cycle):
    """Record the first fault; the run stops at the end of this cycle."""
    if clock[Clock.FAULT] == Fault.NONE:
        clock[Clock.FAULT] = fault
        clock[Clock.FAULT_CORE] = k
        clock[Clock.FAULT_ROW] = i
        clock[Clock.FAULT_CYCLE] = cycle


@leaf
def _step_main(clock, rate, code, op_class, flops, task_entry, chan, core, thread, regs, num_channels, k, cycle):
    """Let the main thread pick a task or issue its next instruction, if it can."""
    th = core[k, Core.THREAD]
    while not thread[th, Thread.LIVE]:
        if not core[k, Core.RUNNING]:
            runnable = core[k, Core.ACTIVE] & ~core[k, Core.BLOCKED]
            if runnable == 0:
                return
            task = 0
            while not (runnable >> task) & 1:
                task += 1
            core[k, Core.ACTIVE] &= ~(1 << task)
            core[k, Core.RUNNING] = 1
            core[k, Core.PC] = task_entry[core[k, Core.TASKS] + task]
            core[k, Core.READY] = cycle + (rate[Rate.TASK_START] if cycle > 0 else 0)
            clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], core[k, Core.READY] - 1)
        if core[k, Core.READY] > cycle:
            return
        i = core[k, Core.PC]
        if code[i, Col.OP] == Op.END:
            core[k, Core.RUNNING] = 0
        elif code[i, Col.OP] > Op.ARGMAX:
            _control(clock, rate, code, core, regs, k, i, cycle)
            return
        else:
            target = th + code[i, Col.THREAD]
            if thread[target, Thread.LIVE]:
                return
            if not issue(clock, rate, code, op_class, flops, chan, core, thread, regs, num_channels, k, target, i, cycle):
                _fault(clock, Fault.OUT_OF_BOUNDS, k, i, cycle)
                thread[target, Thread.ENDING] = 1
                thread[target, Thread.NEXT] = NEVER
            core[k, Core.PC] = i + 1
            core[k, Core.READY] = cycle + rate[Rate.ISSUE]
            return


@inline
def _begin_bulk(code, core, thread, k, th, cycle):
    """Start a bulk at the beat at hand if nobody can meet the operation before its end; returns whether it did."""
    pos = thread[th, Thread.POS]
    step = thread[th, Thread.STEP]
    held = thread[th, Thread.HELD]
    if core[k, Core.LIVE] != 1 or thread[th, Thread.FIFO_D] >= 0 or thread[th, Thread.IN_STEP] != 0:
        return False
    if (thread[th, Thread.FIFO_A] >= 0 and held != 1) or (thread[th, Thread.FIFO_B] >= 0 and held != 2):
        return False
    if th != core[k, Core.THREAD] and (core[k, Core.RUNNING] or core[k, Core.ACTIVE]):
        return False
    i = thread[th, Thread.ROW]
    if code[i, Col.TYPE] == Type.I32 and (code[i, Col.OP] == Op.DIV or code[i, Col.OP] == Op.MOD):
        return False  # a division by zero must be seen in its cycle
    end = pos + step if held else thread[th, Thread.NUM]
    lanes = thread[th, Thread.LANES]
    if end - pos <= lanes:
        return False
    beats = (step + lanes - 1) // lanes
    steps = (end - pos) // step
    thread[th, Thread.BULK] = 1
    thread[th, Thread.BULK_POS] = pos
    thread[th, Thread.BULK_END] = end
    thread[th, Thread.BULK_START] = cycle
    thread[th, Thread.NEXT] = cycle + steps * beats * thread[th, Thread.CYCLES] + (steps - 1) * thread[th, Thread.GAP]
    return True


@inline
def _take(fifo, ring, event, wheel, clock, num_channels, num_cores, f, cycle):
    """Consume the next wavelet of core queue f."""
    bits = ring[head_slot(fifo, f), 1]
    pop(fifo, event, wheel, clock, num_channels, num_cores, f, cycle)
    return bits


@inline
def _beat(
    clock, rate, code, fifo, ring, core, thread, event, wheel, sram, sram_f32, sram_u16, regs, regs_f32,
    num_channels, num_cores, k, th, cycle,
):  # fmt: skip
    """Execute the next beat of thread row th: its operands are there and its output has room."""
    pos = thread[th, Thread.POS]
    step = thread[th, Thread.STEP]
    in_step = thread[th, Thread.IN_STEP]
    held = thread[th, Thread.HELD]
    f = thread[th, Thread.FIFO_A]
    a_bits = thread[th, Thread.ADDR_A]  # of an immediate; anything else does not look at it
    if held == 1:
        if in_step == 0:
            thread[th, Thread.HELD_BITS] = _take(fifo, ring, event, wheel, clock, num_channels, num_cores, f, cycle)
        a_bits = thread[th, Thread.HELD_BITS]
    elif f >= 0:
        a_bits = _take(fifo, ring, event, wheel, clock, num_channels, num_cores, f, cycle)
    f = thread[th, Thread.FIFO_B]
    b_bits = thread[th, Thread.ADDR_B]
    if held == 2:
        if in_step == 0:
            thread[th, Thread.HELD_BITS] = _take(fifo, ring, event, wheel, clock, num_channels, num_cores, f, cycle)
        b_bits = thread[th, Thread.HELD_BITS]
    elif f >= 0:
        b_bits = _take(fifo, ring, event, wheel, clock, num_channels, num_cores, f, cycle)
    if _begin_bulk(code, core, thread, k, th, cycle):
        return
    cycles = thread[th, Thread.CYCLES]
    count = min(thread[th, Thread.LANES], step - in_step)
    if count == 1:
        bits, faulty = _run_one(code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, a_bits, b_bits)
    else:
        bits, faulty = run_elements(
            code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, pos + count, a_bits, b_bits
        )
    _count_elements(core, thread, k, th, count)
    thread[th, Thread.POS] = pos + count
    thread[th, Thread.IN_STEP] = in_step + count
    if faulty:
        _fault(clock, Fault.DIVIDE_BY_ZERO, k, thread[th, Thread.ROW], cycle)
    f = thread[th, Thread.FIFO_D]
    if f >= 0:
        push(fifo, ring, event, wheel, clock, num_channels, f, cycle + cycles + rate[Rate.RAMP_OUT], bits)
    core[k, Core.BUSY + thread[th, Thread.CLASS]] += cycles
    core[k, Core.LAST_CLASS] = thread[th, Thread.CLASS]
    core[k, Core.ACCOUNTED] = cycle + cycles
    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], cycle + cycles - 1)
    thread[th, Thread.NEXT] = cycle + cycles
    if pos + count == thread[th, Thread.NUM]:
        thread[th, Thread.ENDING] = 1
    elif in_step + count == step:
        thread[th, Thread.IN_STEP] = 0
        thread[th, Thread.NEXT] += thread[th, Thread.GAP]
        clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], thread[th, Thread.NEXT] - 1)


@inline
def _next_look(clock, fifo, ring, core, thread, k, cycle):
    """The next cycle in which core k may have something to do; NEVER when a push or pop will wake it."""
    base = core[k, Core.THREAD]
    look = NEVER
    if core[k, Core.RUNNING] and not thread[base, Thread.LIVE] and core[k, Core.READY] > cycle:
        look = core[k, Core.READY]
    for i in range(core[k, Core.NUM_THREADS]):
        th = base + i
        if not thread[th, Thread.LIVE]:
            continue
        at = max(thread[th, Thread.NEXT], cycle + 1)
        if not thread[th, Thread.ENDING] and not thread[th, Thread.BULK]:
            at = max(at, core[k, Core.ACCOUNTED])
            ready = data_cycle(fifo, ring, thread, th)
            d = thread[th, Thread.FIFO_D]
            if ready == NEVER:
                for col in range(Thread.FIFO_A, Thread.FIFO_B + 1):
                    f = thread[th, col]
                    if f >= 0 and fifo[f, Fifo.COUNT] == 0:
                        fifo[f, Fifo.CONSUMER_WAITS] = 1
                at = NEVER
            elif d >= 0 and fifo[d, Fifo.COUNT] >= fifo[d, Fifo.ROOM]:
                fifo[d, Fifo.PRODUCER_WAITS] = 1
                at = NEVER
            else:
                at = max(at, ready)
        look = min(look, at)
    return look


@inline
def step_core(
    clock, rate, code, op_class, flops, task_entry, fifo, ring, chan, core, thread, event, wheel,
    sram, sram_f32, sram_u16, regs, regs_f32, num_channels, num_cores, k, cycle,
):  # fmt: skip
    """Everything core k does in `cycle`, and when to look at it next."""
    account(clock, code, fifo, ring, core, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, cycle)
    base = core[k, Core.THREAD]
    num = core[k, Core.NUM_THREADS]
    for th in range(base, base + num):
        if thread[th, Thread.LIVE] and thread[th, Thread.NEXT] <= cycle:
            if thread[th, Thread.BULK]:
                thread[th, Thread.BULK] = 0
                if thread[th, Thread.POS] == thread[th, Thread.NUM]:
                    thread[th, Thread.ENDING] = 1
                else:
                    thread[th, Thread.NEXT] = cycle + thread[th, Thread.GAP]
                    clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], thread[th, Thread.NEXT] - 1)
            if thread[th, Thread.ENDING]:
                _finish(code, core, thread, k, th, cycle)
    if not thread[base, Thread.LIVE]:
        _step_main(clock, rate, code, op_class, flops, task_entry, chan, core, thread, regs, num_channels, k, cycle)
    if core[k, Core.LIVE] and core[k, Core.ACCOUNTED] <= cycle:
        th = base + core[k, Core.LAST_THREAD]
        for _ in range(num):
            th = th + 1 if th + 1 < base + num else base
            if (
                not thread[th, Thread.LIVE]
                or thread[th, Thread.NEXT] > cycle
                or thread[th, Thread.BULK]
                or thread[th, Thread.ENDING]
                or data_cycle(fifo, ring, thread, th) > cycle
            ):
                continue
            d = thread[th, Thread.FIFO_D]
            if d >= 0 and not has_room(fifo, d, cycle):
                continue
            core[k, Core.LAST_THREAD] = th - base
            _beat(
                clock, rate, code, fifo, ring, core, thread, event, wheel, sram, sram_f32, sram_u16, regs, regs_f32,
                num_channels, num_cores, k, th, cycle,
            )  # fmt: skip
            break
    look = _next_look(clock, fifo, ring, core, thread, k, cycle)
    if look < NEVER:
        schedule(event, wheel, clock, 1, num_channels + k, look)
    elif not core[k, Core.LIVE] and not core[k, Core.RUNNING] and not core[k, Core.ACTIVE] and not core[k, Core.ENDED]:
        core[k, Core.ENDED] = 1
        clock[Clock.ALIVE] -= 1
        clock[Clock.LAST_END] = max(clock[Clock.LAST_END], cycle)
