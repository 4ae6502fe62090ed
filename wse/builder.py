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

import builtins
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wse.defects import Defects
from wse.encode import encode, encode_print
from wse.errors import ProgramError
from wse.frame import Area, Frame
from wse.isa import BRANCHES, MAX_POSITIONS, OPPOSITE, PORT_STEP, Col, Command, Done, Op, Pop, Port, Type, control_bits
from wse.link import Array, EmptyArray, FifoArray, Fragment, Label, PlacedLabel, Route, link
from wse.operands import Fifo, Popped, Push, Recv, Reg, Send, View, contiguous
from wse.program import NO_OP, NUMPY_TYPE, Binding, HostPort, Print, Program, Rect
from wse.spec import MachineSpec
from wse.where import kernel_line, kernel_text

MAIN_TASK = 0


def _refusal(message: str, help: str, rect: Rect | None = None) -> ProgramError:
    """The error for a call of the builder: it names the kernel's line and, if there are any, the PEs."""
    return ProgramError(message, notes=[kernel_line() + ("" if rect is None else f", PEs {rect}")], help=help)


@dataclass
class ProgramBuilder:
    """Collects code, data and routes, then links them. `width`, `height`: the mesh, in PEs; `defects`: what is dead on it."""

    spec: MachineSpec
    width: int
    height: int
    defects: Defects | None = None
    fragments: list[Fragment] = field(default_factory=list)
    routes: dict[Route, int] = field(default_factory=dict)  # distinct ones, numbered
    route_at: dict[int, np.ndarray] = field(default_factory=dict)  # color -> int32 (height, width), index of a route, -1 unrouted
    host_in: list[HostPort] = field(default_factory=list)
    host_out: list[HostPort] = field(default_factory=list)
    source_lines: dict[str, int] = field(default_factory=dict)
    source_texts: list[str] = field(default_factory=list)
    prints: dict[Print, int] = field(default_factory=dict)
    op_names: dict[str, int] = field(default_factory=lambda: {NO_OP: 0})
    blocked: list[tuple[Area, int]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    _free_regs: list[int] = field(default_factory=list)
    _num_labels: int = 0
    _op: int = 0
    _frame: Frame | None = None

    def __post_init__(self) -> None:
        if not (1 <= self.width <= 4096 and 1 <= self.height <= 4096):
            raise _refusal(f"mesh {self.width}x{self.height} must be between 1x1 and 4096x4096 PEs", "give width and height in PEs")
        if self.defects is not None and (self.defects.width, self.defects.height) != (self.width, self.height):
            theirs = f"{self.defects.width}x{self.defects.height}"
            raise _refusal(f"the map of defects is of {theirs} PEs, not {self.width}x{self.height}", "draw or read one for this mesh")
        self._free_regs = list(range(self.spec.num_registers))

    @contextmanager
    def frame(self, frame: Frame) -> Iterator[None]:
        """Rectangles given inside are in the frame's logical coordinates; host ports stay physical.

        A route from one PE to the next of a frame that skips rows or columns between them is completed by straight passes there. Frames
        do not nest. Raises `ProgramError` for a frame that leaves the mesh.
        """
        if self._frame is not None:
            raise _refusal("a frame inside a frame", "leave the first one before")
        if not Rect(0, 0, self.width, self.height).contains(frame.footprint):
            raise _refusal(f"frame at {frame.footprint} is outside the mesh of {self.width}x{self.height} PEs", "give the program more PEs")
        if frame.skips:
            self.frames.append(frame)
        self._frame = frame
        try:
            yield
        finally:
            self._frame = None

    def pes(self, rect: Rect, task: int = MAIN_TASK) -> Pes:
        """The PEs of `rect`, to write code of `task` for; task 0 is the main task and starts by itself."""
        self._check_rect(rect)
        if rect.num_pes <= 0:
            raise _refusal(f"rectangle {rect} has no PEs", "Rect(x, y, width, height) wants a width and a height of at least 1", rect)
        self._check_task(task, rect)
        return Pes(self, rect, task, self._area(rect))

    def _check_rect(self, rect: Rect, what: str = "rectangle") -> None:
        if self._frame is not None and not self._frame.rect.contains(rect):
            raise _refusal(f"{what} {rect} is outside its frame {self._frame.rect}", "inside a frame all coordinates are its own", rect)
        if self._frame is None and not Rect(0, 0, self.width, self.height).contains(rect):
            fits = f"x + width is at most {self.width}, y + height at most {self.height}"
            raise _refusal(f"{what} {rect} is outside the mesh of {self.width}x{self.height} PEs", fits, rect)

    def _check_task(self, task: int, rect: Rect) -> None:
        if not 0 <= task < self.spec.num_tasks:
            raise _refusal(f"no task {task}", f"tasks are 0..{self.spec.num_tasks - 1}", rect)

    def _check_color(self, color: int, rect: Rect) -> None:
        if not 0 <= color < self.spec.num_colors:
            raise _refusal(f"no color {color}", f"colors are 0..{self.spec.num_colors - 1}", rect)

    def _area(self, rect: Rect) -> Area:
        """The PEs of the mesh that `rect` names."""
        return Area.of(rect) if self._frame is None else self._frame.area(rect)

    def route(self, rect: Rect, color: int, rx: Port, tx: Iterable[Port]) -> None:
        """On every PE of `rect`, wavelets of `color` come in from `rx` and go out through all of `tx` at once."""
        self._route(rect, color, Route((self._position(rect, color, rx, tx),)))

    def switch(
        self, rect: Rect, color: int, positions: Iterable[tuple[Port, Iterable[Port]]], *, ring: bool = False, pop: Pop = Pop.ALWAYS
    ) -> None:
        """On every PE of `rect`, `color` has a switch with these (rx, tx) positions, the first to begin with.

        Control wavelets (`Pes.send_control`) advance or reset it; `ring`: the last position is followed by the first. `pop`: when the
        command that was obeyed is taken off the wavelet. Raises `ProgramError`.
        """
        self._route(rect, color, self._switch(rect, color, positions, ring, pop))

    def _switch(self, rect: Rect, color: int, positions: Iterable[tuple[Port, Iterable[Port]]], ring: bool, pop: Pop) -> Route:
        """The route that `switch` asks for."""
        route = Route(tuple(self._position(rect, color, rx, tx) for rx, tx in positions), ring, pop)
        if not 1 <= len(route.positions) <= MAX_POSITIONS:
            counted = f"color {color} in {rect}: a switch has 1 to {MAX_POSITIONS} positions, got {len(route.positions)}"
            raise _refusal(counted, "split the work over two colors, or rewrite a position with reroute()", rect)
        return route

    def _position(self, rect: Rect, color: int, rx: Port, tx: Iterable[Port]) -> tuple[Port, int]:
        """(rx port, mask of tx ports) of one route position, if there can be one."""
        self._check_color(color, rect)
        mask = sum({1 << port for port in tx})
        if not mask or (mask & (1 << rx) and rx != Port.RAMP):
            help = "give tx the ports through which it goes on: " + ", ".join(port.name for port in Port if port != rx)
            raise _refusal(f"color {color} in {rect}: rx {rx.name} needs at least one other tx port", help, rect)
        return rx, mask

    def _route(self, rect: Rect, color: int, route: Route) -> None:
        self._check_rect(rect, f"route of color {color} on rectangle")
        self._lay(color, self._area(rect), route)
        for area, passing in self._passes(rect, route):
            self._lay(color, area, passing)

    def _lay(self, color: int, area: Area, route: Route) -> None:
        if color not in self.route_at:
            self.route_at[color] = np.full((self.height, self.width), -1, np.int32)
        clash = self._clash(color, area, route)
        if clash is not None:
            x, y, other = clash
            raise ProgramError(
                f"color {color} already has another route at PE {self._name(x, y)}",
                notes=[f"there: {other}, {list(self.source_lines)[other.line]}", f"wanted: {route}, {kernel_line()}"],
                help="a color has one rx port and one set of tx ports at a time: take another color, or a switch()",
            )
        route = replace(route, line=self.line_index())
        self.route_at[color][area.index] = self.routes.setdefault(route, len(self.routes))

    def _passes(self, rect: Rect, route: Route) -> Iterator[tuple[Area, Route]]:
        """Straight passes over what the frame skips on the way from `rect`, routed so, to the next PEs, and where on the mesh they go."""
        exits = [port for port in PORT_STEP if any(tx >> port & 1 for _, tx in route.positions)]
        for port in exits if self._frame is not None else ():
            gap = self._frame.gap(rect, port)  # type: ignore[union-attr]
            if gap is not None:
                yield gap, Route(((OPPOSITE[port], 1 << port),))

    def _name(self, x: int, y: int) -> str:
        """Coordinates of a PE of the mesh as text, with the frame's own where those differ."""
        logical = self._frame.logical(x, y) if self._frame is not None else None
        return f"({x},{y})" if logical in (None, (x, y)) else f"({x},{y}), logical ({logical[0]},{logical[1]})"  # type: ignore[index]

    def can_switch(
        self, rect: Rect, color: int, positions: Iterable[tuple[Port, Iterable[Port]]], *, ring: bool = False, pop: Pop = Pop.ALWAYS
    ) -> bool:
        """Whether `switch` with these arguments would meet no other route of `color`; a plain route is a ring of one that never pops."""
        if color not in self.route_at:
            return True
        route = self._switch(rect, color, positions, ring, pop)
        laid = [(self._area(rect), route), *self._passes(rect, route)]
        return all(self._clash(color, area, wanted) is None for area, wanted in laid)

    def _clash(self, color: int, area: Area, route: Route) -> tuple[int, int, Route] | None:
        """The first PE of `area`, as (x, y), where `color` has another route than `route`, and which."""
        there = self.route_at[color][area.index]
        for number in np.unique(there[there >= 0]):
            other = list(self.routes)[number]
            if other.behaviour != route.behaviour:
                y, x = np.argwhere(there == number)[0]
                return area.columns[x], area.rows[y], other
        return None

    def input(self, name: str, x: int, y: int, color: int, port: Port) -> None:
        """The host streams wavelets of `color` into PE (x, y) through `port`, which must lead off the mesh."""
        self._host_port(self.host_in, "input", name, x, y, color, port)

    def output(self, name: str, x: int, y: int, color: int, port: Port) -> None:
        """Wavelets of `color` that leave PE (x, y) through `port`, off the mesh, go to the host."""
        self._host_port(self.host_out, "output", name, x, y, color, port)

    def _host_port(self, ports: list[HostPort], what: str, name: str, x: int, y: int, color: int, port: Port) -> None:
        rect, mesh = Rect(x, y, 1, 1), Rect(0, 0, self.width, self.height)
        this = f"host {what} '{name}' of color {color} at PE ({x},{y})"
        if not mesh.contains(rect):  # host ports are physical, in a frame too
            raise _refusal(f"{this} is outside the mesh of {self.width}x{self.height} PEs", "host ports are at its outer edge", rect)
        self._check_color(color, rect)
        dx, dy = PORT_STEP.get(port, (0, 0))
        if mesh.contains(Rect(x + dx, y + dy, 1, 1)):
            raise _refusal(f"{this} port {port.name} does not lead off the mesh", "host ports are at the outer edge of the mesh", rect)
        if any(other.name == name for other in ports):
            raise _refusal(f"two host {what}s are named '{name}'", f"give that of color {color} at PE ({x},{y}) a name of its own", rect)
        ports.append(HostPort(name, y * self.width + x, color, port, self.line_index()))

    def reg(self, type: Type = Type.F32) -> Reg:
        """A free scalar register, until `release`. Raises `ProgramError` when all are taken."""
        if not self._free_regs:
            raise _refusal(f"all {self.spec.num_registers} registers are in use", "release() those that are no longer needed")
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

    def emit(self, area: Area, task: int, item: Any) -> None:
        """Append an instruction, label or array to what the PEs of `area` have in `task`."""
        last = self.fragments[-1] if self.fragments else None
        if last is None or last.area != area or last.task != task:
            last = Fragment(area, task)
            self.fragments.append(last)
        last.add(item, self._op)

    def line_index(self) -> int:
        """Index of the calling source line in `Program.source_lines`."""
        index = self.source_lines.setdefault(kernel_line(), len(self.source_lines))
        if index == len(self.source_texts):
            self.source_texts.append(kernel_text())
        return index


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
            raise _refusal(
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
            raise _refusal(f"array '{name}': cannot make {type.name.lower()} of the data: {error}", "give numbers", self.rect) from None

    def zeros(self, name: str, shape: int | tuple[int, ...], type: Type = Type.F32) -> View:
        """An array of zeros."""
        return self._declare(name, (shape,) if isinstance(shape, int) else shape, type, None)

    def empty(self, name: str, shape: int | tuple[int, ...], type: Type = Type.F32) -> View:
        """An array to be written before it is read: it is zeros, but `Machine(program, sanitize=…)` holds the kernel to that."""
        return self._declare(name, (shape,) if isinstance(shape, int) else shape, type, None, EmptyArray)

    def fifo(self, name: str, capacity: int, type: Type = Type.F32, *, on_push: int = -1, on_pop: int = -1) -> Fifo:
        """A FIFO of `capacity` elements in SRAM, empty at load; `on_push`, `on_pop`: tasks that pushes and pops activate."""
        if capacity < 1:
            raise _refusal(f"FIFO '{name}' has a capacity of {capacity}", "it must hold at least one element", self.rect)
        for task in (on_push, on_pop):
            if not -1 <= task < self.program.spec.num_tasks:
                raise _refusal(f"FIFO '{name}': no task {task}", f"tasks are 0..{self.program.spec.num_tasks - 1}", self.rect)
        self.program.emit(
            self.area, self.task, FifoArray(name, type, (int(capacity),), None, self.program.line_index(), on_push, on_pop)
        )
        return Fifo(name, type)

    def _declare(
        self, name: str, shape: tuple[int, ...], type: Type, data: np.ndarray | None, kind: builtins.type[Array] = Array
    ) -> View:
        shape = tuple(int(extent) for extent in shape)
        if any(extent < 0 for extent in shape):
            raise _refusal(f"array '{name}': the extents {shape} must not be negative", "an extent counts elements", self.rect)
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
            raise _refusal(f"{op.name.lower()}: no microthread {thread}", f"microthreads are 1..{most}, 0 is the main thread", self.rect)
        self.program._check_task(on_done[1], self.rect)
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
            raise _refusal(f"print: {error.message}", error.help or "", self.rect) from None
        index = self.program.prints.setdefault(printed, len(self.program.prints))
        for row, symbols in rows:
            row[Col.TARGET] = index
            self._emit(row, symbols)

    # --- control ----------------------------------------------------------------------------------------------

    def reroute(self, color: int, rx: Port, tx: Iterable[Port], position: int = 0) -> None:
        """Overwrite a position of this PE's route or switch of `color`, from the next cycle on."""
        rx, mask = self.program._position(self.rect, color, rx, tx)
        for area, passing in self.program._passes(self.rect, Route(((rx, mask),))):
            self.program._lay(color, area, passing)
        if not 0 <= position < MAX_POSITIONS:
            raise _refusal(f"no position {position} of color {color}", f"positions are 0..{MAX_POSITIONS - 1}", self.rect)
        row, _ = self._encode(Op.REROUTE)
        row[Col.EXTENT : Col.EXTENT + 4] = color, position, rx, mask
        self._emit(row, ())

    def send_control(self, color: int, *commands: Command, task: int | None = None, **how: Any) -> None:
        """One control wavelet of `color`: `commands` for the switches on its way, `task` for the cores it reaches."""
        try:
            bits = control_bits(*commands, task=task)
        except ValueError as error:
            raise _refusal(f"color {color}: {error}", "send the rest in a second control wavelet", self.rect) from None
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
            raise _refusal("a branch compares registers or numbers", help, self.rect)
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
            raise _refusal("the main task starts by itself and cannot be bound to a color", help, self.rect)
        self.program._check_color(color, self.rect)
        if not 0 <= register.number < self.program.spec.num_registers:
            raise _refusal(f"no register {register.number}", f"registers are 0..{self.program.spec.num_registers - 1}", self.rect)
        self.program.emit(self.area, self.task, Binding(self.task, color, register.number, self.program.line_index()))

    def start_blocked(self, task: int) -> None:
        """Load these PEs with `task` blocked."""
        self.program._check_task(task, self.rect)
        self.program.blocked.append((self.area, task))

    def _control(self, op: Op, task: int = 0, label: Label | None = None) -> None:
        self.program._check_task(task, self.rect)
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
            raise _refusal(f"{op.name.lower()}: {error.message}", error.help or "", self.rect) from None

    def _emit(self, row: np.ndarray, symbols: tuple[tuple[int, str], ...], label: Label | None = None) -> None:
        row[Col.LINE] = self.program.line_index()
        self.program.emit(self.area, self.task, (row, symbols, label))
