"""Plans random programs that use, beyond what every program has, any of `FEATURES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from reference.ground import FLOATS, INT, PE, SUMS, Net
from reference.planner import Planner
from wse.builder import Pes, ProgramBuilder
from wse.isa import OPPOSITE, PORT_STEP, Command, Done, Op, Pop, Port, Type, control_bits
from wse.operands import Fifo, Reg, View
from wse.program import Rect
from wse.spec import MachineSpec

FEATURES = ("banks", "f16", "fifos", "prints", "routes", "switches", "tasks")

PAYLOAD, CONTROL = Reg(8, Type.I32), Reg(9, Type.I32)
NUM_REGISTERS = 10
FIRST_DATA_TASK = 4  # local tasks are below, and one is above
LAST_TASK = 12

Position = tuple[Port, list[Port]]


@dataclass
class Gather:
    """A line of PEs that send to its first, one after another, on one color of its own with switches in a ring."""

    color: int
    line: list[PE]
    inward: Port
    outward: Port


class FeaturePlanner(Planner):
    """A plan with some of `features`, mostly most of them."""

    def __init__(self, seed: int, features: frozenset[str]) -> None:
        assert features <= set(FEATURES), features
        chosen = Random(seed + 1)
        self.features = frozenset(name for name in sorted(features) if chosen.random() < 0.7) or features
        super().__init__(seed)

    def _spec(self) -> MachineSpec:
        spec = super()._spec().replace("drawn", num_registers=NUM_REGISTERS)
        if "banks" in self.features and self._chance(0.6):
            spec = spec.replace("drawn", bank_conflicts=1)
        if "f16" in self.features and self._chance(0.8):
            names = [f"{kind}_{what}" for kind in ("move_f16", "add_f16", "fma_f16", "fma_mixed") for what in ("lanes", "cycles")]
            spec = spec.replace("drawn", **{name: self.random.randint(1, 4 if name.endswith("lanes") else 2) for name in names})
        return spec

    def _prepare(self) -> None:
        self.switches: dict[tuple[int, PE], tuple[list[Position], bool, Pop]] = {}
        self.bound: dict[tuple[int, PE], tuple[int, str]] = {}  # (color, PE) -> task, what it does
        self.capacities = [self.random.choice([1, 2, 3, 5, 9]) for _ in range(2)]
        self.fifo_tasks = [self.random.choice([-1, -1, LAST_TASK]) for _ in range(4)]
        self.gathers: list[Gather] = []
        self.printing: list[int] = []  # statements that are prints
        if "switches" in self.features:
            for net in self.nets:
                for pe in net.tree:
                    if self._chance(0.3):
                        positions = [(net.tree[pe][0], sorted(net.tree[pe][1]))]
                        positions += [self._position(net, pe) for _ in range(self.random.randint(0, 3))]
                        self.switches[net.color, pe] = positions, self._chance(0.7), self.random.choice(list(Pop))
            self.gathers = [gather for color in (10, 11) if (gather := self._draw_gather(color))]
        if "tasks" in self.features:
            for net in self.nets:
                for pe in net.sinks:
                    task = FIRST_DATA_TASK + sum(at == pe for _, at in self.bound)
                    if self._chance(0.4) and task < LAST_TASK:
                        self.bound[net.color, pe] = task, self.random.choice(["sum", "store", "send", "nothing", "long"])

    # --- what the base class asks ---------------------------------------------------------------------------------

    def _kinds(self) -> list[Callable[[], None]]:
        kinds = super()._kinds()
        if "switches" in self.features:
            kinds += [self._command, self._command, self._inject, self._gather]
        if "routes" in self.features:
            kinds += [self._rewrite]
        if "tasks" in self.features:
            kinds += [self._hold]
        if "fifos" in self.features:
            kinds += [self._buffer]
        if "prints" in self.features:
            kinds += [self._print, self._print]
        return kinds

    def _route(self, builder: ProgramBuilder, net: Net, pe: PE) -> None:
        if (net.color, pe) not in self.switches:
            super()._route(builder, net, pe)
            return
        positions, ring, pop = self.switches[net.color, pe]
        builder.switch(Rect(*pe, 1, 1), net.color, positions, ring=ring, pop=pop)

    def _more_routes(self, builder: ProgramBuilder) -> None:
        for gather in self.gathers:
            root, *middle, last = gather.line
            builder.route(Rect(*root, 1, 1), gather.color, gather.outward, [Port.RAMP])
            for pe in middle:
                positions = [(Port.RAMP, [gather.inward]), (gather.outward, [gather.inward])]
                builder.switch(Rect(*pe, 1, 1), gather.color, positions, ring=True)
            builder.route(Rect(*last, 1, 1), gather.color, Port.RAMP, [gather.inward])

    def _declare(self, builder: ProgramBuilder, rect: Rect, data: np.random.Generator) -> None:
        super()._declare(builder, rect, data)
        pe = builder.pes(rect)
        push_q, pop_q, push_h, pop_h = self.fifo_tasks
        pe.fifo("q", self.capacities[0], on_push=push_q, on_pop=pop_q)
        pe.fifo("qh", self.capacities[1], Type.F16, on_push=push_h, on_pop=pop_h)
        builder.pes(rect, LAST_TASK).add(INT, INT, 100)
        for (color, at), (task, what) in self.bound.items():
            if at == (rect.x, rect.y):
                self._data_task(builder.pes(rect, task), color, what)

    def _data_task(self, pes: Pes, color: int, what: str) -> None:
        pes.bind(color, PAYLOAD)
        onward = [net.color for net in self.nets if net.source == (pes.rect.x, pes.rect.y)]
        if what == "store":
            pes.mov(self._stored, PAYLOAD, type=Type.F32)
        elif what == "send" and onward:
            pes.mov(pes.send(onward[0]), PAYLOAD, type=Type.I32)
        elif what == "long":
            pes.add(SUMS[0], SUMS[0], 1.0, shape=5)
        elif what == "nothing":
            pes.place(pes.program.label())
        else:
            pes.add(INT, INT, PAYLOAD)

    @property
    def _stored(self) -> Any:
        return self._array("f", FLOATS)[3:4]

    def _float_type(self, op: Op) -> Type:
        if "f16" not in self.features:
            return Type.F32
        return self.random.choice([Type.F32, Type.F16, Type.MIXED] if op is Op.FMAC else [Type.F32, Type.F16])

    def _pack(self) -> bool:
        return "f16" in self.features and self._chance(0.5)

    def _received_by_code(self, pe: PE, net: Net) -> bool:
        return (net.color, pe) not in self.bound

    def _main_thread(self) -> dict[str, Any]:
        if "tasks" in self.features and self.num_tasks and self._chance(0.2):
            return {"on_done": (self.random.choice([Done.ACTIVATE, Done.UNBLOCK]), self.random.randint(1, self.num_tasks))}
        return {}

    # --- statements -----------------------------------------------------------------------------------------------

    def _position(self, net: Net, pe: PE) -> Position:
        """A route position for a PE of a net that its neighbours' routes allow: fewer exits, or what its own core sends."""
        rx, tx = net.tree[pe]
        exits = sorted(tx) if self._chance(0.7) else self.random.sample(sorted(tx), self.random.randint(1, len(tx)))
        return (Port.RAMP if pe in self.cores and self._chance(0.3) else rx), exits

    def _print(self) -> None:
        """A print in any task that has code, of registers and elements of arrays, or of nothing."""
        pe = self.random.choice(self.cores)
        bound = [task for (_, at), (task, _) in self.bound.items() if at == pe]
        task = self.random.choice([0, 0, 0, *range(1, self.num_tasks + 1), *bound, LAST_TASK])
        shown: list[Any] = [*SUMS, INT, PAYLOAD, self._view("f", (2,)), self._view("h", (3,)), self._view("i", (1, 2))]
        values = self.random.sample(shown, self.random.randint(0, 3))
        self.printing.append(len(self.statements))
        self._say(pe, lambda pes: pes.print("seen", *values), task)

    def _bits(self) -> int:
        """A random control wavelet: mostly something for one switch, now and then a task, once in a while one that is not there."""
        commands = [self.random.choice(list(Command)) for _ in range(self.random.choice([0, 1, 1, 1, 2, 3]))]
        task = self.random.choice([None, None, LAST_TASK, *range(1, self.num_tasks + 1)])
        return control_bits(*commands, task=33 if self._chance(0.05) else task)

    def _command(self) -> None:
        """A control wavelet on a net; always through a register, so that nobody can prove what it will do."""
        nets = [net for net in self.nets if net.source is not None]
        if not nets:
            return
        net, bits, thread = self.random.choice(nets), self._bits(), self.random.randint(0, min(1, self.spec.num_microthreads))

        def send(pes: Pes) -> None:
            pes.mov(CONTROL, bits, type=Type.I32)
            pes.mov(pes.send(net.color, control=True), CONTROL, type=Type.I32, thread=thread)

        self._say(net.source, send)

    def _inject(self) -> None:
        """Data and a command from a PE whose switch has a position for what its core sends."""
        at = [key for key, (positions, _, _) in self.switches.items() if any(rx is Port.RAMP for rx, _ in positions)]
        if not at:
            return
        color, pe = self.random.choice(at)
        n, bits = self.random.randint(0, 3), self._bits()

        def send(pes: Pes, how: dict[str, Any]) -> None:
            pes.mov(pes.send(color), 3.0, shape=n, **how)
            pes.mov(CONTROL, bits, type=Type.I32)
            pes.mov(pes.send(color, control=True), CONTROL, type=Type.I32)

        self._place(pe, send)

    def _rewrite(self) -> None:
        """Overwrite a position of a route or switch."""
        nets = [(net, pe) for net in self.nets for pe in net.tree if pe in self.cores]
        if not nets:
            return
        net, pe = self.random.choice(nets)
        positions = self.switches.get((net.color, pe), ([None], True, Pop.NEVER))[0]
        rx, tx = self._position(net, pe)
        number = self.random.randrange(len(positions))
        self._say(pe, lambda pes: pes.reroute(net.color, rx, tx, number))

    def _draw_gather(self, color: int) -> Gather | None:
        """A line of at least two PEs that all have a core."""
        root = self.random.choice(self.cores)
        outward, step = self.random.choice(list(PORT_STEP.items()))
        line = [root]
        while len(line) < 5 and (beyond := (line[-1][0] + step[0], line[-1][1] + step[1])) in self.cores:
            line.append(beyond)
        return Gather(color, line, OPPOSITE[outward], outward) if len(line) > 1 else None

    def _gather(self) -> None:
        """Each PE sends n elements in its turn; the last then sets all switches back, and may name a task of the root."""
        if not self.gathers:
            return
        gather, n = self.random.choice(self.gathers), self.random.choice([0, 1, 2, 5])
        root, *middle, last = gather.line
        back = control_bits(*[Command.ADVANCE] * len(middle), task=self.random.choice([None, LAST_TASK]))
        view, total = self._array("f", 8)[: max(n, 1)], self._array("f", FLOATS)[20 : 20 + n]

        def send(bits: int) -> Callable[[Pes], None]:
            def code(pes: Pes) -> None:
                pes.mov(pes.send(gather.color), view, shape=n)
                pes.mov(CONTROL, bits, type=Type.I32)
                pes.mov(pes.send(gather.color, control=True), CONTROL, type=Type.I32)

            return code

        for pe in middle:
            self._say(pe, send(control_bits(Command.ADVANCE)))
        self._say(last, send(back))
        shape = (len(gather.line) - 1, n)
        self._place(root, lambda pes, how: pes.add(total, total, pes.recv(gather.color), shape=shape, **how))

    def _hold(self) -> None:
        """Block or unblock a data task."""
        if not self.bound:
            return
        (_, pe), (task, _) = self.random.choice(list(self.bound.items()))
        change = self.random.choice([Pes.block, Pes.unblock, Pes.unblock])
        self._say(pe, lambda pes: change(pes, task))

    def _buffer(self) -> None:
        """Push into a FIFO and pop out of it, or only one of the two."""
        pe, n = self.random.choice(self.cores), self.random.choice([0, 1, 2, 4, 7])
        fifo = self.random.choice([Fifo("q", Type.F32), Fifo("qh", Type.F16)])
        source, target = self._view(self.random.choice("fh"), (n,)), self._view(self.random.choice("fh"), (n,))
        op, type = self.random.choice([Op.ADD, Op.MUL]), self._float_type(Op.ADD)
        through = self.random.choice(["both", "both", "both", "push", "pop"])
        if through != "pop":
            self._place(pe, lambda pes, how: pes.mov(pes.push(fifo), source, type=type, **how), microthread=0.8)
        if through != "push":
            self._place(pe, lambda pes, how: pes.vector(op, target, pes.pop(fifo), 0.5, shape=n, type=type, **how))

    def _array(self, name: str, size: int) -> Any:
        """All of an array, or its first `size` elements, as a view."""
        return View(name, Type.F32, (size,), (1,))
