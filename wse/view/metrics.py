"""What a picture of the mesh can show: each metric's name, unit, meaning and formula, for pictures, terminal and page alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from wse.errors import ConfigError, nearest
from wse.view.record import Run
from wse.view.tables import BUSY, LINKS, SENT, STALL, Tiling, grids


class Form(StrEnum):
    """How a metric follows from its parts, per PE: counts of `GRID` or `PE_COUNTS`."""

    SUM = "sum"  # factor * sum of parts / cycles
    REST = "rest"  # factor * (cycles - sum of parts) / cycles
    MAX = "max"  # factor * largest part / cycles
    SRAM = "sram"  # bytes in use; no parts


@dataclass(frozen=True)
class Metric:
    """A metric. `over_time`: intervals have it too. `links`: of routers, which PEs without code have as well."""

    id: str
    group: str
    label: str
    about: str
    unit: str
    parts: tuple[str, ...]
    form: Form = Form.SUM
    factor: float = 100
    over_time: bool = True
    links: bool = False


KINDS = {
    "busy_fma": ("multiply-accumulate", "Cycles in beats of multiply-accumulate."),
    "busy_add": ("add, multiply, compare", "Cycles in beats of add, multiply and compare."),
    "busy_move": ("copy and send", "Cycles in beats of copies, to memory or to the fabric."),
    "busy_special": ("special functions", "Cycles in beats of exp, rsqrt, SiLU, sin, cos and division."),
    "stall_data": ("waits for data", "Cycles in which an operation waited for a wavelet."),
    "stall_room": ("waits for room", "Cycles in which an operation waited for room in its output."),
    "stall_bank": ("waits for a bank", "Cycles in which a beat waited for a bank of SRAM."),
    "stall_overhead": ("issue and branches", "Cycles of issuing, branching and starting tasks."),
}
"""Label and meaning of a PE-cycle by what it was spent on; a kind not named here is shown by its own name."""


def _kind(name: str, group: str) -> Metric:
    label, about = KINDS.get(name, (name.replace("_", " "), f"Cycles counted as {name}."))
    return Metric(name, group, label, about, "%", (name,))


def _per_cycle(name: str, label: str, about: str, unit: str, factor: float = 1) -> Metric:
    return Metric(name, "Work and memory", label, about, unit, (name,), factor=factor, over_time=False)


METRICS = (
    Metric("active", "Activity", "PE activity", "Cycles in which the datapath worked on a beat of a vector operation.", "%", BUSY),
    *(_kind(name, "Activity") for name in sorted(BUSY, key=lambda name: [*KINDS, name].index(name))),
    Metric("stall", "Stalls", "stalled, all reasons", "Cycles with an operation under way but no beat.", "%", STALL),
    *(_kind(name, "Stalls") for name in sorted(STALL, key=lambda name: [*KINDS, name].index(name))),
    Metric("idle", "Stalls", "nothing to do", "Cycles with no operation under way.", "%", (*BUSY, *STALL), Form.REST),
    Metric("link_load", "Links", "link load, busiest direction",
           "Cycles in which the busiest of the four outgoing links carried a wavelet. Zoomed in, each PE shows its four links apart.",
           "%", SENT, Form.MAX, links=True),
    *(Metric(name, "Links", f"link load, {port.name.lower()}", f"Cycles in which the link to the {port.name.lower()} carried a wavelet.",
             "%", (name,), links=True) for name, port in zip(SENT, LINKS, strict=True)),
    Metric("wait", "Links", "wavelets held up", "Wavelets that could have left a router but did not, on average.", "wavelets", ("wait",),
           factor=1, links=True),
    Metric("sram", "Work and memory", "SRAM in use", "Data, code and the runtime's reserve, as linked.", "B", (), Form.SRAM, 1, False),
    _per_cycle("sram_read_bytes", "SRAM read", "Bytes read from SRAM per cycle.", "B/cycle"),
    _per_cycle("sram_write_bytes", "SRAM written", "Bytes written to SRAM per cycle.", "B/cycle"),
    _per_cycle("flops", "flops", "Floating-point operations per cycle.", "flops/cycle"),
    _per_cycle("instructions", "instructions", "Instructions issued per 1000 cycles.", "per 1000 cycles", 1000),
)  # fmt: skip


def find_metric(name: str) -> Metric:
    """The metric of that id. Raises `ConfigError`."""
    for metric in METRICS:
        if metric.id == name:
            return metric
    ids = [metric.id for metric in METRICS]
    raise ConfigError(f"unknown metric '{name}'", notes=[f"known: {', '.join(ids)}"], help=nearest(name, ids))


def values(run: Run, metric: Metric) -> np.ndarray:
    """The metric over the whole run, per PE: float64 (height, width), NaN where there is neither code nor traffic to show."""
    tiling = Tiling(run.width, run.height)
    at = tiling.index(run.pes["x"], run.pes["y"])
    shown = tiling.add(at, np.ones(len(at))) > 0
    counts = grids(run.pes, run.links, tiling)
    if metric.links:
        shown |= sum(counts[name] for name in SENT) > 0  # type: ignore[operator]
    if metric.form == Form.SRAM:
        result = tiling.add(at, run.sram_bytes()).astype(np.float64)
    else:
        parts = np.stack([counts[name] if name in counts else tiling.add(at, run.pes[name]) for name in metric.parts])
        combined = parts.max(0) if metric.form == Form.MAX else parts.sum(0)
        if metric.form == Form.REST:
            combined = np.maximum(run.cycles - combined, 0)
        result = metric.factor * combined / max(run.cycles, 1)
    return np.where(shown, result, np.nan)


def coarse(values: np.ndarray, side: int) -> np.ndarray:
    """Means of tiles of `side` PEs, NaN where all are."""
    height, width = values.shape
    padded = np.pad(values, ((0, -height % side), (0, -width % side)), constant_values=np.nan)
    tiles = padded.reshape(padded.shape[0] // side, side, -1, side)
    num = (~np.isnan(tiles)).sum(axis=(1, 3))
    sums = np.nansum(tiles, axis=(1, 3))
    return np.divide(sums, num, out=np.full(num.shape, np.nan), where=num > 0)
