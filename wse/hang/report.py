"""The report on a hang: roots and what is queued behind them, PEs that wait alike folded into rectangles; as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from wse.engine.state import Core, State
from wse.fold import rectangles
from wse.hang.ability import SEND, TAKE, Abilities, field
from wse.hang.nodes import KINDS, THREADS, Kind, Nodes
from wse.hang.roots import find_roots, walk
from wse.hang.text import advise, describe
from wse.hang.waits import find_waits
from wse.isa import Col, Port
from wse.past import Past
from wse.program import Program, Rect

SCHEMA = 2
_MOST_ROOTS, _MOST_QUEUED, _MOST_PASTS = 4, 6, 4  # lines of text are for a screen; the JSON has all

Span = tuple[int, int]
"""Least and greatest value among PEs that wait alike."""


@dataclass(frozen=True)
class Wait:
    """What some PEs wait for alike, or why what others wait for will not come. What has no meaning for a kind is None."""

    kind: Kind
    num: int  # of threads, tasks, routers, switches, host ports or cores
    rects: tuple[Rect, ...]  # of their PEs
    number: int | None  # of the thread (0 main), task, switch position
    name: str | None  # of the FIFO in SRAM, or of the host port
    color: int | None
    direction: str | None  # where the wavelet would come from, or leave to
    queued: Span | None  # wavelets or elements where there is no room or nothing to take
    room: Span | None
    done: Span | None  # elements of the operation; wavelets sent
    total: Span | None
    since: Span | None  # cycle
    line: str | None  # of the kernel's source
    reason: str | None = None  # why it will not come: "ended", "never" (not in its code), "past" (none left in its code)

    @property
    def text(self) -> str:
        """One line for a person."""
        return describe(self)


@dataclass(frozen=True)
class Root:
    """A reason for a hang that has no other: a circular wait, or something waited for that will never come."""

    kind: str  # "cycle", or the kind of the last step
    num_alike: int
    steps: tuple[Wait, ...]  # of the first one: who waits for whom, in that order, PEs that do so alike in one
    members: tuple[Wait, ...]  # all that belongs to all of them

    @property
    def help(self) -> str:
        """What would mend it."""
        return advise(self.kind, self.steps)


@dataclass(frozen=True)
class HangReport:
    """Who waits for whom in a machine in which nothing can move. A waiting thread is in `members` of one root or in `queued`, once."""

    cycle: int  # the first in which nothing moved
    num_threads: int  # that wait
    roots: tuple[Root, ...]
    queued: tuple[Wait, ...]  # behind the roots
    past: tuple[Past, ...] = ()  # what PEs of the first root did last, where that could be found out

    @property
    def message(self) -> str:
        """The hang in one line."""
        first = self.roots[0]
        what = "in a circle" if first.kind == "cycle" else "for what will never come"
        threads = {0: "a task or the host waits", 1: "1 thread waits"}.get(self.num_threads, f"{self.num_threads} threads wait")
        return f"nothing can move after cycle {self.cycle}: {threads} {what}"

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """The hang step by step, for a screen."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        for number, root in enumerate(self.roots[:_MOST_ROOTS], start=1):
            title = "circular wait" if root.kind == "cycle" else "nothing to wait for"
            counted = f" ({root.num_alike} alike, the first)" if root.num_alike > 1 else ""
            yield f"root {number} of {len(self.roots)}, {title}{counted}:"
            for i, step in enumerate(root.steps):
                yield f"  {'→ ' if i else ''}{step.text}"
            if root.kind == "cycle":
                yield "  → and back to the first"
        if len(self.roots) > _MOST_ROOTS:
            yield f"… and {len(self.roots) - _MOST_ROOTS} more kinds of root"
        yield from (past.text for past in self.past)
        for wait in self.queued[:_MOST_QUEUED]:
            yield f"queued behind: {wait.text}"
        if len(self.queued) > _MOST_QUEUED:
            yield f"… and {len(self.queued) - _MOST_QUEUED} more lines, {sum(wait.num for wait in self.queued[_MOST_QUEUED:])} waits"

    @property
    def help(self) -> str:
        """What would mend the first root."""
        return self.roots[0].help

    def first_threads(self) -> list[tuple[tuple[int, int], int]]:
        """A PE, and the cycle since which it waits, for each step of the first root in which threads wait."""
        found = {
            (step.rects[0].x, step.rects[0].y): step.since[0] for step in self.roots[0].steps if step.kind in THREADS and step.since
        }
        return list(found.items())[:_MOST_PASTS]

    def to_json(self) -> str:
        """The whole report. Rectangles are {x, y, width, height}, spans [least, greatest]; `text` repeats a wait in words."""

        def waits(of: tuple[Wait, ...]) -> list[dict[str, object]]:
            return [asdict(wait) | {"text": wait.text} for wait in of]

        roots = [
            {"kind": r.kind, "num_alike": r.num_alike, "help": r.help, "steps": waits(r.steps), "members": waits(r.members)}
            for r in self.roots
        ]
        facts = {"schema": SCHEMA, "kind": "wse hang", "cycle": self.cycle, "num_threads": self.num_threads, "message": self.message}
        past = [{"pe": past.pe, "events": past.events, "text": past.text} for past in self.past]
        return json.dumps(facts | {"roots": roots, "queued": waits(self.queued), "past": past}, indent=1)


def diagnose(program: Program, state: State, cycle: int) -> HangReport:
    """The report on a machine that stopped in `Status.DEADLOCK` before `cycle`. Reads the state and changes nothing."""
    nodes = find_waits(program, state)
    found = find_roots(nodes)
    fold = _Fold(program, state, nodes)
    roots: dict[object, list[np.ndarray]] = {}
    for members in found.cycles:
        roots.setdefault(("cycle", *sorted(fold.label[members].tolist())), []).append(members)
    result = [
        Root("cycle", len(alike), fold.waits(walk(nodes, alike[0]), ordered=True), fold.waits(fold.spoken(np.concatenate(alike))))
        for alike in roots.values()
    ]
    ends: dict[object, list[tuple[int, np.ndarray]]] = {}
    for end, before in zip(found.ends.tolist(), found.before, strict=True):
        ends.setdefault((int(fold.label[end]), fold.reason(end), *sorted(fold.label[before].tolist())), []).append((end, before))
    for key, pairs in ends.items():
        reason, last = key[1], np.array([end for end, _ in pairs])  # type: ignore[index]
        before = fold.spoken(np.concatenate([some for _, some in pairs]))
        all_members = (*fold.waits(before), *fold.waits(last, reason))
        steps = (*fold.waits(fold.spoken(pairs[0][1])), *fold.waits(last[:1], reason))
        result.append(Root(str(KINDS[nodes.kind[last[0]]]), len(pairs), steps, all_members))
    result.sort(key=lambda root: (root.kind != Kind.SWITCH, -sum(wait.num for wait in root.members)))  # a switch explains the most
    threads = np.isin(nodes.kind, [KINDS.index(kind) for kind in THREADS])
    return HangReport(cycle, int(threads.sum()), tuple(result), fold.waits(found.queued))


class _Fold:
    """Nodes that wait alike become one `Wait`."""

    def __init__(self, program: Program, state: State, nodes: Nodes):
        self.program, self.state, self.nodes = program, state, nodes
        self.line = np.where(nodes.row >= 0, program.code[nodes.row, Col.LINE], -1) if len(program.code) else nodes.row
        alike = np.stack([nodes.kind, nodes.number, nodes.color, nodes.port, self.line, nodes.fifo])
        low, size = alike.min(axis=1, initial=0), np.ptp(np.column_stack([alike, np.zeros(6, np.int64)]), axis=1) + 1
        self.label = np.ravel_multi_index(tuple(alike - low[:, None]), tuple(size))
        self._ever: list[int] | None = None

    def spoken(self, nodes: np.ndarray) -> np.ndarray:
        """Those of `nodes` that say something by themselves."""
        kinds = [i for i, kind in enumerate(KINDS) if kind not in (Kind.SENDER, Kind.FEED, Kind.NOBODY, Kind.TAKER, Kind.CORE)]
        return nodes[np.isin(self.nodes.kind[nodes], kinds)]

    def waits(self, nodes: np.ndarray, reason: str | None = None, ordered: bool = False) -> tuple[Wait, ...]:
        """`nodes` folded: in the order given, or threads first and the most first."""
        labels, first, inverse = np.unique(self.label[nodes], return_index=True, return_inverse=True)
        split = np.split(nodes[np.argsort(inverse, kind="stable")], np.cumsum(np.bincount(inverse))[:-1]) if len(labels) else []
        folded = [(at, self._wait(group, reason)) for at, group in zip(first.tolist(), split, strict=True)]
        folded.sort(key=lambda pair: (pair[0],) if ordered else (pair[1].kind not in THREADS, -pair[1].num, pair[0]))
        return tuple(wait for _, wait in folded)

    def _wait(self, group: np.ndarray, reason: str | None) -> Wait:
        nodes, program, one = self.nodes, self.program, int(group[0])
        kind = KINDS[nodes.kind[one]]

        def single(values: np.ndarray) -> int | None:
            return int(values[one]) if values[one] >= 0 else None

        def span(values: np.ndarray) -> Span | None:
            return (int(values[group].min()), int(values[group].max())) if values[one] >= 0 else None

        name, number, port, line = None, single(nodes.number), single(nodes.port), single(self.line)
        if nodes.fifo[one] >= 0:
            k = int(np.searchsorted(program.core_pe, nodes.pe[one]))
            name = program.classes[program.core_class[k]].fifos[nodes.fifo[one]].name
        elif kind in (Kind.HOST_IN, Kind.HOST_OUT, Kind.FEED):
            name, number = (program.host_out if kind is Kind.HOST_OUT else program.host_in)[nodes.number[one]].name, None
        return Wait(
            kind=kind, num=len(group), rects=rectangles(nodes.pe[group], program.width), number=number, name=name,
            color=single(nodes.color), direction=None if port is None else Port(port).name,
            queued=span(nodes.queued), room=span(nodes.room), done=span(nodes.done), total=span(nodes.total), since=span(nodes.since),
            line=None if line is None else program.source_lines[line], reason=reason,
        )  # fmt: skip

    def reason(self, end: int) -> str | None:
        """Why the core that `end` is about will not send or take any more."""
        kind = KINDS[self.nodes.kind[end]]
        if kind not in (Kind.SENDER, Kind.TAKER):
            return None
        if self._ever is None:
            self._ever = Abilities(self.program, self.state).of_class
        k = int(np.searchsorted(self.program.core_pe, self.nodes.pe[end]))
        ever = field(self._ever[self.program.core_class[k]], SEND if kind is Kind.SENDER else TAKE)
        if not ever >> int(self.nodes.color[end]) & 1:
            return "never"
        return "ended" if self.state.core[k, Core.ENDED] else "past"
