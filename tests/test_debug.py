"""The debugger stops exactly: the state at a stop is that of a machine run up to that cycle, found the slow way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wse.builder import ProgramBuilder
from wse.debug import Debugger
from wse.errors import ConfigError, ProgramError
from wse.inspection import describe_threads, fault_text, read_queues, read_routes, registers
from wse.isa import Port, Type
from wse.kernels.line import Line
from wse.kernels.reduce import reduce
from wse.machine import Machine
from wse.operands import View
from wse.program import Program, Rect
from wse.spec import load_spec

SESSION = Path(__file__).parent / "examples" / "session.txt"
KERNEL = Path(__file__).parent / "examples" / "gemv_streamed.py"


def chain(num: int = 40, width: int = 4, parts: bool = False) -> Program:
    """A vector summed along a row, twice in a loop; with `parts`, beside a row that no route connects with it."""
    program = ProgramBuilder(load_spec("toy"), width, 1 + parts)
    row = Rect(0, 0, width, 1)
    pe = program.pes(row)
    y = pe.array("y", np.ones((1, width, num)))
    total, r = pe.zeros("total", 4), program.reg()
    pe.add(r, r, 2.0)  # MARK
    reduce(program, Line(row, "x"), y)
    for _ in range(3):
        pe.add(total[:1], total[:1], 1.0)
    pe.mov(total, 0.0)
    if parts:
        other = program.pes(Rect(0, 1, width, 1))
        z = other.zeros("z", num)
        with other.loop(100):
            other.add(z, z, 1.0)
    return program.link()


MARK = f"test_debug.py:{next(i for i, line in enumerate(Path(__file__).read_text().splitlines(), 1) if line.endswith('# MARK'))}"


def slowly(program: Program, seen, limit: int = 3000) -> list[int]:
    """Cycles whose state differs from that of the cycle before in what `seen` reads, one cycle after another."""
    machine, changes = Machine(program), []
    before = seen(machine)
    for cycle in range(1, limit):
        done = machine.run(max_cycles=cycle).name == "DONE"
        now = seen(machine)
        if now != before:
            changes.append(cycle)
        before = now
        if done:
            break
    return changes


def stops(debugger: Debugger) -> list[int]:
    """Cycles of all stops up to the end of the run."""
    found = []
    while (stop := debugger.go()).reason == "breakpoint":
        found.append(stop.cycle)
    assert stop.reason == "done"
    return found


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize(("name", "x"), [("y", 0), ("y", 2), ("total", 3)])
def test_a_watched_symbol_stops_at_every_change(name: str, x: int, parts: bool) -> None:
    program = chain(parts=parts)
    debugger = Debugger(Machine(program))
    debugger.break_at(symbol=name, pes=Rect(x, 0, 1, 1))
    wanted = slowly(program, lambda machine: machine.read(x, 0, name).tobytes())
    assert stops(debugger) == wanted
    assert len(wanted) > 3 or name == "y"


def test_a_color_stops_whenever_one_of_its_wavelets_leaves() -> None:
    program = chain()
    color = int(program.channel_color[program.channel_pe == 1][0])
    c = int(program.channels_at(np.array(1), color))
    debugger = Debugger(Machine(program))
    debugger.break_at(color=color, pes=Rect(1, 0, 1, 1))
    found = stops(debugger)
    assert found == slowly(program, lambda machine: int(machine.counters().sent[c]))
    assert len(found) == 40


def test_a_line_stops_before_each_issue_and_the_state_is_that_of_the_cycle() -> None:
    program = chain()
    debugger, plain = Debugger(Machine(program)), Machine(program)
    debugger.break_at(line=MARK, pes=Rect(2, 0, 1, 1))
    first = debugger.go()
    assert (first.cycle, first.pe, first.line.split("/")[-1]) == (0, (2, 0), MARK)
    issued = slowly(program, lambda machine: int(machine.counters().instructions[2]))
    seen = []
    while (stop := debugger.next(2, 0)).reason == "next":
        seen.append(stop.cycle)
        plain.run(max_cycles=stop.cycle)
        mine, wanted = debugger.machine.snapshot(), plain.snapshot()
        assert all(np.array_equal(mine[key], wanted[key]) for key in wanted)
    assert [cycle + 1 for cycle in seen] == issued[1:]


def test_going_on_from_stops_ends_as_if_there_had_been_none() -> None:
    program = chain(parts=True)
    debugger, plain = Debugger(Machine(program)), Machine(program)
    plain.run()
    debugger.break_at(pes=Rect(0, 0, 4, 2))
    debugger.break_at(cycle=33)
    found = stops(debugger)
    assert 33 in found and found == sorted(found)
    mine, wanted = debugger.machine.snapshot(), plain.snapshot()
    assert all(np.array_equal(mine[key], wanted[key]) for key in wanted)


def test_stepping_counts_cycles_and_a_breakpoint_comes_first() -> None:
    debugger = Debugger(Machine(chain()))
    assert (debugger.step().cycle, debugger.step(10).cycle) == (1, 11)
    debugger.break_at(cycle=13)
    assert [(stop.reason, stop.cycle) for stop in (debugger.step(5), debugger.step(5))] == [("breakpoint", 13), ("step", 18)]


def test_a_breakpoint_late_in_a_long_run_is_found_by_running() -> None:
    program = ProgramBuilder(load_spec("toy"), 1, 1)
    pe = program.pes(Rect(0, 0, 1, 1))
    y = pe.zeros("y", 100)
    with pe.loop(20_000):
        pe.add(y, y, 1.0)
    last = pe.zeros("last", 1)
    pe.mov(last, 7.0)
    debugger = Debugger(Machine(program.link()))
    debugger.break_at(line=list(program.source_lines)[-1])
    stop = debugger.go()
    assert stop.cycle > 2_000_000 and debugger.machine.read(0, 0, "last") == 0.0 and debugger.machine.read(0, 0, "y")[0] == 20_000
    debugger.go()
    assert debugger.machine.read(0, 0, "last") == 7.0


def test_prints_come_once_and_only_up_to_the_stop() -> None:
    program = ProgramBuilder(load_spec("toy"), 1, 1)
    pe, lines = program.pes(Rect(0, 0, 1, 1)), []
    y = pe.zeros("y", 3)
    with pe.loop(5) as turn:
        pe.print("turn", turn)
        pe.add(y, y, 1.0)
    debugger = Debugger(Machine(program.link(), on_print=lambda printed: lines.append(printed.text)))
    debugger.break_at(symbol="y")
    debugger.go()
    assert lines == ["turn 0"]
    stops(debugger)
    assert lines == [f"turn {i}" for i in range(5)]


def test_what_is_written_is_what_runs_on() -> None:
    debugger = Debugger(Machine(chain(num=4)))
    debugger.break_at(line=MARK, pes=Rect(3, 0, 1, 1))
    debugger.go()
    debugger.machine.write(3, 0, "y", [10, 20, 30, 40])
    registers(debugger.machine, 3, 0).view(np.float32)[0] = 5.0
    debugger.clear(1)
    assert debugger.go().reason == "done"
    assert debugger.machine.read(0, 0, "y").tolist() == [13, 23, 33, 43]
    assert registers(debugger.machine, 3, 0).view(np.float32)[0] == 7.0


def test_queues_and_routes_say_where_wavelets_are() -> None:
    program = ProgramBuilder(load_spec("toy"), 2, 1)
    program.route(Rect(0, 0, 1, 1), 3, Port.RAMP, [Port.EAST])
    program.route(Rect(1, 0, 1, 1), 3, Port.WEST, [Port.RAMP])
    sender, receiver = program.pes(Rect(0, 0, 1, 1)), program.pes(Rect(1, 0, 1, 1))
    sender.mov(sender.send(3), 9, shape=50, type=Type.I32)
    receiver.add(receiver.zeros("y", 1), 1.0, 1.0)
    never = program.reg()
    program.route(Rect(1, 0, 1, 1), 4, Port.EAST, [Port.RAMP])
    program.input("never", 1, 0, 4, Port.EAST)
    receiver.mov(never, receiver.recv(4), shape=1)
    receiver.mov(never, receiver.recv(3), shape=50)
    debugger = Debugger(Machine(program.link()))
    assert debugger.go().reason == "deadlock"
    router, core = read_queues(debugger.machine, 1, 0, 3)
    spec = debugger.machine.program.spec
    assert (router.place, core.place) == ("WEST", "core")
    assert len(core.bits) == core.room == spec.core_queue_room and len(router.bits) == router.room == spec.link_fifo_room
    assert set(core.bits + router.bits) == {9} and not any(core.control)
    sent = {route.color: route.sent for route in read_routes(debugger.machine, 1, 0)}
    assert sent == {3: len(core.bits), 4: 0}
    assert "color 3: WEST to RAMP" in str(read_routes(debugger.machine, 1, 0)[0])
    (main,) = describe_threads(debugger.machine, 1, 0)
    assert "element 0 of 1" in main and "waits for a wavelet of color 4" in main and "receiver.mov(never" in main
    assert "waits for room to send color 3" in describe_threads(debugger.machine, 0, 0)[0]


def test_after_a_fault_the_state_says_what_was_reached() -> None:
    program = ProgramBuilder(load_spec("toy"), 2, 1)
    pe = program.pes(Rect(0, 0, 2, 1))
    y, offset = pe.const("y", np.arange(8)), program.reg(Type.I32)
    program.pes(Rect(1, 0, 1, 1)).mov(offset, 1000)
    pe.add(View("y", Type.F32, (4,), (1,)).shifted(offset), y[:4], 1.0)
    debugger = Debugger(Machine(program.link()))
    stop = debugger.go()
    assert (stop.reason, stop.pe) == ("fault", (1, 0))
    assert "'y' of 8 elements is reached at 1000 to 1003, moved by 1000 from r0" in stop.detail
    assert fault_text(debugger.machine) == stop.detail and "test_debug.py" in stop.detail
    assert debugger.machine.read(1, 0, "y").tolist() == list(range(8))
    assert registers(debugger.machine, 1, 0)[0] == 1000
    assert debugger.go().reason == "fault"


def test_awaited_outputs_end_the_run() -> None:
    program = ProgramBuilder(load_spec("toy"), 1, 1)
    here = Rect(0, 0, 1, 1)
    program.route(here, 0, Port.RAMP, [Port.EAST])
    program.output("out", 0, 0, 0, Port.EAST)
    pe = program.pes(here)
    start = program.label()
    pe.place(start)
    pe.mov(pe.send(0), 1.0, shape=3)
    pe.jump(start)
    linked = program.link()
    plain = Machine(linked)
    plain.run({"out": 2000})
    debugger = Debugger(Machine(linked), {"out": 2000})
    debugger.break_at(cycle=500)
    assert stops(debugger) == [500]
    assert debugger.machine.cycles == plain.cycles


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ({}, "needs a line"),
        ({"line": "x.py:1", "cycle": 9}, "at one of"),
        ({"line": "nowhere.py:1"}, "no instruction comes from nowhere.py:1"),
        ({"color": 23}, "color 23 has no route"),
        ({"symbol": "totl"}, "no PE of .* has an array 'totl'"),
        ({"cycle": 0}, "cycle 0 is over"),
        ({"pes": Rect(3, 0, 2, 1)}, "outside the mesh"),
    ],
)
def test_impossible_breakpoints_are_refused(where, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Debugger(Machine(chain())).break_at(**where)


def test_pes_that_are_not_there_are_refused() -> None:
    with pytest.raises(ProgramError, match="outside the mesh"):
        registers(Machine(chain()), 9, 9)


# --- wse debug ----------------------------------------------------------------------------------------------------


def test_a_script_of_commands(wse) -> None:
    done = wse("debug", KERNEL, "-x", SESSION, "--print-pes", "0:1,0")
    assert (done.code, done.err) == (0, "")
    assert "PE(2,1): breakpoint 1: gemv_streamed.py:" in done.out
    assert done.out.count("my part is") == 2
    assert "color 1: EAST to RAMP, sent 1" in done.out
    assert "y[0:2] = [107.54" in done.out and "3: 'y' changes on (0,0)-(0,0)" in done.out
    assert "@174: done" in done.out


COMMANDS = "b pe 1,0\nc\nset r3 -2\np r3\np y[0] 2,0  # a remark\nwatch total 1,0\nb\nd 1\nc\nq\nc\n"


def test_commands_from_standard_input_and_a_saved_program(wse, monkeypatch, tmp_path) -> None:
    import io

    from wse.store import save

    save(chain(), tmp_path / "program.npz")
    monkeypatch.setattr("sys.stdin", io.StringIO(COMMANDS))
    done = wse("debug", tmp_path / "program.npz")
    assert (done.code, done.err) == (0, "")
    assert "r3 = -2" in done.out and "y[0] = 1.0" in done.out and "2: 'total' changes on (1,0)-(1,0)" in done.out
    assert done.out.endswith("(wse) q\n")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("jump", "no command 'jump'"),
        ("b color x", "'x' is no number"),
        ("b pe 0:9,0", "outside the mesh"),
        ("d 4", "no breakpoint 4"),
        ("p nothing 0,0", "no array 'nothing'"),
        ("p y[99] 0,0", "out of bounds"),
        ("p y[a] 0,0", "cannot read"),
        ("set y[0] 0,0 much", "'much' is no number"),
        ("set r99 1", "no register r99"),
        ("info what", "no 'info what'"),
        ("info queues 17", "color 17 has no route"),
        ("bt 40,40", "outside the mesh"),
    ],
)
def test_a_wrong_command_in_a_script_is_one_line_and_exit_code_2(wse, tmp_path, command: str, says: str) -> None:
    script = tmp_path / "commands"
    script.write_text(command + "\n")
    done = wse("debug", KERNEL, "-x", script)
    assert done.code == 2
    assert says in done.err and "Traceback" not in done.err


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1", "has no program"),
        ("def program():\n    return 1 / 0", ":2: ZeroDivisionError"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("x = (", "SyntaxError"),
    ],
)
def test_a_python_file_without_a_program_is_one_line(wse, tmp_path, source: str, says: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    for verb in ("debug", "profile"):
        done = wse(verb, path)
        assert done.code == 2
        assert says in done.err and "Traceback" not in done.err
