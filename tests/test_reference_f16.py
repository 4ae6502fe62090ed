"""f16 arithmetic and packed wavelets on the reference machine, one rule a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from reference.arithmetic import bits_of_f32, compute, f32
from reference.machine import ReferenceMachine
from reference.timing import F0, HERE, RAMP, E, W, assert_first_in, builder, load, on_one_pe

from wse.builder import Pes, ProgramBuilder
from wse.errors import ProgramError
from wse.isa import Op, OpClass, Status, Type
from wse.program import Rect

F16, MIXED = Type.F16, Type.MIXED
SECOND = Rect(1, 0, 1, 1)


def result(op: Op, type: Type, a: float, b: float = 0, d: float = 0) -> float:
    return float(f32(compute(op, type, *(bits_of_f32(np.float32(value)) for value in (a, b, d)))))


def halves(machine: ReferenceMachine, first: int, num: int) -> list[float]:
    """`num` f16 values of the first PE's SRAM from byte address 2 `first` on."""
    return machine.snapshot()["sram"].view(np.float16)[first : first + num].tolist()


# --- arithmetic -----------------------------------------------------------------------------------------------

E16 = 2.0**-10  # spacing of f16 at 1


@pytest.mark.parametrize(
    ("op", "a", "b", "wanted"),
    [
        (Op.ADD, 1, E16 / 2, 1), (Op.ADD, 1 + E16, E16 / 2, 1 + 2 * E16),  # ties go to even
        (Op.ADD, 1 + E16 / 4, 0, 1), (Op.MUL, 300, 300, np.inf), (Op.SUB, 65504, -16, np.inf), (Op.DIV, 1, 3, float(np.float16(1 / 3))),
        (Op.EXP, 1, 0, float(np.float16(np.e))), (Op.MAX, 1 + E16 / 4, 1, 1), (Op.MOV, 1 + E16 / 4, 0, 1),
        (Op.MUL, 2.0**-14, 2.0**-10, 2.0**-24), (Op.MUL, 2.0**-14, 2.0**-11, 0),  # subnormal, and its half
    ],
)  # fmt: skip
def test_f16_rounds_sources_and_result(op: Op, a: float, b: float, wanted: float) -> None:
    assert result(op, F16, a, b) == wanted


def test_f16_fmac_rounds_the_product_and_the_sum() -> None:
    """(1 + e)(1 - e) - 1: the product 1 - e**2 rounds to 1. Mixed: it is exact."""
    assert result(Op.FMAC, F16, 1 + E16, 1 - E16, -1) == 0
    assert result(Op.FMAC, MIXED, 1 + E16, 1 - E16, -1) == -(E16**2)
    assert result(Op.FMAC, MIXED, 1 + E16 / 4, 1, 0) == 1  # factors are rounded to f16 first


def test_an_f16_sum_loses_what_a_mixed_sum_keeps() -> None:
    """4096 ones, in an f16 accumulator, stop at 2048; in an f32 accumulator they do not."""

    def code(pe: Pes) -> None:
        ones = pe.const("ones", np.ones(4096), F16)
        pe.fmac(pe.zeros("h", 1, F16), ones, 1.0, type=F16)
        pe.fmac(pe.zeros("f", 1), ones, 1.0, type=MIXED)

    machine = load(on_one_pe(code))
    assert machine.run() == Status.DONE
    assert halves(machine, 4096, 1) == [2048]
    assert machine.snapshot()["sram"].view(np.float32)[2049] == 4096
    assert machine.snapshot()["flops"][0] == 4 * 4096


@pytest.mark.parametrize(
    ("write", "beats"),
    [
        (lambda pe, d, a: pe.mov(d, a, type=F16), (10, 2)),
        (lambda pe, d, a: pe.add(d, a, a, type=F16), (20, 3)),
        (lambda pe, d, a: pe.fmac(d, a, a, type=F16), (30, 4)),
        (lambda pe, d, a: pe.fmac(pe.zeros("f", 20), a, a, type=MIXED), (40, 5)),
        (lambda pe, d, a: pe.exp(d, a, type=F16), (1, 7)),
    ],
)
def test_lanes_and_cycles_of_f16(write: Callable[[Pes, Any, Any], None], beats: tuple[int, int]) -> None:
    """Each class has lanes and cycles of its own; 20 elements in ceil(20 / lanes) beats."""
    numbers = {
        "move_f16_lanes": 10, "move_f16_cycles": 2, "add_f16_lanes": 20, "add_f16_cycles": 3, "fma_f16_lanes": 30, "fma_f16_cycles": 4,
        "fma_mixed_lanes": 40, "fma_mixed_cycles": 5, "special_cycles": 7,
    }  # fmt: skip
    machine = load(on_one_pe(lambda pe: write(pe, pe.zeros("d", 20, F16), pe.zeros("a", 20, F16)), **numbers))
    assert machine.run() == Status.DONE
    lanes, cycles = beats
    assert machine.cycles == -(-20 // lanes) * cycles


# --- packed wavelets ------------------------------------------------------------------------------------------


def sent(num: int, **how: Any) -> ReferenceMachine:
    """What the host gets of the f16 numbers 1, 2, … sent by an f16 copy."""
    program = builder()
    program.route(HERE, 0, RAMP, [E])
    program.output("out", 0, 0, 0, E)
    pe = program.pes(HERE)
    pe.mov(pe.send(0, **how), pe.const("x", np.arange(1, num + 1), F16), type=F16)
    machine = load(program)
    assert machine.run({"out": num if how else (num + 1) // 2}) == Status.DONE
    return machine


def test_two_elements_in_a_wavelet() -> None:
    """Low half first; an odd tail is padded; one wavelet a cycle, the first able to leave in 3."""
    machine = sent(5)
    words = machine.snapshot()["out:out"].view(np.float16)
    assert words.tolist() == [1, 2, 3, 4, 5, 0]
    assert machine.snapshot()["out_cycle:out"].tolist() == [4, 5, 6]


def test_unpacked_wavelets_hold_f32() -> None:
    machine = sent(5, packed=False)
    assert machine.snapshot()["out:out"].view(np.float32).tolist() == [1, 2, 3, 4, 5]
    assert machine.snapshot()["out_cycle:out"].tolist() == [4, 5, 6, 7, 8]


def received(write: Callable[[Pes, Any], None], num: int, **numbers: int) -> ProgramBuilder:
    """The f16 numbers 1, 2, …, packed, come in from the host; `write` receives them into an array."""
    program = builder(**numbers)
    program.route(HERE, 0, W, [RAMP])
    program.input("in", 0, 0, 0, W)
    write(program.pes(HERE), program.pes(HERE).zeros("y", num, F16))
    return program


def feed(program: ProgramBuilder, num: int) -> ReferenceMachine:
    machine = load(program)
    values = np.zeros(num + num % 2, np.float16)
    values[:num] = np.arange(1, num + 1)
    machine.feed("in", values.view(np.uint32))
    return machine


@pytest.mark.parametrize("num", [1, 2, 5, 8])
def test_receiving_packed_wavelets(num: int) -> None:
    """The first is consumed in 3, then one a cycle, two elements each."""
    machine = feed(received(lambda pe, y: pe.add(y, y, pe.recv(0), type=F16), num), num)
    assert machine.run() == Status.DONE
    assert halves(machine, 0, num) == list(range(1, num + 1))
    assert machine.cycles == 3 + (num + 1) // 2


def test_a_single_lane_takes_the_halves_one_by_one() -> None:
    """In f32 an element a cycle: the second half needs no wavelet of its own."""
    machine = feed(received(lambda pe, y: pe.fmac(y, pe.recv(0, packed=True), 2.0), 5), 5)
    assert machine.run() == Status.DONE
    assert halves(machine, 0, 5) == [2, 4, 6, 8, 10]
    assert machine.cycles == 3 + 5
    assert machine.snapshot()["busy"][0, OpClass.FMA] == 5


def test_packed_pairs_run_across_outer_steps() -> None:
    """Steps of 3: beats of 2, 1 | 1 (the half that is there), 2; the map step costs a cycle each."""
    program = received(lambda pe, y: pe.mov(y.reshape(2, 3), pe.recv(0), shape=(2, 3), type=F16, mapped=True), 6)
    machine = feed(program, 6)
    assert machine.run() == Status.DONE
    assert halves(machine, 0, 6) == [1, 2, 3, 4, 5, 6]
    assert machine.snapshot()["busy"][0, OpClass.MOVE] == 4
    assert machine.snapshot()["sent"][0] == 3


def test_a_packed_held_wavelet_serves_two_outer_steps() -> None:
    """y += A x in f16, x packed: 3 columns take 2 wavelets."""
    program = builder()
    program.route(HERE, 0, W, [RAMP])
    program.input("in", 0, 0, 0, W)
    pe = program.pes(HERE)
    y = pe.zeros("y", 2, F16)
    a = pe.const("a", [[1, 10], [2, 20], [3, 30]], F16)
    pe.fmac(y, a, pe.recv(0, held=True), shape=(3, 2), mapped=True, type=F16)
    machine = feed(program, 3)
    assert machine.run() == Status.DONE
    assert halves(machine, 0, 2) == [1 + 4 + 9, 10 + 40 + 90]
    assert machine.snapshot()["sent"][0] == 2
    assert machine.snapshot()["busy"][0, OpClass.FMA] == 3


def test_a_packed_and_an_unpacked_operand_go_element_by_element() -> None:
    """Packed in, unpacked out: one element a beat, a wavelet taken every other."""
    program = received(lambda pe, y: pe.add(pe.send(1, packed=False), pe.recv(0), 1.0, shape=4, type=F16), 4)
    program.route(HERE, 1, RAMP, [E])
    program.output("out", 0, 0, 1, E)
    machine = feed(program, 4)
    assert machine.run({"out": 4}) == Status.DONE
    assert machine.snapshot()["out:out"].view(np.float32).tolist() == [2, 3, 4, 5]
    assert machine.snapshot()["busy"][0, OpClass.ADD] == 4


def test_room_is_claimed_with_the_odd_element() -> None:
    """A full output holds up the element that sends, not the one before it."""
    depths = {"router_queue_depth": 1, "output_queue_depth": 0, "input_queue_depth": 1}
    program = builder(2, ramp_out_cycles=0, ramp_in_cycles=1, move_f16_lanes=1, **depths)
    program.route(HERE, 0, RAMP, [E])
    program.route(SECOND, 0, W, [RAMP])
    pe = program.pes(HERE)
    pe.mov(pe.send(0), pe.zeros("x", 50, F16), type=F16)
    program.pes(SECOND).mov(F0, 1.0)
    machine = load(program)
    assert machine.run() == Status.DEADLOCK
    wavelets = (1 + 1) + (1 + 1) + (1 + 1)  # the neighbour's queue and FIFO, ours
    assert machine.snapshot()["busy"][0, OpClass.MOVE] == 2 * wavelets + 1


def test_a_packed_chain_is_twice_as_fast() -> None:
    """Two PEs, 64 f16 elements: half as many cycles of streaming, the same latency."""

    def cycles(**how: Any) -> int:
        program = builder(2)
        program.route(HERE, 0, RAMP, [E])
        program.route(SECOND, 0, W, [RAMP])
        first, second = program.pes(HERE), program.pes(SECOND)
        first.mov(first.send(0, **how), first.zeros("x", 64, F16), type=F16)
        second.mov(second.zeros("y", 64, F16), second.recv(0, **how), type=F16)
        machine = load(program)
        assert machine.run() == Status.DONE
        return machine.cycles

    assert cycles(packed=False) == 64 + 6
    assert cycles() == 32 + 6


def test_packed_operands_begin_in_the_cycle_of_their_wavelets() -> None:
    program = received(lambda pe, y: pe.mov(y, pe.recv(0), type=F16), 2)
    assert_first_in(3, program, lambda state: state["busy"][0, OpClass.MOVE], **{"in": 1})


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda pe: pe.argmax(F0, pe.zeros("a", 3, F16), 0, type=F16), "compares in f32"),
        (lambda pe: pe.add(pe.zeros("a", 3, F16), 1.0, 2.0, type=MIXED), "for fmac only"),
        (lambda pe: pe.mov(pe.zeros("a", 3, Type.I32), 1.0, type=F16), "I32"),
        (lambda pe: pe.mov(pe.zeros("a", 3, Type.I32), pe.recv(0, packed=True), type=Type.I32), "two f16 values"),
        (lambda pe: pe.mov(pe.send(0, control=True), F0, type=F16), "a control wavelet holds 32 bits"),
        (lambda pe: pe.itof(pe.zeros("a", 3), pe.zeros("b", 3)), "'b' is F32"),
    ],
)
def test_impossible_f16_operands_are_refused(write: Callable[[Pes], None], words: str) -> None:
    with pytest.raises(ProgramError, match=words) as error:
        write(builder().pes(HERE))
    assert any("test_reference_f16.py" in note for note in error.value.notes)
