"""A run folder comes back equal; a damaged, changed or foreign one is one clear error; nothing is overwritten by accident."""

import dataclasses
import json
import tomllib

import numpy as np
import pytest
from reference.programs import random_case
from runs import made_up_run
from test_decode import wse

from wse.compiler.place import read_placement
from wse.errors import ConfigError
from wse.fold import rectangles
from wse.isa import Port
from wse.machine import Machine
from wse.program import Rect
from wse.provenance import SCHEMA
from wse.spec import load_spec
from wse.view import folder
from wse.view.folder import read_run, write_run
from wse.view.intervals import Sampler
from wse.view.page import build_page
from wse.view.record import config_toml, record, straight_pieces


@pytest.fixture(scope="module")
def kjv_folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "kjv"
    done = wse("run", "kjv", "-n", "3", "--json", "-o", str(path))
    assert done.returncode == 0, done.stderr
    return path, done.stdout


def same(first, second):
    assert first.keys() == second.keys()
    for name, column in first.items():
        assert np.array_equal(column, second[name]), name


def test_the_folder_of_a_run_holds_what_was_printed_and_can_be_used_again(kjv_folder, tmp_path):
    path, printed = kjv_folder
    assert (path / "summary.json").read_text() == printed
    run = read_run(path)
    assert run.summary == json.loads(printed) and run.cycles == run.summary["cycles_total"]
    assert read_placement(path / "placement.json").rects == tuple(rect for _, rect in run.blocks)
    config = tomllib.loads((path / "config.toml").read_text())
    assert config["run"]["model"] == "kjv" and config["run"]["n_gen"] == 3
    machine = tmp_path / "again.toml"
    machine.write_text((path / "config.toml").read_text().split("[machine]\n")[1])
    assert load_spec(str(machine)) == load_spec("wse2")
    assert run.provenance["argv"][:2] == ["run", "kjv"] and run.provenance["wall_seconds"] > 0
    assert int(run.pes["flops"].sum()) == round(run.summary["flops_per_token"] * (len(run.summary["prompt_tokens"]) + 2))
    assert run.sram_bytes().max() == run.summary["sram_peak_bytes"]
    num_tokens = len(run.summary["prompt_tokens"]) + 2
    assert run.layers["hops"].tolist() == [round(block["hops_per_token"] * num_tokens) for block in run.summary["blocks"]]
    assert run.wires[0].name == "host -> layer 0"


@pytest.mark.parametrize("max_rows", [10, 10**6])
def test_a_run_survives_the_folder_as_csv_and_as_arrays(max_rows, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "MAX_CSV_ROWS", max_rows)
    run = made_up_run(12, 7, num_intervals=5)
    write_run(run, tmp_path / "r")
    assert (tmp_path / "r" / ("pes.npz" if max_rows == 10 else "pes.csv")).exists()
    again = read_run(tmp_path / "r")
    for table in ("layers", "pes", "links"):
        same(getattr(run, table), getattr(again, table))
    assert np.array_equal(run.intervals.counts, again.intervals.counts) and run.intervals.side == again.intervals.side
    assert (again.summary, again.memory, again.wires, again.config) == (run.summary, run.memory, run.wires, run.config)
    assert [p.name for p in tmp_path.iterdir()] == ["r"]  # nothing temporary is left


def test_a_run_without_blocks_or_frames_survives_too(tmp_path):
    run = made_up_run(3, 3, blocks=0, num_intervals=1)
    none = dataclasses.replace(run.intervals, edges=np.zeros(1, np.int64), counts=run.intervals.counts[:0])
    run = dataclasses.replace(run, intervals=none)
    write_run(run, tmp_path / "r")
    assert read_run(tmp_path / "r").blocks == () and len(read_run(tmp_path / "r").intervals) == 0


@pytest.mark.parametrize("seed", [2, 5, 8])
def test_a_program_without_a_model_can_be_seen_too(seed, tmp_path):
    program = random_case(seed).program
    machine, sampler = Machine(program, refuse_hangs=False), Sampler(program, first_cycles=8)
    sampler.run(machine)
    write_run(record(machine, sampler), tmp_path / "r")
    again = read_run(tmp_path / "r")
    assert again.cycles == machine.cycles and int(again.pes["flops"].sum()) == machine.counters().flops.sum()
    assert again.width == program.width and "</html>" in build_page({"r": again})


def test_nothing_is_overwritten_unless_it_is_a_run_and_force_is_given(tmp_path):
    run, other = made_up_run(4, 4, num_intervals=2), made_up_run(8, 4, num_intervals=2)
    write_run(run, tmp_path / "r")
    with pytest.raises(ConfigError, match="holds a run already"):
        write_run(other, tmp_path / "r")
    assert read_run(tmp_path / "r").width == 4
    write_run(other, tmp_path / "r", force=True)
    assert read_run(tmp_path / "r").width == 8
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "letter.txt").write_text("dear")
    for target in (precious, precious / "letter.txt"):
        with pytest.raises(ConfigError, match="is no run folder"):
            write_run(run, target, force=True)
    assert (precious / "letter.txt").read_text() == "dear"
    (tmp_path / "empty").mkdir()
    write_run(run, tmp_path / "empty")
    assert read_run(tmp_path / "empty").width == 4


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(folder.Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ConfigError, match="No space left"):
        write_run(made_up_run(4, 4, num_intervals=2), tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_refuses_a_taken_folder_before_it_runs(kjv_folder):
    done = wse("run", "kjv", "-o", str(kjv_folder[0]))
    assert done.returncode == 2 and "--force" in done.stderr and done.stdout == ""


def damage(change):
    """A folder whose file was changed by someone who mended the hashes too, so that only its content can tell."""

    def apply(path, name):
        data = change((path / name).read_bytes())
        (path / name).write_bytes(data)
        origin = json.loads((path / "provenance.json").read_bytes())
        origin["sha256"][name] = folder.hashlib.sha256(data).hexdigest()
        (path / "provenance.json").write_text(json.dumps(origin))

    return apply


def edit(change):
    """`damage` of a JSON file."""

    def apply(data):
        table = json.loads(data)
        change(table)
        return json.dumps(table).encode()

    return damage(apply)


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("pes.csv", lambda p, n: (p / n).unlink(), "lacks pes.csv"),
        ("pes.csv", lambda p, n: (p / n).write_bytes((p / n).read_bytes()[:-9]), "pes.csv is damaged or was changed"),
        ("provenance.json", lambda p, n: (p / n).unlink(), "is not a run folder"),
        ("provenance.json", lambda p, n: (p / n).write_text("{"), "provenance.json is damaged"),
        ("provenance.json", lambda p, n: (p / n).write_text(f'{{"kind": "wse run", "schema": {SCHEMA}}}'), "provenance.json is damaged"),
        ("provenance.json", lambda p, n: (p / n).write_text('{"kind": "wse run", "schema": 99}'), "has schema 99"),
        ("provenance.json", lambda p, n: (p / n).write_text('{"kind": "recipe"}'), "of another kind"),
        ("summary.json", damage(lambda data: b"[]"), "is damaged"),
        ("summary.json", edit(lambda t: t.update(schema=7)), "summary.json has schema 7"),
        ("summary.json", edit(lambda t: t.update(mesh=[3, 3])), "outside the mesh"),
        ("summary.json", edit(lambda t: t.update(mesh=[0, 0])), "is no mesh"),
        ("summary.json", edit(lambda t: t.update(cycles_total=5)), "intervals do not cover cycles 0 to 5"),
        ("memory.json", edit(lambda t: t.update(classes=t["classes"][:1])), "a code class that memory does not have"),
        ("memory.json", edit(lambda t: t.update(layouts=[])), "a layout that it does not have"),
        ("pes.csv", damage(lambda data: data.replace(b"flops", b"flips")), "pes lacks the column 'flops'"),
        ("pes.csv", damage(lambda data: data.replace(b"schema: %d" % SCHEMA, b"schema: 9")), "schema 9"),
        ("pes.csv", damage(lambda data: data.rsplit(b",", 1)[0] + b",many\n"), "whole number"),
        ("pes.csv", damage(lambda data: data.rsplit(b",", 1)[0] + b"\n"), "is damaged"),
        ("links.csv", damage(lambda data: data.rsplit(b",", 2)[0] + b",123456789,0\n"), "do not add up"),
        ("intervals.npz", damage(lambda data: data[:100]), "is damaged"),
        ("intervals.npz", damage(lambda data: b""), "is damaged"),
        ("config.toml", damage(lambda data: b"schema = ["), "is damaged"),
        ("nets.json", edit(lambda t: t.pop("nets")), "is damaged"),
    ],
)
def test_a_damaged_or_foreign_folder_is_one_clear_error(name, how, words, tmp_path):
    write_run(made_up_run(6, 5, num_intervals=3), tmp_path / "r")
    how(tmp_path / "r", name)
    with pytest.raises(ConfigError) as error:
        read_run(tmp_path / "r")
    assert words in error.value.message and "\n" not in error.value.message and str(tmp_path / "r") in error.value.message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch", "-o", "x.html"], "is not a run folder"),
        (["FOLDER"], "nothing to write"),
        (["FOLDER", "-o", "x.png"], "named like a picture"),
        (["FOLDER", "FOLDER", "FOLDER", "-o", "x.html"], "one run or two"),
        (["FOLDER", "FOLDER", "--terminal"], "show one run"),
        (["FOLDER", "--terminal", "--metric", "activ"], "did you mean 'active'"),
        (["FOLDER", "--png", "x.gif"], ".png or .svg"),
        (["FOLDER", "-o", "/proc/x.html"], "cannot write"),
    ],
)
def test_wrong_use_of_report_is_refused_in_words(arguments, words, kjv_folder, tmp_path):
    done = wse("report", *(str(kjv_folder[0]) if a == "FOLDER" else a for a in arguments), cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_options_become_toml_whatever_is_in_them():
    options = {"prompt": 'say "hi"\n\\ \x7f é', "seed": 3, "temperature": 0.5, "mesh": [4, 5], "placement": None, "flag": True}
    table = tomllib.loads(config_toml(options, load_spec("toy")))
    assert table["run"] == {key: value for key, value in options.items() if value is not None}
    assert table["machine"]["width"]["value"] == 32 and table["schema"] == SCHEMA


def test_pes_fold_to_disjoint_rectangles_that_cover_them():
    rng = np.random.default_rng(3)
    for density in (0.1, 0.5, 0.9, 1):
        mask = rng.random((9, 11)) < density
        y, x = np.nonzero(mask)
        cover = np.zeros(mask.shape, int)
        found = list(rectangles(y * mask.shape[1] + x, mask.shape[1]))
        for rect in found:
            cover[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width] += 1
        assert np.array_equal(cover, mask.astype(int))
    assert found == [Rect(0, 0, 11, 9)]


def test_a_net_becomes_straight_pieces_in_the_direction_of_travel():
    hops = {
        (0, 0): (Port.WEST, frozenset({Port.EAST})), (1, 0): (Port.WEST, frozenset({Port.EAST, Port.SOUTH})),
        (2, 0): (Port.WEST, frozenset({Port.RAMP})), (1, 1): (Port.NORTH, frozenset({Port.SOUTH, Port.RAMP})),
        (1, 2): (Port.NORTH, frozenset({Port.RAMP})),
    }  # fmt: skip
    assert straight_pieces(hops) == ((-1, 0, 0, 0), (0, 0, 2, 0), (1, 0, 1, 2))


def test_parts_between_blocks_leave_out_what_stays_inside_one():
    run = made_up_run(12, 4, blocks=3, num_intervals=2)
    wire = dataclasses.replace(run.wires[0], pieces=((-1, 0, 6, 0), (6, 0, 6, 3), (11, 1, 12, 1)))
    assert run.between_blocks(wire) == [(-1, 0, 0, 0), (3, 0, 4, 0), (11, 1, 12, 1)]
