"""Fragments: what a kernel writer gave some PEs in one go, code and data, as the builder collects it and the linker takes it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wse.frame import Area
from wse.isa import Type
from wse.operands import Label
from wse.program import Binding


@dataclass(frozen=True)
class PlacedLabel:
    """A label put into code."""

    label: Label
    line: int  # index into `Program.source_lines`


@dataclass(frozen=True)
class Array:
    """A declared array: `data` is (height, width, *shape), (1, 1, *shape) for all PEs alike, or None for zeros."""

    name: str
    type: Type
    shape: tuple[int, ...]
    data: np.ndarray | None
    line: int  # index into `Program.source_lines`


@dataclass(frozen=True)
class EmptyArray(Array):
    """An array that nothing is known of before it is written."""


@dataclass(frozen=True)
class FifoArray(EmptyArray):
    """The storage of a FIFO in SRAM, and the tasks that a push or pop activates, -1 for none."""

    on_push: int
    on_pop: int


@dataclass
class Fragment:
    """What the PEs of one rectangle were given in one go, in one task: rows of code, labels, arrays."""

    area: Area
    task: int
    rows: list[np.ndarray] = field(default_factory=list)
    ops: list[int] = field(default_factory=list)  # of each row, index into the builder's op names
    symbols: list[tuple[int, int, str]] = field(default_factory=list)  # (row, column, symbol)
    targets: list[tuple[int, Label]] = field(default_factory=list)  # (row, label it goes to)
    labels: list[tuple[int, PlacedLabel]] = field(default_factory=list)  # (row, label placed before it)
    arrays: list[Array] = field(default_factory=list)
    bindings: list[Binding] = field(default_factory=list)

    def add(self, item: Any, op: int) -> None:
        """Append an `Array`, a `Binding`, a `PlacedLabel`, or an instruction (row, symbols, label) that belongs to `op`."""
        if isinstance(item, Array):
            self.arrays.append(item)
        elif isinstance(item, Binding):
            self.bindings.append(item)
        elif isinstance(item, PlacedLabel):
            self.labels.append((len(self.rows), item))
        else:
            row, symbols, label = item
            self.symbols += [(len(self.rows), col, name) for col, name in symbols]
            if label is not None:
                self.targets.append((len(self.rows), label))
            self.rows.append(row)
            self.ops.append(op)

    def digest(self) -> int:
        """A 62-bit hash of everything but the PEs and the data: equal for fragments that link alike."""
        parts = (
            self.task,
            [row.tobytes() for row in self.rows],
            self.ops,
            self.symbols,
            [(row, label.number) for row, label in self.targets],
            [(row, placed.label.number) for row, placed in self.labels],
            [(array.name, int(array.type), array.shape, isinstance(array, EmptyArray)) for array in self.arrays],
            [(array.on_push, array.on_pop) for array in self.arrays if isinstance(array, FifoArray)],
            self.bindings,
        )
        return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()) >> 2
