"""The report of a run: a summary as one screen of text, in color where it is shown on a terminal."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

WIDTH = 100
NUM_BLOCKS, NUM_OPS = 6, 12
"""Listed at most; the others are summed up."""

_PARTS = {"arithm.": "arithmetic", "distance": "distance", "transfer": "transfer"}
_COLORS = {"arithmetic": "cyan", "distance": "magenta", "transfer": "yellow"}


def print_report(summary: dict[str, Any], console: Console) -> None:
    """Print the summary of a run: in color on a terminal, as plain lines elsewhere."""
    if console.is_terminal:
        console.print(_report(summary), width=min(WIDTH, console.width))
        return
    plain = Console(file=io.StringIO(), width=WIDTH, color_system=None, highlight=False)
    plain.print(_report(summary))
    for line in plain.file.getvalue().splitlines():  # type: ignore[attr-defined]
        console.file.write(line.rstrip() + "\n")


def _report(s: dict[str, Any]) -> Group:
    return Group(_headline(s), _tokens(s), "", _speed(s), _bound(s), "", _blocks(s), "", _ops(s), "", _details(s))


def _headline(s: dict[str, Any]) -> Text:
    text = Text()
    text.append(f"{s['model']} on {s['arch']}", style="bold")
    mesh = f"{len(s['blocks'])} blocks on {s['mesh'][0]}x{s['mesh'][1]} PEs"
    return text.append(f"  {s['parameters']:,} parameters, {s['dtype']} weights; {mesh}", style="dim")


def _tokens(s: dict[str, Any]) -> Text:
    style = {"equal": "green", "differs": "bold red", "skipped": "yellow"}[s["check"]["status"]]
    text = Text(f"tokens  {len(s['prompt_tokens'])} in, {len(s['generated_tokens'])} out; check ")
    text.append(s["check"]["status"], style=style)
    return text.append(f": {s['check']['detail']}")


def _speed(s: dict[str, Any]) -> Table:
    clock = f"tokens/s at {s['clock_hz'] / 1e6:,.0f} MHz"
    table = _table("phase", ("tokens", "cycles/token", clock, "hops/token", "wavelets/token"))
    for name, phase in s["phases"].items():
        table.add_row(
            name, f"{phase['tokens']:,}", f"{phase['cycles_per_token']:,.1f}", f"{phase['tokens_per_s_at_clock']:,.0f}",
            f"{phase['hops_per_token']:,.0f}", f"{phase['wavelets_per_token']:,.0f}",
        )  # fmt: skip
    return table


def _bound(s: dict[str, Any]) -> Text:
    text = Text(f"TTFT {s['ttft_cycles']:,} cycles ({s['ttft_s_at_clock'] * 1e6:,.1f} µs)")
    if s["tpot_cycles"] is None:
        return text.append("   TPOT: one token alone has none; ask for more with -n")
    text.append(f"   TPOT {s['tpot_cycles']:,.1f} cycles   lower bound {s['lower_bound_cycles']:,.0f}, measured ")
    text.append(f"{s['lower_bound_ratio']:.2f} x", style="bold")
    if s["predicted_cycles_per_token"] is None:
        return text
    text.append(f"\npredicted {s['predicted_cycles_per_token']:,.0f} cycles per token, measured ")
    text.append(_off(s["tpot_cycles"], s["predicted_cycles_per_token"]), style="bold")
    text.append(f"; {s['predicted_hops_per_token']:,.0f} hops per token, measured ")
    return text.append(_off(s["hops_per_token"], s["predicted_hops_per_token"]), style="bold")


def _blocks(s: dict[str, Any]) -> Table:
    """Blocks by their cycles, measured and predicted, with what their bounds are made of; those that are alike in one row."""
    table = _table("cycles per token", ("measured", "predicted", "off", "bound", *_PARTS, "hops"), padding=2)
    keys = ("lower_bound_cycles", *(f"lower_bound_{part}_cycles" for part in _PARTS.values()))
    alike: dict[tuple[float, ...], list[dict[str, Any]]] = {}
    for block in sorted(s["blocks"], key=lambda block: -block["cycles_per_token"]):
        shape = (block["num_pes"], block["predicted_cycles_per_token"], *(block[key] for key in keys))
        alike.setdefault(shape, []).append(block)
    for blocks in list(alike.values())[:NUM_BLOCKS]:
        name = blocks[0]["name"] + (f" +{len(blocks) - 1}" if len(blocks) > 1 else "")
        styles = ("", *(_COLORS[part] if part == blocks[0]["bound_by"] else "dim" for part in _PARTS.values()))
        bounds = (Text(_short(blocks[0][key]), style=style) for key, style in zip(keys, styles, strict=True))
        cycles, hops = (sum(block[key] for block in blocks) / len(blocks) for key in ("cycles_per_token", "hops_per_token"))
        table.add_row(name, _short(cycles), *_predicted(cycles, blocks[0]), *bounds, _short(hops))
    rest = [block for blocks in list(alike.values())[NUM_BLOCKS:] for block in blocks]
    if rest:
        table.add_row(f"{len(rest)} more", *("" for _ in range(7)), _short(sum(block["hops_per_token"] for block in rest)), style="dim")
    return table


def _ops(s: dict[str, Any]) -> Table:
    """Ops by the time their PEs spent in them."""
    ranked = sorted((op for op in s["ops"] if op["elapsed_frac"] is not None), key=lambda op: -op["elapsed_pe_cycles"])
    table = _table("cycles per token", ("mean PE", "predicted", "off", "share", "busy", "in collectives"))
    for op in ranked[:NUM_OPS]:
        elapsed = max(1, op["elapsed_pe_cycles"])
        cycles = op["elapsed_cycles_per_token"]
        table.add_row(
            op["op"], _short(cycles), *_predicted(cycles, op), f"{op['elapsed_frac']:.1%}", f"{op['busy_pe_cycles'] / elapsed:.0%}",
            f"{op['collective_pe_cycles'] / elapsed:.0%}",
        )  # fmt: skip
    rest = ranked[NUM_OPS:]
    if rest:
        table.add_row(f"{len(rest)} more", "", "", "", f"{sum(op['elapsed_frac'] for op in rest):.1%}", "", "", style="dim")
    return table


def _predicted(measured: float, record: dict[str, Any]) -> tuple[str, str]:
    """The cycles that were predicted, and how far off the measured ones are; empty where nothing was."""
    predicted = record["predicted_cycles_per_token"]
    return ("", "") if predicted is None else (_short(predicted), _off(measured, predicted))


def _off(measured: float, predicted: float) -> str:
    """Measured against predicted."""
    if measured == predicted:
        return "equal"
    return f"{measured / predicted - 1:+.1%}".replace("-0.0%", "+0.0%") if predicted else "more"


def _details(s: dict[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    grid.add_row("PE-cycles", _pe_cycles(s))
    pes = "; ".join(f"({p['pe'][0]},{p['pe'][1]}) {p['block']} {p['active_frac']:.1%}" for p in s["busiest_pes"][:3])
    grid.add_row("busiest PEs", pes)
    links = "; ".join(f"({k['pe'][0]},{k['pe'][1]}) {k['port']} {k['block']} {k['util_frac']:.1%}" for k in s["busiest_links"][:3])
    grid.add_row("busiest links", f"{links}; mean of those used {s['link_util_avg']:.1%}")
    grid.add_row("fullest PE", _sram(s))
    fits = f"{s['context']:,} positions kept, {s['max_context_fit']:,} would fit these rectangles; {s['kv_bytes_per_token']:,} B per token"
    grid.add_row("KV cache", fits)
    if s["defects"] is not None:
        dead, lines = s["defects"], s["defects"]["skipped"]
        num_pes = len(dead["dead_pes"]) + len(dead["dead_routers"])
        skipped = [sum(len(block[key]) for block in lines) for key in ("columns", "rows")]
        grid.add_row("defects", f"{num_pes:,} dead PEs, {len(dead['dead_links']):,} dead links, map {dead['digest']}; "
                                f"blocks skip {skipped[0]:,} columns and {skipped[1]:,} rows")  # fmt: skip
    grid.add_row("not modelled", Text("; ".join(s["not_modelled"]), style="dim"))
    return grid


def _pe_cycles(s: dict[str, Any]) -> Text:
    total = s["pe_cycles"]
    text = Text()
    for kind in ("busy", "stall"):
        parts = [(key.removeprefix(f"{kind}_").removesuffix("_cycles"), n) for key, n in s.items() if key.startswith(f"{kind}_")]
        inside = ", ".join(f"{name} {n / total:.1%}" for name, n in parts if n)
        text.append(f"{kind} {sum(n for _, n in parts) / total:.1%}", style="bold" if kind == "busy" else "").append(f" ({inside}), ")
    return text.append(f"idle {s['idle_cycles'] / total:.1%}")


def _sram(s: dict[str, Any]) -> Text:
    """The fullest PE's SRAM as a bar and in figures."""
    sizes = {key.removesuffix("_bytes").replace("_", " "): n for key, n in s["sram_peak_map"].items()}
    x, y = s["sram_peak_pe"]
    text = Text(f"({x},{y}) {s['sram_peak_block']}, {s['sram_peak_bytes']:,} of {s['sram_bytes']:,} B: ")
    colors = ("cyan", "magenta", "yellow", "green", "dim", "")
    for (name, size), color in zip(sizes.items(), colors, strict=True):
        text.append(f"{name} {size:,}", style=color).append(", " if name != "free" else "")
    return text


def _short(number: float) -> str:
    """At most six characters: 98.7, 18,843, 289k, 2.23M."""
    if number < 100:
        return f"{number:.1f}"
    if number < 99_999.5:
        return f"{number:,.0f}"
    return f"{number / 1e3:,.0f}k" if number < 999_500 else f"{number / 1e6:,.2f}M"


def _table(first: str, columns: tuple[str, ...], padding: int = 3) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, padding, 0, 0), header_style="bold")
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table
