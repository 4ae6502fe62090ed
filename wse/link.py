"""Linking: from the fragments a builder collected to the plain arrays of a `Program`.

PEs covered by the same fragments form a code class. Each class gets its code (shared when two
classes come out alike) and its SRAM layout; each PE gets its data. What becomes of routes: `wse.routes`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from wse.errors import DoesNotFitError, ProgramError, nearest
from wse.fragment import EmptyArray, FifoArray, Fragment
from wse.isa import FIFO_KINDS, NUM_COLS, TYPE_BYTES, Col, Op, Operand
from wse.operands import Label
from wse.program import CodeClass, Program, SramFifo, Symbol
from wse.routes import with_rewrites

if TYPE_CHECKING:
    from wse.builder import ProgramBuilder

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
        blocked = sum({1 << task for area, task in builder.blocked if area.contains(x, y)})
        words = (data_bytes + 3) // 4
        bindings = tuple(binding for fragment in fragments for binding in fragment.bindings)
        classes.append(CodeClass(entries, int(entries[0] >= 0), blocked, num_threads, words, code_bytes, symbols, bindings, fifos))
    core_sram, sram = _data(builder, core_pe, core_class, classes)
    pe, color, rx, tx, line, switches = builder.routes.tables()
    program = Program(
        builder.spec, builder.width, builder.height, *code.tables(), tuple(classes), core_pe, core_class, core_sram, sram,
        pe, color, rx, tx, line, switches, tuple(builder.host_in), tuple(builder.host_out),
        source_lines, tuple(builder.source_texts) or ("",), tuple(builder.prints), tuple(builder.op_names), meta, builder.defects,
        tuple(builder.frames),
    )  # fmt: skip
    return replace(program, switches=with_rewrites(program))


def _classes(builder: ProgramBuilder) -> tuple[np.ndarray, np.ndarray, list[list[Fragment]]]:
    """PEs with code, the class of each, and the fragments of each class in order.

    PEs are alike when they were given equal fragments in the same order, wherever they are; a
    running 64-bit hash over the fragments' contents tells.
    """
    signature = np.zeros((builder.height, builder.width), np.uint64)
    factor = np.uint64(0x9E3779B97F4A7C15)
    salted = [(fragment.area, fragment.digest()) for fragment in builder.fragments]
    salted += [(area, int(_BLOCKED_SALT) + task) for area, task in builder.blocked]
    for area, salt in salted:
        signature[area.index] = signature[area.index] * factor + np.uint64(salt | 1)
    core_pe = np.flatnonzero(signature).astype(np.int64)
    _, first, core_class = np.unique(signature.ravel()[core_pe], return_index=True, return_inverse=True)
    areas = [fragment.area for fragment in builder.fragments]
    bounds = np.array([(area.columns[0], area.rows[0], area.columns[-1], area.rows[-1]) for area in areas])
    class_fragments = []
    for pe in core_pe[first]:
        x, y = int(pe) % builder.width, int(pe) // builder.width
        near = (bounds[:, 0] <= x) & (bounds[:, 1] <= y) & (bounds[:, 2] >= x) & (bounds[:, 3] >= y)
        class_fragments.append([builder.fragments[i] for i in np.flatnonzero(near) if areas[i].contains(x, y)])
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
        cores = np.searchsorted(core_pe, fragment.area.pes(builder.width))
        for array in fragment.arrays:
            if array.data is None or not array.data.size:
                continue
            address = np.array([cls.symbols[array.name].address if array.name in cls.symbols else 0 for cls in classes])
            rows = np.ascontiguousarray(array.data).reshape(array.data.shape[0] * array.data.shape[1], -1).view(np.uint8)
            starts = 4 * core_sram[cores] + address[core_class[cores]]
            for i, start in enumerate(starts):
                raw[start : start + rows.shape[1]] = rows[i if len(rows) > 1 else 0]
    return core_sram, sram


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
