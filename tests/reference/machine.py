"""The reference machine: design section 2 and the rules of `wse.isa`, cycle by cycle, in plain Python.

It is the definition that the engine is tested against, state for state, and shares no code with
it. One cycle = everything decided from the state at the end of the cycle before, then committed.
Routers and queues are in `fabric`, cores in `core`, arithmetic in `arithmetic`.

What a run returns, where it could be read in two ways:

* Of several ends in one cycle the first of FAULT, DONE, DEADLOCK, LIMIT counts.
* Outputs are received in the cycle they arrive; what has arrived by `cycles` is in the snapshot, later
  arrivals are not, and count for the next run.
* A fault in cycle t ends the run with `cycles` = t + 1; of several in one cycle the one on the lowest PE is kept, there a
  router's (of the lowest color) before the core's.
"""

from __future__ import annotations

import copy

import numpy as np

from reference.core import Core
from reference.fabric import Channel, Fifo, HostIn, Router
from wse.isa import OPPOSITE, PORT_STEP, Fault, OpClass, Pop, Port, Stall, Status, Switch
from wse.program import Program


def ports_of(mask: int) -> set[Port]:
    """The ports in a mask."""
    return {port for port in Port if mask >> port & 1}


class ReferenceMachine:
    """A wafer loaded with a program. `fault` is (what, pe, cycle), or None; `fault_color` its color, or -1."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.cycles = 0
        self.fault: tuple[Fault, int, int] | None = None
        self.fault_color = -1
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
                return self._end_in_silence(targets)
            if at_limit:
                if self._quiet_from < self.cycles and self._is_silent(targets):
                    return self._end_in_silence(targets)
                return Status.LIMIT
            self._step(self.cycles)

    def prints(self) -> list[tuple[int, int, int, int]]:
        """(cycle, PE, row, 32 bits) of every PRINT so far, by cycle and PE."""
        cores = zip(self.program.core_pe, self._cores, strict=True)
        found = [(t, int(pe), row, bits) for pe, core in cores for t, row, bits in core.prints]
        return sorted(found, key=lambda one: one[:2])

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
            "row_busy": self._row_busy.copy(),
            "row_elapsed": self._row_elapsed.copy(),
            "row_issued": self._row_issued.copy(),
            "sent": np.array([channel.sent for channel in self._channels], np.int64),
            "wait": np.array([channel.wait for channel in self._channels], np.int64),
            "fifo_count": np.array([fifo.count for core in self._cores for fifo in core.fifos], np.int64),
            "switch_position": np.array([channel.position for channel in self._switched], np.int64),
            "switch_sent": np.array([list(channel.port_sent.values()) for channel in self._switched], np.int64).reshape(-1, len(Port)),
        }
        for name, queue in self._host_out.items():
            received = queue.items[: self._num_received(name)]
            state[f"out:{name}"] = np.array([wavelet.bits for wavelet in received], np.uint32)
            state[f"out_cycle:{name}"] = np.array([wavelet.ready for wavelet in received], np.int64)
        return state

    # loading

    def _build_fabric(self) -> None:
        program, spec = self.program, self.program.spec
        switches = {int(row[Switch.CHANNEL]): row for row in program.switches}
        channels: dict[tuple[int, int], Channel] = {}
        for i, (pe, color) in enumerate(zip(program.channel_pe, program.channel_color, strict=True)):
            channels[int(pe), int(color)] = self._load_channel(i, switches.get(i))
        self._channels = list(channels.values())
        self._switched = [self._channels[i] for i in sorted(switches)]
        self._routers = {pe: Router([channels[key] for key in channels if key[0] == pe]) for pe in sorted({pe for pe, _ in channels})}

        # where tx ports lead
        self._host_in = {host.name: HostIn(channels[host.pe, host.color].fifos[host.port]) for host in program.host_in}
        self._host_out = {host.name: Fifo(spec.hop_cycles) for host in program.host_out}
        self._core_queues: dict[tuple[int, int], Fifo] = {}
        off_mesh = {(host.pe, host.color, host.port): self._host_out[host.name] for host in program.host_out}
        exits = program.channel_ports()[1]
        for ((pe, color), channel), mask in zip(channels.items(), exits, strict=True):
            for port in Port:
                if not mask >> port & 1:
                    continue
                if port is Port.RAMP:
                    queue = self._core_queues[pe, color] = Fifo(spec.ramp_in_cycles, spec.core_queue_room)
                elif (neighbour := self._neighbour(pe, port)) is None:
                    queue = off_mesh[pe, color, port]
                else:
                    queue = channels[neighbour, color].fifos[OPPOSITE[port]]
                channel.queues[port] = queue
        fifos = [fifo for channel in self._channels for fifo in channel.fifos.values()]
        self._queues = [*fifos, *self._core_queues.values(), *self._host_out.values()]

    def _load_channel(self, i: int, switch: np.ndarray | None) -> Channel:
        """Channel i of the program; `switch` is its row of `Program.switches`, if it has one."""
        program, spec = self.program, self.program.spec
        color, rx, tx = (int(column[i]) for column in (program.channel_color, program.channel_rx, program.channel_tx))
        if switch is None:
            channel, fifos = Channel(color, [(Port(rx), ports_of(tx))], True, Pop.NEVER), 1 << rx
        else:
            num = int(switch[Switch.NUM])
            rxs, txs = switch[Switch.RX : Switch.RX + num], switch[Switch.TX : Switch.TX + num]
            positions = [(Port(rx), ports_of(int(tx))) for rx, tx in zip(rxs, txs, strict=True)]
            channel, fifos = Channel(color, positions, bool(switch[Switch.RING]), Pop(switch[Switch.POP])), int(switch[Switch.FIFOS])
        for port in ports_of(fifos):
            if port is Port.RAMP:
                channel.fifos[port] = Fifo(1 + spec.ramp_out_cycles, spec.ramp_fifo_room)
            else:
                channel.fifos[port] = Fifo(spec.hop_cycles, spec.link_fifo_room)
        return channel

    def _neighbour(self, pe: int, port: Port) -> int | None:
        """The PE that a port leads to; None off the mesh."""
        x, y = self.program.xy(pe)
        x, y = x + PORT_STEP[port][0], y + PORT_STEP[port][1]
        inside = 0 <= x < self.program.width and 0 <= y < self.program.height
        return y * self.program.width + x if inside else None

    def _build_cores(self) -> None:
        program = self.program
        self._cores: list[Core] = []
        self._row_busy, self._row_elapsed, self._row_issued = rows = [np.zeros(len(program.code), np.int64) for _ in range(3)]
        for pe, index, start in zip(program.core_pe, program.core_class, program.core_sram, strict=True):
            code_class = program.classes[index]
            sram = self._sram[start : start + code_class.sram_words]
            inputs = {color: queue for (at, color), queue in self._core_queues.items() if at == pe}
            channels = {channel.color: channel for channel in self._routers[pe].channels} if pe in self._routers else {}
            self._cores.append(
                Core(program.spec, program.code, code_class, sram, inputs, channels, *rows)
            )

    # one cycle

    def _step(self, t: int) -> None:
        parts: list[HostIn | Router | Core] = [*self._host_in.values(), *self._routers.values(), *self._cores]
        worked = [part.step(t) for part in parts]
        for core in self._cores:
            core.complete(t)
        for queue in self._queues:
            queue.commit()
        for channel in self._channels:
            channel.commit()
        self._note_fault(t)
        self.cycles = t + 1
        if any(worked):
            self._mark_quiet()

    def _note_fault(self, t: int) -> None:
        """Keep the first fault: on the lowest PE, its router's (lowest color first) before its core's."""
        faults = [
            (int(pe), rank, part.fault, channel_color)
            for rank, pes, parts in ((0, self.program.channel_pe, self._channels), (1, self.program.core_pe, self._cores))
            for pe, part in zip(pes, parts, strict=True)
            if part.fault
            for channel_color in [part.color if rank == 0 else part.fault_color]
        ]
        if faults and not self.fault:
            pe, _, what, self.fault_color = min(faults)
            self.fault = (what, pe, t)

    # ends of a run

    def _num_received(self, name: str) -> int:
        return self._host_out[name].num_ready(self.cycles)

    def _is_over(self, targets: dict[str, int]) -> bool:
        if targets:
            return all(self._num_received(name) >= target for name, target in targets.items())
        return not self.program.reactive and all(core.ended() for core in self._cores)

    def _end_in_silence(self, targets: dict[str, int]) -> Status:
        """Nothing will ever be done from here on: a deadlock, or the end of a reactive program."""
        self._rewind_to_quiet()
        ended = self.program.reactive and not targets and all(core.ended() for core in self._cores)
        return Status.DONE if ended else Status.DEADLOCK

    def _is_silent(self, targets: dict[str, int]) -> bool:
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
