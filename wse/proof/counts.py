"""How many wavelets can be sent and taken, as far as code says so before it runs: hangs and lost wavelets that follow from counting.

A class of PEs is counted by its main task. Instructions before its first branch and the first target of one run once; what comes
after them, and what other tasks do, may run any number of times. Nets with a switch or a rewritten route on the way, and colors with
control wavelets, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wse.isa import BRANCHES, MAX_DIMS, RECEIVES, SENDS, Col, Done, Kind, Op, Operand, Type
from wse.program import CodeClass, Program, class_rows
from wse.proof.finding import Finding
from wse.proof.nets import Nets

MANY = 1 << 60


def wavelets(row: np.ndarray, operand: int) -> int | None:
    """How many wavelets an instruction moves through a fabric operand; None when registers say."""
    extents = row[Col.EXTENT : Col.EXTENT + MAX_DIMS]
    if (row[Col.EXTENT_REG : Col.EXTENT_REG + MAX_DIMS] >= 0).any():
        return None
    held = row[operand + Operand.KIND] == Kind.FABRIC_HELD
    num = int(np.prod(extents[:-1] if held else extents)) if extents.all() else 0
    return (num + 1) // 2 if row[operand + Operand.TYPE] == Type.F16 else num


def once(program: Program, cls: CodeClass) -> np.ndarray:
    """Rows of the main task that run exactly once, if the program ends: those before its branches and their targets."""
    rows = class_rows(program.code, cls.task_entry[:1])
    branches = rows[np.isin(program.code[rows, Col.OP], [Op.JUMP, *BRANCHES])]
    restarted = can_start(program, cls, 0) or cls.blocked_tasks & 1 or not cls.active_tasks & 1
    limit = np.concatenate([branches, program.code[branches, Col.TARGET]]).min(initial=1 << 62)
    return rows[:0] if restarted else rows[rows < limit]


def can_start(program: Program, cls: CodeClass, task: int) -> bool:
    """Whether code or a control wavelet can start `task` after loading."""
    code = program.code[class_rows(program.code, cls.task_entry)]
    named = ((code[:, Col.OP] == Op.ACTIVATE) | (code[:, Col.DONE] == Done.ACTIVATE)) & (code[:, Col.TASK] == task)
    fifos = any(task in (fifo.on_push, fifo.on_pop) for fifo in cls.fifos)
    return bool(named.any()) or fifos or program.sends_controls


def _never_unblocked(program: Program, cls: CodeClass) -> list[int]:
    """Tasks that are blocked at load and that no code of the class unblocks."""
    code = program.code[class_rows(program.code, cls.task_entry)]
    unblocked = code[(code[:, Col.OP] == Op.UNBLOCK) | (code[:, Col.DONE] == Done.UNBLOCK), Col.TASK]
    return [task for task in range(len(cls.task_entry)) if cls.blocked_tasks >> task & 1 and task not in unblocked]


@dataclass(frozen=True)
class _Counts:
    """Least and greatest number of wavelets, int64 (num_classes, num_colors), and a line of code that moves some."""

    least: np.ndarray
    most: np.ndarray
    line: np.ndarray


def _count(program: Program, kinds: frozenset[Kind]) -> _Counts:
    shape = (len(program.classes), program.spec.num_colors)
    least, most, line = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for n, cls in enumerate(program.classes):
        exact = set(once(program, cls).tolist())
        rows = class_rows(program.code, cls.task_entry)
        moving = np.isin(program.code[rows][:, [operand + Operand.KIND for operand in (Col.D, Col.A, Col.B)]], list(kinds))
        for i in rows[moving.any(axis=1)].tolist():
            row = program.code[i]
            for operand in (Col.D, Col.A, Col.B):
                if row[operand + Operand.KIND] not in kinds:
                    continue
                color, num = row[operand + Operand.BASE], wavelets(row, operand)
                line[n, color] = row[Col.LINE]
                if i in exact and num is not None:
                    least[n, color] += num
                    most[n, color] = min(MANY, most[n, color] + num)
                elif num != 0:
                    most[n, color] = MANY
        if kinds is RECEIVES:
            dead = _never_unblocked(program, cls)
            for binding in cls.bindings:
                line[n, binding.color] = binding.line
                most[n, binding.color] = 0 if binding.task in dead else MANY
    return _Counts(least, most, line)


def find_miscounts(program: Program, nets: Nets) -> Iterator[Finding]:
    """Receivers that wait for more than is sent, senders of more than is taken and held; then wavelets that are lost."""
    sent, taken = _count(program, SENDS), _count(program, RECEIVES)
    pe, color = program.channel_pe, program.channel_color
    class_of = np.full(program.width * program.height, -1)
    class_of[program.core_pe] = program.core_class
    sinks, room = nets.sinks, nets.room
    root, c = nets.root[sinks], color[sinks]
    sender, taker = class_of[pe[root]], class_of[pe[sinks]]
    starved = taken.least[taker, c] > sent.most[sender, c]
    over = sent.least[sender, c] - taken.most[taker, c]
    for bad, proven in ((starved, True), (over > room, True), ((over > 0) & (over <= room), False)):
        _, first = np.unique(np.stack([sender, taker, c])[:, bad], axis=1, return_index=True)
        for i in np.flatnonzero(bad)[first]:
            others = int((bad & (sender == sender[i]) & (taker == taker[i]) & (c == c[i])).sum()) - 1
            at = program.where_like(pe[sinks[i]], others)
            lines = [f"sent: {_line(program, sent, sender[i], c[i])}", f"received: {_line(program, taken, taker[i], c[i])}"]
            least, most = (int(of[taker[i], c[i]]) for of in (taken.least, taken.most))
            source = program.where(pe[root[i]])
            if bad is starved:
                counted = f"at most {int(sent.most[sender[i], c[i]])}"
                yield Finding(
                    True, f"PE {at} receives {least} wavelets of color {c[i]}, but PE {source} sends {counted}: it waits for ever",
                    tuple(lines), f"send {least} wavelets of color {c[i]}, or receive fewer",
                )  # fmt: skip
            else:
                what = f"the queues on the way hold {int(room[i])}, so the sender waits for ever" if proven else "the rest is lost"
                num = int(sent.least[sender[i], c[i]])
                yield Finding(
                    proven, f"PE {source} sends {num} wavelets of color {c[i]}, but PE {at} takes at most {most}: {what}",
                    tuple(lines), f"receive all {num}, send fewer, or leave RAMP out of the route at PE {at}",
                )  # fmt: skip


def _line(program: Program, counts: _Counts, cls: int, color: int) -> str:
    line = int(counts.line[cls, color])
    return program.source_lines[line] if counts.most[cls, color] or line else "nowhere"


def find_rings(program: Program, nets: Nets) -> Iterator[Finding]:
    """Routes that lead back to themselves: nothing can enter them."""
    at = np.flatnonzero(nets.ring & nets.steady)
    for color in np.unique(program.channel_color[at]):
        some = at[program.channel_color[at] == color]
        yield Finding(
            True, f"color {color} is routed in a ring of which PE {program.where(program.channel_pe[some[0]])} is a part: nothing feeds it",
            (program.source_lines[program.channel_line[some[0]]],), f"begin the route of color {color} at a core (rx RAMP) or a host input",
        )  # fmt: skip


def find_blocked(program: Program) -> Iterator[Finding]:
    """Tasks that are blocked at load, and that nothing unblocks."""
    for n, cls in enumerate(program.classes):
        for task in _never_unblocked(program, cls):
            rows = program.code[once(program, cls)]
            active = rows[((rows[:, Col.OP] == Op.ACTIVATE) | (rows[:, Col.DONE] == Done.ACTIVATE)) & (rows[:, Col.TASK] == task)]
            proven = bool(len(active)) or bool(cls.active_tasks >> task & 1)
            pes = program.core_pe[program.core_class == n]
            entry = cls.task_entry[task]
            line = active[0, Col.LINE] if len(active) else program.code[entry, Col.LINE]
            at = program.where_like(pes[0], len(pes) - 1)
            starts = "activates task" if len(active) else "starts with task" if proven else "has task"
            yield Finding(
                proven, f"PE {at} {starts} {task}, which is blocked at load and which nothing there unblocks",
                (program.source_lines[line],), f"unblock({task}) in code of that PE, or leave out start_blocked({task})",
            )  # fmt: skip


def find_idle_tasks(program: Program) -> Iterator[Finding]:
    """Tasks with code that nothing starts: no activation, completion or FIFO of the class, no color bound, no control wavelet anywhere."""
    for n, cls in enumerate(program.classes):
        started = cls.active_tasks | cls.blocked_tasks | sum(1 << binding.task for binding in cls.bindings)
        for task, entry in enumerate(cls.task_entry):
            if entry < 0 or program.code[entry, Col.OP] == Op.END or started >> task & 1 or can_start(program, cls, task):
                continue
            pes = program.core_pe[program.core_class == n]
            at = program.where_like(pes[0], len(pes) - 1)
            yield Finding(
                False, f"task {task} of PE {at} never runs: nothing there activates it and no color is bound to it",
                (program.source_lines[program.code[entry, Col.LINE]],),
                f"activate({task}), on_done=(Done.ACTIVATE, {task}) of the operation it waits for, or bind() a color",
            )  # fmt: skip
