"""Plans random small programs: the parts that every one has; `features` adds the rest, `programs` is what tests call.

A plan is a machine, nets, and a list of statements, each of which appends code on one PE (or on a rectangle of PEs); a
transfer is a statement at its source and one at each destination.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np

from wse.builder import Pes, ProgramBuilder
from wse.isa import BRANCHES, OPPOSITE, PORT_STEP, Done, Op, Port, Type
from wse.operands import Reg, View, contiguous
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


class Planner:
    """Draws a case; the parts are drawn in the order of the methods."""

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
        self.fed: dict[str, list[int]] = {net.input_name: [] for net in self.nets if net.input_name}
        self.expected: dict[str, int] = {name: 0 for net in self.nets for name in net.output_names}
        self.statements: list[Statement] = []
        self._prepare()
        for _ in range(self.random.randint(1, self.random.choice([4, 12, 30]))):
            self.random.choice(self._kinds())()
        if self._chance(0.05):
            self._endless_loop()
        self.runs = self._runs()

    def case(self, dropped: Collection[int]) -> Case:
        kept = [i for i in range(len(self.statements)) if i not in dropped]
        builder = ProgramBuilder(self.spec, self.width, self.height)
        for net in self.nets:
            for (x, y), (rx, tx) in net.tree.items():
                self._route(builder, net, (x, y))
                for port in tx - {Port.RAMP}:
                    if self._beyond((x, y), port) is None:
                        builder.output(f"out{net.color}_{x}_{y}_{port.name}", x, y, net.color, port)
                if net.source is None and net.input_name == f"in{net.color}_{x}_{y}":
                    builder.input(net.input_name, x, y, net.color, rx)
        self._more_routes(builder)
        data = np.random.default_rng(self.seed)
        for pe in self.cores:
            self._declare(builder, Rect(*pe, 1, 1), data)
        for i in kept:
            statement = self.statements[i]
            statement.emit(builder.pes(statement.rect, statement.task))
        return Case(self.seed, builder.link(), self.runs, kept)

    # --- what features change --------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Before the first statement."""

    def _kinds(self) -> list[Callable[[], None]]:
        """The statements to draw from."""
        return [self._transfer, self._transfer, self._compute, self._compute, self._control]

    def _route(self, builder: ProgramBuilder, net: Net, pe: PE) -> None:
        builder.route(Rect(*pe, 1, 1), net.color, *net.tree[pe])

    def _more_routes(self, builder: ProgramBuilder) -> None:
        """Routes that are not nets."""

    def _float_type(self, op: Op) -> Type:
        """In which floating-point type to do `op`."""
        return Type.F32

    def _pack(self) -> bool:
        """Whether the floats of a transfer travel two in a wavelet, as f16."""
        return False

    def _received_by_code(self, pe: PE, net: Net) -> bool:
        """Whether instructions of `pe` receive from `net`."""
        return True

    def _main_thread(self) -> dict[str, Any]:
        """Options of an operation on the main thread."""
        return {}

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
            slow = self.random.choice(
                ["hop_cycles", "ramp_in_cycles", "ramp_out_cycles", "special_cycles", "branch_taken_cycles"]
            )
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

    # --- statements -------------------------------------------------------------------------------------------

    def _say(self, pe: PE | Rect, emit: Callable[[Pes], None], task: int = 0) -> None:
        rect = pe if isinstance(pe, Rect) else Rect(*pe, 1, 1)
        self.statements.append(Statement(rect, task, emit))

    def _place(self, pe: PE | Rect, vector: Callable[[Pes, dict[str, Any]], None], microthread: float = 0.3) -> None:
        """Say a vector operation on the main thread, on a microthread, or in a task that gets activated around here."""
        if self.spec.num_microthreads and self._chance(microthread):
            how: dict[str, Any] = {"thread": self.random.randint(1, self.spec.num_microthreads)}
            if self.num_tasks and self._chance(0.4):
                how["on_done"] = (self.random.choice([Done.ACTIVATE, Done.UNBLOCK]), self.random.randint(1, self.num_tasks))
            self._say(pe, lambda pes: vector(pes, how))
        elif self.num_tasks and self._chance(0.15):
            task = self.random.randint(1, self.num_tasks)
            self._say(pe, lambda pes: vector(pes, {}), task)
            if self._chance(0.9):
                self._say(pe, lambda pes: pes.activate(task))
        else:
            options = self._main_thread()
            self._say(pe, lambda pes: vector(pes, options))

    def _transfer(self) -> None:
        """As many wavelets of one or two nets from their sources to all their sinks, which may send them on."""
        if not self.nets:
            return
        n, type = self.random.choice([0, 1, 2, 3, 3, 5, 8, 20]), self.random.choice([Type.F32, Type.F32, Type.I32])
        sources = self.random.sample(self.nets, min(len(self.nets), self.random.randint(1, 2)))
        packed = type is Type.F32 and self._pack()
        moved: list[Net] = []
        for net in sources:
            if net.source is None:
                self._feed(net, n, type, packed)
            else:
                self._source(net.source, net, n, type, packed)
        while sources:
            arriving: dict[PE, list[Net]] = {}
            for net in sources:
                moved.append(net)
                for name in net.output_names:
                    self.expected[name] += (n + 1) // 2 if packed else n
                for pe in net.sinks:
                    if self._received_by_code(pe, net):
                        arriving.setdefault(pe, []).append(net)
            sources = []
            for pe, nets in arriving.items():
                onward = [net for net in self.nets if net.source == pe and net not in moved and net not in sources]
                target = self.random.choice(onward) if onward and self._chance(0.5) else None
                if target is not None:
                    sources.append(target)
                self._sink(pe, nets, target, n, type, packed)

    def _feed(self, net: Net, n: int, type: Type, packed: bool) -> None:
        if type is Type.I32:
            values = np.array([self.random.randint(-9, 9) for _ in range(n)], np.int32)
        elif packed:
            values = np.array([self.random.gauss(0, 2) for _ in range(n + n % 2)], np.float16)
        else:
            values = np.array([self.random.gauss(0, 2) for _ in range(n)], np.float32)
        self.fed[net.input_name] += values.view(np.uint32).tolist()

    def _source(self, pe: PE, net: Net, n: int, type: Type, packed: bool) -> None:
        """Send n elements."""
        array = self._view("i" if type is Type.I32 else self.random.choice("ffh"), (n,))
        kind = self.random.choice(["copy", "scalar", "special", "register", "dynamic", "loop"])
        send = net.color
        other: Any = self.random.randint(1, 5) if type is Type.I32 else self.random.choice([1.5, SUMS[0]])
        works_in = type if type is Type.I32 else self._float_type(Op.MOV)

        def vector(pes: Pes, how: dict[str, Any]) -> None:
            how = {**how, "type": works_in}
            out = pes.send(send, packed=packed)
            if kind == "scalar":
                pes.add(out, array, other, **how)
            elif kind == "special" and type is Type.F32:
                pes.silu(out, array, **how)
            elif kind == "register":
                pes.mov(out, INT if type is Type.I32 else SUMS[1], shape=n, **how)
            elif kind == "dynamic":
                pes.mov(EXTENT, n)
                pes.mov(out, replace(array, shape=(EXTENT,)), shape=EXTENT, **how)
            elif kind == "loop" and n and not packed:
                with pes.loop(n, COUNTER):
                    pes.mov(out, array[0:1].shifted(COUNTER) if array.strides == (1,) else array[0:1], **how)
            else:
                pes.mov(out, array, **how)

        self._place(pe, vector, microthread=0.9 if pe in net.sinks else 0.3)

    def _sink(self, pe: PE, nets: list[Net], target: Net | None, n: int, type: Type, packed: bool) -> None:
        """Receive n elements of each net into memory or a register, or send them on to `target`."""
        if self._chance(0.02):
            n += self.random.choice([-1, 1])  # too few or too many
        if self._chance(0.02) or n < 0:
            return
        while nets:
            first, *nets = nets
            second = nets.pop() if nets and self._chance(0.7) else None
            self._receive(pe, first, second, target, n, type, packed)
            target = None

    def _receive(self, pe: PE, first: Net, second: Net | None, target: Net | None, n: int, type: Type, packed: bool) -> None:
        is_float = type is Type.F32
        name = self.random.choice("ffh") if is_float else "i"
        y, a = self._view(name, (n,)), self._view("f" if is_float else "i", (n,))
        inner, held_first = self.random.randint(0, 4), self._chance(0.3)
        row, matrix = self._view("f", (inner,)), self._view(self.random.choice("fh"), (n, inner))
        total = self.random.choice(SUMS) if is_float else INT
        op = self.random.choice([Op.ADD, Op.SUB, Op.MUL, Op.MAX, Op.MIN, Op.DIV if is_float else Op.ADD])
        kind = self.random.choice(["copy", "combine", "fmac", "held", "reduce", "loop", "dot"])
        works_in = self._float_type(Op.FMAC if kind in ("fmac", "held", "dot") and target is second is None else op) if is_float else type

        def vector(pes: Pes, how: dict[str, Any]) -> None:
            how = {**how, "type": works_in}
            received = pes.recv(first.color, packed=packed)
            other = pes.recv(second.color, packed=packed) if second else a
            if target is not None:
                pes.vector(op, pes.send(target.color, packed=packed), received, other, shape=n, **how)
            elif second is not None:
                pes.vector(op, y, received, other, **how)
            elif kind == "combine":
                pes.vector(op, y, a, received, **how)
            elif kind == "fmac" and is_float:
                pes.fmac(y, a, received, **how)
            elif kind == "held" and is_float:
                held = pes.recv(first.color, held=True, packed=packed)
                pes.vector(
                    Op.FMAC, row, *((held, matrix) if held_first else (matrix, held)), shape=(n, inner), mapped=True, **how
                )
            elif kind == "reduce":
                pes.add(total, total, received, shape=n, **how)
            elif kind == "dot" and is_float:
                pes.fmac(total, a, received, **how)
            elif kind == "loop" and n and not packed:
                with pes.loop(n, COUNTER):
                    pes.mov(y[0:1], received, **how)
            else:
                pes.mov(y, received, **how)

        self._place(pe, vector)

    def _compute(self) -> None:
        """A vector operation in SRAM and registers, on one PE or on all PEs of a rectangle."""
        pe: PE | Rect = self.random.choice(self.cores)
        if len(self.cores) == self.width * self.height and self._chance(0.4):
            x, y = self.random.randrange(self.width), self.random.randrange(self.height)
            pe = Rect(x, y, self.random.randint(1, self.width - x), self.random.randint(1, self.height - y))
        kind = self.random.choice(["float", "float", "int", "dynamic", "argmax", "itof", "convert"])
        shape = self.random.choice(SHAPES)
        mapped = len(shape) > 1 and self._chance(0.5)
        if kind == "float":
            self._compute_float(pe, shape, mapped)
        elif kind == "int":
            self._compute_int(pe, shape, mapped)
        elif kind == "dynamic":
            self._compute_dynamic(pe)
        elif kind == "argmax":
            a = self._view(self.random.choice("fh"), shape)
            base: Any = self.random.choice([0, 7, INT])
            self._place(pe, lambda pes, how: pes.argmax(BEST, a, base, mapped=mapped, **how))
        elif kind == "itof":
            d, a = self._view(self.random.choice("fh"), shape), self._view("i", shape)
            self._place(pe, lambda pes, how: pes.itof(d, a, mapped=mapped, **how))
        else:
            d, a = (self._view(name, shape) for name in self.random.choice(["fh", "hf", "hh", "ff"]))
            self._place(pe, lambda pes, how: pes.mov(d, a, mapped=mapped, **how))

    def _compute_float(self, pe: PE | Rect, shape: tuple[int, ...], mapped: bool) -> None:
        two = [Op.ADD, Op.SUB, Op.MUL, Op.MAX, Op.MIN, Op.FMAC, Op.FMAC, Op.DIV]
        op = self.random.choice([*two, Op.EXP, Op.RSQRT, Op.SILU, Op.SIN, Op.COS])
        d: Any = self._view(self.random.choice("fh"), shape) if self._chance(0.7) else self.random.choice(SUMS)
        scalars: list[Any] = [0.5, -3.0, *SUMS]
        a, b = (self._view(self.random.choice("ffh"), shape) if self._chance(0.8) else self.random.choice(scalars) for _ in "ab")
        source = b if op in two else None
        type = self._float_type(op)
        self._place(pe, lambda pes, how: pes.vector(op, d, a, source, shape=shape, mapped=mapped, type=type, **how))

    def _compute_int(self, pe: PE | Rect, shape: tuple[int, ...], mapped: bool) -> None:
        op = self.random.choice([Op.MOV, Op.ADD, Op.SUB, Op.MUL, Op.MAX, Op.MIN, Op.DIV, Op.MOD])
        d: Any = self._view("i", shape) if self._chance(0.8) else INT
        a: Any = self._view("i", shape) if self._chance(0.8) else INT
        b: Any = self.random.choice([-7, -1, 3, 2**31 - 1])
        if op not in (Op.DIV, Op.MOD) or self._chance(0.15):
            b = self._view("i", shape) if self._chance(0.8) else INT
        source = None if op is Op.MOV else b
        self._place(pe, lambda pes, how: pes.vector(op, d, a, source, shape=shape, mapped=mapped, type=Type.I32, **how))

    def _compute_dynamic(self, pe: PE | Rect) -> None:
        """Extent and offset from registers; once in a while the offset leads out of the SRAM."""
        extent, offset = self.random.randint(-1, 6), self.random.randint(0, 8)
        if self._chance(0.03):
            offset = self.random.choice([-100_000, 100_000, 2**31 - 1])
        rows = self.random.choice([None, 2, 3])
        shape: tuple[Any, ...] = (EXTENT,) if rows is None else (rows, EXTENT)
        strides = (1,) if rows is None else (self.random.choice([0, 6]), 1)
        name = self.random.choice("fh")
        d = View(name, Type.F16 if name == "h" else Type.F32, shape, strides).shifted(OFFSET)
        a = View("f", Type.F32, shape, strides, offset=2)
        mapped = rows is not None and self._chance(0.5)

        def vector(pes: Pes, how: dict[str, Any]) -> None:
            pes.mov(EXTENT, extent)
            pes.mov(OFFSET, offset)
            pes.fmac(d, a, SUMS[0], shape=shape, mapped=mapped, **how)

        self._place(pe, vector)

    def _control(self) -> None:
        """A task's state, a forward branch, a register, or a loop, on one PE."""
        pe = self.random.choice(self.cores)
        kind = self.random.choice(["task", "task", "branch", "loop", "register"])
        task = self.random.randint(1, max(1, self.num_tasks))
        if kind == "task" and self.num_tasks:
            change = self.random.choice([Pes.activate, Pes.activate, Pes.block, Pes.unblock])
            self._say(pe, lambda pes: change(pes, task), task=self.random.choice([0, 0, task]))
        elif kind == "branch":
            op, type = self.random.choice(sorted(BRANCHES)), self.random.choice([Type.F32, Type.I32])
            a: Any = INT if type is Type.I32 else self.random.choice([SUMS[0], 0.0])
            b: Any = self.random.choice([0, INT]) if type is Type.I32 else self.random.choice([*SUMS, 0.25])

            def branch(pes: Pes) -> None:
                after = pes.program.label("after")
                pes.branch(op, a, b, after, type=type)
                pes.mul(SUMS[1], SUMS[0], 0.5, shape=3)
                if op is Op.BNE:
                    pes.jump(after)
                pes.place(after)

            self._say(pe, branch)
        elif kind == "loop":
            count, n = self.random.randint(1, 4), self.random.randint(0, 5)
            view = self._view("f", (n,))

            def loop(pes: Pes, how: dict[str, Any]) -> None:
                with pes.loop(count, COUNTER):
                    pes.add(view, view, 1.0, **how)

            self._place(pe, loop)
        else:
            value, total = self.random.gauss(0, 2), self.random.choice(SUMS)
            self._place(pe, lambda pes, how: pes.mov(total, value, **how))

    def _endless_loop(self) -> None:
        """A PE that passes on what it receives for ever, or only counts."""
        pe = self.random.choice(self.cores)
        received = [net.color for net in self.nets if pe in net.sinks and self._received_by_code(pe, net)]
        sent = [net.color for net in self.nets if net.source == pe]

        def loop(pes: Pes) -> None:
            start = pes.program.label("start")
            pes.place(start)
            if received:
                pes.add(pes.send(sent[0]) if sent else SUMS[0], pes.recv(received[0]), 1.0)
            pes.add(INT, INT, 1)
            pes.jump(start)

        self._say(pe, loop)

    def _view(self, name: str, shape: tuple[int, ...]) -> View:
        """A view of one of the arrays: mostly contiguous, else with any strides that stay inside."""
        type = {"f": Type.F32, "h": Type.F16, "i": Type.I32}[name]
        size = INTS if name == "i" else FLOATS
        strides = contiguous(shape)
        if self._chance(0.3):
            strides = tuple(self.random.choice([0, 1, 1, 2, 3, -1]) for _ in shape)
        reach = [(extent - 1) * stride for extent, stride in zip(shape, strides, strict=True)]
        low, high = sum(min(0, step) for step in reach), sum(max(0, step) for step in reach)
        if high - low >= size:
            return self._view(name, shape)
        return View(name, type, shape, strides, offset=self.random.randint(-low, size - 1 - high))

    # --- runs -------------------------------------------------------------------------------------------------

    def _runs(self) -> list[Run]:
        """One run, or several: cut short, fed in between, waiting for outputs, and run on after the end."""
        runs: list[Run] = []
        left = {name: np.array(values, np.uint32) for name, values in self.fed.items()}
        while self._chance(0.4):
            feeds = []
            for name, values in left.items():
                n = self.random.randint(0, len(values))
                feeds.append((name, values[:n]))
                left[name] = values[n:]
            limit = self.random.randint(0, 60) if self._chance(0.8) else LONGEST_RUN
            runs.append(Run(feeds, self._awaited() if self._chance(0.3) else None, limit))
        runs.append(Run(list(left.items()), self._awaited() if self._chance(0.6) else None, LONGEST_RUN))
        if self._chance(0.3):
            runs.append(Run([], None, LONGEST_RUN))
        return runs

    def _awaited(self) -> dict[str, int] | None:
        awaited = {name: self.random.choice([n, n, n // 2, n + 1]) for name, n in self.expected.items() if self._chance(0.7)}
        return {name: n for name, n in awaited.items() if n} or None
