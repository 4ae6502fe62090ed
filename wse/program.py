"""Program: everything a wafer is loaded with, linked to plain arrays. Built by `ProgramBuilder`, never by hand.

Only what is used is stored: a core for each PE that has code, a channel for each (PE, color)
that has a route. Cores and channels are sorted by PE, channels within a PE by color.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from wse.isa import PORT_STEP, Col, Kind, Op, Operand, Port, Switch, Type
from wse.spec import MachineSpec

if TYPE_CHECKING:
    from wse.defects import Defects
    from wse.frame import Frame

NO_ROUTE, OFF_MESH = -1, -2  # in place of the index of a channel

NO_OP = "other"
"""Name of what code belongs to when its writer named no op."""

NUMPY_TYPE = {Type.F32: np.float32, Type.I32: np.int32, Type.F16: np.float16}


@dataclass(frozen=True)
class Rect:
    """A rectangle of PEs: columns x .. x+width-1, rows y .. y+height-1."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"({self.x},{self.y})-({self.x + self.width - 1},{self.y + self.height - 1})"

    @property
    def num_pes(self) -> int:
        return self.width * self.height

    def contains(self, other: Rect) -> bool:
        """Whether `other` lies inside this rectangle."""
        return (
            self.x <= other.x
            and self.y <= other.y
            and other.x + other.width <= self.x + self.width
            and other.y + other.height <= self.y + self.height
        )

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Which of the PEs at these coordinates lie inside, bool."""
        return (x >= self.x) & (x < self.x + self.width) & (y >= self.y) & (y < self.y + self.height)

    def overlaps(self, other: Rect) -> bool:
        """Whether the two share a PE."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def column(self, i: int, n: int = 1) -> Rect:
        """Columns i .. i+n-1, counted inside the rectangle; negative i counts from the east."""
        return Rect(self.x + i % self.width, self.y, n, self.height)

    def row(self, i: int, n: int = 1) -> Rect:
        """Rows i .. i+n-1, counted inside the rectangle; negative i counts from the south."""
        return Rect(self.x, self.y + i % self.height, self.width, n)


@dataclass(frozen=True)
class Symbol:
    """A named array in the SRAM of every PE of a code class: byte address, element type, shape."""

    name: str
    address: int
    type: Type
    shape: tuple[int, ...]
    written: bool = True  # it has data at load, if only zeros

    @property
    def num_elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Binding:
    """A data task: `task` runs for every wavelet of `color` that arrives, with its 32 bits in `register`."""

    task: int
    color: int
    register: int
    line: int  # index into `Program.source_lines`


@dataclass(frozen=True)
class SramFifo:
    """A circular buffer in SRAM; the tasks that a push or pop activates, -1 for none. Its elements are also a symbol."""

    name: str
    address: int  # bytes
    type: Type
    capacity: int
    on_push: int
    on_pop: int
    line: int  # index into `Program.source_lines`


@dataclass(frozen=True)
class Print:
    """What a `Pes.print` shows: `text` is a template of `str.format` with a field for each value."""

    text: str
    types: tuple[Type, ...]  # of each value
    shapes: tuple[tuple[int, ...], ...]  # () for a register; a value of n elements takes n rows of code

    @property
    def num_rows(self) -> int:
        """Rows of code that make up one print: one for each element, one without any."""
        return max(1, sum(math.prod(shape) for shape in self.shapes))


@dataclass(frozen=True)
class CodeClass:
    """PEs that share code: entry row of each task, initial task state, SRAM layout."""

    task_entry: tuple[int, ...]  # row of `Program.code`, -1 for a task without code
    active_tasks: int  # bit mask at load time
    blocked_tasks: int
    num_threads: int  # main thread and the microthreads the code names
    sram_words: int  # 32-bit words of data per PE
    code_bytes: int
    symbols: dict[str, Symbol]
    bindings: tuple[Binding, ...] = ()
    fifos: tuple[SramFifo, ...] = ()


@dataclass(frozen=True)
class HostPort:
    """Where the host joins the wafer: a color crossing the outer edge of a PE's router."""

    name: str
    pe: int
    color: int
    port: Port
    line: int  # index into `Program.source_lines`


def class_rows(code: np.ndarray, task_entry: tuple[int, ...]) -> np.ndarray:
    """Indices of the rows of `code` that a class's tasks are made of, without their ENDs."""
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(entry, _end(code, entry)) for entry in task_entry if entry >= 0)])


def _end(code: np.ndarray, entry: int) -> int:
    """The row of the first END from row `entry` on."""
    size = 64
    while not (is_end := code[entry : entry + size, Col.OP] == Op.END).any():
        size *= 2
    return entry + int(is_end.argmax())


@dataclass(frozen=True)
class Program:
    """A linked program. Index order (pe, port, color, slot); `pe = y * width + x`."""

    spec: MachineSpec
    width: int
    height: int
    code: np.ndarray  # int64 (num_instructions, NUM_COLS)
    row_ops: np.ndarray  # int64 (num_instructions,), index into `op_names`
    classes: tuple[CodeClass, ...]
    core_pe: np.ndarray  # int64 (num_cores,), ascending
    core_class: np.ndarray  # int64 (num_cores,)
    core_sram: np.ndarray  # int64 (num_cores,), first word of the PE's data in `sram`
    sram: np.ndarray  # int32 (num_words,), initial data
    channel_pe: np.ndarray  # int64 (num_channels,), ascending
    channel_color: np.ndarray  # int64 (num_channels,)
    channel_rx: np.ndarray  # int64 (num_channels,), a Port: of the first position where there is a switch
    channel_tx: np.ndarray  # int64 (num_channels,), bit mask of ports, likewise
    channel_line: np.ndarray  # int64 (num_channels,), index into `source_lines` of what routed it
    switches: np.ndarray  # int64 (num_switches, NUM_SWITCH_COLS), ascending by channel
    host_in: tuple[HostPort, ...] = ()
    host_out: tuple[HostPort, ...] = ()
    source_lines: tuple[str, ...] = ("?",)
    source_texts: tuple[str, ...] = ("",)  # what stands in each of them, where it was known
    prints: tuple[Print, ...] = ()
    op_names: tuple[str, ...] = (NO_OP,)
    meta: dict[str, str] = field(default_factory=dict)
    defects: Defects | None = None  # of the mesh it is for
    frames: tuple[Frame, ...] = ()  # those in which logical and physical coordinates differ

    def core_at(self, x: int, y: int) -> int:
        """Index of the core at (x, y), or -1 when that PE has no code."""
        pe = y * self.width + x
        i = int(np.searchsorted(self.core_pe, pe))
        return i if i < len(self.core_pe) and self.core_pe[i] == pe else -1

    def channels_at(self, pe: np.ndarray, color: int | np.ndarray) -> np.ndarray:
        """Index of the channel of `color` at each of these PEs, int64, or `NO_ROUTE`."""
        wanted = np.asarray(pe) * self.spec.num_colors + color
        at = np.searchsorted(self._channel_key[:-1], wanted)
        return np.where(self._channel_key[at] == wanted, at, NO_ROUTE)

    def inside(self, pe: np.ndarray, rect: Rect) -> np.ndarray:
        """Which of these PEs lie in `rect`, bool."""
        return rect.holds(pe % self.width, pe // self.width)

    def across(self, channels: np.ndarray, port: Port) -> np.ndarray:
        """Per channel that of its color at the neighbouring PE on the side of `port`, int64; `NO_ROUTE`, or `OFF_MESH` without a PE."""
        dx, dy = PORT_STEP[port]
        pe = self.channel_pe[channels]
        x, y = pe % self.width + dx, pe // self.width + dy
        at = self.channels_at(y * self.width + x, self.channel_color[channels])
        return np.where(Rect(0, 0, self.width, self.height).holds(x, y), at, OFF_MESH)

    @cached_property
    def sends_controls(self) -> bool:
        """Whether some instruction sends control wavelets."""
        return bool((self.code[:, Col.D + Operand.KIND] == Kind.CONTROL_OUT).any())

    @cached_property
    def _channel_key(self) -> np.ndarray:
        """A number for each channel that is the same for no other, ascending; then one that is no channel's."""
        return np.append(self.channel_pe * self.spec.num_colors + self.channel_color, -1)

    @property
    def reactive(self) -> bool:
        """Whether a wavelet can wake a core that has ended: it names a task, or a task is bound to its color."""
        return self.sends_controls or any(cls.bindings for cls in self.classes)

    def channel_ports(self) -> tuple[np.ndarray, np.ndarray]:
        """(rx, tx) masks of each channel, int64 (num_channels,): the ports that have a FIFO, and that wavelets can ever leave through."""
        rx, tx = 1 << self.channel_rx, self.channel_tx.copy()
        at = self.switches[:, Switch.CHANNEL]
        rx[at], tx[at] = self.switches[:, Switch.FIFOS], self.switches[:, Switch.EXITS]
        return rx, tx

    def where(self, pe: int) -> str:
        """Coordinates of a PE as text, with the logical ones of its frame where those differ."""
        x, y = self.xy(pe)
        logical = next((found for frame in self.frames if (found := frame.logical(x, y)) is not None), (x, y))
        return f"({x},{y})" if logical == (x, y) else f"({x},{y}), logical ({logical[0]},{logical[1]})"

    def where_like(self, pe: int, others: int) -> str:
        """The same for the first of PEs that are alike, before a verb: `(0,0), like 2 more,`."""
        return self.where(pe) + (f", like {others} more," if others else "")

    def xy(self, pe: int) -> tuple[int, int]:
        """Coordinates of a PE."""
        return int(pe) % self.width, int(pe) // self.width
