"""Linking: from the fragments a builder collected to the plain arrays of a `Program`.

PEs covered by the same fragments form a code class. Each class gets its code (shared when two
classes come out alike) and its SRAM layout; each PE gets its data.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wse.errors import DoesNotFitError, ProgramError
from wse.isa import NUM_COLS, TYPE_BYTES, Col, Op, Type
from wse.program import CodeClass, Program, Rect, Symbol

if TYPE_CHECKING:
    from wse.builder import ProgramBuilder


@dataclass(eq=False)
class Label:
    """A place in code; compared by identity."""

    name: str


@dataclass(frozen=True)
class Array:
    """A declared array: `data` is (height, width, *shape), (1, 1, *shape) for all PEs alike, or None for zeros."""

    name: str
    type: Type
    shape: tuple[int, ...]
    data: np.ndarray | None


@dataclass
class Fragment:
    """What one rectangle was given in one go, in one task: rows of code, labels, arrays."""

    rect: Rect
    task: int
    rows: list[np.ndarray] = field(default_factory=list)
    symbols: list[tuple[int, int, str]] = field(default_factory=list)  # (row, column, symbol)
    targets: list[tuple[int, Label]] = field(default_factory=list)  # (row, label it goes to)
    labels: list[tuple[int, Label]] = field(default_factory=list)  # (row, label placed before it)
    arrays: list[Array] = field(default_factory=list)

    def add(self, item: Any) -> None:
        """Append an `Array`, a `Label`, or an instruction (row, symbols, label)."""
        if isinstance(item, Array):
            self.arrays.append(item)
        elif isinstance(item, Label):
            self.labels.append((len(self.rows), item))
        else:
            row, symbols, label = item
            self.symbols += [(len(self.rows), col, name) for col, name in symbols]
            if label is not None:
                self.targets.append((len(self.rows), label))
            self.rows.append(row)


def link(builder: ProgramBuilder, meta: dict[str, str]) -> Program:
    """Link everything `builder` holds. Raises `ProgramError`, `DoesNotFitError`."""
    core_pe, core_class, class_fragments = _classes(builder)
    source_lines = tuple(builder.source_lines) or ("?",)
    code = _Code()
    classes: list[CodeClass] = []
    layouts: list[dict[str, tuple[Symbol, Array, Rect]]] = []
    for index, fragments in enumerate(class_fragments):
        first_pe = int(core_pe[np.argmax(core_class == index)])
        where = f"PE ({first_pe % builder.width},{first_pe // builder.width})"
        layout, data_bytes = _layout(fragments, where)
        entries, num_rows, num_threads = _link_code(fragments, layout, code, where, source_lines)
        code_bytes = num_rows * builder.spec.instruction_bytes
        if data_bytes + code_bytes > builder.spec.data_bytes:
            raise _overflow(builder, layout, data_bytes, code_bytes, where)
        blocked = 0
        x, y = first_pe % builder.width, first_pe // builder.width
        for rect, task in builder.blocked:
            if rect.contains(Rect(x, y, 1, 1)):
                blocked |= 1 << task
        symbols = {name: symbol for name, (symbol, _, _) in layout.items()}
        words = (data_bytes + 3) // 4
        classes.append(CodeClass(entries, int(entries[0] >= 0), blocked, num_threads, words, code_bytes, symbols))
        layouts.append(layout)
    core_sram, sram = _data(builder, core_pe, core_class, classes, layouts)
    channels = _channels(builder)
    return Program(
        builder.spec, builder.width, builder.height, code.table(), tuple(classes), core_pe, core_class, core_sram, sram,
        *channels, tuple(builder.host_in), tuple(builder.host_out), source_lines, meta,
    )  # fmt: skip


def _classes(builder: ProgramBuilder) -> tuple[np.ndarray, np.ndarray, list[list[Fragment]]]:
    """PEs with code, the class of each, and the fragments of each class in order."""
    rects = [fragment.rect for fragment in builder.fragments] + [rect for rect, _ in builder.blocked]
    salts = np.random.default_rng(0).integers(1, 1 << 63, len(rects), np.uint64)
    signature = np.zeros((builder.height, builder.width), np.uint64)
    for rect, salt in zip(rects, salts, strict=True):
        signature[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] += salt
    core_pe = np.flatnonzero(signature).astype(np.int64)
    _, first, core_class = np.unique(signature.ravel()[core_pe], return_index=True, return_inverse=True)
    bounds = np.array([(f.rect.x, f.rect.y, f.rect.x + f.rect.width, f.rect.y + f.rect.height) for f in builder.fragments])
    class_fragments = []
    for pe in core_pe[first]:
        x, y = pe % builder.width, pe // builder.width
        covers = (bounds[:, 0] <= x) & (bounds[:, 1] <= y) & (bounds[:, 2] > x) & (bounds[:, 3] > y)
        class_fragments.append([builder.fragments[i] for i in np.flatnonzero(covers)])
    return core_pe, core_class.astype(np.int64), class_fragments


def _layout(fragments: list[Fragment], where: str) -> tuple[dict[str, tuple[Symbol, Array, Rect]], int]:
    """Addresses of a class's arrays, in the order of declaration, word-aligned; and the bytes they take."""
    layout: dict[str, tuple[Symbol, Array, Rect]] = {}
    address = 0
    for fragment in fragments:
        for array in fragment.arrays:
            if array.name in layout:
                raise ProgramError(f"{where} has two arrays named '{array.name}'")
            symbol = Symbol(array.name, address, array.type, array.shape)
            layout[array.name] = (symbol, array, fragment.rect)
            address += (symbol.num_elements * TYPE_BYTES[array.type] + 3) // 4 * 4
    return layout, address


def _link_code(
    fragments: list[Fragment],
    layout: dict[str, tuple[Symbol, Array, Rect]],
    code: _Code,
    where: str,
    source_lines: tuple[str, ...],
) -> tuple[tuple[int, ...], int, int]:
    """Entry row of each task, number of rows, and number of threads, of one class."""
    by_task: dict[int, list[Fragment]] = defaultdict(list)
    for fragment in fragments:
        if fragment.rows or fragment.labels:
            by_task[fragment.task].append(fragment)
    entries = [-1] * (max(by_task, default=0) + 1)
    num_rows, num_threads = 0, 1
    for task, parts in sorted(by_task.items()):
        rows = np.array([row for part in parts for row in part.rows] + [_END], np.int64)
        starts = np.cumsum([0] + [len(part.rows) for part in parts])
        places: dict[Label, int] = {}
        for start, part in zip(starts, parts, strict=False):
            for at, label in part.labels:
                if label in places:
                    raise ProgramError(f"{where} has label '{label.name}' twice")
                places[label] = int(start) + at
        for start, part in zip(starts, parts, strict=False):
            for at, label in part.targets:
                if label not in places:
                    line = source_lines[rows[start + at, Col.LINE]]
                    raise ProgramError(f"{where} branches to label '{label.name}', which it does not have", notes=[line])
                rows[start + at, Col.TARGET] = places[label]
            for at, col, name in part.symbols:
                if name not in layout:
                    line = source_lines[rows[start + at, Col.LINE]]
                    raise ProgramError(f"{where} has no array '{name}'", notes=[line])
                rows[start + at, col] += layout[name][0].address
        entries[task] = code.add(rows)
        num_rows += len(rows)
        num_threads = max(num_threads, int(rows[:, Col.THREAD].max()) + 1)
    return tuple(entries), num_rows, num_threads


_END = np.zeros(NUM_COLS, np.int64)
_END[Col.OP] = Op.END


class _Code:
    """The code table, with pieces that come out alike stored once."""

    def __init__(self) -> None:
        self.pieces: list[np.ndarray] = []
        self.known: dict[bytes, int] = {}
        self.num_rows = 0

    def add(self, rows: np.ndarray) -> int:
        """First row of this piece of code; branch targets in `rows` count from the piece's start."""
        key = rows.tobytes()
        if key not in self.known:
            self.known[key] = self.num_rows
            placed = rows.copy()
            jumps = (rows[:, Col.OP] >= Op.JUMP) & (rows[:, Col.OP] <= Op.BNE)
            placed[jumps, Col.TARGET] += self.num_rows
            self.pieces.append(placed)
            self.num_rows += len(rows)
        return self.known[key]

    def table(self) -> np.ndarray:
        return np.concatenate(self.pieces) if self.pieces else np.zeros((0, NUM_COLS), np.int64)


def _data(
    builder: ProgramBuilder,
    core_pe: np.ndarray,
    core_class: np.ndarray,
    classes: list[CodeClass],
    layouts: list[dict[str, tuple[Symbol, Array, Rect]]],
) -> tuple[np.ndarray, np.ndarray]:
    """Where each core's data starts, and all data; the PEs of a class lie one after another."""
    words = np.array([cls.sram_words for cls in classes], np.int64)
    core_sram = np.zeros(len(core_pe), np.int64)
    sram = np.zeros(int(words[core_class].sum()), np.int32)
    start = 0
    order = np.argsort(core_class, kind="stable")
    ends = np.cumsum(np.bincount(core_class, minlength=len(classes)))
    for index, layout in enumerate(layouts):
        members = order[ends[index - 1] if index else 0 : ends[index]]
        stop = start + len(members) * int(words[index])
        core_sram[members] = start + np.arange(len(members)) * words[index]
        block = sram[start:stop].reshape(len(members), int(words[index])).view(np.uint8)
        ys, xs = core_pe[members] // builder.width, core_pe[members] % builder.width
        for symbol, array, rect in layout.values():
            if array.data is None or not symbol.num_elements:
                continue
            shared = array.data.shape[:2] == (1, 1)
            values = array.data[np.zeros_like(ys), np.zeros_like(xs)] if shared else array.data[ys - rect.y, xs - rect.x]
            raw = np.ascontiguousarray(values).reshape(len(members), -1).view(np.uint8)
            block[:, symbol.address : symbol.address + raw.shape[1]] = raw
        start = stop
    return core_sram, sram


def _channels(builder: ProgramBuilder) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(pe, color, rx, tx) of every route, sorted by PE, then color."""
    pes, colors, rxs, txs = [], [], [], []
    for color, rx in builder.rx.items():
        pe = np.flatnonzero(rx.ravel() >= 0)
        pes.append(pe)
        colors.append(np.full(len(pe), color))
        rxs.append(rx.ravel()[pe])
        txs.append(builder.tx[color].ravel()[pe])
    if not pes:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty, empty
    pe, color = np.concatenate(pes), np.concatenate(colors)
    order = np.lexsort((color, pe))
    columns = (pe, color, np.concatenate(rxs), np.concatenate(txs))
    pe, color, rx, tx = (column[order].astype(np.int64) for column in columns)
    return pe, color, rx, tx


def _overflow(
    builder: ProgramBuilder,
    layout: dict[str, tuple[Symbol, Array, Rect]],
    data_bytes: int,
    code_bytes: int,
    where: str,
) -> DoesNotFitError:
    """The refusal of a PE whose SRAM is too small, with each buffer's size, largest first."""
    spec = builder.spec
    over = data_bytes + code_bytes - spec.data_bytes
    sizes = sorted(((s.num_elements * TYPE_BYTES[s.type], s) for s, _, _ in layout.values()), key=lambda item: -item[0])
    notes = [f"{size:7d} B at {s.address:6d}  {s.name} {s.shape} {s.type.name.lower()}" for size, s in sizes]
    notes += [f"{code_bytes:7d} B code", f"{spec.sram_reserved_bytes:7d} B reserved for the runtime"]
    return DoesNotFitError(
        f"{where} needs {data_bytes + code_bytes} B of SRAM, {over} B more than the {spec.data_bytes} B it can use",
        notes=notes,
        help="use more PEs for this data, a smaller type (f16), or shorter buffers",
    )
