"""Place: a rectangle of the mesh for every block, in a file a person can edit.

The placers that find one are in `placers/`; what a person may ask of them is in `constraints.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from wse.compiler.cost import Part
from wse.compiler.nets import FREE
from wse.compiler.partition import Block, Partitioner
from wse.defects import Defects, parse_defects
from wse.errors import ConfigError, ProgramError, nearest
from wse.files import write_text
from wse.frame import Frame
from wse.isa import Port
from wse.program import Rect

SCHEMA = 3  # 2 is the same without defects, and is still read
SIDES = {port.name.lower(): int(port) for port in Port if port is not Port.RAMP}


@dataclass(frozen=True)
class Placement:
    """Where each block is: `rects` in the order of the blocks, on a mesh of `width` x `height` PEs.

    `inputs[i]`, `outputs[i]`: the side (a `Port`) on which block i takes its vector and passes it on, or `FREE`: the cheaper
    one. `about`: where the placement came from, for people; nothing depends on it. `pinned`, `wishes`: blocks to stay where they
    are and the list of other constraints, kept for when the file is given back.

    On a mesh with `defects` the corner of a rectangle is where the block begins on the mesh, width and height are the PEs it uses, and
    `skipped_columns[i]`, `skipped_rows[i]` are those of the mesh it leaves out; `footprints` have them in.
    """

    width: int
    height: int
    rects: tuple[Rect, ...]
    names: tuple[str, ...]
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)
    defects: Defects | None = None
    skipped_columns: tuple[tuple[int, ...], ...] = ()
    skipped_rows: tuple[tuple[int, ...], ...] = ()
    pinned: frozenset[str] = field(default=frozenset(), compare=False)
    wishes: tuple[dict[str, Any], ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for name in ("skipped_columns", "skipped_rows"):
            if not getattr(self, name):
                object.__setattr__(self, name, ((),) * len(self.rects))
        for name in ("inputs", "outputs"):
            if not getattr(self, name):
                object.__setattr__(self, name, (FREE,) * len(self.rects))

    @property
    def mesh(self) -> Rect:
        return Rect(0, 0, self.width, self.height)

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        """The frame of each block. Raises `ConfigError` for rows and columns that cannot be skipped."""
        found = []
        for name, rect, columns, rows in zip(self.names, self.rects, self.skipped_columns, self.skipped_rows, strict=True):
            try:
                found.append(Frame.skipping(rect, columns, rows))
            except ProgramError:
                raise ConfigError(f"block '{name}' of {rect.width}x{rect.height} PEs at ({rect.x},{rect.y}) cannot skip columns "
                                  f"{list(columns)} and rows {list(rows)}: they are not all within it") from None  # fmt: skip
        return tuple(found)

    @property
    def footprints(self) -> tuple[Rect, ...]:
        """The rectangle of the mesh each block lies in, skipped rows and columns included."""
        if not any(self.skipped_columns) and not any(self.skipped_rows):
            return self.rects
        return tuple(frame.footprint for frame in self.frames)

    def describe(self) -> list[str]:
        """Where each block is, in words: its rectangle of the mesh, and its own coordinates where it skips some of that."""
        found = []
        for frame, columns, rows in zip(self.frames, self.skipped_columns, self.skipped_rows, strict=True):
            text = str(frame.footprint)
            if frame.skips:
                lines = [f"{what} {', '.join(map(str, skipped))}" for what, skipped in (("columns", columns), ("rows", rows)) if skipped]
                text += f", logical {frame.rect}: skips {' and '.join(lines)}"
            found.append(text)
        return found

    def verify(self) -> None:
        """Raise `ConfigError` unless every block lies inside the mesh, overlaps no other, and skips what is dead."""
        for rect, name in zip(self.rects, self.names, strict=True):
            if rect.width < 1 or rect.height < 1:
                raise ConfigError(f"block '{name}' has no PEs: {rect.width}x{rect.height}")
        places = self.footprints
        for i, (rect, name) in enumerate(zip(places, self.names, strict=True)):
            if not self.mesh.contains(rect):
                raise ConfigError(f"block '{name}' at {rect} is outside the mesh of {self.width}x{self.height} PEs")
            for other, other_name in zip(places[:i], self.names, strict=False):
                if rect.overlaps(other):
                    raise ConfigError(f"blocks '{other_name}' at {other} and '{name}' at {rect} overlap")
            dead = self.defects.in_the_way(self.frames[i]) if self.defects is not None else None
            if dead:
                raise ConfigError(f"block '{name}' at {rect} cannot be there: {dead}, in a row and a column it uses",
                                  help="take its skipped_columns and skipped_rows out of the file to have them found anew")  # fmt: skip

    def fitted(self, unfitted: Iterable[int] | None = None) -> Placement:
        """With rows and columns to skip found for the blocks of these numbers (default: all). Raises `ConfigError` where there are none."""
        from wse.compiler.footprint import Footprints

        if self.defects is None:
            return self
        footprints = Footprints(self.defects)
        columns, rows = list(self.skipped_columns), list(self.skipped_rows)
        for i in range(len(self.rects)) if unfitted is None else unfitted:
            columns[i], rows[i] = footprints.skips(self.names[i], self.rects[i])
        return replace(self, skipped_columns=tuple(columns), skipped_rows=tuple(rows))

    def blocks(self, partitioner: Partitioner) -> tuple[Block, ...]:
        """The blocks in the shapes the placement gives them.

        Raises `ConfigError` when it names other blocks than the model has, `DoesNotFitError` when a shape has too little SRAM.
        """
        wanted: list[tuple[str, int | None, Part]] = []
        for layer in range(partitioner.config.n_layers):
            halves = [(f"layer {layer} {part}", layer, part) for part in (Part.ATTENTION, Part.FEED_FORWARD)]
            torn = any(name in self.names for name, _, _ in halves) and f"layer {layer}" not in self.names
            wanted += halves if torn else [(f"layer {layer}", layer, Part.LAYER)]
        wanted.append(("final", None, Part.FINAL))
        names = tuple(name for name, _, _ in wanted)
        if self.names != names:
            lacking, beyond = ([f"'{name}'" for name in a if name not in b] for a, b in ((names, self.names), (self.names, names)))
            notes = [f"{what}: {', '.join(some[:4])}" + (f" and {len(some) - 4} more" if len(some) > 4 else "")
                     for what, some in (("missing", lacking), ("not of the model", beyond)) if some]  # fmt: skip
            if notes:
                raise ConfigError(f"the blocks of the placement are not the model's, which has {len(names)}", notes=notes)
            i, got, want = next((i, got, want) for i, (got, want) in enumerate(zip(self.names, names, strict=True)) if got != want)
            raise ConfigError(f"block {i} of the placement is '{got}', the model's is '{want}'", help="list them in the model's order")
        return tuple(partitioner.block(*key, rect.width, rect.height) for key, rect in zip(wanted, self.rects, strict=True))

    def dump(self) -> str:
        """The placement as JSON, as `read_placement` takes it."""
        sides = {number: name for name, number in SIDES.items()} | {FREE: None}
        lines = []
        for i, (name, r, into, out) in enumerate(zip(self.names, self.rects, self.inputs, self.outputs, strict=True)):
            entry = {"name": name, "x": r.x, "y": r.y, "width": r.width, "height": r.height, "input": sides[into], "output": sides[out],
                     "pinned": name in self.pinned or None}  # fmt: skip
            if self.defects is not None:
                entry |= {"skipped_columns": list(self.skipped_columns[i]), "skipped_rows": list(self.skipped_rows[i])}
            lines.append("  " + json.dumps({key: value for key, value in entry.items() if value is not None}))
        head = {"schema": SCHEMA, "mesh": [self.width, self.height], "about": dict(self.about)}
        if self.wishes:
            head["constraints"] = list(self.wishes)
        dead = f',\n "defects": {json.dumps(self.defects.facts())}' if self.defects is not None else ""
        return json.dumps(head, indent=1)[:-2] + dead + ',\n "blocks": [\n' + ",\n".join(lines) + "\n ]\n}\n"

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_text(path, self.dump())

    def _repr_html_(self) -> str:
        from wse.view.notebook import mesh_svg

        title = f"placement of {len(self.rects)} blocks on {self.width}x{self.height} PEs"
        return mesh_svg(self.width, self.height, zip(self.names, self.footprints, strict=True), title)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The object in a JSON file. Raises `ConfigError`."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {what} {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not a {what}: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{path} is not a {what}: it holds a {type(table).__name__}, not an object")
    return table


def read_placement(path: Path) -> Placement:
    """A placement file. Raises `ConfigError` with the place of what is wrong."""
    table = read_json(path, "placement")
    if table.get("schema") not in (2, SCHEMA):
        raise ConfigError(f"{path}: schema {table.get('schema')} is not {SCHEMA}", help="write it anew with `wse place`")
    try:
        return _parse(table, path)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message.removeprefix(f'{path}: ')}", notes=error.notes, help=error.help) from None


HEAD_KEYS = ("schema", "mesh", "about", "constraints", "defects", "blocks")
BLOCK_KEYS = ("name", "x", "y", "width", "height", "input", "output", "pinned", "skipped_columns", "skipped_rows")


def _parse(table: dict[str, Any], path: Path) -> Placement:
    _refuse_unknown(table, HEAD_KEYS, "the file")
    for key in ("mesh", "blocks"):
        if key not in table:
            raise ConfigError(f"it has no '{key}'", help="write it anew with `wse place`")
    width, height = _whole_numbers(table["mesh"], "mesh", 2)
    defects = parse_defects(table["defects"], f"{path}, its defects") if table.get("defects") is not None else None
    if defects is not None and (defects.width, defects.height) != (width, height):
        raise ConfigError(f"its defects are of a mesh of {defects.width}x{defects.height} PEs, not {width}x{height}")
    about, entries = table.get("about", {}), table["blocks"]
    if not isinstance(about, dict):
        raise ConfigError(f"'about' wants an object, not {about!r}")
    if not isinstance(entries, list):
        raise ConfigError(f"'blocks' wants a list of blocks, not {entries!r}")
    blocks = [_parse_block(i, entry) for i, entry in enumerate(entries)]
    names = tuple(block["name"] for block in blocks)
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"block '{min(twice)}' is there twice")
    rects = tuple(Rect(*(block[key] for key in ("x", "y", "width", "height"))) for block in blocks)
    inputs, outputs, columns, rows = (
        tuple(block[key] for block in blocks) for key in ("input", "output", "skipped_columns", "skipped_rows")
    )
    placement = Placement(width, height, rects, names, inputs, outputs, dict(about), defects, columns, rows)
    return placement.fitted(i for i, entry in enumerate(entries) if "skipped_columns" not in entry and "skipped_rows" not in entry)


def _parse_block(i: int, entry: Any) -> dict[str, Any]:
    """A block's entry with every key and value checked, sides as numbers."""
    if not isinstance(entry, dict):
        raise ConfigError(f"block {i} wants an object, not {entry!r}")
    name = entry.get("name")
    if not isinstance(name, str):
        raise ConfigError(f"block {i} has no name" if name is None else f"block {i}: name wants a text, not {name!r}")
    where = f"block {i} ('{name}')"
    _refuse_unknown(entry, BLOCK_KEYS, where)
    found: dict[str, Any] = {"name": name}
    for key in ("x", "y", "width", "height"):
        if key not in entry:
            raise ConfigError(f"{where} has no {key}")
        found[key] = _whole_numbers([entry[key]], f"{where}: {key}", 1)[0]
    for key in ("input", "output"):
        side = entry.get(key)
        if side is not None and side not in SIDES:
            raise ConfigError(f"{where}: {key} wants a side, one of {', '.join(SIDES)}, not {side!r}")
        found[key] = FREE if side is None else SIDES[side]
    for key in ("skipped_columns", "skipped_rows"):
        found[key] = tuple(sorted(_whole_numbers(entry.get(key, []), f"{where}: {key}")))
    if not isinstance(entry.get("pinned", False), bool):
        raise ConfigError(f"{where}: pinned wants true or false, not {entry['pinned']!r}")
    return found


def _refuse_unknown(table: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(f"{where} has an unknown key '{key}'", help=nearest(key, known))


def _whole_numbers(values: Any, what: str, num: int | None = None) -> tuple[int, ...]:
    """As whole numbers, `num` of them or any number. Raises `ConfigError`."""
    if not isinstance(values, list) or len(values) != (num or len(values)) or not all(type(n) is int for n in values):
        raise ConfigError(f"{what} wants {'a whole number' if num == 1 else f'{num} whole numbers' if num else 'a list of whole numbers'}, "
                          f"not {values[0] if num == 1 else values!r}")  # fmt: skip
    return tuple(values)
