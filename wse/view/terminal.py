"""The mesh as a heat map in the terminal: two tiles to a character cell, by half blocks."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.style import Style
from rich.text import Text

from wse.view.metrics import Metric, coarse, values
from wse.view.record import Run

STOPS = ((46, 38, 80), (59, 90, 152), (55, 153, 170), (131, 216, 176), (230, 248, 228))
SHADES = " ░▒▓█"


def print_mesh(run: Run, metric: Metric, console: Console | None = None) -> None:
    """Print `metric` over the whole run, in tiles that fit the width of the terminal; shades of grey blocks without colors."""
    console = console or Console(highlight=False)
    columns = max(8, console.width - 6)
    side = 1
    while -(-run.width // side) > columns or -(-run.height // side) > 2 * max(10, console.height - 6):
        side *= 2
    grid = coarse(values(run, metric), side)
    high = float(np.nanmax(grid)) if not np.isnan(grid).all() else 0.0
    tiles = "" if side == 1 else f", mean of tiles of {side}x{side} PEs"
    console.print(f"{metric.label}, {run.width}x{run.height} PEs{tiles}", highlight=False)
    levels = grid / high if high else np.where(np.isnan(grid), np.nan, 0.0)
    plain = console.color_system is None or console.no_color
    for y in range(0, len(levels), 2):
        label = f"{y * side:>5} "
        pair = levels[y], levels[y + 1] if y + 1 < len(levels) else np.full(levels.shape[1], np.nan)
        line = Text(label, style="" if plain else "dim")
        for top, bottom in zip(*pair, strict=True):
            line.append_text(Text(_shade(top, bottom)) if plain else _cell(top, bottom))
        console.print(line, no_wrap=True, crop=True)
    scale = Text("      ")
    for i in range(24):
        scale.append_text(Text(_shade(i / 23, i / 23)) if plain else _cell(i / 23, i / 23))
    unit = f"{high:.4g} {metric.unit}"
    console.print(scale.append(f"  0 to {unit}"), no_wrap=True, crop=True)


def _color(level: float) -> str:
    at = min(max(level, 0.0), 1.0) * (len(STOPS) - 1)
    low = min(int(at), len(STOPS) - 2)
    mixed = (round(a + (at - low) * (b - a)) for a, b in zip(STOPS[low], STOPS[low + 1], strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _cell(top: float, bottom: float) -> Text:
    """Upper and lower tile in one character; NaN is left blank."""
    if np.isnan(top) and np.isnan(bottom):
        return Text(" ")
    if np.isnan(top):
        return Text("▄", Style(color=_color(bottom)))
    background = None if np.isnan(bottom) else _color(bottom)
    return Text("▀", Style(color=_color(top), bgcolor=background))


def _shade(top: float, bottom: float) -> str:
    """Without colors: the mean of both tiles as a shade."""
    both = [level for level in (top, bottom) if not np.isnan(level)]
    return SHADES[round(sum(both) / len(both) * (len(SHADES) - 1))] if both else " "
