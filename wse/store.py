"""Saving and loading programs: one .npz file of plain arrays and a JSON header; nothing in it is ever executed."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from wse.errors import ConfigError
from wse.files import write_bytes
from wse.isa import Port, Type
from wse.program import Binding, CodeClass, HostPort, Print, Program, SramFifo, Symbol
from wse.spec import MachineSpec

SCHEMA = 7
_ARRAYS = (
    "code", "row_ops", "core_pe", "core_class", "core_sram", "sram", "channel_pe", "channel_color", "channel_rx", "channel_tx",
    "channel_line", "switches",
)  # fmt: skip


def content_hash(program: Program) -> str:
    """SHA-256 of everything in `program`, the same for equal programs."""
    digest = hashlib.sha256(json.dumps(_header(program), sort_keys=True).encode())
    for name in _ARRAYS:
        digest.update(getattr(program, name).tobytes())
    return digest.hexdigest()


def save(program: Program, path: Path) -> None:
    """Write `program` to `path`, whole or not at all. Raises `ConfigError`."""
    header = {"schema": SCHEMA, "hash": content_hash(program), **_header(program)}
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, header=text, **{name: getattr(program, name) for name in _ARRAYS})
    write_bytes(path, buffer.getvalue())


def load(path: Path) -> Program:
    """Read a program. Raises `ConfigError` for a file that is missing, damaged, or of another schema."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            header = json.loads(file["header"].tobytes())
            arrays = {name: file[name] for name in _ARRAYS}
        if header["schema"] != SCHEMA:
            raise ConfigError(f"{path} has schema {header['schema']}, this version reads {SCHEMA}")
        program = _rebuild(header, arrays)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise ConfigError(f"cannot read program {path}: {type(error).__name__} {error}") from None
    if content_hash(program) != header["hash"]:
        raise ConfigError(f"{path} is damaged: its content does not match its hash")
    return program


def _header(program: Program) -> dict[str, Any]:
    """Everything of a program that is not an array."""
    return {
        "spec": program.spec.model_dump(),
        "mesh": [program.width, program.height],
        "classes": [dataclasses.asdict(cls) for cls in program.classes],
        "host_in": [dataclasses.asdict(port) for port in program.host_in],
        "host_out": [dataclasses.asdict(port) for port in program.host_out],
        "source_lines": list(program.source_lines),
        "source_texts": list(program.source_texts),
        "prints": [dataclasses.asdict(printed) for printed in program.prints],
        "op_names": list(program.op_names),
        "meta": program.meta,
    }


def _rebuild(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Program:
    classes = []
    for entry in header["classes"]:
        symbols = {
            name: Symbol(s["name"], s["address"], Type(s["type"]), tuple(s["shape"]), s["written"]) for name, s in entry["symbols"].items()
        }
        bindings = tuple(Binding(**binding) for binding in entry["bindings"])
        fifos = tuple(SramFifo(**{**fifo, "type": Type(fifo["type"])}) for fifo in entry["fifos"])
        rest = {"task_entry": tuple(entry["task_entry"]), "symbols": symbols, "bindings": bindings, "fifos": fifos}
        classes.append(CodeClass(**{**entry, **rest}))
    others: dict[str, Any] = {
        side: tuple(HostPort(**{**port, "port": Port(port["port"])}) for port in header[side]) for side in ("host_in", "host_out")
    }
    others |= arrays
    prints = tuple(Print(p["text"], tuple(map(Type, p["types"])), tuple(map(tuple, p["shapes"]))) for p in header["prints"])
    width, height = header["mesh"]
    spec = MachineSpec(**header["spec"])
    return Program(
        spec=spec, width=width, height=height, classes=tuple(classes), **others,
        source_lines=tuple(header["source_lines"]), source_texts=tuple(header["source_texts"]), prints=prints,
        op_names=tuple(header["op_names"]), meta=header["meta"],
    )  # fmt: skip
