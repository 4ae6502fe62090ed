"""Debugger: stop a machine exactly where a kernel developer asks, look at anything, change it, go on.

    debugger = Debugger(Machine(program))
    debugger.break_at(line="gemv.py:12", pes=Rect(1, 0, 1, 1))
    stop = debugger.go()                 # a Stop; the cycle in which that instruction is about to issue
    debugger.machine.read(1, 0, "y")

The engine runs in stretches and marks which instructions issue, so that going a million cycles costs what running them costs. What
was marked, or what differs after a stretch, says where to stop; from a copy of the state before the stretch the machine runs up to
exactly that cycle. The state between two runs is that of the rules at that cycle, whatever the engine does inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wse.engine.state import Chan, Core, Mark
from wse.errors import ConfigError, nearest
from wse.inspection import fault_text
from wse.isa import Col, Op, Status
from wse.machine import Checkpoint, Machine
from wse.printed import Printed
from wse.program import Program, Rect, class_rows

FIRST_STRETCH = 256
LAST_STRETCH = 1 << 20


@dataclass(frozen=True)
class Breakpoint:
    """Where to stop: at a cycle, or where on the PEs of `pes` an instruction issues, a wavelet leaves a router, a symbol changes."""

    number: int
    pes: Rect
    line: str | None = None  # end of `folder/file:line`; None for any instruction
    color: int | None = None
    symbol: str | None = None
    cycle: int | None = None

    def __str__(self) -> str:
        where = f" on {self.pes}"
        if self.cycle is not None:
            return f"{self.number}: cycle {self.cycle}"
        if self.color is not None:
            return f"{self.number}: a wavelet of color {self.color}{where}"
        if self.symbol is not None:
            return f"{self.number}: '{self.symbol}' changes{where}"
        return f"{self.number}: {self.line or 'any instruction'}{where}"


@dataclass(frozen=True)
class Stop:
    """Where the machine stands and why: `reason` is breakpoint, next, step, limit, done, deadlock or fault.

    An instruction's breakpoint stops before `cycle`, in which it issues; the others in the first cycle that sees the change.
    """

    reason: str
    cycle: int
    breakpoint: Breakpoint | None = None
    pe: tuple[int, int] | None = None
    line: str = ""
    detail: str = ""

    def __str__(self) -> str:
        where = f" PE({self.pe[0]},{self.pe[1]})" if self.pe else ""
        what = f" {self.breakpoint}" if self.breakpoint else ""
        return f"@{self.cycle}{where}: {self.reason}{what}" + "".join(f", {text}" for text in (self.line, self.detail) if text)


class Debugger:
    """A machine under control. `await_outputs`: when its run is over, as in `Machine.run`, counted from now on."""

    def __init__(self, machine: Machine, await_outputs: dict[str, int] | None = None):
        self.machine = machine
        self.breakpoints: dict[int, Breakpoint] = {}
        self.last = Stop("step", machine.cycles)
        self._targets = {name: num + len(machine.output(name)[0]) for name, num in (await_outputs or {}).items()}
        self._seen: set[tuple[int, int, int]] = set()  # (cycle, core, row) of instructions at which it stopped already
        self._num = 0

    # --- where to stop --------------------------------------------------------------------------------------------

    def break_at(
        self,
        *,
        line: str | None = None,
        pes: Rect | None = None,
        color: int | None = None,
        symbol: str | None = None,
        cycle: int | None = None,
    ) -> Breakpoint:
        """A new breakpoint: at most one of `line`, `color`, `symbol`, `cycle`; with `pes` alone, any instruction there.

        `pes`: where (default: everywhere). Raises `ConfigError` for what the program does not have.
        """
        program = self.machine.program
        if sum(what is not None for what in (line, color, symbol, cycle)) > 1:
            raise ConfigError("a breakpoint is at one of a line, a color, a symbol and a cycle")
        if all(what is None for what in (line, color, symbol, cycle, pes)):
            raise ConfigError("a breakpoint needs a line, PEs, a color, a symbol or a cycle")
        everywhere = Rect(0, 0, program.width, program.height)
        if pes is not None and not everywhere.contains(pes):
            raise ConfigError(f"{pes} is outside the mesh {everywhere}")
        new = Breakpoint(self._num + 1, pes or everywhere, line, color, symbol, cycle)
        if cycle is not None and cycle <= self.machine.cycles:
            raise ConfigError(f"cycle {cycle} is over: this is cycle {self.machine.cycles}")
        if color is not None and not len(self._channels(new)):
            raise ConfigError(f"color {color} has no route on {new.pes}")
        if symbol is not None and not self._holders(new):
            names = {name for cls in program.classes for name in cls.symbols}
            raise ConfigError(f"no PE of {new.pes} has an array '{symbol}'", help=nearest(symbol, names))
        if _is_instruction(new) and not len(self._rows(new)):
            known = [known for known, row in zip(program.source_lines, _rows_of_lines(program), strict=True) if row]
            raise ConfigError(f"no instruction comes from {line or 'code'} on {new.pes}", help=nearest(line or "", known))
        self._num += 1
        self.breakpoints[new.number] = new
        self._set_traps()
        return new

    def clear(self, number: int) -> None:
        """Take breakpoint `number` away. Raises `ConfigError` if there is none."""
        if number not in self.breakpoints:
            raise ConfigError(f"there is no breakpoint {number}")
        del self.breakpoints[number]
        self._set_traps()

    # --- going on -------------------------------------------------------------------------------------------------

    def step(self, num_cycles: int = 1) -> Stop:
        """Go on for at most so many cycles."""
        return self.go(self.machine.cycles + num_cycles, "step")

    def next(self, x: int, y: int, limit: int | None = None) -> Stop:
        """Go on until PE (x, y) is about to issue its next instruction, or `limit`."""
        if self.last.pe != (x, y) or self.last.cycle != self.machine.cycles:
            self._seen.clear()
        extra = self.break_at(pes=Rect(x, y, 1, 1))
        try:
            stop = self.go(limit)
        finally:
            self.clear(extra.number)
        if stop.breakpoint == extra:
            stop = self.last = replace(stop, reason="next", breakpoint=None)
        return stop

    def go(self, limit: int | None = None, at_limit: str = "limit") -> Stop:
        """Go on to the next breakpoint, the end of the run, a fault, a deadlock, or cycle `limit`; what was printed is shown."""
        machine = self.machine
        stretch = FIRST_STRETCH
        while True:
            begin = machine.cycles
            ends = [begin + stretch, *([] if limit is None else [limit])]
            ends += [point.cycle for point in self.breakpoints.values() if point.cycle is not None and point.cycle > begin]
            saved = machine.save()
            printed: list[Printed] = []
            with self._printing_to(printed.append):
                machine._stops.clear()
                status = self._run(min(ends))
                stop = self._first_hit(saved, begin) if self.breakpoints else None
            if stop is None and machine.fault is not None and not machine.is_exact:
                upto = machine.fault[2] + 1  # some cores went on ahead
                machine.restore(saved)
                with self._printing_to(lambda printed: None):
                    self._run(upto)
            for line in printed:
                if stop is None or line.cycle < machine.cycles:
                    machine.on_print(line)
            stop = stop or self._end(status, limit, at_limit)
            if stop:
                self.last = stop
                return stop
            stretch = min(2 * stretch, LAST_STRETCH)

    def _run(self, upto: int) -> Status:
        left = {name: target - len(self.machine.output(name)[0]) for name, target in self._targets.items()}
        if left and max(left.values()) <= 0:
            return Status.DONE
        return self.machine.run({name: num for name, num in left.items() if num > 0} or None, upto)

    def _end(self, status: Status, limit: int | None, at_limit: str) -> Stop | None:
        """The stop that the end of a stretch is, if it is one."""
        cycle = self.machine.cycles
        if status is Status.FAULT:
            _, pe, _ = self.machine.fault  # type: ignore[misc]
            return Stop("fault", cycle, pe=self.machine.program.xy(pe), detail=fault_text(self.machine))
        if status is Status.DEADLOCK:
            return Stop("deadlock", cycle, detail=self.machine.hang().message)
        if status is Status.DONE:
            return Stop("done", cycle)
        for point in self.breakpoints.values():
            if point.cycle == cycle:
                return Stop("breakpoint", cycle, point)
        return Stop(at_limit, cycle) if limit is not None and cycle >= limit else None

    # --- finding the first hit of a stretch -----------------------------------------------------------------------

    def _first_hit(self, saved: Checkpoint, begin: int) -> Stop | None:
        """The earliest stop in the stretch that began with `saved` and has just been run; the machine is then there."""
        machine, program = self.machine, self.machine.program
        end, found = machine.cycles, self._first_issue()
        with self._printing_to(lambda printed: None):
            for point in self.breakpoints.values():
                if point.color is None and point.symbol is None:
                    continue
                machine.restore(saved)
                probe = self._probe(point)
                before = probe()
                upto = min(end, found.cycle) if found else end
                self._run(upto)
                cycle = self._first_change(saved, begin, before, upto, probe(), probe)
                if cycle is not None and (found is None or cycle < found.cycle):
                    machine.restore(saved)
                    self._run(cycle)
                    pe = next(at for at, old, new in zip(self._places(point), before[1], probe()[1], strict=True) if old != new)
                    found = Stop("breakpoint", cycle, point, pe=program.xy(pe))
            if any(point.color is not None or point.symbol is not None for point in self.breakpoints.values()) or found:
                machine.restore(saved)
                self._run(found.cycle if found else end)
        return found

    def _first_issue(self) -> Stop | None:
        """The earliest instruction of the stretch at which a breakpoint stops and that it has not stopped at yet."""
        marks = np.concatenate(self.machine._stops) if self.machine._stops else np.zeros((0, len(Mark)), np.int64)
        program, earliest = self.machine.program, None
        hits: set[tuple[int, int, int]] = set()
        for point in filter(_is_instruction, self.breakpoints.values()):
            mine = marks[np.isin(marks[:, Mark.ROW], self._rows(point)) & np.isin(marks[:, Mark.CORE], self._cores(point.pes))]
            for mark in mine[np.lexsort((mine[:, Mark.CORE], mine[:, Mark.CYCLE]))]:
                key = int(mark[Mark.CYCLE]), int(mark[Mark.CORE]), int(mark[Mark.ROW])
                if key in self._seen or (earliest and key[0] > earliest.cycle):
                    continue
                line = program.source_lines[program.code[key[2], Col.LINE]]
                if earliest is None or key[0] < earliest.cycle:
                    hits.clear()
                    earliest = Stop("breakpoint", key[0], point, program.xy(program.core_pe[key[1]]), line)
                hits.add(key)
        if earliest:
            self._seen = hits
        return earliest

    def _probe(self, point: Breakpoint) -> Callable[[], tuple[int, list[bytes]]]:
        """Reads (what grows whenever the values could change, the values, one for each of `_places`)."""
        state, program = self.machine._state, self.machine.program
        if point.color is not None:
            channels = self._channels(point)
            return lambda: (int(state.chan[channels, Chan.SENT].sum()), [one.tobytes() for one in state.chan[channels, Chan.SENT]])
        cores = self._holders(point)
        places = [(*program.xy(program.core_pe[k]), point.symbol or "") for k in cores]
        return lambda: (int(state.core[cores, Core.WRITE_BYTES].sum()), [self.machine.read(*place).tobytes() for place in places])

    def _first_change(
        self, saved: Checkpoint, begin: int, before: tuple[int, list[bytes]], end: int, after: tuple[int, list[bytes]], probe: Any
    ) -> int | None:
        """First cycle in (begin, end] whose values are not those of `before`, by halves; `saved` is the state in cycle `begin`."""
        if before[0] == after[0]:
            return None
        if end - begin == 1:
            return end if after[1] != before[1] else None
        middle = (begin + end) // 2
        self.machine.restore(saved)
        self._run(middle)
        between, there = probe(), None
        if between[1] == before[1]:
            there = self.machine.save()
        found = self._first_change(saved, begin, before, middle, between, probe)
        if found is None and there is not None:
            return self._first_change(there, middle, between, end, after, probe)
        return found

    # --- what a breakpoint names ----------------------------------------------------------------------------------

    def _cores(self, pes: Rect) -> np.ndarray:
        program = self.machine.program
        return np.flatnonzero(program.inside(program.core_pe, pes))

    def _rows(self, point: Breakpoint) -> np.ndarray:
        """Rows of code, without prints, that an instruction's breakpoint stops at."""
        program = self.machine.program
        classes = np.unique(program.core_class[self._cores(point.pes)])
        rows = np.concatenate([np.zeros(0, np.int64), *(class_rows(program.code, program.classes[c].task_entry) for c in classes)])
        rows = np.unique(rows[program.code[rows, Col.OP] != Op.PRINT])
        if point.line is None:
            return rows
        lines = [i for i, line in enumerate(program.source_lines) if f"/{line}".endswith(f"/{point.line}")]
        return rows[np.isin(program.code[rows, Col.LINE], lines)]

    def _channels(self, point: Breakpoint) -> np.ndarray:
        program = self.machine.program
        return np.flatnonzero(program.inside(program.channel_pe, point.pes) & (program.channel_color == point.color))

    def _holders(self, point: Breakpoint) -> list[int]:
        """Cores that have the symbol."""
        program = self.machine.program
        return [int(k) for k in self._cores(point.pes) if point.symbol in program.classes[program.core_class[k]].symbols]

    def _places(self, point: Breakpoint) -> np.ndarray:
        """PEs of the values that `_probe` reads."""
        program = self.machine.program
        return program.channel_pe[self._channels(point)] if point.color is not None else program.core_pe[self._holders(point)]

    def _set_traps(self) -> None:
        points = [point for point in self.breakpoints.values() if _is_instruction(point)]
        none = np.zeros(0, np.int64)
        rows = np.unique(np.concatenate([none, *(self._rows(point) for point in points)]))
        self.machine.mark_stops(rows, np.unique(np.concatenate([none, *(self._cores(point.pes) for point in points)])))

    @contextmanager
    def _printing_to(self, show: Callable[[Printed], Any]) -> Iterator[None]:
        usual, self.machine.on_print = self.machine.on_print, show
        try:
            yield
        finally:
            self.machine.on_print = usual


def _is_instruction(point: Breakpoint) -> bool:
    return point.color is None and point.symbol is None and point.cycle is None


def _rows_of_lines(program: Program) -> list[bool]:
    """Whether each source line has an instruction."""
    used = np.zeros(len(program.source_lines), bool)
    used[program.code[program.code[:, Col.OP] < Op.END, Col.LINE]] = True
    return used.tolist()
