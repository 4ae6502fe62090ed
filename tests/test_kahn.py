"""Which programs are shown to be Kahn networks, and what is said of those that are not."""

import re

import numpy as np
import pytest

from wse.builder import ProgramBuilder
from wse.compiler.compile import compile_model
from wse.isa import Done, Port, Type
from wse.kahn import is_kahn
from wse.program import Rect
from wse.spec import load_spec

SPEC = load_spec("wse2")
A = Rect(0, 0, 1, 1)


def microthread(pe, shares):
    x, y = pe.zeros("x", 4), pe.zeros("y", 4)
    pe.mov(x, 1.0, thread=1)
    pe.add(x if shares else y, y, 1.0)


def waited_for(pe, same):
    x = pe.zeros("x", 4)
    pe.mov(x, 1.0, thread=1)
    pe.add(x, x, 1.0, thread=1 if same else 2)


def callback(pe, first):
    x = pe.zeros("x", 4)
    pe.mov(x, 1.0, thread=1, on_done=(Done.ACTIVATE, 1))
    if not first:
        pe.activate(1)
    pe.program.pes(A, 1).add(x, x, 1.0)


def data_tasks(pe, apart):
    pe.mov(pe.program.reg(), 0.0)
    for color, port in ((1, Port.WEST), (2, Port.EAST)):
        pe.program.route(A, color, port, [Port.RAMP])
        pe.program.input(f"in{color}", 0, 0, color, port)
        task, value = pe.program.pes(A, color), pe.program.reg()
        task.bind(color, value)
        name = f"sum{color}" if apart else "sum"
        total = task.zeros(name, 1) if apart or color == 1 else total  # noqa: F821
        task.add(total, total, value)


@pytest.mark.parametrize(
    ("write", "good", "words"),
    [
        (microthread, False, r"PE \(0,0\): an operation on microthread 1 and what runs meanwhile .* share memory 0"),
        (waited_for, True, "share memory"),
        (callback, True, "share memory"),
        (data_tasks, True, "tasks 1 and 2, which are started in the order of events, .* share memory"),
    ],
)
def test_what_time_may_decide_is_named(write, good, words):
    for option in (good, not good):
        program = ProgramBuilder(SPEC, 1, 1)
        write(program.pes(A), option)
        found = is_kahn(program.link())
        assert bool(found) == (option == good)
        if not found:
            assert any(re.search(words, reason) and "test_kahn.py" in reason for reason in found.reasons), found.reasons


def test_a_rewritten_route_is_a_reason():
    program = ProgramBuilder(SPEC, 1, 1)
    pe = program.pes(A)
    program.route(A, 1, Port.RAMP, [Port.RAMP])
    pe.reroute(1, Port.RAMP, [Port.RAMP])
    pe.mov(pe.array("x", np.zeros((1, 1, 1)), Type.F32), 1.0)
    assert "rewrites the route of color 1" in is_kahn(program.link()).reasons[0]


@pytest.mark.parametrize("dtype", ["f16", "f32"])
def test_what_the_compiler_emits_is_a_kahn_network(dtype):
    found = is_kahn(compile_model("kjv", SPEC, dtype=dtype).program)
    assert found, found.reasons
