"""Relax: what would have to be given up, at least, for a model to be placed; every proposal was tried and found a placement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wse.compiler.constraints import Span
from wse.compiler.placers.explain import CHECKS
from wse.compiler.placers.greedy import small_snake, try_place
from wse.compiler.placers.problem import Problem

MAX_SIDE = 4096  # of a mesh that is proposed
FEW_BLOCKS = 12  # up to so many, every step of a search for the nearest proposal may try the greedy placer


def relaxation(problem: Problem) -> str | None:
    """Another placer; a span grown by as few PEs as will do; one constraint dropped; a larger mesh; or one without defects."""
    if places(problem):
        return "--placer greedy or anneal finds a place"
    proposal = _wider_span(problem) or _one_dropped(problem) or _larger_mesh(problem)
    if proposal is None and problem.defects is not None and places(replace(problem, defects=None)):
        return "without the defects it fits"
    return proposal


def places(problem: Problem) -> bool:
    """Whether a quick search finds a placement."""
    return not any(check(problem) for check in CHECKS) and try_place(problem) is not None


def _wider_span(problem: Problem) -> str | None:
    wishes = problem.constraints
    found: list[tuple[int, str]] = []
    for span in dict.fromkeys(wishes.spans.values()):
        area = span.area(problem.mesh)
        for key, step, room, breadth in (
            ("last_row", 1, problem.height, area.width), ("first_row", -1, problem.height, area.width),
            ("last_column", 1, problem.width, area.height), ("first_column", -1, problem.width, area.height),
        ):  # fmt: skip
            end = getattr(span, key)
            if end is None:
                continue

            def grown(by: int, span: Span = span, key: str = key, end: int = end, step: int = step) -> Span:
                return replace(span, **{key: max(0, end + step * by)})

            fits = lambda by, span=span, grown=grown: places(replace(problem, constraints=wishes.with_span(span, grown(by))))  # noqa: E731
            by = _least(fits, room)
            if by is not None:
                found.append((by * max(1, breadth), f"{grown(by)} for {wishes.spanned(span)} would do"))
    return min(found)[1] if found else None


def _one_dropped(problem: Problem) -> str | None:
    for what, rest in problem.constraints.each():
        if places(replace(problem, constraints=rest)):
            return f"without {what} it fits"
    return None


def _larger_mesh(problem: Problem) -> str | None:
    def fits(mesh: Problem) -> bool:
        if problem.defects is not None:  # random ones are drawn for any mesh, given ones are of this mesh alone
            defects = problem.defects.on(mesh.width, mesh.height)
            if defects is None:
                return False
            mesh = replace(mesh, defects=defects)
        return places(mesh) if len(problem.names) <= FEW_BLOCKS else small_snake(mesh) is not None

    found: list[tuple[int, str]] = []
    for right, down in ((1, 0), (0, 1), (1, 1)):

        def grown(by: int, right: int = right, down: int = down) -> Problem:
            return replace(problem, width=problem.width + right * by, height=problem.height + down * by)

        def grown_fits(by: int, grown: Callable[[int], Problem] = grown) -> bool:
            return fits(grown(by))

        by = _least(grown_fits, MAX_SIDE - max(problem.width, problem.height))
        if by is not None:
            mesh = grown(by)
            found.append((mesh.width * mesh.height, f"--mesh {mesh.width}x{mesh.height} would do"))
    if not found:
        return None
    return min(found)[1] + (", with as many defects" if problem.defects is not None else "")


def _least(fits: Callable[[int], bool], most: int) -> int | None:
    """The least of 1 .. most that fits, if all above one that fits do too; None when none does."""
    low, high = 0, 1  # low does not fit
    while not fits(min(high, most)):
        if high >= most:
            return None
        low, high = high, 2 * high
    high = min(high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
