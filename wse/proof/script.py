"""What the cores of a class surely do, in order, as far as code says so: a script of the operations that take, send, push or pop.

The main thread is followed with the registers that numbers in code decide: loops over counts that are known are unrolled. The script
ends where no task is left to run, or where what comes next depends on data: from there on the core may do anything (`FREE`). So it may
after the end of its first task where others can move something and not the main thread alone says which is next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from wse.isa import BRANCHES, FIFO_KINDS, MAX_DIMS, RECEIVES, SENDS, VECTOR_OPS, Col, Done, Kind, Op, Operand, Type
from wse.program import CodeClass, Program, class_rows
from wse.proof.counts import can_start

MOST_ROWS, MOST_ROWS_OF_CLASS = 100_000, 10_000
"""Instructions followed for all classes of a program together, and for one; what is behind them is left `FREE`."""

MAX_LANES = 64  # of a core: colors, then FIFOs in SRAM
FIFO_LANE = 32
END, FREE = -1, -2
"""In place of the thread of a script's last step: the core has ended, or may do anything."""


class Step(IntEnum):
    """Columns of a script. A lane is a color, or `FIFO_LANE` plus the index of a FIFO in SRAM; -1 for none."""

    ROW = 0  # of `Program.code`
    THREAD = 1
    NUM = 2  # elements, at least one
    LANE_A = 3
    PER_A = 4  # elements for each wavelet (element of a FIFO) taken
    LANE_B = 5
    PER_B = 6
    LANE_D = 7
    PER_D = 8  # likewise sent (pushed)


@dataclass(frozen=True)
class Script:
    """What one class of cores does. Lanes that several threads use are shared: which of them takes or sends first, time decides."""

    steps: np.ndarray  # int64 (num_steps, len(Step)), the last one END or FREE
    shared_in: int  # mask of lanes
    shared_out: int

    @property
    def ends(self) -> bool:
        """Whether the script is all that the core does."""
        return bool(self.steps[-1, Step.THREAD] == END)


def write_scripts(program: Program) -> list[Script]:
    """The script of each class."""
    left, scripts = MOST_ROWS, []
    for cls in program.classes:
        follow = _Follow(program, cls, min(left, MOST_ROWS_OF_CLASS))
        steps = list(follow.steps())
        left -= follow.num_rows
        used = {"in": [0] * MAX_LANES, "out": [0] * MAX_LANES}
        for step in steps[:-1]:
            for column, way in ((Step.LANE_A, "in"), (Step.LANE_B, "in"), (Step.LANE_D, "out")):
                if step[column] >= 0:
                    used[way][step[column]] |= 1 << step[Step.THREAD]
        shared = {way: sum(1 << lane for lane, threads in enumerate(masks) if threads & threads - 1) for way, masks in used.items()}
        scripts.append(Script(np.array(steps, np.int64), shared["in"], shared["out"]))
    return scripts


class _Follow:
    """One walk through the code of a class; `most_rows`: instructions that may be followed, `num_rows`: that were."""

    def __init__(self, program: Program, cls: CodeClass, most_rows: int):
        self.code, self.cls, self.most_rows, self.num_rows = program.code, cls, most_rows, 0
        rows = program.code[class_rows(program.code, cls.task_entry)]
        others = program.code[class_rows(program.code, cls.task_entry[1:])]
        kinds = others[:, [operand + Operand.KIND for operand in (Col.D, Col.A, Col.B)]]
        moves = np.isin(kinds, list(RECEIVES | SENDS | FIFO_KINDS)).any() or cls.bindings
        fifos = any(task >= 0 for fifo in cls.fifos for task in (fifo.on_push, fifo.on_pop))
        by_microthreads = ((rows[:, Col.THREAD] > 0) & (rows[:, Col.DONE] != Done.NOTHING)).any()
        # whether the main thread alone says which task is next
        self.ordered = not (cls.bindings or program.sends_controls or fifos or by_microthreads)
        self.ends = self.ordered or not (moves or can_start(program, cls, 0))
        late = rows[(rows[:, Col.THREAD] > 0) & (rows[:, Col.D + Operand.KIND] == Kind.REG)]
        self.late = set(late[:, Col.D + Operand.BASE].tolist())  # what microthreads write, some time
        self.late |= {register + 1 for register in self.late}
        self.known: dict[int, int] = {}
        self.active, self.blocked = cls.active_tasks, cls.blocked_tasks

    def steps(self) -> Iterator[list[int]]:
        """The script's rows."""
        free = [-1, FREE, 0, -1, 1, -1, 1, -1, 1]
        at = self._next_task()
        if at < 0 or len(self.cls.fifos) > MAX_LANES - FIFO_LANE:
            yield free
            return
        while self.num_rows < self.most_rows:
            self.num_rows += 1
            row = self.code[at].tolist()
            op = row[Col.OP]
            if op == Op.END:
                last, at = at, self._next_task() if self.ordered else -1
                if at < 0:
                    yield [last, END, *free[2:]] if self.ends else free
                    return
                continue
            if op in VECTOR_OPS:
                num = self._elements(row)
                step = self._step(at, row, num)
                if step is not None and num is None:
                    break
                if step is not None and num:
                    yield step
                elif row[Col.THREAD]:  # moves nothing, but waits for its microthread
                    yield [at, row[Col.THREAD], 1, *free[3:]]
                self._compute(row, num)
                self._change_tasks(row[Col.DONE] == Done.ACTIVATE, False, row[Col.DONE] == Done.UNBLOCK, row[Col.TASK])
                at += 1
                continue
            self._change_tasks(op == Op.ACTIVATE, op == Op.BLOCK, op == Op.UNBLOCK, row[Col.TASK])
            goes = self._goes(row)
            if goes is None:
                break
            at = row[Col.TARGET] if goes else at + 1
        yield free

    def _next_task(self) -> int:
        """The first row of the task that runs next, -1 if none does."""
        runnable = self.active & ~self.blocked
        task = (runnable & -runnable).bit_length() - 1
        self.active &= ~(1 << task) if task >= 0 else -1
        return self.cls.task_entry[task] if task >= 0 else -1

    def _change_tasks(self, activate: bool, block: bool, unblock: bool, task: int) -> None:
        """What an instruction does to a task."""
        self.active |= int(activate) << task
        self.blocked = self.blocked & ~(int(unblock) << task) | int(block) << task

    def _elements(self, row: list[int]) -> int | None:
        """How many elements an operation handles, None where a register decides whose value is not known."""
        num = 1
        for axis in range(MAX_DIMS):
            register = row[Col.EXTENT_REG + axis]
            extent = row[Col.EXTENT + axis] if register < 0 else self.known.get(register)
            if extent is None:
                return None
            num *= max(0, extent)
        return num

    def _step(self, at: int, row: list[int], num: int | None) -> list[int] | None:
        """The operation as a step, None if it has to do with memory and registers alone."""
        register = row[Col.EXTENT_REG + MAX_DIMS - 1]
        inner = row[Col.EXTENT + MAX_DIMS - 1] if register < 0 else self.known.get(register, 1)
        step = [at, row[Col.THREAD], num or 0]
        for operand in (Col.A, Col.B, Col.D):
            kind, base = row[operand + Operand.KIND], row[operand + Operand.BASE]
            packed = 2 if row[operand + Operand.TYPE] == Type.F16 else 1
            if kind in FIFO_KINDS:
                step += [FIFO_LANE + base, 1]
            elif kind in RECEIVES or kind in SENDS:
                step += [base, packed * inner if kind == Kind.FABRIC_HELD else packed]
            else:
                step += [-1, 1]
        return step if max(step[Step.LANE_A], step[Step.LANE_B], step[Step.LANE_D]) >= 0 else None

    def _value(self, row: list[int], operand: int) -> int | None:
        """The i32 that a source holds, if it is known."""
        kind, base = row[operand + Operand.KIND], row[operand + Operand.BASE]
        if kind == Kind.IMM:
            return _signed(base)
        return self.known.get(base) if kind == Kind.REG else None

    def _compute(self, row: list[int], num: int | None) -> None:
        """Keep track of what the operation writes to registers."""
        op, register = row[Col.OP], row[Col.D + Operand.BASE]
        if row[Col.D + Operand.KIND] != Kind.REG or num == 0:
            return
        a, b = self._value(row, Col.A), self._value(row, Col.B)
        self.known.pop(register, None)
        if op == Op.ARGMAX:
            self.known.pop(register + 1, None)
        if num != 1 or register in self.late or row[Col.TYPE] not in (Type.I32, Type.F32):
            return
        if op == Op.MOV and a is not None:
            self.known[register] = a
        elif op in _COMPUTED and row[Col.TYPE] == Type.I32 and a is not None and b is not None:
            self.known[register] = _signed(_COMPUTED[op](a, b))

    def _goes(self, row: list[int]) -> bool | None:
        """Whether a control instruction or branch goes to its target, None if that is not known."""
        op = row[Col.OP]
        if op not in BRANCHES:
            return op == Op.JUMP
        a, b = self._value(row, Col.A), self._value(row, Col.B)
        if a is None or b is None or row[Col.TYPE] != Type.I32:
            return None
        return bool(_COMPARED[op](a, b))


_COMPUTED: dict[int, Callable[[int, int], int]] = {Op.ADD: int.__add__, Op.SUB: int.__sub__, Op.MUL: int.__mul__, Op.MAX: max, Op.MIN: min}
_COMPARED: dict[int, Callable[[int, int], bool]] = {Op.BLT: int.__lt__, Op.BGE: int.__ge__, Op.BEQ: int.__eq__, Op.BNE: int.__ne__}


def _signed(value: int) -> int:
    """The low 32 bits as an i32."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)
