"""The reference machine's core, one rule a test: operations, threads, branches, when tasks start."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from reference.timing import F0, F1, HERE, RAMP, W, advance, assert_first_in, builder, load, on_one_pe, receiver

from wse.builder import Pes, ProgramBuilder
from wse.isa import Done, Status, Type
from wse.operands import Reg


def cycles_of(code: Callable[[Pes], None], **numbers: int) -> int:
    machine = load(on_one_pe(code, **numbers))
    assert machine.run() == Status.DONE
    return machine.cycles


@pytest.mark.parametrize(
    ("issue", "lanes", "beat", "cycles"), [(1, 1, 1, 7), (3, 1, 1, 9), (1, 3, 1, 3), (1, 2, 3, 12), (2, 4, 2, 5)]
)
def test_vector_operation(issue: int, lanes: int, beat: int, cycles: int) -> None:
    """ceil(7 / lanes) beats of `beat` cycles, after `issue_cycles` - 1."""
    numbers = {"issue_cycles": issue, "add_lanes": lanes, "add_cycles": beat}
    assert cycles_of(lambda pe: pe.add(pe.zeros("y", 7), 1.0, 2.0), **numbers) == cycles


@pytest.mark.parametrize("issue", [1, 2, 3])
def test_zero_elements_take_the_issue_only(issue: int) -> None:
    assert cycles_of(lambda pe: pe.add(pe.zeros("y", 0), 1.0, 2.0), issue_cycles=issue) == issue


@pytest.mark.parametrize(("map_step", "lanes", "cycles"), [(0, 1, 12), (1, 1, 15), (2, 1, 18), (2, 4, 9), (2, 3, 12)])
def test_map_step(map_step: int, lanes: int, cycles: int) -> None:
    """3 outer steps of 4 elements: `map_step_cycles` before each, and beats that do not run across steps."""
    numbers = {"map_step_cycles": map_step, "add_lanes": lanes}
    assert cycles_of(lambda pe: pe.add(pe.zeros("y", (3, 4)), 1.0, 2.0, mapped=True), **numbers) == cycles


def test_a_held_wavelet_serves_one_outer_step() -> None:
    """y += A x with one wavelet per column of A."""
    program = builder()
    program.route(HERE, 0, W, [RAMP])
    program.input("x", 0, 0, 0, W)
    pe = program.pes(HERE)
    a = pe.const("a", [[1, 2, 3], [10, 20, 30]])
    pe.fmac(pe.zeros("y", 3), a, pe.recv(0, held=True), shape=(2, 3), mapped=True)
    machine = load(program)
    machine.feed("x", np.array([2, 1], np.float32))
    assert machine.run() == Status.DONE
    assert machine.snapshot()["sram"].view(np.float32)[6:9].tolist() == [12, 24, 36]
    assert machine.snapshot()["sent"][0] == 2


def test_special_functions_are_one_element_a_beat() -> None:
    assert cycles_of(lambda pe: pe.exp(pe.zeros("y", 3), 1.0), special_cycles=5, fma_lanes=4) == 15


def test_threads_take_turns() -> None:
    """Two microthreads from 0 and 1 on: 1, then 2, 1, 2, …"""

    def code(pe: Pes) -> None:
        pe.add(F0, F0, 1.0, shape=4, thread=1)
        pe.add(F1, F1, 1.0, shape=4, thread=2)

    machine = load(on_one_pe(code))
    seen = [advance(machine, t)["registers"].view(np.float32)[0, 10:12].tolist() for t in range(1, 9)]
    assert seen == [[1, 0], [1, 1], [2, 1], [2, 2], [3, 2], [3, 3], [4, 3], [4, 4]]


def test_a_thread_that_waits_does_not_hold_up_the_others() -> None:
    program = receiver(num=3)
    pe = program.pes(HERE, task=1)
    pe.add(F0, F0, 1.0, shape=2)
    pe = program.pes(HERE)
    pe.mov(F1, 1.0)
    machine = load(program)
    assert machine.run() == Status.DEADLOCK  # the main thread does wait: nothing was fed
    assert machine.snapshot()["instructions"][0] == 1

    def code(pe: Pes) -> None:
        pe.program.route(HERE, 0, W, [RAMP])
        pe.program.input("in", 0, 0, 0, W)
        pe.mov(F0, pe.recv(0), thread=1)
        pe.mov(F1, 1.0)

    machine = load(on_one_pe(code))
    assert machine.run() == Status.DEADLOCK
    assert machine.cycles == 2
    assert machine.snapshot()["registers"].view(np.float32)[0, 10:12].tolist() == [0, 1]


def test_a_busy_microthread_delays_the_next_issue_to_it() -> None:
    """4 elements from 0, the second operation issues in 4."""

    def code(pe: Pes) -> None:
        pe.add(F0, F0, 1.0, shape=4, thread=1)
        pe.add(F1, F1, 1.0, thread=1)

    assert_first_in(4, on_one_pe(code), lambda state: state["instructions"][0] == 2)
    assert_first_in(4, on_one_pe(code), lambda state: state["registers"][0, 11])


def test_instructions_follow_without_a_gap() -> None:
    def code(pe: Pes) -> None:
        pe.add(F0, F0, 1.0, shape=3)
        pe.add(F1, F1, 1.0, shape=2)

    assert cycles_of(code) == 5
    assert cycles_of(code, issue_cycles=2) == 7


def test_control_and_branches_take_their_own_time() -> None:
    numbers = {"control_cycles": 4, "branch_taken_cycles": 5, "branch_not_taken_cycles": 2}
    assert cycles_of(lambda pe: pe.block(1), **numbers) == 4

    def loop(pe: Pes) -> None:
        with pe.loop(3):
            pe.block(1)

    assert cycles_of(loop, **numbers) == 1 + 3 * (4 + 1) + 2 * 5 + 2


def tasks(main: Callable[[Pes], None], **numbers: int) -> ProgramBuilder:
    """Tasks 1 and 2 leave 1.0 in a register."""
    program = on_one_pe(main, **numbers)
    program.pes(HERE, 1).mov(F0, 1.0)
    program.pes(HERE, 2).mov(F1, 1.0)
    return program


@pytest.mark.parametrize("start", [0, 1, 5])
def test_task_start(start: int) -> None:
    """Activated in 0 and 1, picked in 2: the lowest first, each after `task_start_cycles`; the first task starts at once."""

    def main(pe: Pes) -> None:
        pe.activate(2)
        pe.activate(1)

    program = tasks(main, task_start_cycles=start)
    assert_first_in(2 + start, program, lambda state: state["registers"][0, 10])
    assert_first_in(2 + start + 1 + start, program, lambda state: state["registers"][0, 11])


@pytest.mark.parametrize(("size", "last"), [(3, 2), (0, 0)])
def test_completion_acts_at_the_end_of_the_last_cycle(size: int, last: int) -> None:
    """A microthread's operation of 3 elements ends in 2, and the task it activates is picked in 3."""

    def main(pe: Pes) -> None:
        pe.add(F1, F1, 1.0, shape=size, thread=1, on_done=(Done.ACTIVATE, 1))

    assert_first_in(last + 1, tasks(main), lambda state: state["registers"][0, 10])


def test_a_blocked_task_waits_for_unblock() -> None:
    def main(pe: Pes) -> None:
        pe.start_blocked(1)
        pe.activate(1)
        pe.add(F1, F1, 1.0, shape=5, thread=1, on_done=(Done.UNBLOCK, 1))

    assert_first_in(6, tasks(main), lambda state: state["registers"][0, 10])


def test_a_blocked_task_is_not_the_end_of_a_program() -> None:
    def main(pe: Pes) -> None:
        pe.start_blocked(1)
        pe.activate(1)

    machine = load(tasks(main))
    assert machine.run() == Status.DEADLOCK
    assert machine.cycles == 1


def test_extents_and_offsets_are_read_at_issue() -> None:
    """Issued in 2 with extent 2 and offset 1; what happens to the registers while it runs changes nothing."""
    extent, offset = Reg(0, Type.I32), Reg(1, Type.I32)

    def code(pe: Pes) -> None:
        y = pe.zeros("y", 8)
        pe.mov(extent, 2)
        pe.mov(offset, 1)
        pe.mov(y.strided((extent,), (1,)).shifted(offset), 1.0, shape=extent, thread=1)
        pe.mov(extent, 7)
        pe.mov(offset, 5)

    machine = load(on_one_pe(code, move_lanes=1))
    assert machine.run() == Status.DONE
    assert machine.snapshot()["sram"].view(np.float32).tolist() == [0, 1, 1, 0, 0, 0, 0, 0]


def test_elements_of_a_beat_follow_one_another() -> None:
    """y[i + 1] += y[i]: each element sees the one before it, in one beat of 4 lanes."""

    def code(pe: Pes) -> None:
        y = pe.const("y", [1, 1, 1, 1, 1])
        pe.add(y[1:], y[1:], y[:-1])

    machine = load(on_one_pe(code, add_lanes=4))
    assert machine.run() == Status.DONE
    assert machine.cycles == 1
    assert machine.snapshot()["sram"].view(np.float32).tolist() == [1, 2, 3, 4, 5]
