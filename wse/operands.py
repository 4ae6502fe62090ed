"""Operands of instructions as a kernel writer holds them: array views, registers, fabric ends, FIFOs, labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wse.errors import ProgramError
from wse.isa import MAX_DIMS, Type
from wse.where import kernel_line


@dataclass(frozen=True)
class Reg:
    """A 32-bit scalar register; `type` says how instructions read it unless told otherwise."""

    number: int
    type: Type = Type.F32

    def __str__(self) -> str:
        return f"r{self.number}"


@dataclass(frozen=True)
class Recv:
    """The next wavelets of a color: one per element, or with `held` one per outer step of a mapped operation.

    `packed`: two f16 elements in a wavelet; None for yes in an operation that works in f16.
    """

    color: int
    held: bool = False
    packed: bool | None = None


@dataclass(frozen=True)
class Send:
    """One wavelet of a color per element; with `control`, a control wavelet; `packed` as in `Recv`."""

    color: int
    control: bool = False
    packed: bool | None = None


@dataclass(frozen=True)
class Fifo:
    """A FIFO in SRAM, declared with `Pes.fifo`."""

    name: str
    type: Type


@dataclass(frozen=True)
class Push:
    """A new element of a FIFO in SRAM per element."""

    fifo: Fifo


@dataclass(frozen=True)
class Popped:
    """The oldest element of a FIFO in SRAM per element, taken out."""

    fifo: Fifo


@dataclass(eq=False)
class Label:
    """A place in code; compared by identity, told apart in hashes by its number."""

    name: str
    number: int


@dataclass(frozen=True)
class View:
    """Elements of a named array in every PE's SRAM (a memory DSD): indexed like NumPy, no data of its own.

    `offset` and `strides` count elements; a register in `shape` is an extent read when the
    instruction issues, `offset_reg` likewise adds to the address.
    """

    name: str
    type: Type
    shape: tuple[Any, ...]
    strides: tuple[int, ...]
    offset: int = 0
    offset_reg: Reg | None = None

    def __getitem__(self, index: Any) -> View:
        items = index if isinstance(index, tuple) else (index,)
        shape: list[Any] = []
        strides: list[int] = []
        offset, axis = self.offset, 0
        for item in items:
            if item is None:
                shape.append(1)
                strides.append(0)
                continue
            if axis >= len(self.shape):
                raise ProgramError(
                    f"too many indices for array '{self.name}' of shape {self.shape}", notes=[kernel_line()],
                    help=f"it has {len(self.shape)} axes",
                )  # fmt: skip
            extent, stride = self.shape[axis], self.strides[axis]
            if isinstance(item, slice):
                if not isinstance(extent, int):
                    help = "slice first, then strided() with a register"
                    raise ProgramError(f"cannot slice the dynamic extent of '{self.name}'", notes=[kernel_line()], help=help)
                start, stop, step = item.indices(extent)
                shape.append(len(range(start, stop, step)))
                strides.append(stride * step)
                offset += start * stride
            else:
                i = int(item)
                if not isinstance(extent, int) or not -extent <= i < extent:
                    raise ProgramError(
                        f"index {i} is outside axis {axis} of '{self.name}' with extent {extent}", notes=[kernel_line()],
                        help=f"{-extent}..{extent - 1} are inside" if isinstance(extent, int) else "move by a register with shifted()",
                    )  # fmt: skip
                offset += (i % extent) * stride
            axis += 1
        return replace(
            self, shape=(*shape, *self.shape[axis:]), strides=(*strides, *self.strides[axis:]), offset=offset
        )

    def reshape(self, *shape: int) -> View:
        """The same elements in another shape; only for views that are contiguous."""
        if self.strides != contiguous(self.shape) or np.prod(shape) != np.prod(self.shape):
            raise ProgramError(
                f"cannot reshape '{self.name}' from {self.shape} to {shape}", notes=[kernel_line()],
                help="the view must be contiguous and keep its number of elements: strided() takes any shape",
            )  # fmt: skip
        return replace(self, shape=tuple(shape), strides=contiguous(shape))

    def shifted(self, reg: Reg) -> View:
        """The same view, moved by as many elements as `reg` holds when the instruction issues."""
        return replace(self, offset_reg=reg)

    def strided(self, shape: tuple[Any, ...], strides: tuple[int, ...]) -> View:
        """From this view's first element on, any shape (registers allowed) and strides."""
        return replace(self, shape=tuple(shape), strides=tuple(strides))


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides of `shape`, in elements."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def common_shape(views: list[View], shape: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """The iteration space of an operation: `shape` if given, else the views broadcast together.

    Raises `ProgramError` when the views do not broadcast or have more than `MAX_DIMS` axes.
    """
    if shape is None:
        rank = max((len(view.shape) for view in views), default=0)
        result: list[Any] = [1] * rank
        for view in views:
            for axis, extent in enumerate(view.shape, start=rank - len(view.shape)):
                if result[axis] == 1:
                    result[axis] = extent
                elif extent not in (1, result[axis]):
                    shapes = ", ".join(f"{v.name}{v.shape}" for v in views)
                    raise ProgramError(f"operands do not broadcast together: {shapes}", help="slice them, or add axes with [None]")
        shape = tuple(result) or (1,)
    if len(shape) > MAX_DIMS:
        raise ProgramError(f"an operation has at most {MAX_DIMS} dimensions, got {shape}", help="reshape() to fewer, or loop()")
    return shape


def broadcast_strides(view: View, shape: tuple[Any, ...]) -> tuple[int, ...]:
    """Strides of `view` over the iteration space `shape`, 0 where it repeats, padded in front to `MAX_DIMS`."""
    missing = len(shape) - len(view.shape)
    if missing < 0:
        raise ProgramError(f"'{view.name}' has more axes {view.shape} than the operation {shape}", help="index or reshape() it")
    strides = [0] * (MAX_DIMS - len(view.shape))
    for extent, stride, full in zip(view.shape, view.strides, shape[missing:], strict=True):
        if isinstance(extent, int) and isinstance(full, int) and extent not in (1, full):
            raise ProgramError(f"'{view.name}'{view.shape} does not broadcast to {shape}", help="slice it, or give another shape=")
        strides.append(0 if isinstance(extent, int) and extent == 1 and full != 1 else stride)
    return tuple(strides)
