"""The reference machine against the specification, one rule a test: not in cycle n-1, in cycle n."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from reference.arithmetic import bits_of_f32, compute
from reference.timing import F0, F1, HERE, RAMP, E, N, W, advance, assert_first_in, builder, load, on_one_pe

from wse.builder import Pes, ProgramBuilder
from wse.isa import Done, Fault, Op, OpClass, Port, Stall, Status, Type
from wse.operands import Reg
from wse.program import Rect

# --- fabric ---------------------------------------------------------------------------------------------------


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


def receiver(start: int = 0, num: int = 20, **numbers: int) -> ProgramBuilder:
    """Host -> router -> core, which receives `num` wavelets from cycle `start` on."""
    program = builder(control_cycles=max(start, 1), **numbers)
    program.route(HERE, 0, W, [RAMP])
    program.input("in", 0, 0, 0, W)
    pe = program.pes(HERE)
    if start:
        pe.unblock(0)
    pe.mov(pe.zeros("y", num), pe.recv(0))
    return program


@pytest.mark.parametrize("ramp_in", [1, 2, 4])
def test_ramp_in(ramp_in: int) -> None:
    """Sent to RAMP in 1, consumed in 1 + `ramp_in_cycles`; then one a cycle, at any depth."""
    program = receiver(ramp_in_cycles=ramp_in, input_queue_depth=1)
    assert_first_in(1 + ramp_in, program, lambda state: state["busy"][0, OpClass.MOVE], **{"in": 20})
    machine = load(program, {"in": 20})
    assert machine.run() == Status.DONE
    assert machine.cycles == 1 + ramp_in + 20


def sender(num: int = 1, **numbers: int) -> ProgramBuilder:
    """Core -> router -> host."""
    program = builder(**numbers)
    program.route(HERE, 0, RAMP, [E])
    program.output("out", 0, 0, 0, E)
    pe = program.pes(HERE)
    pe.mov(pe.send(0), pe.zeros("x", num))
    return program


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


# --- core -----------------------------------------------------------------------------------------------------


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


def test_counters() -> None:
    def code(pe: Pes) -> None:
        pe.fmac(pe.zeros("y", 4), pe.zeros("h", 4, Type.F16), 2.0)
        pe.add(pe.zeros("i", 3, Type.I32), 1, 2)

    machine = load(on_one_pe(code))
    machine.run()
    state = machine.snapshot()
    assert state["busy"][0].tolist() == [0, 3, 4, 0]
    assert state["instructions"][0] == 2
    assert state["flops"][0] == 2 * 4
    assert state["sram_read_bytes"][0] == 4 * (4 + 2)
    assert state["sram_write_bytes"][0] == 4 * 4 + 3 * 4


def test_rows_count_what_they_take() -> None:
    """3 elements of 2 cycles each after an issue of 3; a loop of 2 rounds; the operation cut short has not ended."""

    def code(pe: Pes) -> None:
        with pe.loop(2, Reg(0, Type.I32)):
            pe.add(F0, F0, 1.0, shape=3, thread=1)

    numbers = {"issue_cycles": 3, "add_cycles": 2, "branch_taken_cycles": 9, "branch_not_taken_cycles": 4}
    machine = load(on_one_pe(code, **numbers))
    machine.run(max_cycles=3 + 5)  # the MOV, then two more cycles of issue and two and a half beats
    assert machine.snapshot()["row_busy"].tolist() == [1, 3, 0, 0, 0]
    assert machine.snapshot()["row_elapsed"].tolist() == [3, 0, 0, 0, 0]
    assert machine.run() == Status.DONE
    state = machine.snapshot()
    # the main thread's additions (issued at once in the next cycle but 2) share the datapath with the microthread
    assert state["row_busy"].tolist() == [1, 2 * 6, 2 * 2, 9 + 4, 0]
    assert state["row_elapsed"][3] == 9 + 4
    assert state["busy"].sum() == state["row_busy"][[0, 1, 2]].sum()


def test_elapsed_counts_from_issue_to_the_last_cycle() -> None:
    """Issued in 0, consumed in 3 (1 to the router, 2 ramp), 2 cycles a beat; nothing else."""
    machine = load(receiver(num=1, move_cycles=2), {"in": 1})
    machine.run()
    assert machine.snapshot()["row_busy"].tolist() == [2, 0]
    assert machine.snapshot()["row_elapsed"].tolist() == [5, 0]


def test_stalls_have_a_reason() -> None:
    """Overhead in 0 and 1 (issue), data until the wavelet is consumed in 3; then ours does not fit twice more."""
    program = receiver(num=1, issue_cycles=3)
    machine = load(program, {"in": 1})
    machine.run()
    assert machine.snapshot()["stall"][0].tolist() == [2, 1, 0, 0]

    program = sender(num=9, router_queue_depth=1, output_queue_depth=0, ramp_out_cycles=0, hop_cycles=1)
    program.route(HERE, 1, W, [E])
    program.input("in", 0, 0, 1, W)
    program.output("other", 0, 0, 1, E)
    machine = load(program, {"in": 9})  # the other color takes the port every other cycle
    machine.run()
    state = machine.snapshot()
    assert state["stall"][0, Stall.ROOM] == machine.cycles - 9 > 0
    assert state["stall"][0, Stall.DATA] == 0


# --- ends of a run --------------------------------------------------------------------------------------------


def test_deadlock_ends_after_the_last_cycle_in_which_anything_was_done() -> None:
    """One wavelet of two: sent in 0 and 1, consumed in 3; the second never comes."""
    machine = load(receiver(num=2), {"in": 1})
    assert machine.run() == Status.DEADLOCK
    assert machine.cycles == 4
    assert machine.snapshot()["stall"][0].tolist() == [0, 3, 0, 0]


@pytest.mark.parametrize("cut", range(12))
def test_a_run_cut_short_continues_to_the_same_end(cut: int) -> None:
    whole, parts = (load(receiver(num=5, move_cycles=2), {"in": 5}) for _ in range(2))
    assert whole.run() == Status.DONE
    assert parts.run(max_cycles=cut) == Status.LIMIT
    assert parts.cycles == cut
    assert parts.run() == Status.DONE
    assert parts.cycles == whole.cycles
    assert all(np.array_equal(state, whole.snapshot()[name]) for name, state in parts.snapshot().items())


def test_the_limit_of_a_run_comes_before_its_end() -> None:
    machine = load(on_one_pe(lambda pe: pe.add(F0, F0, 1.0, shape=5)))
    assert machine.run(max_cycles=4) == Status.LIMIT
    assert machine.run(max_cycles=5) == Status.LIMIT
    assert machine.run(max_cycles=6) == Status.DONE
    assert machine.cycles == 5


def test_faults_end_the_cycle() -> None:
    offset = Reg(0, Type.I32)

    def reach_outside(pe: Pes) -> None:
        pe.mov(offset, 1)
        pe.mov(pe.zeros("y", 4).shifted(offset), 1.0)

    machine = load(on_one_pe(reach_outside))
    assert machine.run() == Status.FAULT
    assert machine.fault == (Fault.OUT_OF_BOUNDS, 0, 1)
    assert machine.cycles == 2

    machine = load(
        on_one_pe(lambda pe: pe.div(pe.zeros("i", 3, Type.I32), 1, pe.const("z", [1, 0, 1], Type.I32)), special_cycles=5)
    )
    assert machine.run() == Status.FAULT
    assert machine.fault == (Fault.DIVIDE_BY_ZERO, 0, 5)


@pytest.mark.parametrize("num_pes", [2, 3, 8])
@pytest.mark.parametrize("num", [1, 2, 50])
def test_chain_reduce_takes_its_closed_form(num_pes: int, num: int) -> None:
    """B + (2T + 2)(P - 1) cycles with T = 2."""
    program = builder(num_pes)
    for x in range(num_pes):
        here, left, right = Rect(x, 0, 1, 1), (x - 1) % 2, x % 2
        if x > 0:
            program.route(here, left, W, [RAMP])
        if x < num_pes - 1:
            program.route(here, right, RAMP, [E])
        pe = program.pes(here)
        mine = pe.const("mine", np.arange(num) + x)
        if x == 0:
            pe.mov(pe.send(right), mine)
        elif x < num_pes - 1:
            pe.add(pe.send(right), mine, pe.recv(left))
        else:
            pe.add(mine, mine, pe.recv(left))
    machine = load(program)
    assert machine.run() == Status.DONE
    assert machine.cycles == num + 6 * (num_pes - 1)
    total = num_pes * np.arange(num) + num_pes * (num_pes - 1) // 2
    last = machine.program.core_sram[-1]
    assert machine.snapshot()["sram"].view(np.float32)[last : last + num].tolist() == total.tolist()


@pytest.mark.parametrize("num_pes", [2, 3, 8])
@pytest.mark.parametrize("num", [1, 2, 50])
def test_broadcast_takes_its_closed_form(num_pes: int, num: int) -> None:
    """B + P + 2T cycles with T = 2."""
    program = builder(num_pes)
    program.route(HERE, 0, RAMP, [E])
    program.route(Rect(1, 0, num_pes - 2, 1), 0, W, [RAMP, E])
    program.route(Rect(num_pes - 1, 0, 1, 1), 0, W, [RAMP])
    root, others = program.pes(HERE), program.pes(Rect(1, 0, num_pes - 1, 1))
    root.mov(root.send(0), root.zeros("x", num))
    others.mov(others.zeros("x", num), others.recv(0))
    machine = load(program)
    assert machine.run() == Status.DONE
    assert machine.cycles == num + num_pes + 4


# --- arithmetic -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "a", "b", "wanted"),
    [
        (Op.DIV, 1, 0, np.inf), (Op.DIV, -1, 0, -np.inf), (Op.DIV, 0, 0, np.nan), (Op.EXP, 100, 0, np.inf), (Op.EXP, -200, 0, 0),
        (Op.RSQRT, 0, 0, np.inf), (Op.RSQRT, -1, 0, np.nan), (Op.RSQRT, 4, 0, 0.5), (Op.SILU, -1000, 0, 0), (Op.SILU, 50, 0, 50),
        (Op.SIN, np.inf, 0, np.nan), (Op.COS, 0, 0, 1), (Op.MAX, np.nan, 2, 2), (Op.MIN, 2, np.nan, np.nan),
        (Op.MUL, 3e38, 10, np.inf),
    ],
)  # fmt: skip
def test_f32_arithmetic(op: Op, a: float, b: float, wanted: float) -> None:
    bits = compute(op, Type.F32, bits_of_f32(np.float32(a)), bits_of_f32(np.float32(b)), 0)
    assert np.array_equal(np.uint32(bits).view(np.float32), np.float32(wanted), equal_nan=True)


@pytest.mark.parametrize(
    ("op", "a", "b", "wanted"),
    [
        (Op.ADD, 2**31 - 1, 1, -(2**31)), (Op.MUL, 2**16, 2**16, 0), (Op.DIV, -7, 2, -4), (Op.DIV, -(2**31), -1, -(2**31)),
        (Op.MOD, -7, 3, 2), (Op.MOD, 7, -3, -2), (Op.MAX, -1, 1, 1), (Op.SUB, -(2**31), 1, 2**31 - 1),
    ],
)  # fmt: skip
def test_i32_arithmetic(op: Op, a: int, b: int, wanted: int) -> None:
    assert compute(op, Type.I32, a & 0xFFFFFFFF, b & 0xFFFFFFFF, 0) == wanted & 0xFFFFFFFF


def test_fmac_rounds_the_product_and_the_sum() -> None:
    """(1 + e)(1 - e) - 1 with e = 2**-13: the product rounds to 1; fused, -2**-26 would remain."""
    e = np.float32(2.0**-13)
    a, b, d = (bits_of_f32(np.float32(value)) for value in (1 + e, 1 - e, -1))
    assert compute(Op.FMAC, Type.F32, a, b, d) == 0


def test_f16_is_rounded_when_stored() -> None:
    """1 + 2**-11 is a tie and goes to the even neighbour, 1; the sum itself was in f32."""

    def code(pe: Pes) -> None:
        pe.add(pe.zeros("h", 2, Type.F16), pe.const("x", [2.0**-11, 3 * 2.0**-11]), 1.0)

    machine = load(on_one_pe(code))
    machine.run()
    assert machine.snapshot()["sram"].view(np.float16)[:2].tolist() == [1, 1 + 2.0**-9]
