"""The reference machine: design section 2 and the rules of `wse.isa`, cycle by cycle, in plain Python.

It is the definition that the engine is tested against, state for state, and shares no code with
it. One cycle = everything decided from the state at the end of the cycle before, then committed.
Routers and queues are in `fabric`, cores in `core`, arithmetic in `arithmetic`.

What a run returns, where it could be read in two ways:

* Of several ends in one cycle the first of FAULT, DONE, DEADLOCK, LIMIT counts.
* Outputs are received in the cycle they arrive; what has arrived by `cycles` is in the snapshot, later
  arrivals are not, and count for the next run.
* A fault in cycle t ends the run with `cycles` = t + 1; of several in one cycle the one on the lowest PE is kept.
"""

from __future__ import annotations

import copy

import numpy as np

from reference.core import Core
from reference.fabric import Channel, Fifo, HostIn, Router
from wse.isa import PORT_STEP, Fault, OpClass, Port, Stall, Status
from wse.program import Program


class ReferenceMachine:
    """A wafer loaded with a program. `fault` is (what, pe, cycle), or None."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.cycles = 0
        self.fault: tuple[Fault, int, int] | None = None
        self._sram = program.sram.copy()
        self._build_fabric()
        self._build_cores()

        spec = program.spec
        # No latency is longer than this, so silence for longer than this is silence for ever.
        self._longest_wait = 2 + sum(
            (spec.hop_cycles, spec.ramp_in_cycles, spec.ramp_out_cycles, spec.issue_cycles, spec.map_step_cycles)
        )
        self._quiet_from = 0  # the cycle after the last one in which anything was done
        self._stall_then = [core.stall.copy() for core in self._cores]

    def feed(self, name: str, values: np.ndarray) -> None:
        """Append 32-bit values to what host_in port `name` has to send, from the current cycle on."""
        self._host_in[name].pending += [int(bits) for bits in np.ascontiguousarray(values).ravel().view(np.uint32)]

    def run(self, await_outputs: dict[str, int] | None = None, max_cycles: int | None = None) -> Status:
        """Execute cycles until the awaited outputs have arrived, or, with none awaited, every program has ended."""
        targets = {name: self._num_received(name) + n for name, n in (await_outputs or {}).items()}
        self._mark_quiet()
        while True:
            for core in self._cores:
                core.pick(self.cycles)
            if self.fault:
                return Status.FAULT
            at_limit = max_cycles is not None and self.cycles >= max_cycles
            if self._is_over(targets) and (targets or not at_limit):  # the limit comes first, but awaited outputs have arrived
                return Status.DONE
            if self.cycles - self._quiet_from > self._longest_wait:
                self._rewind_to_quiet()
                return Status.DEADLOCK
            if at_limit:
                if self._quiet_from < self.cycles and self._is_dead(targets):
                    self._rewind_to_quiet()
                    return Status.DEADLOCK
                return Status.LIMIT
            self._step(self.cycles)

    def snapshot(self) -> dict[str, np.ndarray]:
        """The state that the engine must agree on."""
        cores, num_cores = self._cores, len(self._cores)
        state = {
            "sram": self._sram.copy(),
            "registers": np.array([core.registers for core in cores], np.int32).reshape(
                num_cores, self.program.spec.num_registers
            ),
            "busy": np.array([core.busy for core in cores], np.int64).reshape(num_cores, len(OpClass)),
            "stall": np.array([core.stall for core in cores], np.int64).reshape(num_cores, len(Stall)),
            "instructions": np.array([core.instructions for core in cores], np.int64),
            "flops": np.array([core.flops for core in cores], np.int64),
            "sram_read_bytes": np.array([core.sram_read_bytes for core in cores], np.int64),
            "sram_write_bytes": np.array([core.sram_write_bytes for core in cores], np.int64),
            "sent": np.array([channel.sent for channel in self._channels], np.int64),
            "wait": np.array([channel.wait for channel in self._channels], np.int64),
        }
        for name, queue in self._host_out.items():
            received = queue.items[: self._num_received(name)]
            state[f"out:{name}"] = np.array([bits for _, bits in received], np.uint32)
            state[f"out_cycle:{name}"] = np.array([cycle for cycle, _ in received], np.int64)
        return state

    # loading

    def _build_fabric(self) -> None:
        program, spec = self.program, self.program.spec
        columns = (program.channel_pe, program.channel_color, program.channel_rx, program.channel_tx)
        routes = [tuple(int(value) for value in route) for route in zip(*columns, strict=True)]
        channels: dict[tuple[int, int], Channel] = {}
        for pe, color, rx, _ in routes:
            if rx == Port.RAMP:
                fifo = Fifo(1 + spec.ramp_out_cycles, spec.ramp_fifo_room)
            else:
                fifo = Fifo(spec.hop_cycles, spec.link_fifo_room)
            channels[pe, color] = Channel(color, fifo)
        self._channels = list(channels.values())
        self._routers = [Router([channels[key] for key in channels if key[0] == pe]) for pe in sorted({pe for pe, _ in channels})]
        self._ramps = {(pe, color): channels[pe, color].fifo for pe, color, rx, _ in routes if rx == Port.RAMP}

        # where tx ports lead
        self._host_in = {host.name: HostIn(channels[host.pe, host.color].fifo) for host in program.host_in}
        self._host_out = {host.name: Fifo(spec.hop_cycles) for host in program.host_out}
        self._core_queues: dict[tuple[int, int], Fifo] = {}
        off_mesh = {(host.pe, host.color, host.port): self._host_out[host.name] for host in program.host_out}
        for pe, color, _, mask in routes:
            for port in Port:
                if not mask >> port & 1:
                    continue
                if port is Port.RAMP:
                    queue = self._core_queues[pe, color] = Fifo(spec.ramp_in_cycles, spec.core_queue_room)
                elif (neighbour := self._neighbour(pe, port)) is None:
                    queue = off_mesh[pe, color, port]
                else:
                    queue = channels[neighbour, color].fifo
                channels[pe, color].tx[port] = queue
        fifos = [channel.fifo for channel in self._channels]
        self._queues = [*fifos, *self._core_queues.values(), *self._host_out.values()]

    def _neighbour(self, pe: int, port: Port) -> int | None:
        """The PE that a port leads to; None off the mesh."""
        x, y = self.program.xy(pe)
        x, y = x + PORT_STEP[port][0], y + PORT_STEP[port][1]
        inside = 0 <= x < self.program.width and 0 <= y < self.program.height
        return y * self.program.width + x if inside else None

    def _build_cores(self) -> None:
        program = self.program
        self._cores: list[Core] = []
        for pe, index, start in zip(program.core_pe, program.core_class, program.core_sram, strict=True):
            code_class = program.classes[index]
            sram = self._sram[start : start + code_class.sram_words]
            inputs = {color: queue for (at, color), queue in self._core_queues.items() if at == pe}
            outputs = {color: queue for (at, color), queue in self._ramps.items() if at == pe}
            self._cores.append(Core(program.spec, program.code, code_class, sram, inputs, outputs))

    # one cycle

    def _step(self, t: int) -> None:
        parts: list[HostIn | Router | Core] = [*self._host_in.values(), *self._routers, *self._cores]
        worked = [part.step(t) for part in parts]
        for core in self._cores:
            core.complete(t)
        for queue in self._queues:
            queue.commit()
        for pe, core in zip(self.program.core_pe, self._cores, strict=True):
            if core.fault and not self.fault:
                self.fault = (core.fault, int(pe), t)
        self.cycles = t + 1
        if any(worked):
            self._mark_quiet()

    # ends of a run

    def _num_received(self, name: str) -> int:
        return self._host_out[name].num_ready(self.cycles)

    def _is_over(self, targets: dict[str, int]) -> bool:
        if targets:
            return all(self._num_received(name) >= target for name, target in targets.items())
        return all(core.ended() for core in self._cores)

    def _is_dead(self, targets: dict[str, int]) -> bool:
        """Whether nothing will ever be done from here on, found by trying on a copy."""
        future = copy.deepcopy(self, {id(self.program): self.program})
        future._mark_quiet()
        while future.cycles - self.cycles <= self._longest_wait:
            for core in future._cores:
                core.pick(future.cycles)
            if future._is_over(targets):
                return False
            future._step(future.cycles)
            if future._quiet_from == future.cycles:
                return False
        return True

    def _mark_quiet(self) -> None:
        self._quiet_from = self.cycles
        self._stall_then = [core.stall.copy() for core in self._cores]

    def _rewind_to_quiet(self) -> None:
        """Take back the cycles in which nothing was done; only time has passed in them."""
        self.cycles = self._quiet_from
        for core, stall in zip(self._cores, self._stall_then, strict=True):
            core.stall = stall.copy()
