"""What blocks skip among defects: legal always, least for small cases, and a model placed around them computes the same bits."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from wse.compiler.compile import DefectOptions, PlaceOptions, compile_model, compile_placed, place_model
from wse.compiler.footprint import Footprints
from wse.compiler.hops import routed_cost
from wse.compiler.path import find_path
from wse.compiler.place import read_placement
from wse.compiler.route import route
from wse.defects import Defects
from wse.errors import ConfigError, DoesNotFitError
from wse.frame import Frame
from wse.prediction import predict
from wse.program import Rect
from wse.runner import Session
from wse.spec import load_spec
from wse.summary import channel_hops
from wse.verify import verify

SPEC = load_spec("wse2")


def least(defects: Defects, rect: Rect, most: int) -> int | None:
    """PEs of the smallest footprint of a block, by trying every set of rows and columns."""
    found = []
    for across, down in itertools.product(range(most + 1), repeat=2):
        width, height = rect.width + across, rect.height + down
        if rect.x + width > defects.width or rect.y + height > defects.height:
            continue
        for columns in itertools.combinations(range(rect.x + 1, rect.x + width - 1), across):
            for rows in itertools.combinations(range(rect.y + 1, rect.y + height - 1), down):
                if defects.in_the_way(Frame.skipping(rect, columns, rows)) is None:
                    found.append(width * height)
    return min(found, default=None)


@pytest.mark.parametrize("seed", range(6))
def test_no_set_of_rows_and_columns_makes_a_smaller_footprint(seed):
    defects = Defects.random(9, 8, 0.06, 0.02, seed=seed)
    footprints, compared = Footprints(defects), 0
    for x, y in itertools.product(range(0, 6, 2), range(0, 5, 2)):
        rect = Rect(x, y, 4, 3)
        frame, wanted = footprints.frame(rect), least(defects, rect, 3)
        if frame is not None:
            across, down = footprints.skipped(4, 3)[y, x]
            assert frame.footprint == Rect(x, y, 4 + across, 3 + down)
            assert defects.in_the_way(frame) is None
        if wanted is not None and wanted < 24:
            assert frame is not None and frame.footprint.num_pes == wanted
            compared += 1
    assert compared


def test_links_take_the_line_they_are_crossed_in():
    footprints = Footprints(Defects(8, 8, links=(((2, 1), (3, 1)),)))
    assert footprints.skips("a", Rect(0, 0, 4, 3)) == ((), (1,))
    assert footprints.skips("a", Rect(3, 0, 4, 3)) == ((), ())
    footprints = Footprints(Defects(8, 8, links=(((2, 1), (2, 2)),)))
    assert footprints.skips("a", Rect(0, 0, 4, 3)) == ((2,), ())
    assert footprints.skips("a", Rect(0, 0, 4, 2)) == ((), ())
    with pytest.raises(ConfigError, match=r"block 'a' of 4x2 PEs cannot be at \(2,1\)"):
        footprints.skips("a", Rect(2, 1, 4, 2))
    with pytest.raises(ConfigError, match="cannot be at"):
        footprints.skips("a", Rect(6, 6, 4, 2))


def test_a_path_goes_straight_over_dead_pes_and_around_closed_links():
    dead, links = np.zeros((3, 7), bool), np.zeros((3, 7, 4), np.int64)
    dead[:, 2] = True
    dead[1, 3] = True
    assert find_path(np.zeros((3, 7), np.int64), links, (0, 1), (5, 1), set(), dead) == [(x, 1) for x in range(6)]
    links[1, 2, 1] = links[0, 2, 1] = -1
    assert find_path(np.zeros((3, 7), np.int64), links, (0, 1), (5, 1), set(), dead)[2:5] == [(1, 2), (2, 2), (3, 2)]
    links[2, 2, 1] = -1
    assert find_path(np.zeros((3, 7), np.int64), links, (0, 1), (5, 1), set(), dead) == []


@pytest.fixture(scope="module")
def clean():
    """kjv on a mesh without defects, and what it generates."""
    compiled = compile_model("kjv", SPEC)
    return compiled, generate(compiled)


def predicted_less_measured_hops(compiled):
    """Of two tokens, one by one."""
    session = Session(compiled)
    session.step([3])
    session.step([5])
    measured = sum(channel_hops(compiled.program, session.machine.counters()))
    return 2 * predict(compiled, range(2)).total.hops - measured


def generate(compiled):
    session = Session(compiled)
    tokens = list(session.generate(compiled.model.tokenizer.encode("And the LORD"), 3))
    caches = [session.machine.read(*frame.physical(frame.rect.x + 1, frame.rect.y), "x") for frame in compiled.placement.frames]
    return [token.id for token in tokens], [cache.tobytes() for cache in caches]


@pytest.mark.parametrize(
    ("placer", "rates"),
    [
        ("snake", (0.02, 0.0)),
        ("greedy", (0.03, 0.01)),
        ("spectral", (0.05, 0.0)),
        ("anneal", (0.03, 0.02)),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_a_model_placed_around_defects_computes_the_same_bits(clean, placer, rates, seed):
    options = PlaceOptions(placer, defects=DefectOptions(None, *rates, seed, dead_routers=seed == 1))
    options = dataclasses.replace(options, search=dataclasses.replace(options.search, moves=20_000))
    placed = place_model("kjv", SPEC, mesh=(14, 14), options=options)
    assert placed.placement.defects == Defects.random(14, 14, *rates, seed, routers=seed == 1)
    placed.placement.verify()
    compiled = compile_placed(placed)
    assert compiled.program.defects is placed.placement.defects
    verify(compiled.program)
    tokens, vectors = generate(compiled)
    assert tokens == clean[1][0]
    assert predicted_less_measured_hops(compiled) == 0
    assert routed_cost(placed, compiled.nets).hops == predict(compiled, range(placed.context // 2, placed.context // 2 + 1)).total.hops
    if placer == "snake":  # which keeps to the default shapes, and so to the order of every sum
        assert [rect.width for rect in compiled.placement.rects] == [rect.width for rect in clean[0].placement.rects]
        assert vectors == clean[1][1]


def test_the_exact_placer_keeps_clear_of_defects_too(clean):
    pytest.importorskip("ortools")
    options = PlaceOptions("exact", defects=DefectOptions(None, 0.04, 0.0, 3))
    options = dataclasses.replace(options, search=dataclasses.replace(options.search, time_budget=3.0))
    placed = place_model("kjv", SPEC, mesh=(11, 11), options=options)
    assert generate(compile_placed(placed))[0] == clean[1][0]


def test_a_placement_file_brings_its_defects_along(tmp_path, clean):
    options = PlaceOptions("greedy", defects=DefectOptions(None, 0.03, 0.0, 1))
    placement = place_model("kjv", SPEC, mesh=(12, 12), options=options).placement
    assert any(frame.skips for frame in placement.frames)
    path = tmp_path / "p.json"
    placement.write(path)
    again = read_placement(path)
    assert again == placement and again.defects.drawn["seed"] == 1
    table = json.loads(path.read_text())
    for block in table["blocks"]:
        del block["skipped_columns"], block["skipped_rows"]
    path.write_text(json.dumps(table))
    assert read_placement(path) == placement  # found anew
    moved = next(i for i, frame in enumerate(placement.frames) if frame.skips)
    table["blocks"][moved] |= {"skipped_columns": [], "skipped_rows": []}
    path.write_text(json.dumps(table))
    with pytest.raises(ConfigError, match=r"cannot be there: .* dead"):
        read_placement(path).verify()
    table["blocks"][moved] |= {"skipped_columns": [99], "skipped_rows": []}
    path.write_text(json.dumps(table))
    with pytest.raises(ConfigError, match="cannot skip columns"):
        read_placement(path).verify()
    placement.write(path)
    with pytest.raises(ConfigError, match="was made for other defects"):
        compile_model("kjv", SPEC, options=PlaceOptions(placement=path, defects=DefectOptions(None, 0.02)))
    assert generate(compile_model("kjv", SPEC, options=PlaceOptions(placement=path)))[0] == clean[1][0]


def test_a_placement_of_the_schema_before_is_read(tmp_path, clean):
    path = tmp_path / "p.json"
    path.write_text(clean[0].placement.dump().replace('"schema": 3', '"schema": 2'))
    assert read_placement(path) == clean[0].placement
    path.write_text(clean[0].placement.dump().replace('"schema": 3', '"schema": 1'))
    with pytest.raises(ConfigError, match="schema 1 is not 3"):
        read_placement(path)


def test_what_finds_no_place_among_defects_says_why():
    with pytest.raises(DoesNotFitError) as refused:
        place_model("kjv", SPEC, mesh=(9, 9), options=PlaceOptions("greedy", defects=DefectOptions(None, 0.3)))
    assert "PEs dead" in " ".join(refused.value.notes)
    assert "with as many defects" in refused.value.help or refused.value.help == "without the defects it fits"
    assert "defects" in refused.value.message


@pytest.mark.parametrize("seed", range(4))
def test_without_a_mesh_given_the_smallest_that_places_is_taken(seed):
    for placer in ("snake", "greedy"):
        options = PlaceOptions(placer, defects=DefectOptions(None, 0.02, 0.01, seed))
        place_model("kjv", SPEC, options=options).placement.verify()


def test_the_host_comes_in_beside_a_dead_pe(clean):
    blocks = clean[0].placement
    column = tuple((0, y) for y in range(4))
    placement = dataclasses.replace(
        blocks, width=12, height=12, defects=Defects(12, 12, pes=column),
        rects=tuple(Rect(rect.x + 2, rect.y, rect.width, rect.height) for rect in blocks.rects),
    )  # fmt: skip
    nets = route(placement, clean[0].model.config.dim, SPEC.num_colors)
    assert nets[0].exits == ((0, 4),)
    with pytest.raises(DoesNotFitError, match="every PE of column 0 is dead"):
        route(dataclasses.replace(placement, defects=Defects(12, 12, pes=tuple((0, y) for y in range(12)))), 64, 24)
