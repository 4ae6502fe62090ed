"""Lists and ranges as users of benchmark tools write them: `8,16,32`, `1-4`, `1-9+2`, `16-128*2`; and of rates, `0,0.01`, `0-4+0.5%`."""

from __future__ import annotations

import re
from decimal import Decimal

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


_RATE = re.compile(r"(\d*\.?\d+)(?:-(\d*\.?\d+)(?:([+*])(\d*\.?\d+))?)?(%?)")


def parse_rates(text: str, what: str = "a list") -> list[float]:
    """The rates `text` stands for, at least 0 and less than 1, each once, in the order written.

    Items as in `parse_ranges`, of any decimal numbers; per cent when they end in %, and steps are then of one per cent unless it
    says otherwise. Raises `ConfigError` naming `what` and the item.
    """
    rates: dict[float, None] = {}
    for item in text.split(","):
        match = _RATE.fullmatch(item.strip())
        if match is None or (match[2] and not match[3] and not match[5]):
            raise ConfigError(f"{what}: cannot read '{item.strip()}'", help="write rates like 0.01 or 1%, 0-4% or 0-0.04+0.005")
        value, last, step = Decimal(match[1]), Decimal(match[2] or match[1]), Decimal(match[4] or 1)
        if last < value or (match[3] == "*" and (step <= 1 or not value)) or not step:
            raise ConfigError(f"{what}: '{item.strip()}' never reaches its end")
        while value <= last:
            rate = float(value / 100 if match[5] else value)
            if rate >= 1 or len(rates) > MAX_VALUES:
                raise ConfigError(f"{what}: '{item.strip()}' holds rates of 1 or more, or more than {MAX_VALUES}")
            rates[rate] = None
            value = value * step if match[3] == "*" else value + step
    return list(rates)
