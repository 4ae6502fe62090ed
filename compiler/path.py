"""One cheapest path over the mesh, in arrays: Dijkstra with the distance left as a lower bound (A*)."""

from __future__ import annotations

import numpy as np

from wse._jit import kernel
from wse.isa import PORT_STEP, Port

PE = tuple[int, int]
_STEPS = np.array([PORT_STEP[Port(port)] for port in range(4)], np.int64)  # (port, x or y)
_NEVER = np.int64(1 << 60)


def find_path(cost: np.ndarray, link_cost: np.ndarray, start: PE, end: PE, closed: set[PE], dead: np.ndarray) -> list[PE]:
    """PEs from `start` to `end`, of least cost: 1 per link, `cost[y, x]` per PE entered, `link_cost[y, x, port]` per link.

    `closed`: PEs not to pass (an end among them may still be entered). A link of negative cost cannot be crossed; PEs where
    `dead[y, x]` are only passed straight on. Empty when there is no way. Ties go to the port of lowest number.
    """
    height, width = cost.shape
    best = np.full(height * width, _NEVER)
    came = np.full(height * width, -1, np.int8)
    for x, y in closed - {end}:
        best[y * width + x] = -1
    heap_key, heap_pe = np.empty(4 * height * width, np.int64), np.empty(4 * height * width, np.int64)
    _search(cost.reshape(-1), link_cost.reshape(-1, 4), dead.reshape(-1), _STEPS, width, start[1] * width + start[0],
            end[1] * width + end[0], best, came, heap_key, heap_pe)  # fmt: skip
    pe = end[1] * width + end[0]
    if came[pe] < 0 and start != end:
        return []
    path = [end]
    while path[-1] != start:
        if not dead.flat[pe]:  # else as it was come to beyond
            dx, dy = _STEPS[came[pe]]
        pe -= dy * width + dx
        path.append((int(pe % width), int(pe // width)))
    return path[::-1]


@kernel(sources=(__file__,))
def _search(cost, link_cost, dead, steps, width, start, end, best, came, heap_key, heap_pe):
    """Fill `best` and `came` (the port through which each PE was entered) until `end` is settled."""
    height = best.shape[0] // width
    end_x, end_y = end % width, end // width
    num = 1
    heap_key[0] = 0
    heap_pe[0] = start
    best[start] = 0
    while num > 0:
        pe = heap_pe[0]
        key = heap_key[0]
        num -= 1
        last_key, last_pe = heap_key[num], heap_pe[num]
        i = 0
        while True:  # sift down
            child = 2 * i + 1
            if child >= num:
                break
            if child + 1 < num and heap_key[child + 1] < heap_key[child]:
                child += 1
            if heap_key[child] >= last_key:
                break
            heap_key[i], heap_pe[i] = heap_key[child], heap_pe[child]
            i = child
        heap_key[i], heap_pe[i] = last_key, last_pe
        if pe == end:
            return
        x, y = pe % width, pe // width
        if key > best[pe] + abs(end_x - x) + abs(end_y - y):
            continue  # a shorter way was found since
        for port in range(4):
            nx, ny = x + steps[port, 0], y + steps[port, 1]
            if nx < 0 or ny < 0 or nx >= width or ny >= height:
                continue
            there = ny * width + nx
            if link_cost[pe, port] < 0:
                continue
            far = best[pe] + 1 + cost[there] + link_cost[pe, port]
            while dead[there] and best[there] >= 0:  # straight on to the first that is not
                nx, ny = nx + steps[port, 0], ny + steps[port, 1]
                if nx < 0 or ny < 0 or nx >= width or ny >= height or link_cost[there, port] < 0:
                    break
                far += 1 + link_cost[there, port]
                there = ny * width + nx
                far += cost[there]
            if not dead[there] and far < best[there]:
                best[there] = far
                came[there] = port
                key = far + abs(end_x - nx) + abs(end_y - ny)
                i = num
                num += 1
                while i > 0 and heap_key[(i - 1) // 2] > key:  # sift up
                    heap_key[i], heap_pe[i] = heap_key[(i - 1) // 2], heap_pe[(i - 1) // 2]
                    i = (i - 1) // 2
                heap_key[i], heap_pe[i] = key, there
    return
