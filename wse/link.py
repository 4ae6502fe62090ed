"""Linking: from the fragments a builder collected to the plain arrays of a `Program`.

PEs covered by the same fragments form a code class. Each class gets its code (shared when two
classes come out alike) and its SRAM layout; each PE gets its data.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wse.errors import DoesNotFitError, ProgramError, nearest
from wse.isa import FIFO_KINDS, MAX_POSITIONS, NUM_COLS, NUM_SWITCH_COLS, TYPE_BYTES, Col, Op, Operand, Pop, Port, Switch, Type
from wse.program import Binding, CodeClass, Program, Rect, SramFifo, Symbol, class_rows

if TYPE_CHECKING:
    from wse.builder import ProgramBuilder


@dataclass(eq=False)
class Label:
    """A place in code; compared by identity, told apart in hashes by its number."""

    name: str
    number: int


@dataclass(frozen=True)
class PlacedLabel:
    """A label put into code."""

    label: Label
    line: int  # index into `Program.source_lines`


@dataclass(frozen=True)
class Route:
    """What a router does with a color: positions of (rx port, mask of tx ports), and how a switch goes from one to the next.

    A plain route is a ring of one position that never pops: control wavelets change nothing there.
    """

    positions: tuple[tuple[Port, int], ...]
    ring: bool = True
    pop: Pop = Pop.NEVER
    line: int = 0  # index into `Program.source_lines`

    @property
    def behaviour(self) -> tuple[Any, ...]:
        """What the router does: everything but where it was written."""
        return self.positions, self.ring, self.pop

    def __str__(self) -> str:
        return " then ".join(f"{rx.name} to {'+'.join(port.name for port in Port if tx >> port & 1)}" for rx, tx in self.positions)


@dataclass(frozen=True)
class Array:
    """A declared array: `data` is (height, width, *shape), (1, 1, *shape) for all PEs alike, or None for zeros."""

    name: str
    type: Type
    shape: tuple[int, ...]
    data: np.ndarray | None
    line: int  # index into `Program.source_lines`


@dataclass(frozen=True)
class EmptyArray(Array):
    """An array that nothing is known of before it is written."""


@dataclass(frozen=True)
class FifoArray(EmptyArray):
    """The storage of a FIFO in SRAM, and the tasks that a push or pop activates, -1 for none."""

    on_push: int
    on_pop: int


@dataclass
class Fragment:
    """What one rectangle was given in one go, in one task: rows of code, labels, arrays."""

    rect: Rect
    task: int
    rows: list[np.ndarray] = field(default_factory=list)
    ops: list[int] = field(default_factory=list)  # of each row, index into the builder's op names
    symbols: list[tuple[int, int, str]] = field(default_factory=list)  # (row, column, symbol)
    targets: list[tuple[int, Label]] = field(default_factory=list)  # (row, label it goes to)
    labels: list[tuple[int, PlacedLabel]] = field(default_factory=list)  # (row, label placed before it)
    arrays: list[Array] = field(default_factory=list)
    bindings: list[Binding] = field(default_factory=list)

    def add(self, item: Any, op: int) -> None:
        """Append an `Array`, a `Binding`, a `PlacedLabel` label, or an instruction (row, symbols, label) that belongs to `op`."""
        if isinstance(item, Array):
            self.arrays.append(item)
        elif isinstance(item, Binding):
            self.bindings.append(item)
        elif isinstance(item, PlacedLabel):
            self.labels.append((len(self.rows), item))
        else:
            row, symbols, label = item
            self.symbols += [(len(self.rows), col, name) for col, name in symbols]
            if label is not None:
                self.targets.append((len(self.rows), label))
            self.rows.append(row)
            self.ops.append(op)

    def digest(self) -> int:
        """A 62-bit hash of everything but the rectangle and the data: equal for fragments that link alike."""
        parts = (
            self.task,
            [row.tobytes() for row in self.rows],
            self.ops,
            self.symbols,
            [(row, label.number) for row, label in self.targets],
            [(row, placed.label.number) for row, placed in self.labels],
            [(array.name, int(array.type), array.shape, isinstance(array, EmptyArray)) for array in self.arrays],
            [(array.on_push, array.on_pop) for array in self.arrays if isinstance(array, FifoArray)],
            self.bindings,
        )
        return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()) >> 2


_BLOCKED_SALT = 0x5D588B656C078965


def link(builder: ProgramBuilder, meta: dict[str, str]) -> Program:
    """Link everything `builder` holds. Raises `ProgramError`, `DoesNotFitError`."""
    core_pe, core_class, class_fragments = _classes(builder)
    source_lines = tuple(builder.source_lines) or ("?",)
    code = _Code()
    classes: list[CodeClass] = []
    for index, fragments in enumerate(class_fragments):
        first_pe = int(core_pe[np.argmax(core_class == index)])
        x, y = first_pe % builder.width, first_pe // builder.width
        where = f"PE ({x},{y})"
        symbols, data_bytes = _layout(fragments, where, source_lines)
        fifos = tuple(
            SramFifo(array.name, symbols[array.name].address, array.type, array.shape[0], array.on_push, array.on_pop, array.line)
            for fragment in fragments
            for array in fragment.arrays
            if isinstance(array, FifoArray)
        )
        addresses, numbers = {name: symbol.address for name, symbol in symbols.items()}, {fifo.name: i for i, fifo in enumerate(fifos)}
        entries, num_rows, num_threads = _link_code(fragments, addresses, numbers, code, where, source_lines)
        code_bytes = num_rows * builder.spec.instruction_bytes
        if data_bytes + code_bytes > builder.spec.data_bytes:
            declared = {array.name: source_lines[array.line] for fragment in fragments for array in fragment.arrays}
            raise _overflow(builder, symbols, declared, data_bytes, code_bytes, where, int((core_class == index).sum()))
        blocked = sum({1 << task for rect, task in builder.blocked if rect.contains(Rect(x, y, 1, 1))})
        words = (data_bytes + 3) // 4
        bindings = tuple(binding for fragment in fragments for binding in fragment.bindings)
        classes.append(CodeClass(entries, int(entries[0] >= 0), blocked, num_threads, words, code_bytes, symbols, bindings, fifos))
    core_sram, sram = _data(builder, core_pe, core_class, classes)
    pe, color, route = _channels(builder)
    first = np.array([(*distinct.positions[0], distinct.line) for distinct in builder.routes], np.int64).reshape(-1, 3)[route]
    program = Program(
        builder.spec, builder.width, builder.height, *code.tables(), tuple(classes), core_pe, core_class, core_sram, sram,
        pe, color, first[:, 0], first[:, 1], first[:, 2], _switches(builder, route), tuple(builder.host_in), tuple(builder.host_out),
        source_lines, tuple(builder.source_texts) or ("",), tuple(builder.prints), tuple(builder.op_names), meta,
    )  # fmt: skip
    return replace(program, switches=_with_rewrites(program))


def _classes(builder: ProgramBuilder) -> tuple[np.ndarray, np.ndarray, list[list[Fragment]]]:
    """PEs with code, the class of each, and the fragments of each class in order.

    PEs are alike when they were given equal fragments in the same order, wherever they are; a
    running 64-bit hash over the fragments' contents tells.
    """
    signature = np.zeros((builder.height, builder.width), np.uint64)
    factor = np.uint64(0x9E3779B97F4A7C15)
    salted = [(fragment.rect, fragment.digest()) for fragment in builder.fragments]
    salted += [(rect, int(_BLOCKED_SALT) + task) for rect, task in builder.blocked]
    for rect, salt in salted:
        part = signature[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
        part *= factor
        part += np.uint64(salt | 1)
    core_pe = np.flatnonzero(signature).astype(np.int64)
    _, first, core_class = np.unique(signature.ravel()[core_pe], return_index=True, return_inverse=True)
    bounds = np.array([(f.rect.x, f.rect.y, f.rect.x + f.rect.width, f.rect.y + f.rect.height) for f in builder.fragments])
    class_fragments = []
    for pe in core_pe[first]:
        x, y = pe % builder.width, pe // builder.width
        covers = (bounds[:, 0] <= x) & (bounds[:, 1] <= y) & (bounds[:, 2] > x) & (bounds[:, 3] > y)
        class_fragments.append([builder.fragments[i] for i in np.flatnonzero(covers)])
    return core_pe, core_class.astype(np.int64), class_fragments


def _layout(fragments: list[Fragment], where: str, source_lines: tuple[str, ...]) -> tuple[dict[str, Symbol], int]:
    """Addresses of a class's arrays, in the order of declaration, word-aligned; and the bytes they take."""
    layout: dict[str, Symbol] = {}
    address = 0
    for fragment in fragments:
        for array in fragment.arrays:
            if array.name in layout:
                other = next(a.line for part in fragments for a in part.arrays if a.name == array.name)
                raise ProgramError(
                    f"{where} has two arrays named '{array.name}'",
                    notes=[source_lines[array.line], f"the other: {source_lines[other]}"], help="give one of them another name",
                )  # fmt: skip
            written = not isinstance(array, EmptyArray)
            layout[array.name] = symbol = Symbol(array.name, address, array.type, array.shape, written)
            address += (symbol.num_elements * TYPE_BYTES[array.type] + 3) // 4 * 4
    return layout, address


def _link_code(
    fragments: list[Fragment],
    addresses: dict[str, int],
    fifo_numbers: dict[str, int],
    code: _Code,
    where: str,
    source_lines: tuple[str, ...],
) -> tuple[tuple[int, ...], int, int]:
    """Entry row of each task, rows that take SRAM, number of threads, of one class, whose arrays and FIFOs are where these tables say."""
    by_task: dict[int, list[Fragment]] = defaultdict(list)
    for fragment in fragments:
        if fragment.rows or fragment.labels:
            by_task[fragment.task].append(fragment)
    entries = [-1] * (max(by_task, default=0) + 1)
    num_rows, num_threads = 0, 1
    for task, parts in sorted(by_task.items()):
        rows = np.array([row for part in parts for row in part.rows] + [_END], np.int64)
        ops = np.array([op for part in parts for op in part.ops] + [0], np.int64)
        starts = np.cumsum([0] + [len(part.rows) for part in parts])
        places: dict[Label, int] = {}
        for start, part in zip(starts, parts, strict=False):
            for at, placed in part.labels:
                if placed.label in places:
                    raise ProgramError(
                        f"{where} has label '{placed.label.name}' twice", notes=[source_lines[placed.line]],
                        help="place() it once in a task, or take another label()",
                    )  # fmt: skip
                places[placed.label] = int(start) + at
        for start, part in zip(starts, parts, strict=False):
            for at, label in part.targets:
                if label not in places:
                    line = source_lines[rows[start + at, Col.LINE]]
                    help = f"place() it in code of that PE, in task {task}"
                    raise ProgramError(f"{where} branches to label '{label.name}', which it does not have", notes=[line], help=help)
                rows[start + at, Col.TARGET] = places[label]
            for at, col, name in part.symbols:
                is_fifo = rows[start + at, col - Operand.BASE + Operand.KIND] in FIFO_KINDS
                known = fifo_numbers if is_fifo else addresses
                if name not in known:
                    line = source_lines[rows[start + at, Col.LINE]]
                    what = "FIFO" if is_fifo else "array"
                    near = nearest(name, known)
                    help = "declare it for a rectangle that holds this PE, or use it on fewer PEs" + (f"; {near}" if near else "")
                    raise ProgramError(f"{where} has no {what} '{name}'", notes=[line], help=help)
                rows[start + at, col] += known[name]
        entries[task] = code.add(rows, ops)
        num_rows += int(np.count_nonzero(rows[:, Col.OP] != Op.PRINT))
        num_threads = max(num_threads, int(rows[:, Col.THREAD].max()) + 1)
    return tuple(entries), num_rows, num_threads


_END = np.zeros(NUM_COLS, np.int64)
_END[Col.OP] = Op.END


class _Code:
    """The code table, with pieces that come out alike stored once."""

    def __init__(self) -> None:
        self.pieces: list[np.ndarray] = []
        self.ops: list[np.ndarray] = []
        self.known: dict[bytes, int] = {}
        self.num_rows = 0

    def add(self, rows: np.ndarray, ops: np.ndarray) -> int:
        """First row of this piece of code, `ops` its rows' ops; branch targets in `rows` count from the piece's start."""
        key = rows.tobytes() + ops.tobytes()
        if key not in self.known:
            self.known[key] = self.num_rows
            placed = rows.copy()
            jumps = (rows[:, Col.OP] >= Op.JUMP) & (rows[:, Col.OP] <= Op.BNE)
            placed[jumps, Col.TARGET] += self.num_rows
            self.pieces.append(placed)
            self.ops.append(ops)
            self.num_rows += len(rows)
        return self.known[key]

    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """All code, and the op of each row."""
        if not self.pieces:
            return np.zeros((0, NUM_COLS), np.int64), np.zeros(0, np.int64)
        return np.concatenate(self.pieces), np.concatenate(self.ops)


def _data(
    builder: ProgramBuilder, core_pe: np.ndarray, core_class: np.ndarray, classes: list[CodeClass]
) -> tuple[np.ndarray, np.ndarray]:
    """Where each core's data starts, and all data; cores lie one after another."""
    words = np.array([cls.sram_words for cls in classes], np.int64)[core_class] if classes else np.zeros(0, np.int64)
    core_sram = np.cumsum(words) - words
    sram = np.zeros(int(words.sum()), np.int32)
    raw = sram.view(np.uint8)
    for fragment in builder.fragments:
        if all(array.data is None for array in fragment.arrays):
            continue
        rect = fragment.rect
        ys, xs = (axis.ravel() for axis in np.mgrid[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width])
        cores = np.searchsorted(core_pe, ys * builder.width + xs)
        for array in fragment.arrays:
            if array.data is None or not array.data.size:
                continue
            address = np.array([cls.symbols[array.name].address if array.name in cls.symbols else 0 for cls in classes])
            rows = np.ascontiguousarray(array.data).reshape(array.data.shape[0] * array.data.shape[1], -1).view(np.uint8)
            starts = 4 * core_sram[cores] + address[core_class[cores]]
            for i, start in enumerate(starts):
                raw[start : start + rows.shape[1]] = rows[i if len(rows) > 1 else 0]
    return core_sram, sram


def _channels(builder: ProgramBuilder) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pe, color, index into `builder.routes`) of every channel, sorted by PE, then color."""
    pes, colors, routes = [], [], []
    for color, route in builder.route_at.items():
        pe = np.flatnonzero(route.ravel() >= 0)
        pes.append(pe)
        colors.append(np.full(len(pe), color))
        routes.append(route.ravel()[pe])
    if not pes:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty
    columns = [np.concatenate(parts).astype(np.int64) for parts in (pes, colors, routes)]
    order = np.lexsort((columns[1], columns[0]))
    return columns[0][order], columns[1][order], columns[2][order]


def _switches(builder: ProgramBuilder, route: np.ndarray) -> np.ndarray:
    """Rows of `Program.switches` for the channels with a switch; `route` as from `_channels`."""
    rows = np.array([_switch_row(distinct) for distinct in builder.routes], np.int64).reshape(-1, NUM_SWITCH_COLS)
    is_switch = np.array([distinct.behaviour != Route(distinct.positions[:1]).behaviour for distinct in builder.routes], bool)
    channels = np.flatnonzero(is_switch[route]) if len(route) else route
    switches = rows[route[channels]]
    switches[:, Switch.CHANNEL] = channels
    return switches


def _switch_row(route: Route) -> np.ndarray:
    row = np.zeros(NUM_SWITCH_COLS, np.int64)
    row[Switch.RX : Switch.RX + MAX_POSITIONS] = -1
    row[Switch.NUM], row[Switch.RING], row[Switch.POP] = len(route.positions), route.ring, route.pop
    for i, (rx, tx) in enumerate(route.positions):
        row[Switch.RX + i], row[Switch.TX + i] = rx, tx
        row[Switch.FIFOS] |= 1 << rx
        row[Switch.EXITS] |= tx
    return row


def _with_rewrites(program: Program) -> np.ndarray:
    """`program.switches` with what its REROUTE instructions can add: rows for plain routes, FIFOs, exits."""
    rows = program.switches
    for index, cls in enumerate(program.classes):
        code = program.code[class_rows(program.code, cls.task_entry)]
        members = program.core_pe[program.core_class == index]
        for instruction in code[code[:, Col.OP] == Op.REROUTE]:
            color, position, rx, tx = (int(value) for value in instruction[Col.EXTENT : Col.EXTENT + 4])
            line = program.source_lines[instruction[Col.LINE]]
            channels = program.channels_at(members, color)
            if (channels < 0).any():
                x, y = program.xy(members[np.argmin(channels)])
                raise ProgramError(
                    f"PE ({x},{y}) rewrites color {color}, which has no route there", notes=[line],
                    help=f"give color {color} a first route() or switch() on this PE",
                )  # fmt: skip
            plain = channels[~np.isin(channels, rows[:, Switch.CHANNEL])]
            rows = np.concatenate([rows, _plain_rows(program, plain)])
            mine = np.isin(rows[:, Switch.CHANNEL], channels)
            short = mine & (rows[:, Switch.NUM] <= position)
            if short.any():
                x, y = program.xy(program.channel_pe[rows[np.argmax(short), Switch.CHANNEL]])
                raise ProgramError(
                    f"PE ({x},{y}) rewrites position {position} of color {color}, which has {rows[np.argmax(short), Switch.NUM]} there",
                    notes=[line], help="positions count from 0",
                )  # fmt: skip
            rows[mine, Switch.FIFOS] |= 1 << rx
            rows[mine, Switch.EXITS] |= tx
    return rows[np.argsort(rows[:, Switch.CHANNEL])]


def _plain_rows(program: Program, channels: np.ndarray) -> np.ndarray:
    """Rows of `Program.switches` for channels with a plain route."""
    rows = np.tile(_switch_row(Route(())), (len(channels), 1))
    rx, tx = program.channel_rx[channels], program.channel_tx[channels]
    rows[:, Switch.CHANNEL], rows[:, Switch.NUM] = channels, 1
    rows[:, Switch.RX], rows[:, Switch.FIFOS] = rx, 1 << rx
    rows[:, Switch.TX], rows[:, Switch.EXITS] = tx, tx
    return rows


def _overflow(
    builder: ProgramBuilder,
    symbols: dict[str, Symbol],
    declared: dict[str, str],
    data_bytes: int,
    code_bytes: int,
    where: str,
    num_pes: int,
) -> DoesNotFitError:
    """The refusal of a PE whose SRAM is too small, with each buffer's size and the line that declared it, largest first."""
    spec = builder.spec
    over = data_bytes + code_bytes - spec.data_bytes
    sizes = sorted(((s.num_elements * TYPE_BYTES[s.type], s) for s in symbols.values()), key=lambda item: -item[0])
    notes = [f"{size:7d} B at {s.address:6d}  {s.name} {s.shape} {s.type.name.lower()}, {declared[s.name]}" for size, s in sizes]
    notes += [f"{code_bytes:7d} B code", f"{spec.sram_reserved_bytes:7d} B reserved for the runtime"]
    others = f" (and {num_pes - 1} others like it)" if num_pes > 1 else ""
    return DoesNotFitError(
        f"{where}{others} needs {data_bytes + code_bytes} B of SRAM, {over} B more than the {spec.data_bytes} B it can use",
        notes=notes,
        help="use more PEs for this data, a smaller type (f16), or shorter buffers",
    )
