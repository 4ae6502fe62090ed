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

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from wse.defects import Defects
from wse.errors import ProgramError
from wse.fragment import Fragment
from wse.frame import Area, Frame
from wse.isa import OPPOSITE, PORT_STEP, Pop, Port, Type
from wse.link import link
from wse.operands import Label, Reg
from wse.pes import MAIN_TASK, Pes
from wse.program import NO_OP, HostPort, Print, Program, Rect
from wse.routes import Route, Routes, position, switch
from wse.spec import MachineSpec
from wse.where import kernel_line, kernel_text, refusal

__all__ = ["MAIN_TASK", "Pes", "ProgramBuilder"]


@dataclass
class ProgramBuilder:
    """Collects code, data and routes, then links them. `width`, `height`: the mesh, in PEs; `defects`: what is dead on it."""

    spec: MachineSpec
    width: int
    height: int
    defects: Defects | None = None
    fragments: list[Fragment] = field(default_factory=list)
    routes: Routes = field(init=False)
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
            raise refusal(f"mesh {self.width}x{self.height} must be between 1x1 and 4096x4096 PEs", "give width and height in PEs")
        if self.defects is not None and (self.defects.width, self.defects.height) != (self.width, self.height):
            theirs = f"{self.defects.width}x{self.defects.height}"
            raise refusal(f"the map of defects is of {theirs} PEs, not {self.width}x{self.height}", "draw or read one for this mesh")
        self.routes = Routes(self.width, self.height)
        self._free_regs = list(range(self.spec.num_registers))

    @contextmanager
    def frame(self, frame: Frame) -> Iterator[None]:
        """Rectangles given inside are in the frame's logical coordinates; host ports stay physical.

        A route from one PE to the next of a frame that skips rows or columns between them is completed by straight passes there. Frames
        do not nest. Raises `ProgramError` for a frame that leaves the mesh.
        """
        if self._frame is not None:
            raise refusal("a frame inside a frame", "leave the first one before")
        if not Rect(0, 0, self.width, self.height).contains(frame.footprint):
            raise refusal(f"frame at {frame.footprint} is outside the mesh of {self.width}x{self.height} PEs", "give the program more PEs")
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
            raise refusal(f"rectangle {rect} has no PEs", "Rect(x, y, width, height) wants a width and a height of at least 1", rect)
        self.check_task(task, rect)
        return Pes(self, rect, task, self._area(rect))

    def _check_rect(self, rect: Rect, what: str = "rectangle") -> None:
        if self._frame is not None and not self._frame.rect.contains(rect):
            raise refusal(f"{what} {rect} is outside its frame {self._frame.rect}", "inside a frame all coordinates are its own", rect)
        if self._frame is None and not Rect(0, 0, self.width, self.height).contains(rect):
            fits = f"x + width is at most {self.width}, y + height at most {self.height}"
            raise refusal(f"{what} {rect} is outside the mesh of {self.width}x{self.height} PEs", fits, rect)

    def check_task(self, task: int, rect: Rect) -> None:
        """Raise `ProgramError` unless PEs have a task of this number."""
        if not 0 <= task < self.spec.num_tasks:
            raise refusal(f"no task {task}", f"tasks are 0..{self.spec.num_tasks - 1}", rect)

    def check_color(self, color: int, rect: Rect) -> None:
        """Raise `ProgramError` unless routers have this color."""
        if not 0 <= color < self.spec.num_colors:
            raise refusal(f"no color {color}", f"colors are 0..{self.spec.num_colors - 1}", rect)

    def _area(self, rect: Rect) -> Area:
        """The PEs of the mesh that `rect` names."""
        return Area.of(rect) if self._frame is None else self._frame.area(rect)

    def route(self, rect: Rect, color: int, rx: Port, tx: Iterable[Port]) -> None:
        """On every PE of `rect`, wavelets of `color` come in from `rx` and go out through all of `tx` at once."""
        self.check_color(color, rect)
        self._route(rect, color, Route((position(rect, color, rx, tx),)))

    def switch(
        self, rect: Rect, color: int, positions: Iterable[tuple[Port, Iterable[Port]]], *, ring: bool = False, pop: Pop = Pop.ALWAYS
    ) -> None:
        """On every PE of `rect`, `color` has a switch with these (rx, tx) positions, the first to begin with.

        Control wavelets (`Pes.send_control`) advance or reset it; `ring`: the last position is followed by the first. `pop`: when the
        command that was obeyed is taken off the wavelet. Raises `ProgramError`.
        """
        self.check_color(color, rect)
        self._route(rect, color, switch(rect, color, positions, ring, pop))

    def can_switch(
        self, rect: Rect, color: int, positions: Iterable[tuple[Port, Iterable[Port]]], *, ring: bool = False, pop: Pop = Pop.ALWAYS
    ) -> bool:
        """Whether `switch` with these arguments would meet no other route of `color`; a plain route is a ring of one that never pops."""
        self.check_color(color, rect)
        route = switch(rect, color, positions, ring, pop)
        laid = [(self._area(rect), route), *self._passes(rect, route)]
        return all(self.routes.clash(color, area, wanted) is None for area, wanted in laid)

    def pass_on(self, rect: Rect, color: int, rx: Port, tx: Iterable[Port]) -> tuple[Port, int]:
        """A position that the PEs of `rect` take at run time, as (rx, mask of tx): where it leads over skipped PEs, those pass it on."""
        self.check_color(color, rect)
        taken = position(rect, color, rx, tx)
        for area, passing in self._passes(rect, Route((taken,))):
            self._lay(color, area, passing)
        return taken

    def _route(self, rect: Rect, color: int, route: Route) -> None:
        self._check_rect(rect, f"route of color {color} on rectangle")
        self._lay(color, self._area(rect), route)
        for area, passing in self._passes(rect, route):
            self._lay(color, area, passing)

    def _lay(self, color: int, area: Area, route: Route) -> None:
        clash = self.routes.clash(color, area, route)
        if clash is not None:
            x, y, other = clash
            raise ProgramError(
                f"color {color} already has another route at PE {self._name(x, y)}",
                notes=[f"there: {other}, {list(self.source_lines)[other.line]}", f"wanted: {route}, {kernel_line()}"],
                help="a color has one rx port and one set of tx ports at a time: take another color, or a switch()",
            )
        self.routes.lay(color, area, replace(route, line=self.line_index()))

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
            raise refusal(f"{this} is outside the mesh of {self.width}x{self.height} PEs", "host ports are at its outer edge", rect)
        self.check_color(color, rect)
        dx, dy = PORT_STEP.get(port, (0, 0))
        if mesh.contains(Rect(x + dx, y + dy, 1, 1)):
            raise refusal(f"{this} port {port.name} does not lead off the mesh", "host ports are at the outer edge of the mesh", rect)
        if any(other.name == name for other in ports):
            raise refusal(f"two host {what}s are named '{name}'", f"give that of color {color} at PE ({x},{y}) a name of its own", rect)
        ports.append(HostPort(name, y * self.width + x, color, port, self.line_index()))

    def reg(self, type: Type = Type.F32) -> Reg:
        """A free scalar register, until `release`. Raises `ProgramError` when all are taken."""
        if not self._free_regs:
            raise refusal(f"all {self.spec.num_registers} registers are in use", "release() those that are no longer needed")
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
