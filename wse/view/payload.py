"""The data of a page: a run's tables as small compressed arrays that the page's scripts decode, within a budget of bytes.

What does not fit is made coarser in a fixed order, and the page says so: first time (neighbouring intervals are added up), then
the routes of each router by color, then the precision of totals.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np

from wse.errors import DoesNotFitError
from wse.view.intervals import Intervals
from wse.view.record import Run
from wse.view.tables import GRID, PE_COUNTS, Tiling, grids

Tick = Callable[[str, float], None]
"""Told of every step of something that may take long: its name, and the part of the whole that is done by then, 0 to 1."""


def no_tick(step: str, done: float) -> None:
    """Nobody listens."""


SMALL_MESH_PES = 128 * 128
SMALL_BYTES, LARGE_BYTES = 4_600_000, 18_500_000
"""Base64 characters a run may take in a page, on a small mesh and on a larger one: pages stay under 5 MB and 20 MB."""

MAX_ROUTES = 1_500_000
NO_CODE = 0xFFFFFFFF
EXTRA = PE_COUNTS[len(PE_COUNTS) - 4 :]  # counted per PE, but not over time
HEADLINE = (
    "model", "parameters", "arch", "mesh", "dtype", "context", "prompt_tokens", "generated_tokens", "text", "cycles_total", "ttft_cycles",
    "cycles_per_token", "clock_hz", "tokens_per_s_at_clock", "lower_bound_cycles", "lower_bound_ratio", "hops_per_token",
    "wavelets_per_token", "flops_per_token", "pe_active_frac", "sram_peak_bytes", "sram_peak_pe", "busiest_links",
    "predicted_cycles_per_token", "predicted_hops_per_token",
)  # fmt: skip
PREDICTED = ("cycles_per_token", "predicted_cycles_per_token", "hops_per_token", "predicted_hops_per_token")
OPS = (
    "op", "elapsed_cycles_per_token", "predicted_cycles_per_token", "elapsed_frac", "elapsed_pe_cycles", "busy_pe_cycles",
    "collective_pe_cycles",
)  # fmt: skip


@dataclass(frozen=True)
class Fidelity:
    """How much of a run a page holds."""

    max_intervals: int
    routes: bool  # each router's routes by color, beside the sums per direction
    bits: int | None  # of a total, None for exact


LADDER = (
    Fidelity(64, True, None), Fidelity(32, True, None), Fidelity(16, True, None), Fidelity(16, False, None), Fidelity(64, False, 16),
    Fidelity(32, False, 16), Fidelity(16, False, 16), Fidelity(16, False, 8), Fidelity(8, False, 8),
)  # fmt: skip


@dataclass
class Blob:
    """Arrays one after another, deflated, and where each begins."""

    arrays: list[dict[str, Any]] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)

    def add(self, name: str, values: np.ndarray, **how: Any) -> None:
        """Append an array of unsigned integers or float64; `how` tells the page how to read it."""
        offset = sum(map(len, self.parts))
        padding = -offset % values.itemsize
        self.parts += [b"\0" * padding, np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()]
        self.arrays.append({"name": name, "type": values.dtype.name, "shape": values.shape, "offset": offset + padding, **how})

    def text(self) -> str:
        """Deflated, as base64."""
        return base64.b64encode(zlib.compress(b"".join(self.parts), 6)).decode()


def squeeze(values: np.ndarray, bits: int) -> tuple[np.ndarray, float]:
    """Whole numbers as codes of 8 or 16 bits, and the largest: a code q stands for largest * (q / (2**bits - 1)) ** 2.

    Steps are fine near zero and coarser above; a value is off by at most largest / (2**bits - 1), zero is exact.
    """
    top, largest = (1 << bits) - 1, float(values.max(initial=0))
    codes = np.sqrt(values / max(largest, 1.0)) * top
    return np.where(values > 0, np.maximum(np.rint(codes), 1), 0).astype(f"uint{bits}"), largest


def narrow(values: np.ndarray) -> np.ndarray:
    """Non-negative whole numbers in the smallest type that JavaScript reads: uint8, uint16, uint32, or float64 above."""
    largest = int(values.max(initial=0))
    return values.astype(np.min_scalar_type(largest) if largest < 1 << 32 else np.float64)


def build(run: Run, name: str, tick: Tick = no_tick) -> dict[str, Any]:
    """The run as the page's scripts take it: plain values, and under "blobs" the arrays.

    `tick` is told of every step and what part is done. Raises `DoesNotFitError` when even the coarsest form is over the budget.
    """
    budget = SMALL_BYTES if run.width * run.height <= SMALL_MESH_PES else LARGE_BYTES
    head = _head(run, name)
    budget -= len(json.dumps(head))
    # a rung of the ladder shares most of its parts with the one before
    intervals_of, totals_of = cache(partial(_intervals_blob, run)), cache(partial(_totals_blob, run))
    routes_of = cache(partial(_routes_blob, run))
    for rung, fidelity in enumerate(LADDER):
        if fidelity.routes and len(run.links["x"]) > MAX_ROUTES:
            continue
        precision = "exact" if fidelity.bits is None else f"in {fidelity.bits} bits"
        tick(f"packing {fidelity.max_intervals} intervals, totals {precision}", rung / len(LADDER))
        (intervals, edges), totals = intervals_of(fidelity.max_intervals), totals_of(fidelity.bits)
        blobs = [intervals, totals] + ([routes_of()] if fidelity.routes else [])
        if sum(len(blob["data"]) for blob in blobs) <= budget:
            notes = _notes(run, fidelity, len(edges) - 1)
            return {**head, "intervals": {"side": run.intervals.side, "edges": edges}, "blobs": blobs, "notes": notes}
    raise DoesNotFitError(f"the page's data for {run.width}x{run.height} PEs exceeds {budget / 1e6:.0f} MB even in its coarsest form")


def _intervals_blob(run: Run, max_intervals: int) -> tuple[dict[str, Any], list[int]]:
    intervals: Intervals = run.intervals
    while len(intervals) > max_intervals:
        intervals = intervals.merged()
    blob = Blob()
    for name in GRID:
        codes, largest = squeeze(intervals[name], 8)
        blob.add(f"intervals:{name}", codes, largest=largest)
    return {"arrays": blob.arrays, "data": blob.text()}, intervals.edges.tolist()


def _totals_blob(run: Run, bits: int | None) -> dict[str, Any]:
    tiling, blob = Tiling(run.width, run.height), Blob()
    at = tiling.index(run.pes["x"], run.pes["y"])
    classes = np.full(run.width * run.height, NO_CODE, np.uint32)
    classes[at] = run.pes["class"]
    blob.add("class", classes)
    totals = grids(run.pes, run.links, tiling)
    for name in EXTRA:
        totals[name] = tiling.add(at, run.pes[name])
    for name, grid in totals.items():
        if bits is None:
            blob.add(name, narrow(grid))
        else:
            codes, largest = squeeze(grid, bits)
            blob.add(name, codes, largest=largest)
    return {"arrays": blob.arrays, "data": blob.text()}


def _routes_blob(run: Run) -> dict[str, Any]:
    blob = Blob()
    pe = run.links["y"] * run.width + run.links["x"]
    order = np.argsort(pe, kind="stable")
    blob.add("route:pe", narrow(pe[order]))
    for name in ("color", "rx", "tx", "sent", "wait"):
        blob.add(f"route:{name}", narrow(run.links[name][order]))
    return {"arrays": blob.arrays, "data": blob.text()}


def _head(run: Run, name: str) -> dict[str, Any]:
    """Everything but the arrays."""
    layers = {column: values.tolist() for column, values in run.layers.items()}
    memory = run.memory
    return {
        "name": name, "mesh": [run.width, run.height], "cycles": run.cycles, "layers": layers,
        "wires": [[wire.name, wire.color, wire.pieces, run.between_blocks(wire)] for wire in run.wires],
        "memory": {"reserved": memory["reserved_bytes"], "sram": memory["sram_bytes"],
                   "classes": [[c["layout"], c["data_bytes"], c["code_bytes"]] for c in memory["classes"]],
                   "layouts": [[list(buffer.values()) for buffer in buffers] for buffers in memory["layouts"]]},
        "summary": {key: run.summary[key] for key in HEADLINE if key in run.summary},
        "predicted": [{key: block.get(key) for key in PREDICTED} for block in run.summary.get("blocks", [])],
        "ops": [{key: op.get(key) for key in OPS} for op in run.summary.get("ops", [])],
        "not_modelled": run.summary.get("not_modelled", []), "defects": run.summary.get("defects"),
        "versions": {
            name: version
            for name, version in run.provenance.get("versions", {}).items()
            if name in ("wse", "python", "numpy", "numba")
        },
    }  # fmt: skip


def _notes(run: Run, fidelity: Fidelity, num_intervals: int) -> list[str]:
    """What the page does not hold in full."""
    side = run.intervals.side
    per = "each PE" if side == 1 else f"each tile of {side}x{side} PEs"
    notes = [f"Over time: {num_intervals} intervals for {per}, values rounded to 8 bits (off by at most 0.4 % of the largest)."]
    if fidelity.bits is None:
        notes.append("Totals of the whole run: exact, for each PE.")
    else:
        off = 100 / ((1 << fidelity.bits) - 1)
        notes.append(f"Totals of the whole run: for each PE, rounded to {fidelity.bits} bits (off by at most {off:.2g} % of the largest).")
    if not fidelity.routes:
        notes.append("Routes of each router by color are left out for size; the run folder has them in its links table.")
    return notes
