"""`Pes.print`: lines with cycle and PE, at no cost, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from wse.builder import ProgramBuilder
from wse.errors import ProgramError
from wse.isa import Col, Op, Port, Type
from wse.machine import Machine
from wse.program import Program, Rect
from wse.spec import load_spec
from wse.store import load, save


def printing(program: ProgramBuilder | Program, **how) -> list[str]:
    """What a program prints."""
    lines: list[str] = []
    linked = program.link() if isinstance(program, ProgramBuilder) else program
    machine = Machine(linked, on_print=lambda printed: lines.append(str(printed)), **how)
    machine.check(machine.run())
    return lines


def counting(width: int = 2) -> ProgramBuilder:
    """Every PE adds 1 to five numbers, three times, and says so each time."""
    program = ProgramBuilder(load_spec("toy"), width, 1)
    pe = program.pes(Rect(0, 0, width, 1))
    y, turn = pe.array("y", np.arange(5.0 * width).reshape(1, width, 5)), program.reg(Type.I32)
    with pe.loop(3, turn):
        pe.add(y, y, 1.0)
        pe.print("turn", turn, y[1:3])
    return program


def test_a_line_has_the_cycle_the_pe_the_text_and_the_values_of_that_cycle() -> None:
    assert printing(counting())[:2] == ["@6 PE(0,0): turn 0 [2. 3.]", "@6 PE(1,0): turn 0 [7. 8.]"]
    assert [line.split(": ")[1] for line in printing(counting(1))] == ["turn 0 [2. 3.]", "turn 1 [3. 4.]", "turn 2 [4. 5.]"]


def test_only_the_pes_asked_for_print() -> None:
    wanted = [line for line in printing(counting(5)) if "PE(1,0)" in line or "PE(4,0)" in line]
    assert printing(counting(5), print_pes=[Rect(4, 0, 1, 1), Rect(1, 0, 1, 1)]) == wanted
    assert printing(counting(5), print_pes=[]) == []


def test_values_fill_the_fields_of_the_text() -> None:
    program = ProgramBuilder(load_spec("toy"), 1, 1)
    pe = program.pes(Rect(0, 0, 1, 1))
    h, f, i = pe.const("h", [0.5, -2], Type.F16), program.reg(Type.F16), pe.const("i", [[7, 8], [9, -1]], Type.I32)
    pe.mov(f, 0.25)
    pe.print("{1:+.2f} {0} {2}", h, f, i[1])
    pe.print("nothing to show")
    pe.print("none", i[0:0, 0])
    assert [line.split(": ")[1] for line in printing(program)] == ["+0.25 [ 0.5 -2. ] [ 9 -1]", "nothing to show", "none []"]


def test_a_data_task_prints_the_wavelet_it_was_started_by() -> None:
    program = ProgramBuilder(load_spec("toy"), 1, 1)
    here, payload = Rect(0, 0, 1, 1), program.reg(Type.I32)
    program.route(here, 0, Port.WEST, [Port.RAMP])
    program.input("in", 0, 0, 0, Port.WEST)
    task = program.pes(here, 1)
    task.bind(0, payload)
    task.print("got", payload)
    lines: list[str] = []
    machine = Machine(program.link(), on_print=lambda printed: lines.append(printed.text))
    machine.feed("in", np.array([3, 1, 4], np.int32))
    machine.check(machine.run())
    assert lines == ["got 3", "got 1", "got 4"]


def test_more_prints_than_the_buffer_holds_all_come_in_order() -> None:
    program = ProgramBuilder(load_spec("toy"), 8, 8)
    pe = program.pes(Rect(0, 0, 8, 8))
    y = pe.zeros("y", 40)
    with pe.loop(30) as turn:
        pe.print("turn {} {}", turn, y)
    lines = printing(program)
    assert len(lines) == 30 * 64
    cycles = [int(line[1:].split()[0]) for line in lines]
    assert cycles == sorted(cycles)
    assert [line.split()[3] for line in lines[::64]] == [str(turn) for turn in range(30)]


def test_prints_come_before_a_deadlock_is_reported() -> None:
    program = ProgramBuilder(load_spec("toy"), 1, 1)
    program.route(Rect(0, 0, 1, 1), 0, Port.WEST, [Port.RAMP])
    program.input("in", 0, 0, 0, Port.WEST)
    pe = program.pes(Rect(0, 0, 1, 1))
    pe.print("before")
    pe.mov(pe.zeros("y", 1), pe.recv(0))
    pe.print("after")
    lines: list[str] = []
    machine = Machine(program.link(), on_print=lambda printed: lines.append(printed.text))
    assert machine.run().name == "DEADLOCK"
    assert lines == ["before"]


def test_a_print_takes_no_time_and_no_sram() -> None:
    def program(prints: int) -> Program:
        builder = ProgramBuilder(load_spec("toy"), 1, 1)
        pe = builder.pes(Rect(0, 0, 1, 1))
        y = pe.zeros("y", 11_230)  # with six instructions, all but 8 B of what there is
        for _ in range(5):
            pe.add(y[:7], y[:7], 1.0)
            for _ in range(prints):
                pe.print("y", y[:20])
        return builder.link()

    with_prints, without = program(4), program(0)
    machines = [Machine(linked, on_print=lambda printed: None) for linked in (with_prints, without)]
    for machine in machines:
        machine.check(machine.run())
    assert machines[0].cycles == machines[1].cycles
    assert with_prints.classes[0].code_bytes == without.classes[0].code_bytes
    counters = machines[0].counters()
    assert not counters.row_issued[with_prints.code[:, Col.OP] == Op.PRINT].any()
    assert (counters.stall == machines[1].counters().stall).all()


def test_a_saved_program_prints_the_same(tmp_path) -> None:
    linked = counting().link()
    save(linked, tmp_path / "program.npz")
    again = load(tmp_path / "program.npz")
    assert again.prints == linked.prints and again.source_texts == linked.source_texts
    assert printing(again) == printing(linked)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (lambda pe, y, r: ("x", 3), "cannot show 3"),
        (lambda pe, y, r: ("x", pe.recv(0)), "cannot show Recv"),
        (lambda pe, y, r: ("x", y), "elements are too many"),
        (lambda pe, y, r: ("x", y[:2].shifted(r)), "depends on a register"),
        (lambda pe, y, r: ("{} {}", r), "do not fill"),
        (lambda pe, y, r: ("{:d}", y[0]), "do not fill"),
        (lambda pe, y, r: ("{} }", r), "do not fill"),
    ],
)
def test_what_cannot_be_shown_is_refused_at_its_line(values, says: str) -> None:
    program = ProgramBuilder(load_spec("toy"), 1, 1)
    pe = program.pes(Rect(0, 0, 1, 1))
    text, *shown = values(pe, pe.zeros("y", 65), program.reg(Type.I32))
    with pytest.raises(ProgramError, match=says) as refusal:
        pe.print(text, *shown)
    assert "test_print.py" in refusal.value.notes[0]
