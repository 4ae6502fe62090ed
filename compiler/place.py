"""Place: a rectangle of the mesh for every block, in a file a person can edit.

The placers that find one are in `placers/`; what a person may ask of them is in `constraints.py`.
"""

from __future__ import annotations

import itertools
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
from wse.errors import ConfigError, ProgramError
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
            if f"layer {layer}" in self.names:
                wanted.append((f"layer {layer}", layer, Part.LAYER))
            else:
                wanted += [(f"layer {layer} {part}", layer, part) for part in (Part.ATTENTION, Part.FEED_FORWARD)]
        wanted.append(("final", None, Part.FINAL))
        names = tuple(name for name, _, _ in wanted)
        if self.names != names:
            pairs = enumerate(itertools.zip_longest(self.names, names, fillvalue="missing"))
            i, got, want = next((i, got, want) for i, (got, want) in pairs if got != want)
            notes = [f"the model has {len(names)} blocks"]
            raise ConfigError(f"block {i} of the placement is '{got}', the model's is '{want}'", notes=notes)
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
        table = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {what} {path}: {error}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{path} is not a {what}: it holds a {type(table).__name__}, not an object")
    return table


def read_placement(path: Path) -> Placement:
    """A placement file. Raises `ConfigError` with the place of what is wrong."""
    table = read_json(path, "placement")
    if table.get("schema") not in (2, SCHEMA):
        raise ConfigError(f"{path}: schema {table.get('schema')} is not {SCHEMA}", help="write it anew with `wse place`")
    defects = parse_defects(table["defects"], f"{path}, its defects") if table.get("defects") is not None else None
    if defects is not None and [defects.width, defects.height] != table.get("mesh"):
        raise ConfigError(f"{path}: its defects are of a mesh of {defects.width}x{defects.height} PEs, not {table.get('mesh')}")
    try:
        width, height = (int(n) for n in table["mesh"])
        blocks = table["blocks"]
        rects = tuple(Rect(*(int(b[key]) for key in ("x", "y", "width", "height"))) for b in blocks)
        names = tuple(str(b["name"]) for b in blocks)
        inputs, outputs = (tuple(FREE if b.get(key) is None else SIDES[b[key]] for b in blocks) for key in ("input", "output"))
        skipped = [tuple(tuple(sorted(int(n) for n in b.get(f"skipped_{lines}", ()))) for b in blocks) for lines in ("columns", "rows")]
        placement = Placement(width, height, rects, names, inputs, outputs, dict(table.get("about", {})), defects, skipped[0], skipped[1])
        return placement.fitted(i for i, b in enumerate(blocks) if "skipped_columns" not in b and "skipped_rows" not in b)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", help=error.help) from None
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is not a placement: {type(error).__name__} {error}") from None
