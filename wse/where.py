"""Which line of a kernel's Python source is at work: what errors and source lines of instructions name."""

from __future__ import annotations

import contextlib
import linecache
import sys
from pathlib import Path
from types import FrameType

from wse.errors import ProgramError
from wse.program import Rect

_OWN_FILES = {str(Path(__file__).with_name(name)) for name in ("where.py", "builder.py", "pes.py", "encode.py", "operands.py", "routes.py")}
_OWN_FILES.add(contextlib.__file__)  # between a kernel's `with pe.loop(...)` and the builder


def kernel_line() -> str:
    """`folder/file:line` of the innermost caller outside the builder."""
    frame = _kernel_frame()
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_lineno}"


def kernel_text() -> str:
    """The text of that line, without a remark at its end; empty where the source cannot be read."""
    frame = _kernel_frame()
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).split("  #")[0].strip()


def refusal(message: str, help: str, rect: Rect | None = None) -> ProgramError:
    """The error for a call of the builder: it names the kernel's line and, if there are any, the PEs."""
    return ProgramError(message, notes=[kernel_line() + ("" if rect is None else f", PEs {rect}")], help=help)


def _kernel_frame() -> FrameType:
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename in _OWN_FILES:
        frame = frame.f_back
    return frame
