"""Frames: code in logical coordinates on rows and columns of which some are skipped computes what it computes without."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wse.builder import ProgramBuilder
from wse.defects import Defects
from wse.errors import ProgramError
from wse.frame import Area, Frame
from wse.isa import Port
from wse.kernels.allreduce import allreduce
from wse.kernels.broadcast import broadcast_rect
from wse.kernels.line import Line
from wse.kernels.reduce import Algorithm
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec
from wse.verify import verify

SPEC = load_spec("wse2")
RECT = Rect(1, 2, 4, 3)


def summed(frame: Frame | None, algorithm: str, defects: Defects | None = None) -> tuple[np.ndarray, Machine]:
    """All-reduce along both axes of `RECT`, then a broadcast over it, in a frame or without."""
    program = ProgramBuilder(SPEC, 12, 12, defects)
    with program.frame(frame or Frame.skipping(RECT)):
        pe = program.pes(RECT)
        value = pe.array("value", np.arange(12 * 5, dtype=np.float32).reshape(3, 4, 5) ** 1.5)
        first = pe.zeros("first", 5)
        for axis in "xy":
            allreduce(program, Line(RECT, axis, range(8)), value, algorithm=Algorithm(algorithm))
        pe.mov(first, value)
        broadcast_rect(program, RECT, first, range(8, 16))
    linked = program.link()
    verify(linked)
    machine = Machine(linked)
    machine.check(machine.run())
    where = (frame or Frame.skipping(RECT)).physical
    return np.array([[machine.read(*where(x, y), "first") for x in range(1, 5)] for y in range(2, 5)]), machine


@pytest.mark.parametrize("algorithm", ["star", "chain", "tree", "two_phase", "two_tree", "ring"])
def test_collectives_in_a_frame_give_the_same_bits_later(algorithm):
    frame = Frame.skipping(RECT, columns=(2, 4, 5), rows=(3, 5))
    dead = tuple((x, y) for x in range(12) for y in range(12) if x in (2, 4, 5) or y in (3, 5))
    plain, before = summed(None, algorithm)
    framed, after = summed(frame, algorithm, Defects(12, 12, dead))
    assert (plain == framed).all()
    assert after.cycles > before.cycles
    assert len(after.program.classes) == len(before.program.classes)
    assert len(after.program.code) == len(before.program.code)


@settings(max_examples=15, deadline=None)
@given(columns=st.sets(st.integers(2, 7), max_size=4), rows=st.sets(st.integers(3, 7), max_size=4))
def test_any_rows_and_columns_may_be_skipped(columns, rows):
    across = [x for x in range(1, 12) if x not in columns][:4]
    down = [y for y in range(2, 12) if y not in rows][:3]
    frame = Frame(RECT, tuple(across), tuple(down))
    dead = tuple((x, y) for x in range(12) for y in range(12) if x in columns or y in rows)
    assert (summed(None, "chain")[0] == summed(frame, "chain", Defects(12, 12, dead))[0]).all()


def test_a_frame_that_skips_nothing_changes_nothing():
    plain, framed = ProgramBuilder(SPEC, 6, 6), ProgramBuilder(SPEC, 6, 6)
    for program in (plain, framed):
        with program.frame(Frame.skipping(RECT)) if program is framed else program.op("other"):
            program.route(Rect(1, 2, 1, 3), 0, Port.RAMP, [Port.EAST])
            program.route(Rect(2, 2, 1, 3), 0, Port.WEST, [Port.RAMP])
    assert (plain.routes.at[0] == framed.routes.at[0]).all()
    assert not framed.frames


def test_what_lies_between_two_neighbours_is_passed_straight():
    program = ProgramBuilder(SPEC, 8, 8)
    frame = Frame.skipping(RECT, columns=(2, 3), rows=(4,))
    with program.frame(frame):
        program.route(RECT.column(0), 3, Port.RAMP, [Port.EAST])
        program.route(RECT.column(1), 3, Port.WEST, [Port.RAMP])
        program.route(RECT.row(2), 4, Port.RAMP, [Port.NORTH])
        program.route(RECT.row(1), 4, Port.SOUTH, [Port.RAMP])
    assert sorted(map(tuple, np.argwhere(program.routes.at[3] >= 0))) == [(y, x) for y in (2, 3, 5) for x in (1, 2, 3, 4)]
    assert sorted(map(tuple, np.argwhere(program.routes.at[4] >= 0))) == [(y, x) for y in (3, 4, 5) for x in (1, 4, 5, 6)]


def test_a_color_that_is_taken_in_a_skipped_column_is_not_free():
    program = ProgramBuilder(SPEC, 8, 8)
    program.route(Rect(2, 2, 1, 1), 0, Port.NORTH, [Port.RAMP])
    frame = Frame.skipping(RECT, columns=(2,))
    with program.frame(frame):
        assert not program.can_switch(RECT.column(0), 0, [(Port.RAMP, [Port.EAST])])
        assert program.can_switch(RECT.column(0), 0, [(Port.RAMP, [Port.NORTH])])
        with pytest.raises(ProgramError, match=r"another route at PE \(2,2\)"):
            program.route(RECT.column(0), 0, Port.RAMP, [Port.EAST])


def test_coordinates_go_both_ways():
    frame = Frame.skipping(RECT, columns=(3,), rows=(2,))
    assert (frame.columns, frame.rows) == ((1, 2, 4, 5), (3, 4, 5))
    assert frame.physical(3, 2) == (4, 3)
    assert frame.logical(4, 3) == (3, 2)
    assert frame.logical(3, 3) is None
    assert frame.footprint == Rect(1, 3, 5, 3)
    assert frame.skips and not Frame.skipping(RECT).skips
    assert frame.area(RECT) == Area((1, 2, 4, 5), range(3, 6))


def test_frames_that_cannot_be_are_refused():
    with pytest.raises(ProgramError, match="wants 4 ascending columns"):
        Frame(RECT, (1, 2, 3), (2, 3, 4))
    with pytest.raises(ProgramError, match="wants 3 ascending rows"):
        Frame(RECT, (1, 2, 3, 4), (2, 4, 3))
    program = ProgramBuilder(SPEC, 5, 5)
    with pytest.raises(ProgramError, match="outside the mesh"), program.frame(Frame.skipping(RECT, columns=(2,))):
        pass
    with program.frame(Frame.skipping(RECT)):
        with pytest.raises(ProgramError, match="outside its frame"):
            program.pes(Rect(0, 0, 2, 2))
        with pytest.raises(ProgramError, match="inside a frame"), program.frame(Frame.skipping(RECT)):
            pass
    program.pes(Rect(0, 0, 2, 2))
