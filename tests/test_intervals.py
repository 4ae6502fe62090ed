"""Counters over time: reading them changes nothing, they add up to the totals, and there are never too many."""

import numpy as np
import pytest
from reference.programs import random_case

from wse.compiler.compile import compile_model
from wse.isa import Status
from wse.machine import Machine
from wse.runner import Session
from wse.spec import load_spec
from wse.view.intervals import Sampler
from wse.view.tables import GRID, Tiling, grids, link_table, pe_table


@pytest.fixture(scope="module")
def kjv():
    return compile_model("kjv", load_spec("wse2"))


def equal(first, second):
    return all(np.array_equal(array, second[name]) for name, array in first.items())


def test_a_sampled_session_has_the_same_tokens_cycles_and_counters(kjv):
    prompt = kjv.model.tokenizer.encode("And God said")
    sampler = Sampler(kjv.program, first_cycles=17)
    plain, sampled = Session(kjv), Session(kjv, run=sampler.run)
    assert list(plain.generate(prompt, 5)) == list(sampled.generate(prompt, 5))
    assert plain.machine.cycles == sampled.machine.cycles
    assert equal(plain.machine.snapshot(), sampled.machine.snapshot())
    intervals = sampler.intervals(sampled.machine)
    assert 16 <= len(intervals) <= 64 and intervals.edges[0] == 0 and intervals.edges[-1] == sampled.machine.cycles


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_run_alike_with_and_without_readings(seed):
    program = random_case(seed).program
    plain, sampled = Machine(program, refuse_hangs=False), Machine(program, refuse_hangs=False)
    sampler = Sampler(program, max_intervals=4, first_cycles=3)
    status = plain.run()
    assert sampler.run(sampled) == status and status != Status.LIMIT
    assert plain.cycles == sampled.cycles and equal(plain.snapshot(), sampled.snapshot())


@pytest.mark.parametrize("max_tiles", [10_000, 6, 1])
def test_frames_add_up_to_the_totals_whatever_the_tiles(kjv, max_tiles):
    sampler = Sampler(kjv.program, max_intervals=8, max_tiles=max_tiles)
    session = Session(kjv, run=sampler.run)
    session.step([1, 2, 3])
    intervals = sampler.intervals(session.machine)
    counters = session.machine.counters()
    tiling = Tiling(kjv.program.width, kjv.program.height, intervals.side)
    assert np.prod(tiling.shape) <= max_tiles and 4 <= len(intervals) <= 8
    totals = grids(pe_table(kjv.program, counters), link_table(kjv.program, counters), tiling)
    for name in GRID:
        assert np.array_equal(intervals[name].sum(axis=0), totals[name]), name
    assert sum(int(totals[name].sum()) for name in GRID if name.startswith("busy")) == counters.busy.sum() > 0
    halved = intervals.merged()
    assert len(halved) == -(-len(intervals) // 2) and np.array_equal(halved.counts.sum(0), intervals.counts.sum(0))
    assert set(halved.edges) <= set(intervals.edges) and halved.edges[-1] == intervals.edges[-1]


def test_no_frame_has_more_busy_cycles_than_it_has_cycles(kjv):
    sampler = Sampler(kjv.program)
    session = Session(kjv, run=sampler.run)
    session.step([4, 5])
    intervals = sampler.intervals(session.machine)
    known = intervals.counts[:, [i for i, name in enumerate(GRID) if name.startswith(("busy", "stall"))]].sum(axis=1, dtype=np.int64)
    assert (known <= np.diff(intervals.edges)[:, None, None]).all()
