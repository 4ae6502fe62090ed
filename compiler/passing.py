"""Passing a vector from block to block: how a block takes it in from its net, and passes it on into the next.

A block keeps the vector in y-layout: row r has segment `rows[r]`, in every column. What a net brings is described in `nets.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from wse.builder import Pes, ProgramBuilder
from wse.compiler.nets import ASIDE, STACKED, TRUNK
from wse.compiler.route import FIRST_NET_COLOR, Net
from wse.kernels.broadcast import broadcast
from wse.kernels.line import Line, wire
from wse.operands import View
from wse.program import Rect

BLOCK_COLORS = range(FIRST_NET_COLOR)  # those that the inside of a block may use


def take_in(program: ProgramBuilder, rect: Rect, rows: list[np.ndarray], net: Net, x: View) -> None:
    """Every PE of `rect` gets its row's segment in `x`: straight from its lane, or passed along the row by the PE the net reaches first."""
    sizes = [len(segment) for segment in rows]
    if net.kind == ASIDE:
        for (n, color), run in _runs([(n, lane.color) for n, lane in zip(sizes, net.lanes, strict=False)]):
            pe = program.pes(rect.row(run.start, len(run)))
            pe.mov(x[:n], pe.recv(color), shape=n)
        return
    for r, entry in enumerate(net.entries):
        here = program.pes(Rect(*entry, 1, 1))
        if net.kind == STACKED:
            here.mov(x[: sizes[r]], here.recv(net.lanes[r].color))
        else:
            _pick_out(program, here, rows, r, x, net.lanes[0].color)
    for (n, entry_x), run in _runs([(n, pe[0]) for n, pe in zip(sizes, net.entries, strict=False)]):
        if n:
            _spread(program, rect.row(run.start, len(run)), entry_x, x[:n])


def pass_on(program: ProgramBuilder, rect: Rect, rows: list[np.ndarray], net: Net, x: View) -> None:
    """Every row of `rect` sends its segment of `x` down its lane; for a trunk, the exit's column gathers them first."""
    if net.kind == TRUNK:
        _gather(program, rect, rows, net, x)
        return
    lanes = zip(rows, net.lanes, net.exits, strict=False)
    for (n, color, _), run in _runs([(len(segment), lane.color, pe[0]) for segment, lane, pe in lanes]):
        pe = program.pes(Rect(*net.exits[run.start], 1, len(run)))
        pe.mov(pe.send(color), x[:n])


def _pick_out(program: ProgramBuilder, here: Pes, rows: list[np.ndarray], r: int, x: View, color: int) -> None:
    """Of the whole vector passing by, keep the segment of row r."""
    skip, n = program.reg(), len(rows[r])
    before, after = (sum(len(segment) for segment in some) for some in (rows[:r], rows[r + 1 :]))
    for what, num in ((skip, before), (x[:n], n), (skip, after)):
        if num:
            here.mov(what, here.recv(color), shape=num)
    program.release(skip)


def _spread(program: ProgramBuilder, rows: Rect, entry_x: int, value: View) -> None:
    """Copy `value` of the PE of each row that is in column `entry_x` to the whole row."""
    if rows.width > 1:
        broadcast(program, Line(rows, "x", BLOCK_COLORS), value, entry_x - rows.x)


def _gather(program: ProgramBuilder, rect: Rect, rows: list[np.ndarray], net: Net, x: View) -> None:
    """The exit's column passes its rows' segments towards the exit, its top or its bottom, in order, and on."""
    exit_x, exit_y = net.exits[0]
    column, upward = Line(Rect(exit_x, rect.y, 1, rect.height), "y"), exit_y == rect.y
    toward = -1 if upward else 1
    passed = behind = 0
    for r in reversed(range(rect.height)) if upward else range(rect.height):
        pe, n, last = program.pes(column.at(r)), len(rows[r]), rect.y + r == exit_y
        out = net.lanes[0].color if last else wire(program, column.path(r, r + toward), BLOCK_COLORS)
        if upward and n:
            pe.mov(pe.send(out), x[:n])
        if passed:
            pe.mov(pe.send(out), pe.recv(behind), shape=passed)
        if not upward and n:
            pe.mov(pe.send(out), x[:n])
        passed, behind = passed + n, out


def _runs(keys: list[Any]) -> Iterator[tuple[Any, range]]:
    """(key, rows) of neighbouring rows with equal keys."""
    start = 0
    for key, same in itertools.groupby(keys):
        stop = start + len(list(same))
        yield key, range(start, stop)
        start = stop
