"""Random programs with every feature on the reference machine alone: what must hold of any program."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from reference.machine import ReferenceMachine
from reference.programs import FEATURES, Case, random_case

from wse.isa import VECTOR_OPS, Col, Fault, Stall, Status, Type
from wse.verify import verify

LONGEST = 600
SEEDS = range(60)


def loaded(case: Case) -> ReferenceMachine:
    """A machine that was fed all that the case has to feed."""
    machine = ReferenceMachine(case.program)
    for run in case.runs:
        for name, values in run.feeds:
            machine.feed(name, values)
    return machine


@pytest.mark.parametrize("seed", SEEDS)
def test_runs_cut_anywhere_end_alike(seed: int) -> None:
    """Nothing is done between cycles: a run in pieces goes through the same states as one in one go."""
    case = random_case(seed, features=FEATURES)
    verify(case.program, refuse_hangs=False)
    whole, pieces, random = loaded(case), loaded(case), Random(seed)
    status = whole.run(max_cycles=LONGEST)
    while (last := pieces.run(max_cycles=min(LONGEST, pieces.cycles + random.choice([0, 1, 1, 2, 7, 50])))) == Status.LIMIT:
        if pieces.cycles == LONGEST:
            break
    assert (last, pieces.cycles, pieces.fault) == (status, whole.cycles, whole.fault)
    if status != Status.FAULT:
        snapshot = pieces.snapshot()
        assert all(state.tobytes() == snapshot[name].tobytes() for name, state in whole.snapshot().items())


@pytest.mark.parametrize("seed", SEEDS)
def test_counters_agree_with_one_another(seed: int) -> None:
    case = random_case(seed, features=FEATURES)
    machine = loaded(case)
    if machine.run(max_cycles=LONGEST) == Status.FAULT:
        return
    state, program = machine.snapshot(), case.program
    is_vector = np.isin(program.code[:, Col.OP], list(VECTOR_OPS))
    assert state["row_busy"][is_vector].sum() == state["busy"].sum() + state["stall"][:, Stall.BANK].sum()
    assert (state["busy"].sum(1) + state["stall"].sum(1) <= machine.cycles).all()
    assert (state["switch_sent"].sum(1) >= state["sent"][program.switches[:, 0]]).all()  # through at least one port each
    assert (state["switch_sent"].max(1, initial=0) <= state["sent"][program.switches[:, 0]]).all()


def test_every_feature_gets_used() -> None:
    """The generator still reaches all there is, and most programs come to an end."""
    seen: set[object] = set()
    statuses = []
    for seed in range(150):
        case = random_case(seed, features=FEATURES)
        machine = loaded(case)
        statuses.append(machine.run(max_cycles=LONGEST))
        state = machine.snapshot()
        seen |= {name for name in ("switch_position", "fifo_count") if state[name].any()}
        seen |= {"bank"} if state["stall"][:, Stall.BANK].any() else set()
        seen |= {Type(type) for type in np.unique(case.program.code[:, Col.TYPE])}
        seen |= {"bindings"} if any(cls.bindings for cls in case.program.classes) else set()
        seen |= {machine.fault[0]} if machine.fault else set()
    assert {"switch_position", "fifo_count", "bank", "bindings", *Type, Fault.SWITCH_PAST_END, Fault.BAD_TASK} <= seen
    assert statuses.count(Status.DONE) > len(statuses) / 3
    assert statuses.count(Status.FAULT) < len(statuses) / 6


def test_the_same_seed_and_features_give_the_same_case() -> None:
    first, second = (random_case(2, features=FEATURES) for _ in range(2))
    assert np.array_equal(first.program.code, second.program.code)
    assert repr(first.runs) == repr(second.runs)
    assert len(random_case(2, dropped=[0], features=FEATURES).statements) == len(first.statements) - 1
