"""Tables of the state, laid out for the cache."""

from __future__ import annotations

import numpy as np


def table(rows: int, columns: int) -> np.ndarray:
    """An int64 matrix of zeros whose rows begin at cache lines (or, if short, share one)."""
    columns = columns if columns <= 2 else -(-columns // 8) * 8
    raw = np.zeros(rows * columns + 8, np.int64)
    first = -raw.ctypes.data % 64 // 8
    return raw[first : first + rows * columns].reshape(rows, columns)
