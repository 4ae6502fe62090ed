"""The engine against the reference machine: the same state, bit for bit, after every run of random programs."""

from __future__ import annotations

from collections.abc import Collection
from itertools import zip_longest

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from reference import arithmetic
from reference.features import FeaturePlanner
from reference.machine import ReferenceMachine
from reference.programs import FEATURES, Case, random_case, reduce

from wse.builder import ProgramBuilder
from wse.isa import Col, Port, Stall, Status, Type
from wse.machine import Machine
from wse.printed import Printed
from wse.program import Program, Rect
from wse.spec import load_spec

# Seeds that once told the two apart, by what was wrong. A change to the planner gives them other programs; draw new ones then.
REGRESSIONS = {
    "room that comes free in the cycle in which it is missed": (14, 55, 102),
    "special functions in f64": (18, 85, 161),
    "stalls at a deadlock": (170, 1763, 3111, 3142),
    "programs that end in the cycle of the limit": (54, 234, 2032),
    "a deadlock in the cycle of the limit": (597, 2441),
    "a beat under way at the limit, then nothing more": (3302, 3925, 4171),
    "the last beat of many under way at the limit": (2905, 3146),
    "a division by zero among many elements": (364, 370, 541, 712),
    "parts that share nothing but a link": (249295629058831,),
    "a product in f16 and f32 whose scalar is among its own results": (1875081,),
}

SEEDS = st.integers(0, 2**48)
LONGEST = 2000  # cycles; more than anything that is drawn takes, so that what is under way has arrived
COMMON = settings(deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))


def differences(case: Case) -> list[str]:
    """Runs both machines side by side; what differs after the first run in which anything does, as long as the rules say all."""
    arithmetic.two_nans.clear()
    printed: list[Printed] = []
    engine, reference = Machine(case.program, refuse_hangs=False, on_print=printed.append), ReferenceMachine(case.program)
    for number, run in enumerate(case.runs):
        for name, values in run.feeds:
            engine.feed(name, values)
            reference.feed(name, values)
        limit = reference.cycles + run.num_cycles
        statuses = [Status(machine.run(run.await_outputs, limit)) for machine in (engine, reference)]
        if Status.LIMIT in statuses and statuses[0] != statuses[1]:  # the limit fell between the end of all activity and its detection
            later = [Status(machine.run(run.await_outputs, limit + LONGEST)) for machine in (engine, reference)]
            silent = later[0] == later[1] in ((Status.DEADLOCK, Status.DONE) if case.program.reactive else (Status.DEADLOCK,))
            return [] if silent else [f"status after run {number}: {statuses}, then {later}"]
        found = [
            f"{what} after run {number}: engine {mine}, reference {wanted}"
            for what, mine, wanted in (
                ("status", *(status.name for status in statuses)),
                ("cycles", engine.cycles, reference.cycles),
                ("fault", engine.fault, reference.fault),
            )
            if mine != wanted
        ]
        if found or Status.FAULT in statuses:  # what a faulting cycle leaves behind is not specified
            return found
        found = _compare(engine.snapshot(), reference.snapshot()) + _compare_prints(case.program, printed, reference)
        if arithmetic.two_nans:
            return []
        if found:
            return [f"{line} (after run {number}, cycle {reference.cycles})" for line in found]
    return []


def check(seed: int, features: Collection[str] = ()) -> None:
    """Fails with the differences of a reduced case."""
    if differences(random_case(seed, features=features)):
        case = reduce(seed, lambda case: bool(differences(case)), features)
        title = f"random_case({seed}, features={features}), reduced to statements {case.statements}"
        pytest.fail("\n".join([title, *differences(case)]), pytrace=False)


def _compare(engine: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> list[str]:
    found = [f"only one has {name}" for name in engine.keys() ^ reference.keys()]
    for name in engine.keys() & reference.keys():
        mine, wanted = engine[name], reference[name]
        if mine.shape != wanted.shape:
            found.append(f"{name}: shape {mine.shape}, reference {wanted.shape}")
            continue
        same = (mine == wanted) | (name in ("sram", "registers") or name.startswith("out:")) & _both_nan(mine, wanted)
        if not same.all():
            at = tuple(int(i) for i in np.argwhere(~same)[0])
            found.append(f"{name}{list(at)}: engine {mine[at]}, reference {wanted[at]}; {(~same).sum()} differ")
    return sorted(found)


def _compare_prints(program: Program, printed: list[Printed], reference: ReferenceMachine) -> list[str]:
    """What was printed before the cycle in which the run stopped; whether that cycle's prints belong to it depends on why it did."""
    mine = [(p.cycle, p.y * program.width + p.x, program.source_lines.index(p.line), bits) for p in printed for bits in p.bits or [0]]
    wanted = [(t, pe, int(program.code[row, Col.LINE]), bits) for t, pe, row, bits in reference.prints()]
    mine, wanted = ([one for one in ones if one[0] < reference.cycles] for ones in (mine, wanted))
    at = next((i for i, pair in enumerate(zip_longest(mine, wanted)) if pair[0] != pair[1]), None)
    return [] if at is None else [f"prints differ from number {at} on: engine {mine[at:][:1]}, reference {wanted[at:][:1]}"]


def _both_nan(mine: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Which 32-bit words hold a NaN in both: as f32, or in a half that differs."""
    if mine.dtype.itemsize != 4:
        return np.zeros(mine.shape, bool)
    full = np.isnan(mine.view(np.float32)) & np.isnan(wanted.view(np.float32))
    halves = [np.ascontiguousarray(words).view(np.uint16).reshape(*words.shape, 2) for words in (mine, wanted)]
    half_nans = np.isnan(halves[0].view(np.float16)) & np.isnan(halves[1].view(np.float16))
    return full | ((halves[0] == halves[1]) | half_nans).all(axis=-1)


@settings(COMMON, max_examples=400, derandomize=True)
@given(SEEDS)
def test_random_programs(seed: int) -> None:
    check(seed)


@settings(COMMON, max_examples=50, derandomize=True)
@pytest.mark.parametrize("feature", FEATURES)
@given(seed=SEEDS)
def test_random_programs_with_one_feature(feature: str, seed: int) -> None:
    check(seed, (feature,))


@settings(COMMON, max_examples=300, derandomize=True)
@given(SEEDS)
def test_random_programs_with_all_features(seed: int) -> None:
    check(seed, FEATURES)


@settings(COMMON, max_examples=60, derandomize=True)
@given(seed=SEEDS)
def test_prints_change_nothing(seed: int) -> None:
    """The engine on a program, and on the same without its prints: the same state but for the numbers of rows."""
    with_prints = random_case(seed, features=FEATURES)
    planner = FeaturePlanner(seed, frozenset(FEATURES))
    states: list[tuple] = []
    for case in (with_prints, planner.case(planner.printing)):
        machine = Machine(case.program, refuse_hangs=False, on_print=lambda printed: None)
        for run in case.runs:
            for name, values in run.feeds:
                machine.feed(name, values)
            status = machine.run(run.await_outputs, machine.cycles + run.num_cycles)
            state = {name: array for name, array in machine.snapshot().items() if not name.startswith("row_")}
            states.append((status, machine.cycles, machine.fault, state))
    without = states[len(states) // 2 :]
    for mine, other in zip(states, without, strict=False):
        assert mine[:3] == other[:3]
        assert mine[0] is Status.FAULT or not _compare(mine[3], other[3])


@pytest.mark.nightly
@settings(COMMON, max_examples=10_000)
@given(SEEDS)
def test_many_random_programs(seed: int) -> None:
    check(seed)


@pytest.mark.nightly
@settings(COMMON, max_examples=10_000)
@given(SEEDS)
def test_many_random_programs_with_all_features(seed: int) -> None:
    check(seed, FEATURES)


@pytest.mark.parametrize("what", REGRESSIONS)
def test_seeds_that_found_something(what: str) -> None:
    for seed in REGRESSIONS[what]:
        check(seed)


@pytest.mark.parametrize("awaited", [0, 600])
@pytest.mark.parametrize("extent", [3, 900])
def test_more_wavelets_to_the_host_than_its_buffer_holds_at_first(extent: int, awaited: int) -> None:
    """Sent in one stream or in many, while the end of the run is known and while it is not."""
    builder = ProgramBuilder(load_spec("toy"), 1, 1)
    here = Rect(0, 0, 1, 1)
    builder.route(here, 0, Port.RAMP, [Port.EAST])
    builder.output("out", 0, 0, 0, Port.EAST)
    pe = builder.pes(here)
    for _ in range(900 // extent):
        pe.mov(pe.send(0), 1.0, shape=extent)
    program = builder.link()
    engine, reference = Machine(program), ReferenceMachine(program)
    awaiting = {"out": awaited} if awaited else None
    assert engine.run(awaiting) == reference.run(awaiting, 10_000) == Status.DONE
    assert not _compare(engine.snapshot(), reference.snapshot())


@pytest.mark.parametrize("position", [0, 17, 29, None])
@pytest.mark.parametrize(("d_type", "a_type", "type"), [(Type.F32, Type.F32, Type.F32), (Type.F32, Type.F16, Type.F32), (Type.F16,) * 3])
def test_a_product_whose_scalar_is_among_its_own_results(d_type: Type, a_type: Type, type: Type, position: int | None) -> None:
    """From the element after it on, the scalar is the new one; `position` None: it lies elsewhere."""
    builder = ProgramBuilder(load_spec("toy"), 1, 1)
    pe = builder.pes(Rect(0, 0, 1, 1))
    values = np.random.default_rng(0).standard_normal((2, 30)).astype(np.float32)
    d, a, apart = pe.const("d", values[0], d_type), pe.const("a", values[1], a_type), pe.const("apart", [0.5], d_type)
    pe.fmac(d, a, apart[0] if position is None else d[position], type=type)
    program = builder.link()
    engine, reference = Machine(program), ReferenceMachine(program)
    assert engine.run() == reference.run() == Status.DONE
    assert not _compare(engine.snapshot(), reference.snapshot())


def test_a_bulk_cut_short_after_a_bank_conflict() -> None:
    """What the latest beat's last cycle counts as is that of the bulk then, whatever came before it."""
    builder = ProgramBuilder(load_spec("wse2", bank_conflicts=1), 1, 1)
    pe = builder.pes(Rect(0, 0, 1, 1))
    x, y = pe.zeros("x", 4), pe.zeros("y", 4)
    pe.add(y, x, x)
    pe.silu(x, 1.0)
    program = builder.link()
    whole = Machine(program)
    assert whole.run() == Status.DONE
    banks = []
    for limit in range(1, whole.cycles):
        engine, reference = Machine(program), ReferenceMachine(program)
        assert engine.run(None, limit) == reference.run(None, limit) == Status.LIMIT
        assert not _compare(engine.snapshot(), reference.snapshot())
        banks.append(engine.snapshot()["stall"][0, Stall.BANK])
    assert len(set(banks)) == 5
