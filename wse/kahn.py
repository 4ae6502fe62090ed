"""Which programs are Kahn networks, whose values never depend on time (design 2.3): a static analysis, and what stands against it.

The order in which a core does things is fixed by its code, except between two pieces of code whose order time decides: an operation on
a microthread and what the core does until that is surely over, and tasks that wavelets, completions or FIFOs in SRAM start. Where such
a pair shares a memory word, a register, a FIFO or a color, and not both only read it, values may depend on time. A route that a core
rewrites while wavelets may be on it is one more reason. The analysis is conservative: a program without reasons is a Kahn network, one
with reasons may still be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wse.isa import BRANCHES, FIFO_KINDS, MAX_DIMS, RECEIVES, SENDS, TYPE_BYTES, VECTOR_OPS, Col, Done, Kind, Op, Operand, Type
from wse.program import CodeClass, Program, class_rows

ANYWHERE = (0, 1 << 40)  # bytes, of an operand whose place registers decide

Use = tuple[str, int, int, bool]
"""(what, first, end, changes it): bytes of memory, a register, a FIFO in SRAM, a color in or out."""


@dataclass(frozen=True)
class Kahn:
    """Whether a program is shown to be a Kahn network, and if not why: one line per reason."""

    shown: bool
    reasons: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.shown


def is_kahn(program: Program) -> Kahn:
    """Whether no value that `program` computes can depend on time."""
    reasons = list(dict.fromkeys(_reasons(program)))
    return Kahn(not reasons, tuple(reasons))


def _reasons(program: Program) -> Iterator[str]:
    lines, controls = program.source_lines, _control_tasks(program)
    for row in program.code[program.code[:, Col.OP] == Op.REROUTE]:
        yield f"code rewrites the route of color {row[Col.EXTENT]} at run time, {lines[row[Col.LINE]]}"
    for n, cls in enumerate(program.classes):
        pes = program.core_pe[program.core_class == n]
        where = f"PE {program.where(pes[0])}" + (f" and {len(pes) - 1} more" if len(pes) > 1 else "")
        for first, second, what in _unordered(program, cls, controls):
            found = _conflict(_uses(program, cls, first), _uses(program, cls, second))
            if found is not None:
                one, other = (lines[program.code[rows[0], Col.LINE]] for rows in (first, second))
                yield f"{where}: {what} ({one}; {other}) share {found}"


def _control_tasks(program: Program) -> bool:
    """Whether control wavelets may start tasks: some instruction sends one with a task, or with bits nobody knows before it runs."""
    rows = program.code[program.code[:, Col.D + Operand.KIND] == Kind.CONTROL_OUT]
    known = (rows[:, Col.OP] == Op.MOV) & (rows[:, Col.A + Operand.KIND] == Kind.IMM)
    return bool((~known | (rows[:, Col.A + Operand.BASE] >> 16 & 0x3F != 0)).any())


def _unordered(program: Program, cls: CodeClass, controls: bool) -> Iterator[tuple[list[int], list[int], str]]:
    """Pairs of rows of a class whose order time decides, and what they are."""
    code = program.code
    tasks = {t: class_rows(code, (entry,)).tolist() for t, entry in enumerate(cls.task_entry) if entry >= 0}
    started = _started(program, cls, tasks, controls)
    for task, rows in tasks.items():
        for i in rows:
            if code[i, Col.THREAD] == 0 or code[i, Col.OP] not in VECTOR_OPS:
                continue
            done = int(code[i, Col.TASK]) if code[i, Col.DONE] != Done.NOTHING else -1
            after = _until_over(program, i)
            for other, theirs in tasks.items():
                if other == task or (other == done and started.get(other) == {f"row {i}"}):
                    continue  # the latter begins when the operation is over
                after += theirs
            if task and any(origin.startswith(("color", "control", "row")) for origin in started.get(task, ())):
                after += rows  # the task may run again while the operation is under way
            if after:
                yield [i], sorted(set(after)), f"an operation on microthread {code[i, Col.THREAD]} and what runs meanwhile"
    free = {t: rows for t, rows in tasks.items() if rows and started.get(t)}
    for a in free:
        for b in free:
            if a < b and len(started[a] | started[b]) > 1:
                yield free[a], free[b], f"tasks {a} and {b}, which are started in the order of events,"


def _started(program: Program, cls: CodeClass, tasks: dict[int, list[int]], controls: bool) -> dict[int, set[str]]:
    """What of which time decides the order starts each task, directly or through a task that does."""
    code = program.code
    found: dict[int, set[str]] = {task: set() for task in tasks}
    for binding in cls.bindings:
        found[binding.task].add(f"color {binding.color}")
    if controls:
        for task in set(tasks) - {0}:
            found[task].add("control")
    for rows in tasks.values():
        for i in rows:
            if code[i, Col.THREAD] and code[i, Col.DONE] != Done.NOTHING and code[i, Col.TASK] in found:
                found[code[i, Col.TASK]].add(f"row {i}")
            for operand in (Col.D, Col.A, Col.B):
                if code[i, Col.THREAD] and code[i, operand + Operand.KIND] in FIFO_KINDS:
                    fifo = cls.fifos[code[i, operand + Operand.BASE]]
                    task = fifo.on_push if code[i, operand + Operand.KIND] == Kind.FIFO_PUSH else fifo.on_pop
                    if task in found:
                        found[task].add(f"row {i}")
    for _ in tasks:  # a task started by code is started when that code is
        for task, rows in tasks.items():
            for i in rows:
                starts = code[i, Col.OP] in (Op.ACTIVATE, Op.UNBLOCK) or (code[i, Col.DONE] != Done.NOTHING and code[i, Col.THREAD] == 0)
                if starts and code[i, Col.TASK] in found:
                    found[code[i, Col.TASK]] |= found[task] | {"code"}
    return found


def _until_over(program: Program, i: int) -> list[int]:
    """Rows of the same task that can run while the operation of row i is under way: up to the next one for its microthread."""
    code, seen, open_ = program.code, set(), [i + 1]
    while open_:
        at = open_.pop()
        if at in seen or code[at, Col.OP] == Op.END:
            continue
        op = code[at, Col.OP]
        if op in VECTOR_OPS and code[at, Col.THREAD] == code[i, Col.THREAD]:
            continue  # waits for it
        seen.add(at)
        if op != Op.JUMP:
            open_.append(at + 1)
        if op == Op.JUMP or op in BRANCHES:
            open_.append(int(code[at, Col.TARGET]))
    return sorted(seen)


def _uses(program: Program, cls: CodeClass, rows: list[int]) -> list[tuple[Use, int]]:
    """What these rows read and change, each with its row."""
    found: list[tuple[Use, int]] = []
    for i in rows:
        row = program.code[i]
        registers = row[Col.EXTENT_REG : Col.EXTENT_REG + MAX_DIMS]
        found += [(("register", int(r), int(r) + 1, False), i) for r in registers[registers >= 0]] if row[Col.OP] in VECTOR_OPS else []
        for operand in (Col.D, Col.A, Col.B):
            kind, base = row[operand + Operand.KIND], int(row[operand + Operand.BASE])
            changes = bool(operand == Col.D)
            if kind == Kind.MEM:
                found.append((("memory", *_bytes(row, operand), changes), i))
                offset = int(row[operand + Operand.OFFSET_REG])
                found += [(("register", offset, offset + 1, False), i)] if offset >= 0 else []
            elif kind == Kind.REG:
                found.append((("register", base, base + 1 + int(changes and row[Col.OP] == Op.ARGMAX), changes), i))
            elif kind in SENDS or kind in RECEIVES:
                found.append((("color out" if kind in SENDS else "color in", base, base + 1, True), i))
            elif kind in FIFO_KINDS:
                end = "FIFO push" if kind == Kind.FIFO_PUSH else "FIFO pop"  # its two ends are a stream between threads
                found.append(((end, base, base + 1, True), i))
    for binding in cls.bindings:
        if cls.task_entry[binding.task] in rows:
            found.append((("register", binding.register, binding.register + 1, True), cls.task_entry[binding.task]))
    return found


def _bytes(row: np.ndarray, operand: int) -> tuple[int, int]:
    """(first, end) of what a memory operand may touch."""
    extents = row[Col.EXTENT : Col.EXTENT + MAX_DIMS]
    if row[operand + Operand.OFFSET_REG] >= 0 or (row[Col.EXTENT_REG : Col.EXTENT_REG + MAX_DIMS] >= 0).any():
        return ANYWHERE
    if not extents.all():
        return 0, 0
    size = TYPE_BYTES[Type(row[operand + Operand.TYPE])]
    reach = (extents - 1) * row[operand + Operand.STRIDE : operand + Operand.STRIDE + MAX_DIMS] * size
    base = int(row[operand + Operand.BASE])
    return base + int(np.minimum(reach, 0).sum()), base + int(np.maximum(reach, 0).sum()) + size


def _conflict(first: list[tuple[Use, int]], second: list[tuple[Use, int]]) -> str | None:
    """What the two use so that their order matters, if anything."""
    for (what, low, high, changes), _ in first:
        for (other, start, end, also), _ in second:
            if what == other and (changes or also) and low < end and start < high:
                at = f"{max(low, start)}" if (low, high) != ANYWHERE else "that registers choose"
                return f"{what} {at}"
    return None
