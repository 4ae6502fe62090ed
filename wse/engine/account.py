"""Where every cycle of a core went: the cycles between beats, by reason, and operations that ran in bulk."""

from __future__ import annotations

from wse._jit import inline, leaf
from wse.engine.elements import run_elements
from wse.engine.odd import beat_size, fifos_ready, sends_wavelet, takes_wavelet
from wse.engine.state import NEVER, Clock, Core, Phase, Plan, Thread
from wse.engine.switch import CONTROL_BIT
from wse.engine.trace import Category, Note, note
from wse.engine.wheel import head_bits, ready_cycle, room_cycle
from wse.isa import Col, Stall


@leaf
def data_cycle(code, fifo, ring, plan, sram_fifo, core, thread, k, th):
    """Cycle from which all fabric operands of the next beat are there; NEVER when one is not even under way."""
    i = thread[th, Thread.ROW]
    pos = thread[th, Thread.POS]
    ready = 0
    if plan[i, Plan.ODD]:
        if not fifos_ready(code, plan, sram_fifo, core, thread, k, th)[0]:
            return NEVER
        if takes_wavelet(code, plan, thread, th, i, Col.A, Plan.PACKED_A, pos):
            ready = _wavelet_cycle(fifo, ring, thread[th, Thread.FIFO_A])
        if takes_wavelet(code, plan, thread, th, i, Col.B, Plan.PACKED_B, pos):
            ready = max(ready, _wavelet_cycle(fifo, ring, thread[th, Thread.FIFO_B]))
        return ready
    taken = plan[i, Plan.HELD] if thread[th, Thread.IN_STEP] != 0 else 0  # a held operand is taken at the start of a step
    f = thread[th, Thread.FIFO_A]
    if f >= 0 and taken != 1:
        ready = _wavelet_cycle(fifo, ring, f)
    f = thread[th, Thread.FIFO_B]
    if f >= 0 and taken != 2:
        ready = max(ready, _wavelet_cycle(fifo, ring, f))
    return ready


@inline
def _wavelet_cycle(fifo, ring, f):
    """Cycle from which the next wavelet of core queue f can be an operand; NEVER when a control wavelet has to be taken off first."""
    ready = ready_cycle(fifo, ring, f)
    if ready < NEVER and head_bits(fifo, ring, f) & CONTROL_BIT:
        return NEVER
    return ready


@leaf
def room_for_beat(code, fifo, ring, plan, sram_fifo, core, thread, k, th):
    """Cycle from which there is room for what the next beat sends or pushes; NEVER when that is not known."""
    i = thread[th, Thread.ROW]
    d = thread[th, Thread.FIFO_D]
    if plan[i, Plan.ODD]:
        if not fifos_ready(code, plan, sram_fifo, core, thread, k, th)[1]:
            return NEVER
        if not sends_wavelet(code, plan, thread, th, i, thread[th, Thread.POS], beat_size(plan, thread, th, i)):
            return 0
    return room_cycle(fifo, ring, d) if d >= 0 else 0


@inline
def count_elements(plan, core, thread, k, th, num):
    """Count the work of `num` elements of the operation on thread row th."""
    i = thread[th, Thread.ROW]
    core[k, Core.FLOPS] += num * plan[i, Plan.FLOPS]
    core[k, Core.READ_BYTES] += num * plan[i, Plan.READ_BYTES]
    core[k, Core.WRITE_BYTES] += num * plan[i, Plan.WRITE_BYTES]


@inline
def count_busy(plan, row_cycles, core, thread, k, th, cycles):
    """Count `cycles` with a beat of the operation on thread row th under way."""
    i = thread[th, Thread.ROW]
    core[k, Core.BUSY + plan[i, Plan.CLASS]] += cycles
    core[k, Core.LAST_ROW] = i
    row_cycles[i, 0] += cycles


@leaf
def account(
    clock, code, plan, row_cycles, fifo, ring, sram_fifo, core, thread, trace, sram, sram_f32, sram_u16, regs, regs_f32, k, cycle,
):  # fmt: skip
    """Attribute the cycles since the last call, up to `cycle`, in which core k began no beat."""
    since = core[k, Core.ACCOUNTED]
    if since >= cycle:
        return
    base = core[k, Core.THREAD]
    for th in range(base, base + core[k, Core.NUM_THREADS]):
        if thread[th, Thread.PHASE] == Phase.BULK:
            catch_up(clock, code, plan, row_cycles, core, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, cycle)
            return
    core[k, Core.ACCOUNTED] = cycle
    attribute(clock, code, fifo, ring, plan, sram_fifo, core, thread, trace, k, since, cycle, 1)


@leaf
def attribute(clock, code, fifo, ring, plan, sram_fifo, core, thread, trace, k, since, cycle, sign):
    """Add (sign 1) or take back (-1) the cycles since .. cycle - 1, without a beat, to the reasons of core k's stalls."""
    base = core[k, Core.THREAD]
    th = -1
    for i in range(core[k, Core.NUM_THREADS]):
        if thread[base + i, Thread.PHASE] != Phase.FREE:
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
            ready = min(cycle, max(upto, data_cycle(code, fifo, ring, plan, sram_fifo, core, thread, k, th)))
            core[k, Core.STALL + Stall.DATA] += sign * (ready - upto)
            core[k, Core.STALL + Stall.ROOM] += sign * (cycle - ready)
            if clock[Clock.TRACED] & Category.QUEUE and core[k, Core.TRACED] and sign > 0:
                note_waits(trace, thread, k, th, th - base, upto, ready, cycle)


@leaf
def note_waits(trace, thread, k, th, number, since, ready, begins):
    """Trace that the next beat of thread row th waits for wavelets from `since` on, and from `ready` until `begins` for room."""
    if ready > since:
        note(trace, Note.WAIT_DATA, since, ready, k, thread[th, Thread.ROW], number, 0, 0)
    if begins > ready:
        note(trace, Note.WAIT_ROOM, ready, begins, k, thread[th, Thread.ROW], number, 0, 0)


@leaf
def catch_up(clock, code, plan, row_cycles, core, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, cycle):
    """Do what the bulk operation on thread row th did before `cycle`, and account for the cycles until then."""
    i = thread[th, Thread.ROW]
    inner = thread[th, Thread.STEP]
    lanes = plan[i, Plan.LANES]
    cycles = plan[i, Plan.CYCLES]
    first = thread[th, Thread.BULK_POS]
    end = thread[th, Thread.BULK_END]
    beats = (inner + lanes - 1) // lanes
    period = beats * cycles + plan[i, Plan.GAP]
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
        count_busy(plan, row_cycles, core, thread, k, th, began * cycles)
        core[k, Core.LAST_BANK] = 0
        clock[Clock.LAST_ACTIVE] = max(clock[Clock.LAST_ACTIVE], stop - 1)
    if stop > accounted:
        core[k, Core.STALL + Stall.OVERHEAD] += stop - accounted - began * cycles
        core[k, Core.ACCOUNTED] = stop
    if done > pos:
        held = plan[i, Plan.HELD]
        a_bits = thread[th, Thread.HELD_A] if held == 1 else thread[th, Thread.ADDR_A]
        b_bits = thread[th, Thread.HELD_B] if held == 2 else thread[th, Thread.ADDR_B]
        run_elements(code, thread, sram, sram_f32, sram_u16, regs, regs_f32, k, th, pos, done, a_bits, b_bits)
        count_elements(plan, core, thread, k, th, done - pos)
        thread[th, Thread.POS] = done


@inline
def _beats_between(start, stop, inner, lanes, beats):
    """Beats that handle elements start..stop-1, both counted from the bulk's first element, at beat boundaries."""
    upto = stop // inner * beats + (stop % inner + lanes - 1) // lanes
    return upto - (start // inner * beats + (start % inner + lanes - 1) // lanes)
