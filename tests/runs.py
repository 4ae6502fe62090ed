"""Runs made up for tests of what shows them: any size, with counts that fit together, no emulation."""

from __future__ import annotations

import json

import numpy as np

from wse.program import Rect
from wse.provenance import SCHEMA
from wse.view.intervals import MAX_TILES, Intervals
from wse.view.record import Run, Wire, layer_table
from wse.view.tables import GRID, PE_COUNTS, grids, tiling_of_at_most


def made_up_run(
    width: int, height: int, *, seed: int = 0, blocks: int = 4, free_rows: int = 0,
    num_intervals: int = 64, colors: int = 2, noise: bool = True,
) -> Run:  # fmt: skip
    """Blocks in columns over the whole mesh but for some rows in the south; every PE has code.

    With `noise` every count is random: the worst case for compression.
    """
    rng = np.random.default_rng(seed)
    cycles, num = 100_000, width * height
    y, x = (axis.ravel() for axis in np.mgrid[:height, :width])

    def counts(most: int, size: int) -> np.ndarray:
        return rng.integers(0, most, size) if noise else np.full(size, most // 2)

    pes = {"x": x, "y": y, "class": np.minimum(3, x * 4 // width), **{name: counts(cycles // 8, num) for name in PE_COUNTS}}
    links = {
        "x": np.tile(x, colors), "y": np.tile(y, colors), "color": np.repeat(np.arange(colors), num), "rx": np.full(colors * num, 4),
        "tx": 1 << rng.integers(0, 4, colors * num), "sent": counts(cycles // 4, colors * num), "wait": counts(1000, colors * num),
    }  # fmt: skip
    tiling = tiling_of_at_most(width, height, MAX_TILES)
    totals = grids(pes, links, tiling)
    rest = np.stack([totals[name] for name in GRID])
    intervals = []
    for i in range(num_intervals):
        left = num_intervals - i
        part = rest if left == 1 else rng.integers(0, 2 * rest // left + 1) if noise else rest // left
        intervals.append(part)
        rest = rest - part
    edges = np.linspace(0, cycles, num_intervals + 1).astype(np.int64)
    step = width // max(blocks, 1)
    rects = [(f"block {i}", Rect(i * step, 0, step, height - free_rows)) for i in range(blocks)]
    wires = tuple(Wire(f"block {i} -> block {i + 1}", 5, (((i + 1) * step - 1, 0, (i + 1) * step, 0),)) for i in range(blocks - 1))
    buffers = [
        {"name": "w", "address": 0, "bytes": 30_000, "type": "f16", "shape": [100, 150]},
        {"name": "x", "address": 30_000, "bytes": 400, "type": "f32", "shape": [100]},
    ]
    classes = [{"pes": num // 4, "where": [], "layout": 0, "data_bytes": 30_400, "code_bytes": 3000 * i} for i in range(4)]
    memory = {"sram_bytes": 49_152, "reserved_bytes": 4176, "classes": classes, "layouts": [buffers]}
    summary = {
        "schema": SCHEMA, "model": "made up", "arch": "wse2", "mesh": [width, height], "cycles_total": cycles, "cycles_per_token": 1234.5,
        "predicted_cycles_per_token": 1200.0, "hops_per_token": 990.0, "predicted_hops_per_token": 990.0, "not_modelled": ["the weather"],
        "blocks": [{"cycles_per_token": 310.0 + i, "predicted_cycles_per_token": 300.0 + i, "hops_per_token": 240.0 + i,
                    "predicted_hops_per_token": 240.0 + i} for i in range(blocks)],
        "ops": [
            {"op": "qkv", "elapsed_cycles_per_token": 100.0, "predicted_cycles_per_token": 98.0, "elapsed_frac": 0.75,
             "elapsed_pe_cycles": 3000, "busy_pe_cycles": 1500, "collective_pe_cycles": 300},
            {"op": "pass_on", "elapsed_cycles_per_token": 30.0, "predicted_cycles_per_token": None, "elapsed_frac": 0.25,
             "elapsed_pe_cycles": 1000, "busy_pe_cycles": 100, "collective_pe_cycles": 0},
            {"op": "take_in", "elapsed_cycles_per_token": 900.0, "predicted_cycles_per_token": None, "elapsed_frac": None,
             "elapsed_pe_cycles": 9000, "busy_pe_cycles": 0, "collective_pe_cycles": 0},
        ],
    }  # fmt: skip
    config = f"schema = {SCHEMA}\n[run]\nmodel = \"made up\"\n"
    return Run(summary, config, json.dumps({"schema": 1}), memory, layer_table(rects, pes, links), pes, links, wires,
               Intervals(tiling.side, edges, np.stack(intervals)), {"wse": "0"})  # fmt: skip
