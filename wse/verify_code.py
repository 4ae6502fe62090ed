"""Checks of a linked program's code, class by class: what can be proved wrong before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wse.errors import ProgramError
from wse.isa import (
    BRANCHES,
    COMMAND_BITS,
    MAX_COMMANDS,
    MAX_DIMS,
    MAX_POSITIONS,
    RECEIVES,
    SENDS,
    TYPE_BYTES,
    VECTOR_OPS,
    Col,
    Command,
    Done,
    Kind,
    Op,
    Operand,
    Port,
    Switch,
    Type,
)
from wse.program import Binding, CodeClass, Program, class_rows

OPERAND_NAMES = {Col.D: "destination", Col.A: "first source", Col.B: "second source"}


@dataclass(frozen=True)
class _Class:
    """One class under check: its PEs, its instructions, and which channels have the ramp as rx and as tx."""

    program: Program
    cls: CodeClass
    members: np.ndarray  # int64, PEs
    code: np.ndarray  # int64 (num_rows, NUM_COLS)
    from_ramp: np.ndarray  # bool (num_channels + 1,), False for "no channel"
    to_ramp: np.ndarray

    def refuse(self, message: str, line: int, bad: np.ndarray | None = None, notes: Sequence[str] = (), help: str | None = None) -> None:
        """Raise about the PEs where `bad` (all, without it): `message` follows their names."""
        pes = self.members if bad is None else self.members[bad]
        at = self.program.where_like(pes[0], len(pes) - 1)
        raise ProgramError(f"PE {at} {message}", notes=[self.program.source_lines[line], *notes], help=help)

    def has_ramp(self, color: int, sends: bool) -> np.ndarray:
        """bool (num_members,): whether a wavelet of `color` can go from (`sends`) or to each core."""
        return (self.from_ramp if sends else self.to_ramp)[self.program.channels_at(self.members, color)]

    def ramp_colors(self, pe: int, sends: bool) -> list[int]:
        """Colors of which a wavelet can go from (`sends`) or to this PE's core."""
        ramp = (self.from_ramp if sends else self.to_ramp)[:-1]
        return self.program.channel_color[(self.program.channel_pe == pe) & ramp].tolist()


def verify_code(program: Program) -> None:
    """Every ramp has a core; every class's operands, tasks, bindings and FIFOs are possible. Raises `ProgramError`."""
    from_ramp, to_ramp = (np.append(ports >> Port.RAMP & 1 == 1, False) for ports in program.channel_ports())
    has_core = np.zeros(program.width * program.height, bool)
    has_core[program.core_pe] = True
    lost = np.flatnonzero((from_ramp | to_ramp)[:-1] & ~has_core[program.channel_pe])
    if len(lost):
        color, pe = program.channel_color[lost[0]], program.channel_pe[lost[0]]
        raise ProgramError(
            f"color {color} uses the ramp of PE {program.where(pe)}, which has no code",
            notes=[program.source_lines[program.channel_line[lost[0]]]],
            help="write code for that PE, or leave RAMP out of the route",
        )
    for index, cls in enumerate(program.classes):
        code = program.code[class_rows(program.code, cls.task_entry)]
        checked = _Class(program, cls, program.core_pe[program.core_class == index], code, from_ramp, to_ramp)
        _verify_bindings(checked)
        _verify_activations(checked)
        _verify_colors(checked)
        _verify_bounds(checked)
        _verify_switches(checked)


def _verify_activations(c: _Class) -> None:
    """Every task that an instruction, a completion or a FIFO activates has code, and is not a data task."""
    active = c.code[(c.code[:, Col.OP] == Op.ACTIVATE) | (c.code[:, Col.DONE] == Done.ACTIVATE)]
    wanted = [(int(row[Col.TASK]), int(row[Col.LINE])) for row in active]
    wanted += [(task, fifo.line) for fifo in c.cls.fifos for task in (fifo.on_push, fifo.on_pop) if task >= 0]
    for task, line in wanted:
        if task >= len(c.cls.task_entry) or c.cls.task_entry[task] < 0:
            c.refuse(f"activates task {task}, which has no code there", line, help=f"write it with pes(rect, task={task})")
        if any(binding.task == task for binding in c.cls.bindings):
            held = "a data task runs when a wavelet arrives; block() and unblock() hold it back"
            c.refuse(f"activates task {task}, which is bound to a color", line, help=held)


def _verify_colors(c: _Class) -> None:
    """Every color an instruction sends or receives has a route with the ramp on the right side."""
    for operand in (Col.D, Col.A, Col.B):
        kinds = c.code[:, operand + Operand.KIND]
        for kinds_of_side, sends in ((RECEIVES, False), (SENDS, True)):
            rows = c.code[np.isin(kinds, list(kinds_of_side))]
            colors, first = np.unique(rows[:, operand + Operand.BASE], return_index=True)
            for color, row in zip(colors, rows[first], strict=True):
                bad = ~c.has_ramp(int(color), sends)
                if bad.any():
                    help = f"route color {color} with {'rx' if sends else 'tx'} RAMP on this PE"
                    verb, ways = ("sends", "from its core go") if sends else ("receives", "to its core come")
                    routed = c.ramp_colors(int(c.members[bad][0]), sends)
                    notes = [f"{ways} " + (f"color{'s' * (len(routed) > 1)} {', '.join(map(str, routed))}" if routed else "none")]
                    c.refuse(f"{verb} color {color}, which has no such route there", int(row[Col.LINE]), bad, notes, help)


def _verify_bindings(c: _Class) -> None:
    """Every data task has code, a color of its own that comes in over the ramp, and no instruction that receives it."""
    lines = c.program.source_lines
    colors: dict[int, Binding] = {}
    tasks: dict[int, Binding] = {}
    for binding in c.cls.bindings:
        task, color = binding.task, binding.color
        other = colors.get(color) or tasks.get(task)
        if other:
            c.refuse(
                f"binds color {color} to task {task}, but color {other.color} is bound to task {other.task} there", binding.line,
                notes=[f"the other: {lines[other.line]}"], help="bind each color to one task, and each task to one color",
            )  # fmt: skip
        colors[color] = tasks[task] = binding
        if task >= len(c.cls.task_entry) or c.cls.task_entry[task] < 0:
            help = f"write it with pes(rect, task={task})"
            c.refuse(f"binds color {color} to task {task}, which has no code there", binding.line, help=help)
        bad = ~c.has_ramp(color, sends=False)
        if bad.any():
            help = f"route color {color} with tx RAMP on this PE"
            c.refuse(f"binds color {color} to task {task}, but has no route that brings it to the core", binding.line, bad, help=help)
        for operand in (Col.A, Col.B):
            receives = np.isin(c.code[:, operand + Operand.KIND], list(RECEIVES)) & (c.code[:, operand + Operand.BASE] == color)
            if receives.any():
                c.refuse(
                    f"binds color {color} to task {task} and also receives it in an instruction", binding.line,
                    notes=[f"the instruction: {lines[c.code[np.argmax(receives), Col.LINE]]}"],
                    help="take the wavelet from the task's register, or receive all of the color in instructions",
                )  # fmt: skip


def _verify_bounds(c: _Class) -> None:
    """Memory operands whose address and extents no register changes stay inside the PE's data."""
    extents = c.code[:, Col.EXTENT : Col.EXTENT + MAX_DIMS]
    static = (c.code[:, Col.EXTENT_REG : Col.EXTENT_REG + MAX_DIMS] < 0).all(1) & np.isin(c.code[:, Col.OP], [*VECTOR_OPS, Op.PRINT])
    static &= (extents > 0).all(1)
    for operand, name in OPERAND_NAMES.items():
        size = np.where(c.code[:, operand + Operand.TYPE] == Type.F16, TYPE_BYTES[Type.F16], TYPE_BYTES[Type.F32])
        reach = (extents - 1) * c.code[:, operand + Operand.STRIDE : operand + Operand.STRIDE + MAX_DIMS] * size[:, None]
        first = c.code[:, operand + Operand.BASE] + np.minimum(reach, 0).sum(1)
        end = c.code[:, operand + Operand.BASE] + np.maximum(reach, 0).sum(1) + size
        outside = static & (c.code[:, operand + Operand.KIND] == Kind.MEM) & (c.code[:, operand + Operand.OFFSET_REG] < 0)
        outside &= (first < 0) | (end > 4 * c.cls.sram_words)
        if outside.any():
            i = int(np.argmax(outside))
            op = Op(c.code[i, Col.OP]).name.lower()
            c.refuse(
                f"reaches outside its data with the {name} of {op}: bytes {first[i]} to {end[i] - 1} of 0 to {4 * c.cls.sram_words - 1}",
                int(c.code[i, Col.LINE]), notes=[f"the operand begins in {_symbol_at(c.cls, int(c.code[i, operand + Operand.BASE]))}"],
                help="check the view's shape and strides against the array's shape",
            )  # fmt: skip


def _symbol_at(cls: CodeClass, address: int) -> str:
    """The array that an address lies in, or comes after."""
    before = [symbol for symbol in cls.symbols.values() if symbol.address <= address]
    symbol = max(before, key=lambda symbol: symbol.address, default=None)
    return f"'{symbol.name}' {symbol.shape}" if symbol else "no array"


def _verify_switches(c: _Class) -> None:
    """A main task that has no branches does not advance its own switch past the last position.

    Only what no other wavelet can change is refused: every position takes in what the core sends, and all control wavelets of the
    color, on any PE, are numbers in their instructions and hold no RESET.
    """
    entry = c.cls.task_entry[0] if c.cls.task_entry else -1
    main = c.program.code[class_rows(c.program.code, (entry,))]
    if np.isin(main[:, Col.OP], [Op.JUMP, *BRANCHES]).any():
        return
    sends = main[main[:, Col.D + Operand.KIND] == Kind.CONTROL_OUT]
    for color in np.unique(sends[:, Col.D + Operand.BASE]):
        mine = sends[sends[:, Col.D + Operand.BASE] == color]
        switches = c.program.switches[np.isin(c.program.switches[:, Switch.CHANNEL], c.program.channels_at(c.members, int(color)))]
        served = (switches[:, Switch.RX : Switch.RX + MAX_POSITIONS] == Port.RAMP).sum(1) == switches[:, Switch.NUM]
        provable = (switches[:, Switch.RING] == 0) & served & (switches[:, Switch.FIFOS] == 1 << Port.RAMP)
        if not provable.any() or not _only_advance(c.program, int(color)):
            continue
        num = int(switches[provable, Switch.NUM].min())
        repeats = mine[:, Col.EXTENT : Col.EXTENT + MAX_DIMS].prod(1)
        repeats[(mine[:, Col.EXTENT_REG : Col.EXTENT_REG + MAX_DIMS] >= 0).any(1)] = 0
        advances = np.cumsum(repeats * (_command(mine, 0) == Command.ADVANCE))
        if len(advances) and advances[-1] >= num:
            row = mine[np.argmax(advances >= num)]
            pes = c.program.channel_pe[switches[provable & (switches[:, Switch.NUM] == num), Switch.CHANNEL]]
            c.refuse(
                f"advances its switch of color {color} past the last of {num} positions", int(row[Col.LINE]), np.isin(c.members, pes),
                help="give the switch ring=True, another position, or send fewer ADVANCE commands",
            )  # fmt: skip


def _only_advance(program: Program, color: int) -> bool:
    """Whether all control wavelets of `color` are known, and none resets a switch."""
    code = program.code
    rows = code[(code[:, Col.D + Operand.KIND] == Kind.CONTROL_OUT) & (code[:, Col.D + Operand.BASE] == color)]
    known = (rows[:, Col.OP] == Op.MOV) & (rows[:, Col.A + Operand.KIND] == Kind.IMM)
    resets = [(_command(rows, i) == Command.RESET).any() for i in range(MAX_COMMANDS)]
    return bool(known.all()) and not any(resets)


def _command(rows: np.ndarray, i: int) -> np.ndarray:
    """Command i of the control wavelets that these instructions send."""
    return rows[:, Col.A + Operand.BASE] >> COMMAND_BITS * i & (1 << COMMAND_BITS) - 1
