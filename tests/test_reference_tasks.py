"""Data tasks and completions on the reference machine, one rule a test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from reference.timing import F0, HERE, RAMP, W, advance, assert_first_in, builder, load

from wse.builder import Pes, ProgramBuilder
from wse.errors import ProgramError
from wse.isa import Done, Status, Type
from wse.machine import Machine
from wse.operands import Reg

PAYLOAD, SUM, COUNT = (Reg(number, Type.I32) for number in range(3))


def counting(main: Callable[[Pes], None] | None = None, **numbers: int) -> ProgramBuilder:
    """The host's wavelets, numbered 0, 1, …, each start task 2, which adds them up and counts them."""
    program = builder(**numbers)
    program.route(HERE, 0, W, [RAMP])
    program.input("in", 0, 0, 0, W)
    task = program.pes(HERE, 2)
    task.bind(0, PAYLOAD)
    task.add(SUM, SUM, PAYLOAD)
    task.add(COUNT, COUNT, 1)
    if main:
        main(program.pes(HERE))
    return program


@pytest.mark.parametrize("start", [0, 1, 5])
def test_picking_a_data_task_consumes_its_wavelet(start: int) -> None:
    """Sent to the ramp in 1, there in 3: picked in 3, first instruction after the start; each round takes 2 more cycles."""
    program = counting(task_start_cycles=start)
    assert_first_in(1 + 2 + start, program, lambda state: state["instructions"][0] == 1, **{"in": 5})
    machine = load(program, {"in": 5})
    assert machine.run() == Status.DONE
    assert machine.snapshot()["registers"][0, :3].tolist() == [4, 10, 5]
    assert machine.cycles == 3 + 5 * (start + 2)


def test_the_payload_is_in_the_register_from_the_pick_on() -> None:
    program = counting(task_start_cycles=4)
    machine = load(program)
    machine.feed("in", np.array([7], np.int32))
    assert advance(machine, 3)["registers"][0, 0] == 0
    assert advance(machine, 4)["registers"][0, 0] == 7


def test_a_data_task_waits_for_the_main_thread() -> None:
    """The main task adds until 9; picked in 10."""
    program = counting(lambda pe: pe.add(F0, F0, 1.0, shape=10))
    assert_first_in(10, program, lambda state: state["registers"][0, COUNT.number] == 0 and state["instructions"][0] == 2, **{"in": 1})


def test_the_lowest_task_goes_first_over_all_kinds() -> None:
    """Tasks 1 (activated), 2 (data) and 3 (activated) are all runnable in 10."""

    def main(pe: Pes) -> None:
        pe.activate(3)
        pe.activate(1)
        pe.add(F0, F0, 1.0, shape=8)
        for task in (1, 3):
            other = pe.program.pes(HERE, task)
            other.mov(Reg(20 + task, Type.I32), COUNT)

    machine = load(counting(main), {"in": 1})
    assert machine.run() == Status.DONE
    assert machine.snapshot()["registers"][0, [21, 23]].tolist() == [0, 1]


def test_block_and_unblock_hold_a_data_task() -> None:
    """Blocked at load, unblocked in 20: picked in 21; the queue keeps what came in."""

    def main(pe: Pes) -> None:
        pe.program.pes(HERE, 2).start_blocked(2)
        pe.add(F0, F0, 1.0, shape=20)
        pe.unblock(2)

    assert_first_in(21, counting(main), lambda state: state["instructions"][0] == 3, **{"in": 3})

    def never(pe: Pes) -> None:
        pe.program.pes(HERE, 2).start_blocked(2)

    machine = load(counting(never), {"in": 1})
    assert machine.run() == Status.DEADLOCK  # a wavelet waits for a blocked task
    machine = load(counting(never))
    assert machine.run() == Status.DONE


def test_a_task_without_instructions_takes_one_wavelet_a_cycle() -> None:
    program = builder()
    program.route(HERE, 0, W, [RAMP])
    program.input("in", 0, 0, 0, W)
    task = program.pes(HERE, 1)
    task.bind(0, PAYLOAD)
    task.place(program.label())
    machine = load(program, {"in": 6})
    assert [int(advance(machine, t)["registers"][0, 0]) for t in range(4, 10)] == list(range(6))


@pytest.mark.parametrize("thread", [0, 1])
@pytest.mark.parametrize("done", [Done.ACTIVATE, Done.UNBLOCK])
def test_completions_of_any_thread(thread: int, done: Done) -> None:
    """4 elements from 0: over in 3, so the task is picked in 4."""
    program = builder()
    pe = program.pes(HERE)
    task = program.pes(HERE, 1)
    task.mov(SUM, 1)
    if done is Done.UNBLOCK:
        task.start_blocked(1)
        pe.activate(1)
    pe.add(F0, F0, 1.0, shape=4, thread=thread, on_done=(done, 1))
    begins = 1 if done is Done.UNBLOCK else 0
    assert_first_in(begins + 4, program, lambda state: state["registers"][0, SUM.number])


def two_bindings(program: ProgramBuilder) -> None:
    other = program.pes(HERE, 3)
    other.bind(0, PAYLOAD)
    other.mov(SUM, 1)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (two_bindings, "color 0 is bound to task 2"),
        (lambda program: program.pes(HERE).mov(SUM, program.pes(HERE).recv(0)), "also receives it"),
        (lambda program: program.pes(HERE).activate(2), "bound to a color"),
        (lambda program: program.pes(HERE, 3).bind(1, PAYLOAD), "no code"),
        (lambda program: (program.pes(HERE, 3).bind(1, PAYLOAD), program.pes(HERE, 3).mov(SUM, 1)), "no route"),
    ],
)
def test_wrong_bindings_are_refused(write: Callable[[ProgramBuilder], None], words: str) -> None:
    program = counting()
    write(program)
    with pytest.raises(ProgramError, match=words) as error:
        Machine(program.link())
    assert any("test_reference_tasks.py" in note for note in error.value.notes)


def test_the_main_task_cannot_be_bound() -> None:
    with pytest.raises(ProgramError, match="main task"):
        builder().pes(HERE).bind(0, PAYLOAD)
