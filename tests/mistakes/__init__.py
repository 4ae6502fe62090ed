"""A table of what a kernel can get wrong, one row a mistake; the modules beside this one fill it, each by what is written wrongly.

The stages, in order: "call" of the builder, "link", "verify", "load" (a machine), "run". A row's mistake is on its lines marked `# here`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wse.builder import ProgramBuilder
from wse.errors import ProgramError, WseError
from wse.isa import Port
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec
from wse.verify import verify

NORTH, EAST, SOUTH, WEST, RAMP = Port
STAGES = ("call", "link", "verify", "load", "run")
A, B, C = (Rect(x, 0, 1, 1) for x in range(3))
ROW = Rect(0, 0, 3, 1)


@dataclass(frozen=True)
class Mistake:
    """A row of the table. `write` makes the program; `words` are in the message, `place` and `color` somewhere ("" where there is none)."""

    name: str
    stage: str
    write: Callable[[ProgramBuilder], object]
    words: str
    place: str = ""
    color: str = ""
    error: type[WseError] = ProgramError

    def find(self) -> tuple[str, WseError]:
        """The stage in which it is found, and how."""
        program = ProgramBuilder(load_spec("wse2"), 3, 1)
        linked = machine = None
        for stage in STAGES:
            try:
                if stage == "call":
                    self.write(program)
                elif stage == "link":
                    linked = program.link()
                elif stage == "verify":
                    verify(linked)
                elif stage == "load":
                    machine = Machine(linked)
                else:
                    machine.check(machine.run(max_cycles=10_000))
            except WseError as error:
                return stage, error
        raise AssertionError(f"{self.name}: nobody noticed")

    def lines(self) -> set[str]:
        """What the error may name: the marked lines of `write`."""
        source, first = inspect.getsourcelines(self.write)
        marked = {i for i, line in enumerate(source) if "# here" in line}
        return {f"mistakes/{Path(inspect.getsourcefile(self.write)).name}:{first + i}" for i in marked or range(len(source))}


TABLE: list[Mistake] = []


def mistake(stage: str, words: str, place: str = "", color: str = "", error: type[WseError] = ProgramError):
    """Put the function that follows into the table."""

    def add(write):
        TABLE.append(Mistake(write.__name__.strip("_").replace("_", " "), stage, write, words, place, color, error))
        return write

    return add


def line(program, color=1, to=RAMP):
    """A way of `color` from PE (0,0) to PE (1,0)."""
    program.route(A, color, RAMP, [EAST])
    program.route(B, color, WEST, [to])
