"""Trace: a header, and records that come one by one in the order of their cycles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from wse.errors import ConfigError
from wse.program import Rect
from wse.trace.selection import KINDS, Selection

SampleSize = Callable[[Iterable["Event"]], int]
Event = dict[str, Any]
"""A record: `cycle`, `pe` as [x, y], `kind` (a key of `KINDS`); then, by kind:

* task: `end`, `task`; operation: `end`, `op`, `thread`, `elements`, `line`, `row` (of the program's code), `of` (the op of the
  model, if named); branch and control: `end`, `op`, `line`, `row`
* wait: `end`, `for` ("data" or "room"), `thread`, `op`, `line`, `colors`
* send: `color`, `ports`, `bits`, `control`, `waited` (cycles it could have left but did not), `number` (sent before by this router
  in this color), `source` (PE where it entered the fabric, null where a switch is on the way)
* host_in, host_out: `port` (its name), `color`, `bits`; host_out also `arrives`

`end` is the cycle after the last, null for what was under way when the trace was read.
"""


@dataclass(frozen=True)
class Header:
    """What a trace is about."""

    width: int  # of the mesh
    height: int
    selection: Selection
    end_cycle: int  # cycles that the machine had executed
    num_records: int
    dropped: int  # records that there was no space for
    complete_before: int | None  # all records that begin before this cycle are there; None: all are
    regions: tuple[tuple[str, Rect], ...] = ()  # named rectangles, for display

    @property
    def rect(self) -> Rect:
        """The PEs traced."""
        return self.selection.pes or Rect(0, 0, self.width, self.height)

    def warning(self) -> str | None:
        """What the trace lacks, as a line for a person; None when it is whole."""
        if not self.dropped:
            return None
        return (
            f"the trace is not whole: {self.dropped:,} records were dropped, all that begin in cycle {self.complete_before:,} or later; "
            f"{self.num_records:,} were kept"
        )


@dataclass(frozen=True)
class Trace:
    """A header and, each time `events` is called, its records from the start."""

    header: Header
    events: Callable[[], Iterator[Event]]

    def estimate_bytes(self, encode: SampleSize, sample: int = 2000) -> int:
        """About what a file would take: the size that `encode` gives for the first records, times how many there are."""
        num = min(sample, self.header.num_records)
        return encode(islice(self.events(), num)) * self.header.num_records // num if num else 0

    def filter(self, selection: Selection) -> Trace:
        """What `selection` has of this trace. Raises `ConfigError` when it asks for what was not collected."""
        mine = self.header.selection
        missing = [name for name in selection.events if name not in mine.events]
        if missing:
            raise ConfigError(f"the trace has no events of {', '.join(missing)}", help=f"it was collected with {', '.join(mine.events)}")
        rect = selection.pes or self.header.rect
        if not rect.overlaps(self.header.rect):
            raise ConfigError(f"the trace has no PE of {rect}", help=f"it was collected on {self.header.rect}")
        first, last = selection.cycles
        wanted = {kind for kind, category in KINDS.items() if category.name.lower() in selection.events}

        def events() -> Iterator[Event]:
            for event in self.events():
                (x, y), begins = event["pe"], event["cycle"]
                ends = event.get("end", begins + 1)
                if event["kind"] not in wanted or not rect.contains(Rect(x, y, 1, 1)):
                    continue
                if (last is None or begins < last) and (ends is None or ends > first):
                    yield event

        num = sum(1 for _ in events())
        return Trace(replace(self.header, selection=replace(selection, pes=rect), num_records=num), events)
