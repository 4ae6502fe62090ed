"""Read a JSON object from a file that came from somewhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wse.errors import ModelFileError


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`. Raises ModelFileError when it is missing, not JSON, or not an object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelFileError(f"{path} does not hold a JSON object")
    return content
