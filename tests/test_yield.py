"""wse defects and wse yield: maps one can look at and give back, and what they cost."""

import json

import pytest

from wse.defects import read_defects
from wse.errors import ConfigError
from wse.ranges import parse_rates


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("0", [0.0]),
        ("1%", [0.01]),
        ("0,0.01, 2%", [0.0, 0.01, 0.02]),
        ("0-2%", [0.0, 0.01, 0.02]),
        ("0-1+0.5%", [0.0, 0.005, 0.01]),
        ("0.1-0.3+0.1", [0.1, 0.2, 0.3]),
        ("1-4*2%", [0.01, 0.02, 0.04]),
    ],
)
def test_rates_once_each_in_the_order_written(text, rates):
    assert parse_rates(text) == rates


@pytest.mark.parametrize("text", ["", "x", "1", "100%", "0.1-0.2", "3-1%", "0-1*2%", "0-1+0%", "-1%"])
def test_rates_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="--dead-pes"):
        parse_rates(text, "--dead-pes")


def test_a_map_is_drawn_written_shown_and_given_back(wse, tmp_path):
    path = tmp_path / "map.json"
    written = wse("defects", "--mesh", "12x10", "--dead-pes", "5%", "--dead-links", "0.01", "--defect-seed", "3", "-o", path)
    assert written.code == 0 and "6 of 120 PEs dead" in written.out
    shown = wse("defects", path)
    assert sum(line.count("x") for line in shown.out.splitlines() if set(line) <= {".", "x"}) == 6
    assert "dead links: (" in shown.out
    facts = json.loads(wse("defects", path, "--json").out)
    assert facts["digest"] == read_defects(path).digest
    placed = wse("place", "kjv", "--defects", path, "--placer", "greedy", "-o", tmp_path / "p.json", "-q")
    assert placed.code == 0, placed.err
    assert "map " + facts["digest"] in placed.out and "logical" in placed.out
    ran = wse("run", "kjv", "--placement", tmp_path / "p.json", "-n", "2", "--json", "-q")
    assert ran.code == 0, ran.err
    summary = json.loads(ran.out)
    assert summary["check"]["status"] == "equal" and summary["defects"]["digest"] == facts["digest"]
    assert any(block["columns"] or block["rows"] for block in summary["defects"]["skipped"])
    same = ("--mesh", "12x10", "--dead-pes", "5%", "--dead-links", "1%", "--defect-seed", "3")
    drawn = wse("run", "kjv", "--placer", "greedy", *same, "-n", "2")
    assert drawn.code == 0 and "blocks skip" in drawn.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("defects",), "a map to show, or --mesh"),
        (("defects", "--mesh", "8x8", "--dead-pes", "2"), "--dead-pes"),
        (("defects", "none.json"), "cannot read the map"),
        (("place", "kjv", "--defects", "none.json"), "cannot read the map"),
        (("yield", "kjv", "--dead-pes", "x"), "--dead-pes: cannot read 'x'"),
        (("yield", "kjv", "--mesh", "8"), "--mesh wants WxH"),
        (("yield", "none"), "none"),
    ],
)
def test_what_makes_no_sense_is_refused(wse, arguments, words):
    refused = wse(*arguments)
    assert refused.code == 2 and words in refused.err


def test_a_given_map_is_of_one_mesh(wse, tmp_path):
    path = tmp_path / "map.json"
    wse("defects", "--mesh", "12x10", "--dead-pes", "1%", "-o", path)
    refused = wse("place", "kjv", "--mesh", "14x10", "--defects", path, "-o", tmp_path / "p.json")
    assert refused.code == 2 and "is a map of 12x10 PEs" in refused.err
    refused = wse("place", "kjv", "--dead-pes", "1%", "--defects", path, "-o", tmp_path / "p.json")
    assert refused.code == 2 and "either given or drawn" in refused.err


def test_a_yield_says_what_was_placed_and_what_it_cost(wse):
    done = wse("yield", "kjv", "--mesh", "12x11", "--dead-pes", "0,4%,40%", "--defect-seed", "0-1", "-n", "2", "-q", "--context", "64")
    assert done.code == 0, done.err
    rows = [line.split("|") for line in done.out.splitlines() if line.startswith("| ")][1:]
    assert [row[3].strip() for row in rows] == ["1 of 1", "2 of 2", "0 of 2"]
    assert int(rows[1][5]) == 132 - 5
    assert "The tokens are the same on all maps." in done.out and "40.00%, 0.00%: " in done.out
    facts = json.loads(wse("yield", "kjv", "--mesh", "12x11", "--dead-pes", "0,4%", "-n", "0", "--json", "-q", "--context", "64").out)
    assert [row["num_placed"] for row in facts["rates"]] == [1, 3] and facts["tokens_equal"] is None
    assert [point["status"] for point in facts["points"]] == ["ok"] * 4
