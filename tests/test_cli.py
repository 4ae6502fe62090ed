"""The command line: wrong input is refused in a line that names the place, and leaves nothing half-written; facts come as JSON too."""

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from checkpoints import hf_tensors, random_model, write_gguf, write_hf, write_llama2c, write_safetensors

from wse.errors import WseError
from wse.progress import Progress
from wse.spec import PRESETS, load_spec
from wse.store import load
from wse.warmup import warm_up


def refused(done, code, *words):
    """A refusal: the exit code, one line that begins with "error[", the words, no traceback, nothing on stdout."""
    assert done.code == code, done.err
    lines = done.err.strip().splitlines()
    assert lines[0].startswith("error[") and all(line.startswith(("  note: ", "  help: ")) for line in lines[1:])
    assert all(word in done.err for word in words), done.err
    assert done.out == ""


# --- model files ------------------------------------------------------------------------------------------------------

TENSOR = "model.layers.1.mlp.up_proj.weight"


def truncated(path):
    path.write_bytes(path.read_bytes()[:-50])
    return path


def hf_with(folder, change):
    write_hf(folder, random_model())
    tensors = hf_tensors(random_model())
    write_safetensors(folder / "model.safetensors", tensors | {TENSOR: change(tensors[TENSOR].copy())})
    return folder


def with_nan(array):
    array[3, 4] = np.nan
    return array


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda d: d / "missing.gguf", 2, ["missing.gguf"]),
        (lambda d: truncated(write_llama2c(d, random_model())), 2, ["model.bin", "truncated"]),
        (lambda d: truncated(write_gguf(d / "m.gguf", random_model())), 2, ["m.gguf", "truncated"]),
        (lambda d: truncated(write_hf(d, random_model()) / "model.safetensors").parent, 2, ["model.safetensors", "truncated"]),
        (lambda d: write_hf(d, random_model(), architectures=["GemmaForCausalLM"]), 6, ["config.json", "GemmaForCausalLM"]),
        (lambda d: write_gguf(d / "m.gguf", random_model(), architecture="qwen2"), 6, ["m.gguf", "qwen2"]),
        (lambda d: hf_with(d, lambda array: array.T), 2, [TENSOR, "(24, 40)", "(40, 24)"]),
        (lambda d: hf_with(d, with_nan), 2, ["layers.1.w_up", "nan", "[3, 4]"]),
    ],
)
def test_a_bad_model_file_is_refused_by_every_verb_that_takes_one(make, code, words, tmp_path, wse):
    model = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    output = tmp_path / "out.json"
    refused(wse("run", model, "-n", "1", "-o", output), code, *words)
    refused(wse("verify", model, "-o", output), code, *words)
    refused(wse("place", model, "-o", output), code, *words)
    refused(wse("compile", model, "-o", output), code, *words)
    refused(wse("bench", "decode", model, "-o", output), code, *words)
    assert sorted(tmp_path.iterdir()) == before


# --- machines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('base = "wse2"\nhop_cycle = 2', ["'hop_cycle'", "did you mean 'hop_cycles'?"]),
        ('base = "wse2"\nhop_cycles = "two"', ["hop_cycles", "'two'"]),
        ('base = "wse2"\nhop_cycles = 0', ["hop_cycles", "greater"]),
        ("hop_cycles = 1", ["missing key", 'base = "wse2"']),
        ("x = [", ["not valid TOML"]),
    ],
)
def test_a_bad_machine_file_is_refused_naming_file_and_key(text, words, tmp_path, wse):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    verbs = (("run", "kjv", "--arch"), ("bench", "fabric", "--arch"), ("config", "validate"), ("config", "diff", "wse2"))
    for arguments in ((*verb, file) for verb in verbs):
        refused(wse(*arguments), 2, "mine.toml", *words)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--mesh", "4x4"], 3, ["4x4", "68 PEs needed, 16 free", "--mesh 4x17 would do"]),
        (["--mesh", "9999999x9999999"], 2, ["9999999x9999999", "wse2", "750x994"]),
        (["--mesh", "0x4"], 2, ["--mesh wants WxH", "0x4"]),
        (["--arch", "toy", "--set", "width=2", "--set", "height=3"], 3, ["block 'layer'", "2x3 PEs"]),
        (["--arch", "toy", "--set", "width=1"], 3, ["block 'layer'", "at least 2x1 PEs", "toy has 1x32"]),
        (["--set", "sram_bytes=5000"], 3, ["block 'layer' does not fit"]),
        (["--context", "300"], 2, ["context 300", "1..256"]),
        (["--context", "12", "-n", "30"], 3, ["39 positions", "the context holds 12", "at most -n 3 fits, or --context 39"]),
        (["--context", "4", "-n", "1"], 3, ["10 prompt tokens", "at most 4 prompt tokens fit, or --context 10"]),
        (["-n", "9000"], 3, ["at most -n 247 fits", "made for 256 positions"]),
    ],
)
def test_what_does_not_fit_says_what_would(options, code, words, wse):
    refused(wse("run", "kjv", *options), code, *words)


def test_the_mesh_a_refusal_names_does_fit(wse):
    done = wse("compile", "kjv", "--mesh", "5x12")
    refused(done, 3, "60 free", "--mesh")
    assert wse("compile", "kjv", "--mesh", done.err.split("--mesh ")[1].split()[0]).code == 0


def test_a_tall_narrow_machine_and_a_flat_wide_one_are_used(wse):
    for size in (("width=5", "height=400"), ("width=400", "height=2")):
        assert wse("compile", "kjv", "--set", size[0], "--set", size[1]).code == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p["blocks"][1].update(x=1), ["'layer 0' at (0,0)-(3,3)", "'layer 1'", "overlap"]),
        (lambda p: p["blocks"][1].update(x=500), ["'layer 1' at (500,0)-(503,3) is outside"]),
        (lambda p: p["blocks"][1].update(x=-1), ["'layer 1' at (-1,0)", "outside"]),
        (lambda p: p["blocks"][1].update(width=3), ["'layer 1' cannot be 3 PEs wide"]),
        (lambda p: p["blocks"].pop(), ["the model's is 'final'"]),
        (lambda p: p["blocks"][1].update(x="left"), ["placement.json", "left"]),
        (lambda p: p.update(schema=9), ["placement.json", "schema 9"]),
        (lambda p: p.update(mesh=[100000, 100000]), ["placement.json", "100000x100000", "750x994"]),
        (lambda p: p.clear(), ["placement.json", "schema"]),
    ],
)
def test_an_illegal_placement_is_refused_with_the_reason(change, words, tmp_path, wse):
    file = tmp_path / "placement.json"
    assert wse("place", "kjv", "-o", file).code == 0
    placement = json.loads(file.read_text())
    change(placement)
    file.write_text(json.dumps(placement))
    refused(wse("run", "kjv", "-n", "1", "--placement", file), 2, *words)


# --- writing ----------------------------------------------------------------------------------------------------------

WRITERS = (
    ("place", "kjv"),
    ("compile", "kjv"),
    ("config", "show", "wse2"),
    ("models",),
    ("verify", "kjv", "-n", "1", "--json", "-q"),
    ("bench", "decode", "kjv", "-p", "1", "-n", "0", "-r", "1", "-q"),
)


@pytest.mark.parametrize("arguments", WRITERS, ids=lambda arguments: " ".join(arguments[:2]))
def test_output_that_cannot_be_written_is_refused(arguments, tmp_path, wse):
    (tmp_path / "file").write_text("")
    refused(wse(*arguments, "-o", tmp_path / "file" / "x"), 2, "cannot write", "file/x")


def limited(*arguments, **environment):
    """A command that may write no file longer than nothing, as on a full disk."""
    return subprocess.run(
        [sys.executable, "-c", "from wse.cli import main; main()", *map(str, arguments)],
        capture_output=True, text=True, env={**os.environ, **environment},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)),
    )  # fmt: skip


def test_a_full_disk_leaves_nothing_half_written_and_the_old_file_whole(tmp_path):
    old = tmp_path / "p.json"
    old.write_text("old")
    for arguments in (("place", "kjv", "-o", old), ("compile", "kjv", "-o", old), ("config", "show", "-o", old)):
        done = limited(*arguments)
        assert done.returncode == 2 and f"cannot write {old}" in done.stderr and "Traceback" not in done.stderr
    assert old.read_text() == "old" and list(tmp_path.iterdir()) == [old]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="wants /dev/full")
def test_a_stdout_that_is_full_is_said_in_a_line():
    for arguments in (("config", "show"), ("run", "kjv", "-n", "1", "-q"), ("models", "--json")):
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-c", "from wse.cli import main; main()", *arguments]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2
        assert done.stderr.splitlines() == ["error[config]: cannot write the output: No space left on device"]


@pytest.mark.nightly
def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path):
    done = limited("run", "kjv", "-n", "1", "-q", WSE_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0 and "lower bound" in done.stdout and done.stderr == ""


@pytest.mark.nightly
def test_after_warmup_a_run_compiles_nothing(tmp_path):
    def call(*arguments):
        command = [sys.executable, "-c", "from wse.cli import main; main()", *arguments]
        environment = {**os.environ, "WSE_CACHE_DIR": str(tmp_path)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert json.loads(call("warmup", "--json"))["was_warm"] is False
    compiled = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert compiled and json.loads(call("warmup", "--json"))["was_warm"] is True
    call("run", "kjv", "-n", "2", "-q")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == compiled


# --- verbs that print facts -------------------------------------------------------------------------------------------


def test_config_verbs_print_facts_as_text_and_json(tmp_path, wse):
    wse2, toy = load_spec("wse2"), load_spec("toy")
    shown = json.loads(wse("config", "show", "wse2", "--set", "hop_cycles=3", "--json").out)
    assert shown["hop_cycles"] == 3 and shown["sources"]["hop_cycles"] == "set by the user"
    assert {entry["name"] for entry in json.loads(wse("config", "list", "--json").out)} == set(PRESETS)
    assert f"wse2     {wse2.width}x{wse2.height} PEs" in wse("config", "list").out
    difference = json.loads(wse("config", "diff", "wse2", "toy", "--json").out)
    assert difference["width"]["wse2"]["value"] == wse2.width and difference["width"]["toy"]["value"] == toy.width
    differing = {key for key in type(toy).model_fields if key not in ("name", "sources") and getattr(wse2, key) != getattr(toy, key)}
    assert set(difference) == differing
    assert wse("config", "diff", "wse2", "wse2").out == "wse2 and wse2 have the same numbers\n"
    assert wse("config", "show", "wse3", "-o", tmp_path / "m.toml").out == ""
    assert wse("config", "diff", "wse3", tmp_path / "m.toml").out.endswith("have the same numbers\n")
    assert json.loads(wse("config", "validate", tmp_path / "m.toml", "--json").out) == {"ok": True, "name": "wse3"}


def test_doctor_and_warmup_say_what_there_is(wse):
    assert json.loads(wse("warmup", "--json", "-q").out)["host_seconds"] > 0
    facts = json.loads(wse("doctor", "--json").out)
    assert facts["versions"]["numpy"] == np.__version__ and facts["cores"] == os.cpu_count()
    assert facts["cache"]["warm"] is True and Path(facts["cache"]["path"]).name.startswith("numba-")
    text = wse("doctor").out
    assert facts["cache"]["path"] in text and f"numpy        {np.__version__}" in text


def test_a_compiled_program_can_be_saved_and_described(tmp_path, wse):
    facts = json.loads(wse("compile", "kjv", "-o", tmp_path / "kjv.npz", "--json", "-q").out)
    program = load(tmp_path / "kjv.npz")
    assert facts["num_pes"] == len(program.core_pe) and facts["mesh"] == [program.width, program.height]
    assert [block["name"] for block in facts["blocks"]][-1] == "final"


def test_the_report_goes_to_a_folder_and_the_text_to_stdout(tmp_path, wse):
    done = wse("run", "kjv", "-n", "2", "-o", tmp_path / "run", "-q")
    assert "lower bound" in done.out and done.err == ""
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == json.loads(wse("run", "kjv", "-n", "2", "--json", "-q").out)


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ([], "equal", "all 2 tokens"),
        (["--check"], "equal", "all 2 tokens"),
        (["--no-check"], "skipped", "--no-check"),
        (["-t", "0.8"], "skipped", "sampled"),
    ],
)
def test_the_check_is_made_by_default_and_said_when_it_was_not(options, status, words, wse):
    check = json.loads(wse("run", "kjv", "-n", "2", "--json", "-q", *options).out)["check"]
    assert check["status"] == status and words in check["detail"]


def test_a_large_model_is_not_checked_unless_asked(monkeypatch, wse):
    monkeypatch.setattr("wse.crosscheck.CHECKED_PARAMETERS", 1000)
    assert json.loads(wse("run", "kjv", "-n", "1", "--json", "-q").out)["check"]["status"] == "skipped"
    assert json.loads(wse("run", "kjv", "-n", "1", "--json", "-q", "--check").out)["check"]["status"] == "equal"


# --- progress ---------------------------------------------------------------------------------------------------------


def test_stages_are_said_with_v_and_nothing_is_with_q(wse):
    verbose, normal, quiet = (wse("run", "kjv", "-n", "1", *options).err for options in (["-v"], [], ["-q"]))
    stages = "reading the model", "lowering to a program", "compiling kjv", "prompt of 10 tokens, then 1 more", "checking against NumPy"
    for stage in stages:
        took = re.compile(rf"{stage}: [\d.]+ s$", re.MULTILINE)  # not how far a long one is, which is said on a slow host anyway
        assert took.search(verbose) and not took.search(normal)
    assert "tokens/s on this host" in normal and quiet == ""


def test_a_long_stage_says_how_far_it_is_where_there_are_no_bars(monkeypatch, capsys):
    monkeypatch.setattr("wse.progress.FIRST_LINE", 0.0)
    for quiet in (False, True):
        amounts = iter([2, 5])
        with Progress(quiet).stage("counting", total=10, watch=lambda amounts=amounts: next(amounts, 5), unit="sheep"):
            time.sleep(0.7)
        said = capsys.readouterr().err
        if quiet:
            assert said == ""
        else:
            assert re.fullmatch(r"counting, [25] sheep, \d s so far, about \d s left\n", said), said
    with Progress(bars=False).stage("open end"):
        time.sleep(0.5)
    assert re.fullmatch(r"open end, \d s so far\n", capsys.readouterr().err)


def test_the_engine_counts_as_compiled_only_when_its_main_loop_is(monkeypatch, tmp_path):
    from wse import _jit

    if not _jit.JIT:
        pytest.skip("nothing is compiled")
    warm_up(Progress(quiet=True))
    assert _jit.is_warm()
    kept = tmp_path / "engine"
    kept.mkdir()
    monkeypatch.setattr(_jit, "_CACHE", tmp_path)
    (kept / "parts._join-32.py311.nbi").touch()  # a small kernel, needed to load a wafer
    assert not _jit.is_warm()
    (kept / "run.advance-75.py311.nbi").touch()
    assert _jit.is_warm()


def test_a_stage_that_fails_takes_its_bar_away(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    progress = Progress()
    with pytest.raises(WseError), progress.stage("outer", total=2) as outer:
        outer.done(1, "half")
        assert progress.has_bars
        with progress.stage("inner", seconds=0.01):
            raise WseError("no")
    assert not progress.has_bars
    progress.show_above("nothing to show above")
