"""Provenance: what a figure was made with, so that it can be made again."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from wse import __version__

SCHEMA = 3
"""Of the files that runs and benchmarks leave."""

PACKAGES = ("numpy", "numba", "llvmlite", "networkx", "pydantic", "click", "rich", "safetensors", "tokenizers", "gguf")


def versions() -> dict[str, str | None]:
    """Versions of this package, Python and what it builds on; None for what is not installed."""
    found: dict[str, str | None] = {"wse": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def git_commit() -> str | None:
    """The commit of the sources that run, with "-dirty" when they were changed; None outside a git checkout of this project."""
    folder = Path(__file__).resolve().parent
    try:
        done = [
            subprocess.run(["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["ls-files", "--", Path(__file__).name], ["status", "--porcelain", "-uno"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    commit, tracked, changes = done
    return (commit + ("-dirty" if changes else "")) if tracked else None


def config_hash(config: dict[str, Any]) -> str:
    """SHA-256 of a resolved configuration, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def peak_memory_bytes() -> int:
    """The most memory this process has had resident."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def provenance(config: dict[str, Any]) -> dict[str, Any]:
    """Versions, commit, command line, host, and `config` (fully resolved) with its hash."""
    return {
        "versions": versions(),
        "git_commit": git_commit(),
        "argv": sys.argv[1:],
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": {
            "cores": os.cpu_count(), "machine": platform.machine(), "system": platform.system(),
            "peak_memory_bytes": peak_memory_bytes(),
        },
        "config": config,
        "config_hash": config_hash(config),
    }  # fmt: skip
