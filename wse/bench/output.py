"""Output of benchmarks: records as a Markdown table for people, CSV, JSON or JSON lines for tools."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from wse.provenance import SCHEMA

FORMATS = ("md", "csv", "json", "jsonl")

_NUMBER = re.compile(r"[-+]?[\d.,]*%?( ± [\d.]+)?")

Record = dict[str, Any]
Columns = Sequence[tuple[str, Callable[[Record], str]]]

DECODE_COLUMNS: Columns = (
    ("model", lambda r: r["model"]),
    ("params", lambda r: _short(r["parameters"])),
    ("mesh", lambda r: r["mesh"]),
    ("dtype", lambda r: r["dtype"]),
    ("placer", lambda r: r["placer"]),
    ("test", lambda r: r["test"]),
    ("cycles/token", lambda r: f"{r['cycles_per_token']:,.1f}"),
    ("tok/s@clock", lambda r: f"{r['tokens_per_s_at_clock']:,.1f}"),
    ("hops/token", lambda r: f"{r['hops_per_token']:,.0f}"),
    ("host tok/s", lambda r: f"{r['host_tokens_per_s']:.2f}" + (f" ± {r['host_tokens_per_s_stdev']:.2f}" if r["repetitions"] > 1 else "")),
    ("NumPy tok/s", lambda r: "-" if r["numpy_tokens_per_s"] is None else f"{r['numpy_tokens_per_s']:.2f}"),
)

FABRIC_COLUMNS: Columns = (
    ("test", lambda r: r["test"]),
    ("cycles", lambda r: f"{r['cycles']:,}"),
    ("predicted", lambda r: "-" if r["predicted_cycles"] is None else f"{r['predicted_cycles']:,}"),
    ("M hops/s", lambda r: f"{r['wavelet_hops_per_s'] / 1e6:.1f}"),
    ("build s", lambda r: f"{r['build_seconds']:.3f}"),
    ("load s", lambda r: f"{r['load_seconds']:.3f}"),
    ("run s", lambda r: f"{r['run_seconds']:.3f}"),
    ("x NumPy's sum", lambda r: f"{r['numpy_ratio']:,.0f}"),
)

FIDELITY_COLUMNS: Columns = (
    ("workload", lambda r: r["test"]),
    ("preset", lambda r: r["arch"] + "".join(f" {key}={number}" for key, number in r["settings"].items())),
    ("unit", lambda r: r["unit"]),
    ("published", lambda r: _digits(r["published"])),
    ("measured", lambda r: _digits(r["measured"])),
    ("deviation", lambda r: f"{r['deviation_frac']:+.1%}"),
    ("by", lambda r: r["by"]),
    ("role", lambda r: r["role"]),
    ("source", lambda r: r["source"]),
    ("host s", lambda r: f"{r['host_seconds']:.1f}"),
)


def render(kind: str, records: list[Record], columns: Columns, provenance: dict[str, Any], format: str) -> str:
    """The whole output, ending in a newline. CSV and JSON lines carry the provenance's config hash and commit in every line."""
    if format == "md":
        return table(columns, records)
    if format == "json":
        return json.dumps({"schema": SCHEMA, "kind": kind, "provenance": provenance, "results": records}, indent=1) + "\n"
    marks = {"config_hash": provenance["config_hash"], "git_commit": provenance["git_commit"]}
    if format == "jsonl":
        return "".join(json.dumps({"schema": SCHEMA, "kind": kind, **record, **marks}) + "\n" for record in records)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*records[0], *marks], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**record, **marks} for record in records)
    return buffer.getvalue()


def table(columns: Columns, records: list[Record]) -> str:
    """A Markdown table that also reads well as it is: numbers to the right."""
    cells = [[name for name, _ in columns], *([cell(record) for _, cell in columns] for record in records)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    right = [all(_NUMBER.fullmatch(row[i]) for row in cells[1:]) for i in range(len(columns))]
    lines = [
        "| " + " | ".join(text.rjust(w) if r else text.ljust(w) for text, w, r in zip(row, widths, right, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def _digits(number: float) -> str:
    """Rates to the thousandth, counts to the tenth."""
    return f"{number:,.3f}" if number < 10 else f"{number:,.1f}"


def _short(number: int) -> str:
    """1,234,567 as 1.23 M."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return str(number)
