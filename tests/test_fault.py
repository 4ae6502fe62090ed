"""After a fault: every PE stands in the cycle of the fault, also those whose cores go on ahead; and what the error says of it."""

import numpy as np
import pytest

import wse.machine
from wse.builder import ProgramBuilder
from wse.debug import Debugger
from wse.errors import FaultError
from wse.isa import Port, Status, Type
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec
from wse.trace import Selection

SPEC = load_spec("toy")
A, B = Rect(0, 0, 1, 1), Rect(1, 0, 1, 1)


def one_divides_by_zero_while_the_other_counts(num_turns: int = 40):
    """PE (0,0) divides by 3, 2, 1, 0; PE (1,0), which nothing meets, works on for long."""
    program = ProgramBuilder(SPEC, 2, 1)
    divides, counts = program.pes(A), program.pes(B)
    left, quotient = program.reg(Type.I32), program.reg(Type.I32)
    divides.mov(left, 3, type=Type.I32)
    with divides.loop(8):
        divides.div(quotient, 6, left, type=Type.I32)
        divides.sub(left, left, 1, type=Type.I32)
    y = counts.zeros("y", 4)
    with counts.loop(num_turns):
        counts.add(y, y, 1.0)
        counts.print("turn")
    return program.link()


def stopped_in_the_fault_cycle(program):
    """A machine that was never allowed past the fault."""
    plain = Machine(program, on_print=lambda printed: None)
    assert plain.run() == Status.FAULT
    exact = Machine(program, on_print=lambda printed: None)
    assert exact.run(max_cycles=plain.fault[2] + 1) == Status.FAULT and exact.is_exact
    return exact


def assert_alike(one: Machine, other: Machine):
    assert one.cycles == other.cycles and one.fault == other.fault
    mine, theirs = one.snapshot(), other.snapshot()
    for name, values in mine.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


@pytest.mark.parametrize("first", [None, 7])
def test_after_a_fault_every_pe_stands_in_its_cycle(first):
    program = one_divides_by_zero_while_the_other_counts()
    machine = Machine(program, on_print=lambda printed: None)
    if first:
        machine.run(max_cycles=first)
    assert machine.run() == Status.FAULT and machine.is_exact
    exact = stopped_in_the_fault_cycle(program)
    assert_alike(machine, exact)
    assert 0 < machine.read(1, 0, "y")[0] < 40


def test_tracing_and_earlier_writes_outlive_the_way_back():
    program = one_divides_by_zero_while_the_other_counts()
    machine = Machine(program, on_print=lambda printed: None)
    machine.write(1, 0, "y", np.full(4, 100.0))
    machine.trace(Selection(("operation",)))
    machine.run()
    assert machine.read(1, 0, "y")[0] > 100
    assert all(event["cycle"] <= machine.fault[2] for event in machine.traced().events())


def test_what_is_too_much_to_run_again_is_said(monkeypatch):
    monkeypatch.setattr(wse.machine, "MOST_WORK", 0)
    program = one_divides_by_zero_while_the_other_counts()
    machine = Machine(program, on_print=lambda printed: None)
    status = machine.run()
    assert not machine.is_exact
    with pytest.raises(FaultError) as error:
        machine.check(status)
    assert f"run(max_cycles={machine.fault[2] + 1})" in error.value.notes[-1]
    debugger = Debugger(Machine(program, on_print=lambda printed: None))  # which has a copy to go back to
    assert debugger.go().reason == "fault" and debugger.machine.is_exact
    assert_alike(debugger.machine, stopped_in_the_fault_cycle(program))


def test_long_sessions_do_not_remember_without_end():
    program = ProgramBuilder(SPEC, 1, 1)
    program.route(A, 0, Port.WEST, [Port.RAMP])
    program.input("in", 0, 0, 0, Port.WEST)
    pe = program.pes(A)
    start = program.label()
    pe.place(start)
    pe.mov(pe.zeros("x", 1), pe.recv(0))
    pe.jump(start)
    machine = Machine(program.link())
    for _ in range(40):
        machine.feed("in", np.zeros(50_000, np.float32))
        machine.run(max_cycles=machine.cycles + 1)
        kept = len(machine._asked or [])
    assert kept == 0 and machine._asked_words <= wse.machine.MOST_ASKED + 50_000 + wse.machine.CALL_WORDS


def test_an_operand_outside_sram_says_what_it_reaches():
    program = ProgramBuilder(SPEC, 1, 1)
    pe, at = program.pes(A), program.reg(Type.I32)
    y = pe.zeros("y", 8)
    pe.mov(at, 20_000, type=Type.I32)
    pe.mov(y[:2].shifted(at), 1.0)
    machine = Machine(program.link())
    with pytest.raises(FaultError, match="outside the PE's SRAM") as error:
        machine.check(machine.run())
    assert "'y' of 8 elements is reached at 20000 to 20001, moved by 20000 from r0" in error.value.notes


def test_a_control_wavelet_for_no_task_says_which():
    program = ProgramBuilder(SPEC, 2, 1)
    program.route(A, 5, Port.RAMP, [Port.EAST])
    program.route(B, 5, Port.WEST, [Port.RAMP])
    program.pes(A).send_control(5, task=9)
    program.pes(B).mov(program.reg(), 1.0)
    machine = Machine(program.link())
    with pytest.raises(FaultError) as error:
        machine.check(machine.run())
    assert any(note.endswith(", naming task 9") for note in error.value.notes)


def test_a_traceback_shows_notes_and_help():
    with pytest.raises(FaultError) as error:
        raise FaultError("wrong", notes=["kernel.py:3"], help="do it otherwise")
    assert error.value.__notes__ == ["  note: kernel.py:3", "  help: do it otherwise"]
    assert error.value.render().splitlines()[1:] == error.value.__notes__
