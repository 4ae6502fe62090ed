"""Trace files: which format a name asks for, writing and reading."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from wse.errors import ConfigError
from wse.trace import jsonl, perfetto
from wse.trace.records import Trace

_FORMATS: dict[str, ModuleType] = {".jsonl": jsonl, ".pftrace": perfetto}


def check_path(path: Path) -> None:
    """Raise, before anything is run, `ConfigError` for a name of no format, `UnsupportedError` when what writes it is not installed."""
    if _format(path) is perfetto:
        perfetto.check_installed()


def estimate_bytes(trace: Trace, path: Path) -> int:
    """About what `trace` would take at `path`, from the size of its first records."""
    return trace.estimate_bytes(_format(path).sample_bytes)


def write_trace(trace: Trace, path: Path) -> None:
    """Write a trace in the format that the name of `path` asks for, whole or not at all. Raises as `check_path`."""
    _format(path).write(trace, path)


def read_trace(path: Path) -> Trace:
    """Read a trace in JSONL. Raises `ConfigError`."""
    if _format(path) is perfetto:
        raise ConfigError(f"{path} is for ui.perfetto.dev", help="give the .jsonl; a .pftrace can be made from it at any time")
    return jsonl.read(path)


def _format(path: Path) -> ModuleType:
    if path.suffix not in _FORMATS:
        raise ConfigError(f"what format is the trace {path}?", help=f"its name ends in {' or '.join(_FORMATS)}")
    return _FORMATS[path.suffix]
