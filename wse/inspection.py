"""What a machine's state says of one PE between two runs: threads, registers, queues, routes, and where a fault came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wse.engine.state import Chan, Clock, Core, Fifo, Phase, Thread, Turn
from wse.engine.switch import CONTROL_BIT
from wse.errors import ProgramError
from wse.fault import FAULT_TEXT, reached
from wse.isa import Col, Op, Port
from wse.machine import Machine
from wse.program import CodeClass


@dataclass(frozen=True)
class Queue:
    """The wavelets of a color in one FIFO of a PE: `place` is the port they came in from, or "core" for its input queue."""

    place: str
    room: int  # wavelets that fit, those under way included
    usable: tuple[int, ...]  # cycle from which each can go on, the oldest first
    bits: tuple[int, ...]  # 32 of each
    control: tuple[bool, ...]


@dataclass(frozen=True)
class RouteState:
    """What a router does with a color now: (rx, tx) positions, which one is current, wavelets sent so far."""

    color: int
    positions: tuple[tuple[Port, tuple[Port, ...]], ...]
    current: int
    sent: int

    def __str__(self) -> str:
        texts = [f"{rx.name} to {'+'.join(port.name for port in tx)}" for rx, tx in self.positions]
        if len(texts) > 1:
            texts[self.current] = f"[{texts[self.current]}]"
        return f"color {self.color}: {' then '.join(texts)}, sent {self.sent}"


def core_at(machine: Machine, x: int, y: int) -> int:
    """Index of the core at (x, y). Raises `ProgramError` where there is none."""
    program = machine.program
    inside = 0 <= x < program.width and 0 <= y < program.height
    k = program.core_at(x, y) if inside else -1
    if k < 0:
        raise ProgramError(f"PE ({x},{y}) has no code and no data" if inside else f"PE ({x},{y}) is outside the mesh")
    return k


def code_class(machine: Machine, x: int, y: int) -> CodeClass:
    """What the PE at (x, y) was loaded with."""
    return machine.program.classes[machine.program.core_class[core_at(machine, x, y)]]


def registers(machine: Machine, x: int, y: int) -> np.ndarray:
    """A view of the registers of PE (x, y), int32 (num_registers,): write to it to change them, `.view(np.float32)` for f32."""
    return machine._state.regs[core_at(machine, x, y)]


def describe_threads(machine: Machine, x: int, y: int) -> list[str]:
    """What the main thread and every microthread of PE (x, y) do, one line each."""
    state, program = machine._state, machine.program
    k = core_at(machine, x, y)
    core = state.core[k]
    lines = []
    for i in range(core[Core.NUM_THREADS]):
        thread = state.thread[core[Core.THREAD] + i]
        name = f"microthread {i}" if i else "main"
        if thread[Thread.PHASE] != Phase.FREE:
            text = f"{_instruction(machine, int(thread[Thread.ROW]))}, element {thread[Thread.POS]} of {thread[Thread.NUM]}"
            lines.append(f"{name}: {text}, since cycle {thread[Thread.ISSUED]}{_missing(machine, thread)}")
        elif i == 0 and core[Core.RUNNING]:
            row = int(core[Core.PC])
            while program.code[row, Col.OP] == Op.PRINT:
                row += 1
            what = "the end of its task" if program.code[row, Col.OP] == Op.END else _instruction(machine, row)
            lines.append(f"{name}: next {what}, in cycle {max(int(core[Core.READY]), machine.cycles)} at the earliest")
        else:
            lines.append(f"{name}: idle")
    tasks = {"activated": int(core[Core.ACTIVE]), "blocked": int(core[Core.BLOCKED])}
    held = [f"{what} {', '.join(str(task) for task in range(64) if mask >> task & 1)}" for what, mask in tasks.items() if mask]
    return lines + ([f"tasks: {'; '.join(held)}"] if held else [])


def _instruction(machine: Machine, row: int) -> str:
    program = machine.program
    line = program.code[row, Col.LINE]
    text = program.source_texts[line] if line < len(program.source_texts) else ""
    return f"{Op(program.code[row, Col.OP]).name.lower()} from {program.source_lines[line]}" + (f" `{text}`" if text else "")


def _missing(machine: Machine, thread: np.ndarray) -> str:
    """What an operation under way waits for on the fabric, if anything."""
    fifo, color_of = machine._state.fifo, machine.program.channel_color
    for col in (Thread.FIFO_A, Thread.FIFO_B):
        f = thread[col]
        if f >= 0 and fifo[f, Fifo.COUNT] == 0 and thread[Thread.POS] < thread[Thread.NUM]:
            return f", waits for a wavelet of color {color_of[fifo[f, Fifo.PRODUCER]]}"
    f = thread[Thread.FIFO_D]
    if f >= 0 and fifo[f, Fifo.COUNT] >= fifo[f, Fifo.ROOM] and thread[Thread.POS] < thread[Thread.NUM]:
        return f", waits for room to send color {color_of[fifo[f, Fifo.CONSUMER]]}"
    return ""


def read_queues(machine: Machine, x: int, y: int, color: int) -> list[Queue]:
    """The FIFOs of a color at PE (x, y): those of its router, then the core's input queue. Raises `ProgramError` without a route."""
    state, program = machine._state, machine.program
    c = _channel(machine, x, y, color)
    s = state.chan[c, Chan.SWITCH]
    if s < 0:
        fifos = [(Port(int(program.channel_rx[c])).name, c)]
    else:
        fifos = [(port.name, int(state.switch[s, Turn.FIFO_OF + port])) for port in Port if state.switch[s, Turn.FIFO_OF + port] >= 0]
    k = program.core_at(x, y)
    if k >= 0 and color < state.queue_of.shape[2] and state.queue_of[k, 0, color] >= 0:
        fifos.append(("core", int(state.queue_of[k, 0, color])))
    return [_read_queue(machine, place, f) for place, f in fifos]


def _read_queue(machine: Machine, place: str, f: int) -> Queue:
    row = machine._state.fifo[f]
    slots = row[Fifo.BASE] + (np.arange(row[Fifo.HEAD], row[Fifo.HEAD] + row[Fifo.COUNT]) & row[Fifo.MASK])
    usable, bits = machine._state.ring[slots].T
    control = tuple((bits & CONTROL_BIT != 0).tolist())
    return Queue(place, int(row[Fifo.ROOM]), tuple(usable.tolist()), tuple((bits & 0xFFFFFFFF).tolist()), control)


def read_routes(machine: Machine, x: int, y: int) -> list[RouteState]:
    """What the router of PE (x, y) does with each color that it has a route for."""
    state, program = machine._state, machine.program
    first, last = np.searchsorted(program.channel_pe, (y * program.width + x, y * program.width + x + 1))
    routes = []
    for c in range(first, last):
        s, sent, color = int(state.chan[c, Chan.SWITCH]), int(state.chan[c, Chan.SENT]), int(program.channel_color[c])
        if s < 0:
            routes.append(RouteState(color, ((Port(int(program.channel_rx[c])), _ports(program.channel_tx[c])),), 0, sent))
            continue
        row = state.switch[s]
        num = int(row[Turn.NUM])
        rxs, txs = row[Turn.RX : Turn.RX + num], row[Turn.TX : Turn.TX + num]
        positions = tuple((Port(int(rx)), _ports(tx)) for rx, tx in zip(rxs, txs, strict=True))
        routes.append(RouteState(color, positions, int(row[Turn.POSITION]), sent))
    return routes


def _ports(mask: int) -> tuple[Port, ...]:
    return tuple(port for port in Port if int(mask) >> port & 1)


def _channel(machine: Machine, x: int, y: int, color: int) -> int:
    c = int(machine.program.channels_at(np.array(y * machine.program.width + x), color))
    if c < 0:
        raise ProgramError(f"color {color} has no route at PE ({x},{y})")
    return c


def fault_text(machine: Machine) -> str:
    """What went wrong in a run that ended with a fault: the rule, the PE, the instruction, and what its operands reach."""
    if machine.fault is None:
        return "no fault"
    fault, pe, cycle = machine.fault
    row = int(machine._state.clock[Clock.FAULT_ROW])
    x, y = machine.program.xy(pe)
    parts = [f"{FAULT_TEXT[fault]}, PE ({x},{y}) in cycle {cycle}"]
    if machine.fault_color >= 0:
        parts.append(f"color {machine.fault_color}")
    if row >= 0:
        parts += [_instruction(machine, row), *reached(machine.program, machine._state, pe, row)]
    return ", ".join(parts)
