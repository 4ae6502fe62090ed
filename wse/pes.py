"""Pes: code and data for the PEs of a rectangle, one method an instruction; what `ProgramBuilder.pes` returns."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wse.encode import encode, encode_print
from wse.errors import ProgramError
from wse.fragment import Array, EmptyArray, FifoArray, PlacedLabel
from wse.frame import Area
from wse.isa import BRANCHES, MAX_POSITIONS, Col, Command, Done, Op, Port, Type, control_bits
from wse.operands import Fifo, Label, Popped, Push, Recv, Reg, Send, View, contiguous
from wse.program import NUMPY_TYPE, Binding, Rect
from wse.where import refusal

if TYPE_CHECKING:
    from wse.builder import ProgramBuilder

MAIN_TASK = 0


@dataclass(frozen=True)
class Pes:
    """Code for all PEs of a rectangle. Every method that is named like an opcode appends that instruction."""

    program: ProgramBuilder
    rect: Rect
    task: int
    area: Area  # where on the mesh

    # --- data -------------------------------------------------------------------------------------------------

    def array(self, name: str, data: np.ndarray, type: Type = Type.F32) -> View:
        """An array of which every PE has its own: `data` is (rect.height, rect.width, *shape)."""
        data = self._numbers(name, data, type)
        if data.shape[:2] != (self.rect.height, self.rect.width):
            raise refusal(
                f"array '{name}' over {self.rect}: the data's shape {data.shape} does not begin with (height, width)",
                f"give data of the shape ({self.rect.height}, {self.rect.width}, …), or const() for the same on every PE", self.rect,
            )  # fmt: skip
        return self._declare(name, data.shape[2:], type, data)

    def const(self, name: str, values: Any, type: Type = Type.F32) -> View:
        """An array that is the same on every PE."""
        values = self._numbers(name, values, type)
        return self._declare(name, values.shape, type, values[None, None])

    def _numbers(self, name: str, data: Any, type: Type) -> np.ndarray:
        """`data` as an array of `type`."""
        try:
            return np.asarray(data).astype(NUMPY_TYPE[type], copy=False)
        except (ValueError, TypeError, OverflowError) as error:
            raise refusal(f"array '{name}': cannot make {type.name.lower()} of the data: {error}", "give numbers", self.rect) from None

    def zeros(self, name: str, shape: int | tuple[int, ...], type: Type = Type.F32) -> View:
        """An array of zeros."""
        return self._declare(name, (shape,) if isinstance(shape, int) else shape, type, None)

    def empty(self, name: str, shape: int | tuple[int, ...], type: Type = Type.F32) -> View:
        """An array to be written before it is read: it is zeros, but `Machine(program, sanitize=…)` holds the kernel to that."""
        return self._declare(name, (shape,) if isinstance(shape, int) else shape, type, None, EmptyArray)

    def fifo(self, name: str, capacity: int, type: Type = Type.F32, *, on_push: int = -1, on_pop: int = -1) -> Fifo:
        """A FIFO of `capacity` elements in SRAM, empty at load; `on_push`, `on_pop`: tasks that pushes and pops activate."""
        if capacity < 1:
            raise refusal(f"FIFO '{name}' has a capacity of {capacity}", "it must hold at least one element", self.rect)
        for task in (on_push, on_pop):
            if not -1 <= task < self.program.spec.num_tasks:
                raise refusal(f"FIFO '{name}': no task {task}", f"tasks are 0..{self.program.spec.num_tasks - 1}", self.rect)
        self.program.emit(self.area, self.task, FifoArray(name, type, (int(capacity),), None, self.program.line_index(), on_push, on_pop))
        return Fifo(name, type)

    def _declare(self, name: str, shape: tuple[int, ...], type: Type, data: np.ndarray | None, kind: builtins.type[Array] = Array) -> View:
        shape = tuple(int(extent) for extent in shape)
        if any(extent < 0 for extent in shape):
            raise refusal(f"array '{name}': the extents {shape} must not be negative", "an extent counts elements", self.rect)
        self.program.emit(self.area, self.task, kind(name, type, shape, data, self.program.line_index()))
        return View(name, type, shape, contiguous(shape))

    # --- operands ---------------------------------------------------------------------------------------------

    def recv(self, color: int, held: bool = False, packed: bool | None = None) -> Recv:
        """The next wavelets of `color`, one per element (`held`: one per outer step of a mapped operation).

        `packed`: two f16 elements in each wavelet (default: in operations of type F16 or MIXED).
        """
        return Recv(color, held, packed)

    def send(self, color: int, control: bool = False, packed: bool | None = None) -> Send:
        """Wavelets of `color`, one per element; with `control`, control wavelets (`control_bits`); `packed` as in `recv`."""
        return Send(color, control, packed)

    def push(self, fifo: Fifo) -> Push:
        """A new element of `fifo` per element (a destination)."""
        return Push(fifo)

    def pop(self, fifo: Fifo) -> Popped:
        """The oldest element of `fifo` per element, taken out (a source)."""
        return Popped(fifo)

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
        k hands it to microthread k. `on_done`: what its end does to a task. Raises `ProgramError`.
        """
        row, symbols = self._encode(op, d, a, b, shape, type, mapped)
        most = self.program.spec.num_microthreads
        if not 0 <= thread <= most:
            raise refusal(f"{op.name.lower()}: no microthread {thread}", f"microthreads are 1..{most}, 0 is the main thread", self.rect)
        self.program.check_task(on_done[1], self.rect)
        row[Col.THREAD] = thread
        row[Col.DONE], row[Col.TASK] = on_done
        self._emit(row, symbols)

    def print(self, text: str, *values: Any) -> None:
        """Show `text` with these values when the main thread gets here, as `@968 PE(1,0): text`; takes no time and no SRAM.

        `values`: registers, and arrays of a few elements in a fixed place; they fill the `{}` fields of `text` as in `str.format`, and
        where it has none they follow it. Raises `ProgramError`.
        """
        try:
            printed, rows = encode_print(self.program.spec, text, values)
        except ProgramError as error:
            raise refusal(f"print: {error.message}", error.help or "", self.rect) from None
        index = self.program.prints.setdefault(printed, len(self.program.prints))
        for row, symbols in rows:
            row[Col.TARGET] = index
            self._emit(row, symbols)

    # --- control ----------------------------------------------------------------------------------------------

    def reroute(self, color: int, rx: Port, tx: Iterable[Port], position: int = 0) -> None:
        """Overwrite a position of this PE's route or switch of `color`, from the next cycle on."""
        rx, mask = self.program.pass_on(self.rect, color, rx, tx)
        if not 0 <= position < MAX_POSITIONS:
            raise refusal(f"no position {position} of color {color}", f"positions are 0..{MAX_POSITIONS - 1}", self.rect)
        row, _ = self._encode(Op.REROUTE)
        row[Col.EXTENT : Col.EXTENT + 4] = color, position, rx, mask
        self._emit(row, ())

    def send_control(self, color: int, *commands: Command, task: int | None = None, **how: Any) -> None:
        """One control wavelet of `color`: `commands` for the switches on its way, `task` for the cores it reaches."""
        try:
            bits = control_bits(*commands, task=task)
        except ValueError as error:
            raise refusal(f"color {color}: {error}", "send the rest in a second control wavelet", self.rect) from None
        self.mov(self.send(color, control=True), bits, type=Type.I32, **how)

    def place(self, label: Label) -> None:
        """Put `label` here."""
        self.program.emit(self.area, self.task, PlacedLabel(label, self.program.line_index()))

    def jump(self, label: Label) -> None:
        """Go to `label`."""
        self._control(Op.JUMP, label=label)

    def branch(self, op: Op, a: Any, b: Any, label: Label, type: Type | None = None) -> None:
        """Go to `label` if the comparison (BLT, BGE, BEQ, BNE) of registers or numbers holds."""
        if op not in BRANCHES or any(isinstance(operand, (View, Recv, Send, Push, Popped)) for operand in (a, b)):
            help = "mov() the value into a register first; op is Op.BLT, BGE, BEQ or BNE"
            raise refusal("a branch compares registers or numbers", help, self.rect)
        row, _ = self._encode(op, None, a, b, None, type)
        self._emit(row, (), label)

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

    def bind(self, color: int, register: Reg) -> None:
        """Make this task a data task: it runs for every wavelet of `color` that arrives, with its 32 bits in `register`."""
        if self.task == MAIN_TASK:
            help = f"write the code for a wavelet of color {color} in another task: pes(rect, task=…)"
            raise refusal("the main task starts by itself and cannot be bound to a color", help, self.rect)
        self.program.check_color(color, self.rect)
        if not 0 <= register.number < self.program.spec.num_registers:
            raise refusal(f"no register {register.number}", f"registers are 0..{self.program.spec.num_registers - 1}", self.rect)
        self.program.emit(self.area, self.task, Binding(self.task, color, register.number, self.program.line_index()))

    def start_blocked(self, task: int) -> None:
        """Load these PEs with `task` blocked."""
        self.program.check_task(task, self.rect)
        self.program.blocked.append((self.area, task))

    def _control(self, op: Op, task: int = 0, label: Label | None = None) -> None:
        self.program.check_task(task, self.rect)
        row, _ = self._encode(op)
        row[Col.TASK] = task
        self._emit(row, (), label)

    def _encode(
        self, op: Op, d: Any = None, a: Any = None, b: Any = None, shape: Any = None, type: Type | None = None, mapped: bool = False
    ) -> tuple[np.ndarray, tuple[tuple[int, str], ...]]:
        """`encode`, whose refusals say where the kernel called the builder."""
        try:
            return encode(self.program.spec, op, d, a, b, shape, type, mapped)
        except ProgramError as error:
            raise refusal(f"{op.name.lower()}: {error.message}", error.help or "", self.rect) from None

    def _emit(self, row: np.ndarray, symbols: tuple[tuple[int, str], ...], label: Label | None = None) -> None:
        row[Col.LINE] = self.program.line_index()
        self.program.emit(self.area, self.task, (row, symbols, label))
