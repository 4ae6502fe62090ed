"""Traces as lines of JSON: a header in the first line, then a record a line, `cycle`, `pe` and `kind` first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wse.errors import ConfigError
from wse.files import open_new
from wse.program import Rect
from wse.trace.records import Event, Header, Trace
from wse.trace.selection import KINDS, Selection

SCHEMA, VERSION = "wse-trace", 1
_encode = json.JSONEncoder(separators=(",", ":")).encode


def sample_bytes(events: Iterable[Event]) -> int:
    """Size of these records in a file."""
    return sum(len(_encode(event)) + 1 for event in events)


def write(trace: Trace, path: Path) -> None:
    """Write `trace` to `path`, whole or not at all. Raises `ConfigError`."""
    with open_new(path) as file:
        file.write((_encode(_header(trace.header)) + "\n").encode())
        for event in trace.events():
            file.write((_encode(event) + "\n").encode())


def read(path: Path) -> Trace:
    """A trace that `write` wrote. Raises `ConfigError` for a file that is missing, damaged, or something else."""
    try:
        with path.open(encoding="utf-8") as file:
            header = _read_header(json.loads(file.readline()))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a trace in JSONL: its first line is no header of one ({error})") from None
    return Trace(header, lambda: _read_events(path, header))


def _read_events(path: Path, header: Header) -> Iterator[Event]:
    num = 0
    with path.open(encoding="utf-8") as file:
        file.readline()
        for num, line in enumerate(file, 1):
            try:
                event = json.loads(line)
                event["cycle"], event["pe"], KINDS[event["kind"]]
            except (ValueError, KeyError, TypeError):
                raise ConfigError(f"{path} is damaged: line {num + 1} is no record") from None
            yield event
    if num != header.num_records:
        raise ConfigError(f"{path} is damaged: it has {num} records, its header says {header.num_records}")


def _header(header: Header) -> dict[str, Any]:
    selection = header.selection
    return {
        "schema": SCHEMA, "version": VERSION, "unit": "cycle", "width": header.width, "height": header.height,
        "events": list(selection.events), "pes": _rect(header.rect), "cycles": list(selection.cycles), "max_records": selection.max_records,
        "end_cycle": header.end_cycle, "num_records": header.num_records, "dropped": header.dropped,
        "complete_before": header.complete_before, "regions": [[name, _rect(rect)] for name, rect in header.regions],
    }  # fmt: skip


def _rect(rect: Rect) -> dict[str, int]:
    return {"x": rect.x, "y": rect.y, "width": rect.width, "height": rect.height}


def _read_header(facts: dict[str, Any]) -> Header:
    if facts["schema"] != SCHEMA or facts["version"] != VERSION:
        raise ValueError(f"schema {facts['schema']} version {facts['version']}, this version reads {SCHEMA} {VERSION}")
    first, last = facts["cycles"]
    return Header(
        width=facts["width"], height=facts["height"],
        selection=Selection(tuple(facts["events"]), Rect(**facts["pes"]), (first, last), facts["max_records"]),
        end_cycle=facts["end_cycle"], num_records=facts["num_records"], dropped=facts["dropped"],
        complete_before=facts["complete_before"], regions=tuple((name, Rect(**rect)) for name, rect in facts["regions"]),
    )  # fmt: skip
