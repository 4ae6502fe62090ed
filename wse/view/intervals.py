"""Intervals: the counters of a run over time, read while it runs without changing it.

A run is cut into slices with `max_cycles`; between two slices the counters are read. The number of intervals
stays bounded: when there are too many, neighbours are added up, and later ones are twice as long. So does their size: on a large
mesh counts are summed per tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wse.isa import Status
from wse.machine import Counters, Machine
from wse.program import Program
from wse.view.tables import GRID, grids, link_table, pe_table, tiling_of_at_most

MAX_INTERVALS = 64
MAX_TILES = 128 * 128
FIRST_CYCLES = 256


@dataclass(frozen=True)
class Intervals:
    """Counts between readings. Interval i covers cycles `edges[i]` up to, not including, `edges[i + 1]`."""

    side: int  # of a tile, in PEs
    edges: np.ndarray  # int64 (num_intervals + 1,), cycles, ascending
    counts: np.ndarray  # (num_intervals, len(GRID), tiles along y, tiles along x)

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, name: str) -> np.ndarray:
        """One count of `GRID` in all intervals: (num_intervals, tiles along y, tiles along x)."""
        return self.counts[:, GRID.index(name)]

    def merged(self) -> Intervals:
        """Half as many intervals: pairs of neighbours added up."""
        edges, counts = _merge(list(self.edges), list(self.counts))
        return Intervals(self.side, np.array(edges, np.int64), np.stack(counts))


class Sampler:
    """Runs a machine and notes its counters at regular intervals of simulated time.

    Use `run` in place of `Machine.run`, always with the same machine; results, cycles and counters are the same.
    """

    def __init__(
        self, program: Program, *, max_intervals: int = MAX_INTERVALS, max_tiles: int = MAX_TILES, first_cycles: int = FIRST_CYCLES
    ):
        if max_intervals < 2:
            raise ValueError("a sampler needs room for two intervals")
        self._program = program
        self._tiling = tiling_of_at_most(program.width, program.height, max_tiles)
        self._max_intervals = max_intervals
        self._interval = first_cycles
        self._edges = [0]
        self._counts: list[np.ndarray] = []
        self._read_so_far = np.zeros((len(GRID), *self._tiling.shape), np.int64)

    def run(self, machine: Machine, await_outputs: dict[str, int] | None = None) -> Status:
        """`Machine.run(await_outputs)`, with readings on the way."""
        target = {name: _received(machine, name) + num for name, num in (await_outputs or {}).items()}
        while True:
            rest = {name: num - _received(machine, name) for name, num in target.items()}
            status = machine.run({name: num for name, num in rest.items() if num > 0}, max_cycles=self._edges[-1] + self._interval)
            if status != Status.LIMIT:
                return status
            self._read(machine)

    def intervals(self, machine: Machine) -> Intervals:
        """What has been noted up to the machine's current cycle."""
        if machine.cycles > self._edges[-1]:
            self._read(machine)
        counts = np.stack(self._counts) if self._counts else np.zeros((0, *self._read_so_far.shape), np.int64)
        return Intervals(self._tiling.side, np.array(self._edges, np.int64), counts)

    def _read(self, machine: Machine) -> None:
        reading = self._sums(machine.counters())
        self._counts.append(_narrow(reading - self._read_so_far))
        self._edges.append(machine.cycles)
        self._read_so_far = reading
        if len(self._counts) >= self._max_intervals:
            self._edges, self._counts = _merge(self._edges, self._counts)
            self._interval *= 2

    def _sums(self, counters: Counters) -> np.ndarray:
        sums = grids(pe_table(self._program, counters), link_table(self._program, counters), self._tiling)
        return np.stack([sums[name] for name in GRID])


def _received(machine: Machine, name: str) -> int:
    return len(machine.output(name)[0])


def _merge(edges: list[int], counts: list[np.ndarray]) -> tuple[list[int], list[np.ndarray]]:
    """Neighbouring intervals added up in pairs; an odd one at the end stays as it is."""
    merged = [_narrow(np.stack(counts[i : i + 2]).sum(axis=0, dtype=np.int64)) for i in range(0, len(counts), 2)]
    return [*edges[:-1:2], edges[-1]], merged


def _narrow(counts: np.ndarray) -> np.ndarray:
    """The same in the smallest unsigned type that holds it."""
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))
