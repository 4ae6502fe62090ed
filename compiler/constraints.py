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
`wse place` writes both again, so that the placement it finds can be given back in turn. What several entries ask of a block holds
together; two places, shapes or sides for one block are refused.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wse.compiler.place import SIDES, Placement, read_json, read_placement
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

    def both(self, other: Span) -> Span:
        """What lies in both."""
        first = lambda a, b: a if b is None else b if a is None else max(a, b)  # noqa: E731
        last = lambda a, b: a if b is None else b if a is None else min(a, b)  # noqa: E731
        return Span(
            first(self.first_row, other.first_row), last(self.last_row, other.last_row),
            first(self.first_column, other.first_column), last(self.last_column, other.last_column),
        )  # fmt: skip

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
    flagged: frozenset[str] = frozenset()  # pinned by "pinned": true in a placement file
    entries: tuple[dict[str, Any], ...] = ()  # the list that all this but `flagged` was read from, to be written again

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
        for what, key in (("pin", "pins"), ("shape", "shapes")):
            mine = getattr(self, key)
            for name in mine:
                found.append((f"the {what} of '{name}' {mine[name]}", self._but(**{key: {n: v for n, v in mine.items() if n != name}})))
        for span in dict.fromkeys(self.spans.values()):
            found.append((f"{span} of {self.spanned(span)}", self.with_span(span, Span())))
        for relation in self.relations:
            found.append((str(relation), self._but(relations=tuple(r for r in self.relations if r != relation))))
        for area in self.keep_out:
            found.append((f"the keep-out area {area}", self._but(keep_out=tuple(a for a in self.keep_out if a != area))))
        return found

    def spanned(self, span: Span) -> str:
        """The blocks that shall lie in a span, in words."""
        first, *more = (name for name, its in self.spans.items() if its == span)
        return f"'{first}'" + (f" and {len(more)} more" if more else "")

    def with_span(self, span: Span, other: Span) -> Constraints:
        """The same with `other` wherever `span` was asked for."""
        return self._but(spans={name: other if its == span else its for name, its in self.spans.items()})

    def _but(self, **changes: Any) -> Constraints:
        return replace(self, **changes)


def touching(a: Rect, b: Rect) -> bool:
    """Whether two rectangles that do not overlap share a part of a side."""
    across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return (across == 0 and down > 0) or (down == 0 and across > 0)


def read_constraints(path: Path, names: tuple[str, ...]) -> Constraints:
    """The constraints in a file of their own or in a placement file, for blocks of these names. Raises `ConfigError`."""
    table = read_json(path, "constraints file")
    wishes, pinned = table.get("constraints", []), []
    if "blocks" in table:
        read_placement(path)  # it says what is wrong with a block
        for block in table["blocks"]:
            if block.get("pinned"):
                sides = {key: block[key] for key in ("input", "output") if block.get(key) is not None}
                at = {"at": [block["x"], block["y"]], "shape": [block["width"], block["height"]]}
                pinned.append({"block": block["name"], **at, **sides})
    elif table.get("schema") != SCHEMA:
        raise ConfigError(f"{path}: schema {table.get('schema')} is not {SCHEMA}")
    if not isinstance(wishes, list):
        raise ConfigError(f"{path}: 'constraints' is not a list but a {type(wishes).__name__}", help='write "constraints": [{…}, {…}]')
    found = parse_constraints(wishes + pinned, names, str(path))
    return replace(found, flagged=frozenset(entry["block"] for entry in pinned), entries=tuple(wishes))


def parse_constraints(entries: list[dict[str, Any]], names: tuple[str, ...], source: str) -> Constraints:
    """Constraints from their JSON form (see the head of this file). Raises `ConfigError` naming the entry."""
    found = Constraints()
    keep_out: list[Rect] = []
    relations: list[Relation] = []
    for number, entry in enumerate(entries):
        where = f"{source}: constraint {number}"
        if not isinstance(entry, dict):
            raise ConfigError(f"{where} is no object: {entry!r}")
        unknown = [key for key in entry if key not in KEYS]
        if unknown:
            raise ConfigError(f"{where} has an unknown key '{unknown[0]}'", help=nearest(unknown[0], KEYS))
        try:
            if "keep_out" in entry:
                if len(entry) > 1:
                    raise ValueError("keep_out holds for all blocks and stands alone")
                keep_out.append(_area(entry["keep_out"]))
                continue
            if "block" not in entry:
                raise ValueError("it does not say of which block")
            if len(entry) == 1:
                raise ValueError(f"it asks nothing of '{entry['block']}'")
            mine = [relation for name in _matching(entry["block"], names, where) for relation in _add(found, entry, name, names, where)]
            if not mine and any(kind in entry for kind in RELATIONS):
                raise ValueError(f"'{entry['block']}' stands in relation to itself alone")
            relations += mine
        except ValueError as error:
            raise ConfigError(f"{where}: {error}", notes=[str(entry)]) from None
    return replace(found, relations=tuple(relations), keep_out=tuple(keep_out), entries=tuple(entries))


def _add(found: Constraints, entry: dict[str, Any], name: str, names: tuple[str, ...], where: str) -> list[Relation]:
    """Put what an entry asks of a block into `found`; the relations it asks for. Raises `ValueError`, `ConfigError`."""
    if "at" in entry:
        _agree(found.pins, name, _numbers(entry["at"], "at", 2), f"'{name}' at")
    if "shape" in entry:
        _agree(found.shapes, name, _numbers(entry["shape"], "shape", 2), f"'{name}' of shape")
    if "rows" in entry or "columns" in entry:
        span = Span(*_range(entry.get("rows", "..")), *_range(entry.get("columns", "..")))
        found.spans[name] = found.spans.get(name, Span()).both(span)
    for key in ("input", "output"):
        if key in entry:
            if entry[key] not in SIDES:
                raise ValueError(f"{key} is one of {', '.join(SIDES)}, not {entry[key]!r}")
            _agree(found.sides, (name, key), SIDES[entry[key]], f"{key} of '{name}'")
    kinds = [kind for kind in RELATIONS if kind in entry]
    return [Relation(kind, name, other) for kind in kinds for other in _matching(entry[kind], names, where) if other != name]


def _agree(known: dict[Any, Any], key: Any, value: Any, what: str) -> None:
    if known.setdefault(key, value) != value:
        raise ValueError(f"it contradicts another: {what} {known[key]} there, {value} here")


def _matching(pattern: Any, names: tuple[str, ...], where: str) -> list[str]:
    if not isinstance(pattern, str):
        raise ValueError(f"a block is named by text, not by {pattern!r}")
    found = fnmatch.filter(names, pattern)
    if not found:
        raise ConfigError(f"{where} names no block: '{pattern}'", help=nearest(pattern, names))
    return found


def _numbers(value: Any, what: str, num: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) != num or not all(type(n) is int for n in value):
        raise ValueError(f"{what} wants {num} whole numbers, not {value!r}")
    return tuple(value)


def _area(value: Any) -> Rect:
    x, y, width, height = _numbers(value, "keep_out", 4)
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
