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
from wse.compiler.route import Net
from wse.isa import Port
from wse.operands import View
from wse.program import Rect

GATHER_COLORS = (9, 10)  # along the exit's column, neighbouring stages in turn
SPREAD_COLOR = 11  # along a row, from the PE at which its segment arrives; the nets' own colors follow


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
    west, east = entry_x - rows.x, rows.x + rows.width - 1 - entry_x
    if not west and not east:
        return
    source = program.pes(rows.column(west))
    program.route(source.rect, SPREAD_COLOR, Port.RAMP, [port for port, n in ((Port.WEST, west), (Port.EAST, east)) if n])
    source.mov(source.send(SPREAD_COLOR), value)
    for start, n, back, onward, last in ((0, west, Port.EAST, Port.WEST, 0), (west + 1, east, Port.WEST, Port.EAST, rows.width - 1)):
        if n:
            pe = program.pes(rows.column(start, n))
            pe.mov(value, pe.recv(SPREAD_COLOR))
            program.route(rows.column(last), SPREAD_COLOR, back, [Port.RAMP])
        if n > 1:
            program.route(rows.column(start + (last == 0), n - 1), SPREAD_COLOR, back, [onward, Port.RAMP])


def _gather(program: ProgramBuilder, rect: Rect, rows: list[np.ndarray], net: Net, x: View) -> None:
    """The exit's column passes its rows' segments towards the exit, its top or its bottom, in order, and on."""
    exit_x, exit_y = net.exits[0]
    upward = exit_y == rect.y
    toward, back = (Port.NORTH, Port.SOUTH) if upward else (Port.SOUTH, Port.NORTH)
    passed = 0
    for step, r in enumerate(range(rect.height - 1, -1, -1) if upward else range(rect.height)):
        here = Rect(exit_x, rect.y + r, 1, 1)
        pe, n, last = program.pes(here), len(rows[r]), step == rect.height - 1
        out, behind = net.lanes[0].color if last else GATHER_COLORS[step % 2], GATHER_COLORS[(step - 1) % 2]
        if not last:
            program.route(here, out, Port.RAMP, [toward])
        if upward and n:
            pe.mov(pe.send(out), x[:n])
        if step:
            program.route(here, behind, back, [Port.RAMP])
        if passed:
            pe.mov(pe.send(out), pe.recv(behind), shape=passed)
        if not upward and n:
            pe.mov(pe.send(out), x[:n])
        passed += n


def _runs(keys: list[Any]) -> Iterator[tuple[Any, range]]:
    """(key, rows) of neighbouring rows with equal keys."""
    start = 0
    for key, same in itertools.groupby(keys):
        stop = start + len(list(same))
        yield key, range(start, stop)
        start = stop
