"""Loading: the state of a machine that has just been given a program."""

from __future__ import annotations

import numpy as np

from wse.engine.load_cores import load_cores, load_tasks, queue_table
from wse.engine.load_fabric import find_rivals, load_fabric, trace_back
from wse.engine.marks import ROOM, mark_table
from wse.engine.parts import find_parts
from wse.engine.plan import can_fault, plan_instructions
from wse.engine.sanitize import Shadow
from wse.engine.state import HORIZON, NEVER, WHEEL_SLOTS, Chan, Clock, Event, Fifo, Sent, Sink, Source, State, Turn
from wse.engine.tables import table
from wse.engine.trace import Record
from wse.isa import Col, Op
from wse.program import Program
from wse.spec import MachineSpec


def load_state(program: Program) -> State:
    """The state of a machine that has just been loaded with `program`."""
    spec = program.spec
    num_cores, num_channels = len(program.core_pe), len(program.channel_pe)
    fifo, chan, switch = load_fabric(program)
    rival, num_routers = find_rivals(chan, program.channel_pe, program.channel_ports()[1])
    first_core = num_channels + len(program.host_in)
    num_router_fifos = int(np.count_nonzero(fifo[:, Fifo.CONSUMER] < first_core))
    queue_of = queue_table(program, fifo, num_router_fifos, first_core)
    core, thread, task_entry = load_cores(program)
    binding, sram_fifo = load_tasks(program, core, queue_of)
    plan = plan_instructions(program, spec)
    source = np.zeros((len(program.host_in), len(Source)), np.int64)
    for i, port in enumerate(program.host_in):
        c = channel_index(program, port.pe, port.color)
        f = c if program.channel_rx[c] == port.port else switch[chan[c, Chan.SWITCH], Turn.FIFO_OF + port.port]
        source[i, Source.DST], fifo[f, Fifo.PRODUCER] = f, num_channels + i
    trace_back(program, fifo, chan)
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
    clock[Clock.MARK_LIMIT] = ROOM - 1
    clock[Clock.NUM_CHANNELS], clock[Clock.FIRST_CORE] = num_channels, first_core
    clock[Clock.NUM_ROUTER_FIFOS] = num_router_fifos
    clock[Clock.CAN_FAULT] = can_fault(program, plan)
    clock[Clock.BANKS], clock[Clock.REACTIVE] = spec.bank_conflicts, program.reactive
    part_entity, part_start = find_parts(program, fifo, chan, rival, first_core)
    rewrites = (program.code[:, Col.OP] == Op.REROUTE).any()  # ties a core to a route it has no other part in
    if clock[Clock.CAN_FAULT] or clock[Clock.REACTIVE] or rewrites or len(sink) or program.prints:
        part_start = part_start[[0, -1]]
    wheel = np.full((2, WHEEL_SLOTS), -1, np.int64)
    _schedule_all_cores(event, wheel, clock, first_core, num_cores)
    ring = table(int((fifo[:, Fifo.MASK] + 1).sum()), 2)
    ring[:, 0] = -1
    return State(
        clock=clock,
        rate=_rates(spec),
        code=program.code,
        plan=plan,
        row_cycles=np.zeros((len(program.code), 3), np.int64),
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
        mark=mark_table(program, plan, core),
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
        shadow=np.zeros((0, len(Shadow)), np.int64),
        regs=regs,
        regs_f32=regs.view(np.float32),
    )



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
