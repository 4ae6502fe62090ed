"""Pictures of the mesh for papers and chats, drawn with matplotlib (an optional extra): PNG, SVG, or into one's own axes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from wse.errors import ConfigError, UnsupportedError
from wse.files import write_bytes
from wse.view.metrics import Metric, values
from wse.view.record import Run


def plot(run: Run, metric: Metric, ax: Any = None) -> Any:
    """Draw `metric` over the whole run with blocks and routes on matplotlib axes (new ones by default); returns the axes.

    Raises `UnsupportedError` without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyArrowPatch, Rectangle
        from matplotlib.patheffects import Normal, Stroke
    except ImportError:
        raise UnsupportedError("pictures need matplotlib, which is not installed", help="pip install 'wse[plot]'") from None
    if ax is None:
        longest = max(run.width, run.height)
        size = (1.8 + 7.5 * run.width / longest, 1.4 + 7.5 * run.height / longest)
        ax = Figure(figsize=(max(size[0], 5.5), max(size[1], 2.6)), layout="constrained").subplots()
    ax.set_facecolor("#e4e7eb")
    heat = ax.imshow(values(run, metric), cmap="YlGnBu", vmin=0, interpolation="nearest", aspect="equal")
    bar = ax.figure.colorbar(heat, cax=ax.inset_axes((1.02, 0, 0.02, 1)))
    bar.set_label(f"{metric.label} ({metric.unit})")
    halo = [Stroke(linewidth=3, foreground="white"), Normal()]
    for name, rect in run.blocks:
        outline = Rectangle((rect.x - 0.5, rect.y - 0.5), rect.width, rect.height, fill=False, edgecolor="#1b2028", linewidth=0.9)
        ax.add_patch(outline)
        if len(run.blocks) <= 60:
            ax.text(
                rect.x + (rect.width - 1) / 2, rect.y + (rect.height - 1) / 2, name,
                va="center", ha="center", fontsize=7, path_effects=halo, clip_on=True,
            )  # fmt: skip
    _draw_defects(run, ax)
    for wire in run.wires:
        for x0, y0, x1, y1 in run.between_blocks(wire):
            xs, ys = np.clip((x0, x1), -0.5, run.width - 0.5), np.clip((y0, y1), -0.5, run.height - 0.5)  # the host is at the edge
            start, end = zip(xs.tolist(), ys.tolist(), strict=True)
            arrow = FancyArrowPatch(start, end, arrowstyle="->", mutation_scale=7, shrinkA=0, shrinkB=0, color="#1b2028", lw=1)
            arrow.set_path_effects(halo)
            ax.add_patch(arrow)
    ax.set(xlim=(-0.5, run.width - 0.5), ylim=(run.height - 0.5, -0.5), xlabel="x (east)", ylabel="y (south)")
    model = run.summary.get("model", "run")
    ax.set_title(f"{model}: {metric.label}, {run.width}x{run.height} PEs, {run.cycles:,} cycles", fontsize=10, loc="left")
    return ax


def _draw_defects(run: Run, ax: Any) -> None:
    """Crosses on dead PEs, bars across dead links, a veil over rows and columns that blocks skip."""
    defects = run.summary.get("defects")
    if not defects:
        return
    rects = dict(run.blocks)
    for block in defects["skipped"]:
        rect = rects[block["name"]]
        veil: dict[str, Any] = {"facecolor": "white", "alpha": 0.6, "linewidth": 0}
        for x in block["columns"]:
            ax.fill_between((x - 0.5, x + 0.5), rect.y - 0.5, rect.y + rect.height - 0.5, **veil)
        for y in block["rows"]:
            ax.fill_between((rect.x - 0.5, rect.x + rect.width - 0.5), y - 0.5, y + 0.5, **veil)
    dead = [*defects["dead_pes"], *defects["dead_routers"]]
    size = 160 / max(run.width, run.height)
    ax.plot([x for x, _ in dead], [y for _, y in dead], "x", color="#b3400e", markersize=size, markeredgewidth=max(0.6, size / 5))
    for (ax0, ay0), (bx, by) in defects["dead_links"]:
        x, y, dx, dy = (ax0 + bx) / 2, (ay0 + by) / 2, 0.4 * (ax0 == bx), 0.4 * (ay0 == by)
        ax.plot((x - dx, x + dx), (y - dy, y + dy), color="#b3400e", linewidth=1.6)


def save_plot(run: Run, metric: Metric, path: Path) -> None:
    """Write the picture; its format is that of the suffix, .png or .svg. Raises `ConfigError`, `UnsupportedError`."""
    form = path.suffix.lower().removeprefix(".")
    if form not in ("png", "svg"):
        raise ConfigError(f"a picture is a .png or .svg file, got {path}")
    figure, buffer = plot(run, metric).figure, io.BytesIO()
    figure.savefig(buffer, format=form, dpi=160, bbox_inches="tight")
    write_bytes(path, buffer.getvalue())
