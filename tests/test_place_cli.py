"""wse place, end to end: written, edited, pinned, refused; the tokens are the reference's wherever the blocks are."""

import json

import pytest
from commands import wse

from wse.compiler.check import new_reference
from wse.compiler.compile import PlaceOptions, compile_model
from wse.compiler.placers import Search
from wse.runner import Session
from wse.spec import load_spec

PROMPT = "And the LORD spake"


@pytest.mark.parametrize(
    ("placer", "split"), [("snake", "half"), ("greedy", "layer"), ("spectral", "half"), ("anneal", "half"), ("exact", "layer")]
)
def test_tokens_are_the_references_with_any_placer(placer, split):
    if placer == "exact":
        pytest.importorskip("ortools")
    search = Search(seed=2, moves=5_000, starts=2, time_budget=30 if placer == "exact" else None)
    compiled = compile_model("kjv", load_spec("wse2"), mesh=(24, 16), options=PlaceOptions(placer, split, "hops", search))
    prompt = compiled.model.tokenizer.encode(PROMPT)
    assert [token.id for token in Session(compiled).generate(prompt, 6)] == list(new_reference(compiled).generate(prompt, 6))


@pytest.fixture
def placed(tmp_path):
    file = tmp_path / "placement.json"
    done = wse("place", "kjv", "--placer", "anneal", "--seed", 1, "--time-budget", 20, "--mesh", "24x16", "-o", file)
    assert done.returncode == 0 and "hops" in done.stdout and "above the bound" in done.stdout and "net colors per router" in done.stdout
    return file


def edit(file, change, mesh=None):
    table = json.loads(file.read_text())
    change(table["blocks"])
    table["mesh"] = mesh or table["mesh"]
    file.write_text(json.dumps(table))


def text_of(file):
    done = wse("run", "kjv", "-p", PROMPT, "-n", 3, "--placement", file, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["text"]


def test_a_placement_can_be_written_edited_and_is_refused_when_illegal(placed):
    before = text_of(placed)
    edit(placed, lambda blocks: blocks[0].update(x=30, y=2), mesh=[48, 16])
    assert text_of(placed) == before
    edit(placed, lambda blocks: blocks[0].update(input="south"))
    assert text_of(placed) == before
    edit(placed, lambda blocks: blocks[1].update(x=30, y=2))
    done = wse("run", "kjv", "--placement", placed)
    assert done.returncode == 2 and "overlap" in done.stderr and "Traceback" not in done.stderr
    edit(placed, lambda blocks: blocks[1].update(x=47))
    assert "outside the mesh" in wse("run", "kjv", "--placement", placed).stderr
    edit(placed, lambda blocks: blocks[1].update(x=0, y=0, width=3))
    assert "cannot be 3 PEs wide" in wse("run", "kjv", "--placement", placed).stderr
    edit(placed, lambda blocks: blocks.pop())
    assert "'final'" in wse("run", "kjv", "--placement", placed).stderr


def test_pins_and_constraints_are_kept_and_refused_with_what_would_help(placed, tmp_path):
    edit(placed, lambda blocks: blocks[2].update(x=33, y=5, pinned=True))
    again = tmp_path / "again.json"
    assert wse("place", "kjv", "--placer", "greedy", "--mesh", "48x16", "--constraints", placed, "-o", again).returncode == 0
    assert [json.loads(again.read_text())["blocks"][2][key] for key in ("x", "y")] == [33, 5]
    wishes = tmp_path / "wishes.json"
    wishes.write_text(json.dumps({"schema": 1, "constraints": [{"block": "layer *", "rows": "0..3", "columns": "0..3"}]}))
    done = wse("place", "kjv", "--placer", "greedy", "--mesh", "24x16", "--constraints", wishes, "-o", tmp_path / "none.json")
    assert done.returncode == 3 and "PEs needed" in done.stderr and not (tmp_path / "none.json").exists()


def test_the_same_seed_writes_the_same_file(placed, tmp_path):
    again = tmp_path / "again.json"
    assert wse("place", "kjv", "--placer", "anneal", "--seed", 1, "--mesh", "24x16", "-o", again).returncode == 0
    assert again.read_text() == placed.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--placer", "aneal"], 2, "did you mean 'anneal'"),
        (["--objective", "beauty"], 2, "objective"),
        (["--mesh", "5x3"], 3, "--mesh"),
        (["--mesh", "9000x3"], 2, "wse2 has"),
        (["--constraints", "nosuch.json", "--placer", "greedy"], 2, "nosuch.json"),
    ],
)
def test_what_cannot_be_placed_is_refused_in_words(arguments, code, words, tmp_path):
    done = wse("place", "kjv", *arguments, "-o", tmp_path / "p.json")
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr
