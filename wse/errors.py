"""The errors a user can meet, each with the exit code that says whose fault it is.

A `WseError` is one line for a person (`error[kind]: what, where`), with optional notes and a
suggestion; the CLI prints it and exits with `exit_code`. Anything that is not a `WseError` is a
bug of ours and exits with 70.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wse.hang import HangReport

EXIT_BUG = 70


class WseError(Exception):
    """Base of all errors caused by input. `message` is one line; `notes` say where; `help` says what would mend it."""

    kind = "error"
    exit_code = 2

    def __init__(self, message: str, *, notes: Iterable[str] = (), help: str | None = None):
        super().__init__(message)
        self.message = message
        self.notes = tuple(notes)
        self.help = help

    def render(self) -> str:
        """The whole error as the text a person reads."""
        lines = [f"error[{self.kind}]: {self.message}"]
        lines += [f"  note: {note}" for note in self.notes]
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)


class ConfigError(WseError):
    """A bad option, key, file or combination: the user's settings are wrong."""

    kind = "config"
    exit_code = 2


class ModelFileError(ConfigError):
    """A model or tokenizer file is missing, truncated or inconsistent."""

    kind = "model-file"


class ProgramError(ConfigError):
    """A program breaks a rule of the machine, found before it runs."""

    kind = "program"


class FaultError(ConfigError):
    """A program broke a rule of the machine while it ran: which PE, which instruction, which cycle."""

    kind = "fault"


class UnwrittenReadError(FaultError):
    """With `sanitize`: an operation read SRAM that nothing had written."""

    kind = "unwritten-read"


class SymbolBoundsError(FaultError):
    """With `sanitize`: an operand left the array its address is in, though not the PE's SRAM."""

    kind = "symbol-bounds"


class SharedWordError(FaultError):
    """With `sanitize`: operations of two threads of a PE shared a word while both were under way, and one of them writes it."""

    kind = "shared-word"


class TimeDependentError(FaultError):
    """With `sanitize`: the program computes something else when its timing changes."""

    kind = "time-dependent"


class DoesNotFitError(WseError):
    """SRAM, mesh, colors or context are too small: what was needed, what there is, what would fit."""

    kind = "does-not-fit"
    exit_code = 3


class DeadlockError(WseError):
    """Nothing can move and the run is not over; `report` says who waits for whom."""

    kind = "deadlock"
    exit_code = 4

    def __init__(self, report: HangReport):
        super().__init__(report.message, notes=report.notes, help=report.help)
        self.report = report


class VerificationError(WseError):
    """The wafer and the reference disagree."""

    kind = "verify"
    exit_code = 5


class UnsupportedError(WseError):
    """Valid input that this emulator does not support, on purpose or not yet."""

    kind = "unsupported"
    exit_code = 6


def nearest(word: str, known: Iterable[str]) -> str | None:
    """A "did you mean" suggestion for an unknown `word`, or None when nothing is close."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(sorted(known))}" if len(known) <= 20 else None
