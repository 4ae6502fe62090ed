"""The prompt of `wse debug`: short commands for a `Debugger`."""

from __future__ import annotations

import cmd
import re
from collections.abc import Iterable

import click
import numpy as np

from wse.cli.kernel import parse_pes
from wse.debug import Debugger
from wse.engine.state import Core
from wse.errors import ConfigError, WseError
from wse.inspection import code_class, core_at, describe_threads, fault_text, read_queues, read_routes, registers
from wse.isa import OpClass, Stall
from wse.program import Rect

Pe = tuple[int, int]


class Prompt(cmd.Cmd):
    """Commands of one line; `X,Y` is a PE and may be left out for the one at hand."""

    prompt = "(wse) "
    intro = "Commands: b, watch, d, c, s, n, p, set, info, bt, pe, where, q; help NAME says more."

    def __init__(self, debugger: Debugger) -> None:
        super().__init__()
        self.debugger = debugger
        program = debugger.machine.program
        self.pe: Pe = program.xy(program.core_pe[0]) if len(program.core_pe) else (0, 0)

    def follow(self, commands: Iterable[str]) -> None:
        """Obey commands one after another, each shown; errors are raised."""
        for line in commands:
            if line.split("#")[0].strip():
                click.echo(f"{self.prompt}{line}")
                if super().onecmd(line.split("#")[0].strip()):
                    return

    def onecmd(self, line: str) -> bool:
        try:
            return bool(super().onecmd(line))
        except WseError as error:
            click.echo(error.render())
            return False

    def emptyline(self) -> bool:
        return False

    def do_EOF(self, text: str) -> bool:
        """End of input: leave."""
        return True

    def default(self, line: str) -> None:
        raise ConfigError(f"no command '{line.split()[0]}'", help=self.intro)

    # --- where to stop

    def do_b(self, text: str) -> None:
        """b FILE:LINE [X,Y] | b pe X,Y | b color C [X,Y] | b cycle N | b (lists them): stop there; X,Y may be ranges, 0:4,3."""
        words = text.split()
        if not words:
            self._say(map(str, self.debugger.breakpoints.values()))
            return
        pes = parse_pes(words.pop()) if "," in words[-1] else None
        if words == ["pe"] and pes:
            new = self.debugger.break_at(pes=pes)
        elif len(words) == 2 and words[0] == "color":
            new = self.debugger.break_at(color=_number(words[1]), pes=pes)
        elif len(words) == 2 and words[0] == "cycle" and pes is None:
            new = self.debugger.break_at(cycle=_number(words[1]))
        elif len(words) == 1:
            new = self.debugger.break_at(line=words[0], pes=pes)
        else:
            raise ConfigError(f"cannot read 'b {text}'", help=self.do_b.__doc__)
        click.echo(new)

    def do_watch(self, text: str) -> None:
        """watch NAME [X,Y]: stop when the array NAME changes."""
        words, pe = self._split(text)
        if len(words) != 1:
            raise ConfigError("watch what?", help=self.do_watch.__doc__)
        click.echo(self.debugger.break_at(symbol=words[0], pes=Rect(*pe, 1, 1)))

    def do_d(self, text: str) -> None:
        """d N: delete breakpoint N."""
        self.debugger.clear(_number(text))

    # --- going on

    def do_c(self, text: str) -> None:
        """c [N]: go on to the next breakpoint or the end, at most N cycles."""
        self._go(self.debugger.go(self.debugger.machine.cycles + _number(text) if text else None))

    def do_s(self, text: str) -> None:
        """s [N]: go on for N cycles, 1 without."""
        self._go(self.debugger.step(_number(text) if text else 1))

    def do_n(self, text: str) -> None:
        """n [X,Y]: go on until this PE is about to issue its next instruction."""
        self._go(self.debugger.next(*self._split(text)[1]))

    # --- looking

    def do_where(self, text: str) -> None:
        """where: why and where it stopped last, what the PE at hand does, and the fault or hang if there was one."""
        click.echo(self.debugger.last)
        if self.debugger.last.reason == "deadlock":
            self._say(self.debugger.machine.hang().notes)
        if self.debugger.machine.fault:
            click.echo(fault_text(self.debugger.machine))
        self.do_bt("")

    def do_pe(self, text: str) -> None:
        """pe X,Y: make this the PE at hand."""
        pe = self._split(text)[1]
        core_at(self.debugger.machine, *pe)
        self.pe = pe

    def do_bt(self, text: str) -> None:
        """bt [X,Y]: what every thread of a PE does."""
        pe = self._split(text)[1]
        threads = describe_threads(self.debugger.machine, *pe)
        self._say([f"PE({pe[0]},{pe[1]}) in cycle {self.debugger.machine.cycles}", *(f"  {line}" for line in threads)])

    def do_p(self, text: str) -> None:
        """p NAME[INDEX] [X,Y] | p rN [X,Y]: print an array, elements of it, or a register (as i32 and f32)."""
        words, pe = self._split(text)
        name, index = _name_and_index(" ".join(words))
        machine = self.debugger.machine
        if re.fullmatch(r"r\d+", name) and name not in code_class(machine, *pe).symbols:
            value = self._register(pe, name)
            click.echo(f"{name} = {value[0]} ({value.view(np.float32)[0]})")
            return
        click.echo(f"{' '.join(words)} = {_element(machine.read(*pe, name), index, name)}")

    def do_set(self, text: str) -> None:
        """set NAME[INDEX] [X,Y] VALUE | set rN [X,Y] VALUE: write; an array gets VALUE everywhere, a register 1.0 as f32, 1 as i32."""
        *rest, value = text.split() or [""]
        words, pe = self._split(" ".join(rest))
        name, index = _name_and_index(" ".join(words))
        try:
            number = float(value)
        except ValueError:
            raise ConfigError(f"'{value}' is no number", help=self.do_set.__doc__) from None
        machine = self.debugger.machine
        if re.fullmatch(r"r\d+", name) and name not in code_class(machine, *pe).symbols:
            register = self._register(pe, name)
            if re.fullmatch(r"-?\d+", value):
                register[0] = int(value)
            else:
                register.view(np.float32)[0] = number
            return
        array = machine.read(*pe, name)
        _element(array, index, name)
        array[index] = number
        machine.write(*pe, name, array)

    def do_info(self, text: str) -> None:
        """info pe [X,Y] | info routes [X,Y] | info queues COLOR [X,Y] | info b: what there is."""
        words, pe = self._split(text)
        machine = self.debugger.machine
        if words == ["pe"]:
            self._info_pe(pe)
        elif words == ["routes"]:
            self._say(map(str, read_routes(machine, *pe)))
        elif len(words) == 2 and words[0] == "queues":
            for queue in read_queues(machine, *pe, _number(words[1])):
                held = [
                    f"{bits:#010x}{'!' if control else ''}@{at}"
                    for bits, at, control in zip(queue.bits, queue.usable, queue.control, strict=True)
                ]
                click.echo(f"{queue.place}: {len(held)} of {queue.room}: {' '.join(held)}")
        elif words == ["b"]:
            self.do_b("")
        else:
            raise ConfigError(f"no 'info {text}'", help=self.do_info.__doc__)

    def do_q(self, text: str) -> bool:
        """q: leave."""
        return True

    def _info_pe(self, pe: Pe) -> None:
        machine = self.debugger.machine
        core = machine._state.core[core_at(machine, *pe)]
        cls = code_class(machine, *pe)
        size = f"{4 * cls.sram_words} B of data, {cls.code_bytes} B of code"
        click.echo(f"PE({pe[0]},{pe[1]}): {size}, {core[Core.INSTRUCTIONS]} instructions issued")
        for symbol in cls.symbols.values():
            click.echo(f"  {symbol.name}: {symbol.type.name.lower()} {symbol.shape} at {symbol.address}")
        busy = ", ".join(f"{kind.name.lower()} {core[Core.BUSY + kind]}" for kind in OpClass)
        stall = ", ".join(f"{reason.name.lower()} {core[Core.STALL + reason]}" for reason in Stall)
        click.echo(f"  cycles busy: {busy}; stalled: {stall}")
        used = registers(machine, *pe)
        texts = [f"r{i} = {used[i]} ({used[i : i + 1].view(np.float32)[0]})" for i in np.flatnonzero(used)]
        click.echo(f"  registers: {', '.join(texts) or 'all 0'}")
        self._say(f"  {line}" for line in describe_threads(machine, *pe))

    def _go(self, stop: object) -> None:
        click.echo(stop)
        if self.debugger.last.pe:
            self.pe = self.debugger.last.pe

    def _register(self, pe: Pe, name: str) -> np.ndarray:
        """A view of one register, int32 (1,)."""
        file, number = registers(self.debugger.machine, *pe), int(name[1:])
        if number >= len(file):
            raise ConfigError(f"no register {name}", help=f"registers are r0..r{len(file) - 1}")
        return file[number : number + 1]

    def _split(self, text: str) -> tuple[list[str], Pe]:
        """The words without a PE at their end, and that PE or the one at hand."""
        words = text.split()
        if words and re.fullmatch(r"\d+,\d+", words[-1]):
            x, y = words.pop().split(",")
            return words, (int(x), int(y))
        return words, self.pe

    def _say(self, lines: Iterable[str]) -> None:
        for line in lines:
            click.echo(line)


def _number(text: str) -> int:
    if not text.strip().isdigit():
        raise ConfigError(f"'{text}' is no number")
    return int(text)


def _name_and_index(text: str) -> tuple[str, tuple[int | slice, ...]]:
    """`y[2:4, 0]` as a name and an index; without one, everything."""
    match = re.fullmatch(r"(\w[\w./-]*)(?:\[([-\d:, ]*)\])?", text)
    if match is None:
        raise ConfigError(f"cannot read '{text}'", help="write NAME or NAME[1] or NAME[0:4] or NAME[1, 2]")
    items = [item.strip() for item in (match[2] or ":").split(",")]
    try:
        index = tuple(slice(*(int(end) if end else None for end in item.split(":"))) if ":" in item else int(item) for item in items)
    except (ValueError, TypeError):
        raise ConfigError(f"cannot read the index of '{text}'") from None
    return match[1], index


def _element(array: np.ndarray, index: tuple[int | slice, ...], name: str) -> np.ndarray:
    if not array.ndim and index == (slice(None),):
        return array
    try:
        return array[index]
    except IndexError as error:
        raise ConfigError(f"'{name}' of shape {array.shape}: {error}") from None
