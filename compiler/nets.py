"""Nets: the ways a vector can go from one block's rectangle to the next, and what each costs in closed form.

A block holds the vector in y-layout: row r has segment r, in every column. Three kinds of net follow:

* `ASIDE`: both blocks have the same rows, side by side. Row r streams its segment straight into row r of the next block.
* `STACKED`: same height, one above the other, sharing at least as many columns as there are rows. Row r streams its segment straight
  down (or up) a column of its own to row r of the next block; the PE it reaches passes it along the row.
* `TRUNK`: anything else. The exit column gathers the segments into one stream; the entry column sees all of it, and each
  of its PEs passes its row's segment along the row.

`measure` is the one place that decides between them: placers, cost model and router all ask it.
"""

from __future__ import annotations

from wse.isa import Port

ASIDE, STACKED, TRUNK = 0, 1, 2
KIND_NAMES = ("aside", "stacked", "trunk")
FREE = -1  # a side that is not given: the cheaper one is taken
NORTH, EAST, SOUTH, WEST = (int(port) for port in (Port.NORTH, Port.EAST, Port.SOUTH, Port.WEST))


def measure(  # one function of plain integers, so that the annealer can compile it
    dim, ax, ay, aw, ah, out_side, bx, by, bw, bh, in_side, hop, ramp
):
    """(kind, hops, cycles, exit x, exit y, entry x, entry y) of `dim` wavelets from rectangle a to rectangle b.

    `out_side`, `in_side`: the face of a, of b, the vector passes (a port, or `FREE`). `hop`: cycles per link; `ramp`:
    cycles from one core to the next beyond its hops. Hops are exact and leave out the spreading along b's rows, which is the
    same for every kind; cycles count from "a has the vector" to "all of b has it", on an idle machine. For `ASIDE` and
    `STACKED` exit and entry are those of row 0. One function of plain integers, so that the annealer can compile it.
    """
    segment = (dim + ah - 1) // ah
    if ah == bh and ay == by:
        if bx >= ax + aw and out_side in (-1, 1) and in_side in (-1, 3):
            gap = bx - ax - aw + 1
            return 0, dim * gap, segment + (gap + bw - 1) * hop + ramp, ax + aw - 1, ay, bx, by
        if ax >= bx + bw and out_side in (-1, 3) and in_side in (-1, 1):
            gap = ax - bx - bw + 1
            return 0, dim * gap, segment + (gap + bw - 1) * hop + ramp, ax, ay, bx + bw - 1, by
    left = max(ax, bx)
    down = by >= ay + ah and out_side in (-1, 2) and in_side in (-1, 0)
    up = ay >= by + bh and out_side in (-1, 0) and in_side in (-1, 2)
    if ah == bh and min(ax + aw, bx + bw) - left >= ah and (down or up):
        rise = abs(by - ay)
        return 1, dim * rise, 2 * segment + (rise + bw - 1) * hop + 2 * ramp, left, ay, left, by
    # trunk: columns first, then the pair of rows with the fewest hops
    a0, a1 = ax, ax + aw - 1
    if out_side == 3:
        a1 = a0
    elif out_side == 1:
        a0 = a1
    b0, b1 = bx, bx + bw - 1
    if in_side == 3:
        b1 = b0
    elif in_side == 1:
        b0 = b1
    exit_x = max(a0, min(a1, b0))
    entry_x = max(b0, min(b1, exit_x))
    exit_x = max(a0, min(a1, entry_x))
    full = dim // segment
    to_top = segment * full * (full - 1) // 2 + (dim - full * segment) * full
    in_segment = (dim + bh - 1) // bh
    best, best_cycles, exit_y, entry_y = -1, 0, ay, by
    for at_bottom in range(2):
        if (out_side == 0 and at_bottom == 1) or (out_side == 2 and at_bottom == 0):
            continue
        gather = (ah - 1) * dim - to_top if at_bottom else to_top
        for into_bottom in range(2):
            if (in_side == 0 and into_bottom == 1) or (in_side == 2 and into_bottom == 0):
                continue
            out_y = ay + ah - 1 if at_bottom else ay
            in_y = by + bh - 1 if into_bottom else by
            far = abs(entry_x - exit_x) + abs(in_y - out_y)
            hops = gather + dim * far + dim * (bh - 1)
            if best < 0 or hops < best:
                best, exit_y, entry_y = hops, out_y, in_y
                wait = (ah - 1) * (hop + ramp) if at_bottom else 0
                best_cycles = wait + dim + (far + bh - 1) * hop + ramp + in_segment + (bw - 1) * hop + ramp
    return 2, best, best_cycles, exit_x, exit_y, entry_x, entry_y


def measure_in(dim, bx, bw, bh, in_side, hop, ramp):
    """(hops, cycles) from the host, at the mesh's west edge, into the block at column bx: a trunk along its entry's row."""
    far = bx + bw - 1 if in_side == 1 else bx
    return dim * (far + bh - 1), dim + (far + bh + bw) * hop + 2 * ramp + (dim + bh - 1) // bh


def measure_out(mesh_width, ax, aw, out_side, hop, ramp):
    """(hops, cycles) of one result from the last block, at column ax, over the mesh's east edge."""
    far = mesh_width - ax if out_side == 3 else mesh_width - ax - aw + 1
    return far, far * hop + ramp
