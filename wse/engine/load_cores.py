"""Loading the cores: their threads and tasks, data tasks, FIFOs in SRAM, and the queues of their colors."""

from __future__ import annotations

import numpy as np

from wse.engine.state import Bind, Core, Fifo, Marks, SramFifo, Thread
from wse.engine.tables import table
from wse.isa import TYPE_BYTES, Col, Kind, Operand
from wse.program import Program


def load_cores(program: Program) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Core, thread and task entry tables."""
    num = len(program.core_pe)
    which = program.core_class
    core = table(num, max(Core) + 1)
    core[:, Core.STREAM] = -1
    threads = np.array([cls.num_threads for cls in program.classes], np.int64)
    tasks = np.cumsum([0] + [len(cls.task_entry) for cls in program.classes])
    core[:, Core.NUM_THREADS] = threads[which] if num else 0
    core[:, Core.THREAD] = np.cumsum(core[:, Core.NUM_THREADS]) - core[:, Core.NUM_THREADS]
    core[:, Core.SRAM] = program.core_sram
    core[:, Core.MARKS] = Marks.PRINTS
    per_class = np.array(
        [(4 * cls.sram_words, cls.active_tasks, cls.blocked_tasks, len(cls.task_entry)) for cls in program.classes], np.int64
    ).reshape(-1, 4)
    if num:
        core[:, [Core.SRAM_BYTES, Core.ACTIVE, Core.BLOCKED, Core.NUM_TASKS]] = per_class[which]
        core[:, Core.TASKS] = tasks[which]
    core[:, Core.LAST_THREAD], core[:, Core.PE] = core[:, Core.NUM_THREADS] - 1, program.core_pe
    entries = [entry for cls in program.classes for entry in cls.task_entry]
    return core, table(int(core[:, Core.NUM_THREADS].sum()), max(Thread) + 1), np.array(entries, np.int64)


def load_tasks(program: Program, core: np.ndarray, queue_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tables of data tasks and of FIFOs in SRAM; notes in `core` which cores wavelets can wake."""
    bindings = np.array([len(cls.bindings) for cls in program.classes], np.int64)
    fifos = np.array([len(cls.fifos) for cls in program.classes], np.int64)
    which = program.core_class
    if len(which):
        core[:, Core.NUM_BINDINGS] = bindings[which]
        core[:, Core.BINDING] = np.cumsum(bindings[which]) - bindings[which]
        core[:, Core.SRAM_FIFO] = np.cumsum(fifos[which]) - fifos[which]
    binding, sram_fifo = table(int(core[:, Core.NUM_BINDINGS].sum()), len(Bind)), table(int(fifos[which].sum()), len(SramFifo))
    for index, cls in enumerate(program.classes):
        members = np.flatnonzero(which == index)
        for i, bound in enumerate(cls.bindings):
            rows = core[members, Core.BINDING] + i
            binding[rows, Bind.TASK], binding[rows, Bind.REGISTER] = bound.task, bound.register
            binding[rows, Bind.FIFO] = queue_of[members, 0, bound.color]
        for i, declared in enumerate(cls.fifos):
            rows, size = core[members, Core.SRAM_FIFO] + i, TYPE_BYTES[declared.type]
            sram_fifo[rows, SramFifo.BASE] = core[members, Core.SRAM] * (4 // size) + declared.address // size
            sram_fifo[rows, SramFifo.TYPE], sram_fifo[rows, SramFifo.CAPACITY] = declared.type, declared.capacity
            sram_fifo[rows, SramFifo.ON_PUSH], sram_fifo[rows, SramFifo.ON_POP] = declared.on_push, declared.on_pop
    controls = program.code[program.code[:, Col.D + Operand.KIND] == Kind.CONTROL_OUT, Col.D + Operand.BASE]
    hears = np.zeros(len(core), bool)
    for color in np.unique(controls):
        if color < queue_of.shape[2]:
            hears |= queue_of[:, 0, color] >= 0
    core[:, Core.LISTENS] = hears | (core[:, Core.NUM_BINDINGS] > 0)
    return binding, sram_fifo


def queue_table(program: Program, fifo: np.ndarray, num_router_fifos: int, first_core: int) -> np.ndarray:
    """(core, 0, color): the queue into a core; (core, 1, color): the FIFO its wavelets leave by; -1 without."""
    color = program.channel_color
    queue_of = np.full((len(program.core_pe), 2, int(color.max(initial=0)) + 1), -1, np.int32)
    queues = np.arange(num_router_fifos, len(fifo))
    queue_of[fifo[queues, Fifo.CONSUMER] - first_core, 0, color[fifo[queues, Fifo.PRODUCER]]] = queues
    out = np.flatnonzero(fifo[:num_router_fifos, Fifo.PRODUCER] >= first_core)
    queue_of[fifo[out, Fifo.PRODUCER] - first_core, 1, color[fifo[out, Fifo.CONSUMER]]] = out
    return queue_of
