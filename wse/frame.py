"""Frame: the rows and columns of the mesh that stand for a rectangle, some skipped, so that code need not know of what is dead there.

Code inside a frame is written in logical coordinates, in which the PEs it uses are neighbours. On the mesh skipped rows and columns may
lie between them; what goes from one to the next passes those straight.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wse.errors import ProgramError
from wse.isa import Port
from wse.program import Rect


@dataclass(frozen=True)
class Area:
    """PEs of the mesh: those in any of `columns` and any of `rows`, ascending; ranges where they are neighbours."""

    columns: Sequence[int]
    rows: Sequence[int]

    @staticmethod
    def of(rect: Rect) -> Area:
        """The PEs of a rectangle of the mesh."""
        return Area(range(rect.x, rect.x + rect.width), range(rect.y, rect.y + rect.height))

    @property
    def index(self) -> tuple[slice | np.ndarray, slice | np.ndarray]:
        """What picks them, as (rows, columns), out of an array (height, width) of the mesh."""
        if isinstance(self.columns, range) and isinstance(self.rows, range):
            return slice(self.rows.start, self.rows.stop), slice(self.columns.start, self.columns.stop)
        rows, columns = np.ix_(self.rows, self.columns)
        return rows, columns

    def pes(self, width: int) -> np.ndarray:
        """Their numbers on a mesh of this width, int64, row after row."""
        return (np.array(self.rows, np.int64)[:, None] * width + np.array(self.columns, np.int64)).ravel()

    def contains(self, x: int, y: int) -> bool:
        """Whether the PE at (x, y) is one of them."""
        return x in self.columns and y in self.rows


@dataclass(frozen=True)
class Frame:
    """`rect`, in logical coordinates, on the mesh: column rect.x + i of it is `columns[i]` there, row rect.y + i is `rows[i]`.

    Raises `ProgramError` unless both ascend and are as many as the rectangle's.
    """

    rect: Rect
    columns: tuple[int, ...]
    rows: tuple[int, ...]

    def __post_init__(self) -> None:
        for what, lines, num in (("columns", self.columns, self.rect.width), ("rows", self.rows, self.rect.height)):
            if len(lines) != num or any(b <= a for a, b in itertools.pairwise(lines)):
                raise ProgramError(f"a frame for {self.rect} wants {num} ascending {what}, got {list(lines)}")

    @staticmethod
    def skipping(rect: Rect, columns: Sequence[int] = (), rows: Sequence[int] = ()) -> Frame:
        """The frame whose north-west corner is at `rect`'s own on the mesh, and that skips these columns and rows of the mesh."""
        across = [x for x in range(rect.x, rect.x + rect.width + len(columns)) if x not in columns]
        down = [y for y in range(rect.y, rect.y + rect.height + len(rows)) if y not in rows]
        return Frame(rect, tuple(across), tuple(down))

    @property
    def footprint(self) -> Rect:
        """The rectangle of the mesh it lies in, skipped rows and columns included."""
        return Rect(self.columns[0], self.rows[0], self.columns[-1] - self.columns[0] + 1, self.rows[-1] - self.rows[0] + 1)

    @property
    def skips(self) -> bool:
        """Whether there is a difference between logical and physical coordinates."""
        return self.footprint != self.rect

    def area(self, rect: Rect) -> Area:
        """The PEs of the mesh for a rectangle in logical coordinates."""
        return Area(
            _tidy(self.columns[rect.x - self.rect.x :][: rect.width]), _tidy(self.rows[rect.y - self.rect.y :][: rect.height])
        )

    def gap(self, rect: Rect, port: Port) -> Area | None:
        """The skipped PEs between PEs of `rect` (logical) and the next ones on the side of `port`; None if there are none."""
        x, y, right, bottom = rect.x - self.rect.x, rect.y - self.rect.y, rect.x + rect.width, rect.y + rect.height
        columns, rows = self.columns[x : right - self.rect.x], self.rows[y : bottom - self.rect.y]
        if port in (Port.EAST, Port.WEST):
            columns = _between(self.columns[max(0, x - (port == Port.WEST)) : right - self.rect.x + (port == Port.EAST)])
        else:
            rows = _between(self.rows[max(0, y - (port == Port.NORTH)) : bottom - self.rect.y + (port == Port.SOUTH)])
        return Area(_tidy(columns), _tidy(rows)) if columns and rows else None

    def physical(self, x: int, y: int) -> tuple[int, int]:
        """Where on the mesh the PE at (x, y), logical, is."""
        return self.columns[x - self.rect.x], self.rows[y - self.rect.y]

    def logical(self, x: int, y: int) -> tuple[int, int] | None:
        """The logical coordinates of the mesh's PE (x, y); None for a PE the frame does not use."""
        if x not in self.columns or y not in self.rows:
            return None
        return self.rect.x + self.columns.index(x), self.rect.y + self.rows.index(y)


def _between(lines: tuple[int, ...]) -> tuple[int, ...]:
    """What `lines`, ascending, leave out between the first and the last."""
    return tuple(line for line in range(lines[0], lines[-1]) if line not in lines) if lines else ()


def _tidy(lines: tuple[int, ...]) -> Sequence[int]:
    return range(lines[0], lines[-1] + 1) if lines and lines[-1] - lines[0] + 1 == len(lines) else lines
