"""Why a model was not placed: the reason with figures, and a proposal that works when it is followed; constraints that are refused."""

import json
import re

import pytest

GREEDY = {"placer": "greedy", "mesh": "24x16"}
FAR = {"block": "layer 1", "at": [12, 0]}
CASES = {
    "a mesh too narrow for any block": ({"mesh": "5x3"}, [], "needs 4x4 PEs, the mesh has 5x3"),
    "a mesh one row too low": ({"mesh": "8x7"}, [], "68 PEs needed, 56 free"),
    "too many blocks in a corner": (GREEDY, [{"block": "layer *", "rows": "0..3", "columns": "0..3"}], "4 blocks ('layer 0' …) do not fit"),
    "a pin at the edge": (GREEDY, [{"block": "layer 0", "at": [22, 0]}], "outside (0,0)-(23,15)"),
    "pins that overlap": (GREEDY, [{"block": "layer 0", "at": [0, 0]}, {"block": "layer 1", "at": [2, 2]}], "both pinned, overlap"),
    "everything kept out": (GREEDY, [{"keep_out": [0, 0, 24, 15]}], "68 PEs needed, 24 free"),
    "pins against a relation": (GREEDY, [{"block": "layer 0", "at": [0, 0]}, FAR, {"block": "layer 0", "same_column_as": "layer 1"}],
                                "'layer 0' same column as 'layer 1' cannot hold"),
    "spans against a relation": (GREEDY, [{"block": "layer 0", "columns": "0..5"}, {"block": "layer 1", "columns": "20.."},
                                          {"block": "layer 0", "next_to": "layer 1"}], "'layer 0' next to 'layer 1' cannot hold"),
    "rows that are not there": (GREEDY, [{"block": "layer 0", "rows": "30..40"}], "rows 30..40 leave it 24x0"),
    "less SRAM than the mesh has PEs for": ({"mesh": "10x10", "set": "sram_bytes=12000"}, [], "needs 16x12 PEs, the mesh has 10x10"),
    "no colors for nets": ({"set": "num_colors=16"}, [], "need 2 colors, 0 are left of 16"),
    "a color too few": ({**GREEDY, "mesh": "12x24", "set": "num_colors=17"}, [], "1 are left of 17"),
}  # fmt: skip


def place(wse, folder, options, entries):
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    if entries:
        (folder / "wishes.json").write_text(json.dumps({"schema": 1, "constraints": entries}))
        arguments += ["--constraints", folder / "wishes.json"]
    return wse("place", "kjv", *arguments, "-o", folder / "placement.json")


def follow(help, options, entries):
    """The options and constraints after what the help proposes."""
    if found := re.search(r"--mesh (\d+x\d+) would do", help):
        return {**options, "mesh": found[1]}, entries
    if found := re.search(r"num_colors=(\d+) would do", help):
        return {**options, "set": found[0].split()[0]}, entries
    if found := re.search(r"(?:rows (\S+?))?(?:, )?(?:columns (\S+))? for '(.*?)'.* would do", help):
        spans = {key: text for key, text in (("rows", found[1]), ("columns", found[2])) if text}
        mine = lambda entry: ("rows" in entry or "columns" in entry) and entry["block"] in (found[3], "layer *")  # noqa: E731
        return options, [{"block": entry["block"], **spans} if mine(entry) else entry for entry in entries]
    if found := re.search(r"without the (pin|keep-out)", help):
        key = {"pin": "at", "keep-out": "keep_out"}[found[1]]
        return options, [entry for entry in entries if not (key in entry and entry.get("block", "") in help)]
    found = re.search(r"without (rows|columns) \S+ of '(.*?)'", help)
    assert found, help
    return options, [entry for entry in entries if not (found[1] in entry and entry["block"] == found[2])]


@pytest.mark.parametrize("name", CASES)
def test_the_reason_has_figures_and_what_is_proposed_works(name, wse, tmp_path):
    options, entries, words = CASES[name]
    done = place(wse, tmp_path, options, entries)
    assert done.code == 3 and words in done.err and not (tmp_path / "placement.json").exists()
    help = done.err.partition("help: ")[2]
    changed = follow(help, options, entries)
    assert changed != (options, entries)
    again = place(wse, tmp_path, *changed)
    assert again.code == 0, (help, again.err)


def test_the_nearest_mesh_is_proposed(wse, tmp_path):
    assert "--mesh 8x9 would do" in place(wse, tmp_path, {"mesh": "8x7"}, []).err  # 8x8 has 64 PEs, 68 are needed
    assert "rows 0..15, columns 0..3 for 'layer 0' and 3 more" in place(wse, tmp_path, *CASES["too many blocks in a corner"][:2]).err


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"block": "layer 0"}, "not a list"),
        (["layer 0"], "is no object"),
        ([{"block": "layer 0"}], "asks nothing"),
        ([{"rows": "1..2"}], "does not say of which block"),
        ([{"block": 3, "rows": "1..2"}], "named by text"),
        ([{"block": "layer 0", "at": [1.5, 2]}], "2 whole numbers"),
        ([{"block": "layer 0", "next_to": "layer 0"}], "itself"),
        ([{"keep_out": [0, 0, 1, 1], "block": "layer 0"}], "stands alone"),
        ([{"block": "layer 0", "at": [0, 0]}, {"block": "layer *", "at": [4, 0]}], "contradicts another: 'layer 0' at (0, 0) there"),
    ],
)
def test_constraints_that_make_no_sense_are_refused_with_their_place(entries, words, wse, tmp_path):
    done = place(wse, tmp_path, GREEDY, entries)
    assert done.code == 2 and words in done.err and "wishes.json" in done.err and "Error" not in done.err


def test_what_several_entries_ask_holds_together_and_comes_back_out_of_the_placement(wse, tmp_path):
    column = {"block": "layer 1", "same_column_as": "layer 0"}
    entries = [{"block": "layer 0", "rows": "5..9"}, {"block": "layer 0", "columns": "9.."}, column]
    assert place(wse, tmp_path, GREEDY, entries).code == 0
    first = json.loads((tmp_path / "placement.json").read_text())
    block = first["blocks"][0]
    assert block["y"] >= 5 and block["y"] + block["height"] <= 10 and block["x"] >= 9 and first["constraints"] == entries
    assert first["blocks"][1]["x"] == block["x"]
    place_of_final = (24 - first["blocks"][4]["width"], 16 - first["blocks"][4]["height"])
    first["blocks"][4].update(x=place_of_final[0], y=place_of_final[1], input="north", pinned=True)
    (tmp_path / "mine.json").write_text(json.dumps(first))
    options = {**GREEDY, "constraints": tmp_path / "mine.json"}
    for _ in range(2):  # what comes out can be given back, and changes no more
        assert place(wse, tmp_path, options, []).code == 0
        again = json.loads((tmp_path / "placement.json").read_text())
        final = again["blocks"][4]
        assert (final["x"], final["y"], final["input"], final["pinned"]) == (*place_of_final, "north", True)
        assert again["constraints"] == entries and 5 <= again["blocks"][0]["y"] <= 6
        options = {**GREEDY, "constraints": tmp_path / "placement.json"}
