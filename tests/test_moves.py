"""The annealer's inner loop keeps its books: what it believes a state costs, and where its nets lie, is what they come to anew."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import CONFIG

from wse.compiler.constraints import Constraints
from wse.compiler.partition import Partitioner
from wse.compiler.placers import anneal
from wse.compiler.placers.moves import total_cost, try_moves
from wse.compiler.placers.problem import make_problem
from wse.defects import Defects
from wse.spec import load_spec


@pytest.mark.parametrize("dead", [0.0, 0.02])
@pytest.mark.parametrize("hot", [1e-1, 1e-2])
def test_after_many_moves_cost_and_bands_are_those_of_the_state_anew(dead, hot):
    partitioner = Partitioner(CONFIG, load_spec("wse2"), "f16", 16)
    defects = Defects.random(14, 12, dead, 0.0, 1) if dead else None
    problem = make_problem(partitioner, (14, 12), "half", "both", Constraints(), defects)
    task, state = anneal._task(problem), anneal._state(problem, anneal.starts(problem, 1)[0][1])
    before = state.copy()
    bands, trial_bands, fresh_bands = (np.zeros((len(state) + 1, 11), np.int64) for _ in range(3))
    values, fresh, touched = np.zeros(2), np.zeros(2), np.zeros(len(state), np.bool_)
    total_cost(*task, state, values, bands)
    kept, trial = state.copy(), state.copy()
    try_moves(*task, state, kept, values, np.array([7], np.int64), 2000, hot, trial, touched, bands, trial_bands)
    total_cost(*task, state, fresh, fresh_bands)
    assert (state != before).any()
    assert values[0] == pytest.approx(fresh[0], abs=1e-9)
    assert (bands == fresh_bands).all()
    assert (trial == state).all()
    assert (trial_bands == bands).all()
    total_cost(*task, kept, fresh, fresh_bands)
    assert values[1] == pytest.approx(fresh[0], abs=1e-9)
    assert problem.is_legal(anneal._rects(problem, kept))
