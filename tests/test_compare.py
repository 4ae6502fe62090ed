"""wse compare: facts side by side, and changes that add up to the whole difference."""

import json

import pytest
from commands import wse
from random_model import partitioner, random_model

from wse.compiler.compare import changes, describe
from wse.compiler.place import Placement
from wse.compiler.placers import Search, find_placement
from wse.compiler.placers.problem import make_problem
from wse.program import Rect

MODEL = random_model()
NAMES = ("layer 0", "layer 1", "final")
NEAR = Placement(40, 20, (Rect(0, 0, 6, 5), Rect(6, 0, 6, 5), Rect(12, 0, 5, 2)), NAMES, about={"placer": "hand"})
FAR = Placement(40, 20, (Rect(0, 0, 6, 5), Rect(20, 9, 6, 5), Rect(30, 0, 5, 3)), NAMES)


def test_the_changes_add_up_to_the_whole_difference_and_name_the_net_that_got_longer():
    near, far = (describe(name, placement, partitioner(MODEL)) for name, placement in (("near", NEAR), ("far", FAR)))
    blocks, nets = changes(near, far)
    assert sum(c.hops for c in (*blocks, *nets)) == far.cost.hops - near.cost.hops
    assert sum(c.cycles for c in (*blocks, *nets)) == pytest.approx(far.cost.cycles - near.cost.cycles)
    assert [change.name for change in blocks] == ["final"]
    assert nets[0].name == "layer 0 -> layer 1" and nets[0].hops > 0 and "aside" in nets[0].before and "trunk" in nets[0].after
    assert near.facts["placer"] == "hand" and near.facts["hottest_net_link_wavelets"] > 0
    assert changes(near, near) == ([], [])


@pytest.mark.parametrize("turned", [False, True])
def test_halves_are_compared_with_the_layer_they_belong_to(turned):
    halves = find_placement(make_problem(partitioner(MODEL), (60, 40), "half"), "snake", Search())
    pair = [describe("layers", NEAR, partitioner(MODEL)), describe("halves", halves, partitioner(MODEL))]
    a, b = reversed(pair) if turned else pair
    blocks, nets = changes(a, b)
    assert {change.name for change in blocks} <= set(NAMES)
    assert {change.name for change in nets} >= {"within layer 0", "within layer 1"}
    assert not any("attention" in change.name for change in (*blocks, *nets))
    assert sum(c.hops for c in (*blocks, *nets)) == pytest.approx(b.cost.hops - a.cost.hops)
    layer = next(change for change in blocks if change.name == "layer 0")
    assert layer.before != "none" != layer.after
    assert " and " in (layer.before if turned else layer.after)


def test_the_net_costs_are_those_of_the_routes():
    """On straight routes, hops between blocks are what the lanes carry over their links, less the spreading counted in the blocks."""
    described = describe("near", NEAR, partitioner(MODEL))
    aside = described.nets["layer 0 -> layer 1"]
    assert aside.cost.hops == MODEL.config.dim  # one link each


def test_two_files_and_a_run_folder_side_by_side(tmp_path):
    for placer in ("snake", "anneal"):
        assert wse("place", "kjv", "--placer", placer, "--mesh", "40x20", "-o", tmp_path / f"{placer}.json").returncode == 0
    run = tmp_path / "run"
    run.mkdir()
    (run / "placement.json").write_text((tmp_path / "snake.json").read_text())
    done = wse("run", "kjv", "-n", 2, "--placement", run / "placement.json", "--json")
    (run / "summary.json").write_text(done.stdout)
    text = wse("compare", tmp_path / "snake.json", tmp_path / "anneal.json", run)
    assert text.returncode == 0, text.stderr
    assert "measured cycles per token" in text.stdout and "hops between blocks" in text.stdout and "differ" in text.stdout
    table = json.loads(wse("compare", tmp_path / "snake.json", tmp_path / "anneal.json", run, "--json").stdout)
    assert table["placements"][2]["measured"]["hops_per_token"] == json.loads(done.stdout)["hops_per_token"]
    assert table["changes"][1]["blocks"] == [] and table["changes"][1]["nets"] == []
    first, second = (one["predicted_hops_per_token"] for one in table["placements"][:2])
    assert sum(c["hops"] for c in table["changes"][0]["blocks"] + table["changes"][0]["nets"]) == pytest.approx(second - first, abs=1)


def test_a_placement_that_is_refused_is_named_with_its_model(tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    assert wse("place", "kjv", "-o", good).returncode == 0
    table = json.loads(good.read_text())
    table["blocks"].pop()
    bad.write_text(json.dumps(table))
    done = wse("compare", good, bad)
    assert done.returncode == 2 and "missing: 'final'" in done.stderr and f"in {bad}, of model kjv" in done.stderr


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "two placement files"),
        (lambda path: path.write_text("{}"), "schema"),
        (lambda path: path.mkdir(), "cannot read"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, make, words):
    path = tmp_path / "a.json"
    make(path)
    done = wse("compare", *([path, path] if path.exists() else [path]))
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
