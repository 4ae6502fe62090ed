"""Loading: the state of a machine that has just been given a program."""

from __future__ import annotations

import numpy as np

from wse.engine.parts import find_parts
from wse.engine.state import (
    HORIZON,
    NEVER,
    WHEEL_SLOTS,
    Bind,
    Chan,
    Clock,
    Core,
    Event,
    Fifo,
    Plan,
    Sent,
    Sink,
    Source,
    SramFifo,
    State,
    Thread,
    Turn,
)
from wse.engine.trace import Record
from wse.isa import (
    FIFO_KINDS,
    FLOPS,
    OP_CLASS,
    OPPOSITE,
    PORT_STEP,
    RECEIVES,
    SENDS,
    TYPE_BYTES,
    VECTOR_OPS,
    Col,
    Kind,
    Op,
    OpClass,
    Operand,
    Pop,
    Port,
    Switch,
    Type,
)
from wse.program import Program, class_rows
from wse.spec import MachineSpec


def load_state(program: Program) -> State:
    """The state of a machine that has just been loaded with `program`."""
    spec = program.spec
    num_cores, num_channels = len(program.core_pe), len(program.channel_pe)
    fifo, chan, switch = _load_fabric(program)
    rival, num_routers = _find_rivals(chan, program.channel_pe, program.channel_ports()[1])
    first_core = num_channels + len(program.host_in)
    num_router_fifos = int(np.count_nonzero(fifo[:, Fifo.CONSUMER] < first_core))
    queue_of = _queue_of(program, fifo, num_router_fifos, first_core)
    core, thread, task_entry = _load_cores(program)
    binding, sram_fifo = _load_tasks(program, core, queue_of)
    plan = _plan(program, spec)
    source = np.zeros((len(program.host_in), len(Source)), np.int64)
    for i, port in enumerate(program.host_in):
        c = channel_index(program, port.pe, port.color)
        f = c if program.channel_rx[c] == port.port else switch[chan[c, Chan.SWITCH], Turn.FIFO_OF + port.port]
        source[i, Source.DST], fifo[f, Fifo.PRODUCER] = f, num_channels + i
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
    clock[Clock.NUM_ROUTER_FIFOS] = num_router_fifos
    clock[Clock.CAN_FAULT] = _can_fault(program, plan)
    clock[Clock.BANKS], clock[Clock.REACTIVE] = spec.bank_conflicts, program.reactive
    part_entity, part_start = find_parts(program, fifo, chan, first_core)
    rewrites = (program.code[:, Col.OP] == Op.REROUTE).any()  # ties a core to a route it has no other part in
    if clock[Clock.CAN_FAULT] or clock[Clock.REACTIVE] or rewrites or len(sink):
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
        queue_of=queue_of,
        fifo=fifo,
        ring=ring,
        chan=chan,
        rival=rival,
        switch=switch,
        binding=binding,
        sram_fifo=sram_fifo,
        core=core,
        thread=thread,
        event=event,
        part_entity=part_entity,
        part_start=part_start,
        wheel=wheel,
        work=np.zeros(first_core + num_cores, np.int64),
        todo=np.zeros(2 * num_channels + 8, np.int64),
        trace=np.zeros((0, len(Record)), np.int64),
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


def _plan(program: Program, spec: MachineSpec) -> np.ndarray:
    """What is known of every instruction before it runs."""
    code = program.code
    plan = np.zeros((len(code), len(Plan)), np.int64)
    capacity = _smallest_fifos(program)
    for i, row in enumerate(code):
        op, type = Op(row[Col.OP]), Type(row[Col.TYPE])
        if op not in VECTOR_OPS:
            continue
        operands = (Col.D, Col.A, Col.B)
        kinds = [Kind(row[operand + Operand.KIND]) for operand in operands]
        sizes = [
            TYPE_BYTES[Type(row[operand + Operand.TYPE])] if kind is Kind.MEM or kind in FIFO_KINDS else 0
            for operand, kind in zip(operands, kinds, strict=True)
        ]
        packed = [kind in RECEIVES | SENDS and row[o + Operand.TYPE] == Type.F16 for o, kind in zip(operands, kinds, strict=True)]
        streams = [half for half, kind in zip(packed, kinds, strict=True) if kind is Kind.FABRIC_IN or kind in SENDS]
        odd = any(packed) or bool(FIFO_KINDS & set(kinds)) or Kind.CONTROL_OUT in kinds
        in_memory = [kind is Kind.MEM for kind in kinds]
        can_conflict = spec.bank_conflicts and in_memory[0] and (in_memory[1] or in_memory[2])
        mapped, op_class = bool(row[Col.MAPPED]), OP_CLASS[op]
        lanes, cycles = _lanes_and_cycles(spec, op_class, type)
        plan[i, Plan.CLASS] = op_class
        plan[i, Plan.LANES] = min([lanes, *(capacity[i, n] for n, kind in enumerate(kinds) if kind in FIFO_KINDS)])
        plan[i, Plan.CYCLES] = cycles
        plan[i, Plan.GAP] = spec.map_step_cycles if mapped else 0
        plan[i, Plan.HELD] = 1 if kinds[1] is Kind.FABRIC_HELD else 2 if kinds[2] is Kind.FABRIC_HELD else 0
        plan[i, [Plan.PACKED_D, Plan.PACKED_A, Plan.PACKED_B]] = packed
        if streams:
            plan[i, Plan.PER_WAVELET] = 2 if all(streams) else 1
            plan[i, Plan.LANES] = min(plan[i, Plan.LANES], plan[i, Plan.PER_WAVELET])
        steady = not (type is Type.I32 and op in (Op.DIV, Op.MOD)) and not can_conflict and not (odd and streams)
        steady &= not FIFO_KINDS & set(kinds)
        plan[i, Plan.STREAMS] = bool(streams) and not mapped and steady
        plan[i, Plan.BULKS] = not streams and steady
        plan[i, Plan.ODD] = odd
        plan[i, Plan.FLOPS] = FLOPS[op] if type is not Type.I32 else 0
        plan[i, Plan.READ_BYTES] = sizes[1] + sizes[2] + (sizes[0] if op is Op.FMAC else 0)
        plan[i, Plan.WRITE_BYTES] = sizes[0]
        extents = row[Col.EXTENT : Col.EXTENT + 4]
        registers = [*row[Col.EXTENT_REG : Col.EXTENT_REG + 4]]
        registers += [row[operand + Operand.OFFSET_REG] for operand, held in zip(operands, in_memory, strict=True) if held]
        plan[i, Plan.STATIC] = max(registers) < 0
        plan[i, Plan.NUM] = num = int(np.prod(extents))
        plan[i, Plan.STEP] = max(1, int(extents[3]) if mapped else num)
        in_sram = [size if held else 0 for size, held in zip(sizes, in_memory, strict=True)]
        plan[i, Plan.REACH] = _reach(row, extents, in_sram) if num else 0
    return plan


def _lanes_and_cycles(spec: MachineSpec, op_class: OpClass, type: Type) -> tuple[int, int]:
    """Elements and cycles of a beat."""
    if op_class is OpClass.SPECIAL:
        return 1, spec.special_cycles
    if type is Type.MIXED:
        return spec.fma_mixed_lanes, spec.fma_mixed_cycles
    name = {OpClass.MOVE: "move", OpClass.ADD: "add", OpClass.FMA: "fma"}[op_class] + ("_f16" if type is Type.F16 else "")
    return getattr(spec, f"{name}_lanes"), getattr(spec, f"{name}_cycles")


def _smallest_fifos(program: Program) -> np.ndarray:
    """Capacity of the FIFO in SRAM that each operand (d, a, b) of each instruction names; rows that classes share name equal ones."""
    capacity = np.zeros((len(program.code), 3), np.int64)
    for cls in program.classes:
        if cls.fifos:
            for i in class_rows(program.code, cls.task_entry):
                for n, operand in enumerate((Col.D, Col.A, Col.B)):
                    if program.code[i, operand + Operand.KIND] in FIFO_KINDS:
                        capacity[i, n] = cls.fifos[program.code[i, operand + Operand.BASE]].capacity
    return capacity


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
    return bool((vector & ~safe).any()) or program.reactive


# --- fabric -------------------------------------------------------------------------------------------------------


def _load_fabric(program: Program) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FIFO, channel and switch tables."""
    spec, pe, color = program.spec, program.channel_pe, program.channel_color
    num, first_core = len(pe), len(pe) + len(program.host_in)
    rx, (has_fifo, exits) = program.channel_rx, program.channel_ports()
    # FIFOs: one per channel, for its first rx port; those of switches for other rx ports; the cores' queues
    fifo_of: dict[tuple[int, int], int] = {}
    extra = [(int(c), port) for c in program.switches[:, Switch.CHANNEL] for port in Port if has_fifo[c] >> port & 1 and port != rx[c]]
    for i, key in enumerate(extra):
        fifo_of[key] = num + i
    num_router_fifos = num + len(extra)
    to_core = np.flatnonzero(exits >> Port.RAMP & 1)
    fifo = _table(num_router_fifos + len(to_core), len(Fifo))
    of_ramp = np.append(rx, [port for _, port in extra]) == Port.RAMP
    fifo[:num_router_fifos, Fifo.ROOM] = np.where(of_ramp, spec.ramp_fifo_room, spec.link_fifo_room)
    fifo[num_router_fifos:, Fifo.ROOM] = spec.core_queue_room
    # one slot more than there is room for, so that the cycle of the latest exit is still there when all are taken
    sizes = np.array([1 << room.bit_length() for room in range(int(fifo[:, Fifo.ROOM].max(initial=1)) + 1)])
    slots = sizes[fifo[:, Fifo.ROOM]]
    fifo[:, Fifo.MASK] = slots - 1
    fifo[:, Fifo.BASE] = np.cumsum(slots) - slots
    fifo[:, Fifo.PRODUCER] = -1
    fifo[:num_router_fifos, Fifo.CONSUMER] = np.append(np.arange(num), [c for c, _ in extra])
    # where every exit leads
    chan = _table(num, max(Chan) + 1)
    chan[:, Chan.TX], chan[:, Chan.SWITCH] = program.channel_tx, -1
    exit_to = np.full((num, len(Port)), -1, np.int64)
    for port, (dx, dy) in PORT_STEP.items():
        out = np.flatnonzero(exits & (1 << port))
        x, y = pe[out] % program.width + dx, pe[out] // program.width + dy
        inside = (x >= 0) & (x < program.width) & (y >= 0) & (y < program.height)
        for c in out[~inside]:
            exit_to[c, port] = -1 - _sink_index(program, int(pe[c]), int(color[c]), port)
        there = np.searchsorted(pe * spec.num_colors + color, (y * program.width + x)[inside] * spec.num_colors + color[out[inside]])
        for at in np.flatnonzero(rx[there] != OPPOSITE[port]):
            there[at] = fifo_of[int(there[at]), OPPOSITE[port]]
        exit_to[out[inside], port] = there
        fifo[there, Fifo.PRODUCER] = out[inside]
    queues = np.arange(num_router_fifos, len(fifo))
    exit_to[to_core, Port.RAMP], fifo[queues, Fifo.PRODUCER] = queues, to_core
    fifo[queues, Fifo.CONSUMER] = first_core + np.searchsorted(program.core_pe, pe[to_core])
    from_core = np.flatnonzero(of_ramp)
    fifo[from_core, Fifo.PRODUCER] = first_core + np.searchsorted(program.core_pe, pe[fifo[from_core, Fifo.CONSUMER]])
    for port in (*PORT_STEP, Port.RAMP):
        out = np.flatnonzero(program.channel_tx >> port & 1)
        chan[out, Chan.DST + chan[out, Chan.NUM_DST]] = exit_to[out, port]
        chan[out, Chan.NUM_DST] += 1
    return fifo, chan, _load_switches(program, chan, fifo_of, exit_to)


def _load_switches(program: Program, chan: np.ndarray, fifo_of: dict[tuple[int, int], int], exit_to: np.ndarray) -> np.ndarray:
    """The switch table; notes in `chan` which channels have one."""
    switch = _table(len(program.switches), max(Turn) + 1)
    for i, row in enumerate(program.switches):
        c = int(row[Switch.CHANNEL])
        chan[c, Chan.SWITCH] = i
        switch[i, [Turn.CHANNEL, Turn.PE, Turn.COLOR]] = c, program.channel_pe[c], program.channel_color[c]
        switch[i, [Turn.NUM, Turn.RING, Turn.POP]] = row[[Switch.NUM, Switch.RING, Switch.POP]]
        switch[i, Turn.RX : Turn.RX + 4], switch[i, Turn.TX : Turn.TX + 4] = row[Switch.RX : Switch.RX + 4], row[Switch.TX : Switch.TX + 4]
        switch[i, Turn.OBEYS] = row[Switch.NUM] > 1 or not row[Switch.RING] or row[Switch.POP] != Pop.NEVER
        switch[i, [Turn.FIFO, Turn.REWRITE]] = c, -1
        switch[i, Turn.FIFO_OF : Turn.FIFO_OF + 5] = [c if port == program.channel_rx[c] else fifo_of.get((c, port), -1) for port in Port]
        switch[i, Turn.DST_OF : Turn.DST_OF + 5] = exit_to[c]
    return switch


def _sink_index(program: Program, pe: int, color: int, port: Port) -> int:
    for i, sink in enumerate(program.host_out):
        if (sink.pe, sink.color, sink.port) == (pe, color, port):
            return i
    raise AssertionError("verify() has seen to it that ports off the mesh are host ports")


def _find_rivals(chan: np.ndarray, pe: np.ndarray, exits: np.ndarray) -> tuple[np.ndarray, int]:
    """List for every channel those of its router that share a tx port with it; also how many routers have such channels or switches."""
    num = len(pe)
    if not num:
        return np.zeros(0, np.int32), 0
    first = np.searchsorted(pe, pe)
    size = np.searchsorted(pe, pe, side="right") - first
    pairs = []
    for step in range(int(size.max())):
        mine = np.flatnonzero(step < size)
        other = first[mine] + step
        meet = (other != mine) & ((exits[mine] & exits[other]) != 0)
        pairs.append(np.stack([mine[meet], other[meet]]))
    mine, other = np.concatenate(pairs, axis=1)
    order = np.argsort(mine, kind="stable")
    chan[:, Chan.NUM_RIVALS] = np.bincount(mine, minlength=num)
    chan[:, Chan.RIVALS] = np.cumsum(chan[:, Chan.NUM_RIVALS]) - chan[:, Chan.NUM_RIVALS]
    switched = np.flatnonzero(chan[:, Chan.SWITCH] >= 0)
    routers = np.unique(np.append(pe[mine], pe[switched]))
    chan[:, Chan.ROUTER] = np.searchsorted(routers, pe)
    return other[order].astype(np.int32), len(routers)


def _trace_back(program: Program, fifo: np.ndarray, chan: np.ndarray) -> None:
    """Note for every channel where its wavelets enter the fabric (-1: a switch is on the way), and the least time they take from there."""
    spec, num, num_sources = program.spec, len(chan), len(program.host_in)
    producer = fifo[:num, Fifo.PRODUCER]
    source = np.where((producer >= 0) & (producer < num), producer, np.arange(num))
    links = (source != np.arange(num)).astype(np.int64)
    unsteady = chan[:, Chan.SWITCH] >= 0
    while (source[source] != source).any():  # pointer doubling
        links = links + links[source]
        unsteady = unsteady | unsteady[source]
        source = source[source]
    from_core = producer[source] >= num + num_sources
    chan[:, Chan.SOURCE] = np.where(unsteady | unsteady[source], -1, source)
    chan[:, Chan.DELAY] = links * spec.hop_cycles + np.where(from_core, 1 + spec.ramp_out_cycles, spec.hop_cycles)


# --- cores --------------------------------------------------------------------------------------------------------


def _load_cores(program: Program) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Core, thread and task entry tables."""
    num = len(program.core_pe)
    which = program.core_class
    core = _table(num, max(Core) + 1)
    core[:, Core.STREAM] = -1
    threads = np.array([cls.num_threads for cls in program.classes], np.int64)
    tasks = np.cumsum([0] + [len(cls.task_entry) for cls in program.classes])
    core[:, Core.NUM_THREADS] = threads[which] if num else 0
    core[:, Core.THREAD] = np.cumsum(core[:, Core.NUM_THREADS]) - core[:, Core.NUM_THREADS]
    core[:, Core.SRAM] = program.core_sram
    per_class = np.array(
        [(4 * cls.sram_words, cls.active_tasks, cls.blocked_tasks, len(cls.task_entry)) for cls in program.classes], np.int64
    ).reshape(-1, 4)
    if num:
        core[:, [Core.SRAM_BYTES, Core.ACTIVE, Core.BLOCKED, Core.NUM_TASKS]] = per_class[which]
        core[:, Core.TASKS] = tasks[which]
    core[:, Core.LAST_THREAD], core[:, Core.PE] = core[:, Core.NUM_THREADS] - 1, program.core_pe
    entries = [entry for cls in program.classes for entry in cls.task_entry]
    return core, _table(int(core[:, Core.NUM_THREADS].sum()), max(Thread) + 1), np.array(entries, np.int64)


def _load_tasks(program: Program, core: np.ndarray, queue_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tables of data tasks and of FIFOs in SRAM; notes in `core` which cores wavelets can wake."""
    bindings = np.array([len(cls.bindings) for cls in program.classes], np.int64)
    fifos = np.array([len(cls.fifos) for cls in program.classes], np.int64)
    which = program.core_class
    if len(which):
        core[:, Core.NUM_BINDINGS] = bindings[which]
        core[:, Core.BINDING] = np.cumsum(bindings[which]) - bindings[which]
        core[:, Core.SRAM_FIFO] = np.cumsum(fifos[which]) - fifos[which]
    binding, sram_fifo = _table(int(core[:, Core.NUM_BINDINGS].sum()), len(Bind)), _table(int(fifos[which].sum()), len(SramFifo))
    for index, cls in enumerate(program.classes):
        members = np.flatnonzero(which == index)
        for i, bound in enumerate(cls.bindings):
            rows = core[members, Core.BINDING] + i
            binding[rows, Bind.TASK], binding[rows, Bind.REGISTER] = bound.task, bound.register
            binding[rows, Bind.FIFO] = queue_of[members, 0, bound.color]
        for i, declared in enumerate(cls.fifos):
            rows, size = core[members, Core.SRAM_FIFO] + i, TYPE_BYTES[declared.type]
            sram_fifo[rows, SramFifo.BASE] = core[members, Core.SRAM] * (4 // size) + declared.address // size
            sram_fifo[rows, SramFifo.TYPE], sram_fifo[rows, SramFifo.CAPACITY] = declared.type, declared.capacity
            sram_fifo[rows, SramFifo.ON_PUSH], sram_fifo[rows, SramFifo.ON_POP] = declared.on_push, declared.on_pop
    controls = {int(row[Col.D + Operand.BASE]) for row in program.code if row[Col.D + Operand.KIND] == Kind.CONTROL_OUT}
    hears = np.zeros(len(core), bool)
    for color in controls:
        if color < queue_of.shape[2]:
            hears |= queue_of[:, 0, color] >= 0
    core[:, Core.LISTENS] = hears | (core[:, Core.NUM_BINDINGS] > 0)
    return binding, sram_fifo


def _queue_of(program: Program, fifo: np.ndarray, num_router_fifos: int, first_core: int) -> np.ndarray:
    """(core, 0, color): the queue into a core; (core, 1, color): the FIFO its wavelets leave by; -1 without."""
    color = program.channel_color
    queue_of = np.full((len(program.core_pe), 2, int(color.max(initial=0)) + 1), -1, np.int32)
    queues = np.arange(num_router_fifos, len(fifo))
    queue_of[fifo[queues, Fifo.CONSUMER] - first_core, 0, color[fifo[queues, Fifo.PRODUCER]]] = queues
    out = np.flatnonzero(fifo[:num_router_fifos, Fifo.PRODUCER] >= first_core)
    queue_of[fifo[out, Fifo.PRODUCER] - first_core, 1, color[fifo[out, Fifo.CONSUMER]]] = out
    return queue_of
