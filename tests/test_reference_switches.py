"""Switches, control wavelets and run-time routes on the reference machine, one rule a test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference.machine import ReferenceMachine
from reference.timing import HERE, RAMP, E, N, S, W, advance, assert_first_in, builder, load

from wse.builder import ProgramBuilder
from wse.errors import ProgramError
from wse.isa import Command, Fault, Pop, Status, Type, control_bits
from wse.program import Rect

ADVANCE, RESET, NONE = Command.ADVANCE, Command.RESET, Command.NONE
SECOND = Rect(1, 0, 1, 1)


def merge(positions: int = 2, **switch: Any) -> ProgramBuilder:
    """Position 0 passes what our core sends to the east, 1 what the host sends from the west, 2 what it sends from the north."""
    program = builder()
    program.switch(HERE, 0, [(RAMP, [E]), (W, [E]), (N, [E])][:positions], **switch)
    program.output("out", 0, 0, 0, E)
    for name, port in (("west", W), ("north", N))[: positions - 1]:
        program.input(name, 0, 0, 0, port)
    return program


def received(machine: ReferenceMachine) -> list[int]:
    return machine.snapshot()["out:out"].tolist()


def test_a_control_wavelet_is_laid_out_as_written() -> None:
    assert control_bits() == 0
    assert control_bits(ADVANCE, NONE, RESET, task=0) == 0b100001 | 1 << 16
    with pytest.raises(ValueError, match="at most 8"):
        control_bits(*[ADVANCE] * 9)


def test_wavelets_wait_in_the_fifo_of_a_port_that_is_not_served() -> None:
    """Nobody advances the switch: the west FIFO holds its depth and one under way, and no more leave the host."""
    program = merge()
    program.pes(HERE).mov(program.pes(HERE).send(0), 7, type=Type.I32)
    machine = load(program, {"west": 20})
    assert machine.run({"out": 2}) == Status.DEADLOCK
    assert received(machine) == [7]
    assert machine.snapshot()["sent"].tolist() == [1]


def test_a_passing_command_acts_from_the_next_cycle() -> None:
    """Sent in 0 and 1: the data leaves in 3, the control wavelet (it names a task, so it goes on) in 4, the first from the west in 5."""
    program = merge()
    pe = program.pes(HERE)
    pe.mov(pe.send(0), 7, type=Type.I32)
    pe.send_control(0, ADVANCE, task=3)
    assert_first_in(3, program, lambda state: state["sent"][0] == 1, west=2)
    assert_first_in(4, program, lambda state: state["switch_position"][0] == 1, west=2)
    assert_first_in(5, program, lambda state: state["sent"][0] == 3, west=2)
    machine = load(program, {"west": 2})
    assert machine.run({"out": 4}) == Status.DONE
    assert received(machine) == [7, control_bits(task=3), 0, 1]
    assert machine.snapshot()["out_cycle:out"].tolist() == [4, 5, 6, 7]
    assert machine.snapshot()["switch_sent"].tolist() == [[0, 4, 0, 0, 0]]


def test_a_spent_control_wavelet_takes_no_time() -> None:
    """The control wavelet could leave in 4; nothing is left of it, and in that cycle the west is served."""
    program = merge()
    pe = program.pes(HERE)
    pe.mov(pe.send(0), 7, type=Type.I32)
    pe.send_control(0, ADVANCE)
    assert_first_in(4, program, lambda state: state["switch_position"][0] == 1, west=2)
    assert_first_in(4, program, lambda state: state["sent"][0] == 2, west=2)
    machine = load(program, {"west": 2})
    assert machine.run({"out": 3}) == Status.DONE
    assert received(machine) == [7, 0, 1]
    assert machine.snapshot()["out_cycle:out"].tolist() == [4, 5, 6]


def test_a_fifo_gives_one_wavelet_a_cycle() -> None:
    """A spent wavelet that leaves its own FIFO served (here: no command at all) takes its cycle."""
    program = merge()
    pe = program.pes(HERE)
    pe.send_control(0)
    pe.mov(pe.send(0), pe.const("x", [1, 2], Type.I32), type=Type.I32)
    machine = load(program)
    machine.run({"out": 2})
    assert machine.snapshot()["out_cycle:out"].tolist() == [5, 6]
    program = merge(3)  # two spent in a row: one a cycle, the second with the wavelet from the north
    pe = program.pes(HERE)
    pe.send_control(0, ADVANCE)
    assert_first_in(3, program, lambda state: state["switch_position"][0] == 1, north=1)


@pytest.mark.parametrize(
    ("pop", "commands", "left"),
    [
        (Pop.ALWAYS, (ADVANCE, RESET), (RESET,)),
        (Pop.ALWAYS, (NONE, RESET), (RESET,)),
        (Pop.ON_ADVANCE, (ADVANCE, RESET), (RESET,)),
        (Pop.ON_ADVANCE, (RESET, ADVANCE), (RESET, ADVANCE)),
        (Pop.NEVER, (ADVANCE,), (ADVANCE,)),
    ],
)
def test_pop_modes(pop: Pop, commands: tuple[Command, ...], left: tuple[Command, ...]) -> None:
    program = merge(pop=pop)
    program.pes(HERE).send_control(0, *commands)
    machine = load(program)
    assert machine.run({"out": 1}) == Status.DONE
    assert received(machine) == [control_bits(*left)]


def test_each_switch_on_the_way_obeys_its_own_command() -> None:
    """Through three switches: the first advances, the second does nothing, the third advances; a plain route pops nothing."""
    program = builder(4)
    for x, positions in enumerate([[(RAMP, [E]), (N, [E])], [(W, [E]), (N, [E])], None, [(W, [E]), (N, [E])]]):
        here = Rect(x, 0, 1, 1)
        if positions is None:
            program.route(here, 0, W, [E])
            continue
        program.switch(here, 0, positions)
        program.input(f"n{x}", x, 0, 0, N)
    program.output("out", 3, 0, 0, E)
    program.pes(HERE).send_control(0, ADVANCE, NONE, ADVANCE, ADVANCE)
    machine = load(program)
    assert machine.run({"out": 1}) == Status.DONE
    assert machine.snapshot()["switch_position"].tolist() == [1, 0, 1]
    assert received(machine) == [control_bits(ADVANCE)]


def test_ring_mode_comes_back_to_the_first_position() -> None:
    """Two rounds of core, west: each side's control wavelets advance the switch of a ring."""
    program = builder(2)
    program.switch(HERE, 0, [(RAMP, [W]), (E, [W])], ring=True)
    program.route(SECOND, 0, RAMP, [W])
    program.output("out", 0, 0, 0, W)
    for rect, value in ((HERE, 1), (SECOND, 2)):
        pe = program.pes(rect)
        for _ in range(3):
            pe.mov(pe.send(0), value, type=Type.I32, shape=2)
            pe.send_control(0, ADVANCE)
    machine = load(program)
    assert machine.run() == Status.DONE
    assert received(machine) == [1, 1, 2, 2] * 3
    assert machine.snapshot()["switch_position"].tolist() == [0]


def test_reset_goes_to_the_first_position() -> None:
    program = merge(3, pop=Pop.ALWAYS)
    pe = program.pes(HERE)
    pe.send_control(0, ADVANCE)
    pe.send_control(0, RESET)
    machine = load(program, {"west": 2, "north": 1})
    assert machine.run({"out": 2}) == Status.DONE  # the core's second control wavelet is not served in position 1
    assert machine.run() == Status.DONE
    assert machine.snapshot()["switch_position"].tolist() == [1]

    program = builder(2)  # here the reset comes in behind the data it lets pass
    program.switch(HERE, 0, [(RAMP, [W]), (E, [W])])
    program.route(SECOND, 0, RAMP, [W])
    program.output("out", 0, 0, 0, W)
    first, second = program.pes(HERE), program.pes(SECOND)
    first.send_control(0, ADVANCE)
    first.mov(first.send(0), 1, type=Type.I32)
    second.mov(second.send(0), 2, type=Type.I32)
    second.send_control(0, RESET)
    machine = load(program)
    assert machine.run() == Status.DONE
    assert received(machine) == [2, 1]


def test_advancing_past_the_last_position_is_a_fault() -> None:
    program = merge()
    pe = program.pes(HERE)
    pe.send_control(0, ADVANCE, task=1)
    machine = load(program, {"west": 1})
    assert machine.run() == Status.DONE

    program = builder(2)
    program.switch(SECOND, 0, [(W, [E])])
    program.route(HERE, 0, RAMP, [E])
    program.output("out", 1, 0, 0, E)
    pe = program.pes(HERE)
    pe.mov(pe.send(0), 1, type=Type.I32)
    pe.send_control(0, ADVANCE)
    machine = ReferenceMachine(program.link())
    assert machine.run() == Status.FAULT
    assert machine.fault == (Fault.SWITCH_PAST_END, 1, 5)  # sent in 1, leaves PE 0 in 4, is next at PE 1 in 5
    assert machine.fault_color == 0
    assert machine.cycles == 6


def test_multicast_copies_a_control_wavelet() -> None:
    """It takes the room of every destination, and each gets what is left after the pop."""
    program = builder(2)
    program.switch(HERE, 0, [(RAMP, [W, E]), (W, [E])], ring=True)
    program.input("in", 0, 0, 0, W)
    program.route(SECOND, 0, W, [E])
    program.output("west", 0, 0, 0, W)
    program.output("out", 1, 0, 0, E)
    program.pes(HERE).send_control(0, RESET, ADVANCE)
    machine = load(program)
    assert machine.run({"out": 1, "west": 1}) == Status.DONE
    assert machine.snapshot()["out:west"].tolist() == received(machine) == [control_bits(ADVANCE)]


# --- control wavelets at a core --------------------------------------------------------------------------------


def named(task: int = 1, task_start: int = 0) -> ProgramBuilder:
    """The first PE sends data, control, data to the second, whose main task receives two."""
    program = builder(2, task_start_cycles=task_start)
    program.route(HERE, 0, RAMP, [E])
    program.route(SECOND, 0, W, [RAMP])
    first, second = program.pes(HERE), program.pes(SECOND)
    first.mov(first.send(0), 1.0)
    first.send_control(0, task=task)
    first.mov(first.send(0), 2.0)
    second.mov(second.zeros("y", 2), second.recv(0), thread=1)
    program.pes(SECOND, 1).mov(program.reg(), 5.0)
    return program


@pytest.mark.parametrize("task_start", [0, 3])
def test_a_control_wavelet_activates_the_task_it_names(task_start: int) -> None:
    """The data is consumed in 6, the control wavelet taken in 7, so its task is picked in 8; the second datum is consumed in 8 too."""
    program = named(task_start=task_start)
    assert_first_in(6, program, lambda state: state["sram"].view(np.float32)[0])
    assert_first_in(8 + task_start, program, lambda state: state["instructions"][1] == 2)
    late = 9 if task_start == 0 else 8  # with no start-up the task's own beat comes first in 8
    assert_first_in(late, program, lambda state: state["sram"].view(np.float32)[1])
    machine = load(program)
    assert machine.run() == Status.DONE
    assert machine.snapshot()["sram"].view(np.float32).tolist() == [1, 2]


def test_a_control_wavelet_waits_behind_data_that_nobody_takes() -> None:
    program = builder(2)
    program.route(HERE, 0, RAMP, [E])
    program.route(SECOND, 0, W, [RAMP])
    first = program.pes(HERE)
    first.mov(first.send(0), 1.0)
    first.send_control(0, task=1)
    program.pes(SECOND).mov(program.reg(), 1.0)
    program.pes(SECOND, 1).mov(program.reg(), 5.0)
    machine = load(program)
    assert machine.run() == Status.DONE  # nothing can move, and every program has ended
    assert machine.snapshot()["instructions"][1] == 1


def test_naming_a_task_without_code_is_a_fault() -> None:
    machine = load(named(task=7))
    assert machine.run() == Status.FAULT
    assert machine.fault == (Fault.BAD_TASK, 1, 7)
    assert machine.fault_color == 0


def test_a_reactive_program_ends_when_nothing_can_move() -> None:
    """Both programs have ended in 4, but the wavelets under way still wake the second core: over after its last beat, in 9."""
    program = named()
    machine = load(program)
    assert machine.run() == Status.DONE
    assert machine.cycles == 10
    parts = load(program)
    for cycle in range(10):
        assert parts.run(max_cycles=cycle) == Status.LIMIT
    assert parts.run() == Status.DONE
    assert parts.cycles == 10
    assert all(np.array_equal(state, machine.snapshot()[name]) for name, state in parts.snapshot().items())


# --- run-time routes -------------------------------------------------------------------------------------------


def turned(**how: Any) -> ProgramBuilder:
    """A plain route from the west to the east, which the core turns: from the north, or to the south."""
    program = builder(**how)
    program.route(HERE, 0, W, [E])
    for name, port in (("west", W), ("north", N)):
        program.input(name, 0, 0, 0, port)
    program.output("east", 0, 0, 0, E)
    return program


@pytest.mark.parametrize("control", [1, 4])
def test_a_rewritten_route_counts_from_the_next_cycle(control: int) -> None:
    """Issued in `control` (after a first control instruction): the west is served up to then, the north from then on."""
    program = turned(control_cycles=control)
    pe = program.pes(HERE)
    pe.block(1)
    pe.reroute(0, N, [E])
    machine = load(program, {"west": 20, "north": 20})
    machine.run({"east": 20})
    first = control  # the last cycle in which the west is served; it can leave from 1 on
    assert machine.snapshot()["out:east"].tolist() == list(range(first)) + list(range(20 - first))
    assert machine.snapshot()["out_cycle:east"].tolist() == list(range(2, 22))


def test_a_rewritten_exit() -> None:
    program = turned()
    program.output("south", 0, 0, 0, S)
    pe = program.pes(HERE)
    pe.reroute(0, N, [E, S])
    machine = load(program, {"north": 3})
    assert machine.run({"east": 3, "south": 3}) == Status.DONE
    assert machine.snapshot()["switch_sent"].tolist() == [[0, 3, 3, 0, 0]]


def test_a_position_that_is_not_current_can_be_rewritten() -> None:
    program = merge()
    program.input("north", 0, 0, 0, N)
    pe = program.pes(HERE)
    pe.reroute(0, N, [E], position=1)
    pe.send_control(0, ADVANCE)
    machine = load(program, {"west": 2, "north": 2})
    assert machine.run({"out": 2}) == Status.DONE
    assert machine.snapshot()["switch_position"].tolist() == [1]
    assert machine.snapshot()["wait"].tolist() == [(4 - 1) + (5 - 2)]


def test_what_the_builder_and_verify_refuse() -> None:
    program = builder()
    with pytest.raises(ProgramError, match="1 to 4 positions"):
        program.switch(HERE, 0, [(RAMP, [E])] * 5)
    program.switch(HERE, 0, [(RAMP, [E]), (W, [E])])
    with pytest.raises(ProgramError, match="already has another route"):
        program.route(HERE, 0, RAMP, [E])
    program.pes(HERE).reroute(1, W, [E])
    with pytest.raises(ProgramError, match="rewrites color 1, which has no route there") as error:
        program.link()
    assert any("test_reference_switches.py" in note for note in error.value.notes)


# --- star reduce -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num", [1, 2, 3, 17])
@pytest.mark.parametrize("num_pes", [2, 3, 4, 5, 9, 16])
def test_star_reduce_on_one_color_takes_its_closed_form(num_pes: int, num: int) -> None:
    """B (P - 1) + 2T + 1 cycles (arXiv 2404.15888), within one: each PE sends its vector, then lets pass what comes from behind."""
    program = builder(num_pes)
    program.route(HERE, 0, E, [RAMP])
    program.switch(Rect(1, 0, max(0, num_pes - 2), 1), 0, [(RAMP, [W]), (E, [W])])
    program.route(Rect(num_pes - 1, 0, 1, 1), 0, RAMP, [W])
    for x in range(num_pes):
        pe = program.pes(Rect(x, 0, 1, 1))
        mine = pe.const("mine", np.arange(num) + x)
        if x == 0:
            pe.add(mine, mine, pe.recv(0), shape=(num_pes - 1, num))
            continue
        pe.mov(pe.send(0), mine)
        if x < num_pes - 1:
            pe.send_control(0, ADVANCE)
    machine = load(program)
    assert machine.run() == Status.DONE
    assert abs(machine.cycles - (num * (num_pes - 1) + 2 * 2 + 1)) <= 1
    total = num_pes * np.arange(num) + num_pes * (num_pes - 1) // 2
    assert machine.snapshot()["sram"].view(np.float32)[:num].tolist() == total.tolist()
    assert advance(load(program), 10**6)["sent"][0] == num * (num_pes - 1)
