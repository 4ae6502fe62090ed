"""Benchmarks: exact cycles, the same in every run; formats that tools read back; a gate that shuts."""

import csv
import io
import json

import pytest
from checkpoints import random_model

from wse.bench import compare, decode, fabric
from wse.bench.output import DECODE_COLUMNS, FABRIC_COLUMNS, render
from wse.compiler.compile import compile_model
from wse.errors import ConfigError, VerificationError
from wse.provenance import SCHEMA, config_hash, provenance
from wse.runner import Session
from wse.spec import load_spec

SPEC = load_spec("wse2")


@pytest.fixture(scope="module")
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wse.compiler.compile.load_model", lambda name: random_model())
        return compile_model("random", SPEC, dtype="f32")


@pytest.fixture(scope="module")
def records(tiny):
    tests = decode.plan([6], [4], [0, 5])
    return [decode.measure(tiny, test, "snake", 2, True, lambda runs: None) for test in tests]


def test_tests_are_named_as_users_of_such_tools_know_them():
    names = [test.name for test in decode.plan([0, 64], [16], [0, 128])]
    assert names == ["pp 64", "pp 64 @ d128", "tg 16", "tg 16 @ d128"]


def test_cycles_are_those_of_a_session_that_does_the_same(tiny, records):
    tokens = decode.test_tokens(tiny.model.config.vocab_size, 9)
    session = Session(tiny)
    session.step(tokens[:6])
    assert records[0]["cycles"] == session.machine.cycles
    session = Session(tiny)
    session.step(tokens[:5])
    before, feed = session.machine.cycles, decode.test_tokens(tiny.model.config.vocab_size, 9)[5]
    for _ in range(4):
        feed = session.step([feed]).id
    deep = next(r for r in records if r["test"] == "tg 4 @ d5")
    assert deep["cycles"] == session.machine.cycles - before
    assert deep["cycles_per_token"] == deep["cycles"] / 4
    assert deep["cycles"] > next(r for r in records if r["test"] == "tg 4")["cycles"]  # attention sees more positions
    assert all(r["host_tokens_per_s"] > 0 and r["numpy_tokens_per_s"] > 0 and r["hops_per_token"] > 0 for r in records)


def test_a_wafer_that_generates_other_tokens_fails_the_benchmark(tiny, monkeypatch):
    monkeypatch.setattr(decode, "new_reference", lambda compiled: _Shifted(compiled))
    with pytest.raises(VerificationError, match="tg 2"):
        decode.measure(tiny, decode.Test(0, 2), "snake", 1, True, lambda runs: None)


class _Shifted:
    """A reference that always says token 0, then 1."""

    def __init__(self, compiled):
        self.next = 0

    def reset(self):
        self.next = 0

    def step(self, token):
        self.next += 1
        return {"argmax": self.next}


def test_every_format_holds_the_same_records(records):
    where = provenance({"machine": SPEC.model_dump()})
    table, rows, whole, lines = (render("decode", records, DECODE_COLUMNS, where, kind) for kind in ("md", "csv", "json", "jsonl"))
    header = "| model | params | mesh | dtype | placer | test | cycles/token | tok/s@clock | hops/token | host tok/s | NumPy tok/s |"
    assert [cell.strip() for cell in table.splitlines()[0].split("|")] == [cell.strip() for cell in header.split("|")]
    assert len(table.splitlines()) == 2 + len(records) and "± " in table
    loaded = json.loads(whole)
    assert loaded["results"] == records and loaded["provenance"]["config_hash"] == config_hash({"machine": SPEC.model_dump()})
    assert set(loaded["provenance"]) >= {"versions", "git_commit", "argv", "host", "config"}
    assert [json.loads(line)["cycles"] for line in lines.splitlines()] == [r["cycles"] for r in records]
    read = list(csv.DictReader(io.StringIO(rows)))
    assert [int(row["cycles"]) for row in read] == [r["cycles"] for r in records]
    assert {row["config_hash"] for row in read} == {where["config_hash"]}


def test_fabric_cases_take_the_predicted_cycles():
    for step in ("reduce", "broadcast"):
        record = fabric.measure(SPEC, fabric.Case(step, 8, 16, 12), 1)
        assert record["cycles"] == record["predicted_cycles"] and record["hops"] == 8 * 7 * 16
        assert record["wavelet_hops_per_s"] == pytest.approx(record["hops"] / record["run_seconds"])
    assert "8x8 w16 in the corner of 12x12" in render("fabric", [record], FABRIC_COLUMNS, {}, "md")


def write(path, cycles, schema=SCHEMA):
    results = [{"model": "m", "test": name, "cycles": n} for name, n in cycles.items()]
    path.write_text(json.dumps({"schema": schema, "results": results}))
    return path


@pytest.mark.parametrize(
    ("new", "bar", "code"),
    [
        ({"pp 8": 1000, "tg 8": 2000}, "+0%", 0),
        ({"pp 8": 1010, "tg 8": 1900}, "+1%", 0),
        ({"pp 8": 1011, "tg 8": 1900}, "+1%", 5),
        ({"pp 8": 1000}, "+1%", 5),
        ({"pp 8": 9000, "tg 8": 9000}, None, 0),
        ({"pp 8": 1000, "tg 8": 2000, "tg 9": 1}, "1", 0),
    ],
)
def test_compare_exits_with_5_when_a_test_is_over_the_bar_or_gone(new, bar, code, tmp_path, wse):
    base = write(tmp_path / "base.json", {"pp 8": 1000, "tg 8": 2000})
    done = wse("bench", "compare", base, write(tmp_path / "new.json", new), *(["--fail-on", bar] if bar else []))
    assert done.code == code
    assert "m pp 8" in done.out and "1,000" in done.out
    assert ("error[verify]" in done.err) == (code == 5)
    facts = json.loads(wse("bench", "compare", base, tmp_path / "new.json", "--json").out)
    assert {c["test"]: c["new_cycles"] for c in facts} == {f"m {name}": new.get(name) for name in {"pp 8": 0, "tg 8": 0} | new}


def test_compare_refuses_what_it_cannot_compare(tmp_path):
    base = write(tmp_path / "base.json", {"pp 8": 1000})
    (tmp_path / "text.json").write_text("no")
    (tmp_path / "list.json").write_text("[]")
    for other, words in (
        (tmp_path / "missing.json", "cannot read"),
        (tmp_path / "text.json", "not a benchmark"),
        (tmp_path / "list.json", "not a benchmark"),
        (write(tmp_path / "old.json", {"pp 8": 1}, schema=0), "schema"),
        (write(tmp_path / "zero.json", {"pp 8": 0}), "without cycles"),
        (write(tmp_path / "other.json", {"tg 1": 1}), "no test in common"),
    ):
        with pytest.raises(ConfigError, match=words):
            compare.compare(base, other)
    for bar in ("much", "-1%", "nan%", ""):
        with pytest.raises(ConfigError, match="--fail-on"):
            compare.parse_bar(bar)


def test_the_verb_prints_a_table_and_the_same_as_json(tmp_path, wse):
    options = ["-p", "3", "-n", "2-3", "-r", "1", "-q"]
    code, table, _ = wse("bench", "decode", "kjv", *options)
    assert code == 0 and all(f"| {name} " in table for name in ("pp 3", "tg 2", "tg 3"))
    assert wse("bench", "decode", "kjv", *options, "--json", "-o", tmp_path / "b.json").code == 0
    written = json.loads((tmp_path / "b.json").read_text())
    assert [r["test"] for r in written["results"]] == ["pp 3", "tg 2", "tg 3"]
    assert f"{written['results'][0]['cycles_per_token']:,.1f}" in table
    assert written["provenance"]["config"]["machine"]["hop_cycles"] == SPEC.hop_cycles


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["-p", "x"], 2, "--n-prompt: cannot read 'x'"),
        (["-p", "0", "-n", "0"], 2, "nothing to measure"),
        (["-p", "40", "--context", "16"], 3, "'pp 40' needs 40 positions"),
        (["-n", "9000"], 2, "context 9000 is outside 1..256"),
    ],
)
def test_tests_that_cannot_run_are_refused(options, code, words, wse):
    done = wse("bench", "decode", "kjv", *options)
    assert done.code == code and words in done.err


def test_fidelity_says_what_was_published_and_what_was_measured(tmp_path, wse):
    done = wse("bench", "fidelity", "--only", "chain reduce*16", "--format", "json", "-o", str(tmp_path / "f.json"))
    assert done.code == 0, done.err
    written = json.loads((tmp_path / "f.json").read_text())
    (record,) = written["results"]
    assert (record["published"], record["measured"], record["deviation_frac"], record["cycles"]) == (91, 91, 0, 91)
    assert written["kind"] == "fidelity" and written["provenance"]["config"]["machines"]["wse2"]["hop_cycles"] == SPEC.hop_cycles
    table = wse("bench", "fidelity", "--only", "star reduce, P = 16*").out
    assert "+5.0%" in table and "1 of 1 rows validate: median deviation 5.0%" in table
    refused = wse("bench", "fidelity", "--only", "SUMMA, 128")
    assert refused.code == 2 and "--full" in refused.err
    assert "| prediction |" in wse("bench", "fidelity", "--only", "decode layer, 420").out
