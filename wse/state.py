"""The state of a machine: a flat NamedTuple of tables whose columns are named here, and how it is loaded.

Tables are int64 matrices with one row per thing (a FIFO, a channel, a core, a thread), so that what
an event touches lies side by side. "Entity" numbers what can have an event pending: channels first,
then cores, then host sources.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from wse.isa import FLOPS, OP_CLASS, PORT_STEP, VECTOR_OPS, Op, OpClass, Port, Stall
from wse.program import Program
from wse.spec import MachineSpec

WHEEL_SLOTS = 1024
NEVER = 1 << 62


class Fifo(IntEnum):
    """Columns of `fifo`: the router FIFO of every channel, then the core queues."""

    HEAD = 0  # entries taken out so far; slot = BASE + (HEAD & MASK)
    COUNT = 1  # entries queued or under way
    ROOM = 2
    LAST_POP = 3  # cycle of the latest pop: that slot is not yet free in the same cycle
    BASE = 4
    MASK = 5
    PRODUCER_WAITS = 6  # the producer sleeps until a pop
    CONSUMER_WAITS = 7  # the core sleeps until a push (channels are always woken)
    PRODUCER = 8  # entity
    CONSUMER = 9  # entity
    LATENCY = 10  # cycles from being sent here to being usable


class Chan(IntEnum):
    """Columns of `chan`, one row per channel; its FIFO has the same index."""

    NUM_DST = 0
    DST = 1  # ..5: FIFO, or -1 - sink
    TX = 6  # port mask
    CONTENDED = 7  # another color of this router shares a tx port
    ROUTER = 8  # dense index of routers that have contended channels
    COLOR = 9
    SENT = 10
    WAIT = 11


class Core(IntEnum):
    """Columns of `core`."""

    THREAD = 0  # first row in `thread`
    NUM_THREADS = 1
    SRAM = 2  # first word
    SRAM_BYTES = 3
    CHAN = 4  # first channel of this PE
    NUM_CHANS = 5
    TASKS = 6  # first entry in `task_entry`
    PC = 7
    RUNNING = 8  # a task is under way on the main thread
    READY = 9  # cycle in which the main thread can issue next
    ACTIVE = 10  # task bit masks
    BLOCKED = 11
    LIVE = 12  # threads with an operation under way
    LAST_THREAD = 13
    LAST_CLASS = 14  # class of the latest beat
    ACCOUNTED = 15  # cycles before this one are in the counters
    ENDED = 16
    INSTRUCTIONS = 17
    FLOPS = 18
    READ_BYTES = 19
    WRITE_BYTES = 20
    BUSY = 21  # ..24, by OpClass
    STALL = 25  # ..27, by Stall


class Thread(IntEnum):
    """Columns of `thread`: the operation under way on each thread of each core."""

    LIVE = 0
    ENDING = 1  # all beats done; over in cycle NEXT
    ROW = 2  # of the instruction
    POS = 3  # elements done
    NUM = 4  # elements in all
    NEXT = 5  # earliest cycle of the next beat
    LANES = 6
    CYCLES = 7  # of a beat
    CLASS = 8
    FIFO_D = 9  # FIFO of a fabric operand, -1 without
    FIFO_A = 10
    FIFO_B = 11
    HELD = 12  # 0 no held operand, 1 a, 2 b
    HELD_BITS = 13
    ADDR_D = 14  # first element of a memory operand, in units of its type, over all SRAM
    ADDR_A = 15
    ADDR_B = 16
    EXTENT = 17  # ..20
    STEP = 21  # elements per step: the inner extent if mapped, else all
    GAP = 22  # cycles added per step
    BULK = 23  # beats run without interaction; arithmetic is caught up later
    BULK_POS = 24  # first element of the bulk
    BULK_END = 25  # element after its last
    BULK_START = 26  # cycle of its first beat
    FLOPS = 27  # per element
    READ_BYTES = 28
    WRITE_BYTES = 29
    IN_STEP = 30  # elements done of the step at hand
    LINEAR = 31  # one-dimensional: element i of an operand is at address + i * stride


class Event(IntEnum):
    """Columns of `event`, one row per entity: a link in the list of a slot of the wheel."""

    WHEN = 0  # cycle, -1 when nothing is pending
    NEXT = 1
    PREVIOUS = 2


class Source(IntEnum):
    """Columns of `source`: what the host streams in."""

    DST = 0  # FIFO
    POS = 1  # next word of `host_data`
    END = 2


class Sink(IntEnum):
    """Columns of `sink`: what the host receives."""

    COUNT = 0
    AWAITED = 1  # stop when COUNT gets here, -1 when nothing is awaited
    COLUMN = 2


class Clock(IntEnum):
    """Entries of `clock`."""

    NOW = 0
    STATUS = 1
    STOP_AT = 2  # cycle in which the last awaited wavelet arrives
    AWAITING = 3  # sinks that still wait
    ALIVE = 4  # cores whose program has not ended
    LAST_END = 5  # latest cycle in which a program ended
    PENDING = 6  # entities with an event
    LAST_ACTIVE = 7
    FAULT = 8
    FAULT_CORE = 9
    FAULT_ROW = 10
    FAULT_CYCLE = 11
    SINK_FULL = 12


class Rate(IntEnum):
    """Entries of `rate`: the spec's numbers the core needs."""

    HOP = 0
    RAMP_OUT = 1
    ISSUE = 2
    MAP_STEP = 3
    CONTROL = 4
    TAKEN = 5
    NOT_TAKEN = 6
    TASK_START = 7
    LANES = 8  # ..11, by OpClass
    CYCLES = 12  # ..15


class State(NamedTuple):
    """All of a machine's state, as arrays."""

    clock: np.ndarray  # int64 (Clock,)
    rate: np.ndarray  # int64 (Rate,)
    code: np.ndarray  # int64 (num_instructions, NUM_COLS)
    op_class: np.ndarray  # int64 (num_ops,)
    flops: np.ndarray  # int64 (num_ops,)
    task_entry: np.ndarray  # int64, the classes' tables one after another
    fifo: np.ndarray
    ring: np.ndarray  # int64 (slots, 2): cycle from which usable, 32 payload bits
    chan: np.ndarray
    core: np.ndarray
    thread: np.ndarray
    event: np.ndarray
    wheel: np.ndarray  # int64 (2, WHEEL_SLOTS): first channel or source, first core
    work: np.ndarray  # int64 (num_entities,): events of the cycle at hand
    router_count: np.ndarray  # int64 (num_routers,): contended channels with something to send this cycle
    router_chan: np.ndarray  # int64 (num_routers, num_colors)
    source: np.ndarray
    sink: np.ndarray
    host_data: np.ndarray  # int64, 32-bit payloads
    out_value: np.ndarray  # int64 (num_sinks, capacity)
    out_cycle: np.ndarray  # int64 (num_sinks, capacity)
    sram: np.ndarray  # int32, as in Program
    sram_f32: np.ndarray  # the same memory
    sram_u16: np.ndarray  # the same memory
    regs: np.ndarray  # int32 (num_cores, num_registers)
    regs_f32: np.ndarray  # the same memory


def load_state(program: Program) -> State:
    """The state of a machine that has just been loaded with `program`."""
    spec = program.spec
    num_cores, num_channels = len(program.core_pe), len(program.channel_pe)
    fifo, chan, num_routers = _load_fabric(program)
    core, thread, task_entry = _load_cores(program)
    num_entities = num_channels + num_cores + len(program.host_in)
    source = np.zeros((len(program.host_in), len(Source)), np.int64)
    for i, port in enumerate(program.host_in):
        c = channel_index(program, port.pe, port.color)
        source[i, Source.DST] = c
        fifo[c, Fifo.PRODUCER] = num_channels + num_cores + i
    sink = np.zeros((len(program.host_out), len(Sink)), np.int64)
    sink[:, Sink.AWAITED] = -1
    sram = program.sram.copy()
    regs = np.zeros((num_cores, spec.num_registers), np.int32)
    event = np.full((num_entities, len(Event)), -1, np.int64)
    clock = np.zeros(len(Clock), np.int64)
    clock[Clock.STOP_AT] = NEVER
    clock[Clock.LAST_ACTIVE] = -1
    clock[Clock.ALIVE] = num_cores
    wheel = np.full((2, WHEEL_SLOTS), -1, np.int64)
    _schedule_all_cores(event, wheel, clock, num_channels, num_cores)
    ring_slots = int((fifo[:, Fifo.MASK] + 1).sum())
    return State(
        clock=clock,
        rate=_rates(spec),
        code=program.code,
        op_class=np.array([OP_CLASS.get(op, OpClass.MOVE) for op in Op], np.int64),
        flops=np.array([_flops(op) for op in Op], np.int64),
        task_entry=task_entry,
        fifo=fifo,
        ring=np.zeros((ring_slots, 2), np.int64),
        chan=chan,
        core=core,
        thread=thread,
        event=event,
        wheel=wheel,
        work=np.zeros(num_entities, np.int64),
        router_count=np.zeros(num_routers, np.int64),
        router_chan=np.zeros((num_routers, spec.num_colors), np.int64),
        source=source,
        sink=sink,
        host_data=np.zeros(0, np.int64),
        out_value=np.zeros((len(sink), 64), np.int64),
        out_cycle=np.zeros((len(sink), 64), np.int64),
        sram=sram,
        sram_f32=sram.view(np.float32),
        sram_u16=sram.view(np.uint16),
        regs=regs,
        regs_f32=regs.view(np.float32),
    )


def channel_index(program: Program, pe: int, color: int) -> int:
    """Index of the channel of `color` at `pe`, or -1."""
    first, last = np.searchsorted(program.channel_pe, (pe, pe + 1))
    at = np.flatnonzero(program.channel_color[first:last] == color)
    return int(first + at[0]) if len(at) else -1


def _flops(op: Op) -> int:
    return FLOPS[op] if op in VECTOR_OPS else 0


def _rates(spec: MachineSpec) -> np.ndarray:
    rate = np.zeros(Rate.CYCLES + len(OpClass), np.int64)
    rate[: Rate.LANES] = (
        spec.hop_cycles, spec.ramp_out_cycles, spec.issue_cycles, spec.map_step_cycles, spec.control_cycles,
        spec.branch_taken_cycles, spec.branch_not_taken_cycles, spec.task_start_cycles,
    )  # fmt: skip
    rate[Rate.LANES : Rate.CYCLES] = (spec.move_lanes, spec.add_lanes, spec.fma_lanes, 1)
    rate[Rate.CYCLES :] = (spec.move_cycles, spec.add_cycles, spec.fma_cycles, spec.special_cycles)
    return rate


def _schedule_all_cores(event: np.ndarray, wheel: np.ndarray, clock: np.ndarray, first: int, num: int) -> None:
    """Put every core into slot 0 of the wheel: programs start in cycle 0."""
    if num:
        cores = np.arange(first, first + num)
        event[cores, Event.WHEN] = 0
        event[cores, Event.NEXT] = np.append(cores[1:], -1)
        event[cores, Event.PREVIOUS] = np.append(-1, cores[:-1])
        wheel[1, 0] = first
        clock[Clock.PENDING] = num


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


def _load_fabric(program: Program) -> tuple[np.ndarray, np.ndarray, int]:
    """FIFO and channel tables, and the number of routers with contended channels."""
    spec = program.spec
    pe, color, rx, tx = program.channel_pe, program.channel_color, program.channel_rx, program.channel_tx
    num = len(pe)
    to_core = np.flatnonzero(tx & (1 << Port.RAMP))
    fifo = np.zeros((num + len(to_core), len(Fifo)), np.int64)
    fifo[:, Fifo.LAST_POP] = -1
    fifo[:num, Fifo.ROOM] = np.where(rx == Port.RAMP, spec.ramp_fifo_room, spec.link_fifo_room)
    fifo[num:, Fifo.ROOM] = spec.core_queue_room
    sizes = np.array([_power_of_two(room) for room in range(int(fifo[:, Fifo.ROOM].max(initial=1)) + 1)])
    slots = sizes[fifo[:, Fifo.ROOM]]
    fifo[:, Fifo.MASK] = slots - 1
    fifo[:, Fifo.BASE] = np.cumsum(slots) - slots
    fifo[:num, Fifo.LATENCY] = spec.hop_cycles  # of links; a core adds its own latency when it sends
    fifo[num:, Fifo.LATENCY] = spec.ramp_in_cycles
    fifo[:, Fifo.PRODUCER] = -1
    fifo[:num, Fifo.CONSUMER] = np.arange(num)
    chan = np.zeros((num, max(Chan) + 1), np.int64)
    chan[:, Chan.TX], chan[:, Chan.COLOR] = tx, color
    key = pe * spec.num_colors + color
    for port, (dx, dy) in PORT_STEP.items():
        out = np.flatnonzero(tx & (1 << port))
        x, y = pe[out] % program.width + dx, pe[out] // program.width + dy
        inside = (x >= 0) & (x < program.width) & (y >= 0) & (y < program.height)
        there = (y * program.width + x) * spec.num_colors + color[out]
        dst = np.searchsorted(key, np.where(inside, there, 0))
        for i in np.flatnonzero(~inside):
            dst[i] = -1 - _sink_index(program, int(pe[out[i]]), int(color[out[i]]), port)
        _add_destination(chan, out, dst)
        fifo[dst[inside], Fifo.PRODUCER] = out[inside]
    queues = np.arange(num, num + len(to_core))
    _add_destination(chan, to_core, queues)
    fifo[queues, Fifo.PRODUCER] = to_core
    core = np.searchsorted(program.core_pe, pe)
    fifo[queues, Fifo.CONSUMER] = num + core[to_core]
    from_core = np.flatnonzero(rx == Port.RAMP)
    fifo[from_core, Fifo.PRODUCER] = num + core[from_core]
    return fifo, chan, _mark_contended(chan, pe)


def _add_destination(chan: np.ndarray, channels: np.ndarray, dst: np.ndarray) -> None:
    chan[channels, Chan.DST + chan[channels, Chan.NUM_DST]] = dst
    chan[channels, Chan.NUM_DST] += 1


def _sink_index(program: Program, pe: int, color: int, port: Port) -> int:
    for i, sink in enumerate(program.host_out):
        if (sink.pe, sink.color, sink.port) == (pe, color, port):
            return i
    raise AssertionError("verify() has seen to it that ports off the mesh are host ports")


def _mark_contended(chan: np.ndarray, pe: np.ndarray) -> int:
    """Mark channels that share a tx port with another color of their router; the number of such routers."""
    first = np.flatnonzero(np.diff(pe, prepend=-1))
    index = np.cumsum(np.isin(np.arange(len(pe)), first)) - 1
    shared = np.zeros(len(first), np.int64)
    for port in Port:
        users = np.bincount(index, weights=(chan[:, Chan.TX] >> port) & 1, minlength=len(first)) if len(first) else shared
        shared |= np.where(users > 1, 1 << port, 0)
    chan[:, Chan.CONTENDED] = (chan[:, Chan.TX] & shared[index]) != 0 if len(first) else 0
    routers = np.unique(index[chan[:, Chan.CONTENDED] == 1])
    chan[:, Chan.ROUTER] = np.searchsorted(routers, index)
    return len(routers)


def _load_cores(program: Program) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Core, thread and task entry tables."""
    num = len(program.core_pe)
    which = program.core_class
    core = np.zeros((num, Core.STALL + len(Stall)), np.int64)
    threads = np.array([cls.num_threads for cls in program.classes], np.int64)
    tasks = np.cumsum([0] + [len(cls.task_entry) for cls in program.classes])
    core[:, Core.NUM_THREADS] = threads[which] if num else 0
    core[:, Core.THREAD] = np.cumsum(core[:, Core.NUM_THREADS]) - core[:, Core.NUM_THREADS]
    core[:, Core.SRAM] = program.core_sram
    per_class = np.array([(4 * c.sram_words, c.active_tasks, c.blocked_tasks) for c in program.classes], np.int64).reshape(-1, 3)
    if num:
        core[:, Core.SRAM_BYTES], core[:, Core.ACTIVE], core[:, Core.BLOCKED] = per_class[which].T
        core[:, Core.TASKS] = tasks[which]
    core[:, Core.CHAN] = np.searchsorted(program.channel_pe, program.core_pe)
    core[:, Core.NUM_CHANS] = np.searchsorted(program.channel_pe, program.core_pe, side="right") - core[:, Core.CHAN]
    core[:, Core.LAST_THREAD] = core[:, Core.NUM_THREADS] - 1
    entries = [entry for cls in program.classes for entry in cls.task_entry]
    return core, np.zeros((int(core[:, Core.NUM_THREADS].sum()), max(Thread) + 1), np.int64), np.array(entries, np.int64)
