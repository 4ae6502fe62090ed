"""Metadata of a GGUF file, looked up with the type that a reader relies on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wse.errors import ModelFileError


@dataclass(frozen=True)
class Metadata:
    """Key -> value as the file has them; every lookup names the file and the key when the value is not as expected."""

    source: str
    values: Mapping[str, Any]

    def find(self, key: str, kind: type) -> Any:
        """The value of `key`, or None when it is absent. Raises ModelFileError when it is not of `kind`."""
        value = self.values.get(key)
        if value is not None and type(value) is not kind:
            raise ModelFileError(f"{self.source}: {key} is {value!r}, not of type {kind.__name__}")
        # Floats are stored as float32: say 1e-5, not 9.99999975e-06.
        return float(str(np.float32(value))) if isinstance(value, float) else value

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        """The value of `key`, else `default`; with no default, a missing key is a ModelFileError."""
        value = self.find(key, kind)
        if value is None and default is None:
            raise ModelFileError(f"{self.source}: {key} is missing")
        return default if value is None else value

    def table(self, key: str, kind: type, length: int | None = None) -> list[Any]:
        """The list `key`, empty when it is absent, of `length` items of `kind`; otherwise ModelFileError."""
        items = self.find(key, list) or []
        if not all(type(item) is kind for item in items):
            raise ModelFileError(f"{self.source}: {key} does not hold only items of type {kind.__name__}")
        if length is not None and len(items) != length:
            raise ModelFileError(f"{self.source}: {key} holds {len(items)} items, expected {length}")
        return items
