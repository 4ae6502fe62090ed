"""Place: a rectangle of the mesh for every block, and the file a person can edit.

The baseline lays blocks out in rows, like a snake: east along the first row of blocks, back west along the next.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wse.compiler.partition import Block
from wse.errors import ConfigError, DoesNotFitError
from wse.files import write_text
from wse.program import Rect
from wse.spec import MachineSpec

SCHEMA = 1


@dataclass(frozen=True)
class Placement:
    """Where each block is: `rects` in the order of the blocks; `eastward[i]` says which side block i takes its input on."""

    width: int
    height: int
    rects: tuple[Rect, ...]
    eastward: tuple[bool, ...]
    names: tuple[str, ...]

    def verify(self, blocks: tuple[Block, ...]) -> None:
        """Raise `ConfigError` unless every block has a rectangle of its size, inside the mesh, overlapping no other."""
        if self.names != tuple(block.name for block in blocks):
            raise ConfigError("the placement names other blocks than the model has", notes=[f"wanted: {[b.name for b in blocks]}"])
        mesh = Rect(0, 0, self.width, self.height)
        for i, (block, rect) in enumerate(zip(blocks, self.rects, strict=True)):
            if (rect.width, rect.height) != (block.width, block.height):
                raise ConfigError(f"block '{block.name}' is {block.width}x{block.height} PEs, the placement gives it {rect}")
            if not mesh.contains(rect):
                raise ConfigError(f"block '{block.name}' at {rect} is outside the mesh of {self.width}x{self.height} PEs")
            for other, name in zip(self.rects[:i], self.names, strict=False):
                if rect.overlaps(other):
                    raise ConfigError(f"blocks '{name}' at {other} and '{block.name}' at {rect} overlap")

    def dump(self) -> str:
        """The placement as JSON, as `read_placement` takes it."""
        entries = [
            {"name": n, "x": r.x, "y": r.y, "width": r.width, "height": r.height, "eastward": e}
            for n, r, e in zip(self.names, self.rects, self.eastward, strict=True)
        ]
        return json.dumps({"schema": SCHEMA, "mesh": [self.width, self.height], "blocks": entries}, indent=1) + "\n"

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_text(path, self.dump())

    def _repr_html_(self) -> str:
        from wse.view.notebook import mesh_svg

        title = f"placement of {len(self.rects)} blocks on {self.width}x{self.height} PEs"
        return mesh_svg(self.width, self.height, zip(self.names, self.rects, strict=True), title)


def read_placement(path: Path) -> Placement:
    """A placement file. Raises `ConfigError` with the place of what is wrong."""
    try:
        table: Any = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read placement {path}: {error}") from None
    try:
        if table["schema"] != SCHEMA:
            raise ConfigError(f"{path}: schema {table['schema']} is not {SCHEMA}")
        width, height = (int(n) for n in table["mesh"])
        blocks = table["blocks"]
        rects = tuple(Rect(*(int(b[key]) for key in ("x", "y", "width", "height"))) for b in blocks)
        names = tuple(str(b["name"]) for b in blocks)
        return Placement(width, height, rects, tuple(bool(b.get("eastward", True)) for b in blocks), names)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is not a placement: {type(error).__name__} {error}") from None


def place(blocks: tuple[Block, ...], spec: MachineSpec, mesh: tuple[int, int] | None = None) -> Placement:
    """The snake placement on `mesh`, or on the smallest near-square mesh it fits. Raises `DoesNotFitError`."""
    if mesh is not None:
        placement = _snake(blocks, mesh[0])
        if placement is None or placement.height > mesh[1]:
            raise _too_small(blocks, mesh, placement)
        return Placement(*mesh, placement.rects, placement.eastward, placement.names)
    first = max(max(block.width for block in blocks), math.isqrt(sum(b.width * b.height for b in blocks)))
    candidates = [snake for w in range(first, min(spec.width, 4 * first) + 1) if (snake := _snake(blocks, w)) is not None]
    fitting = [snake for snake in candidates if snake.height <= spec.height]
    if not fitting:
        raise _too_small(blocks, (spec.width, spec.height), None)
    return min(fitting, key=lambda snake: (max(snake.width, snake.height), snake.width * snake.height))


def _snake(blocks: tuple[Block, ...], width: int) -> Placement | None:
    """Blocks in rows of at most `width` PEs; None when one is wider."""
    rows: list[list[Block]] = [[]]
    used = 0
    for block in blocks:
        if block.width > width:
            return None
        if used + block.width > width:
            rows.append([])
            used = 0
        rows[-1].append(block)
        used += block.width
    rects, eastward, y = [], [], 0
    for i, row in enumerate(rows):
        x = 0
        for block in row:
            at = x if i % 2 == 0 else width - x - block.width
            rects.append(Rect(at, y, block.width, block.height))
            eastward.append(i % 2 == 0)
            x += block.width
        y += max(block.height for block in row)
    return Placement(width, y, tuple(rects), tuple(eastward), tuple(block.name for block in blocks))


def _too_small(blocks: tuple[Block, ...], mesh: tuple[int, int], snake: Placement | None) -> DoesNotFitError:
    need = sum(block.width * block.height for block in blocks)
    widest = max(blocks, key=lambda block: block.width)
    notes = [f"{len(blocks)} blocks of {need} PEs in all; the widest is '{widest.name}' with {widest.width}x{widest.height}"]
    if snake is not None:
        notes.append(f"in rows of {mesh[0]} PEs they take {snake.height} rows, of {mesh[1]}")
    side = math.isqrt(need) + max(widest.width, widest.height)
    return DoesNotFitError(f"the model does not fit on {mesh[0]}x{mesh[1]} PEs", notes=notes, help=f"--mesh {side}x{side} would do")
