"""A vector operation under way: its operands, its iteration space, its beats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wse.isa import (
    FIFO_KINDS,
    MAX_DIMS,
    OP_CLASS,
    RECEIVES,
    SENDS,
    TYPE_BYTES,
    Col,
    Done,
    Kind,
    Op,
    OpClass,
    Operand,
    Type,
)
from wse.program import SramFifo
from wse.spec import MachineSpec

NUM_BANK_CLASSES = 4


class Circular:
    """A FIFO in SRAM: `first` elements were popped so far, `count` are in it."""

    def __init__(self, fifo: SramFifo) -> None:
        self.declared = fifo
        self.first = self.count = 0

    def pop(self) -> int:
        """The byte address of the oldest element, which is taken out."""
        self.first, self.count = self.first + 1, self.count - 1
        return self._address(self.first - 1)

    def push(self) -> int:
        """The byte address of a new element."""
        self.count += 1
        return self._address(self.first + self.count - 1)

    def _address(self, k: int) -> int:
        return self.declared.address + TYPE_BYTES[self.declared.type] * (k % self.declared.capacity)


class Source:
    """An operand of an instruction: its columns by name, its registers read."""

    def __init__(self, row: np.ndarray, first: Col, registers: np.ndarray, fifos: Sequence[Circular] = ()) -> None:
        self.kind = Kind(row[first + Operand.KIND])
        self.type = Type(row[first + Operand.TYPE])
        self.base = int(row[first + Operand.BASE])
        self.strides = [int(stride) for stride in row[first + Operand.STRIDE : first + Operand.STRIDE + MAX_DIMS]]
        self.bytes = TYPE_BYTES[self.type]
        offset_reg = row[first + Operand.OFFSET_REG]
        if self.kind is Kind.MEM and offset_reg >= 0:
            self.base += int(registers[offset_reg]) * self.bytes
        self.packed = self.kind in RECEIVES | SENDS and self.type is Type.F16
        self.fifo = fifos[self.base] if self.kind in FIFO_KINDS else None
        self.held = 0  # of FABRIC_HELD: the value of this outer step
        self.half = 0  # of a packed operand: the half that was taken, or is to be sent, with the other one

    def address(self, index: tuple[int, ...]) -> int:
        return self.base + self.bytes * sum(i * stride for i, stride in zip(index, self.strides, strict=True))

    def in_bounds(self, extents: list[int], sram_bytes: int) -> bool:
        """Whether every element of the iteration space lies in the SRAM."""
        if self.kind is not Kind.MEM:
            return True
        steps = [(extent - 1) * stride for extent, stride in zip(extents, self.strides, strict=True)]
        first = self.base + self.bytes * sum(min(step, 0) for step in steps)
        last = self.base + self.bytes * sum(max(step, 0) for step in steps)
        return first >= 0 and last + self.bytes <= sram_bytes


def beat_numbers(op_class: OpClass, type: Type, spec: MachineSpec) -> tuple[int, int]:
    """(cycles, lanes) of a beat."""
    if op_class is OpClass.SPECIAL:
        return spec.special_cycles, 1
    if type is Type.MIXED:
        return spec.fma_mixed_cycles, spec.fma_mixed_lanes
    if type is Type.F16:
        return {
            OpClass.MOVE: (spec.move_f16_cycles, spec.move_f16_lanes),
            OpClass.ADD: (spec.add_f16_cycles, spec.add_f16_lanes),
            OpClass.FMA: (spec.fma_f16_cycles, spec.fma_f16_lanes),
        }[op_class]
    return {
        OpClass.MOVE: (spec.move_cycles, spec.move_lanes),
        OpClass.ADD: (spec.add_cycles, spec.add_lanes),
        OpClass.FMA: (spec.fma_cycles, spec.fma_lanes),
    }[op_class]


class Operation:
    """A vector operation under way on a thread."""

    def __init__(
        self, code: np.ndarray, number: int, t: int, registers: np.ndarray, fifos: list[Circular], spec: MachineSpec
    ) -> None:
        row = code[number]
        self.row, self.issued = number, t
        self.op = Op(row[Col.OP])
        self.type = Type(row[Col.TYPE])
        self.done, self.task = Done(row[Col.DONE]), int(row[Col.TASK])
        self.d, self.a, self.b = (Source(row, first, registers, fifos) for first in (Col.D, Col.A, Col.B))

        # iteration space
        extents = row[Col.EXTENT : Col.EXTENT + MAX_DIMS]
        extent_regs = row[Col.EXTENT_REG : Col.EXTENT_REG + MAX_DIMS]
        self.extents = [
            int(extent) if reg < 0 else max(0, int(registers[reg])) for extent, reg in zip(extents, extent_regs, strict=True)
        ]
        self.size = math.prod(self.extents)
        self.step_size = self.extents[-1] if row[Col.MAPPED] else self.size  # elements of an outer step

        # beats
        self.op_class = OP_CLASS[self.op]
        self.beat_cycles, self.lanes = beat_numbers(self.op_class, self.type, spec)
        self.fifos = [operand.fifo for operand in (self.d, self.a, self.b) if operand.fifo]
        self.lanes = min([self.lanes, *(fifo.declared.capacity for fifo in self.fifos)])
        streams = [operand for operand in (self.d, self.a, self.b) if operand.kind in {Kind.FABRIC_IN, *SENDS}]
        self.per_wavelet = 2 if streams and all(operand.packed for operand in streams) else 1 if streams else None
        self.map_step_cycles = spec.map_step_cycles if row[Col.MAPPED] else 0

        # progress
        self.next = 0  # first element of the next beat
        self.ready = t + spec.issue_cycles - 1 + self.map_step_cycles  # the next beat could start
        self.ends: int | None = None  # last cycle, once known
        if self.size == 0:
            self.ends = t + spec.issue_cycles - 1
            self.ready = self.ends + 1

    def beat(self) -> range:
        """Elements of the next beat."""
        num = min(self.lanes, self.step_size - self.next % self.step_size)
        if self.per_wavelet:
            num = min(num, self.per_wavelet - self.next % self.per_wavelet)
        return range(self.next, self.next + num)

    def takes(self, source: Source, element: int) -> bool:
        """Whether `element` is one that takes a wavelet for `source`."""
        if source.kind is Kind.FABRIC_HELD:
            step, inner = divmod(element, self.step_size)
            return inner == 0 and (not source.packed or step % 2 == 0)
        return source.kind is Kind.FABRIC_IN and (not source.packed or element % 2 == 0)

    def wanted(self) -> list[int]:
        """Colors that the next beat takes a wavelet of."""
        return [source.base for source in (self.a, self.b) if any(self.takes(source, element) for element in self.beat())]

    def sends(self, element: int) -> bool:
        """Whether a wavelet leaves with `element`."""
        return self.d.kind in SENDS and (not self.d.packed or element % 2 == 1 or element == self.size - 1)

    def conflicts(self) -> bool:
        """Whether the destination of the next beat meets a source in another word of the same bank class."""
        words = [
            operand.address(self.index(self.next)) // 4 if operand.kind is Kind.MEM else None for operand in (self.d, self.a, self.b)
        ]
        return words[0] is not None and any(
            word is not None and word != words[0] and (word - words[0]) % NUM_BANK_CLASSES == 0 for word in words[1:]
        )

    def index(self, element: int) -> tuple[int, ...]:
        """Where an element is in the iteration space."""
        return tuple(int(i) for i in np.unravel_index(element, self.extents))

    def started(self, last: int) -> None:
        """The next beat started; `last` is its last cycle."""
        self.next = self.beat().stop
        if self.next == self.size:
            self.ends = last
        else:
            self.ready = last + 1 + (self.map_step_cycles if self.next % self.step_size == 0 else 0)
