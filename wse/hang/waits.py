"""The wait-for graph of a machine in which nothing moves: who waits, for what, and who could end that, all cores at once.

Every thread, task, router FIFO, core queue, core, switch and host port has a node, whether it waits or not; whoever nobody waits for
and does not wait itself is dropped later. Where a wavelet is missing, its way is followed back through empty FIFOs and the current
positions of switches; where room is missing, it is followed one FIFO at a time.
"""

from __future__ import annotations

import numpy as np

from wse.engine.state import Bind, Chan, Clock, Core, Fifo, Phase, Plan, Sink, Source, SramFifo, State, Thread, Turn
from wse.follow import follow
from wse.hang.ability import POP, PUSH, SEND, TAKE, TURN, UNBLOCK, Abilities
from wse.hang.nodes import FACTS, NUMBER, Kind, Nodes
from wse.isa import Col, Operand, Port
from wse.isa import Kind as Place
from wse.program import Program


def find_waits(program: Program, state: State) -> Nodes:
    """The graph of a machine that stopped in `Status.DEADLOCK`."""
    return _Graph(program, state).build()


def _some(table: np.ndarray) -> np.ndarray:
    """`table`, or one row of zeros when it is empty: rows looked up for "none" exist then, and count for nothing."""
    return table if len(table) else np.zeros((1, table.shape[1]), table.dtype)


class _Graph:
    """The graph under construction; each `_…` method adds the edges and facts of some nodes."""

    def __init__(self, program: Program, state: State):
        self.program, self.state = program, state
        self.can = Abilities(program, state).can
        core, thread = state.core, state.thread
        self.num_routers = int(state.clock[Clock.NUM_ROUTER_FIFOS])  # FIFOs
        self.fifo, self.chan, self.switch = _some(state.fifo), _some(state.chan), _some(state.switch)
        self.count, self.room = self.fifo[:, Fifo.COUNT], self.fifo[:, Fifo.ROOM]
        self.core_of = np.repeat(np.arange(len(core)), core[:, Core.NUM_THREADS])  # of each thread
        self.live = thread[:, Thread.PHASE] != Phase.FREE
        main = core[:, Core.THREAD]
        self.holds = (core[:, Core.RUNNING] == 1) & ~self.live[main] if len(core) else np.zeros(0, bool)  # until a microthread is free
        self.blocked = self._find_blocked()
        sizes = [len(thread), len(state.fifo), len(core), len(state.switch), len(self.blocked[0]), len(state.source), len(state.sink)]
        self.at_thread, self.at_fifo, self.at_core, self.at_switch, self.at_task, self.at_in, self.at_out, num = np.cumsum([0, *sizes])
        self.facts = {name: np.full(num, -1, np.int64) for name in FACTS}
        self.edges: list[tuple[np.ndarray, np.ndarray]] = []
        self.waiter = np.zeros(num, bool)
        self.strands = self._find_stranding()
        self.origin = self._find_origins()

    def build(self) -> Nodes:
        self._queues()
        self._routers()
        self._cores()
        self._threads()
        self._switches()
        self._tasks()
        self._host()
        source, target = (np.concatenate(ends) if ends else np.zeros(0, np.int64) for ends in zip(*self.edges, strict=True))
        return Nodes(source=source, target=target, waiter=self.waiter, **self.facts)

    def _set(self, nodes: np.ndarray, kind: Kind | None = None, **facts: np.ndarray | int) -> None:
        if kind is not None:
            self.facts["kind"][nodes] = NUMBER[kind]
        for name, values in facts.items():
            self.facts[name][nodes] = values

    def _join(self, source: np.ndarray, target: np.ndarray) -> None:
        self.edges.append(np.broadcast_arrays(source, target))  # type: ignore[arg-type]

    # --- where wavelets come from -----------------------------------------------------------------------------

    def _find_origins(self) -> np.ndarray:
        """For each FIFO, the node that nothing comes from: wavelets on the way, a switch, or the FIFO a core or the host feeds.

        A switch that keeps wavelets waiting is what nothing comes from, though its served FIFO would lead further.
        """
        state, num = self.state, len(self.state.chan)
        fifos = np.arange(len(state.fifo))
        producer = state.fifo[:, Fifo.PRODUCER]
        c = np.where((producer >= 0) & (producer < num), producer, -1)
        from_router = c >= 0
        switch = np.where(from_router, self.chan[c, Chan.SWITCH], -1)
        served = np.where(switch >= 0, self.switch[switch, Turn.FIFO], c)
        leads = from_router & (switch < 0)
        for i in range(5):
            leads |= from_router & (i < self.chan[c, Chan.NUM_DST]) & (self.chan[c, Chan.DST + i] == fifos)
        leads &= ~self.strands[c]
        onward = leads & (self.count[served] == 0)
        following = np.where(onward, served, fifos)
        node = self.at_fifo + np.where(leads, served, fifos)
        node = np.where(from_router & ~leads, self.at_switch + switch, node)
        return node[follow(following)[0]]

    def _find_stranding(self) -> np.ndarray:
        """bool per channel: whether it has a switch that serves an empty FIFO while wavelets wait in another one."""
        found = np.zeros(len(self.chan), bool)
        f = np.flatnonzero(self.count[: self.num_routers] > 0)
        c = self.fifo[f, Fifo.CONSUMER]
        s = self.chan[c, Chan.SWITCH]
        served = self.switch[s, Turn.FIFO]
        found[c[(s >= 0) & (served != f) & (self.count[served] == 0)]] = True
        return found

    def _queues(self) -> None:
        """What FIFOs that a core feeds or empties wait for: a thread at work on it, the core, or nothing, when it will never come."""
        state, fifos, num = self.state, np.arange(len(self.state.fifo)), self.num_routers
        first_core = int(state.clock[Clock.FIRST_CORE])
        producer, consumer = state.fifo[:, Fifo.PRODUCER], state.fifo[:, Fifo.CONSUMER]
        color = np.append(self.program.channel_color[consumer[:num]], self.program.channel_color[producer[num:]])
        self._set(self.at_fifo + fifos, color=color, queued=self.count, room=self.room)
        sender = np.flatnonzero((fifos < num) & (self.count == 0) & (producer >= first_core))
        taker = np.arange(num, len(fifos))
        for at, core, kind, ability, operands in (
            (sender, producer[sender] - first_core, Kind.SENDER, SEND, (Thread.FIFO_D,)),
            (taker, consumer[taker] - first_core, Kind.TAKER, TAKE, (Thread.FIFO_A, Thread.FIFO_B)),
        ):
            users = [np.flatnonzero(self.live & (state.thread[:, operand] >= 0)) for operand in operands]
            using = np.concatenate([state.thread[threads, operand] for threads, operand in zip(users, operands, strict=True)])
            threads = np.concatenate(users)
            concerned, in_use = np.zeros(len(fifos), bool), np.zeros(len(fifos), bool)
            concerned[at] = True
            threads, using = threads[concerned[using]], using[concerned[using]]
            self._join(self.at_fifo + using, self.at_thread + threads)
            in_use[using] = True
            later = self.can(ability, core, color[at]) & ~in_use[at]
            self._join(self.at_fifo + at[later], self.at_core + core[later])
            self._set(self.at_fifo + at, kind, pe=self.program.core_pe[core], since=self._idle_since()[core])
        self._set(self.at_fifo + sender, done=state.fifo[sender, Fifo.HEAD])
        bound = state.binding[:, Bind.FIFO]
        blocked = np.isin(self.blocked[2], bound)
        self._join(self.at_fifo + self.blocked[2][blocked], self.at_task + np.flatnonzero(blocked))
        fed = np.flatnonzero((fifos < num) & (self.count == 0) & (producer < first_core))
        for kind, at in ((Kind.FEED, fed[producer[fed] >= len(state.chan)]), (Kind.NOBODY, fed[producer[fed] < 0])):
            number = producer[at] - len(state.chan) if kind is Kind.FEED else -1
            pe = self.program.channel_pe[consumer[at]]
            self._set(self.at_fifo + at, kind, pe=pe, number=number, done=state.fifo[at, Fifo.HEAD])

    def _idle_since(self) -> np.ndarray:
        """The cycle from which each core had nothing under way."""
        core, thread = self.state.core, self.state.thread
        since = core[:, Core.READY].copy()
        np.maximum.at(since, self.core_of, thread[:, Thread.NEXT])
        return since

    # --- what stands in routers -------------------------------------------------------------------------------

    def _routers(self) -> None:
        """FIFOs of routers that hold wavelets: for room where they lead to, or for a switch that serves another FIFO."""
        state, program = self.state, self.program
        f = np.flatnonzero(self.count[: self.num_routers] > 0)
        c = state.fifo[f, Fifo.CONSUMER]
        pe, color, switch = program.channel_pe[c], program.channel_color[c], state.chan[c, Chan.SWITCH]
        served = (switch < 0) | (self.switch[switch, Turn.FIFO] == f)
        ring, head, base, mask = state.ring, *(state.fifo[f, col] for col in (Fifo.HEAD, Fifo.BASE, Fifo.MASK))
        since = np.maximum(ring[base + (head & mask), 0], ring[base + (head - 1 & mask), 0] + 1)
        self._set(self.at_fifo + f, Kind.ROUTER, pe=pe, color=color, since=since)
        self._set(self.at_fifo + f[~served], Kind.UNSERVED)
        self._join(self.at_fifo + f[~served], self.at_switch + switch[~served])
        f, c = f[served], c[served]
        for i in range(5):
            d = np.where(i < state.chan[c, Chan.NUM_DST], state.chan[c, Chan.DST + i], -1)
            full = (d >= 0) & (self.count[d] >= self.room[d])
            self._join(self.at_fifo + f[full], self.at_fifo + d[full])
        self._set(self.at_fifo + f, port=self._blocked_port(c))

    def _blocked_port(self, c: np.ndarray) -> np.ndarray:
        """The first tx port of each of these channels that leads to a FIFO without room, -1 where none does."""
        chan, found, order = self.chan, np.full(len(c), -1), np.zeros(len(c), np.int64)
        for port in Port:
            has = chan[c, Chan.TX] >> port & 1 == 1
            d = np.where(has, chan[c, np.minimum(Chan.DST + order, Chan.DST + 4)], -1)
            full = has & (d >= 0) & (self.count[d] >= self.room[d])
            found = np.where(full & (found < 0), port, found)
            order += has
        return found

    def _switches(self) -> None:
        """Switches: for what their served FIFO brings, if anybody can still send there, or for the core that rewrites them."""
        state, switch = self.state, self.state.switch
        if not len(switch):
            return
        s = np.arange(len(switch))
        f, position = switch[:, Turn.FIFO], switch[:, Turn.POSITION]
        self._set(
            self.at_switch + s, Kind.SWITCH, pe=switch[:, Turn.PE], color=switch[:, Turn.COLOR], number=position,
            port=switch[s, Turn.RX + position], queued=self.count[f], room=self.room[f],
        )  # fmt: skip
        behind = np.where(self.count[f] > 0, self.at_fifo + f, self.origin[f])
        sources = np.concatenate([source for source, _ in self.edges]) if self.edges else np.zeros(0, np.int64)
        leads_on = np.zeros(len(self.waiter), bool)
        leads_on[sources] = True
        leads_on[self.at_switch : self.at_task] = True
        alive = leads_on[behind]  # else no wavelet will ever turn it
        self._join(self.at_switch + s[alive], behind[alive])
        core = np.minimum(np.searchsorted(self.program.core_pe, switch[:, Turn.PE]), len(state.core) - 1)
        turns = (self.program.core_pe[core] == switch[:, Turn.PE]) & self.can(TURN, core, switch[:, Turn.COLOR])
        self._join(self.at_switch + s[turns], self.at_core + core[turns])

    # --- cores ------------------------------------------------------------------------------------------------

    def _find_blocked(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(core, task, core queue or -1) of every task that would run if it were not blocked."""
        core, binding = self.state.core, self.state.binding
        found = [(np.zeros(0, np.int64),) * 3]
        held = core[:, Core.ACTIVE] & core[:, Core.BLOCKED]
        for task in range(int(held.max(initial=0)).bit_length()):
            k = np.flatnonzero(held >> task & 1)
            found.append((k, np.full(len(k), task), np.full(len(k), -1)))
        k = np.repeat(np.arange(len(core)), core[:, Core.NUM_BINDINGS])
        bound, f = binding[:, Bind.TASK], binding[:, Bind.FIFO]
        waits = (core[k, Core.BLOCKED] >> bound & 1 == 1) & (self.count[f] > 0)
        found.append((k[waits], bound[waits], f[waits]))
        core_, task_, fifo_ = (np.concatenate(columns) for columns in zip(*found, strict=True))
        return core_, task_, fifo_

    def _tasks(self) -> None:
        k, task, _ = self.blocked
        nodes = self.at_task + np.arange(len(k))
        core = self.state.core
        entry = self.state.task_entry[core[k, Core.TASKS] + task]
        self._set(nodes, Kind.TASK, pe=self.program.core_pe[k], number=task, row=entry, since=core[k, Core.READY])
        self.waiter[nodes] = True
        unblocks = self.can(UNBLOCK, k, task) & self._busy()[k]
        self._join(nodes[unblocks], self.at_core + k[unblocks])

    def _busy(self) -> np.ndarray:
        """bool (num_cores,): whether a thread of the core has something under way, or a data task could be started."""
        busy = (self.state.core[:, Core.RUNNING] == 1) | (self.state.core[:, Core.LISTENS] == 1)
        busy[self.core_of[self.live]] = True
        return busy

    def _cores(self) -> None:
        """A core gets on when its main thread does; else when a microthread does, a task is unblocked, a wavelet comes."""
        state, core = self.state, self.state.core
        k = np.arange(len(core))
        self._set(self.at_core + k, Kind.CORE, pe=self.program.core_pe)
        main = core[:, Core.RUNNING] == 1
        self._join(self.at_core + k[main], self.at_thread + core[main, Core.THREAD])
        others = np.flatnonzero(self.live & ~main[self.core_of]) if len(core) else k
        self._join(self.at_core + self.core_of[others], self.at_thread + others)
        held = self.blocked[0]
        rest = ~self._busy()[held]
        self._join(self.at_core + held[rest], self.at_task + np.flatnonzero(rest))
        queue = state.queue_of[:, 0]
        listening, color = np.nonzero((queue >= 0) & ((core[:, Core.LISTENS] == 1) & ~main)[:, None])
        f = queue[listening, color]
        empty = self.count[f] == 0
        self._join(self.at_core + listening[empty], self.origin[f[empty]])

    def _threads(self) -> None:
        """Threads with an operation under way, and main threads whose next instruction is for a microthread that is busy."""
        state, code = self.state, self.state.code
        t = np.flatnonzero(self.live)
        table, k = state.thread[t], self.core_of[t]
        row, pos, step = table[:, Thread.ROW], table[:, Thread.POS], np.maximum(table[:, Thread.STEP], 1)
        nodes = self.at_thread + t
        thread_number = t - state.core[k, Core.THREAD]
        self._set(nodes, pe=self.program.core_pe[k], number=thread_number, row=row, done=pos, total=table[:, Thread.NUM])
        self.waiter[nodes] = True
        plan = state.plan[row]
        size = np.minimum(plan[:, Plan.LANES], table[:, Thread.STEP] - table[:, Thread.IN_STEP])
        size = np.where(plan[:, Plan.PER_WAVELET] == 2, np.minimum(size, 2 - (pos & 1)), size)
        undecided = np.ones(len(t), bool)
        ready = table[:, Thread.NEXT].copy()

        def note(waits: np.ndarray, kind: Kind, since: np.ndarray, **facts: np.ndarray) -> None:
            new = waits & undecided  # a thread that lacks several things waits for the first, and has edges for all
            self._set(nodes[new], kind, since=since[new], **{name: values[new] for name, values in facts.items()})
            undecided[waits] = False

        for operand, fifo_col, packed in ((Col.A, Thread.FIFO_A, Plan.PACKED_A), (Col.B, Thread.FIFO_B, Plan.PACKED_B)):
            place, f, half = code[row, operand + Operand.KIND], table[:, fifo_col], plan[:, packed] == 1
            takes = (place == Place.FABRIC_IN) & (~half | (pos & 1 == 0))
            takes |= (place == Place.FABRIC_HELD) & (pos % step == 0) & (~half | (pos // step & 1 == 0))
            missing = takes & (self.count[f] == 0)
            self._join(nodes[missing], self.origin[f[missing]])
            producer = self.fifo[f, Fifo.PRODUCER]
            color = code[row, operand + Operand.BASE]
            come = self._rx_port(np.where(missing, producer, -1))
            note(missing, Kind.WAVELET, table[:, Thread.NEXT], color=color, port=come, queued=self.count[f], room=self.room[f])
            there = takes & ~missing
            head = self.fifo[f, Fifo.BASE] + (self.fifo[f, Fifo.HEAD] & self.fifo[f, Fifo.MASK])
            ready[there] = np.maximum(ready, state.ring[np.where(there, head, 0), 0] if there.any() else 0)[there]
            self._sram_waits(place == Place.FIFO_POP, k, row, operand, size, nodes, note, Kind.POP, table[:, Thread.NEXT])
        place, f, last = code[row, Col.D + Operand.KIND], table[:, Thread.FIFO_D], pos + size
        sends = np.isin(place, (Place.FABRIC_OUT, Place.CONTROL_OUT))
        sends &= (plan[:, Plan.PACKED_D] == 0) | (last & 1 == 0) | (last == table[:, Thread.NUM])
        full = sends & (self.count[f] >= self.room[f])
        self._join(nodes[full], self.at_fifo + f[full])
        consumer = np.where(full, self.fifo[f, Fifo.CONSUMER], 0)
        port = self._blocked_port(consumer)
        color = code[row, Col.D + Operand.BASE]
        note(full, Kind.ROOM, ready, color=color, port=port, queued=self.count[f], room=self.room[f])
        self._sram_waits(place == Place.FIFO_PUSH, k, row, Col.D, size, nodes, note, Kind.PUSH, ready)
        k = np.flatnonzero(self.holds)
        main, row = state.core[k, Core.THREAD], state.core[k, Core.PC]
        nodes = self.at_thread + main
        self._set(nodes, Kind.MICROTHREAD, pe=self.program.core_pe[k], number=0, row=row, since=state.core[k, Core.READY])
        self.waiter[nodes] = True
        self._join(nodes, self.at_thread + main + code[row, Col.THREAD])

    def _rx_port(self, producer: np.ndarray) -> np.ndarray:
        """The port from which a channel takes in what it sends to its core now."""
        c = np.where((producer >= 0) & (producer < len(self.state.chan)), producer, -1)
        if not len(self.state.chan):
            return c
        switch = self.chan[c, Chan.SWITCH]
        turned = self.switch[switch, Turn.RX + self.switch[switch, Turn.POSITION]]
        return np.where(c < 0, -1, np.where(switch >= 0, turned, self.program.channel_rx[c]))

    def _sram_waits(self, uses, k, row, operand, size, nodes, note, kind: Kind, since) -> None:  # type: ignore[no-untyped-def]
        """Operations that pop (push) and lack elements (room): for whoever else is at work on the FIFO, else for the core."""
        state, table = self.state, self.state.sram_fifo
        if not uses.any():
            return
        number = np.where(uses, state.code[row, operand + Operand.BASE], 0)
        q = np.where(uses, state.core[k, Core.SRAM_FIFO] + number, 0)
        count, capacity = table[q, SramFifo.COUNT], table[q, SramFifo.CAPACITY]
        pops = kind == Kind.POP
        waits = uses & (count < size if pops else count + size > capacity)
        note(waits, kind, since, fifo=number, queued=count, room=capacity)
        w = np.flatnonzero(waits)
        ended = self.can(PUSH if pops else POP, k[w], number[w])
        helpers = np.zeros(len(w), bool)
        other = np.flatnonzero(self.live)
        for col in (Col.D,) if pops else (Col.A, Col.B):
            wanted = Place.FIFO_PUSH if pops else Place.FIFO_POP
            rows = state.thread[other, Thread.ROW]
            at = np.flatnonzero(state.code[rows, col + Operand.KIND] == wanted)
            theirs = state.core[self.core_of[other[at]], Core.SRAM_FIFO] + state.code[rows[at], col + Operand.BASE]
            order = np.argsort(theirs, kind="stable")
            low, high = (np.searchsorted(theirs[order], q[w], side) for side in ("left", "right"))
            for nth in range(int((high - low).max(initial=0))):  # at most one per thread of a core
                more = np.flatnonzero(nth < high - low)
                target = other[at][order[low[more] + nth]]
                helpers[more] = True
                self._join(nodes[w[more]], self.at_thread + target)
        later = ended & ~helpers
        self._join(nodes[w[later]], self.at_core + k[w[later]])

    # --- host -------------------------------------------------------------------------------------------------

    def _host(self) -> None:
        """Host inputs with data left, for room; host outputs that are awaited, for wavelets."""
        state, program = self.state, self.program
        left = np.flatnonzero(state.source[:, Source.POS] < state.source[:, Source.END])
        f = state.source[left, Source.DST]
        pe = np.array([port.pe for port in program.host_in], np.int64)[left]
        color = np.array([port.color for port in program.host_in], np.int64)[left]
        done = state.fifo[f, Fifo.HEAD] + self.count[f]
        total = done + state.source[left, Source.END] - state.source[left, Source.POS]
        self._set(
            self.at_in + left, Kind.HOST_IN, pe=pe, number=left, color=color, queued=self.count[f], room=self.room[f],
            done=done, total=total,
        )  # fmt: skip
        self._join(self.at_in + left, self.at_fifo + f)
        self.waiter[self.at_in + left] = True
        for i in np.flatnonzero(state.sink[:, Sink.AWAITED] >= 0):
            port, c = program.host_out[i], int(state.sink[i, Sink.CHANNEL])
            node = self.at_out + np.array([i])
            self._set(
                node, Kind.HOST_OUT, pe=port.pe, number=int(i), color=port.color, port=port.port,
                done=int(state.sink[i, Sink.COUNT]), total=int(state.sink[i, Sink.AWAITED]),
            )  # fmt: skip
            self.waiter[node] = True
            s = int(state.chan[c, Chan.SWITCH])
            served = int(state.switch[s, Turn.FIFO]) if s >= 0 else c
            target = self.at_fifo + served if self.count[served] else self.origin[served]
            if self.strands[c] or not state.chan[c, Chan.TX] >> port.port & 1:
                target = self.at_switch + s
            self._join(node, np.array([target]))
