"""What the command line says of hangs and of time: `wse run --hang`, its exit code and file, and what `wse compile -v` warns of."""

import json
from dataclasses import replace

import numpy as np

import wse.compiler.compile as stage
from wse.isa import MAX_DIMS, Col, Kind, Op, Operand
from wse.program import class_rows


def spoil(monkeypatch, change):
    """Have the compiler's program changed by `change(code, program)` before anybody gets it; returns where the compiled model is put."""
    compile_model, made = stage.compile_model, []

    def spoiled(*arguments, **options):
        compiled = compile_model(*arguments, **options)
        code = compiled.program.code.copy()
        change(code, compiled.program)
        made.append(replace(compiled, program=replace(compiled.program, code=code)))
        return made[-1]

    monkeypatch.setattr(stage, "compile_model", spoiled)
    return made


def send_one_less(code, program):
    """The first instruction of several wavelets that nothing but its code sizes sends one fewer."""
    extents = code[:, Col.EXTENT : Col.EXTENT + MAX_DIMS]
    fixed = (code[:, Col.EXTENT_REG : Col.EXTENT_REG + MAX_DIMS] < 0).all(axis=1)
    sends = (code[:, Col.D + Operand.KIND] == Kind.FABRIC_OUT) & fixed & (extents[:, -1] > 1)
    code[np.argmax(sends), Col.EXTENT + MAX_DIMS - 1] -= 1


def test_a_run_that_hangs_prints_the_report_leaves_it_as_json_and_exits_with_4(monkeypatch, wse, tmp_path):
    made = spoil(monkeypatch, send_one_less)
    path = tmp_path / "why.json"
    done = wse("run", "kjv", "-n", "1", "--prompt", "And", "--hang", path, "-q")
    assert done.code == 4, done.err
    first, *rest = done.err.strip().splitlines()
    assert first.startswith("error[deadlock]: nothing can move after cycle ")
    assert all(line.startswith(("  note: ", "  help: ")) for line in rest) and "root 1 of " in done.err
    report = json.loads(path.read_text())
    assert report["kind"] == "wse hang" and report["message"] in first
    wait = report["roots"][0]["steps"][0]
    assert wait["text"] in done.err and wait["line"] in made[0].program.source_lines
    assert any(root["help"] in rest[-1] for root in report["roots"])
    assert sorted(tmp_path.iterdir()) == [path]


def test_without_a_place_named_the_report_goes_beside_the_run_folder(monkeypatch, wse, tmp_path):
    spoil(monkeypatch, send_one_less)
    done = wse("run", "kjv", "-n", "1", "--prompt", "And", "-o", tmp_path / "out", "-q")
    assert done.code == 4 and [path.name for path in tmp_path.iterdir()] == ["out.hang.json"]


def test_compile_says_that_no_value_depends_on_time(wse):
    done = wse("compile", "kjv", "-v")
    assert done.code == 0 and "a Kahn network: no value depends on time" in done.err
    assert "warning:" not in done.err and "a Kahn network" not in wse("compile", "kjv").err


def test_compile_says_why_values_may_depend_on_time(monkeypatch, wse):
    def on_a_microthread(code, program):
        """An operation of a main task in memory, and the next one too, on threads of their own."""
        rows = class_rows(code, program.classes[0].task_entry[:1])
        in_memory = [i for i in rows if code[i, Col.OP] == Op.FMAC and code[i, Col.D + Operand.KIND] == Kind.MEM]
        code[in_memory[0], Col.THREAD] = 1

    spoil(monkeypatch, on_a_microthread)
    done = wse("compile", "kjv", "-v")
    assert done.code == 0 and "values may depend on time:" in done.err
    assert "an operation on microthread 1 and what runs meanwhile" in done.err and "share memory" in done.err
