"""Footprint: which rows and columns a block skips where the mesh has defects, so that it takes few PEs more than its own.

A block of `width` x `height` PEs whose north-west PE is at (x, y) takes the next rows and columns of the mesh that it does not skip.
What is dead within decides: a dead PE is in a row or in a column that is skipped; the row of a dead link to the east is skipped, since
wavelets cross it whatever the columns; and the column of a dead link to the south. The first row and column are never skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wse._jit import kernel, leaf
from wse.defects import Defects
from wse.errors import ConfigError
from wse.frame import Frame
from wse.isa import Port
from wse.program import Rect

MOST_SKIPPED = 24  # rows and columns of one block
MOST_STEPS = 400  # of the search for one corner; then it ends with the best so far
LARGEST = 2  # a footprint has fewer PEs than so many times the block's own


@dataclass(frozen=True)
class Footprints:
    """The footprints of blocks on a mesh with defects: of least area as far as a short search tells, by columns rather than by rows."""

    defects: Defects

    def skipped(self, width: int, height: int) -> np.ndarray:
        """int16 (mesh height, mesh width, 2): how many columns and rows a block of this size skips with its corner there; -1: no way."""
        if (width, height) not in self._known:
            found = np.empty((*self.defects.dead.shape, 2), np.int16)
            _skip_everywhere(*self._mesh, width, height, *_scratch(width, height), found)
            self._known[width, height] = found
        return self._known[width, height]

    def frame(self, rect: Rect) -> Frame | None:
        """The frame of a block whose corner and own size are `rect`'s; None where it cannot be."""
        scratch = _scratch(rect.width, rect.height)
        if not Rect(0, 0, self.defects.width, self.defects.height).contains(rect):
            return None
        if not _skip(*self._mesh, rect.width, rect.height, rect.x, rect.y, *scratch):
            return None
        across, down = (np.flatnonzero(~skipped[1])[:num] for skipped, num in zip(scratch, (rect.width, rect.height), strict=False))
        return Frame(rect, tuple((across + rect.x).tolist()), tuple((down + rect.y).tolist()))

    def skips(self, name: str, rect: Rect) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The columns and rows of the mesh that block `name` leaves out with its corner and own size `rect`'s. Raises `ConfigError`."""
        frame = self.frame(rect)
        if frame is None:
            raise ConfigError(
                f"block '{name}' of {rect.width}x{rect.height} PEs cannot be at ({rect.x},{rect.y}): it would leave the mesh, skip "
                f"more than {MOST_SKIPPED} rows and columns, its first row or column, or take {LARGEST} times its PEs",
                help="move it, or give it another shape",
            )
        columns, rows = (range(lines[0], lines[-1] + 1) for lines in (frame.columns, frame.rows))
        return tuple(x for x in columns if x not in frame.columns), tuple(y for y in rows if y not in frame.rows)

    @cached_property
    def _known(self) -> dict[tuple[int, int], np.ndarray]:
        return {}

    @cached_property
    def _mesh(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(dead PEs, dead links to the east, to the south, and per PE the first column from it on, in its row, with any of these)."""
        dead = self.defects.dead
        east, south = (self.defects.closed[..., port].copy() for port in (Port.EAST, Port.SOUTH))
        height, width = dead.shape
        at = np.where(dead | east | south, np.arange(width), width)
        nearest = np.full((height, width + 1), width, np.int64)
        nearest[:, :-1] = np.minimum.accumulate(at[:, ::-1], axis=1)[:, ::-1]
        return dead, east, south, nearest


@leaf
def _search(dead, east, south, nearest, width, height, x, y, skipped_columns, skipped_rows, trail):
    """Depth first over what to skip; the columns and rows of the best way are left in row 1 of the two arrays. Whether there is one.

    Every defect met is got rid of by its column or by its row, if it may; skipping one lets another in at the far side. So what is left
    out cannot be better, unless the search ends early. Dead PEs of which no two share a row or a column take a line each: a way on
    which these are too many, or would make the footprint no smaller than the least so far, is given up.

    `trail` is scratch, (depth, 3): column or row that was skipped, whether it was a column, and the row to try yet or 0.
    """
    columns, rows = skipped_columns[0], skipped_rows[0]
    matched_columns, matched_rows = skipped_columns[2], skipped_rows[2]
    mesh_height, mesh_width = dead.shape
    least = LARGEST * width * height
    columns[:] = False
    rows[:] = False
    num_columns = num_rows = depth = 0
    found = False
    for _ in range(MOST_STEPS):
        w, h = width + num_columns, height + num_rows
        column = row = -1
        dead_end = x + w > mesh_width or y + h > mesh_height or w * h >= least
        if not dead_end:
            matched_columns[:] = False
            matched_rows[:] = False
            matched, forced = 0, False
            for j in range(h):
                i = nearest[y + j, x]
                while i < x + w and not forced:
                    o = i - x
                    if south[y + j, i] and j < h - 1 and not columns[o]:
                        column, row, forced = o, -1, True
                    elif east[y + j, i] and o < w - 1 and not rows[j]:
                        column, row, forced = -1, j, True
                    elif dead[y + j, i] and not rows[j] and not columns[o]:
                        if column < 0:
                            column, row = o, j
                        if not matched_columns[o] and not matched_rows[j]:
                            matched_columns[o] = True
                            matched_rows[j] = True
                            matched += 1
                    i = nearest[y + j, i + 1]
            if forced:
                matched = max(matched, 1)
            if depth + matched > MOST_SKIPPED or min((w + matched) * h, w * (h + matched)) >= least:
                dead_end = True
            elif column < 0 and row < 0:
                found, least = True, w * h
                for o in range(columns.shape[0]):
                    skipped_columns[1, o] = columns[o]
                for j in range(rows.shape[0]):
                    skipped_rows[1, j] = rows[j]
                dead_end = True
        if not dead_end:
            column, row = max(column, 0), max(row, 0)  # the first of each is never skipped
            if column > 0:
                columns[column] = True
                num_columns += 1
                trail[depth, 0], trail[depth, 1], trail[depth, 2] = column, 1, row
                depth += 1
                continue
            if row > 0:
                rows[row] = True
                num_rows += 1
                trail[depth, 0], trail[depth, 1], trail[depth, 2] = row, 0, 0
                depth += 1
                continue
        turned = False
        while depth > 0 and not turned:
            if trail[depth - 1, 1] == 1:
                columns[trail[depth - 1, 0]] = False
                num_columns -= 1
                if trail[depth - 1, 2] > 0:
                    row = trail[depth - 1, 2]
                    rows[row] = True
                    num_rows += 1
                    trail[depth - 1, 0], trail[depth - 1, 1], trail[depth - 1, 2] = row, 0, 0
                    turned = True
                    break
            else:
                rows[trail[depth - 1, 0]] = False
                num_rows -= 1
            depth -= 1
        if not turned:
            break
    return found


@kernel(sources=(__file__,))
def _skip(dead, east, south, nearest, width, height, x, y, skipped_columns, skipped_rows, trail):
    """Row 1 of the two arrays: what a block at (x, y) skips. Whether there is a way."""
    return _search(dead, east, south, nearest, width, height, x, y, skipped_columns, skipped_rows, trail)


@kernel(sources=(__file__,))
def _skip_everywhere(dead, east, south, nearest, width, height, skipped_columns, skipped_rows, trail, found):
    """Set `found` to the numbers of columns and rows skipped at every corner, -1 where there is no way."""
    for y in range(dead.shape[0]):
        for x in range(dead.shape[1]):
            there = _search(dead, east, south, nearest, width, height, x, y, skipped_columns, skipped_rows, trail)
            found[y, x, 0] = skipped_columns[1].sum() if there else -1
            found[y, x, 1] = skipped_rows[1].sum() if there else -1


def _scratch(width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the search works on: columns and rows skipped, bool (now, at best, and to spare, number), and its trail."""
    lines = [np.zeros((3, num + MOST_SKIPPED), np.bool_) for num in (width, height)]
    return lines[0], lines[1], np.zeros((MOST_SKIPPED, 3), np.int64)
