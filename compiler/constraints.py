"""Constraints: what a person asks of a placement, read from a JSON file and resolved to blocks.

    {"schema": 1, "constraints": [
      {"block": "layer 0", "at": [0, 0], "shape": [24, 8]},         pinned, in this shape
      {"block": "layer *", "rows": "0..63", "columns": "10.."},     all of the block within these rows and columns
      {"block": "final", "next_to": "layer 29"},                    touching, side by side or one above the other
      {"block": "layer 4", "same_column_as": "layer 0"},            west sides (or, same_row_as, north sides) in line
      {"block": "layer 3", "input": "north", "output": "east"},     turned: the sides the vector passes
      {"keep_out": [40, 0, 10, 10]}                                 x, y, width, height: no block here
    ]}

A placement file is read too: its blocks with `"pinned": true` stay where they are, and it may hold a list "constraints" of its own.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wse.compiler.place import SIDES, Placement, read_json
from wse.errors import ConfigError, nearest
from wse.program import Rect

SCHEMA = 1
RELATIONS = ("next_to", "same_column_as", "same_row_as")
KEYS = ("block", "at", "shape", "rows", "columns", "input", "output", "keep_out", *RELATIONS)


@dataclass(frozen=True)
class Relation:
    """A wish about two blocks, `kind` one of `RELATIONS`."""

    kind: str
    block: str
    other: str

    def __str__(self) -> str:
        return f"'{self.block}' {self.kind.replace('_', ' ')} '{self.other}'"

    def holds(self, a: Rect, b: Rect) -> bool:
        """Whether rectangles a and b are as wished."""
        if self.kind == "same_column_as":
            return a.x == b.x
        if self.kind == "same_row_as":
            return a.y == b.y
        return touching(a, b)


@dataclass(frozen=True)
class Span:
    """The rows and columns a block must lie in, ends included; None is open."""

    first_row: int | None = None
    last_row: int | None = None
    first_column: int | None = None
    last_column: int | None = None

    def area(self, mesh: Rect) -> Rect:
        """The part of the mesh that is left; may be empty."""
        x, y = max(0, self.first_column or 0), max(0, self.first_row or 0)
        right = mesh.width - 1 if self.last_column is None else min(self.last_column, mesh.width - 1)
        bottom = mesh.height - 1 if self.last_row is None else min(self.last_row, mesh.height - 1)
        return Rect(x, y, max(0, right - x + 1), max(0, bottom - y + 1))

    def __str__(self) -> str:
        both = (("rows", self.first_row, self.last_row), ("columns", self.first_column, self.last_column))
        return ", ".join(f"{what} {'' if a is None else a}..{'' if b is None else b}" for what, a, b in both if (a, b) != (None, None))


@dataclass(frozen=True)
class Constraints:
    """Everything asked for, by block name."""

    pins: dict[str, tuple[int, int]] = field(default_factory=dict)  # north-west corner
    shapes: dict[str, tuple[int, int]] = field(default_factory=dict)  # width, height
    spans: dict[str, Span] = field(default_factory=dict)
    sides: dict[tuple[str, str], int] = field(default_factory=dict)  # (block, "input" | "output") -> port
    relations: tuple[Relation, ...] = ()
    keep_out: tuple[Rect, ...] = ()

    def __bool__(self) -> bool:
        return any((self.pins, self.shapes, self.spans, self.sides, self.relations, self.keep_out))

    def broken(self, placement: Placement) -> str | None:
        """The first constraint that a placement breaks, in words; None when all hold."""
        where, mesh = dict(zip(placement.names, placement.footprints, strict=True)), placement.mesh
        for (name, rect), own in zip(where.items(), placement.rects, strict=True):
            if name in self.pins and (rect.x, rect.y) != self.pins[name]:
                return f"'{name}' is pinned at {self.pins[name]}, not at {rect}"
            if name in self.shapes and (own.width, own.height) != self.shapes[name]:
                return f"'{name}' shall be {self.shapes[name][0]}x{self.shapes[name][1]} PEs, not {own.width}x{own.height}"
            if name in self.spans and not self.spans[name].area(mesh).contains(rect):
                return f"'{name}' at {rect} leaves {self.spans[name]}"
            for area in self.keep_out:
                if rect.overlaps(area):
                    return f"'{name}' at {rect} is in the keep-out area {area}"
        for relation in self.relations:
            if not relation.holds(where[relation.block], where[relation.other]):
                return f"{relation} does not hold: {where[relation.block]} and {where[relation.other]}"
        return None

    def each(self) -> list[tuple[str, Constraints]]:
        """(a constraint in words, the others without it), for asking which one is in the way."""
        found = []
        for what, mine in (("pin of", self.pins), ("shape of", self.shapes), ("span of", self.spans)):
            key = {"pin of": "pins", "shape of": "shapes", "span of": "spans"}[what]
            for name in mine:
                detail = f" ({mine[name]})" if what == "span of" else f" ({', '.join(map(str, mine[name]))})"  # type: ignore[arg-type]
                found.append((f"the {what} '{name}'{detail}", self._but(**{key: {n: v for n, v in mine.items() if n != name}})))
        for relation in self.relations:
            found.append((str(relation), self._but(relations=tuple(r for r in self.relations if r != relation))))
        for area in self.keep_out:
            found.append((f"the keep-out area {area}", self._but(keep_out=tuple(a for a in self.keep_out if a != area))))
        return found

    def _but(self, **changes: Any) -> Constraints:
        return Constraints(**{**vars(self), **changes})


def touching(a: Rect, b: Rect) -> bool:
    """Whether two rectangles that do not overlap share a part of a side."""
    across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return (across == 0 and down > 0) or (down == 0 and across > 0)


def read_constraints(path: Path, names: tuple[str, ...]) -> Constraints:
    """The constraints in a file of their own or in a placement file, for blocks of these names. Raises `ConfigError`."""
    table = read_json(path, "constraints file")
    entries = list(table.get("constraints", []))
    if "blocks" in table:
        for block in table["blocks"]:
            if block.get("pinned"):
                entries.append({"block": block["name"], "at": [block["x"], block["y"]], "shape": [block["width"], block["height"]]})
    elif table.get("schema") != SCHEMA:
        raise ConfigError(f"{path}: schema {table.get('schema')} is not {SCHEMA}")
    return parse_constraints(entries, names, str(path))


def parse_constraints(entries: list[dict[str, Any]], names: tuple[str, ...], source: str) -> Constraints:
    """Constraints from their JSON form (see the head of this file). Raises `ConfigError` naming the entry."""
    pins: dict[str, tuple[int, int]] = {}
    shapes: dict[str, tuple[int, int]] = {}
    spans: dict[str, Span] = {}
    sides: dict[tuple[str, str], int] = {}
    relations: list[Relation] = []
    keep_out: list[Rect] = []
    for number, entry in enumerate(entries):
        where = f"{source}: constraint {number}"
        try:
            unknown = [key for key in entry if key not in KEYS]
            if unknown:
                raise ConfigError(f"{where} has an unknown key '{unknown[0]}'", help=nearest(unknown[0], KEYS))
            if "keep_out" in entry:
                keep_out.append(_area(entry["keep_out"]))
                continue
            for name in _matching(entry["block"], names, where):
                if "at" in entry:
                    pins[name] = _two(entry["at"])
                if "shape" in entry:
                    shapes[name] = _two(entry["shape"])
                if "rows" in entry or "columns" in entry:
                    spans[name] = Span(*_range(entry.get("rows", "..")), *_range(entry.get("columns", "..")))
                for key in ("input", "output"):
                    if key in entry:
                        sides[name, key] = SIDES[entry[key]]
                for kind in RELATIONS:
                    for other in _matching(entry[kind], names, where) if kind in entry else ():
                        if other != name:
                            relations.append(Relation(kind, name, other))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{where} cannot be read: {type(error).__name__} {error}", notes=[str(entry)]) from None
    return Constraints(pins, shapes, spans, sides, tuple(relations), tuple(keep_out))


def _matching(pattern: str, names: tuple[str, ...], where: str) -> list[str]:
    found = fnmatch.filter(names, pattern)
    if not found:
        raise ConfigError(f"{where} names no block: '{pattern}'", help=nearest(pattern, names))
    return found


def _two(value: Any) -> tuple[int, int]:
    a, b = (int(n) for n in value)
    return a, b


def _area(value: Any) -> Rect:
    x, y, width, height = (int(n) for n in value)
    if width < 1 or height < 1:
        raise ValueError(f"area {width}x{height} is empty")
    return Rect(x, y, width, height)


def _range(text: str) -> tuple[int | None, int | None]:
    """'3..5', '3..', '..5' or '3'."""
    match = re.fullmatch(r"(\d*)(\.\.)?(\d*)", str(text).replace(" ", ""))
    if not match or (match[2] is None and not match[1]):
        raise ValueError(f"'{text}' is not a range like 3..5")
    first = int(match[1]) if match[1] else None
    last = (int(match[3]) if match[3] else None) if match[2] else first
    if first is not None and last is not None and last < first:
        raise ValueError(f"'{text}' ends before it begins")
    return first, last
