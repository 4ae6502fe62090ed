"""What is said of a wait, and what would help, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wse.hang.nodes import THREADS, Kind

if TYPE_CHECKING:
    from wse.hang.report import Span, Wait

_MOST_RECTS = 3


def places(wait: Wait) -> str:
    """`PE (1,0)` or `PEs (0,0)-(3,3), (5,0)-(5,1) and 2 more rectangles`."""
    shown = [f"({r.x},{r.y})" if r.num_pes == 1 else str(r) for r in wait.rects[:_MOST_RECTS]]
    more = len(wait.rects) - len(shown)
    num = sum(rect.num_pes for rect in wait.rects)
    return ("PE " if num == 1 else "PEs ") + ", ".join(shown) + (f" and {more} more rectangles, {num} PEs in all" if more else "")


def _span(span: Span | None) -> str:
    low, high = span or (0, 0)
    return str(low) if low == high else f"{low}..{high}"


def describe(wait: Wait) -> str:
    """`wait` in one line."""
    where, color = places(wait), f"color {wait.color}"
    queued = f"{_span(wait.queued)} of {_span(wait.room)}"
    held = f" ({queued} queued)" if wait.queued else ""
    since = f", since cycle {_span(wait.since)}" if wait.since else ""
    line = f", {wait.line}" if wait.line else ""
    end = _end(wait)
    if wait.kind in THREADS:
        thread = "main thread" if wait.number == 0 else f"microthread {wait.number}"
        element = f", element {_span(wait.done)} of {_span(wait.total)}" if wait.done else ""
        come = f" from {end}" if wait.direction else ""
        leave = f" towards {end}" if wait.direction else ""
        what = {
            Kind.WAVELET: f"a wavelet of {color}{come}{held}",
            Kind.ROOM: f"room on {color}{leave}{held}",
            Kind.POP: f"an element of FIFO '{wait.name}' ({queued} held)",
            Kind.PUSH: f"room in FIFO '{wait.name}' ({queued} held)",
            Kind.MICROTHREAD: "the microthread that its next instruction is for",
        }[wait.kind]
        return f"{where} {thread} waits for {what}{element}{since}{line}"
    unwilling = {"ended": "has ended", "never": "never does so in its code", "past": "does so nowhere in the rest of its code", None: "?"}
    return {
        Kind.TASK: f"{where} has task {wait.number} ready to run but blocked{since}{line}",
        Kind.ROUTER: f"{where} router holds wavelets of {color} ({queued}) without room towards {end}{since}",
        Kind.UNSERVED: f"{where} router holds wavelets of {color} ({queued}) from a port that its switch does not serve now{since}",
        Kind.SWITCH: f"{where} switch of {color} stands in position {wait.number}, which takes in from {end} ({queued} queued)",
        Kind.HOST_IN: f"host input '{wait.name}' waits for room on {color} at {where}, {_span(wait.done)} of {_span(wait.total)} sent",
        Kind.HOST_OUT: f"host output '{wait.name}' waits for {color} from {where}: {_span(wait.done)} of {_span(wait.total)} have come",
        Kind.SENDER: f"{where} would have to send {color}, but {unwilling[wait.reason]} ({_span(wait.done)} sent){since}",
        Kind.FEED: f"host input '{wait.name}' of {color} at {where} has sent all {_span(wait.done)} wavelets it was fed",
        Kind.NOBODY: f"{where} takes in {color} where nothing feeds it",
        Kind.TAKER: f"{where} would have to take {color} from its queue ({queued}), but {unwilling[wait.reason]}{since}",
        Kind.CORE: f"{where} has nothing to do and no task that anything could start",
    }[wait.kind]


def _end(wait: Wait) -> str | None:
    """Where a wavelet comes from or leaves to."""
    return "its core" if wait.direction == "RAMP" else wait.direction


def advise(kind: str, steps: Sequence[Wait]) -> str:
    """What would mend a root with these steps."""
    last = steps[-1]
    if kind == "cycle":
        kinds = {step.kind for step in steps}
        if kinds & {Kind.POP, Kind.PUSH}:
            return "push and pop on different threads (thread=…), or make the FIFO large enough for all that is pushed before the first pop"
        if Kind.ROOM in kinds or Kind.HOST_IN in kinds:
            return "let one PE of the circle receive while it sends (thread=…), or send no more at a time than the queues on the way hold"
        return "let one PE of the circle send before it receives"
    place = places(last)
    return {
        Kind.SENDER: f"send as many wavelets of color {last.color} at {place} as are received, or receive fewer",
        Kind.FEED: f"feed('{last.name}', …) more values, or take and await fewer",
        Kind.NOBODY: f"give color {last.color} a source: a core with rx RAMP, or input()",
        Kind.TAKER: f"receive all of color {last.color} at {place}, send fewer, or leave RAMP out of the route there",
        Kind.TASK: f"unblock({last.number}) in code that runs there, or do not block it",
        Kind.SWITCH: f"send a control wavelet (ADVANCE, RESET) of color {last.color} from {_end(last)}, or begin with another position",
        Kind.POP: f"push onto '{last.name}' before it is popped, or pop fewer elements",
        Kind.PUSH: f"pop from '{last.name}', or make its capacity as large as what is pushed",
    }.get(Kind(kind), f"start something on {place}: activate a task, or send it a wavelet that does")
