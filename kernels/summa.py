"""SUMMA as the vendor's GEMM example has it: tiles are broadcast, and what is done when both are there is a task.

Known from the example's source: in step s column s broadcasts its tiles of A along the rows, row s its tiles of B along the columns,
both at once and asynchronously; the end of one activates a task, the end of the other unblocks it, each through a task of its own; it
multiplies, in the loops of `emit_looped`, and begins the next step. Assumed: what compiled code costs (`calls`), and how the library
broadcasts, which is not public. Here cores rewrite routes as the root moves on, on two colors in turn: who has the tile of step s + 1
knows that those of step s have left every router that led to it, so that the color of step s can be rewritten for step s + 2, and a
wavelet that is too early waits at the port it will be taken from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wse.isa import Done, Op, Port, Type
from wse.kernels.calls import CalledPes, CalledProgram
from wse.kernels.gemm import gemm_arrays
from wse.kernels.line import Line, wire
from wse.kernels.product import emit_looped
from wse.operands import Reg, View
from wse.program import Rect

A_IS_HERE, B_IS_HERE, COMPUTE = 1, 2, 3  # tasks


def summa_broadcast(program: CalledProgram, rect: Rect, a: np.ndarray, b: np.ndarray, type: Type = Type.F32) -> View:
    """C = A B in P steps, as `summa`; it has the program to itself. Contract, layout and hops as of `summa`. Raises `ProgramError`."""
    tiles_a, tiles_b, c = gemm_arrays(program, rect, a, b, type)
    step, parity, x, y, from_a, from_b = (program.reg(Type.I32) for _ in range(6))
    along_x = _Broadcast(program, Line(rect, "x"), x, tiles_a, from_a, A_IS_HERE)
    along_y = _Broadcast(program, Line(rect, "y"), y, tiles_b, from_b, B_IS_HERE)
    pe = program.pes(rect)
    place = pe.array("place", np.stack(np.meshgrid(np.arange(rect.width), np.arange(rect.height)), axis=-1), Type.I32)
    for register, first in ((x, place[0]), (y, place[1]), (step, 0), (parity, 0)):
        pe.mov(register, first)
    pe.start_blocked(COMPUTE)
    _begin_step(pe, (along_x, along_y), step, parity)
    program.pes(rect, A_IS_HERE).activate(COMPUTE)
    program.pes(rect, B_IS_HERE).unblock(COMPUTE)
    then = program.pes(rect, COMPUTE)
    then.ask(False, False)  # whether its own tile of A, of B is meant
    then.update(1)
    emit_looped(then, c, tiles_a[0], tiles_b[0], from_a, from_b, CalledPes.advance)  # type: ignore[arg-type]
    then.add(step, step, 1)
    then.sub(parity, 1, parity)
    then.block(COMPUTE)
    end = program.label("all steps done")
    then.branch(Op.BGE, step, rect.width, end)
    _begin_step(then, (along_x, along_y), step, parity)
    then.place(end)
    return c


def _begin_step(pe: CalledPes, axes: tuple[_Broadcast, ...], step: Reg, parity: Reg) -> None:
    """A function that calls the library's, once for each axis."""
    with pe.function():
        for axis in axes:
            with pe.function():
                pe.update(2)
                axis.start(pe.task, step, parity)


@dataclass(frozen=True)
class _Broadcast:
    """Broadcasts along `line` of tiles[0] of the PE whose `index` is the step, into tiles[1] of the others; their end activates `task`.

    `begin` becomes the elements to skip to the tile at hand.
    """

    program: CalledProgram
    line: Line
    index: Reg
    tiles: View
    begin: Reg
    task: int

    def start(self, at: int, step: Reg, parity: Reg) -> None:
        """Begin the step's, in the code of task `at`; `parity` is that of the step."""
        program, length = self.program, self.line.length
        if length == 1:
            pe = program.pes(self.line.rect, at)
            pe.mov(self.begin, 0)
            pe.activate(self.task)
            return
        colors = [wire(program, self.line.spread(root)) for root in (0, 1)]
        names = ("own", "not one after", "not two after", "odd", "begun")
        own, after_one, after_two, odd, begun = (program.label(name) for name in names)
        ago = program.reg(Type.I32)
        how = {"thread": self.task, "on_done": (Done.ACTIVATE, self.task), "type": self.tiles.type}
        for i in range(length):
            pe = program.pes(self.line.at(i), at)
            pe.sub(ago, step, self.index)
            pe.branch(Op.BEQ, ago, 0, own)
            pe.mov(self.begin, self.tiles.strides[0])
            for num, label in ((1, after_one), (2, after_two)):
                pe.branch(Op.BNE, ago, num, label)
                if i + num < length:
                    self._turn(pe, i, colors[(i + num) % 2])
                pe.place(label)
            pe.branch(Op.BNE, parity, 0, odd)
            for turn in (0, 1):
                if any(root != i for root in range(turn, length, 2)):
                    pe.mov(self.tiles[1], pe.recv(colors[turn]), **how)
                pe.jump(begun)
                pe.place((odd, own)[turn])
            pe.mov(self.begin, 0)
            pe.reroute(colors[i % 2], Port.RAMP, self._sides(i))
            pe.mov(pe.send(colors[i % 2]), self.tiles[0], **how)
            pe.place(begun)
        program.release(ago)

    def _turn(self, pe: CalledPes, i: int, color: int) -> None:
        """From now on the root is at a higher index."""
        low, high = self.line.ports
        pe.reroute(color, high, [Port.RAMP, *([low] if i else [])])

    def _sides(self, i: int) -> list[Port]:
        low, high = self.line.ports
        return [*([low] if i else []), *([high] if i < self.line.length - 1 else [])]
