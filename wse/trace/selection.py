"""What to trace: categories, a rectangle of PEs, a window of cycles, and how many records to keep."""

from __future__ import annotations

from dataclasses import dataclass

from wse.engine.trace import Category
from wse.errors import ConfigError, nearest
from wse.program import Rect

CATEGORIES = {category.name.lower(): category for category in Category}
"""The categories by the names users write."""

KINDS = {
    "task": Category.TASK, "operation": Category.OPERATION, "branch": Category.OPERATION, "send": Category.FABRIC,
    "wait": Category.QUEUE, "control": Category.SYNC, "host_in": Category.HOST, "host_out": Category.HOST,
}  # fmt: skip
"""Kinds of records, each with its category."""

DEFAULT_EVENTS = ("task", "operation")
MAX_RECORDS = 1_000_000


@dataclass(frozen=True)
class Selection:
    """What to trace. Raises `ConfigError` for what cannot be."""

    events: tuple[str, ...] = DEFAULT_EVENTS  # names in `CATEGORIES`
    pes: Rect | None = None  # None: all
    cycles: tuple[int, int | None] = (0, None)  # first, and the one after the last; what overlaps is kept whole
    max_records: int = MAX_RECORDS  # when there are more, the earliest are kept

    def __post_init__(self) -> None:
        if not self.events:
            raise ConfigError("a trace of no category of events would be empty", help=f"there are: {', '.join(CATEGORIES)}")
        for name in self.events:
            if name not in CATEGORIES:
                raise ConfigError(f"there is no category of events '{name}' to trace", help=nearest(name, CATEGORIES))
        first, last = self.cycles
        if first < 0 or (last is not None and last <= first):
            raise ConfigError(f"cycles {first}:{'' if last is None else last} are none")
        if self.max_records < 1:
            raise ConfigError(f"a trace keeps at least one record, not {self.max_records}")

    @property
    def mask(self) -> int:
        """The categories as a mask of `Category`."""
        return sum({int(CATEGORIES[name]) for name in self.events})


def parse_selection(
    events: str | None, pes: str | None, cycles: str | None, max_records: int | None = None, option: str = "--"
) -> Selection:
    """A selection as it is written on a command line: `task,fabric`, `x0:x1,y0:y1` and `a:b`, ends excluded; None where not given.

    Raises `ConfigError`, which names the option by its prefix `option`.
    """
    names = DEFAULT_EVENTS if events is None else tuple(dict.fromkeys(name.strip() for name in events.split(",") if name.strip()))
    rect, window = None, Selection.cycles
    if pes is not None:
        parts = pes.split(",")
        if len(parts) != 2:
            raise ConfigError(f"{option}pes wants x0:x1,y0:y1, for example 0:4,2:3, got '{pes}'")
        (x0, x1), (y0, y1) = (_parse_span(part, f"{option}pes") for part in parts)
        if x1 is None or y1 is None:
            raise ConfigError(f"{option}pes wants both ends of both ranges, got '{pes}'")
        rect = Rect(x0, y0, x1 - x0, y1 - y0)
    if cycles is not None:
        window = _parse_span(cycles, f"{option}cycles")
    return Selection(names, rect, window, MAX_RECORDS if max_records is None else max_records)


def _parse_span(text: str, option: str) -> tuple[int, int | None]:
    """`a:b` as (a, b), `a:` as (a, None), `:b` as (0, b), a number alone as that one."""
    first, colon, last = text.strip().partition(":")
    if not all(part.isdigit() or (colon and not part) for part in (first, last if colon else "0")):
        raise ConfigError(f"{option} wants a range a:b, b excluded, got '{text}'")
    low = int(first or 0)
    high = int(last) if last else None if colon else low + 1
    if high is not None and high <= low:
        raise ConfigError(f"{option}: '{text}' is empty", help="the end of a range is not part of it")
    return low, high
