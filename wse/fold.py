"""Sets of PEs as few rectangles."""

from __future__ import annotations

import numpy as np

from wse.program import Rect


def rectangles(pes: np.ndarray, width: int) -> tuple[Rect, ...]:
    """Rectangles that together are `pes` (each counted once), the largest first: runs of each row, joined where rows have the same run.

    pes: PE numbers on a mesh `width` wide.
    """
    pes = np.unique(pes)
    if not len(pes):
        return ()
    begins = np.append(True, (np.diff(pes) > 1) | (pes[1:] % width == 0))
    first = pes[begins]
    size = np.diff(np.append(np.flatnonzero(begins), len(pes)))
    x, y = first % width, first // width
    order = np.lexsort((y, size, x))
    x, y, size = x[order], y[order], size[order]
    new = np.append(True, (np.diff(x) != 0) | (np.diff(size) != 0) | (np.diff(y) != 1))
    height = np.diff(np.append(np.flatnonzero(new), len(x)))
    found = [Rect(*map(int, values)) for values in zip(x[new], y[new], size[new], height, strict=True)]
    return tuple(sorted(found, key=lambda rect: (-rect.num_pes, rect.y, rect.x)))
