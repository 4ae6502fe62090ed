"""Run: everything one wants to see of a run, as plain values; made from a machine that has run, or read back from a run folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wse.errors import ConfigError
from wse.fold import rectangles
from wse.isa import PORT_STEP, TYPE_BYTES, Port
from wse.machine import Machine
from wse.program import Program, Rect
from wse.provenance import SCHEMA
from wse.spec import MachineSpec
from wse.view.intervals import Intervals, Sampler
from wse.view.tables import BUSY, GRID, PE_COUNTS, STALL, Table, Tiling, grids, hops, inside, link_table, pe_table

if TYPE_CHECKING:
    from wse.compiler.route import Net

"""Of every file of a run folder; raised when one of them changes."""


@dataclass(frozen=True)
class Wire:
    """A net as drawn: straight pieces (x0, y0, x1, y1), each in the direction in which wavelets go."""

    name: str
    color: int
    pieces: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class Run:
    """A run as it can be looked at. Tables have a row per core (`pes`) and per router and color (`links`)."""

    summary: dict[str, Any]  # what `wse run --json` prints
    config: str  # TOML: the run's options and the machine's numbers
    placement: str  # JSON, as --placement takes it
    memory: dict[str, Any]  # as `memory_map` gives it
    layers: Table  # per block: name, rectangle, sums over its PEs
    pes: Table
    links: Table
    wires: tuple[Wire, ...]
    intervals: Intervals
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """PEs along x."""
        return int(self.summary["mesh"][0])

    @property
    def height(self) -> int:
        """PEs along y."""
        return int(self.summary["mesh"][1])

    @property
    def cycles(self) -> int:
        """Cycles of the whole run."""
        return int(self.summary["cycles_total"])

    @property
    def blocks(self) -> tuple[tuple[str, Rect], ...]:
        """Name and rectangle of every block."""
        columns = (self.layers[name].tolist() for name in ("name", "x", "y", "width", "height"))
        return tuple((str(name), Rect(*rect)) for name, *rect in zip(*columns, strict=True))

    def between_blocks(self, wire: Wire) -> list[tuple[int, int, int, int]]:
        """The parts of a wire's pieces that lead from one block to another, or through no block."""
        grid = np.full((self.height + 2, self.width + 2), -1)  # the host's end is one PE off the mesh
        for i, (_, rect) in enumerate(self.blocks):
            grid[rect.y + 1 : rect.y + rect.height + 1, rect.x + 1 : rect.x + rect.width + 1] = i
        kept = []
        for x0, y0, x1, y1 in wire.pieces:
            num = max(abs(x1 - x0), abs(y1 - y0))
            x, y = np.linspace(x0, x1, num + 1, dtype=int), np.linspace(y0, y1, num + 1, dtype=int)
            at = grid[y + 1, x + 1]
            crosses = np.concatenate([[False], (at[1:] != at[:-1]) | (at[1:] < 0), [False]])
            first, last = np.flatnonzero(crosses[1:] & ~crosses[:-1]), np.flatnonzero(crosses[:-1] & ~crosses[1:])
            kept += [(int(x[a]), int(y[a]), int(x[b]), int(y[b])) for a, b in zip(first, last, strict=True)]
        return kept

    def sram_bytes(self) -> np.ndarray:
        """SRAM in use, per row of `pes`: data, code and the runtime's reserve."""
        used = np.array([entry["data_bytes"] + entry["code_bytes"] for entry in self.memory["classes"]], np.int64)
        return used[self.pes["class"]] + self.memory["reserved_bytes"]

    def verify(self) -> None:
        """Raise `ConfigError` unless the parts fit together: places on the mesh, columns of equal length, intervals that add
        up to the totals."""
        mesh = Rect(0, 0, self.width, self.height)
        if mesh.width < 1 or mesh.height < 1:
            raise ConfigError(f"a mesh of {mesh.width}x{mesh.height} PEs is no mesh")
        for name, rect in self.blocks:
            if not mesh.contains(rect):
                raise ConfigError(f"block '{name}' at {rect} is outside the mesh {mesh}")
        for what, table, columns in (
            ("pes", self.pes, ("x", "y", "class", *PE_COUNTS)),
            ("links", self.links, ("x", "y", "color", "rx", "tx", "sent", "wait")),
        ):
            if missing := [name for name in columns if name not in table]:
                raise ConfigError(f"{what} lacks the column '{missing[0]}'")
            for name in columns:
                if table[name].shape != table["x"].shape or table[name].dtype.kind not in "iu":
                    raise ConfigError(f"{what}: column '{name}' does not hold one whole number per row")
            if len(table["x"]) and not inside(table, mesh).all():
                raise ConfigError(f"{what} names a PE outside the mesh {mesh}")
        if len(self.pes["class"]) and not 0 <= self.pes["class"].min() <= self.pes["class"].max() < len(self.memory["classes"]):
            raise ConfigError("pes names a code class that memory does not have")
        if any(not 0 <= entry["layout"] < len(self.memory["layouts"]) for entry in self.memory["classes"]):
            raise ConfigError("memory names a layout that it does not have")
        self._verify_intervals()

    def _verify_intervals(self) -> None:
        intervals = self.intervals
        tiling = Tiling(self.width, self.height, intervals.side)
        if intervals.counts.shape != (len(intervals.edges) - 1, len(GRID), *tiling.shape):
            raise ConfigError(f"intervals of shape {intervals.counts.shape} do not cover {self.width}x{self.height} PEs")
        if not len(intervals):
            return
        if intervals.edges[0] != 0 or intervals.edges[-1] != self.cycles or (np.diff(intervals.edges) <= 0).any():
            raise ConfigError(f"intervals do not cover cycles 0 to {self.cycles} in order")
        totals = grids(self.pes, self.links, tiling)
        for name in GRID:
            if not np.array_equal(intervals[name].sum(axis=0, dtype=np.int64), totals[name]):
                raise ConfigError(f"intervals do not add up to the totals of '{name}'")

    def _repr_html_(self) -> str:
        from wse.view.notebook import run_html

        return run_html(self)


def record(
    machine: Machine,
    sampler: Sampler,
    summary: dict[str, Any] | None = None,
    *,
    blocks: Iterable[tuple[str, Rect]] = (),
    nets: Iterable[Net] = (),
    placement: str = "{}\n",
    config: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Run:
    """What `machine` did since it was loaded, always run through `sampler`. `blocks`: name and rectangle of what the page marks.

    The rest is as in `Run`; without a summary there is the least a picture needs, without a config the machine's numbers.
    """
    program, counters = machine.program, machine.counters()
    pes, links = pe_table(program, counters), link_table(program, counters)
    least = {"schema": SCHEMA, "arch": program.spec.name, "mesh": [program.width, program.height], "cycles_total": machine.cycles}
    wires = tuple(wire for net in nets for wire in _wires(net))
    return Run(
        summary or least, config or config_toml({}, program.spec), placement, memory_map(program), layer_table(list(blocks), pes, links),
        pes, links, wires, sampler.intervals(machine), dict(provenance or {}),
    )  # fmt: skip


def config_toml(options: Mapping[str, Any], spec: MachineSpec) -> str:
    """Options of the run and numbers of the machine as TOML. An option of None was not given and is left out."""
    # a JSON string, number or list is TOML too, but for one control character that JSON does not escape
    rows = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in options.items() if value is not None)
    run = "\n".join(rows).replace("\x7f", "\\u007f")
    return f"schema = {SCHEMA}\n\n[run]\n{run}\n\n[machine]\n{spec.dump()}"


def memory_map(program: Program) -> dict[str, Any]:
    """How SRAM is used: per code class which PEs have it, and its layout; layouts, which classes share, as lists of buffers."""
    layouts: dict[tuple[Any, ...], int] = {}
    classes = []
    by_class = np.argsort(program.core_class, kind="stable")
    starts = np.searchsorted(program.core_class[by_class], np.arange(1, len(program.classes)))
    for cls, cores in zip(program.classes, np.split(by_class, starts), strict=True):
        members = program.core_pe[cores]
        where = sorted(rectangles(members, program.width), key=lambda rect: (rect.y, rect.x))
        buffers = tuple(
            (s.name, s.address, s.num_elements * TYPE_BYTES[s.type], s.type.name.lower(), s.shape)
            for s in sorted(cls.symbols.values(), key=lambda s: s.address)
        )
        classes.append({
            "pes": len(members), "where": [str(rect) for rect in where], "layout": layouts.setdefault(buffers, len(layouts)),
            "data_bytes": 4 * cls.sram_words, "code_bytes": cls.code_bytes,
        })  # fmt: skip
    names = ("name", "address", "bytes", "type", "shape")
    return {
        "sram_bytes": program.spec.sram_bytes, "reserved_bytes": program.spec.sram_reserved_bytes, "classes": classes,
        "layouts": [[dict(zip(names, buffer, strict=True)) for buffer in buffers] for buffers in layouts],
    }  # fmt: skip


def layer_table(blocks: list[tuple[str, Rect]], pes: Table, links: Table) -> Table:
    """A row per block: its rectangle, PE-cycles by class and reason, those of its busiest PE, hops that start in it."""
    crossed = hops(links)
    rows: list[dict[str, Any]] = []
    for name, rect in blocks:
        mine, routed = inside(pes, rect), inside(links, rect)
        sums = {column: int(pes[column][mine].sum()) for column in (*BUSY, *STALL)}
        busiest = sum(pes[column][mine] for column in BUSY).max(initial=0)  # type: ignore[union-attr]
        rows.append({
            "name": name, "x": rect.x, "y": rect.y, "width": rect.width, "height": rect.height, **sums,
            "busiest_pe_cycles": int(busiest), "hops": int(crossed[routed].sum()),
        })  # fmt: skip
    names = rows[0] if rows else dict.fromkeys(("name", "x", "y", "width", "height"))
    return {name: np.array([row[name] for row in rows]) for name in names}


def _wires(net: Net) -> list[Wire]:
    """A net as drawn: a wire for each color of its lanes."""
    pieces: dict[int, list[tuple[int, int, int, int]]] = {}
    for lane in net.lanes:
        pieces.setdefault(lane.color, []).extend(straight_pieces(lane.hops))
    return [Wire(net.name, color, tuple(sorted(found))) for color, found in pieces.items()]


def straight_pieces(hops: Mapping[tuple[int, int], tuple[Port, frozenset[Port]]]) -> tuple[tuple[int, int, int, int], ...]:
    """A lane's links joined to straight pieces; `hops` as in `Lane`. The host's end reaches one PE off the mesh."""
    pieces = []
    for (x, y), (rx, tx) in hops.items():
        for port in tx - {Port.RAMP}:
            dx, dy = PORT_STEP[port]
            behind = hops.get((x - dx, y - dy))
            if behind is not None and port in behind[1]:
                continue  # this link goes on a piece that began earlier
            at = (x, y)
            while at in hops and port in hops[at][1]:
                at = (at[0] + dx, at[1] + dy)
            pieces.append((x, y, *at))
        if rx != Port.RAMP:
            dx, dy = PORT_STEP[rx]
            if (x + dx, y + dy) not in hops:
                pieces.append((x + dx, y + dy, x, y))
    return tuple(sorted(pieces))
