"""The ground that random programs stand on: what a plan is made of, and drawing the machine, its data and its nets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import numpy as np

from wse.builder import Pes, ProgramBuilder
from wse.isa import OPPOSITE, PORT_STEP, Port, Type
from wse.operands import Reg
from wse.program import Program, Rect
from wse.spec import MachineSpec, load_spec

FLOATS = 80  # elements of the arrays f and h
INTS = 32  # elements of the array i
LONGEST_RUN = 2500

# registers by use; the last is a pair for ARGMAX
COUNTER, EXTENT, OFFSET, INT = (Reg(number, Type.I32) for number in range(4))
SUMS = [Reg(4), Reg(5)]
BEST = Reg(6)
NUM_REGISTERS = 8

SHAPES = [(5,), (1,), (7,), (0,), (30,), (2, 3), (3, 4), (2, 0), (3, 1), (4, 7), (2, 1, 3), (2, 1, 2, 2), (2, 3, 2, 2)]

PE = tuple[int, int]


@dataclass
class Net:
    """A tree of routes in one color. `source` is a PE's core or None for the host; `sinks` are cores."""

    color: int
    source: PE | None
    tree: dict[PE, tuple[Port, set[Port]]]  # rx and tx ports
    sinks: list[PE] = field(default_factory=list)
    input_name: str = ""
    output_names: list[str] = field(default_factory=list)


@dataclass
class Statement:
    """Code for one task of the PEs of a rectangle."""

    rect: Rect
    task: int
    emit: Callable[[Pes], None]


@dataclass
class Run:
    """What is fed before a run, and how it ends: after at most `num_cycles` more cycles."""

    feeds: list[tuple[str, np.ndarray]]
    await_outputs: dict[str, int] | None
    num_cycles: int


@dataclass
class Case:
    """A program and the runs to make with it. `statements`: indices of those that can be dropped."""

    seed: int
    program: Program
    runs: list[Run]
    statements: list[int]


class Ground:
    """Draws a machine, which of its PEs have code, and the nets between them, in this order."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.spec = self._spec()
        self.width, self.height = self.random.choice([(1, 1), (2, 1), (3, 1), (1, 4), (2, 2), (3, 2), (3, 3), (4, 2), (5, 5)])
        self.cores = [(x, y) for y in range(self.height) for x in range(self.width)]
        if self._chance(0.3):
            self.cores = [pe for pe in self.cores if self._chance(0.8)] or self.cores
        self.num_tasks = self.random.randrange(4)
        self.special_values = self._chance(0.1)
        self.routed: dict[int, set[PE]] = {color: set() for color in range(self.random.randint(1, 5))}
        self.nets = [net for _ in range(self.random.randint(1, 8)) if (net := self._net()) is not None]

    # --- machine and data -------------------------------------------------------------------------------------

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def _spec(self) -> MachineSpec:
        spec = load_spec("wse2", num_registers=NUM_REGISTERS, num_microthreads=self.random.choice([0, 1, 2, 4]))
        if self._chance(0.25):
            return spec.replace(special_cycles=4)
        ranges = {
            "hop_cycles": (1, 3),
            "ramp_in_cycles": (1, 4),
            "ramp_out_cycles": (0, 4),
            "input_queue_depth": (1, 3),
            "output_queue_depth": (0, 2),
            "issue_cycles": (1, 3),
            "map_step_cycles": (0, 3),
            "control_cycles": (1, 3),
            "branch_taken_cycles": (1, 4),
            "branch_not_taken_cycles": (1, 3),
            "task_start_cycles": (0, 5),
            "move_lanes": (1, 4),
            "add_lanes": (1, 4),
            "fma_lanes": (1, 4),
            "move_cycles": (1, 3),
            "add_cycles": (1, 3),
            "fma_cycles": (1, 3),
            "special_cycles": (1, 5),
        }
        numbers = {key: self.random.randint(*bounds) for key, bounds in ranges.items()}
        if self._chance(0.06):  # once in a while something takes very long
            slow = self.random.choice(["hop_cycles", "ramp_in_cycles", "ramp_out_cycles", "special_cycles", "branch_taken_cycles"])
            numbers[slow] = self.random.choice([90, 1100])
        numbers["router_queue_depth"] = self.random.choice([1, 1, 2, 4])
        return spec.replace("drawn", **numbers)

    def _declare(self, builder: ProgramBuilder, rect: Rect, data: np.random.Generator) -> None:
        """The arrays of a PE, and code for each task, so that every task can be activated."""
        pe = builder.pes(rect)
        floats = data.normal(0, 2, FLOATS).astype(np.float32)
        if self.special_values:
            floats[::5] = data.choice([0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 3e38, -90, 100], len(floats[::5]))
        pe.array("f", floats[None, None])
        pe.array("h", data.normal(0, 2, (1, 1, FLOATS)), Type.F16)
        pe.array("i", data.integers(-9, 9, (1, 1, INTS)), Type.I32)
        for task in range(1, self.num_tasks + 1):
            task_pe = builder.pes(rect, task)
            task_pe.add(INT, INT, task)
            if (self.seed >> task) % 8 == 0:
                task_pe.start_blocked(task)

    # --- nets -------------------------------------------------------------------------------------------------

    def _beyond(self, pe: PE, port: Port) -> PE | None:
        x, y = pe[0] + PORT_STEP[port][0], pe[1] + PORT_STEP[port][1]
        return (x, y) if 0 <= x < self.width and 0 <= y < self.height else None

    def _net(self) -> Net | None:
        """A random tree in a random color from a core or from the host, clear of the color's other nets."""
        color = self.random.choice(list(self.routed))
        taken = self.routed[color]
        edges = [port for port in PORT_STEP if self._chance(0.5)]
        root = (self.random.randrange(self.width), self.random.randrange(self.height))
        if root in taken:
            return None
        doors = [port for port in edges if self._beyond(root, port) is None]
        from_host = bool(doors) and self._chance(0.4)
        if not from_host and root not in self.cores:
            return None
        rx = self.random.choice(doors) if from_host else Port.RAMP
        net = Net(color, None if from_host else root, {root: (rx, set())})
        if from_host:
            net.input_name = f"in{color}_{root[0]}_{root[1]}"
        self._grow(net, root, taken)
        self._finish(net)
        taken |= set(net.tree)
        return net if net.tree else None

    def _grow(self, net: Net, at: PE, taken: set[PE]) -> None:
        """Branches, mostly from the newest PE and straight on."""
        port = self.random.choice(list(PORT_STEP))
        for _ in range(self.random.randint(0, 3 + self.width * self.height // 2)):
            if self._chance(0.3):
                at = self.random.choice(list(net.tree))
            if self._chance(0.4):
                port = self.random.choice(list(PORT_STEP))
            beyond = self._beyond(at, port)
            if beyond is not None and beyond not in net.tree and beyond not in taken:
                net.tree[at][1].add(port)
                net.tree[beyond] = (OPPOSITE[port], set())
                at = beyond

    def _finish(self, net: Net) -> None:
        """Every leaf leads to its core or to the host, and some PEs in between do too; without either it is cut off."""
        for pe, (rx, tx) in reversed(list(net.tree.items())):
            doors = [port for port in PORT_STEP if port != rx and self._beyond(pe, port) is None]
            has_core = pe in self.cores
            if has_core and (not tx or self._chance(0.1 if rx is Port.RAMP else 0.4)):
                tx.add(Port.RAMP)
                net.sinks.append(pe)
            if doors and (not tx or self._chance(0.25)):
                port = self.random.choice(doors)
                tx.add(port)
                net.output_names.append(f"out{net.color}_{pe[0]}_{pe[1]}_{port.name}")
            if not tx:
                del net.tree[pe]
                if rx is not Port.RAMP and (before := self._beyond(pe, rx)) in net.tree:
                    net.tree[before][1].discard(OPPOSITE[rx])
