"""Read a `.safetensors` file: a length, a JSON header, and raw tensors, mapped into memory.

The header is checked before any byte is believed: size, JSON, dtypes, and offsets that tile the data exactly.
(The `safetensors` package's NumPy loader cannot read bfloat16, hence a parser of our own.)
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wse.errors import ModelFileError, UnsupportedError

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Tensor name -> array; F32 and F16 are read-only views of the mapped file, BF16 becomes float32.

    Raises ModelFileError for a missing, truncated or inconsistent file, UnsupportedError for another dtype.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise ModelFileError(f"{path} is empty") from error
    header, begin = _read_header(path, data)
    _verify_tiling(path, header, len(data) - begin)
    return {name: _view(entry, data, begin) for name, entry in header.items()}


def _read_header(path: Path, data: mmap.mmap) -> tuple[dict[str, dict[str, Any]], int]:
    """Entries by tensor name, and where in the file the data begins."""
    if len(data) < 8:
        raise ModelFileError(f"{path} is truncated: {len(data)} bytes cannot hold a header length")
    (length,) = struct.unpack("<Q", data[:8])
    if length > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"{path} is not a safetensors file: a header of {length} bytes is over the limit of {MAX_HEADER_BYTES}"
        )
    if 8 + length > len(data):
        raise ModelFileError(f"{path} is truncated: a header of {length} bytes in a file of {len(data)}")
    try:
        header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=_refuse_duplicates)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: the header is not valid JSON: {error}") from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{path}: the header is not a JSON object")
    header.pop("__metadata__", None)
    for name, entry in header.items():
        _verify_entry(path, name, entry)
    return header, 8 + length


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a key appears twice")
    return entries


def _verify_entry(path: Path, name: str, entry: Any) -> None:
    """Raise unless an entry is a known dtype with a shape and offsets of the same size."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"{path}: tensor {name} is not described by dtype, shape and data_offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not all(isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers) for numbers in (shape, offsets)):
        raise ModelFileError(f"{path}: tensor {name} has shape {shape} and data_offsets {offsets}: not lists of sizes")
    if entry["dtype"] not in ITEM_BYTES:
        raise UnsupportedError(f"{path}: tensor {name} has dtype {entry['dtype']}", help=f"supported: {', '.join(ITEM_BYTES)}")
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * ITEM_BYTES[entry["dtype"]]:
        raise ModelFileError(f"{path}: tensor {name} of shape {shape} and dtype {entry['dtype']} cannot lie at {offsets}")


def _verify_tiling(path: Path, header: dict[str, dict[str, Any]], size: int) -> None:
    """Raise unless the tensors cover the `size` bytes of data exactly once."""
    end = 0
    for name, (begin, stop) in _in_order(header):
        if begin != end:
            raise ModelFileError(f"{path}: tensor {name} begins at {begin}, where {end} is expected: overlap or hole")
        end = stop
        if end > size:
            raise ModelFileError(f"{path} is truncated: tensor {name} ends at byte {end} of the data, there are {size}")
    if end != size:
        raise ModelFileError(f"{path}: {size - end} bytes after the last tensor belong to none")


def _in_order(header: dict[str, dict[str, Any]]) -> Iterator[tuple[str, list[int]]]:
    spans = ((name, entry["data_offsets"]) for name, entry in header.items())
    return iter(sorted(spans, key=lambda span: span[1]))


def _view(entry: dict[str, Any], data: mmap.mmap, begin: int) -> np.ndarray:
    dtype = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[entry["dtype"]]
    array = np.frombuffer(data, dtype, math.prod(entry["shape"]), begin + entry["data_offsets"][0]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # bfloat16 is the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return np.require(array, requirements="A")  # a copy only when the header's length misaligns the data
