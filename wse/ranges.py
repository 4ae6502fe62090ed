"""Lists and ranges of whole numbers as users of benchmark tools write them: `8,16,32`, `1-4`, `1-9+2`, `16-128*2`."""

from __future__ import annotations

import re

from wse.errors import ConfigError

MAX_VALUES = 10_000
_ITEM = re.compile(r"(\d+)(?:-(\d+)(?:([+*])(\d+))?)?")


def parse_ranges(text: str, what: str = "a list") -> list[int]:
    """The numbers `text` stands for, each once, in the order written.

    Items are separated by commas: a number, `first-last`, `first-last+step` or `first-last*factor`; `last` is included when it
    is met. Raises `ConfigError` naming `what` and the item.
    """
    values: dict[int, None] = {}
    for item in text.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise ConfigError(f"{what}: cannot read '{item.strip()}'", help="write 8,16,32 or 1-4 or 1-9+2 or 16-128*2")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        sign, step = match[3] or "+", int(match[4] or 1)
        if last < first:
            raise ConfigError(f"{what}: '{item.strip()}' ends before it begins")
        if step < 1 or (sign == "*" and (step < 2 or first < 1)):
            raise ConfigError(f"{what}: '{item.strip()}' never reaches its end")
        value = first
        while value <= last:
            values[value] = None
            if len(values) > MAX_VALUES:
                raise ConfigError(f"{what}: '{item.strip()}' makes more than {MAX_VALUES} values")
            value = value + step if sign == "+" else value * step
    return list(values)
