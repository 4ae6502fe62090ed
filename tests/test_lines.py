"""Cycles by source line, in Python and as `wse profile`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from wse.builder import ProgramBuilder
from wse.isa import Type
from wse.lines import line_table
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec

KERNEL = Path(__file__).parent / "examples" / "gemv_streamed.py"


def machine() -> Machine:
    """Three PEs that add 10 numbers four times; one of them also multiplies 6."""
    program = ProgramBuilder(load_spec("toy", add_lanes=1, fma_lanes=1), 3, 1)
    pe = program.pes(Rect(0, 0, 3, 1))
    y, turn = pe.zeros("y", 10), program.reg(Type.I32)
    with pe.loop(4, turn):
        pe.add(y, y, 1.0)
    east = program.pes(Rect(2, 0, 1, 1))
    east.fmac(y[:6], y[:6], 2.0)
    machine = Machine(program.link())
    machine.check(machine.run())
    return machine


def test_a_line_has_the_cycles_its_instructions_took() -> None:
    lines = {line.source: line for line in machine().lines()}
    add, fmac, loop = (lines[text] for text in ("pe.add(y, y, 1.0)", "east.fmac(y[:6], y[:6], 2.0)", "with pe.loop(4, turn):"))
    assert (add.num_pes, add.count, add.busy_pe_cycles, add.elapsed_pe_cycles) == (3, 12, 120, 120)
    assert (fmac.num_pes, fmac.count, fmac.busy_pe_cycles) == (1, 1, 6)
    assert loop.count == 3 * (1 + 4 + 4)  # set the counter, add to it, branch
    assert abs(sum(line.elapsed_frac for line in lines.values()) - 1) < 1e-12


def test_a_rectangle_shows_only_lines_that_run_there() -> None:
    ran = machine()
    everywhere, west = ran.lines(), ran.lines(Rect(0, 0, 2, 1))
    assert {line.line for line in everywhere} - {line.line for line in west} == {
        line.line for line in everywhere if line.source.startswith("east")
    }
    assert {line.num_pes for line in west} == {3}  # the sums are over all PEs that run a line


def test_busy_and_stalled_cycles_make_up_the_elapsed_ones_and_add_up_to_the_counters() -> None:
    ran = machine()
    for line in ran.lines():
        assert line.busy_pe_cycles + line.stall_pe_cycles == line.elapsed_pe_cycles
    assert sum(line.count for line in ran.lines()) == ran.counters().instructions.sum()


def test_the_table_and_its_json(wse) -> None:
    done = wse("profile", KERNEL, "--print-pes", "0,0")
    assert (done.code, done.err) == (0, "")
    assert "LINE  %TIME" in done.out and "pe.fmac(y, tile, pe.recv(IN, held=True)" in done.out and "174 cycles, done" in done.out
    assert done.out.count("my part is") == 1
    done = wse("profile", KERNEL, "--json", "--pes", "1:3,0")
    facts = json.loads(done.out)
    assert (facts["status"], facts["cycles_total"]) == ("done", 174)
    assert all(np.isfinite(line["elapsed_frac"]) and line["count"] > 0 for line in facts["lines"])
    assert len(done.err.splitlines()) == 12


def test_a_run_that_is_cut_short_says_so(wse) -> None:
    done = wse("profile", KERNEL, "--max-cycles", 50, "--print-pes", "0,0")
    assert (done.code, done.out.splitlines()[-1]) == (0, "50 cycles, limit")


STARVES = """
from wse.builder import ProgramBuilder
from wse.isa import Port
from wse.program import Rect
from wse.spec import load_spec

program = ProgramBuilder(load_spec("toy"), 2, 1)
program.route(Rect(0, 0, 1, 1), 3, Port.RAMP, [Port.EAST])
program.route(Rect(1, 0, 1, 1), 3, Port.WEST, [Port.RAMP])
sender, taker = program.pes(Rect(0, 0, 1, 1)), program.pes(Rect(1, 0, 1, 1))
sender.mov(sender.send(3), sender.zeros("v", 3))
taker.mov(taker.zeros("w", 4), taker.recv(3))
"""


def test_a_program_that_hangs_is_refused_by_profile_and_opened_by_debug(wse, tmp_path) -> None:
    path, script = tmp_path / "starves.py", tmp_path / "commands"
    path.write_text(STARVES)
    script.write_text("c\nwhere\n")
    done = wse("profile", path)
    assert done.code == 2 and done.err.startswith("error[program]: PE (1,0) receives 4 wavelets of color 3")
    done = wse("debug", path, "-x", script)
    assert done.code == 0 and done.err.startswith("warning[program]: PE (1,0) receives 4 wavelets of color 3")
    assert "@9: deadlock" in done.out and "PE (0,0) would have to send color 3, but has ended (3 sent)" in done.out


def test_a_hang_that_nobody_could_prove_leaves_a_report(wse, tmp_path) -> None:
    path = tmp_path / "starves.py"
    path.write_text(STARVES + "from wse.machine import Machine\nprogram = Machine(program.link(), refuse_hangs=False)\n")
    done = wse("profile", path, "--hang", tmp_path / "hang.json")
    assert done.code == 4 and "9 cycles, deadlock" in done.out
    report = json.loads((tmp_path / "hang.json").read_text())
    assert report["roots"][0]["steps"][0]["color"] == 3
    done = wse("profile", path, "--sanitize")
    assert done.code == 2 and "a Machine that is loaded already" in done.err


def test_a_trace_and_the_sanitizer(wse, tmp_path) -> None:
    path = tmp_path / "unset.py"
    path.write_text(STARVES.replace("zeros(\"w\", 4)", "zeros(\"w\", 3)").replace("sender.zeros(\"v\", 3)", "sender.empty(\"v\", 3)"))
    done = wse("profile", path, "--trace", tmp_path / "t.jsonl", "--trace-events", "fabric")
    assert done.code == 0
    assert wse("trace", "info", tmp_path / "t.jsonl", "--json").out.count("send") >= 1
    done = wse("profile", path, "--sanitize")
    assert done.code == 2 and "what nothing has written" in done.err and "'v'" in done.err


def test_wrong_pes_are_refused(wse) -> None:
    for text in ("3", "a,b", "4:1,0", "1,2,3"):
        done = wse("profile", KERNEL, "--pes", text)
        assert done.code == 2 and "PEs" in done.err


def test_without_instructions_there_is_no_table() -> None:
    program = ProgramBuilder(load_spec("toy"), 1, 1)
    program.pes(Rect(0, 0, 1, 1)).zeros("y", 1)
    ran = Machine(program.link())
    assert ran.lines() == [] and line_table([]) == ""
