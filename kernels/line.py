"""Lines of PEs, and the wires between them: routes laid on the lowest color that is free for them.

A collective says who sends to whom; `wire` finds the color. The same wires asked for again are the
same color, so a collective used twice on a line takes its colors once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from wse.builder import Pes, ProgramBuilder
from wse.errors import ProgramError
from wse.isa import Pop, Port
from wse.operands import View
from wse.program import Rect
from wse.where import kernel_line

SENDER = 1  # the microthread that sends while the main thread receives or computes


class Hop(NamedTuple):
    """The route of one color on all PEs of a rectangle; with `later` positions and `pop`, a switch, as in `ProgramBuilder.switch`."""

    rect: Rect
    rx: Port
    tx: frozenset[Port]
    later: tuple[tuple[Port, frozenset[Port]], ...] = ()
    pop: Pop = Pop.NEVER

    @property
    def positions(self) -> tuple[tuple[Port, frozenset[Port]], ...]:
        """All (rx, tx) positions, the first to begin with."""
        return ((self.rx, self.tx), *self.later)


@dataclass(frozen=True)
class Line:
    """All rows (`axis` "x") or all columns ("y") of a rectangle, each a line of its own; index 0 is west or north.

    `colors`: those its wires may use; None for all the machine has.
    """

    rect: Rect
    axis: str
    colors: Sequence[int] | None = None

    @property
    def length(self) -> int:
        return self.rect.width if self.axis == "x" else self.rect.height

    @property
    def ports(self) -> tuple[Port, Port]:
        """(toward lower, toward higher) indices."""
        return (Port.WEST, Port.EAST) if self.axis == "x" else (Port.NORTH, Port.SOUTH)

    def at(self, i: int, n: int = 1) -> Rect:
        """The PEs at indices i .. i+n-1 of every line."""
        return self.rect.column(i, n) if self.axis == "x" else self.rect.row(i, n)

    def part(self, i: int, n: int) -> Line:
        """The line of indices i .. i+n-1."""
        return replace(self, rect=self.at(i, n))

    def path(self, source: int, to: int) -> list[Hop]:
        """The way straight from the core at index `source` to the core at index `to`."""
        low, high = self.ports
        forward, back = (high, low) if to > source else (low, high)
        hops = [Hop(self.at(source), Port.RAMP, frozenset({forward})), Hop(self.at(to), back, frozenset({Port.RAMP}))]
        if abs(to - source) > 1:
            hops.append(Hop(self.at(min(source, to) + 1, abs(to - source) - 1), back, frozenset({forward})))
        return hops

    def spread(self, root: int) -> list[Hop]:
        """The way from the core at index `root` to all other cores, both ways at once; the line has two PEs at least."""
        low, high = self.ports
        last = self.length - 1
        out = frozenset(port for port, there in ((low, root > 0), (high, root < last)) if there)
        hops = [Hop(self.at(root), Port.RAMP, out)]
        for end, between, rx, tx in ((0, (1, root - 1), high, low), (last, (root + 1, last - root - 1), low, high)):
            if end != root:
                hops.append(Hop(self.at(end), rx, frozenset({Port.RAMP})))
                if between[1] > 0:
                    hops.append(Hop(self.at(*between), rx, frozenset({tx, Port.RAMP})))
        return hops


def wire(program: ProgramBuilder, hops: Iterable[Hop], colors: Sequence[int] | None = None) -> int:
    """Lay these routes on the lowest color on which every PE has no route yet, or this very one; return the color.

    The routes must be closed: all PEs between senders and receivers are among them. Then what is already there is whole
    wires from the same senders to the same receivers, which their programs use in the same order. Raises
    `ProgramError` when no color is left.
    """
    hops = list(hops)
    usable = range(program.spec.num_colors) if colors is None else colors
    for color in usable:
        if all(program.can_switch(hop.rect, color, hop.positions, ring=not hop.later, pop=hop.pop) for hop in hops):
            for hop in hops:
                program.switch(hop.rect, color, hop.positions, ring=not hop.later, pop=hop.pop)
            return color
    raise ProgramError(
        f"no color is left for a route at {hops[0].rect}: all {len(usable)} that may be used there are taken",
        notes=[kernel_line()],
        help="use an algorithm that needs fewer colors",
    )


def stage_wires(program: ProgramBuilder, line: Line, outward: bool) -> list[int]:
    """The color from PE i to i + 1 (`outward`) or from i + 1 to i, for each i: two in turn."""
    links = [(i, i + 1) if outward else (i + 1, i) for i in range(line.length - 1)]
    turns = [links[0::2], links[1::2]]
    colors = [wire(program, [hop for link in turn for hop in line.path(*link)], line.colors) for turn in turns if turn]
    return [colors[i % 2] for i in range(line.length - 1)]


def ring_wires(program: ProgramBuilder, line: Line, order: Sequence[int]) -> dict[int, int]:
    """The color in which each PE sends to the next of a ring that visits the line's indices in `order`, by index of the sender."""
    pairs = zip(order, [*order[1:], order[0]], strict=True)
    return {a: wire(program, line.path(a, b), line.colors) for a, b in pairs} if len(order) > 1 else {}


def join(pe: Pes, view: View, *threads: int) -> None:
    """Wait until microthreads are free: on each an operation of no elements of `view`, which issues when it can."""
    for thread in threads:
        pe.mov(view.strided((0,), (1,)), 0.0, thread=thread)
