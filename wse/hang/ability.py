"""What the code of a core can still do from where it stands: send, take, push, pop, unblock, rewrite a route."""

from __future__ import annotations

import numpy as np

from wse.engine.state import Core, Phase, State, Thread
from wse.isa import BRANCHES, RECEIVES, SENDS, Col, Done, Kind, Op, Operand
from wse.program import CodeClass, Program, class_rows

SEND, TAKE, PUSH, POP, UNBLOCK, TURN, START = range(7)  # fields of a mask; bits are colors, FIFOs, tasks, colors, tasks
_WIDTH = 64


def bit(field: int, number: int) -> int:
    """The mask of one ability."""
    return 1 << _WIDTH * field + number


def field(mask: int, of: int) -> int:
    """The bits of one field of a mask."""
    return mask >> _WIDTH * of & (1 << _WIDTH) - 1


def own_abilities(program: Program) -> list[int]:
    """What each instruction does, one mask per row of code."""
    masks = []
    for row in program.code.tolist():
        mask = 0
        for operand in (Col.D, Col.A, Col.B):
            kind, base = row[operand + Operand.KIND], row[operand + Operand.BASE]
            if kind in SENDS or kind in RECEIVES:
                mask |= bit(SEND if kind in SENDS else TAKE, base)
            elif kind in (Kind.FIFO_PUSH, Kind.FIFO_POP):
                mask |= bit(PUSH if kind == Kind.FIFO_PUSH else POP, base)
        if row[Col.OP] == Op.ACTIVATE or row[Col.DONE] == Done.ACTIVATE:
            mask |= bit(START, row[Col.TASK])
        if row[Col.OP] == Op.UNBLOCK or row[Col.DONE] == Done.UNBLOCK:
            mask |= bit(UNBLOCK, row[Col.TASK]) | bit(START, row[Col.TASK])
        if row[Col.OP] == Op.REROUTE:
            mask |= bit(TURN, row[Col.EXTENT])
        masks.append(mask)
    return masks


def reachable_abilities(program: Program, own: list[int]) -> list[int]:
    """What can be done from each row on, within its task."""
    ops, targets = program.code[:, Col.OP].tolist(), program.code[:, Col.TARGET].tolist()
    reach, changed = list(own), True
    while changed:
        changed = False
        for i in range(len(ops) - 1, -1, -1):
            mask = reach[i]
            if ops[i] not in (Op.JUMP, Op.END):
                mask |= reach[i + 1]
            if ops[i] == Op.JUMP or ops[i] in BRANCHES:
                mask |= reach[targets[i]]
            if mask != reach[i]:
                reach[i], changed = mask, True
    return reach


class Abilities:
    """`of_core`: int64 (num_cores,), which entry of `masks` says what that core can still do; `of_class`: what its class could ever do."""

    def __init__(self, program: Program, state: State):
        own = own_abilities(program)
        controls = int((program.code[:, Col.D + Operand.KIND] == Kind.CONTROL_OUT).any())
        self.of_class = [self._union(program, cls, own) for cls in program.classes]
        reach = reachable_abilities(program, own)
        core, thread = state.core, state.thread
        self.of_core = np.zeros(len(core), np.int64)
        self.masks: list[int] = []
        for number, cls in enumerate(program.classes):
            members = np.flatnonzero(program.core_class == number)
            rows = core[members, Core.THREAD][:, None] + np.arange(cls.num_threads)
            live = np.where(thread[rows, Thread.PHASE] != Phase.FREE, thread[rows, Thread.ROW], -1)
            pc = np.where(core[members, Core.RUNNING] == 1, core[members, Core.PC], -1)
            listens = core[members, Core.LISTENS] * controls
            stands = np.column_stack([pc, core[members, Core.ACTIVE], listens, live])
            alike, inverse = np.unique(stands, axis=0, return_inverse=True)
            self.of_core[members] = len(self.masks) + inverse.reshape(-1)
            for pc_, active, listening, *rows_ in alike.tolist():
                self.masks.append(_ability(cls, own, reach, pc_, active, listening, [row for row in rows_ if row >= 0]))

    @staticmethod
    def _union(program: Program, cls: CodeClass, own: list[int]) -> int:
        mask = 0
        for i in class_rows(program.code, cls.task_entry).tolist():
            mask |= own[i]
        for binding in cls.bindings:
            mask |= bit(TAKE, binding.color)
        return mask

    def can(self, of: int, cores: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """bool: whether each of `cores` can still do ability `of` with the color, FIFO or task of the same index."""
        fields = np.array([field(mask, of) for mask in self.masks], np.uint64)
        return fields[self.of_core[cores]] >> numbers.astype(np.uint64) & np.uint64(1) == 1


def _ability(cls: CodeClass, own: list[int], reach: list[int], pc: int, active: int, listens: int, live: list[int]) -> int:
    mask = reach[pc] if pc >= 0 else 0
    for row in live:  # what is under way goes on; what it then does to tasks counts
        mask |= own[row] & ((1 << _WIDTH) - 1 << _WIDTH * START | (1 << _WIDTH) - 1 << _WIDTH * UNBLOCK)
        for of in (PUSH, POP):
            mask |= _started_by(cls, field(own[row], of), of)
    mask |= active << _WIDTH * START
    for binding in cls.bindings:
        mask |= bit(TAKE, binding.color) | bit(START, binding.task)
    if listens:  # any of its tasks may be named by a control wavelet
        for task, entry in enumerate(cls.task_entry):
            mask |= bit(START, task) if entry >= 0 and task else 0
    while True:
        before = mask
        for task, entry in enumerate(cls.task_entry):
            if entry >= 0 and mask & bit(START, task):
                mask |= reach[entry]
        for of in (PUSH, POP):
            mask |= _started_by(cls, field(mask, of), of)
        if mask == before:
            return mask


def _started_by(cls: CodeClass, fifos: int, of: int) -> int:
    """The tasks that pushes onto (pops from) these FIFOs start."""
    mask = 0
    for number, fifo in enumerate(cls.fifos):
        task = fifo.on_push if of == PUSH else fifo.on_pop
        if fifos >> number & 1 and task >= 0:
            mask |= bit(START, task)
    return mask
