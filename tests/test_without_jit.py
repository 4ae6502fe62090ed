"""With NUMBA_DISABLE_JIT=1 the engine leaves the same state, bit for bit, and the placer the same placement."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

SEEDS = range(12)


def digests():
    """A hash per seed of everything random programs leave behind; NaNs count as one."""
    import numpy as np
    from reference.programs import random_case

    from wse.machine import Machine

    result = []
    for seed in SEEDS:
        case = random_case(seed)
        machine = Machine(case.program, refuse_hangs=False)
        digest = hashlib.sha256()
        for run in case.runs:
            for name, values in run.feeds:
                machine.feed(name, values)
            status = machine.run(run.await_outputs, machine.cycles + min(run.num_cycles, 400))
            digest.update(f"{int(status)} {machine.cycles}".encode())
        for name, values in sorted(machine.snapshot().items()):
            plain = values
            if values.dtype.itemsize == 4:
                plain = np.where(np.isnan(values.view(np.float32)), 0x7FC00000, values.view(np.uint32))
            digest.update(name.encode() + plain.astype(np.int64).tobytes())
        result.append(digest.hexdigest())
    return result


def placements():
    """What the annealer and the router come to on a small problem."""
    from test_place import small_problem

    from wse.compiler.placers import Search, find_placement
    from wse.compiler.route import route

    problem = small_problem((20, 20), "half")
    placement = find_placement(problem, "anneal", Search(seed=5, starts=2, moves=400))
    return placement.dump(), [net.dump() for net in route(placement, problem.dim, 18)]


def output_of(function, **environment):
    """What a function of this file returns in a process of its own, as text."""
    code = f"from test_without_jit import {function}; print({function}())"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("function", ["digests", "placements"])
def test_the_same_comes_out_without_jit(function):
    assert output_of(function, NUMBA_DISABLE_JIT="1") == output_of(function)
