"""Plans random small programs: the parts that every one has; `features` adds the rest, `programs` is what tests call.

A plan is a machine, nets, and a list of statements, each of which appends code on one PE (or on a rectangle of PEs); a
transfer is a statement at its source and one at each destination.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np

from reference.ground import (
    BEST,
    COUNTER,
    EXTENT,
    FLOATS,
    INT,
    INTS,
    LONGEST_RUN,
    OFFSET,
    PE,
    SHAPES,
    SUMS,
    Case,
    Ground,
    Net,
    Run,
    Statement,
)
from wse.builder import Pes, ProgramBuilder
from wse.isa import BRANCHES, Done, Op, Port, Type
from wse.operands import View, contiguous
from wse.program import Rect


class Planner(Ground):
    """Draws a case; the parts are drawn in the order of the methods."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
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
                pes.vector(Op.FMAC, row, *((held, matrix) if held_first else (matrix, held)), shape=(n, inner), mapped=True, **how)
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
