"""ProgramBuilder: how a kernel developer writes a program. Code once per rectangle, data per PE.

    program = ProgramBuilder(spec, width, height)
    pe = program.pes(Rect(0, 0, 4, 4))
    a = pe.array("A", tiles, Type.F16)       # tiles: (4, 4, k, m), one tile per PE
    y = pe.zeros("y", m)
    pe.fmac(y, a, pe.recv(x, held=True), mapped=True)
    linked = program.link()

Rectangles may overlap: a PE runs what was written for every rectangle that covers it, in the
order in which it was written. Roles in a collective are just narrower rectangles.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wse.errors import ProgramError
from wse.isa import (
    BRANCHES,
    FLOAT_ONLY,
    MAX_DIMS,
    NUM_COLS,
    TWO_SOURCES,
    Col,
    Done,
    Kind,
    Op,
    Operand,
    Port,
    Type,
)
from wse.link import Array, Fragment, Label, link
from wse.operands import Recv, Reg, Send, View, broadcast_strides, common_shape, contiguous
from wse.program import NO_OP, NUMPY_TYPE, HostPort, Program, Rect
from wse.spec import MachineSpec

MAIN_TASK = 0


@dataclass
class ProgramBuilder:
    """Collects code, data and routes, then links them. `width`, `height`: the mesh, in PEs."""

    spec: MachineSpec
    width: int
    height: int
    fragments: list[Fragment] = field(default_factory=list)
    rx: dict[int, np.ndarray] = field(default_factory=dict)  # color -> int8 (height, width), -1 unrouted
    tx: dict[int, np.ndarray] = field(default_factory=dict)  # color -> uint8 (height, width), port mask
    host_in: list[HostPort] = field(default_factory=list)
    host_out: list[HostPort] = field(default_factory=list)
    source_lines: dict[str, int] = field(default_factory=dict)
    op_names: dict[str, int] = field(default_factory=lambda: {NO_OP: 0})
    blocked: list[tuple[Rect, int]] = field(default_factory=list)
    _free_regs: list[int] = field(default_factory=list)
    _num_labels: int = 0
    _op: int = 0

    def __post_init__(self) -> None:
        if not (1 <= self.width <= 4096 and 1 <= self.height <= 4096):
            raise ProgramError(f"mesh {self.width}x{self.height} must be between 1x1 and 4096x4096 PEs")
        self._free_regs = list(range(self.spec.num_registers))

    def pes(self, rect: Rect, task: int = MAIN_TASK) -> Pes:
        """The PEs of `rect`, to write code of `task` for; task 0 is the main task and starts by itself."""
        if not Rect(0, 0, self.width, self.height).contains(rect) or rect.num_pes <= 0:
            raise ProgramError(f"rectangle {rect} is outside the mesh of {self.width}x{self.height} PEs", notes=[self.where()])
        if not 0 <= task < self.spec.num_tasks:
            raise ProgramError(f"task {task} is outside 0..{self.spec.num_tasks - 1}", notes=[self.where()])
        return Pes(self, rect, task)

    def route(self, rect: Rect, color: int, rx: Port, tx: Iterable[Port]) -> None:
        """On every PE of `rect`, wavelets of `color` come in from `rx` and go out through all of `tx` at once."""
        if not 0 <= color < self.spec.num_colors:
            raise ProgramError(f"color {color} is outside 0..{self.spec.num_colors - 1}", notes=[self.where()])
        mask = sum({1 << port for port in tx})
        if not mask or (mask & (1 << rx) and rx != Port.RAMP):
            raise ProgramError(f"color {color} in {rect}: rx {rx.name} needs at least one other tx port", notes=[self.where()])
        if color not in self.rx:
            self.rx[color] = np.full((self.height, self.width), -1, np.int8)
            self.tx[color] = np.zeros((self.height, self.width), np.uint8)
        at = np.s_[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
        taken = (self.rx[color][at] >= 0) & ((self.rx[color][at] != rx) | (self.tx[color][at] != mask))
        if taken.any():
            y, x = np.argwhere(taken)[0] + (rect.y, rect.x)
            raise ProgramError(
                f"color {color} already has another route at PE ({x},{y})",
                notes=[f"there: rx {Port(self.rx[color][y, x]).name}, wanted: rx {rx.name}", self.where()],
                help="a color has one rx port and one set of tx ports per router; take another color",
            )
        self.rx[color][at] = rx
        self.tx[color][at] = mask

    def input(self, name: str, x: int, y: int, color: int, port: Port) -> None:
        """The host streams wavelets of `color` into PE (x, y) through `port`, which must lead off the mesh."""
        self.host_in.append(HostPort(name, y * self.width + x, color, port))

    def output(self, name: str, x: int, y: int, color: int, port: Port) -> None:
        """Wavelets of `color` that leave PE (x, y) through `port`, off the mesh, go to the host."""
        self.host_out.append(HostPort(name, y * self.width + x, color, port))

    def reg(self, type: Type = Type.F32) -> Reg:
        """A free scalar register, until `release`. Raises `ProgramError` when all are taken."""
        if not self._free_regs:
            raise ProgramError(f"all {self.spec.num_registers} registers are in use", notes=[self.where()])
        return Reg(self._free_regs.pop(0), type)

    def release(self, *regs: Reg) -> None:
        """Give registers back."""
        self._free_regs = sorted({*self._free_regs, *(reg.number for reg in regs)})

    def label(self, name: str = "") -> Label:
        """A place in code, put there with `Pes.place`; each PE that branches to it must have it exactly once."""
        self._num_labels += 1
        return Label(name, self._num_labels)

    @contextmanager
    def op(self, name: str) -> Iterator[None]:
        """Code written inside belongs to the op `name` in reports (`Program.row_ops`); inside another op, to `outer/name`."""
        outer = self._op
        path = f"{list(self.op_names)[outer]}/{name}" if outer else name
        self._op = self.op_names.setdefault(path, len(self.op_names))
        try:
            yield
        finally:
            self._op = outer

    def link(self, **meta: str) -> Program:
        """The finished program. Raises `ProgramError` or `DoesNotFitError`."""
        return link(self, meta)

    def emit(self, rect: Rect, task: int, item: Any) -> None:
        """Append an instruction, label or array to what the PEs of `rect` have in `task`."""
        last = self.fragments[-1] if self.fragments else None
        if last is None or last.rect != rect or last.task != task:
            last = Fragment(rect, task)
            self.fragments.append(last)
        last.add(item, self._op)

    def where(self) -> str:
        """`file:line` of the kernel code that called the builder."""
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename in _OWN_FILES:
            frame = frame.f_back
        path = Path(frame.f_code.co_filename)
        return f"{'/'.join(path.parts[-2:])}:{frame.f_lineno}"

    def line_index(self) -> int:
        """Index of the calling source line in `Program.source_lines`."""
        return self.source_lines.setdefault(self.where(), len(self.source_lines))


_OWN_FILES = {__file__}


@dataclass(frozen=True)
class Pes:
    """Code for all PEs of a rectangle. Every method that is named like an opcode appends that instruction."""

    program: ProgramBuilder
    rect: Rect
    task: int

    # --- data -------------------------------------------------------------------------------------------------

    def array(self, name: str, data: np.ndarray, type: Type = Type.F32) -> View:
        """An array of which every PE has its own: `data` is (rect.height, rect.width, *shape)."""
        data = np.asarray(data)
        if data.shape[:2] != (self.rect.height, self.rect.width):
            raise ProgramError(
                f"array '{name}' over {self.rect}: the data's shape {data.shape} does not begin with (height, width)",
                notes=[f"wanted ({self.rect.height}, {self.rect.width}, …)", self.program.where()],
            )
        return self._declare(name, data.shape[2:], type, data.astype(NUMPY_TYPE[type], copy=False))

    def const(self, name: str, values: Any, type: Type = Type.F32) -> View:
        """An array that is the same on every PE."""
        values = np.asarray(values, NUMPY_TYPE[type])
        return self._declare(name, values.shape, type, values[None, None])

    def zeros(self, name: str, shape: int | tuple[int, ...], type: Type = Type.F32) -> View:
        """An array of zeros."""
        return self._declare(name, (shape,) if isinstance(shape, int) else shape, type, None)

    def _declare(self, name: str, shape: tuple[int, ...], type: Type, data: np.ndarray | None) -> View:
        shape = tuple(int(extent) for extent in shape)
        self.program.emit(self.rect, self.task, Array(name, type, shape, data))
        return View(name, type, shape, contiguous(shape))

    # --- operands ---------------------------------------------------------------------------------------------

    def recv(self, color: int, held: bool = False) -> Recv:
        """The next wavelets of `color`, one per element (`held`: one per outer step of a mapped operation)."""
        return Recv(color, held)

    def send(self, color: int) -> Send:
        """Wavelets of `color`, one per element."""
        return Send(color)

    # --- vector operations ------------------------------------------------------------------------------------

    def mov(self, d: Any, a: Any, **how: Any) -> None:
        """d = a"""
        self.vector(Op.MOV, d, a, None, **how)

    def add(self, d: Any, a: Any, b: Any, **how: Any) -> None:
        """d = a + b"""
        self.vector(Op.ADD, d, a, b, **how)

    def sub(self, d: Any, a: Any, b: Any, **how: Any) -> None:
        """d = a - b"""
        self.vector(Op.SUB, d, a, b, **how)

    def mul(self, d: Any, a: Any, b: Any, **how: Any) -> None:
        """d = a * b"""
        self.vector(Op.MUL, d, a, b, **how)

    def max(self, d: Any, a: Any, b: Any, **how: Any) -> None:
        """d = the greater of a and b"""
        self.vector(Op.MAX, d, a, b, **how)

    def min(self, d: Any, a: Any, b: Any, **how: Any) -> None:
        """d = the lesser of a and b"""
        self.vector(Op.MIN, d, a, b, **how)

    def fmac(self, d: Any, a: Any, b: Any, **how: Any) -> None:
        """d = d + a * b"""
        self.vector(Op.FMAC, d, a, b, **how)

    def div(self, d: Any, a: Any, b: Any, **how: Any) -> None:
        """d = a / b"""
        self.vector(Op.DIV, d, a, b, **how)

    def mod(self, d: Any, a: Any, b: Any, **how: Any) -> None:
        """d = a mod b (i32)"""
        self.vector(Op.MOD, d, a, b, **how)

    def exp(self, d: Any, a: Any, **how: Any) -> None:
        """d = e ** a"""
        self.vector(Op.EXP, d, a, None, **how)

    def rsqrt(self, d: Any, a: Any, **how: Any) -> None:
        """d = 1 / sqrt(a)"""
        self.vector(Op.RSQRT, d, a, None, **how)

    def silu(self, d: Any, a: Any, **how: Any) -> None:
        """d = a / (1 + e ** -a)"""
        self.vector(Op.SILU, d, a, None, **how)

    def sin(self, d: Any, a: Any, **how: Any) -> None:
        """d = sin a"""
        self.vector(Op.SIN, d, a, None, **how)

    def cos(self, d: Any, a: Any, **how: Any) -> None:
        """d = cos a"""
        self.vector(Op.COS, d, a, None, **how)

    def itof(self, d: Any, a: Any, **how: Any) -> None:
        """d = float(a), a is i32"""
        self.vector(Op.ITOF, d, a, None, **how)

    def argmax(self, d: Reg, a: View, base: Any, **how: Any) -> None:
        """Where an element of a exceeds register d: d = it, and the next register = base + its index."""
        self.vector(Op.ARGMAX, d, a, base, **how)

    def vector(
        self,
        op: Op,
        d: Any,
        a: Any,
        b: Any,
        *,
        shape: tuple[Any, ...] | int | Reg | None = None,
        type: Type | None = None,
        mapped: bool = False,
        thread: int = 0,
        on_done: tuple[Done, int] = (Done.NOTHING, 0),
    ) -> None:
        """Any vector operation.

        `shape`: the iteration space (default: the views broadcast together), extents may be
        registers. `type`: of the arithmetic (default: i32 if an operand is, else f32). `thread`: 0 waits for the end,
        k hands it to microthread k, which then does `on_done` to a task. Raises `ProgramError`.
        """
        try:
            row, symbols = self._encode(op, d, a, b, shape, type, mapped)
        except ProgramError as error:
            raise ProgramError(f"{op.name.lower()}: {error.message}", notes=[self.program.where()], help=error.help) from None
        if not 0 <= thread <= self.program.spec.num_microthreads:
            raise ProgramError(f"{op.name.lower()}: no microthread {thread}", notes=[self.program.where()])
        row[Col.THREAD] = thread
        row[Col.DONE], row[Col.TASK] = on_done
        if thread == 0 and on_done[0] != Done.NOTHING:
            raise ProgramError(f"{op.name.lower()}: on_done wants a microthread", notes=[self.program.where()])
        self.program.emit(self.rect, self.task, (row, symbols, None))

    # --- control ----------------------------------------------------------------------------------------------

    def place(self, label: Label) -> None:
        """Put `label` here."""
        self.program.emit(self.rect, self.task, label)

    def jump(self, label: Label) -> None:
        """Go to `label`."""
        self._control(Op.JUMP, label=label)

    def branch(self, op: Op, a: Any, b: Any, label: Label, type: Type | None = None) -> None:
        """Go to `label` if the comparison (BLT, BGE, BEQ, BNE) of registers or numbers holds."""
        if op not in BRANCHES or any(isinstance(operand, (View, Recv, Send)) for operand in (a, b)):
            raise ProgramError("a branch compares registers or numbers", notes=[self.program.where()])
        row, _ = self._encode(op, None, a, b, None, type, False)
        self.program.emit(self.rect, self.task, (row, (), label))

    @contextmanager
    def loop(self, count: int | Reg, counter: Reg | None = None) -> Iterator[Reg]:
        """Repeat the body `count` times (at least once); yields the i32 counter, 0 at first."""
        i = counter or self.program.reg(Type.I32)
        start = self.program.label("loop")
        self.mov(i, 0, type=Type.I32)
        self.place(start)
        yield i
        self.add(i, i, 1, type=Type.I32)
        self.branch(Op.BLT, i, count, start, type=Type.I32)
        if counter is None:
            self.program.release(i)

    def activate(self, task: int) -> None:
        """Make a task ready to run."""
        self._control(Op.ACTIVATE, task=task)

    def block(self, task: int) -> None:
        """Keep a task from being picked."""
        self._control(Op.BLOCK, task=task)

    def unblock(self, task: int) -> None:
        """Let a task be picked again."""
        self._control(Op.UNBLOCK, task=task)

    def start_blocked(self, task: int) -> None:
        """Load these PEs with `task` blocked."""
        self.program.blocked.append((self.rect, task))

    def _control(self, op: Op, task: int = 0, label: Label | None = None) -> None:
        if not 0 <= task < self.program.spec.num_tasks:
            raise ProgramError(f"no task {task}", notes=[self.program.where()])
        row, _ = self._encode(op, None, None, None, None, Type.I32, False)
        row[Col.TASK] = task
        self.program.emit(self.rect, self.task, (row, (), label))

    # --- encoding ---------------------------------------------------------------------------------------------

    def _encode(
        self, op: Op, d: Any, a: Any, b: Any, shape: Any, type: Type | None, mapped: bool
    ) -> tuple[np.ndarray, tuple[tuple[int, str], ...]]:
        """The instruction's row, and (column, symbol) for each address the linker adds."""
        operands = {Col.D: d, Col.A: a, Col.B: b}
        if type is None:
            types = [operand.type for operand in operands.values() if isinstance(operand, (View, Reg))]
            type = Type.I32 if Type.I32 in types and op not in FLOAT_ONLY | {Op.ITOF} else Type.F32
        if shape is not None and not isinstance(shape, tuple):
            shape = (shape,)
        views = [operand for operand in operands.values() if isinstance(operand, View)]
        shape = common_shape(views, shape)
        self._check(op, d, a, b, type, mapped, shape)
        row = np.zeros(NUM_COLS, np.int64)
        row[Col.OP], row[Col.TYPE], row[Col.MAPPED] = op, type, mapped
        row[Col.EXTENT : Col.EXTENT + MAX_DIMS] = 1
        row[Col.EXTENT_REG : Col.EXTENT_REG + MAX_DIMS] = -1
        row[Col.LINE] = self.program.line_index()
        for axis, extent in enumerate(shape, start=MAX_DIMS - len(shape)):
            if isinstance(extent, Reg):
                row[Col.EXTENT_REG + axis] = extent.number
            else:
                row[Col.EXTENT + axis] = extent
        symbols = []
        for col, operand in operands.items():
            row[col + Operand.OFFSET_REG] = -1
            if isinstance(operand, View):
                size = np.dtype(NUMPY_TYPE[operand.type]).itemsize
                row[col + Operand.KIND], row[col + Operand.TYPE] = Kind.MEM, operand.type
                row[col + Operand.BASE] = operand.offset * size
                row[col + Operand.STRIDE : col + Operand.STRIDE + MAX_DIMS] = broadcast_strides(operand, shape)
                if operand.offset_reg is not None:
                    row[col + Operand.OFFSET_REG] = operand.offset_reg.number
                symbols.append((col + Operand.BASE, operand.name))
            elif operand is not None:
                index = op is Op.ARGMAX and col == Col.B
                row[col + Operand.KIND], row[col + Operand.BASE] = _scalar(operand, Type.I32 if index else type)
        return row, tuple(symbols)

    def _check(self, op: Op, d: Any, a: Any, b: Any, type: Type, mapped: bool, shape: tuple[Any, ...]) -> None:
        """Refuse what no machine could execute."""
        if op in TWO_SOURCES | BRANCHES and (a is None or b is None):
            raise ProgramError("needs two sources")
        if op in FLOAT_ONLY and type != Type.F32:
            raise ProgramError("is for f32 only")
        if op is Op.MOD and type != Type.I32:
            raise ProgramError("is for i32 only")
        if isinstance(a, Send) or isinstance(b, Send) or isinstance(d, (Recv, int, float)):
            raise ProgramError("a source cannot be send(), a destination cannot be recv() or a number")
        if op is Op.FMAC and isinstance(d, Send):
            raise ProgramError("accumulates, so its destination must be an array or a register")
        if op is Op.ARGMAX and not (isinstance(d, Reg) and isinstance(a, View) and isinstance(b, (Reg, int))):
            raise ProgramError("wants a register, an array and a register or number")
        if isinstance(a, Recv) and isinstance(b, Recv) and a.color == b.color:
            raise ProgramError(f"both sources receive color {a.color}")
        if any(isinstance(operand, Recv) and operand.held for operand in (a, b)) and not mapped:
            raise ProgramError("a held recv() wants mapped=True")
        if mapped and len(shape) < 2:
            raise ProgramError("mapped=True wants at least two dimensions")
        for operand in (d, a, b):
            if isinstance(operand, View) and (operand.type == Type.I32) != (type == Type.I32) and op not in (Op.MOV, Op.ITOF):
                raise ProgramError(f"'{operand.name}' is {operand.type.name}, the operation {type.name}")
            if isinstance(operand, (Recv, Send)) and not 0 <= operand.color < self.program.spec.num_colors:
                raise ProgramError(f"no color {operand.color}")


def _scalar(operand: Any, type: Type) -> tuple[Kind, int]:
    """Kind and base column of an operand that is not in memory."""
    if isinstance(operand, Reg):
        return Kind.REG, operand.number
    if isinstance(operand, Recv):
        return (Kind.FABRIC_HELD if operand.held else Kind.FABRIC_IN), operand.color
    if isinstance(operand, Send):
        return Kind.FABRIC_OUT, operand.color
    if isinstance(operand, (int, float, np.integer, np.floating)):
        value = np.int32(operand) if type == Type.I32 else np.float32(operand)
        return Kind.IMM, int(value.view(np.uint32))
    raise ProgramError(f"cannot use {operand!r} as an operand")
