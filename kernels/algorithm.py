"""Algorithm: which way to reduce, as a value; Method: the code and the contract behind a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wse.builder import ProgramBuilder
from wse.isa import Op
from wse.kernels.line import Line
from wse.operands import View
from wse.spec import MachineSpec


@dataclass(frozen=True)
class Algorithm:
    """How to reduce or all-reduce: a name, and into how many groups a two-tree cuts the line.

    star: everybody sends to index 0, one after another, by switches. chain: neighbour to neighbour to index 0. tree: binary, to index 0.
    two_phase: chains in groups of about sqrt P, then a chain of their first PEs. two_tree: in every group both ends chain to the middle,
    the middles chain to the middle one of them ("MeshGEMV", WaferLLM, OSDI'25). ring: all-reduce only, see `allreduce`.
    """

    name: str
    groups: int = 1

    def __str__(self) -> str:
        return f"{self.name} with {self.groups} groups" if self.name == "two_tree" else self.name


CHAIN = Algorithm("chain")


@dataclass(frozen=True)
class Method:
    """One algorithm's code and contract. `links`: who sends to whom, as (sender, receiver) indices; each sends `value` once.
    `control_hops`: links that control wavelets cross, of a line of that length.
    `emit`'s dictionary goes to every vector operation: `shape` and `type`.
    """

    emit: Callable[[ProgramBuilder, Line, View, Op, dict[str, Any], Algorithm], None]
    links: Callable[[int, Algorithm], list[tuple[int, int]]]
    cycles: Callable[[MachineSpec, Algorithm, int, int], int]
    colors: Callable[[int, Algorithm], int]
    control_hops: Callable[[int], int] = lambda length: 0
