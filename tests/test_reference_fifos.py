"""FIFOs in SRAM on the reference machine, one rule a test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from reference.timing import F0, F1, HERE, RAMP, E, W, advance, assert_first_in, builder, load, on_one_pe

from wse.builder import Pes, ProgramBuilder
from wse.errors import ProgramError
from wse.isa import OpClass, Status, Type
from wse.machine import Machine
from wse.operands import Fifo, Reg
from wse.program import Rect
from wse.store import load as load_program
from wse.store import save


def test_elements_come_out_in_order_and_wrap_around() -> None:
    """3 slots, 3 rounds of 2: element k is stored at slot k mod 3."""

    def code(pe: Pes) -> None:
        q = pe.fifo("q", 3)
        x, y = pe.const("x", [1, 2, 3, 4, 5, 6]), pe.zeros("y", 6)
        for i in (0, 2, 4):
            pe.mov(pe.push(q), x[i : i + 2])
            pe.add(y[i : i + 2], pe.pop(q), 10.0)

    machine = load(on_one_pe(code))
    assert machine.run() == Status.DONE
    state = machine.snapshot()
    assert state["sram"].view(np.float32).tolist() == [4, 5, 6, 1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]
    assert state["fifo_count"].tolist() == [0]
    assert state["sram_read_bytes"][0] == 4 * (6 + 6)
    assert state["sram_write_bytes"][0] == 4 * (6 + 6)


def test_an_f16_fifo_rounds_what_is_pushed() -> None:
    def code(pe: Pes) -> None:
        q = pe.fifo("q", 4, Type.F16)
        pe.mov(pe.push(q), 1 + 2.0**-12)
        pe.mov(F0, pe.pop(q))

    machine = load(on_one_pe(code))
    assert machine.run() == Status.DONE
    assert machine.snapshot()["registers"].view(np.float32)[0, F0.number] == 1
    assert machine.snapshot()["sram_read_bytes"][0] == 2


def producer_and_consumer(capacity: int, num: int = 6, **numbers: int) -> ProgramBuilder:
    """A microthread pushes a counter's values; the main thread pops them, later."""
    program = builder(**{"move_lanes": 1, **numbers})
    pe = program.pes(HERE)
    q = pe.fifo("q", capacity)
    pe.mov(pe.push(q), pe.const("x", np.arange(num)), thread=1)
    pe.mov(pe.zeros("y", num), pe.pop(q))
    return program


def test_an_element_pushed_in_t_can_be_popped_in_the_next_cycle() -> None:
    """Pushes in 0, 2, 4 …; the first pop in 1, when there is an element, then in turns."""
    program = producer_and_consumer(8)
    assert advance(load(program), 1)["fifo_count"].tolist() == [1]
    assert advance(load(program), 2)["fifo_count"].tolist() == [0]
    machine = load(program)
    assert machine.run() == Status.DONE
    assert machine.cycles == 12


def test_a_full_fifo_holds_up_the_push() -> None:
    program = builder(move_lanes=1)
    pe = program.pes(HERE)
    pe.mov(pe.push(pe.fifo("q", 3)), pe.zeros("x", 5))
    machine = load(program)
    assert machine.run() == Status.DEADLOCK
    assert machine.cycles == 3
    assert machine.snapshot()["busy"][0, OpClass.MOVE] == 3


@pytest.mark.parametrize(("pops_first", "stalls"), [(True, [1, 2, 0, 0]), (False, [1, 0, 1, 0])])
def test_waits_for_elements_and_room_are_stalls(pops_first: bool, stalls: list[int]) -> None:
    """Wavelets are there from 3 on. The main thread pops what comes in, or pushes two into a FIFO of one that is emptied as they come."""
    program = builder()
    program.route(HERE, 0, W, [RAMP])
    program.input("in", 0, 0, 0, W)
    pe = program.pes(HERE)
    q = pe.fifo("q", 1)
    if pops_first:
        pe.mov(pe.push(q), pe.recv(0), shape=2, thread=1)
        pe.mov(pe.zeros("y", 2), pe.pop(q))
    else:
        pe.add(pe.zeros("y", 2), pe.pop(q), pe.recv(0), thread=1)
        pe.mov(pe.push(q), 1.0, shape=2)
    machine = load(program, {"in": 2})
    assert machine.run() == Status.DONE
    assert machine.snapshot()["stall"][0].tolist() == stalls


@pytest.mark.parametrize(("lanes", "capacity", "beats"), [(4, 8, 2), (4, 3, 3), (4, 1, 7), (1, 8, 7)])
def test_a_beat_handles_at_most_the_capacity(lanes: int, capacity: int, beats: int) -> None:
    """7 elements through a FIFO that is emptied after every beat."""
    program = builder(move_lanes=lanes)
    pe = program.pes(HERE)
    q = pe.fifo("q", capacity)
    pe.mov(pe.push(q), pe.zeros("x", 7), thread=1)
    pe.mov(pe.zeros("y", 7), pe.pop(q), thread=2)
    machine = load(program)
    assert machine.run() == Status.DONE
    assert machine.snapshot()["busy"][0, OpClass.MOVE] == 2 * beats


def test_a_beat_waits_for_all_its_elements() -> None:
    """One by one from the fabric into the FIFO, four at a time out of it: the first beat out starts after the fourth push."""
    program = builder(move_lanes=4)
    program.route(HERE, 0, W, [RAMP])
    program.input("in", 0, 0, 0, W)
    pe = program.pes(HERE)
    q = pe.fifo("q", 8)
    pe.mov(pe.push(q), pe.recv(0), shape=4, thread=1)
    pe.mov(pe.zeros("y", 4), pe.pop(q))
    assert advance(load(program, {"in": 4}), 7)["fifo_count"].tolist() == [4]  # pushed in 3, 4, 5, 6
    assert advance(load(program, {"in": 4}), 8)["fifo_count"].tolist() == [0]


def test_a_push_activates_a_task() -> None:
    """Pushed in 0 (a beat of 2 cycles): the task is picked in 1 and its first beat waits for the datapath, until 2."""

    def code(pe: Pes) -> None:
        q = pe.fifo("q", 4, on_push=1, on_pop=2)
        pe.mov(pe.push(q), 7.0, thread=1)
        task = pe.program.pes(HERE, 1)
        task.mov(F0, task.pop(q))
        pe.program.pes(HERE, 2).mov(F1, 1.0)

    program = on_one_pe(code, move_cycles=2)
    assert_first_in(1, program, lambda state: state["instructions"][0] == 2)
    assert_first_in(2, program, lambda state: state["registers"].view(np.float32)[0, F0.number] == 7)
    assert_first_in(4, program, lambda state: state["registers"].view(np.float32)[0, F1.number] == 1)


def test_a_fifo_decouples_a_receiver_from_its_consumer() -> None:
    """A stream from the neighbour is taken in while the core adds; without the FIFO the queue fills and the sender waits."""

    def sender_busy_until(buffered: bool) -> int:
        program = builder(2)
        program.route(HERE, 0, RAMP, [E])
        program.route(Rect(1, 0, 1, 1), 0, W, [RAMP])
        first, second = program.pes(HERE), program.pes(Rect(1, 0, 1, 1))
        first.mov(first.send(0), first.zeros("x", 40))
        source = second.recv(0)
        if buffered:
            q = second.fifo("q", 40)
            second.mov(second.push(q), second.recv(0), shape=40, thread=1)
            source = second.pop(q)
        second.add(F0, F0, 1.0, shape=100)
        second.mov(second.zeros("y", 40), source)
        machine = load(program)
        for cycle in range(400):
            if advance(machine, cycle)["busy"][0, OpClass.MOVE] == 40:
                return cycle
        raise AssertionError("never")

    assert sender_busy_until(buffered=True) < 60
    assert sender_busy_until(buffered=False) > 100


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda pe, q: pe.fmac(pe.push(q), 1.0, 2.0), "accumulates"),
        (lambda pe, q: pe.add(F0, pe.pop(q), pe.pop(q)), "both sources pop 'q'"),
        (lambda pe, q: pe.mov(pe.pop(q), 1.0), "a destination cannot be"),
        (lambda pe, q: pe.add(pe.push(q), 1, 2, type=Type.I32), "'q' is F32"),
        (lambda pe, q: pe.fifo("r", 0), "capacity of 0"),
        (lambda pe, q: (pe.fifo("r", 1, on_push=3), Machine(pe.program.link())), "activates task 3, which has no code"),
        (lambda pe, q: (pe.mov(F0, pe.pop(Fifo("x", Type.F32))), pe.program.link()), "no FIFO 'x'"),
    ],
)
def test_impossible_fifos_are_refused(write: Callable[[Pes, Fifo], None], words: str) -> None:
    pe = builder().pes(HERE)
    with pytest.raises(ProgramError, match=words) as error:
        write(pe, pe.fifo("q", 4))
    assert any("test_reference_fifos.py" in note for note in error.value.notes)


def test_a_program_with_fifos_bindings_and_switches_survives_the_file(tmp_path) -> None:
    program = builder(2)
    program.switch(HERE, 0, [(RAMP, [E]), (W, [E])])
    program.input("in", 0, 0, 0, W)
    program.route(Rect(1, 0, 1, 1), 0, W, [RAMP])
    pe = program.pes(HERE)
    pe.mov(pe.send(0), 3.0)
    pe.send_control(0, 1)
    second = program.pes(Rect(1, 0, 1, 1), 1)
    second.bind(0, Reg(3))
    second.mov(second.push(second.fifo("q", 5)), Reg(3))
    linked = program.link()
    save(linked, tmp_path / "p.npz")
    again = load_program(tmp_path / "p.npz")
    assert again.classes == linked.classes
    machines = [load(each, {"in": 4}) for each in (linked, again)]
    assert [machine.run() for machine in machines] == [Status.DONE] * 2
    first, second_state = (machine.snapshot() for machine in machines)
    assert all(np.array_equal(state, second_state[name]) for name, state in first.items())
    assert first["fifo_count"].tolist() == [5]
