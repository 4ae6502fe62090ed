"""Following links from node to node to where they end, all nodes at once."""

from __future__ import annotations

import numpy as np


def follow(onward: np.ndarray, marked: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each node: the last one, the links on the way there, and whether a marked one is among all of these, ends included.

    `onward`: int64 (n,), the node that each leads to, itself where the way ends. `marked`: bool (n,), by default none.
    A way that leads into a ring has no end: n links or more are counted, and its last node is any of the ring.
    Pointer doubling: log2(n) steps of whole arrays.
    """
    num = len(onward)
    last = onward
    links = (last != np.arange(num)).astype(np.int64)
    met = np.zeros(num, bool) if marked is None else marked | marked[last]
    for _ in range(num.bit_length()):
        if not links[last].any():  # all are at their ends; in a ring none ever is
            break
        links, met, last = links + links[last], met | met[last], last[last]
    return last, links, met
