"""Maps of defects: what they refuse, what a seed draws, and programs that use what is dead."""

import json

import numpy as np
import pytest

from wse.builder import ProgramBuilder
from wse.defects import Defects, parse_defects, read_defects
from wse.errors import ConfigError, ProgramError
from wse.frame import Frame
from wse.isa import Port
from wse.program import Rect
from wse.spec import load_spec
from wse.store import content_hash, load, save
from wse.verify import verify

SPEC = load_spec("wse2")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"pes": ((4, 0),)}, r"\(4,0\) is outside the mesh of 4x3"),
        ({"routers": ((0, -1),)}, "outside the mesh"),
        ({"links": (((0, 0), (0, 3)),)}, "outside the mesh"),
        ({"links": (((0, 0), (1, 1)),)}, "no neighbours"),
        ({"pes": ((1, 1), (1, 1))}, "named twice"),
        ({"pes": ((1, 1),), "routers": ((1, 1),)}, "named twice"),
        ({"links": (((0, 0), (1, 0)), ((1, 0), (0, 0)))}, "named twice"),
    ],
)
def test_a_map_that_makes_no_sense_is_refused(how, message):
    with pytest.raises(ConfigError, match=message):
        Defects(4, 3, **how)


@pytest.mark.parametrize("rates", [{"pe_rate": 1.0}, {"link_rate": -0.1}, {"pe_rate": float("nan")}, {"seed": -1}])
def test_rates_that_are_none_are_refused(rates):
    with pytest.raises(ConfigError):
        Defects.random(4, 4, **rates)


def test_a_seed_draws_the_same_map_and_a_higher_rate_adds_to_it():
    few, many = (Defects.random(40, 30, rate, rate, seed=3) for rate in (0.01, 0.05))
    assert few == Defects.random(40, 30, 0.01, 0.01, seed=3) != Defects.random(40, 30, 0.01, 0.01, seed=4)
    assert (len(few.pes), len(many.pes)) == (12, 60)
    assert len(few.links) == round(0.01 * (39 * 30 + 40 * 29))
    assert set(few.pes) < set(many.pes)
    assert set(few.links) < set(many.links)
    assert any(a[1] == b[1] for a, b in many.links) and any(a[0] == b[0] for a, b in many.links)
    moved = few.on(20, 20)
    assert moved == Defects.random(20, 20, 0.01, 0.01, seed=3)
    assert Defects(4, 4, ((1, 1),)).on(5, 5) is None


def test_a_dead_router_closes_its_links_from_both_sides():
    defects = Defects(3, 3, routers=((1, 1),), links=(((0, 0), (1, 0)),))
    assert defects.closed[1, 1].all()
    assert defects.closed[1, 0, Port.EAST] and defects.closed[0, 1, Port.SOUTH] and defects.closed[0, 0, Port.EAST]
    assert defects.closed[0, 1, Port.WEST]
    assert defects.closed.sum() == 4 + 4 + 2
    assert np.argwhere(defects.dead).tolist() == [[1, 1]]


def test_a_map_is_a_file_one_can_edit(tmp_path):
    path, defects = tmp_path / "map.json", Defects.random(9, 8, 0.1, 0.05, seed=5)
    defects.write(path)
    again = read_defects(path)
    assert again == defects and again.drawn == defects.drawn and again.digest == defects.digest
    table = json.loads(path.read_text())
    table["dead_routers"] = [table["dead_pes"].pop()]
    path.write_text(json.dumps(table))
    edited = read_defects(path)
    assert edited.drawn is None and edited != defects and edited.digest != defects.digest
    assert edited.num_dead_pes == defects.num_dead_pes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "has schema 1, not 2"),
        ({"mesh": [4]}, "is not a map of defects"),
        ({"dead_pes": [[9, 9]]}, r"map.json: defect at PE \(9,9\) is outside"),
        ({"dead_pe": [[1, 1]]}, "unknown key 'dead_pe'"),
    ],
)
def test_a_file_that_is_no_map_is_refused(tmp_path, change, message):
    path = tmp_path / "map.json"
    path.write_text(json.dumps(Defects(4, 4).facts() | change))
    with pytest.raises(ConfigError, match=message):
        read_defects(path)
    with pytest.raises(ConfigError, match="schema 1, not list"):
        parse_defects([], "here")
    with pytest.raises(ConfigError, match="cannot read"):
        read_defects(tmp_path / "none.json")


def passing(defects, *hops):
    """A program on a row of three PEs (by three) with these routes of color 2."""
    program = ProgramBuilder(SPEC, 3, 3, defects)
    for x, y, rx, tx in hops:
        program.route(Rect(x, y, 1, 1), 2, rx, tx)
    return program


EASTWARD = ((0, 1, Port.RAMP, [Port.EAST]), (1, 1, Port.WEST, [Port.EAST]), (2, 1, Port.WEST, [Port.RAMP]))
TURNING = ((0, 1, Port.RAMP, [Port.EAST]), (1, 1, Port.WEST, [Port.SOUTH]), (1, 2, Port.NORTH, [Port.RAMP]))
COPYING = ((0, 1, Port.RAMP, [Port.EAST]), (1, 1, Port.WEST, [Port.EAST, Port.RAMP]), (2, 1, Port.WEST, [Port.RAMP]))


def test_a_dead_pe_passes_straight_on_and_nothing_else():
    dead = Defects(3, 3, pes=((1, 1),))
    program = passing(dead, *EASTWARD)
    sender, receiver = program.pes(Rect(0, 1, 1, 1)), program.pes(Rect(2, 1, 1, 1))
    sender.mov(sender.send(2), 1.0, shape=1)
    receiver.mov(receiver.zeros("a", 1), receiver.recv(2))
    verify(program.link())
    for hops in (TURNING, COPYING):
        with pytest.raises(ProgramError, match=r"color 2 goes from WEST to .* at PE \(1,1\), which is dead") as refused:
            verify(passing(dead, *hops).link())
        assert "test_defects.py:" in refused.value.notes[0]
    with pytest.raises(ProgramError, match=r"color 2 goes from WEST to RAMP at PE \(2,1\), which is dead"):
        verify(passing(Defects(3, 3, pes=((2, 1),)), *EASTWARD).link())


@pytest.mark.parametrize("how", [{"routers": ((1, 1),)}, {"links": (((0, 1), (1, 1)),)}, {"links": (((2, 1), (1, 1)),)}])
def test_nothing_crosses_a_dead_router_or_link(how):
    with pytest.raises(ProgramError, match=r"color 2 goes from .* which has a dead link there"):
        verify(passing(Defects(3, 3, **how), *EASTWARD).link())


def test_code_and_host_ports_on_a_dead_pe_are_refused_with_both_coordinates():
    program = ProgramBuilder(SPEC, 5, 3, Defects(5, 3, pes=((3, 1),)))
    with program.frame(Frame.skipping(Rect(0, 0, 4, 3), columns=(1,))):
        a = program.pes(Rect(0, 0, 4, 3)).zeros("a", 1)
        program.pes(Rect(0, 0, 4, 3)).add(a, a, 1.0)
    with pytest.raises(ProgramError, match=r"PE \(3,1\), logical \(2,1\) is dead and cannot run code"):
        verify(program.link())
    program = passing(Defects(3, 3, pes=((0, 1),)), (0, 1, Port.WEST, [Port.EAST]), (1, 1, Port.WEST, [Port.RAMP]))
    program.input("in", 0, 1, 2, Port.WEST)
    with pytest.raises(ProgramError, match=r"host port 'in' of color 2 is at PE \(0,1\), which is dead"):
        verify(program.link())


def test_defects_and_frames_are_saved_with_a_program(tmp_path):
    program = ProgramBuilder(SPEC, 5, 3, Defects.random(5, 3, 0.1, 0.1, seed=1))
    with program.frame(Frame.skipping(Rect(0, 0, 4, 3), columns=(1,))):
        program.pes(Rect(0, 0, 4, 3)).zeros("a", 1)
    linked = program.link()
    save(linked, tmp_path / "p.npz")
    again = load(tmp_path / "p.npz")
    assert again.defects == linked.defects and again.frames == linked.frames and again.where(2) == "(2,0), logical (1,0)"
    assert content_hash(again) == content_hash(linked)
    with pytest.raises(ProgramError, match="map of defects is of 4x4 PEs, not 5x3"):
        ProgramBuilder(SPEC, 5, 3, Defects(4, 4))
