"""Counters as tables (a row per PE, a row per router and color) and as grids (a cell per tile of the mesh)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wse.isa import OpClass, Port, Stall
from wse.machine import Counters
from wse.program import Program, Rect

Table = Mapping[str, np.ndarray]
"""Columns of equal length, by name."""

LINKS = tuple(port for port in Port if port != Port.RAMP)
BUSY = tuple(f"busy_{op.name.lower()}" for op in OpClass)
STALL = tuple(f"stall_{stall.name.lower()}" for stall in Stall)
SENT = tuple(f"sent_{port.name.lower()}" for port in LINKS)
GRID = (*BUSY, *STALL, *SENT, "wait")
"""What is counted per tile: PE-cycles busy by class and stalled by reason, wavelets sent over links by direction,
cycles wavelets waited in routers."""

PE_COUNTS = (*BUSY, *STALL, "instructions", "flops", "sram_read_bytes", "sram_write_bytes")


def pe_table(program: Program, counters: Counters) -> Table:
    """A row per core: where it is (x, y), its code class, and its counters (`PE_COUNTS`)."""
    table = {"x": program.core_pe % program.width, "y": program.core_pe // program.width, "class": program.core_class}
    table |= {name: counters.busy[:, op] for name, op in zip(BUSY, OpClass, strict=True)}
    table |= {name: counters.stall[:, stall] for name, stall in zip(STALL, Stall, strict=True)}
    return table | {name: getattr(counters, name) for name in PE_COUNTS[len(BUSY) + len(STALL) :]}


def link_table(program: Program, counters: Counters) -> Table:
    """A row per router and color: rx is a `Port`, tx a bit mask of ports; each of the `sent` wavelets left through all of tx."""
    where = {"x": program.channel_pe % program.width, "y": program.channel_pe // program.width}
    routes = {"color": program.channel_color, "rx": program.channel_rx, "tx": program.channel_tx}
    return where | routes | {"sent": counters.sent, "wait": counters.wait}


def hops(links: Table) -> np.ndarray:
    """Links crossed, per row of a link table: wavelets times tx ports that are links."""
    return links["sent"] * sum((links["tx"] >> port) & 1 for port in LINKS)


def inside(table: Table, rect: Rect) -> np.ndarray:
    """Which rows of a table lie in `rect`."""
    return rect.holds(table["x"], table["y"])


@dataclass(frozen=True)
class Tiling:
    """A mesh cut into square tiles of `side` PEs; those at the east and south edge may be smaller."""

    width: int
    height: int
    side: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Tiles along y, tiles along x."""
        return -(-self.height // self.side), -(-self.width // self.side)

    def index(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Flat index of the tile that holds PE (x, y)."""
        return (y // self.side) * self.shape[1] + x // self.side

    def add(self, index: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Sums of `values` per tile, as int64 of `shape`. Exact below 2**53."""
        rows, columns = self.shape
        return np.bincount(index, values, rows * columns).astype(np.int64).reshape(rows, columns)


def tiling_of_at_most(width: int, height: int, max_tiles: int) -> Tiling:
    """The finest tiling with a side that is a power of two and no more than `max_tiles` tiles."""
    side = 1
    while np.prod(Tiling(width, height, side).shape) > max_tiles:
        side *= 2
    return Tiling(width, height, side)


def grids(pes: Table, links: Table, tiling: Tiling) -> dict[str, np.ndarray]:
    """Every count of `GRID`, summed per tile."""
    at_pe, at_link = (tiling.index(table["x"], table["y"]) for table in (pes, links))
    result = {name: tiling.add(at_pe, pes[name]) for name in (*BUSY, *STALL)}
    for name, port in zip(SENT, LINKS, strict=True):
        result[name] = tiling.add(at_link, links["sent"] * ((links["tx"] >> port) & 1))
    result["wait"] = tiling.add(at_link, links["wait"])
    return result
