"""Bank conflicts on the reference machine, and the tile product that was traced on the vendor's simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reference.timing import F0, HERE, RAMP, E, builder, load, on_one_pe

from wse.builder import Pes
from wse.isa import OpClass, Stall, Status, Type


def cycles(write: Callable[[Pes], None], **numbers: int) -> int:
    machine = load(on_one_pe(write, **{"bank_conflicts": 1, **numbers}))
    assert machine.run() == Status.DONE
    assert machine.cycles == machine.snapshot()["busy"].sum() + machine.snapshot()["stall"][0, Stall.BANK]
    return machine.cycles


def test_the_traced_tile_product() -> None:
    """C += A B, 5 x 5 each, one after another in SRAM: FMAC of a row of B into a row of C, for each k each row of C in turn.

    Cycles per element (vendor simulator, WSE-2): 11121 / 21112 / 12111 / 11211 / 11121.
    """
    program = builder(bank_conflicts=1)
    pe = program.pes(HERE)
    _, b, c = (pe.zeros(name, (5, 5)) for name in "ABC")
    for k in range(5):
        for i in range(5):
            pe.fmac(c[i], b[k], F0)  # F0 stands for A[i, k], which is a scalar
    machine = load(program)
    assert machine.run() == Status.DONE
    elapsed = machine.snapshot()["row_elapsed"][:25]
    assert (elapsed % 5 == 0).all()
    groups = ["".join(str(n // 5) for n in elapsed[5 * k : 5 * k + 5]) for k in range(5)]
    assert groups == ["11121", "21112", "12111", "11211", "11121"]


@pytest.mark.parametrize("distance", range(9))
def test_equal_bank_classes_cost_a_cycle_for_each_element(distance: int) -> None:
    """y starts `distance` words after a; at 0 they are the same words."""

    def write(pe: Pes) -> None:
        room = pe.zeros("room", 16)
        pe.fmac(room[distance : distance + 5], room[:5], 2.0)

    assert cycles(write) == (10 if distance in (4, 8) else 5)
    assert cycles(write, bank_conflicts=0) == 5


def test_off_by_default() -> None:
    assert builder().spec.bank_conflicts == 0


def both(pe: Pes, distance: int, **how: Any) -> None:
    room = pe.zeros("room", 64)
    pe.add(room[distance : distance + 8], room[:8], 1.0, **how)


@pytest.mark.parametrize(("lanes", "beat", "wanted"), [(1, 1, 16), (4, 1, 4), (3, 1, 6), (1, 3, 32), (2, 16, 4 * 17)])
def test_a_beat_takes_one_cycle_more_whatever_its_lanes_and_cycles(lanes: int, beat: int, wanted: int) -> None:
    assert cycles(lambda pe: both(pe, 8), add_lanes=lanes, add_cycles=beat) == wanted


@pytest.mark.parametrize(("distance", "one_lane", "four_lanes"), [(8, 16, 4), (9, 12, 4), (7, 12, 2), (1, 8, 2), (2, 8, 2)])
def test_f16_goes_by_the_words_of_the_first_elements(distance: int, one_lane: int, four_lanes: int) -> None:
    """8 halves. A distance of 8 is 4 words; one of 9 is 4 words from even elements and 5 from odd ones, of 7 the other way round."""

    def write(pe: Pes) -> None:
        room = pe.zeros("room", 64, Type.F16)
        pe.add(room[distance : distance + 8], room[:8], 1.0, type=Type.F16)

    assert cycles(write, add_f16_lanes=1) == one_lane
    assert cycles(write, add_f16_lanes=4) == four_lanes


def test_scalars_wavelets_and_pairs_of_sources_do_not_conflict() -> None:
    def write(pe: Pes) -> None:
        pe.program.route(HERE, 0, RAMP, [E])
        pe.program.output("out", 0, 0, 0, E)
        room = pe.zeros("room", 64)
        pe.add(room[0:4], F0, 1.0)
        pe.add(F0, room[0:4], room[8:12])
        pe.add(room[1:5], room[8:12], room[16:20])
        pe.mov(pe.send(0), room[0:4])

    assert cycles(write, move_lanes=1) == 16


def test_the_cycle_is_a_stall_and_belongs_to_its_row() -> None:
    machine = load(on_one_pe(lambda pe: both(pe, 8), bank_conflicts=1))
    machine.run(max_cycles=5)
    state = machine.snapshot()
    assert state["busy"][0, OpClass.ADD] == 3
    assert state["stall"][0].tolist() == [0, 0, 0, 2]
    assert state["row_busy"].tolist() == [5, 0]
