"""Sweeps: nothing lost, nothing twice, whatever is killed; and a table that mistrusts what it finds."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
from commands import wse

from wse import sweep as sweeping
from wse.errors import ConfigError
from wse.sweep import COLUMNS, KEY_COLUMNS, Point, Result, Table, key_of, points, run_point

POINT = Point("kjv", "wse2", "", "24x16", "greedy", 0, "layer", "both", "f16", 64, "In", 0)
AXES = {name: [getattr(POINT, name)] for name in KEY_COLUMNS}


def read_rows(path):
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def start_sweep(table, num, n_gen=1):
    where = ["--mesh", "24x16", "--placer", "greedy", "--seed", f"0-{num - 1}", "--context", "64", "--workers", "2", "-o", str(table)]
    arguments = [sys.executable, "-c", "from wse.cli import main; main()", "sweep", "kjv", "-n", str(n_gen), "-p", "In", *where]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_rows(process, table, num):
    deadline = time.monotonic() + 240
    while len(read_rows(table)) < num:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no rows came"
        time.sleep(0.05)


@pytest.mark.parametrize("num", [pytest.param(16, id="small"), pytest.param(200, id="full", marks=pytest.mark.nightly)])
def test_a_killed_worker_and_a_restart_lose_nothing_and_double_nothing(tmp_path, num):
    pytest.importorskip("distributed")
    table = tmp_path / "sweep.csv"
    first = start_sweep(table, num)
    wait_for_rows(first, table, 2)
    os.kill(int(read_rows(table)[-1]["worker_pid"]), signal.SIGKILL)
    wait_for_rows(first, table, num // 3)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert first.returncode in (130, -signal.SIGINT)
    kept = table.read_bytes()
    done = len(read_rows(table))
    assert num // 3 <= done < num, "the sweep was to be stopped half-way"

    second = start_sweep(table, num)
    out, err = second.communicate(timeout=500)
    assert second.returncode == 0, err
    assert f"{num - done} ok" in out
    rows = read_rows(table)
    assert table.read_bytes().startswith(kept)
    assert len(rows) == num and {int(row["seed"]) for row in rows} == set(range(num))
    assert {row["status"] for row in rows} == {"ok"} and all(float(row["hops_per_token"]) > 0 for row in rows)
    assert len({row["tokens"] for row in rows}) == 1

    third = start_sweep(table, num)
    out, _ = third.communicate(timeout=120)
    assert third.returncode == 0 and "nothing to do" in out and len(read_rows(table)) == num


def test_the_points_are_every_combination_once():
    found = points(**{**AXES, "mesh": ["24x16", "32x16", "24x16"], "seed": [0, 1]})
    assert [(point.mesh, point.seed) for point in found] == [("24x16", 0), ("24x16", 1), ("32x16", 0), ("32x16", 1)]


def test_a_point_that_cannot_be_placed_is_a_result_with_its_reason():
    result = run_point(Point(**{**{name: getattr(POINT, name) for name in KEY_COLUMNS}, "mesh": "3x3"}))
    assert result.status == "does-not-fit" and "3x3" in result.message and result.predicted_hops_per_token is None
    assert run_point(POINT).status == "ok"


def test_a_table_cut_short_in_the_middle_of_a_row_is_mended(tmp_path):
    path = tmp_path / "t.csv"
    table = Table(path)
    other = points(**{**AXES, "seed": [1]})[0]
    assert table.add(POINT, Result(message="one\nline, with a comma")) and not table.add(POINT, Result())
    table.add(other, Result())
    table.close()
    whole = path.read_bytes()
    for cut in (1, 20, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        table = Table(path)
        assert table.done == {key_of(POINT)}
        assert table.add(other, Result())
        table.close()
        assert path.read_bytes() == whole
    path.write_bytes(whole[:10])  # not even the heading
    Table(path).close()
    assert path.read_text() == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize("text", ["something else\n", "a,b,c\n1,2,3\n", "no line break"])
def test_a_file_that_is_no_table_is_left_alone(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not the table"):
        Table(path)
    assert path.read_text() == text


def test_two_sweeps_do_not_write_one_table(tmp_path):
    pytest.importorskip("fcntl")
    first = Table(tmp_path / "t.csv")
    with pytest.raises(ConfigError, match="another sweep"):
        Table(tmp_path / "t.csv")
    first.close()
    Table(tmp_path / "t.csv").close()


def test_a_point_that_fails_by_our_fault_has_no_row_and_is_tried_again(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    table = Table(tmp_path / "t.csv")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        monkeypatch.setattr(sweeping, "run_point", lambda point: 1 // 0)
        outcomes = list(sweeping.sweep([POINT], table, scheduler=cluster.scheduler_address))
        assert isinstance(outcomes[0][1], ZeroDivisionError) and not table.done
        monkeypatch.setattr(sweeping, "run_point", lambda point: Result())
        assert list(sweeping.sweep([POINT], table, scheduler=cluster.scheduler_address)) == [(POINT, Result())]
        assert list(sweeping.sweep([POINT], table, scheduler=cluster.scheduler_address)) == []
    table.close()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--placer", "snake,aneal"], 2, "aneal"),
        (["--context", "64-16"], 2, "ends before"),
        (["--mesh", "24by16"], 2, "WxH"),
        (["--split", "thirds"], 2, "thirds"),
        (["--scheduler", "tcp://127.0.0.1:1"], 2, "no Dask scheduler"),
    ],
)
def test_wrong_axes_are_refused_in_words(tmp_path, arguments, code, words):
    pytest.importorskip("distributed")
    done = wse("sweep", "kjv", *arguments, "-o", tmp_path / "t.csv")
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr


def test_parquet_holds_what_the_table_holds(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("distributed")
    done = wse("sweep", "kjv", "--seed", "0-1", "-n", 0, "--workers", 1, "-o", tmp_path / "t.parquet")
    assert done.returncode == 0, done.stderr
    assert parquet.read_table(tmp_path / "t.parquet").column("seed").to_pylist() == [int(r["seed"]) for r in read_rows(tmp_path / "t.csv")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kjw"], "no model is named 'kjw'"),
        (["kjv", "--arch", "wse9"], "wse9"),
        (["kjv", "-o", "table.txt"], "file.csv or file.parquet, not table.txt"),
    ],
)
def test_a_mistake_in_a_name_is_refused_before_there_is_a_table(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = wse("sweep", *arguments)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
