"""Exact: the optimum of a small graph, or a bound on it, by constraint programming (OR-tools CP-SAT).

Shapes are choices, places are integers, blocks do not overlap, and each net takes one of the ways of `nets.py`, at that
way's cost. What the solver calls optimal is measured again with the problem's own cost; the bound it proves is written
into the placement, so that the other placers can be held against it.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from wse.compiler.footprint import Footprints
from wse.compiler.nets import EAST, FREE, NORTH, SOUTH, WEST, measure
from wse.compiler.place import Placement
from wse.compiler.placers import anneal
from wse.compiler.placers.explain import does_not_fit
from wse.compiler.placers.problem import Problem, Search
from wse.errors import UnsupportedError
from wse.program import Rect

DEFAULT_SECONDS = 60.0
SCALE = 1e8  # of the objective, whose whole is about 1


def place(problem: Problem, search: Search) -> Placement:
    """The optimum if the time suffices, else the best found. Raises `UnsupportedError` without OR-tools, `DoesNotFitError`."""
    try:
        from ortools.sat.python import cp_model
    except ImportError:
        raise UnsupportedError("the exact placer wants OR-tools", help="pip install 'wse[search]', or take --placer anneal") from None
    began = time.perf_counter()
    model = _Model(cp_model.CpModel(), problem)
    starts = anneal.starts(problem, 1)
    if starts:
        model.hint(starts[0][1])
    solver = cp_model.CpSolver()
    limit = DEFAULT_SECONDS if search.time_budget is None else max(0.01, search.time_budget)
    solver.parameters.max_time_in_seconds = limit
    solver.parameters.random_seed = search.seed
    solver.parameters.num_workers = min(8, os.cpu_count() or 1)

    class Better(cp_model.CpSolverSolutionCallback):
        def on_solution_callback(self) -> None:
            cost = problem.cost(problem.placement(model.rects(self)))
            search.on_best(time.perf_counter() - began, problem.weigh(cost) / problem.lower_bound - 1, cost)

    with _ticking(lambda seconds: search.on_done(min(1.0, seconds / limit))):
        status = solver.solve(model.cp, Better())
    found = [starts[0][1]] if starts else []
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        found.append(model.rects(solver))
    if not found:
        raise does_not_fit(problem)
    value = lambda rects: problem.weigh(problem.cost(problem.placement(rects)))  # noqa: E731
    best = min(found, key=value)
    bound = max(problem.lower_bound, solver.best_objective_bound / SCALE) if status != cp_model.UNKNOWN else problem.lower_bound
    search.on_best(time.perf_counter() - began, value(best) / problem.lower_bound - 1, problem.cost(problem.placement(best)))
    placement = problem.placement(best)
    about = {"proved_optimal": value(best) <= bound * (1 + 1e-4), "proved_bound": round(bound, 6), "objective_value": round(value(best), 6)}
    return replace(placement, about=about)


@contextmanager
def _ticking(tell: Callable[[float], None]) -> Iterator[None]:
    """Call `tell` with the seconds that have passed, now and then while the body runs."""
    began, over = time.perf_counter(), threading.Event()

    def tick() -> None:
        while not over.wait(0.5):
            tell(time.perf_counter() - began)

    threading.Thread(target=tick, daemon=True).start()
    try:
        yield
    finally:
        over.set()


class _Model:
    """The problem as a CP-SAT model. Variables of block i: shape choices, x, y, width, height."""

    def __init__(self, cp: Any, problem: Problem):
        self.cp, self.problem = cp, problem
        n = len(problem.names)
        self.pick = [[cp.new_bool_var(f"pick {i} {k}") for k in range(len(problem.shapes[i]))] for i in range(n)]
        self.x = [cp.new_int_var(0, problem.width, f"x {i}") for i in range(n)]
        self.y = [cp.new_int_var(0, problem.height, f"y {i}") for i in range(n)]
        self.w = [cp.new_int_var(1, problem.width, f"w {i}") for i in range(n)]
        self.h = [cp.new_int_var(1, problem.height, f"h {i}") for i in range(n)]
        self.wide, self.high = list(self.w), list(self.h)  # what it takes on the mesh
        across, down = [], []
        for i in range(n):
            cp.add_exactly_one(self.pick[i])
            cp.add(self.w[i] == self._of_shape(i, lambda b: b.width))
            cp.add(self.h[i] == self._of_shape(i, lambda b: b.height))
            area = problem.area(i)
            right = cp.new_int_var(area.x, area.x + area.width, f"right {i}")
            bottom = cp.new_int_var(area.y, area.y + area.height, f"bottom {i}")
            cp.add(self.x[i] >= area.x)
            cp.add(self.y[i] >= area.y)
            if problem.footprints is not None:
                self.wide[i], self.high[i] = self._footprint(problem.footprints, i)
            across.append(cp.new_interval_var(self.x[i], self.wide[i], right, f"across {i}"))
            down.append(cp.new_interval_var(self.y[i], self.high[i], bottom, f"down {i}"))
        for area in problem.constraints.keep_out:
            across.append(cp.new_fixed_size_interval_var(area.x, area.width, "keep out"))
            down.append(cp.new_fixed_size_interval_var(area.y, area.height, "keep out"))
        cp.add_no_overlap_2d(across, down)
        self._constrain()
        blocks = [self._of_shape(i, lambda b, i=i: self._value(problem.costs[i][problem.shapes[i].index(b)])) for i in range(n)]
        cp.minimize(sum(blocks) + sum(self._net(i) for i in range(n + 1)))

    def hint(self, rects: tuple[Rect, ...]) -> None:
        """Start the search from a known placement."""
        for i, rect in enumerate(rects):
            chosen = self.problem.shape_index(i, (rect.width, rect.height))
            for k, pick in enumerate(self.pick[i]):
                self.cp.add_hint(pick, k == chosen)
            self.cp.add_hint(self.x[i], rect.x)
            self.cp.add_hint(self.y[i], rect.y)

    def rects(self, solver: Any) -> tuple[Rect, ...]:
        """The solver's answer, or that of a callback of its."""
        values = ((solver.value(v) for v in (self.x[i], self.y[i], self.w[i], self.h[i])) for i in range(len(self.x)))
        return tuple(Rect(*map(int, four)) for four in values)

    def _value(self, cost: tuple[float, ...]) -> int:
        cycles, hops = cost
        return math.floor(SCALE * (cycles * self.problem.weights[0] + hops * self.problem.weights[1]))

    def _of_shape(self, i: int, number: Any) -> Any:
        """A number of the shape chosen for block i, as an expression."""
        return sum(number(block) * pick for block, pick in zip(self.problem.shapes[i], self.pick[i], strict=True))

    def _footprint(self, footprints: Footprints, i: int) -> tuple[Any, Any]:
        """Width and height of what block i takes on the mesh, which hang on where it is."""
        p, cp = self.problem, self.cp
        wide, high = cp.new_int_var(1, p.width, f"wide {i}"), cp.new_int_var(1, p.height, f"high {i}")
        choice = cp.new_int_var(0, len(self.pick[i]) - 1, f"choice {i}")
        cp.add(choice == sum(k * pick for k, pick in enumerate(self.pick[i])))
        allowed = []
        for k, block in enumerate(p.shapes[i]):
            skipped = footprints.skipped(block.width, block.height)
            ys, xs = np.nonzero(skipped[..., 0] >= 0)
            sizes = skipped[ys, xs] + (block.width, block.height)
            allowed += np.column_stack([np.full(len(xs), k), xs, ys, sizes]).tolist()
        cp.add_allowed_assignments([choice, self.x[i], self.y[i], wide, high], allowed)
        return wide, high

    def _constrain(self) -> None:
        wishes, cp = self.problem.constraints, self.cp
        index = {name: i for i, name in enumerate(self.problem.names)}
        for name, (x, y) in wishes.pins.items():
            cp.add(self.x[index[name]] == x)
            cp.add(self.y[index[name]] == y)
        for relation in wishes.relations:
            i, j = index[relation.block], index[relation.other]
            if relation.kind == "same_column_as":
                cp.add(self.x[i] == self.x[j])
            elif relation.kind == "same_row_as":
                cp.add(self.y[i] == self.y[j])
            else:
                self._touch(i, j)

    def _touch(self, i: int, j: int) -> None:
        cp, ways = self.cp, []
        for a, b in ((i, j), (j, i)):
            for start, size, other, other_size in ((self.x, self.wide, self.y, self.high), (self.y, self.high, self.x, self.wide)):
                way = cp.new_bool_var(f"touch {a} {b}")
                cp.add(start[a] + size[a] == start[b]).only_enforce_if(way)
                cp.add(other[a] + other_size[a] > other[b]).only_enforce_if(way)
                cp.add(other[b] + other_size[b] > other[a]).only_enforce_if(way)
                ways.append(way)
        cp.add_bool_or(ways)

    # --- nets: one way each, at its cost; the formulas are those of `measure`, split by what depends on which block ----------------

    def _net(self, i: int) -> Any:
        """The cost of net i, as an expression or a variable bounded from below."""
        p, n = self.problem, len(self.x)
        link, far_in = self._value((p.hop_cycles, p.dim)), EAST
        if i == 0:
            far = self.x[0] + (self.w[0] - 1 if p.inputs[0] == far_in else 0)
            fixed = self._of_shape(0, lambda b: self._value(((b.height + b.width) * p.hop_cycles + 2 * p.ramp_cycles + p.dim
                                                            - (-p.dim // b.height), p.dim * (b.height - 1))))  # fmt: skip
            return link * far + fixed
        if i == n:
            far = p.width - self.x[-1] + (0 if p.outputs[-1] == WEST else 1 - self.w[-1])
            return self._value((p.hop_cycles, 1)) * far + self._value((p.ramp_cycles, 0))
        a, b = i - 1, i
        self.cost = self.cp.new_int_var(0, int(1e12), f"net {i}")
        self.ways: list[Any] = []
        self._aside(a, b, link)
        self._stacked(a, b, link)
        self._trunks(a, b, link)
        self.cp.add_exactly_one(self.ways)
        return self.cost

    def _way(self, link: int, far: Any, own: Any, *conditions: Any) -> None:
        """One way the net at hand can go: if it is taken, the conditions hold and the cost is at least `link * far + own`."""
        way = self.cp.new_bool_var("way")
        for condition in conditions:
            self.cp.add(condition).only_enforce_if(way)
        self.cp.add(self.cost >= link * far + own).only_enforce_if(way)
        self.ways.append(way)

    def _sides(self, a: int, b: int, out: tuple[int, ...], into: tuple[int, ...]) -> bool:
        return self.problem.outputs[a] in (FREE, *out) and self.problem.inputs[b] in (FREE, *into)

    def _aside(self, a: int, b: int, link: int) -> None:
        p = self.problem
        own = self._of_shape(a, lambda s: self._value((-(-p.dim // s.height) + p.ramp_cycles, 0)))
        own += self._of_shape(b, lambda s: self._value(((s.width - 1) * p.hop_cycles, 0)))
        level = (self.y[a] == self.y[b], self.h[a] == self.h[b])
        for west, east, out, into in ((a, b, EAST, WEST), (b, a, WEST, EAST)):
            if self._sides(a, b, (out,), (into,)):
                gap = self.x[east] - self.x[west] - self.w[west] + 1
                self._way(link, gap, own, *level, gap >= 1)

    def _stacked(self, a: int, b: int, link: int) -> None:
        p = self.problem
        own = self._of_shape(a, lambda s: self._value((2 * -(-p.dim // s.height) + 2 * p.ramp_cycles, 0)))
        own += self._of_shape(b, lambda s: self._value(((s.width - 1) * p.hop_cycles, 0)))
        shared = [self.x[i] + self.w[i] - self.x[j] >= self.h[a] for i in (a, b) for j in (a, b)]
        for north, south, out, into in ((a, b, SOUTH, NORTH), (b, a, NORTH, SOUTH)):
            if self._sides(a, b, (out,), (into,)):
                rise = self.y[south] - self.y[north]
                self._way(link, rise, own, self.h[a] == self.h[b], rise >= self.h[a], *shared)

    def _trunks(self, a: int, b: int, link: int) -> None:
        """Four ways: from the top or bottom row to the top or bottom row, the columns as near as the sides allow."""
        p = self.problem
        out_side, in_side = p.outputs[a], p.inputs[b]
        a0, a1 = self.x[a] + (self.w[a] - 1 if out_side == EAST else 0), self.x[a] + (0 if out_side == WEST else self.w[a] - 1)
        b0, b1 = self.x[b] + (self.w[b] - 1 if in_side == EAST else 0), self.x[b] + (0 if in_side == WEST else self.w[b] - 1)
        across = self.cp.new_int_var(0, p.width, "across")
        self.cp.add(across >= b0 - a1)
        self.cp.add(across >= a0 - b1)
        into_cost = self._of_shape(b, lambda s: self._value((
            p.dim + (s.height - 1 + s.width - 1) * p.hop_cycles + 2 * p.ramp_cycles - (-p.dim // s.height), p.dim * (s.height - 1)
        )))  # fmt: skip
        for from_bottom in (False, True):
            gather = self._of_shape(a, lambda s, bottom=from_bottom: self._gather(s.height, bottom))
            for into_bottom in (False, True):
                if out_side == (NORTH if from_bottom else SOUTH) or in_side == (NORTH if into_bottom else SOUTH):
                    continue
                out_y = self.y[a] + (self.h[a] - 1 if from_bottom else 0)
                in_y = self.y[b] + (self.h[b] - 1 if into_bottom else 0)
                down = self.cp.new_int_var(0, p.height, "down")
                self.cp.add(down >= in_y - out_y)
                self.cp.add(down >= out_y - in_y)
                self._way(link, across + down, gather + into_cost)

    def _gather(self, height: int, bottom: bool) -> int:
        """Cost of collecting the segments of a block so high at its top or bottom row, read off `measure` for a net of one link."""
        p = self.problem
        side, below = (SOUTH, height - 1) if bottom else (NORTH, 0)
        _, hops, *_ = measure(p.dim, 0, 0, 1, height, side, 1, below, 1, height + 1, NORTH, p.hop_cycles, p.ramp_cycles)
        cycles = (height - 1) * (p.hop_cycles + p.ramp_cycles) if bottom else 0
        return self._value((cycles, hops - p.dim - p.dim * height))
