"""What a PE did last before a machine stopped: the runs are made again, traced. Until somebody asks it costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wse.program import Rect
from wse.trace.records import Event, Trace
from wse.trace.selection import Selection

WINDOW_CYCLES = 1000
MOST_EVENTS = 5
MOST_WORK = 2_000_000
"""Cores, channels, instructions and wavelets sent, together, of a machine whose runs are made again: about a second on a common host."""


@dataclass(frozen=True)
class Past:
    """The last operations and branches of a PE that had ended, at most `MOST_EVENTS` of `WINDOW_CYCLES`, the latest last."""

    pe: tuple[int, int]
    events: tuple[Event, ...]  # as in `wse.trace.records`

    @property
    def text(self) -> str:
        """One line for a person."""
        return f"PE ({self.pe[0]},{self.pe[1]}) did last: " + "; ".join(map(_tell, self.events))


def look_back(replay: Callable[[Selection], Trace | None], pe: tuple[int, int], cycle: int) -> Past | None:
    """What `pe` did before `cycle`; `replay` makes the runs again with a trace, or gives None. None also where it did nothing."""
    trace = replay(Selection(("operation",), Rect(*pe, 1, 1), (max(0, cycle - WINDOW_CYCLES), cycle + 1), max_records=20_000))
    if trace is None:
        return None
    ended = [event for event in trace.events() if event["end"] is not None and event["end"] <= cycle + 1]
    ended.sort(key=lambda event: event["end"])
    return Past(pe, tuple(ended[-MOST_EVENTS:])) if ended else None


def _tell(event: Event) -> str:
    thread = f" on microthread {event['thread']}" if event.get("thread") else ""
    elements = f" of {event['elements']}" if "elements" in event else ""
    first, last = event["cycle"], event["end"] - 1
    when = f"cycle {first}" if first == last else f"cycles {first}..{last}"
    return f"{event['op']}{elements}{thread} in {when}, {event['line']}"
