"""What a proof ends in."""

from __future__ import annotations

from dataclasses import dataclass

from wse.errors import ProgramError


@dataclass(frozen=True)
class Finding:
    """Something seen before a program runs. `proven`: the program hangs whatever is fed; else it is at least suspicious."""

    proven: bool
    message: str
    notes: tuple[str, ...]
    help: str

    def error(self) -> ProgramError:
        """What `verify` raises for it."""
        return ProgramError(self.message, notes=self.notes, help=self.help)

    def warning(self) -> str:
        """The text for those who run the program all the same."""
        return self.error().render().replace("error", "warning", 1)
