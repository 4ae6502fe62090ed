"""Circular waits that no timing can resolve: cores run as far as they can without time (`advance`), and then who waits for whom.

A core that has more to do and cannot is a proof, if its script ends: the program never does. Of cores that loop or may do anything
later only a circle is reported, as a suspicion: what is awaited from the program may be complete before they stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from wse.fold import rectangles
from wse.hang.nodes import Kind
from wse.hang.report import Span, Wait
from wse.hang.text import advise, describe, places
from wse.isa import Col, Port
from wse.program import Program
from wse.proof.advance import WITHOUT_END, Reached, run_scripts
from wse.proof.finding import Finding
from wse.proof.nets import Nets
from wse.proof.script import END, FIFO_LANE, FREE, Script, Step, write_scripts

MOST_WALKED = 20_000  # steps from one wait to the next
_MOST_NOTES = 12

Node = tuple[int, int]
"""(core, thread)"""


@dataclass(frozen=True)
class _Waits:
    """One thread's wait: for whom, and the source line of what that thread will do about it later, if it is not at it."""

    wait: Wait
    pe: int
    onward: Node | None
    later: str | None = None


def find_circular(program: Program, nets: Nets) -> Iterator[Finding]:
    """The first circular wait, or wait for what never comes, that running without time leaves."""
    if not len(program.core_pe):
        return
    scripts = write_scripts(program)
    reached = run_scripts(program, nets, scripts)
    if reached is None:
        return
    which = program.core_class
    threads = np.diff(reached.first_thread)
    core_of = np.repeat(np.arange(len(which)), threads)
    main = reached.current[reached.first_thread[:-1]]
    free = (reached.steps[reached.at, Step.THREAD] == FREE) & (main < 0)
    stuck = np.flatnonzero((reached.current >= 0) & ~free[core_of])
    ends = np.array([script.ends for script in scripts])[which[core_of[stuck]]]
    if not len(stuck):
        return
    first = int(stuck[np.argmax(ends)])
    core = int(core_of[first])
    look = _Look(program, scripts, reached)
    path, begin = look.walk((core, first - int(reached.first_thread[core])))
    if begin is None and not ends.any():
        return
    yield _finding(program, path, begin, len(stuck), bool(ends.any()))


def _finding(program: Program, path: list[_Waits], begin: int | None, num_stuck: int, proven: bool) -> Finding:
    """What a walk has found: a circle from step `begin` on, or (None) an end."""
    if begin is None:
        steps, kind = _fold(program, path[-2:]), str(path[-1].wait.kind)
        shown = _places(program, path[-2:-1])
        message = f"{shown} wait{'s' if shown.startswith('PE ') else ''} for what never comes: the program hangs whatever is fed"
        notes = [("→ " if i else "") + text for i, (_, text) in enumerate(steps)]
    else:
        steps, kind = _fold(program, path[begin:]), "cycle"
        what = "the program hangs whatever is fed" if proven else "they stop there"
        shown = _places(program, path[begin:])
        message = f"{shown} {'waits for itself' if shown.startswith('PE ') else 'wait for each other in a circle'}: {what}"
        notes = [("→ " if i else "") + text for i, (_, text) in enumerate(steps[:_MOST_NOTES])]
        notes += [f"… and {len(steps) - _MOST_NOTES} more steps"] if len(steps) > _MOST_NOTES else []
        notes.append("→ and back to the first")
    behind = num_stuck - (1 if begin is None else len(path) - begin)
    notes += [f"{behind} more thread{'s wait' if behind > 1 else ' waits'} for ever"] if behind > 0 else []
    return Finding(proven, message, tuple(notes), advise(kind, [wait for wait, _ in steps]))


def _places(program: Program, path: list[_Waits]) -> str:
    return places(replace(path[0].wait, rects=rectangles(np.array([step.pe for step in path]), program.width)))


def _fold(program: Program, path: list[_Waits]) -> list[tuple[Wait, str]]:
    """Steps that wait alike as one, each with its text, in the order of the first of each."""
    alike: dict[tuple[object, ...], list[_Waits]] = {}
    for step in path:
        wait = step.wait
        alike.setdefault((wait.kind, wait.number, wait.name, wait.color, wait.direction, wait.line, step.later), []).append(step)
    found = []
    for steps in alike.values():
        waits = [step.wait for step in steps]
        wait = replace(
            waits[0], num=len(steps), rects=rectangles(np.array([step.pe for step in steps]), program.width),
            done=_span([w.done for w in waits]), total=_span([w.total for w in waits]),
            queued=_span([w.queued for w in waits]), room=_span([w.room for w in waits]),
        )  # fmt: skip
        found.append((wait, describe(wait) + (f", before it gets to {steps[0].later}" if steps[0].later else "")))
    return found


def _span(spans: list[Span | None]) -> Span | None:
    """From the least to the greatest of all."""
    ends = [end for span in spans if span is not None for end in span]
    return (min(ends), max(ends)) if ends else None


class _Look:
    """Who waits for whom where cores came to stand."""

    def __init__(self, program: Program, scripts: list[Script], reached: Reached):
        self.program, self.scripts, self.reached = program, scripts, reached
        self.ends_at = np.cumsum([len(script.steps) for script in scripts])

    def walk(self, node: Node) -> tuple[list[_Waits], int | None]:
        """The waits from `node` on, and the index at which the last one leads back; None where nothing will come."""
        seen: dict[Node, int] = {}
        path: list[_Waits] = []
        while node not in seen and len(path) < MOST_WALKED:
            seen[node] = len(path)
            step, end = self._wait(node)
            path.append(step)
            if end is not None:
                return [*path, end], None
            assert step.onward is not None
            node = step.onward
        # the thread that leads back tells what it would do later; the first of a cycle is told by the last
        begin = seen.get(node, 0)
        told = [replace(step, later=path[i - 1 if i > begin else -1].later) for i, step in enumerate(path)]
        return told, begin

    def _wait(self, node: Node) -> tuple[_Waits, _Waits | None]:
        """What a thread waits for; and why that never comes, if it does not."""
        reached, lanes, (core, thread) = self.reached, self.reached.lanes, node
        s = int(reached.current[reached.first_thread[core] + thread])
        if s < 0:  # the main thread, for a microthread
            row = reached.steps[reached.at[core]]
            return self._step(Kind.MICROTHREAD, core, 0, row, (core, int(row[Step.THREAD]))), None
        row, done = reached.steps[s], int(reached.done[reached.first_thread[core] + thread])
        for column in (Step.LANE_A, Step.LANE_B):
            number, per = int(row[column]), int(row[column + 1])
            if number < 0:
                continue
            lane = self._lane(core, number)
            root = int(lanes.root[lane])
            if root < 0 or WITHOUT_END in (lanes.taken[lane], lanes.sent[root]):
                continue
            if done < (int(lanes.sent[root] - lanes.taken[lane]) + (done + per - 1) // per) * per:
                continue
            fifo = number >= FIFO_LANE
            onward, later, reason = self._who(int(lanes.core[root]), number, (Step.LANE_D,))
            step = self._step(Kind.POP if fifo else Kind.WAVELET, core, thread, row, onward, number, done, lane, later)
            if onward is not None or fifo:
                return step, None if onward is not None else step
            return step, self._end(Kind.SENDER, root, number, reason, int(lanes.sent[root]))
        number = int(row[Step.LANE_D])
        lane = self._lane(core, number)
        sinks = lanes.sinks[lanes.first_sink[lane] : lanes.first_sink[lane + 1]]
        sink = int(sinks[np.argmin(lanes.taken[sinks] + lanes.room[sinks])])
        fifo = number >= FIFO_LANE
        onward, later, reason = self._who(int(lanes.core[sink]), number, (Step.LANE_A, Step.LANE_B))
        step = self._step(Kind.PUSH if fifo else Kind.ROOM, core, thread, row, onward, number, done, sink if fifo else lane, later)
        room = int(lanes.room[sink])
        step = replace(step, wait=replace(step.wait, queued=(room, room), room=(room, room)))
        if onward is not None or fifo:
            return step, None if onward is not None else step
        return step, self._end(Kind.TAKER, sink, number, reason, None)

    def _lane(self, core: int, number: int) -> int:
        lanes = self.reached.lanes
        if number >= FIFO_LANE:
            return int(lanes.first_fifo[core]) + number - FIFO_LANE
        return int(self.program.channels_at(self.program.core_pe[core : core + 1], number)[0])

    def _who(self, core: int, number: int, columns: tuple[Step, ...]) -> tuple[Node | None, str | None, str | None]:
        """Which thread would have to move a lane's next wavelet, the line at which it will if it is not at it; or why none will."""
        reached, steps = self.reached, self.reached.steps
        first = int(reached.first_thread[core])
        for thread in range(int(reached.first_thread[core + 1]) - first):
            s = int(reached.current[first + thread])
            if s >= 0 and number in steps[s, list(columns)]:
                return (core, thread), None, None
        cls, at = int(self.program.core_class[core]), int(reached.at[core])
        rest = steps[at : self.ends_at[cls]]
        ahead = np.flatnonzero((rest[:, list(columns)] == number).any(axis=1))
        if len(ahead):
            return (core, 0), self._line(int(rest[ahead[0], Step.ROW])), None
        if rest[-1, Step.THREAD] == FREE:
            return (core, 0), None, None
        ever = (self.scripts[cls].steps[:, list(columns)] == number).any()
        busy = (reached.current[first : reached.first_thread[core + 1]] >= 0).any() or steps[at, Step.THREAD] != END
        return None, None, "never" if not ever else "past" if busy else "ended"

    def _line(self, row: int) -> str:
        return self.program.source_lines[self.program.code[row, Col.LINE]]

    def _step(
        self, kind: Kind, core: int, thread: int, row: np.ndarray, onward: Node | None, number: int = -1, done: int = 0, lane: int = -1,
        later: str | None = None,
    ) -> _Waits:  # fmt: skip
        """The wait of a thread at a step of its script."""
        program, pe = self.program, int(self.program.core_pe[core])
        name = color = direction = None
        if number >= FIFO_LANE:
            name = program.classes[program.core_class[core]].fifos[number - FIFO_LANE].name
        elif number >= 0:
            color = number
            ports = [Port(int(program.channel_rx[lane]))]
            if kind is Kind.ROOM:
                ports = [port for port in Port if program.channel_tx[lane] >> port & 1]
            direction = ports[0].name if len(ports) == 1 else None
        span = None if kind is Kind.MICROTHREAD else (done, done)
        empty = (0, 0) if kind is Kind.POP else None
        held = int(self.reached.lanes.room[lane]) if kind is Kind.POP else None
        wait = Wait(
            kind=kind, num=1, rects=rectangles(np.array([pe]), program.width), number=thread, name=name, color=color, direction=direction,
            queued=empty, room=None if held is None else (held, held), done=span, total=None if span is None else (int(row[Step.NUM]),) * 2,
            since=None, line=self._line(int(row[Step.ROW])),
        )  # fmt: skip
        return _Waits(wait, pe, onward, later)

    def _end(self, kind: Kind, channel: int, color: int, reason: str | None, sent: int | None) -> _Waits:
        """The core at `channel`, which will not move another wavelet of its color."""
        pe, room = int(self.program.channel_pe[channel]), self.program.spec.core_queue_room
        wait = Wait(
            kind=kind, num=1, rects=rectangles(np.array([pe]), self.program.width), number=None, name=None, color=color, direction=None,
            queued=None if kind is Kind.SENDER else (room, room), room=None if kind is Kind.SENDER else (room, room),
            done=None if sent is None else (sent, sent), total=None, since=None, line=None, reason=reason,
        )  # fmt: skip
        return _Waits(wait, pe, None)
