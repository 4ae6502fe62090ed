"""The run folder: what `wse run -o DIR` leaves, written whole or not at all, and its reader.

    summary.json     what `wse run --json` prints
    config.toml      every option and every number of the machine, resolved
    placement.json   as --placement takes it
    memory.json      per code class: which PEs, and which layout; per layout: buffers with addresses and sizes
    nets.json        routes between blocks, as straight pieces
    layers.csv       a row per block
    pes.csv          a row per core (pes.npz when large)
    links.csv        a row per router and color (links.npz when large)
    intervals.npz       counts over time
    provenance.json  versions, argv, host, wall time, and a SHA-256 of every other file
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from wse.errors import ConfigError
from wse.provenance import SCHEMA
from wse.view.intervals import Intervals
from wse.view.record import Run, Wire
from wse.view.tables import Table

KIND = "wse run"
PROVENANCE = "provenance.json"
MAX_CSV_ROWS = 100_000
TABLES = ("layers", "pes", "links")


def check_target(path: Path, force: bool) -> None:
    """Raise `ConfigError` when a run folder cannot be written at `path`: something is there, or its parent cannot be written."""
    if path.is_symlink() or path.exists():
        replaceable = path.is_dir() and not path.is_symlink() and (not any(path.iterdir()) or _is_run_folder(path))
        if not replaceable:
            raise ConfigError(f"{path} is there and is no run folder; it will not be replaced", help="give another folder")
        if not force and any(path.iterdir()):
            raise ConfigError(f"{path} holds a run already", help="give another folder, or --force to replace it")
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        raise ConfigError(f"cannot write {path}: {parent} is not writable")


def write_run(run: Run, path: Path, force: bool = False) -> None:
    """Write the run folder beside `path`, then rename. With `force` an older run folder is replaced. Raises `ConfigError`."""
    check_target(path, force)
    files = _files(run)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    files[PROVENANCE] = _json({"schema": SCHEMA, "kind": KIND, **run.provenance, "sha256": digests})
    temporary = None
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.absolute().parent, prefix=f".{path.name}."))
        temporary.chmod(0o777 & ~_umask())
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        if path.exists():
            old = temporary.with_name(temporary.name + ".old")
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def read_run(path: Path) -> Run:
    """The run that `write_run` left at `path`, verified. Raises `ConfigError` for a folder that is missing, of another kind or
    schema, changed or damaged."""
    try:
        origin = json.loads((path / PROVENANCE).read_bytes())
        if not isinstance(origin, dict) or origin.get("kind") != KIND:
            raise ConfigError(f"{path} is not a run folder: its {PROVENANCE} is of another kind")
        _check_schema(origin, path / PROVENANCE)
        files = {str(name): (path / name).read_bytes() for name in origin["sha256"]}
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        if missing == PROVENANCE:
            raise ConfigError(f"{path} is not a run folder: it has no {PROVENANCE}", help="`wse run MODEL -o DIR` writes one") from None
        raise ConfigError(f"run folder {path} lacks {missing}") from None
    except OSError as error:
        raise ConfigError(f"cannot read run folder {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path / PROVENANCE} is damaged: {type(error).__name__} {error}") from None
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != origin["sha256"][name]:
            raise ConfigError(f"{path / name} is damaged or was changed: it does not match the hash in {PROVENANCE}")
    try:
        run = _rebuild(files, {key: value for key, value in origin.items() if key not in ("schema", "kind", "sha256")})
        run.verify()
    except ConfigError as error:
        raise ConfigError(f"run folder {path}: {error.message}", notes=error.notes, help=error.help) from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"run folder {path} is damaged: {type(error).__name__} {error}") from None
    return run


def _is_run_folder(path: Path) -> bool:
    try:
        return bool(json.loads((path / PROVENANCE).read_bytes())["kind"] == KIND)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _check_schema(table: Mapping[str, Any], where: Path | str) -> None:
    if table.get("schema") != SCHEMA:
        raise ConfigError(f"{where} has schema {table.get('schema')}, this version reads {SCHEMA}")


def _files(run: Run) -> dict[str, bytes]:
    files = {
        "summary.json": _json(run.summary),
        "config.toml": run.config.encode(),
        "placement.json": run.placement.encode(),
        "memory.json": _json({"schema": SCHEMA, **run.memory}),
        "nets.json": _json({"schema": SCHEMA, "nets": [asdict(wire) for wire in run.wires]}, indent=None),
        "intervals.npz": _npz({"side": np.array(run.intervals.side), "edges": run.intervals.edges, "counts": run.intervals.counts}),
    }
    for name in TABLES:
        table: Table = getattr(run, name)
        small = len(next(iter(table.values()))) <= MAX_CSV_ROWS
        files[f"{name}.csv" if small else f"{name}.npz"] = _csv(table) if small else _npz(table)
    return files


def _rebuild(files: dict[str, bytes], origin: dict[str, Any]) -> Run:
    summary, config = json.loads(files["summary.json"]), tomllib.loads(files["config.toml"].decode())
    memory, nets = json.loads(files["memory.json"]), json.loads(files["nets.json"])
    for name, table in (("summary.json", summary), ("config.toml", config), ("memory.json", memory), ("nets.json", nets)):
        _check_schema(table, name)
    del memory["schema"]
    wires = tuple(Wire(net["name"], net["color"], tuple(tuple(piece) for piece in net["pieces"])) for net in nets["nets"])
    intervals = _read_npz(files["intervals.npz"])
    layers, pes, links = (
        _read_csv(files[f"{name}.csv"]) if f"{name}.csv" in files else _read_npz(files[f"{name}.npz"]) for name in TABLES
    )
    return Run(
        summary, files["config.toml"].decode(), files["placement.json"].decode(), memory, layers, pes, links, wires,
        Intervals(int(intervals["side"]), intervals["edges"], intervals["counts"]), origin,
    )  # fmt: skip


def _json(value: Any, indent: int | None = 1) -> bytes:
    return (json.dumps(value, indent=indent) + "\n").encode()


def _csv(table: Table) -> bytes:
    text = io.StringIO()
    text.write(f"# schema: {SCHEMA}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
    return text.getvalue().encode()


def _read_csv(data: bytes) -> Table:
    head, *lines = data.decode().splitlines()
    _check_schema({"schema": int(head.removeprefix("# schema: "))}, "a table")
    names, *rows = csv.reader(lines)
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return {name: _typed(column) for name, column in zip(names, columns, strict=True)}


def _typed(column: Any) -> np.ndarray:
    """Whole numbers where all are, else text."""
    try:
        return np.array([int(cell) for cell in column], np.int64)
    except ValueError:
        return np.array(column)


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{"schema": np.array(SCHEMA), **arrays})  # type: ignore[arg-type]
    return buffer.getvalue()


def _read_npz(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    _check_schema({"schema": int(arrays.pop("schema"))}, "an array file")
    return arrays
