"""One core: tasks on the main thread, microthreads, and the datapath they share.

In each cycle a core picks a task, issues at most one instruction, then starts at most one beat. Instruction and beat see the
registers and SRAM of the end of the cycle before, but for the register of a data task picked in this cycle, because only beats
and picks change them; task states change in ways that only the next pick sees.

Where the specification could be read in two ways, this is what happens:

* BLOCK takes effect when it issues, a completion at the end of its cycle: of the two in one cycle, the completion stays.
* An instruction that gives work to a microthread is under way on the main thread for `issue_cycles` ("overhead");
  a main thread that waits for a busy microthread has no instruction under way.
* A beat that feeds FABRIC_OUT is one element, like one fed by FABRIC_IN.
* A task without code is over as soon as it has started.
* A faulting instruction counts as issued; a faulting element writes nothing.
"""

from __future__ import annotations

import numpy as np

from reference.arithmetic import bits_of_i32, compare, compute, i32, narrow, widen
from reference.fabric import Channel, Fifo
from reference.operation import Circular, Operation, Source
from wse.isa import (
    BRANCHES,
    FLOPS,
    RECEIVES,
    SENDS,
    TASK_MASK,
    TASK_SHIFT,
    VECTOR_OPS,
    Col,
    Done,
    Fault,
    Kind,
    Op,
    OpClass,
    Port,
    Stall,
    Type,
)
from wse.program import Binding, CodeClass
from wse.spec import MachineSpec


class Core:
    """The processor of one PE. By color: `inputs` are its ramp's queues, `channels` what its router does."""

    def __init__(
        self,
        spec: MachineSpec,
        code: np.ndarray,
        code_class: CodeClass,
        sram: np.ndarray,
        inputs: dict[int, Fifo],
        channels: dict[int, Channel],
        row_busy: np.ndarray,
        row_elapsed: np.ndarray,
        row_issued: np.ndarray,
    ) -> None:
        self.spec, self.code = spec, code
        self.task_entry = dict(enumerate(code_class.task_entry))
        self.sram, self.inputs, self.channels = sram, inputs, channels
        self.row_busy, self.row_elapsed, self.row_issued = row_busy, row_elapsed, row_issued
        self.prints: list[tuple[int, int, int]] = []  # cycle, row, 32 bits
        self.registers = np.zeros(spec.num_registers, np.int32)
        self.fault, self.fault_color = Fault.NONE, -1

        # tasks, main thread
        self.active = {task for task in range(spec.num_tasks) if code_class.active_tasks >> task & 1}
        self.blocked = {task for task in range(spec.num_tasks) if code_class.blocked_tasks >> task & 1}
        self.bindings = code_class.bindings
        self.fifos = [Circular(fifo) for fifo in code_class.fifos]
        self.starting: list[Binding] = []  # data tasks picked in this cycle
        self.row = -1  # of the next instruction; -1: no task
        self.next_issue = 0
        self.named: list[int] = []  # by control wavelets taken, and FIFOs used, in this cycle

        # threads, datapath
        self.threads: list[Operation | None] = [None] * (spec.num_microthreads + 1)
        self.last_thread = spec.num_microthreads
        self.beat_ends = -1  # last cycle of the last beat
        self.beat: Operation | None = None  # whose beat that was
        self.beat_conflicts = False  # its last cycle is one that it waited for a bank

        # counters
        self.busy = np.zeros(len(OpClass), np.int64)
        self.stall = np.zeros(len(Stall), np.int64)
        self.instructions = self.flops = self.sram_read_bytes = self.sram_write_bytes = 0

    def ended(self) -> bool:
        """Whether nothing is left to do, after `pick`."""
        waiting = any(self.inputs[binding.color].items for binding in self.bindings)
        return self.row < 0 and not self.active and not any(self.threads) and not waiting

    def pick(self, t: int) -> None:
        """End the task whose code is at its end and pick the next; neither takes time, nor does a print, but the start of one may."""
        while t >= self.next_issue and not self.threads[0] and (self.row < 0 or self.code[self.row, Col.OP] in (Op.END, Op.PRINT)):
            if self.row >= 0 and self.code[self.row, Col.OP] == Op.PRINT:
                self.prints.append((t, self.row, self._shown(self.code[self.row], t)))
                self.row += 1
                continue
            self.row = -1
            bound = {binding.task: binding for binding in self.bindings if self._has_arrived(binding, t)}
            runnable = (self.active | set(bound)) - self.blocked
            if not runnable:
                return
            task = min(runnable)
            if task in bound:
                self.starting.append(bound[task])
            self.active.discard(task)
            self.row = self.task_entry.get(task, -1)
            self.next_issue = t + (self.spec.task_start_cycles if t > 0 else 0)

    def _shown(self, row: np.ndarray, t: int) -> int:
        """The 32 bits that a PRINT shows; tasks that start in t have their wavelets in their registers already."""
        source = Source(row, Col.A, self.registers)
        payloads = {binding.register: self.inputs[binding.color].head(t).bits for binding in self.starting}
        if source.kind is Kind.REG and source.base in payloads:
            return payloads[source.base]
        if source.kind is not Kind.MEM:
            return self._read_scalar(source)
        address = source.address((0,) * 4)
        return int(self.sram.view(np.uint16)[address // 2] if source.type is Type.F16 else self.sram.view(np.uint32)[address // 4])

    def _has_arrived(self, binding: Binding, t: int) -> bool:
        """Whether a data task could take a wavelet in t; a queue gives one a cycle."""
        return binding not in self.starting and self.inputs[binding.color].has_data(t)

    def step(self, t: int) -> bool:
        """One cycle; whether anything was done in it."""
        started = bool(self.starting)
        for binding in self.starting:
            self.registers[binding.register] = i32(self.inputs[binding.color].take())
        self.starting = []
        absorbed = self._take_controls(t)
        issued = self._issue(t)
        if t > self.beat_ends:
            self._start_beat(t)
        working = t <= self.beat_ends
        if working and self.beat:
            if self.beat_conflicts and t == self.beat_ends:
                self.stall[Stall.BANK] += 1
            else:
                self.busy[self.beat.op_class] += 1
            self.row_busy[self.beat.row] += 1
        else:
            self._count_stall(t)
        starting = any(operation and t < operation.ready for operation in self.threads)
        return started or absorbed or issued or working or starting or t < self.next_issue

    def complete(self, t: int) -> None:
        """End of the cycle: end the operations whose last cycle was t, activate what control wavelets and FIFOs named."""
        self.active.update(self.named)
        self.named = []
        for thread, operation in enumerate(self.threads):
            if operation and operation.ends == t:
                self.threads[thread] = None
                self.row_elapsed[operation.row] += t - operation.issued + 1
                if operation.done is Done.ACTIVATE:
                    self.active.add(operation.task)
                elif operation.done is Done.UNBLOCK:
                    self.blocked.discard(operation.task)

    def _take_controls(self, t: int) -> bool:
        """Take the control wavelets that are next in their queues; whether there were any."""
        found = [(color, head.bits) for color, queue in self.inputs.items() if (head := queue.head(t)) and head.control]
        for color, bits in found:
            self.inputs[color].take()
            task = (bits >> TASK_SHIFT & TASK_MASK) - 1
            bound = any(binding.task == task for binding in self.bindings)
            if task >= 0 and (bound or self.task_entry.get(task, -1) < 0):
                self.fault, self.fault_color = Fault.BAD_TASK, color
            elif task >= 0:
                self.named.append(task)
        return bool(found)

    # the main thread issues

    def _issue(self, t: int) -> bool:
        if self.row < 0 or t < self.next_issue or self.threads[0]:
            return False
        number, row = self.row, self.code[self.row]
        op = Op(row[Col.OP])
        if op in VECTOR_OPS:
            if self.threads[row[Col.THREAD]]:
                return False
            self._issue_vector(row, t)
        else:
            self._issue_control(row, t)
        self.instructions += 1
        self.row_issued[number] += 1
        return True

    def _issue_vector(self, row: np.ndarray, t: int) -> None:
        thread = row[Col.THREAD]
        operation = Operation(self.code, self.row, t, self.registers, self.fifos, self.spec)
        self.threads[thread] = operation
        self.row += 1
        if thread > 0:
            self.next_issue = t + self.spec.issue_cycles
        operands = (operation.d, operation.a, operation.b)
        if operation.size and not all(operand.in_bounds(operation.extents, self.sram.nbytes) for operand in operands):
            self.fault = Fault.OUT_OF_BOUNDS

    def _issue_control(self, row: np.ndarray, t: int) -> None:
        op, task, number = Op(row[Col.OP]), int(row[Col.TASK]), self.row
        self.row += 1
        cycles = self.spec.control_cycles
        if op is Op.ACTIVATE:
            self.active.add(task)
        elif op is Op.BLOCK:
            self.blocked.add(task)
        elif op is Op.UNBLOCK:
            self.blocked.discard(task)
        elif op is Op.REROUTE:
            color, position, rx, tx = (int(value) for value in row[Col.EXTENT : Col.EXTENT + 4])
            self.channels[color].rewrites.append((position, Port(rx), {port for port in Port if tx >> port & 1}))
        else:
            assert op is Op.JUMP or op in BRANCHES
            a, b = (self._read_scalar(Source(row, first, self.registers)) for first in (Col.A, Col.B))
            cycles = self.spec.branch_not_taken_cycles
            if compare(op, Type(row[Col.TYPE]), a, b):
                self.row, cycles = int(row[Col.TARGET]), self.spec.branch_taken_cycles
        self.next_issue = t + cycles
        self.row_busy[number] += cycles
        self.row_elapsed[number] += cycles

    # the datapath executes

    def _start_beat(self, t: int) -> None:
        """Start a beat of the next ready thread after the last one that executed."""
        for i in range(1, len(self.threads) + 1):
            thread = (self.last_thread + i) % len(self.threads)
            operation = self.threads[thread]
            if operation and t >= operation.ready and self._has_data(operation, t) and self._has_room(operation):
                if self.fault is Fault.NONE:
                    self._execute(operation, t)
                self.last_thread = thread
                self.beat = operation
                self.beat_conflicts = bool(self.spec.bank_conflicts) and operation.conflicts()
                self.beat_ends = t + operation.beat_cycles - 1 + self.beat_conflicts
                operation.started(self.beat_ends)
                return

    def _has_data(self, operation: Operation, t: int) -> bool:
        popped = all(source.fifo.count >= len(operation.beat()) for source in (operation.a, operation.b) if source.fifo)
        return popped and all(self.inputs[color].has_data(t) for color in operation.wanted())

    def _has_room(self, operation: Operation) -> bool:
        fifo = operation.d.fifo
        if fifo:
            return fifo.count + len(operation.beat()) <= fifo.declared.capacity
        sends = any(operation.sends(element) for element in operation.beat())
        return not sends or self._output(operation.d).has_room()

    def _execute(self, operation: Operation, t: int) -> None:
        """The elements of a beat, one after another; a sent element has executed in the beat's last cycle."""
        op, type, d = operation.op, operation.type, operation.d
        for source in (operation.a, operation.b):
            if source.fifo and source.fifo.declared.on_pop >= 0:
                self.named.append(source.fifo.declared.on_pop)
        if d.fifo and d.fifo.declared.on_push >= 0:
            self.named.append(d.fifo.declared.on_push)
        for element in operation.beat():
            index = operation.index(element)
            a, b = (self._receive(operation, source, element, index) for source in (operation.a, operation.b))
            self.flops += FLOPS[op] if type is not Type.I32 else 0
            if op is Op.ARGMAX:
                self._argmax(d.base, a, b, element)
                continue
            held = self._read(d, index) if op is Op.FMAC else 0
            try:
                result = compute(op, type, a, b, held)
            except ZeroDivisionError:
                self.fault = Fault.DIVIDE_BY_ZERO
                return
            if d.kind in SENDS:
                self._send(operation, element, t + operation.beat_cycles - 1, result)
            elif d.kind is Kind.REG:
                self.registers[d.base] = i32(result)
            else:
                self._write_memory(d, index, result)

    def _argmax(self, register: int, a: int, b: int, element: int) -> None:
        if compare(Op.BLT, Type.F32, int(self.registers.view(np.uint32)[register]), a):
            self.registers[register] = i32(a)
            self.registers[register + 1] = i32(bits_of_i32(i32(b) + element))

    # operands

    def _output(self, d: Source) -> Fifo:
        return self.channels[d.base].fifos[Port.RAMP]

    def _send(self, operation: Operation, element: int, t: int, bits: int) -> None:
        """Send an element that executes in t, or keep it until its other half is there."""
        d = operation.d
        if not d.packed:
            self._output(d).put(t, bits, d.kind is Kind.CONTROL_OUT)
        elif operation.sends(element):
            self._output(d).put(t, narrow(bits) if element % 2 == 0 else d.half | narrow(bits) << 16)
        else:
            d.half = narrow(bits)

    def _receive(self, operation: Operation, source: Source, element: int, index: tuple[int, ...]) -> int:
        """A source of an element, from the fabric or anywhere else."""
        if source.kind not in RECEIVES:
            return self._read(source, index)
        if operation.takes(source, element):
            bits = self.inputs[source.base].take()
            source.held = widen(bits & 0xFFFF) if source.packed else bits
            source.half = widen(bits >> 16)
        elif source.packed and (source.kind is Kind.FABRIC_IN or element % operation.step_size == 0):
            source.held = source.half
        return source.held

    def _read(self, source: Source, index: tuple[int, ...]) -> int:
        if source.fifo:
            address = source.fifo.pop()
        elif source.kind is Kind.MEM:
            address = source.address(index)
        else:
            return self._read_scalar(source)
        self.sram_read_bytes += source.bytes
        if source.type is Type.F16:
            return widen(int(self.sram.view(np.uint16)[address // 2]))
        return int(self.sram.view(np.uint32)[address // 4])

    def _read_scalar(self, source: Source) -> int:
        if source.kind is Kind.REG:
            return int(self.registers.view(np.uint32)[source.base])
        return source.base if source.kind is Kind.IMM else 0

    def _write_memory(self, d: Source, index: tuple[int, ...], bits: int) -> None:
        self.sram_write_bytes += d.bytes
        address = d.fifo.push() if d.fifo else d.address(index)
        if d.type is Type.F16:
            self.sram.view(np.uint16)[address // 2] = narrow(bits)
        else:
            self.sram.view(np.uint32)[address // 4] = bits

    # counters

    def _count_stall(self, t: int) -> None:
        """No beat is under way in t: charge the lowest-numbered thread with an instruction under way."""
        operation = next(filter(None, self.threads), None)
        if t < self.next_issue or (operation and t < operation.ready):
            self.stall[Stall.OVERHEAD] += 1
        elif operation:
            self.stall[Stall.DATA if not self._has_data(operation, t) else Stall.ROOM] += 1
