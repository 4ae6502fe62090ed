"""Why a model was not placed: the smallest reason, needed against available, and the nearest relaxation that would work."""

from __future__ import annotations

import numpy as np

from wse.compiler.placers.problem import Problem
from wse.errors import DoesNotFitError
from wse.program import Rect


def impossible(problem: Problem) -> DoesNotFitError | None:
    """The first proof, single blocks before pairs before areas, that no placement exists; None when there is no such proof."""
    for check in CHECKS:
        reason = check(problem)
        if reason is not None:
            return _with_help(problem, *reason)
    return None


def does_not_fit(problem: Problem) -> DoesNotFitError:
    """For when a search found nothing although nothing proves it impossible."""
    need, there = sum(_least(problem, i) for i in range(len(problem.names))), int(problem.usable.sum())
    return _with_help(
        problem, f"the model does not fit on {problem.width}x{problem.height} PEs",
        [f"its blocks need {need:,} PEs in their smallest shapes, of {there:,}, but the rectangles were not found a place"],
    )  # fmt: skip


Reason = tuple[str, list[str]]


def _one_block(problem: Problem) -> Reason | None:
    for i, (name, shapes) in enumerate(zip(problem.names, problem.shapes, strict=True)):
        area = problem.area(i)
        if not any(block.width <= area.width and block.height <= area.height for block in shapes):
            least = min(shapes, key=lambda block: (max(0, block.width - area.width) + max(0, block.height - area.height), block.num_pes))
            span = problem.constraints.spans.get(name)
            where = f"{span} leave it {area.width}x{area.height}" if span else f"the mesh has {area.width}x{area.height}"
            return f"block '{name}' does not fit: it needs {least.width}x{least.height} PEs, {where}", _shapes_note(problem, i)
        if problem.defects is not None and not any(_somewhere(problem, area, block.width, block.height) for block in shapes):
            return f"block '{name}' does not fit: in no shape does it find a place among the defects", [
                str(problem.defects), *_shapes_note(problem, i)
            ]  # fmt: skip
    return None


def _somewhere(problem: Problem, area: Rect, width: int, height: int) -> bool:
    """Whether a block of this size, and what it skips, fits anywhere in `area`."""
    assert problem.footprints is not None
    skipped = problem.footprints.skipped(width, height)[area.y : area.y + area.height, area.x : area.x + area.width]
    rights = np.arange(skipped.shape[1]) + width + skipped[..., 0]
    bottoms = np.arange(skipped.shape[0])[:, None] + height + skipped[..., 1]
    return bool(((skipped[..., 0] >= 0) & (rights <= area.width) & (bottoms <= area.height)).any())


def _pins(problem: Problem) -> Reason | None:
    """Pinned blocks that leave the mesh, meet a keep-out area, or overlap in every shape they have."""
    pinned: list[tuple[str, list[Rect]]] = []
    for i, name in enumerate(problem.names):
        at = problem.constraints.pins.get(name)
        if at is None:
            continue
        rects = [Rect(*at, block.width, block.height) for block in problem.shapes[i]]
        inside = [rect for rect in rects if problem.area(i).contains(rect)]
        if not inside:
            rect = min(rects, key=lambda rect: rect.num_pes)
            return f"block '{name}' pinned at ({at[0]},{at[1]}) takes {rect}, outside {problem.area(i)}", _shapes_note(problem, i)
        inside = [there for rect in inside if (there := problem.footprint(rect)) is not None and problem.area(i).contains(there)]
        if not inside:
            return f"block '{name}' pinned at ({at[0]},{at[1]}) finds no place there among the defects", _shapes_note(problem, i)
        for area in problem.constraints.keep_out:
            if all(rect.overlaps(area) for rect in inside):
                return f"block '{name}' pinned at ({at[0]},{at[1]}) lies in the keep-out area {area}", []
        for other, others in pinned:
            if all(a.overlaps(b) for a in inside for b in others):
                return f"blocks '{other}' and '{name}', both pinned, overlap: {others[0]} and {inside[0]}", []
        pinned.append((name, inside))
    return None


def _areas(problem: Problem) -> Reason | None:
    """More PEs needed within some rows and columns than are free there."""
    free = problem.usable
    areas: dict[Rect, list[int]] = {}
    for i in range(len(problem.names)):
        areas.setdefault(problem.area(i), []).append(i)
    for area in sorted(areas, key=lambda area: area.num_pes):
        inside = [i for other, blocks in areas.items() if area.contains(other) for i in blocks]
        need = sum(_least(problem, i) for i in inside)
        there = int(free[area.y : area.y + area.height, area.x : area.x + area.width].sum())
        if need > there:
            what = "the model" if len(inside) == len(problem.names) else f"{len(inside)} blocks ('{problem.names[inside[0]]}' …)"
            does = "does" if len(inside) in (1, len(problem.names)) else "do"
            what = f"block '{problem.names[inside[0]]}'" if len(inside) == 1 else what
            where = f"on {problem.width}x{problem.height} PEs" if area == problem.mesh else f"in {area}"
            return f"{what} {does} not fit {where}: {need:,} PEs needed, {there:,} free", []
    return None


def _relations(problem: Problem) -> Reason | None:
    """Two blocks that cannot stand to each other as wished, from where their pins and spans allow them to be."""
    for relation in problem.constraints.relations:
        i, j = (problem.names.index(name) for name in (relation.block, relation.other))
        a, b = _reach(problem, i), _reach(problem, j)
        apart_x, apart_y = max(a.x, b.x) - min(a.x + a.width, b.x + b.width), max(a.y, b.y) - min(a.y + a.height, b.y + b.height)
        if relation.kind == "same_column_as":
            (low, high), (other_low, other_high) = (_first_sides(problem, k, "x") for k in (i, j))
        elif relation.kind == "same_row_as":
            (low, high), (other_low, other_high) = (_first_sides(problem, k, "y") for k in (i, j))
        else:
            low = high = other_low = other_high = 0
        if max(low, other_low) > min(high, other_high) or (relation.kind == "next_to" and max(apart_x, apart_y) > 0):
            return f"{relation} cannot hold", [_where(problem, k) for k in (i, j)]
    return None


def _reach(problem: Problem, i: int) -> Rect:
    """All PEs that block i could cover, in any of its shapes."""
    at = problem.constraints.pins.get(problem.names[i])
    if at is None:
        return problem.area(i)
    return Rect(*at, max(block.width for block in problem.shapes[i]), max(block.height for block in problem.shapes[i]))


def _first_sides(problem: Problem, i: int, axis: str) -> tuple[int, int]:
    """First and last column ("x") or row ("y") at which block i could begin."""
    area, at = problem.area(i), problem.constraints.pins.get(problem.names[i])
    if axis == "x":
        return (at[0], at[0]) if at else (area.x, area.x + area.width - min(block.width for block in problem.shapes[i]))
    return (at[1], at[1]) if at else (area.y, area.y + area.height - min(block.height for block in problem.shapes[i]))


def _where(problem: Problem, i: int) -> str:
    name, wishes = problem.names[i], problem.constraints
    if name in wishes.pins:
        return f"'{name}' is pinned at {wishes.pins[name]}"
    return f"'{name}' must lie in {wishes.spans[name]}" if name in wishes.spans else f"'{name}' may be anywhere"


CHECKS = (_one_block, _pins, _relations, _areas)


def _least(problem: Problem, i: int) -> int:
    return min(block.num_pes for block in problem.shapes[i])


def _shapes_note(problem: Problem, i: int) -> list[str]:
    shapes = sorted({(block.width, block.height) for block in problem.shapes[i]})
    return [f"its shapes: {', '.join(f'{w}x{h}' for w, h in shapes[:10])}" + (f" and {len(shapes) - 10} more" if len(shapes) > 10 else "")]


def _with_help(problem: Problem, message: str, notes: list[str]) -> DoesNotFitError:
    """The error, with the nearest relaxation that a quick search finds a placement for."""
    from wse.compiler.placers.relax import relaxation

    return DoesNotFitError(message, notes=notes, help=relaxation(problem))
