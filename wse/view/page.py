"""The page of a run, or of two side by side: one HTML file with its data, styles and scripts inside; no server, no network."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from wse.view.metrics import METRICS
from wse.view.payload import Tick, build, no_tick
from wse.view.record import Run

STYLES = ("page.css", "mesh.css", "panel.css")
SCRIPTS = (
    "format.js", "colors.js", "data.js", "metrics.js", "routes.js", "defects.js", "camera.js", "mesh.js", "legend.js", "timeline.js",
    "memory.js", "panel.js", "sortable.js", "tables.js", "main.js",
)  # fmt: skip
"""In an order in which every module stands behind those it imports from."""


def build_page(runs: dict[str, Run], tick: Tick = no_tick) -> str:
    """The page as HTML. `runs`: one or two, by the name they are shown under; `tick` is told of every step."""
    data = []
    for i, (name, run) in enumerate(runs.items()):

        def tick_of_run(step: str, done: float, i: int = i, name: str = name) -> None:
            tick(f"{name}: {step}", (i + done) / len(runs))

        data.append(build(run, name, tick_of_run))
    blobs = [blob.pop("data") for run in data for blob in run["blobs"]]
    environment = Environment(
        loader=PackageLoader("wse.view", "web"), autoescape=select_autoescape(["html"]), undefined=StrictUndefined, trim_blocks=True
    )
    tick("writing", 1.0)
    return environment.get_template("page.html").render(
        title=" against ".join(runs),
        styles=Markup("\n".join(_source(name) for name in STYLES)),
        script=Markup(bundle()),
        meta=Markup(_embed({"runs": data, "metrics": [asdict(metric) for metric in METRICS]})),
        blobs=[Markup(blob) for blob in blobs],
    )


def bundle() -> str:
    """The scripts as one module: imports between them dropped, as all share one scope."""
    parts = []
    for name in SCRIPTS:
        text = re.sub(r"^import [^;]*;\n", "", _source(name), flags=re.MULTILINE)
        parts.append(f"// {name}\n" + re.sub(r"^export ", "", text, flags=re.MULTILINE))
    return "\n".join(parts)


def _source(name: str) -> str:
    return (resources.files("wse.view") / "web" / name).read_text()


def _embed(value: Any) -> str:
    """JSON that can stand inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
