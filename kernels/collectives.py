"""Collectives along the rows or columns of a rectangle: chain reduce, broadcast, all-reduce.

Formulas are those of "Near-Optimal Wafer-Scale Reduce" (HPDC'24, arXiv 2404.15888), generalised to the
spec's latencies: one reduce stage takes ramp in + ramp out + hop + 1 cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wse.builder import ProgramBuilder
from wse.isa import Op, Port
from wse.operands import View
from wse.program import Rect
from wse.spec import MachineSpec


@dataclass(frozen=True)
class Line:
    """All rows (`axis` "x") or all columns ("y") of a rectangle, each a line of its own, with the colors it uses.

    `root`: index along the line of the PE where reductions meet; 0 is a plain chain, the middle is the two-tree of
    one group: both ends chain inward, the result is multicast both ways.
    """

    rect: Rect
    axis: str
    root: int
    chain: tuple[int, int]  # colors of neighbouring stages, in turn
    back: int  # color of the broadcast from the root

    @property
    def length(self) -> int:
        return self.rect.width if self.axis == "x" else self.rect.height

    def at(self, i: int, n: int = 1) -> Rect:
        """The PEs at indices i .. i+n-1 of every line."""
        return self.rect.column(i, n) if self.axis == "x" else self.rect.row(i, n)

    @property
    def ports(self) -> tuple[Port, Port]:
        """(toward lower, toward higher) indices."""
        return (Port.WEST, Port.EAST) if self.axis == "x" else (Port.NORTH, Port.SOUTH)

    def send_color(self, i: int) -> int:
        """Color in which PE i passes its partial result inward; the root's two neighbours differ."""
        return self.chain[(i if i < self.root else i + 1) % 2]


def route_line(program: ProgramBuilder, line: Line) -> None:
    """The routes of `reduce` and `broadcast` on `line`."""
    low, high = line.ports
    for i in range(line.length):
        if i != line.root:
            inward, outward = (high, low) if i < line.root else (low, high)
            program.route(line.at(i), line.send_color(i), Port.RAMP, [inward])
            neighbour = i + 1 if i < line.root else i - 1
            program.route(line.at(neighbour), line.send_color(i), outward, [Port.RAMP])
            ends = i in (0, line.length - 1)
            program.route(line.at(i), line.back, inward, [Port.RAMP] if ends else [outward, Port.RAMP])
    if line.length > 1:
        both = [port for port, there in ((low, line.root > 0), (high, line.root < line.length - 1)) if there]
        program.route(line.at(line.root), line.back, Port.RAMP, both)


def reduce(program: ProgramBuilder, line: Line, value: View, op: Op = Op.ADD, shape: Any = None) -> None:
    """Combine `value` of all PEs of each line into `value` at the root: every stage adds what arrives and passes it on.

    Additions go from the ends inward; the root adds the lower side, then the higher. `shape` may be
    dynamic if it is alike along a line.
    """
    with program.op("reduce"):
        for i in range(line.length):
            if i == line.root:
                continue
            pe = program.pes(line.at(i))
            behind = i - 1 if i < line.root else i + 1
            out = pe.send(line.send_color(i))
            if 0 <= behind < line.length:
                pe.vector(op, out, pe.recv(line.send_color(behind)), value, shape=shape)
            else:
                pe.mov(out, value, shape=shape)
        root = program.pes(line.at(line.root))
        for behind in (line.root - 1, line.root + 1):
            if 0 <= behind < line.length:
                root.vector(op, value, root.recv(line.send_color(behind)), value, shape=shape)


def broadcast(program: ProgramBuilder, line: Line, value: View, shape: Any = None) -> None:
    """Copy `value` at the root of each line to all its PEs."""
    if line.length == 1:
        return
    with program.op("broadcast"):
        root = program.pes(line.at(line.root))
        root.mov(root.send(line.back), value, shape=shape)
        for start, n in ((0, line.root), (line.root + 1, line.length - line.root - 1)):
            if n:
                pe = program.pes(line.at(start, n))
                pe.mov(value, pe.recv(line.back), shape=shape)


def allreduce(program: ProgramBuilder, line: Line, value: View, op: Op = Op.ADD, shape: Any = None) -> None:
    """`reduce`, then `broadcast`: every PE of a line ends with the same bits."""
    reduce(program, line, value, op, shape)
    broadcast(program, line, value, shape)


def reduce_cycles(spec: MachineSpec, length: int, num: int, root: int = 0) -> int:
    """Predicted cycles of `reduce` of `num` wavelets; exact on an idle machine for root 0 or one side."""
    stage = spec.ramp_in_cycles + spec.ramp_out_cycles + spec.hop_cycles + 1
    sides = [side for side in (root, length - 1 - root) if side]
    if not sides:
        return 0
    first = num + stage * sides[0]
    return first if len(sides) == 1 else max(first, num + stage * sides[1]) + num


def broadcast_cycles(spec: MachineSpec, length: int, num: int, root: int = 0) -> int:
    """Predicted cycles of `broadcast` of `num` wavelets."""
    far = max(root, length - 1 - root)
    return num + far * spec.hop_cycles + spec.ramp_in_cycles + spec.ramp_out_cycles + 1 if far else 0


def best_root(spec: MachineSpec, length: int, num: int) -> int:
    """The root (0 or the middle) with the lower predicted cost of an all-reduce of `num` wavelets."""
    cost = {r: reduce_cycles(spec, length, num, r) + broadcast_cycles(spec, length, num, r) for r in (0, length // 2)}
    return min(cost, key=lambda r: (cost[r], r))
