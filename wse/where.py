"""Which line of a kernel's Python source is at work: what errors and source lines of instructions name."""

from __future__ import annotations

import sys
from pathlib import Path

_OWN_FILES = {str(Path(__file__).with_name(name)) for name in ("where.py", "builder.py", "encode.py", "operands.py")}


def kernel_line() -> str:
    """`folder/file:line` of the innermost caller outside the builder."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename in _OWN_FILES:
        frame = frame.f_back
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_lineno}"
