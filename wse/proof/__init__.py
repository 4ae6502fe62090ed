"""Hangs that can be proved before a program runs, and what only looks like one: by counting, then by running without time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from wse.program import Program
from wse.proof.circular import find_circular
from wse.proof.counts import find_blocked, find_idle_tasks, find_miscounts, find_rings
from wse.proof.finding import Finding
from wse.proof.nets import trace

__all__ = ["Finding", "find_hangs"]


def find_hangs(program: Program) -> Iterator[Finding]:
    """What counting shows; then, unless that is proof already, what running without time does."""
    nets, proven = trace(program), False
    for finding in chain(find_rings(program, nets), find_blocked(program), find_miscounts(program, nets), find_idle_tasks(program)):
        proven |= finding.proven
        yield finding
    if not proven:
        yield from find_circular(program, nets)
