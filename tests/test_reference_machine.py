"""The reference machine as a whole: what it counts, how runs end, and the closed forms published for the chip."""

from __future__ import annotations

import numpy as np
import pytest
from reference.timing import F0, HERE, RAMP, E, W, builder, load, on_one_pe, receiver, sender

from wse.builder import Pes
from wse.isa import Fault, Stall, Status, Type
from wse.operands import Reg
from wse.program import Rect


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
