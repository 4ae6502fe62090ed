"""Runs and placements as notebooks show them: a small drawing of the mesh as SVG, with nothing to install."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from wse.program import Rect

if TYPE_CHECKING:
    from wse.view.record import Run

WIDEST, HIGHEST = 640, 420  # of a drawing, in CSS pixels


def run_html(run: Run) -> str:
    """PE activity over the mesh, with the run's headline."""
    from wse.view.metrics import find_metric, values

    metric = find_metric("active")
    grid = values(run, metric)
    high = float(np.nanmax(grid)) if not np.isnan(grid).all() else 0.0
    summary = run.summary
    facts = [f"{run.width}x{run.height} PEs", f"{run.cycles:,} cycles"]
    if "cycles_per_token" in summary:
        facts.append(f"{summary['cycles_per_token']:,.0f} cycles per token")
    title = f"{summary.get('model', 'run')}: {', '.join(facts)}"
    scale = f"{metric.label}: white 0 to blue {high:.3g} {metric.unit}"
    return mesh_svg(run.width, run.height, run.blocks, title, heat=grid / high if high else grid, caption=scale)


def mesh_svg(
    width: int, height: int, blocks: Iterable[tuple[str, Rect]], title: str, heat: np.ndarray | None = None, caption: str = ""
) -> str:
    """A mesh with its blocks as SVG inside a `div`. `heat`: levels 0 to 1 per PE, NaN for none."""
    zoom = min(WIDEST / width, HIGHEST / height, 48)
    parts = [f'<rect width="{width}" height="{height}" fill="#e4e7eb"/>']
    if heat is not None:
        image = base64.b64encode(heat_png(heat)).decode()
        parts.append(
            f'<image width="{width}" height="{height}" style="image-rendering:pixelated" preserveAspectRatio="none" '
            f'href="data:image/png;base64,{image}"/>'
        )
    fill = "none" if heat is not None else "#d3e4f5"
    for name, rect in blocks:
        parts.append(
            f'<rect x="{rect.x}" y="{rect.y}" width="{rect.width}" height="{rect.height}" fill="{fill}" '
            f'stroke="#1b2028" stroke-width="1.2" vector-effect="non-scaling-stroke"><title>{escape(name)} {rect}</title></rect>'
        )
        size = 11 / zoom
        if len(name) * 0.62 * size < rect.width and 1.3 * size < rect.height:
            parts.append(
                f'<text x="{rect.x + 0.3 * size}" y="{rect.y + 1.1 * size}" font-size="{size}" fill="#1b2028" stroke="#fff" '
                f'stroke-width="{size / 4}" paint-order="stroke">{escape(name)}</text>'
            )
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * zoom:.0f}" height="{height * zoom:.0f}" '
        f'viewBox="-0.05 -0.05 {width + 0.1} {height + 0.1}" font-family="system-ui, sans-serif">{"".join(parts)}</svg>'
    )
    return (
        f'<div style="font:13px system-ui,sans-serif"><div style="font-weight:600">{escape(title)}</div>{drawing}'
        f"<div>{escape(caption)}</div></div>"
    )


def heat_png(levels: np.ndarray) -> bytes:
    """Levels 0 to 1 as a PNG from white over teal to dark blue; NaN is transparent."""
    stops = np.array([(251, 251, 230), (127, 205, 187), (34, 96, 168), (10, 31, 92)], np.float64)
    known = np.nan_to_num(np.clip(levels, 0, 1)) * (len(stops) - 1)
    low = np.minimum(known.astype(int), len(stops) - 2)
    rgb = stops[low] + (known - low)[..., None] * (stops[low + 1] - stops[low])
    rgba = np.concatenate([rgb, np.where(np.isnan(levels), 0, 255)[..., None]], axis=2).astype(np.uint8)
    height, width = levels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), rgba.reshape(height, -1)], axis=1)  # each row begins with its filter, none
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
