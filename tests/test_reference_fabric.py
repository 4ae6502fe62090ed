"""The reference machine's fabric, one rule of design section 2.2 a test: hops, ramps, queues, multicast, arbitration."""

from __future__ import annotations

import numpy as np
import pytest
from reference.timing import F0, HERE, RAMP, E, N, W, assert_first_in, builder, load, receiver, sender

from wse.builder import ProgramBuilder
from wse.isa import OpClass, Port, Status
from wse.program import Rect


def pipe(num_pes: int, **numbers: int) -> ProgramBuilder:
    """Host -> west to east through all PEs -> host, without cores."""
    program = builder(num_pes, **numbers)
    program.route(Rect(0, 0, num_pes, 1), 0, W, [E])
    program.input("in", 0, 0, 0, W)
    program.output("out", num_pes - 1, 0, 0, E)
    return program


@pytest.mark.parametrize("hop", [1, 2, 3])
@pytest.mark.parametrize("pe", [0, 1, 2])
def test_hop(pe: int, hop: int) -> None:
    """Sent by the host in 0; each router sends it on `hop_cycles` after the one before; the host has it a hop later."""
    assert_first_in(hop * (pe + 1), pipe(3, hop_cycles=hop), lambda state: state["sent"][pe] == 1, **{"in": 1})
    machine = load(pipe(3, hop_cycles=hop), {"in": 1})
    assert machine.run({"out": 1}) == Status.DONE
    assert machine.cycles == machine.snapshot()["out_cycle:out"][0] == 4 * hop


@pytest.mark.parametrize("hop", [1, 2, 3])
def test_any_depth_sustains_one_wavelet_per_cycle(hop: int) -> None:
    machine = load(pipe(4, hop_cycles=hop, router_queue_depth=1), {"in": 20})
    machine.run({"out": 20})
    assert machine.snapshot()["out_cycle:out"].tolist() == list(range(5 * hop, 5 * hop + 20))


@pytest.mark.parametrize("ramp_in", [1, 2, 4])
def test_ramp_in(ramp_in: int) -> None:
    """Sent to RAMP in 1, consumed in 1 + `ramp_in_cycles`; then one a cycle, at any depth."""
    program = receiver(ramp_in_cycles=ramp_in, input_queue_depth=1)
    assert_first_in(1 + ramp_in, program, lambda state: state["busy"][0, OpClass.MOVE], **{"in": 20})
    machine = load(program, {"in": 20})
    assert machine.run() == Status.DONE
    assert machine.cycles == 1 + ramp_in + 20


@pytest.mark.parametrize(("ramp_out", "move", "leaves"), [(0, 1, 1), (2, 1, 3), (4, 1, 5), (2, 3, 5)])
def test_ramp_out(ramp_out: int, move: int, leaves: int) -> None:
    """Executed in t (the last cycle of its beat), it leaves in t + 1 + `ramp_out_cycles`."""
    program = sender(ramp_out_cycles=ramp_out, move_cycles=move)
    assert_first_in(leaves, program, lambda state: state["sent"][0] == 1)


def test_output_queue_adds_to_the_routers_fifo() -> None:
    """The neighbour's core never receives: what is sent fills its queue, its FIFO and our FIFO."""
    program = builder(2, router_queue_depth=2, output_queue_depth=3, ramp_out_cycles=1, input_queue_depth=1, ramp_in_cycles=2)
    program.route(HERE, 0, RAMP, [E])
    program.route(Rect(1, 0, 1, 1), 0, W, [RAMP])
    pe = program.pes(HERE)
    pe.mov(pe.send(0), pe.zeros("x", 50))
    program.pes(Rect(1, 0, 1, 1)).mov(F0, 1.0)
    machine = load(program)
    assert machine.run() == Status.DEADLOCK
    state = machine.snapshot()
    core_queue, link_fifo, ramp_fifo = 1 + 2, 2 + 1, 2 + 3 + 1 + 1
    assert state["sent"].tolist() == [core_queue + link_fifo, core_queue]
    assert state["busy"][0, OpClass.MOVE] == core_queue + link_fifo + ramp_fifo


def test_multicast_goes_everywhere_or_nowhere() -> None:
    """A core that does not receive holds up the branch to the host as soon as its queue is full."""
    program = builder(input_queue_depth=3, ramp_in_cycles=2)
    program.route(HERE, 0, W, [RAMP, E])
    program.input("in", 0, 0, 0, W)
    program.output("out", 0, 0, 0, E)
    program.pes(HERE).mov(F0, 1.0)
    machine = load(program, {"in": 20})
    assert machine.run({"out": 20}) == Status.DEADLOCK
    assert len(machine.snapshot()["out:out"]) == machine.snapshot()["sent"][0] == 3 + 2


def crossing(tx_of_low: list[Port]) -> ProgramBuilder:
    """Colors 3 (from the west) and 5 (from the north) in one router, both going east."""
    program = builder(input_queue_depth=1, ramp_in_cycles=1)
    program.route(HERE, 3, W, tx_of_low)
    program.route(HERE, 5, N, [E])
    for color, port in ((3, W), (5, N)):
        program.input(f"in{color}", 0, 0, color, port)
        program.output(f"out{color}", 0, 0, color, E)
    program.pes(HERE).mov(F0, 1.0)
    return program


def test_arbitration_is_first_come_first_served() -> None:
    """Wavelets that arrive in the same cycles alternate, the lower color first; neither color starves the other."""
    machine = load(crossing([E]), {"in3": 4, "in5": 4})
    machine.run({"out3": 4, "out5": 4})
    state = machine.snapshot()
    assert state["out_cycle:out3"].tolist() == [2, 4, 6, 8]
    assert state["out_cycle:out5"].tolist() == [3, 5, 7, 9]
    assert state["wait"].tolist() == [0 + 1 + 2 + 3, 1 + 2 + 3 + 4]


def test_arbitration_goes_by_arrival_before_color() -> None:
    machine = load(crossing([E]), {"in5": 3})
    assert machine.run({"out3": 1}, max_cycles=1) == Status.LIMIT
    machine.feed("in3", np.arange(2, dtype=np.int32))  # arrive in 2 and 3, those of color 5 in 1, 2, 3
    machine.run({"out3": 2, "out5": 3})
    assert machine.snapshot()["out_cycle:out5"].tolist() == [2, 4, 6]
    assert machine.snapshot()["out_cycle:out3"].tolist() == [3, 5]


def test_a_color_without_room_reserves_nothing() -> None:
    """Color 3 also goes to a core queue of 2; once that is full it no longer competes for the east port."""
    machine = load(crossing([RAMP, E]), {"in3": 6, "in5": 6})
    assert machine.run({"out3": 6, "out5": 6}) == Status.DEADLOCK
    assert machine.snapshot()["out_cycle:out3"].tolist() == [2, 4]
    assert machine.snapshot()["out_cycle:out5"].tolist() == [3, 5, 6, 7, 8, 9]


def test_a_slot_freed_in_t_is_refilled_in_the_next_cycle() -> None:
    """All is full when the core takes the first wavelet in 30: its router sends in 31."""
    program = receiver(start=30, router_queue_depth=1, input_queue_depth=1)
    core_queue = 1 + 2
    assert_first_in(30, program, lambda state: state["busy"][0, OpClass.MOVE] == 1, **{"in": 20})
    assert_first_in(31, program, lambda state: state["sent"][0] == core_queue + 1, **{"in": 20})


def test_an_input_fed_between_runs_streams_from_the_current_cycle() -> None:
    machine = load(pipe(1))
    assert machine.run({"out": 1}, max_cycles=7) == Status.DEADLOCK  # nothing to do, ever
    assert machine.cycles == 0
    machine.feed("in", np.arange(3, dtype=np.int32))
    assert machine.run({"out": 2}) == Status.DONE
    assert machine.cycles == 3
    assert machine.snapshot()["out:out"].tolist() == [0, 1]
    assert machine.run({"out": 1}) == Status.DONE
    assert machine.cycles == 4
    assert machine.snapshot()["out_cycle:out"].tolist() == [2, 3, 4]
