"""Compare two benchmark files: cycles per test side by side, and a gate for continuous integration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wse.bench.output import SCHEMA, Columns, table
from wse.errors import ConfigError, VerificationError

KEYS = ("model", "arch", "mesh", "dtype", "context", "placer", "test")
"""What makes two records the same test; a record of another kind has fewer of them."""


@dataclass(frozen=True)
class Change:
    """Cycles of one test before and after; None where a file does not have it."""

    name: str
    base: int | None
    new: int | None

    @property
    def change_frac(self) -> float | None:
        """(new - base) / base."""
        return None if self.base is None or self.new is None else (self.new - self.base) / self.base


def read_results(path: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Records of a file written by `wse bench … --format json` or `jsonl`, by test. Raises `ConfigError`."""
    try:
        text = path.read_text()
        records = json.loads(text)["results"] if path.suffix != ".jsonl" else [json.loads(line) for line in text.splitlines()]
        schemas = {json.loads(text)["schema"]} if path.suffix != ".jsonl" else {record["schema"] for record in records}
        found = {tuple(record.get(key) for key in KEYS): record for record in records}
        if not all(isinstance(record["cycles"], int) and record["cycles"] > 0 for record in records):
            raise ConfigError(f"{path}: a record without cycles")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__} {error}"
        raise ConfigError(f"{path} is not a benchmark in JSON: {what}", help="write one with --format json") from None
    if schemas != {SCHEMA}:
        raise ConfigError(f"{path}: schema {schemas} is not {SCHEMA}")
    return found


def compare(base: Path, new: Path) -> list[Change]:
    """Every test of either file, those of `base` first. Raises `ConfigError` when they have none in common."""
    before, after = read_results(base), read_results(new)
    if not before.keys() & after.keys():
        raise ConfigError(f"{base} and {new} have no test in common", notes=[f"a test is the same when these are: {', '.join(KEYS)}"])
    tests = [*before, *(test for test in after if test not in before)]
    cycles = lambda file, test: file[test]["cycles"] if test in file else None  # noqa: E731
    name = lambda test: " ".join(str(part) for part in test if part is not None)  # noqa: E731
    return [Change(name(test), cycles(before, test), cycles(after, test)) for test in tests]


def render_changes(changes: list[Change]) -> str:
    """The changes as a table."""
    columns: Columns = (
        ("test", lambda c: c["test"]),
        ("base cycles", lambda c: c["base"]),
        ("new cycles", lambda c: c["new"]),
        ("change", lambda c: c["change"]),
    )
    count = lambda n: "-" if n is None else f"{n:,}"  # noqa: E731
    return table(columns, [
        {"test": c.name, "base": count(c.base), "new": count(c.new), "change": "-" if c.change_frac is None else _percent(c.change_frac)}
        for c in changes
    ])  # fmt: skip


def _percent(fraction: float) -> str:
    """With two decimals, or as many as it takes to tell it from zero."""
    return f"{fraction:+.2%}" if fraction == 0 or abs(fraction) >= 5e-5 else f"{100 * fraction:+.1g}%"


def parse_bar(text: str) -> float:
    """`+1%` as 0.01. Raises `ConfigError`."""
    try:
        bar = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        raise ConfigError(f"--fail-on wants a percentage like +1%, got '{text}'") from None
    if not 0 <= bar < float("inf"):
        raise ConfigError(f"--fail-on wants a percentage of 0 or more, got '{text}'")
    return bar


def gate(changes: list[Change], bar: float) -> None:
    """Raise `VerificationError` when a test grew by more than `bar` (a fraction), or is gone."""
    worse = [c for c in changes if c.base is not None and (c.change_frac is None or c.change_frac > bar)]
    if worse:
        what = [f"{c.name}: " + ("gone" if c.change_frac is None else _percent(c.change_frac)) for c in worse]
        raise VerificationError(f"{len(worse)} of {len(changes)} tests are more than {_percent(bar)} over the base, or gone", notes=what)
