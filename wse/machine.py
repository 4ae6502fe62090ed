"""Machine: a loaded program that can be fed, run, inspected and run again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wse import engine
from wse.engine.state import HORIZON, NEVER, Chan, Clock, Core, Mark, Marks, Phase, Plan, Sink, Source, SramFifo, Thread, Turn
from wse.errors import DeadlockError, ProgramError, nearest
from wse.fault import fault_error
from wse.hang import HangReport, diagnose
from wse.isa import Col, Fault, Op, OpClass, Port, Stall, Status, Type
from wse.lines import LineCycles, line_cycles
from wse.past import MOST_WORK, look_back
from wse.printed import Printed, read_prints
from wse.program import NUMPY_TYPE, Program, Rect
from wse.sanitize import Sanitizer, note_written
from wse.sanitize import switch_on as switch_sanitizer_on
from wse.trace.collect import collect, switch_on
from wse.trace.records import Trace
from wse.trace.selection import Selection
from wse.verify import verify

MOST_ASKED = 1_000_000
"""Words of what was asked of a machine that it keeps, to make its runs again; a call counts as `CALL_WORDS` and what it was given."""

CALL_WORDS = 100


@dataclass(frozen=True)
class Counters:
    """What has been counted since loading (design 2.4). Rows follow `Program.core_pe` and `Program.channel_pe`."""

    cycles: int
    busy: np.ndarray  # int64 (num_cores, len(OpClass)), cycles with a beat under way
    stall: np.ndarray  # int64 (num_cores, len(Stall)), cycles without one, by reason
    instructions: np.ndarray  # int64 (num_cores,)
    flops: np.ndarray  # int64 (num_cores,)
    sram_read_bytes: np.ndarray  # int64 (num_cores,)
    sram_write_bytes: np.ndarray  # int64 (num_cores,)
    sent: np.ndarray  # int64 (num_channels,), wavelets; each went through all tx ports
    wait: np.ndarray  # int64 (num_channels,), cycles they could have left but did not
    switch_sent: np.ndarray  # int64 (num_switches, 5), wavelets that left through each port; rows follow `Program.switches`
    row_busy: np.ndarray  # int64 (num_instructions,), over all PEs: cycles with a beat of it under way
    row_elapsed: np.ndarray  # int64 (num_instructions,), over all PEs: cycles from issue to end of every operation that has ended
    row_issued: np.ndarray  # int64 (num_instructions,), over all PEs: how many times it issued

    def __sub__(self, earlier: Counters) -> Counters:
        """What was counted between two readings."""
        return Counters(**{name: getattr(self, name) - getattr(earlier, name) for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Checkpoint:
    """The state of a machine between two runs, to `restore`."""

    arrays: dict[str, np.ndarray]
    pending: list[list[np.ndarray]]


_FIXED = {"rate", "code", "plan", "task_entry", "queue_of", "rival", "part_entity", "part_start", "mark"}
_EYES = (("core", Core.TRACED), ("core", Core.MARKS), ("clock", Clock.TRACED), ("clock", Clock.NUM_MARKS), ("clock", Clock.MARK_LIMIT),
         ("source", Source.TRACED), ("sink", Sink.TRACED))  # fmt: skip
"""(array, column) of the state that say what is traced and marked, which a run does not change."""
_VIEWS = {"sram_f32", "sram_u16", "regs_f32"}


class Machine:
    """A wafer loaded with `program`: every run starts where the last one stopped.

    `sanitize`: check every memory operand, slowly (`wse.sanitize`); True for the machine's own timing. Values, cycles and counters are
    those of a run without, up to the first fault. `on_print` gets what kernels print (`Pes.print`), during a run or at its end;
    `print_pes`: only from PEs of these rectangles. Raises `ProgramError` when the program breaks a rule that can be checked before
    it runs, or when it can be proved to hang (unless `refuse_hangs` is off).
    """

    def __init__(
        self, program: Program, sanitize: Sanitizer | bool = False, *, refuse_hangs: bool = True,
        on_print: Callable[[Printed], Any] = print, print_pes: Iterable[Rect] | None = None,
    ):  # fmt: skip
        verify(program, refuse_hangs=refuse_hangs)
        self.program = program
        self.on_print = on_print
        self._state = engine.load_state(program)
        self._sanitizer = Sanitizer() if sanitize is True else sanitize
        if self._sanitizer:
            self._state = switch_sanitizer_on(program, self._state, self._sanitizer)
        self._asked: list[Callable[[Machine], Any]] | None = []  # since loading; None once it is too much or the state was restored
        self._asked_words = 0
        self.is_exact = True
        """Whether every PE stands at `cycles`. Only after a fault it may not be: cores that meet nobody go on ahead."""
        self._stops: list[np.ndarray] = []  # marks of instructions that are no prints
        if print_pes is not None:
            self.print_from(print_pes)
        self._inputs = {port.name: i for i, port in enumerate(program.host_in)}
        self._outputs = {port.name: i for i, port in enumerate(program.host_out)}
        self._pending: list[list[np.ndarray]] = [[] for _ in program.host_in]
        self._traced: Selection | None = None

    @property
    def cycles(self) -> int:
        """Cycles executed since loading."""
        return int(self._state.clock[Clock.NOW])

    @property
    def has_ended(self) -> bool:
        """Whether the programs of all PEs have ended."""
        return int(self._state.clock[Clock.ALIVE]) == 0

    @property
    def fault(self) -> tuple[Fault, int, int] | None:
        """(fault, PE, cycle) after a run that ended with `Status.FAULT`."""
        clock = self._state.clock
        if clock[Clock.FAULT] == Fault.NONE:
            return None
        return Fault(clock[Clock.FAULT]), int(clock[Clock.FAULT_PE]), int(clock[Clock.FAULT_CYCLE])

    @property
    def fault_color(self) -> int:
        """The color of a router's fault or of the wavelet that led to one; -1 for an instruction's."""
        return int(self._state.clock[Clock.FAULT_COLOR]) if self.fault else -1

    def feed(self, name: str, values: np.ndarray) -> None:
        """Queue 32-bit `values` at host input `name`; they stream in from the current cycle on."""
        source = self._port(self._inputs, name, "input")
        values = np.ascontiguousarray(values)
        if values.dtype.itemsize != 4:
            packed = ", or two to a wavelet with view(np.uint32)" if values.dtype == np.float16 else ""
            raise ProgramError(f"input '{name}' takes 32-bit values, got {values.dtype}", help=f"convert with astype(np.float32){packed}")
        fresh = values.reshape(-1).view(np.uint32).astype(np.int64)
        self._pending[source].append(fresh)
        self._remember(lambda machine: machine._pending[source].append(fresh), len(fresh))

    def _remember(self, step: Callable[[Machine], Any], num_words: int = 0) -> None:
        """Note something that was asked of this machine, with so many words of data, for `_again`."""
        if self._asked is None:
            return
        self._asked.append(step)
        self._asked_words += CALL_WORDS + num_words
        if self._asked_words > MOST_ASKED:
            self._asked = None

    def _again(self, selection: Selection | None, num_steps: int | None = None) -> Machine | None:
        """A machine of which was asked what was of this one (the first `num_steps` times), traced; None where that is too much."""
        state = self._state
        work = len(state.core) + len(state.chan) + int(state.core[:, Core.INSTRUCTIONS].sum() + state.chan[:, Chan.SENT].sum())
        if self._asked is None or work > MOST_WORK:
            return None
        again = Machine(self.program, self._sanitizer, refuse_hangs=False, on_print=lambda printed: None)
        if selection is not None:
            again.trace(selection)
        for step in self._asked[:num_steps]:
            step(again)
        return again

    def _replay(self, selection: Selection) -> Trace | None:
        """A trace of all that was run since loading, made again; None after too much of it, or where it cannot come out the same."""
        again = self._again(selection)
        same = again is not None and again.cycles == self.cycles and np.array_equal(again._state.thread, self._state.thread)
        return again.traced() if again is not None and same else None

    def _stop_ahead(self, awaited: dict[str, int]) -> None:
        """After a fault in the last run, have all cores stop in its cycle: make the runs again, the last one only up to there."""
        fault, upto = self.fault, int(self._state.clock[Clock.FAULT_CYCLE]) + 1
        self.is_exact = False
        again = self._again(None, -1)
        if again is None or self._asked is None:
            return
        again.run(awaited, upto)
        if again.fault == fault:
            self._take_over(again)
            self._asked[-1] = lambda machine: machine.run(awaited, upto)
            self.is_exact = True

    def _take_over(self, other: Machine) -> None:
        """Stand where `other` does, but trace and mark as before."""
        state = self._state
        kept = [(name, at, getattr(state, name)[..., at].copy()) for name, at in _EYES]
        for name, array in other._state._asdict().items():
            if name not in _FIXED | _VIEWS | {"trace"}:
                self._overwrite(name, array)
        for name, at, values in kept:
            getattr(self._state, name)[..., at] = values

    def run(self, await_outputs: dict[str, int] | None = None, max_cycles: int | None = None) -> Status:
        """Run until each output named has received that many more wavelets, or, with none named, until all programs end.

        `max_cycles`: stop before this cycle (counted from loading). Returns DONE, LIMIT, DEADLOCK or FAULT; use `check`
        to turn the latter two into errors.
        """
        if self.fault is not None:
            return Status.FAULT
        awaited = dict(await_outputs or {})
        self._remember(lambda machine: machine.run(awaited, max_cycles))
        self._load_host_data()
        self._await(awaited)
        limit = NEVER if max_cycles is None else max_cycles
        while True:
            status = Status(engine.run(self._state, limit))
            self._take_marks()
            if status == Status.FAULT and limit > self._state.clock[Clock.FAULT_CYCLE] + 1 and not self._sanitizer:
                self._stop_ahead(awaited)
            if status != Status.RUNNING:
                return status
            self._state.clock[Clock.FULL] = 0
            if not len(self._state.sink) or self._state.sink[:, Sink.COUNT].max() + HORIZON < self._state.out_value.shape[1]:
                continue  # it was the buffer of marks that was full
            grow = ((0, 0), (0, self._state.out_value.shape[1]))
            self._state = self._state._replace(out_value=np.pad(self._state.out_value, grow), out_cycle=np.pad(self._state.out_cycle, grow))

    def _take_marks(self) -> None:
        """Show what was printed, and keep the other marks."""
        clock = self._state.clock
        if not clock[Clock.NUM_MARKS]:
            return
        marks = self._state.mark[: clock[Clock.NUM_MARKS]].copy()
        clock[Clock.NUM_MARKS] = 0
        is_print = self.program.code[marks[:, Mark.ROW], Col.OP] == Op.PRINT
        if not is_print.all():
            self._stops.append(marks[~is_print])
        for printed in read_prints(self.program, marks[is_print]):
            self.on_print(printed)

    def print_from(self, pes: Iterable[Rect]) -> None:
        """From now on show only what PEs of these rectangles print."""
        chosen = np.zeros(len(self.program.core_pe), bool)
        for rect in pes:
            chosen |= self.program.inside(self.program.core_pe, rect)
        marks = self._state.core[:, Core.MARKS]
        marks[...] = marks & ~np.int64(Marks.PRINTS) | chosen * Marks.PRINTS

    def mark_stops(self, rows: np.ndarray, cores: np.ndarray) -> None:
        """Have the engine mark where these cores issue these rows of code (for a debugger), and no others."""
        state = self._state
        state.plan[:, Plan.MARKED] = self.program.code[:, Col.OP] == Op.PRINT
        state.plan[rows, Plan.MARKED] = 1
        state.core[:, Core.MARKS] &= ~np.int64(Marks.STOPS)
        state.core[cores, Core.MARKS] |= Marks.STOPS
        self._state = engine.mark_all(self.program, state)

    def save(self) -> Checkpoint:
        """A copy of everything that changes while the machine runs."""
        self._load_host_data()
        kept = {name: array for name, array in self._state._asdict().items() if name not in _FIXED | _VIEWS}
        return Checkpoint({name: array.copy() for name, array in kept.items()}, [list(parts) for parts in self._pending])

    def restore(self, saved: Checkpoint) -> None:
        """Go back to what `save` of this machine copied."""
        self._asked = None
        self.is_exact = True
        for name, array in saved.arrays.items():
            self._overwrite(name, array)
        self._pending = [list(parts) for parts in saved.pending]

    def _overwrite(self, name: str, array: np.ndarray) -> None:
        """Give an array of the state these values."""
        current = getattr(self._state, name)
        if current.shape == array.shape:
            current[...] = array  # in place: others are views of it
        else:
            self._state = self._state._replace(**{name: array.copy()})

    def check(self, status: Status) -> None:
        """Raise `DeadlockError` or `FaultError` for a run that went wrong."""
        if status == Status.FAULT:
            _, pe, cycle = self.fault  # type: ignore[misc]
            past = look_back(self._replay, self.program.xy(pe), cycle)
            notes = [past.text] if past else []
            if not self.is_exact:
                notes.append(f"other PEs may have gone on ahead of it: run(max_cycles={cycle + 1}) stops all of them in that cycle")
            raise fault_error(self.program, self._state, notes)
        if status == Status.DEADLOCK:
            raise DeadlockError(self.hang())

    def hang(self) -> HangReport:
        """Who waits for whom, and why, after a run that ended with `Status.DEADLOCK`; the state stays as it is."""
        report = diagnose(self.program, self._state, self.cycles)
        pasts = [look_back(self._replay, pe, since) for pe, since in report.first_threads()]
        return replace(report, past=tuple(past for past in pasts if past))

    def output(self, name: str, type: Type = Type.F32) -> tuple[np.ndarray, np.ndarray]:
        """All values that have arrived at host output `name` since loading, and the cycle of each."""
        sink = self._port(self._outputs, name, "output")
        state = self._state
        num = int(state.sink[sink, Sink.COUNT])
        num = int(np.searchsorted(state.out_cycle[sink, :num], self.cycles, side="right"))
        bits = state.out_value[sink, :num].astype(np.uint32)
        return bits.view(NUMPY_TYPE[type]) if type != Type.F16 else bits, state.out_cycle[sink, :num].copy()

    def received(self, name: str) -> int:
        """How many values have been sent to host output `name` since loading; another thread may ask while the machine runs."""
        return int(self._state.sink[self._port(self._outputs, name, "output"), Sink.COUNT])

    def read(self, x: int, y: int, name: str) -> np.ndarray:
        """A copy of the array `name` in the SRAM of PE (x, y)."""
        view = self._symbol(x, y, name)
        return view.copy()

    def write(self, x: int, y: int, name: str, values: Any) -> None:
        """Overwrite the array `name` in the SRAM of PE (x, y)."""
        view, values = self._symbol(x, y, name), np.asarray(values)
        if values.size != view.size:
            message = f"array '{name}' of PE ({x},{y}) has the shape {view.shape}, got {values.shape}"
            raise ProgramError(message, help=f"give {view.size} values")
        fresh = values.astype(view.dtype).reshape(view.shape)
        view[...] = fresh
        self._remember(lambda machine: machine.write(x, y, name, fresh), fresh.size)
        note_written(self._state, view.__array_interface__["data"][0] - self._state.sram.ctypes.data, view.nbytes)

    def counters(self) -> Counters:
        """A reading of all counters, as of the current cycle."""
        core, chan = self._state.core, self._state.chan
        busy = core[:, Core.BUSY : Core.BUSY + len(OpClass)].copy()
        row_busy, row_elapsed, row_issued = self._state.row_cycles.T.copy()
        early = np.flatnonzero(core[:, Core.ACCOUNTED] > self.cycles)  # a beat is under way, counted to its end
        overshoot, rows = core[early, Core.ACCOUNTED] - self.cycles, core[early, Core.LAST_ROW]
        bank = core[early, Core.LAST_BANK]  # its last cycle is one that waits for a bank
        busy[early, self._state.plan[rows, Plan.CLASS]] -= overshoot - bank
        stall = core[:, Core.STALL : Core.STALL + len(Stall)].copy()
        stall[early, Stall.BANK] -= bank
        np.subtract.at(row_busy, rows, overshoot)
        thread = self._state.thread
        over = (thread[:, Thread.PHASE] >= Phase.BULK) & (thread[:, Thread.POS] == thread[:, Thread.NUM])
        over &= thread[:, Thread.NEXT] <= self.cycles  # ended, which the engine notices when it comes back to the core
        np.add.at(row_elapsed, thread[over, Thread.ROW], (thread[:, Thread.NEXT] - thread[:, Thread.ISSUED])[over])
        return Counters(
            cycles=self.cycles,
            busy=busy,
            stall=stall,
            instructions=core[:, Core.INSTRUCTIONS].copy(),
            flops=core[:, Core.FLOPS].copy(),
            sram_read_bytes=core[:, Core.READ_BYTES].copy(),
            sram_write_bytes=core[:, Core.WRITE_BYTES].copy(),
            sent=chan[:, Chan.SENT].copy(),
            wait=chan[:, Chan.WAIT].copy(),
            switch_sent=self._state.switch[:, Turn.SENT : Turn.SENT + len(Port)].copy(),
            row_busy=row_busy,
            row_elapsed=row_elapsed,
            row_issued=row_issued,
        )

    def lines(self, pes: Rect | None = None) -> list[LineCycles]:
        """What each source line cost since loading (`wse.lines.line_cycles`)."""
        return line_cycles(self.program, self.counters(), pes)

    def snapshot(self) -> dict[str, np.ndarray]:
        """Everything a run leaves behind, by name: SRAM, registers, counters, outputs."""
        counters = self.counters()
        state = {name: getattr(counters, name) for name in counters.__dataclass_fields__ if name != "cycles"}
        state |= {"sram": self._state.sram.copy(), "registers": self._state.regs.copy()}
        state["switch_position"] = self._state.switch[:, Turn.POSITION].copy()
        state["fifo_count"] = self._state.sram_fifo[:, SramFifo.COUNT].copy()
        for name in self._outputs:
            values, cycles = self.output(name, Type.I32)
            state |= {f"out:{name}": values.view(np.uint32), f"out_cycle:{name}": cycles}
        return state

    def trace(self, selection: Selection | None) -> None:
        """Trace what `selection` says from here on, and forget what was traced before; None: nothing.

        Tracing changes neither results nor cycles. Raises `ConfigError` for PEs outside the mesh.
        """
        self._state = switch_on(self.program, self._state, selection)
        self._traced = selection

    def traced(self, regions: Iterable[tuple[str, Rect]] = ()) -> Trace:
        """What has been traced up to the current cycle, to be written by `wse.trace.files`. `regions`: names for rectangles of PEs.

        Raises `ProgramError` when nothing is being traced.
        """
        if self._traced is None:
            raise ProgramError("nothing is being traced", help="call trace(Selection(...)) before run()")
        return collect(self.program, self._state, self._traced, regions)

    def _port(self, ports: dict[str, int], name: str, kind: str) -> int:
        if name not in ports:
            raise ProgramError(f"the program has no host {kind} '{name}'", help=nearest(name, ports))
        return ports[name]

    def _symbol(self, x: int, y: int, name: str) -> np.ndarray:
        width, height = self.program.width, self.program.height
        if not (0 <= x < width and 0 <= y < height):
            raise ProgramError(f"PE ({x},{y}) is outside the mesh of {width}x{height} PEs", help="x counts from the west, y from the north")
        k = self.program.core_at(x, y)
        if k < 0:
            first = self.program.where(self.program.core_pe[0]) if len(self.program.core_pe) else "none"
            raise ProgramError(f"PE ({x},{y}) has no code and no data", help=f"the first PE that has is {first}")
        symbols = self.program.classes[self.program.core_class[k]].symbols
        if name not in symbols:
            raise ProgramError(f"PE ({x},{y}) has no array '{name}'", help=nearest(name, symbols))
        symbol = symbols[name]
        first = int(self.program.core_sram[k]) * 4 + symbol.address
        dtype = np.dtype(NUMPY_TYPE[symbol.type])
        raw = self._state.sram.view(np.uint8)[first : first + symbol.num_elements * dtype.itemsize]
        return raw.view(dtype).reshape(symbol.shape)

    def _load_host_data(self) -> None:
        """Put what was fed behind what the engine has not streamed in yet."""
        if not any(self._pending):
            return
        state, parts, at = self._state, [], 0
        first = len(self.program.channel_pe)
        for i, fresh in enumerate(self._pending):
            rest = state.host_data[state.source[i, Source.POS] : state.source[i, Source.END]]
            parts += [rest, *fresh]
            size = len(rest) + sum(map(len, fresh))
            state.source[i, Source.POS], state.source[i, Source.END] = at, at + size
            at += size
            if fresh and not len(rest):
                engine.wake_source(state, first + i)
            fresh.clear()
        self._state = state._replace(host_data=np.concatenate(parts))

    def _await(self, await_outputs: dict[str, int]) -> None:
        """Tell the engine when this run is over."""
        state = self._state
        clock, sink = state.clock, state.sink
        sink[:, Sink.AWAITED] = -1
        clock[Clock.STOP_AT], clock[Clock.AWAITING], clock[Clock.LAST_AWAITED] = NEVER, 0, 0
        for name, num in await_outputs.items():
            i = self._port(self._outputs, name, "output")
            if num <= 0:
                raise ProgramError(f"cannot await {num} wavelets at '{name}'", help="leave it out, or await at least one")
            arrived = len(self.output(name)[0])
            if arrived + num <= sink[i, Sink.COUNT]:  # under way already
                clock[Clock.LAST_AWAITED] = max(clock[Clock.LAST_AWAITED], state.out_cycle[i, arrived + num - 1])
            else:
                sink[i, Sink.AWAITED] = arrived + num
                clock[Clock.AWAITING] += 1
        if await_outputs and not clock[Clock.AWAITING]:
            clock[Clock.STOP_AT] = clock[Clock.LAST_AWAITED]
