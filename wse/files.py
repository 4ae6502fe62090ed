"""Writing files so that nothing half-written is ever left behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from wse.errors import ConfigError


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of text in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`. Raises `ConfigError` when that cannot be done."""
    with open_new(path) as file:
        file.write(data)


@contextmanager
def open_new(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, beside `path`, that takes its place at the end and is gone if anything is raised. Raises `ConfigError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(name, _mode(path))
        os.replace(name, path)
    except BaseException as error:
        os.unlink(name)
        if isinstance(error, OSError):
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None
        raise


def _mode(path: Path) -> int:
    """The permissions of the file there is, or those that a new one gets; a temporary file's are for its owner alone."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
