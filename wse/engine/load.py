"""Loading: the state of a machine that has just been given a program."""

from __future__ import annotations

import numpy as np

from wse.engine.parts import find_parts
from wse.engine.state import (
    HORIZON,
    NEVER,
    WHEEL_SLOTS,
    Chan,
    Clock,
    Core,
    Event,
    Fifo,
    Plan,
    Sent,
    Sink,
    Source,
    State,
    Thread,
)
from wse.isa import FLOPS, OP_CLASS, PORT_STEP, TYPE_BYTES, VECTOR_OPS, Col, Kind, Op, OpClass, Operand, Port, Stall, Type
from wse.program import Program
from wse.spec import MachineSpec


def load_state(program: Program) -> State:
    """The state of a machine that has just been loaded with `program`."""
    spec = program.spec
    num_cores, num_channels = len(program.core_pe), len(program.channel_pe)
    fifo, chan, rival, num_routers = _load_fabric(program)
    core, thread, task_entry = _load_cores(program)
    plan = _plan(program.code, spec)
    first_core = num_channels + len(program.host_in)
    source = np.zeros((len(program.host_in), len(Source)), np.int64)
    for i, port in enumerate(program.host_in):
        c = channel_index(program, port.pe, port.color)
        source[i, Source.DST] = c
        fifo[c, Fifo.PRODUCER] = num_channels + i
    _trace_back(program, fifo, chan)
    sink = np.zeros((len(program.host_out), len(Sink)), np.int64)
    sink[:, Sink.AWAITED] = -1
    sink[:, Sink.CHANNEL] = [channel_index(program, port.pe, port.color) for port in program.host_out]
    sram = program.sram.copy()
    regs = np.zeros((num_cores, spec.num_registers), np.int32)
    event = np.full((first_core + num_cores, 4), -1, np.int64)
    clock = np.zeros(len(Clock), np.int64)
    clock[Clock.STOP_AT] = NEVER
    clock[Clock.LAST_ACTIVE] = -1
    clock[Clock.ALIVE] = num_cores
    clock[Clock.NUM_CHANNELS], clock[Clock.FIRST_CORE] = num_channels, first_core
    clock[Clock.CAN_FAULT] = _can_fault(program, plan)
    part_entity, part_start = find_parts(program, fifo, chan, first_core)
    if clock[Clock.CAN_FAULT] or len(sink):
        part_start = part_start[[0, -1]]
    wheel = np.full((2, WHEEL_SLOTS), -1, np.int64)
    _schedule_all_cores(event, wheel, clock, first_core, num_cores)
    ring = _table(int((fifo[:, Fifo.MASK] + 1).sum()), 2)
    ring[:, 0] = -1
    return State(
        clock=clock,
        rate=_rates(spec),
        code=program.code,
        plan=plan,
        row_cycles=np.zeros((len(program.code), 2), np.int64),
        task_entry=task_entry,
        queue_of=_queue_of(program, fifo, num_channels, first_core),
        fifo=fifo,
        ring=ring,
        chan=chan,
        rival=rival,
        core=core,
        thread=thread,
        event=event,
        part_entity=part_entity,
        part_start=part_start,
        wheel=wheel,
        work=np.zeros(first_core + num_cores, np.int64),
        todo=np.zeros(2 * num_channels + 8, np.int64),
        journal=np.zeros((num_channels + min(max(1024, 4 * num_channels), 1 << 20), len(Sent)), np.int64),
        router_count=np.zeros(num_routers, np.int64),
        router_chan=np.zeros((num_routers, spec.num_colors), np.int64),
        source=source,
        sink=sink,
        host_data=np.zeros(0, np.int64),
        out_value=np.zeros((len(sink), 4 * HORIZON), np.int64),
        out_cycle=np.zeros((len(sink), 4 * HORIZON), np.int64),
        sram=sram,
        sram_f32=sram.view(np.float32),
        sram_u16=sram.view(np.uint16),
        regs=regs,
        regs_f32=regs.view(np.float32),
    )


def _table(rows: int, columns: int) -> np.ndarray:
    """An int64 matrix of zeros whose rows begin at cache lines (or, if short, share one)."""
    columns = columns if columns <= 2 else -(-columns // 8) * 8
    raw = np.zeros(rows * columns + 8, np.int64)
    first = -raw.ctypes.data % 64 // 8
    return raw[first : first + rows * columns].reshape(rows, columns)


def channel_index(program: Program, pe: int, color: int) -> int:
    """Index of the channel of `color` at `pe`, or -1."""
    first, last = np.searchsorted(program.channel_pe, (pe, pe + 1))
    at = np.flatnonzero(program.channel_color[first:last] == color)
    return int(first + at[0]) if len(at) else -1


def _rates(spec: MachineSpec) -> np.ndarray:
    return np.array(
        [
            spec.hop_cycles, spec.ramp_in_cycles, spec.ramp_out_cycles, spec.issue_cycles, spec.control_cycles,
            spec.branch_taken_cycles, spec.branch_not_taken_cycles, spec.task_start_cycles,
        ],
        np.int64,
    )  # fmt: skip


def _schedule_all_cores(event: np.ndarray, wheel: np.ndarray, clock: np.ndarray, first: int, num: int) -> None:
    """Put every core into slot 0 of the wheel: programs start in cycle 0."""
    if num:
        cores = np.arange(first, first + num)
        event[cores, Event.WHEN] = 0
        event[cores, Event.NEXT] = np.append(cores[1:], -1)
        event[cores, Event.PREVIOUS] = np.append(-1, cores[:-1])
        wheel[1, 0] = first
        clock[Clock.PENDING] = num


# --- instructions -------------------------------------------------------------------------------------------------


def _plan(code: np.ndarray, spec: MachineSpec) -> np.ndarray:
    """What is known of every instruction before it runs."""
    lanes = {OpClass.MOVE: spec.move_lanes, OpClass.ADD: spec.add_lanes, OpClass.FMA: spec.fma_lanes, OpClass.SPECIAL: 1}
    cycles = {OpClass.MOVE: spec.move_cycles, OpClass.ADD: spec.add_cycles, OpClass.FMA: spec.fma_cycles}
    cycles[OpClass.SPECIAL] = spec.special_cycles
    plan = np.zeros((len(code), len(Plan)), np.int64)
    for i, row in enumerate(code):
        op = Op(row[Col.OP])
        if op not in VECTOR_OPS:
            continue
        kinds = [Kind(row[operand + Operand.KIND]) for operand in (Col.D, Col.A, Col.B)]
        sizes = [
            TYPE_BYTES[Type(row[operand + Operand.TYPE])] if kind is Kind.MEM else 0
            for operand, kind in zip((Col.D, Col.A, Col.B), kinds, strict=True)
        ]
        streams = bool({Kind.FABRIC_IN, Kind.FABRIC_OUT} & set(kinds))
        can_divide_by_zero = row[Col.TYPE] == Type.I32 and op in (Op.DIV, Op.MOD)
        mapped, op_class = bool(row[Col.MAPPED]), OP_CLASS[op]
        plan[i, Plan.CLASS] = op_class
        plan[i, Plan.LANES] = 1 if streams else lanes[op_class]
        plan[i, Plan.CYCLES] = cycles[op_class]
        plan[i, Plan.GAP] = spec.map_step_cycles if mapped else 0
        plan[i, Plan.HELD] = 1 if kinds[1] is Kind.FABRIC_HELD else 2 if kinds[2] is Kind.FABRIC_HELD else 0
        plan[i, Plan.STREAMS] = streams and not mapped and not can_divide_by_zero
        plan[i, Plan.BULKS] = not streams and not can_divide_by_zero
        plan[i, Plan.FLOPS] = FLOPS[op] if row[Col.TYPE] == Type.F32 else 0
        plan[i, Plan.READ_BYTES] = sizes[1] + sizes[2] + (sizes[0] if op is Op.FMAC else 0)
        plan[i, Plan.WRITE_BYTES] = sizes[0]
        extents = row[Col.EXTENT : Col.EXTENT + 4]
        registers = [*row[Col.EXTENT_REG : Col.EXTENT_REG + 4]]
        registers += [row[operand + Operand.OFFSET_REG] for operand, size in zip((Col.D, Col.A, Col.B), sizes, strict=True) if size]
        plan[i, Plan.STATIC] = max(registers) < 0
        plan[i, Plan.NUM] = num = int(np.prod(extents))
        plan[i, Plan.STEP] = max(1, int(extents[3]) if mapped else num)
        plan[i, Plan.REACH] = _reach(row, extents, sizes) if num else 0
    return plan


def _reach(row: np.ndarray, extents: np.ndarray, sizes: list[int]) -> int:
    """Bytes of SRAM that the memory operands of an instruction need."""
    need = 0
    for operand, size in zip((Col.D, Col.A, Col.B), sizes, strict=True):
        if size:
            steps = (extents - 1) * row[operand + Operand.STRIDE : operand + Operand.STRIDE + 4]
            first = int(row[operand + Operand.BASE]) // size
            if first + int(np.minimum(steps, 0).sum()) < 0:
                return 1 << 40
            need = max(need, size * (first + int(np.maximum(steps, 0).sum()) + 1))
    return need


def _can_fault(program: Program, plan: np.ndarray) -> bool:
    """Whether some instruction might fault, as far as can be told before it runs."""
    vector = np.isin(program.code[:, Col.OP], list(VECTOR_OPS))
    divides = (program.code[:, Col.TYPE] == Type.I32) & np.isin(program.code[:, Col.OP], (Op.DIV, Op.MOD))
    smallest = min((4 * cls.sram_words for cls in program.classes), default=0)
    safe = (plan[:, Plan.STATIC] == 1) & (plan[:, Plan.REACH] <= smallest) & ~divides
    return bool((vector & ~safe).any())


# --- fabric -------------------------------------------------------------------------------------------------------


def _load_fabric(program: Program) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """FIFO and channel tables, rivals, and the number of routers that have any."""
    spec = program.spec
    pe, color, rx, tx = program.channel_pe, program.channel_color, program.channel_rx, program.channel_tx
    num = len(pe)
    to_core = np.flatnonzero(tx & (1 << Port.RAMP))
    fifo = _table(num + len(to_core), len(Fifo))
    fifo[:num, Fifo.ROOM] = np.where(rx == Port.RAMP, spec.ramp_fifo_room, spec.link_fifo_room)
    fifo[num:, Fifo.ROOM] = spec.core_queue_room
    # one slot more than there is room for, so that the cycle of the latest exit is still there when all are taken
    sizes = np.array([1 << room.bit_length() for room in range(int(fifo[:, Fifo.ROOM].max(initial=1)) + 1)])
    slots = sizes[fifo[:, Fifo.ROOM]]
    fifo[:, Fifo.MASK] = slots - 1
    fifo[:, Fifo.BASE] = np.cumsum(slots) - slots
    fifo[:, Fifo.PRODUCER] = -1
    fifo[:num, Fifo.CONSUMER] = np.arange(num)
    chan = _table(num, max(Chan) + 1)
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
    core = num + len(program.host_in) + np.searchsorted(program.core_pe, pe)
    fifo[queues, Fifo.CONSUMER] = core[to_core]
    from_core = np.flatnonzero(rx == Port.RAMP)
    fifo[from_core, Fifo.PRODUCER] = core[from_core]
    return fifo, chan, *_find_rivals(chan, pe)


def _add_destination(chan: np.ndarray, channels: np.ndarray, dst: np.ndarray) -> None:
    chan[channels, Chan.DST + chan[channels, Chan.NUM_DST]] = dst
    chan[channels, Chan.NUM_DST] += 1


def _sink_index(program: Program, pe: int, color: int, port: Port) -> int:
    for i, sink in enumerate(program.host_out):
        if (sink.pe, sink.color, sink.port) == (pe, color, port):
            return i
    raise AssertionError("verify() has seen to it that ports off the mesh are host ports")


def _find_rivals(chan: np.ndarray, pe: np.ndarray) -> tuple[np.ndarray, int]:
    """List for every channel those of its router that share a tx port with it; also the number of routers with such channels."""
    num = len(pe)
    if not num:
        return np.zeros(0, np.int32), 0
    first = np.searchsorted(pe, pe)
    size = np.searchsorted(pe, pe, side="right") - first
    pairs = []
    for step in range(int(size.max())):
        mine = np.flatnonzero(step < size)
        other = first[mine] + step
        meet = (other != mine) & ((chan[mine, Chan.TX] & chan[other, Chan.TX]) != 0)
        pairs.append(np.stack([mine[meet], other[meet]]))
    mine, other = np.concatenate(pairs, axis=1)
    order = np.argsort(mine, kind="stable")
    chan[:, Chan.NUM_RIVALS] = np.bincount(mine, minlength=num)
    chan[:, Chan.RIVALS] = np.cumsum(chan[:, Chan.NUM_RIVALS]) - chan[:, Chan.NUM_RIVALS]
    routers, index = np.unique(pe[mine], return_inverse=True)
    chan[mine, Chan.ROUTER] = index
    return other[order].astype(np.int32), len(routers)


def _trace_back(program: Program, fifo: np.ndarray, chan: np.ndarray) -> None:
    """Note for every channel where its wavelets enter the fabric, and the least time they take from there."""
    spec, num, num_sources = program.spec, len(chan), len(program.host_in)
    producer = fifo[:num, Fifo.PRODUCER]
    source = np.where((producer >= 0) & (producer < num), producer, np.arange(num))
    links = (source != np.arange(num)).astype(np.int64)
    while (source[source] != source).any():  # pointer doubling
        links = links + links[source]
        source = source[source]
    from_core = producer[source] >= num + num_sources
    chan[:, Chan.SOURCE] = source
    chan[:, Chan.DELAY] = links * spec.hop_cycles + np.where(from_core, 1 + spec.ramp_out_cycles, spec.hop_cycles)


# --- cores --------------------------------------------------------------------------------------------------------


def _load_cores(program: Program) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Core, thread and task entry tables."""
    num = len(program.core_pe)
    which = program.core_class
    core = _table(num, Core.STALL + len(Stall))
    core[:, Core.STREAM] = -1
    threads = np.array([cls.num_threads for cls in program.classes], np.int64)
    tasks = np.cumsum([0] + [len(cls.task_entry) for cls in program.classes])
    core[:, Core.NUM_THREADS] = threads[which] if num else 0
    core[:, Core.THREAD] = np.cumsum(core[:, Core.NUM_THREADS]) - core[:, Core.NUM_THREADS]
    core[:, Core.SRAM] = program.core_sram
    per_class = np.array([(4 * c.sram_words, c.active_tasks, c.blocked_tasks) for c in program.classes], np.int64).reshape(-1, 3)
    if num:
        core[:, Core.SRAM_BYTES], core[:, Core.ACTIVE], core[:, Core.BLOCKED] = per_class[which].T
        core[:, Core.TASKS] = tasks[which]
    core[:, Core.LAST_THREAD] = core[:, Core.NUM_THREADS] - 1
    entries = [entry for cls in program.classes for entry in cls.task_entry]
    return core, _table(int(core[:, Core.NUM_THREADS].sum()), max(Thread) + 1), np.array(entries, np.int64)


def _queue_of(program: Program, fifo: np.ndarray, num_channels: int, first_core: int) -> np.ndarray:
    """(core, 0, color): the queue into a core; (core, 1, color): the FIFO its wavelets leave by; -1 without."""
    color = program.channel_color
    queue_of = np.full((len(program.core_pe), 2, int(color.max(initial=0)) + 1), -1, np.int32)
    queues = np.arange(num_channels, len(fifo))
    queue_of[fifo[queues, Fifo.CONSUMER] - first_core, 0, color[fifo[queues, Fifo.PRODUCER]]] = queues
    out = np.flatnonzero(program.channel_rx == Port.RAMP)
    queue_of[fifo[out, Fifo.PRODUCER] - first_core, 1, color[out]] = out
    return queue_of
