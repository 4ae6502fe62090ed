"""Broadcast: one PE's vector to all PEs of its line, or of a rectangle, by multicast in the routers.

Nothing is computed, every PE ends with the sender's bits. Cycles are exact on an idle machine: num + hops + 2T + 1
(arXiv 2404.15888: B + P + 2T for a row and B + M + N - 2 + 2T + 1 for a rectangle, both with hop 1).
"""

from __future__ import annotations

from typing import Any

from wse.builder import ProgramBuilder
from wse.isa import Port, Type
from wse.kernels.cost import issue_wait, pass_cycles
from wse.kernels.line import Hop, Line, wire
from wse.operands import View
from wse.program import Rect
from wse.spec import MachineSpec


def broadcast(program: ProgramBuilder, line: Line, value: View, root: int = 0, shape: Any = None, type: Type | None = None) -> None:
    """Copy `value` of the PE at index `root` to all PEs of each line. `shape` and `type` as in `reduce`."""
    if line.length == 1:
        return
    color = wire(program, line.spread(root), line.colors)
    source = program.pes(line.at(root))
    with program.op("broadcast"):
        source.mov(source.send(color), value, shape=shape, type=type)
        for first, n in ((0, root), (root + 1, line.length - root - 1)):
            if n:
                pe = program.pes(line.at(first, n))
                pe.mov(value, pe.recv(color), shape=shape, type=type)


def broadcast_cycles(spec: MachineSpec, length: int, num: int, root: int = 0) -> int:
    """Predicted cycles of `broadcast` of `num` wavelets; exact on an idle machine."""
    far = max(root, length - 1 - root)
    return issue_wait(spec) + pass_cycles(spec, far) + num if far and num else 0


def broadcast_hops(length: int, num: int) -> int:
    """Wavelet-hops of `broadcast` along one line."""
    return (length - 1) * num


def broadcast_rect(
    program: ProgramBuilder, rect: Rect, value: View, colors: Any = None, shape: Any = None, type: Type | None = None
) -> None:
    """Copy `value` of the north-west PE to all PEs of `rect`: along the first row, and from there down every column."""
    if rect.num_pes == 1:
        return
    color = wire(program, _comb(rect), colors)
    corner = Rect(rect.x, rect.y, 1, 1)
    source = program.pes(corner)
    source.mov(source.send(color), value, shape=shape, type=type)
    for part in (Rect(rect.x + 1, rect.y, rect.width - 1, 1), Rect(rect.x, rect.y + 1, rect.width, rect.height - 1)):
        if part.num_pes:
            pe = program.pes(part)
            pe.mov(value, pe.recv(color), shape=shape, type=type)


def _comb(rect: Rect) -> list[Hop]:
    """Routes from the north-west corner along the first row and down every column."""
    hops = []
    for x in range(rect.width):
        for y in {0, 1, rect.height - 1} & set(range(rect.height)):
            rx = Port.NORTH if y else Port.WEST if x else Port.RAMP
            tx = {Port.RAMP} if x or y else set()
            tx |= {Port.SOUTH} if y < rect.height - 1 else set()
            tx |= {Port.EAST} if y == 0 and x < rect.width - 1 else set()
            between = 0 < y < rect.height - 1
            hops.append(Hop(Rect(rect.x + x, rect.y + y, 1, rect.height - 2 if between else 1), rx, frozenset(tx)))
    return hops


def broadcast_rect_cycles(spec: MachineSpec, width: int, height: int, num: int) -> int:
    """Predicted cycles of `broadcast_rect`; exact on an idle machine."""
    return broadcast_cycles(spec, width + height - 1, num)


def broadcast_rect_hops(width: int, height: int, num: int) -> int:
    """Wavelet-hops of `broadcast_rect`: every link of a spanning tree once."""
    return (width * height - 1) * num
