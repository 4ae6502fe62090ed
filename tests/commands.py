"""Running the command line in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any


def wse(*arguments: Any, **how: Any) -> subprocess.CompletedProcess[str]:
    """`wse ARGUMENTS`, with what it wrote as text."""
    command = [sys.executable, "-c", "from wse.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **how)
