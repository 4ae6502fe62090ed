"""Collectives against the closed forms published for the real chip (arXiv 2404.15888), under the wse2 preset."""

import numpy as np
import pytest

from wse.builder import ProgramBuilder
from wse.isa import Op, Port
from wse.kernels.collectives import Line, allreduce, best_root, broadcast, broadcast_cycles, reduce, reduce_cycles, route_line
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec

SPEC = load_spec("wse2")
T = SPEC.ramp_in_cycles
LENGTHS = (2, 3, 4, 5, 7, 8, 13, 16, 31, 64)
SIZES = (1, 2, 3, 17, 64, 256)


def build(length, num, *steps, axis="x", root=0, op=Op.ADD):
    """A machine with one line, its data (length, num), after `steps` were written for it."""
    shape = (1, length) if axis == "x" else (length, 1)
    program = ProgramBuilder(SPEC, shape[1], shape[0])
    line = Line(Rect(0, 0, shape[1], shape[0]), axis, root, (0, 1), 2)
    route_line(program, line)
    data = np.random.default_rng(length * 1000 + num).standard_normal((length, num)).astype(np.float32)
    value = program.pes(line.rect).array("v", data.reshape(*shape, num))
    for step in steps:
        step(program, line, value) if step is broadcast else step(program, line, value, op)
    machine = Machine(program.link())
    machine.check(machine.run())
    return machine, data


@pytest.mark.parametrize("num", SIZES)
@pytest.mark.parametrize("length", LENGTHS)
def test_chain_reduce_takes_exactly_the_published_cycles(length, num):
    machine, data = build(length, num, reduce)
    assert machine.cycles == num + (2 * T + 2) * (length - 1) == reduce_cycles(SPEC, length, num)
    np.testing.assert_allclose(machine.read(0, 0, "v"), data.sum(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num", SIZES)
@pytest.mark.parametrize("length", LENGTHS)
def test_broadcast_takes_exactly_the_published_cycles(length, num):
    machine, data = build(length, num, broadcast)
    assert machine.cycles == num + length + 2 * T == broadcast_cycles(SPEC, length, num)
    for x in range(length):
        np.testing.assert_array_equal(machine.read(x, 0, "v"), data[0])


@pytest.mark.parametrize("num", SIZES)
@pytest.mark.parametrize("length", range(2, 10))
def test_star_reduce_is_within_a_cycle_of_the_published_count(length, num):
    """B (P - 1) + 2T + 1, a microthread of the root for each sender: up to 9 PEs. More want one color that switches between senders."""
    program = ProgramBuilder(SPEC, length, 1)
    data = np.random.default_rng(0).standard_normal((1, length, num)).astype(np.float32)
    value = program.pes(Rect(0, 0, length, 1)).array("v", data)
    colors = star_routes(program, length)
    root = program.pes(Rect(0, 0, 1, 1))
    for x in range(1, length):
        pe = program.pes(Rect(x, 0, 1, 1))
        pe.mov(pe.send(colors[x]), value)
        root.add(value, root.recv(colors[x]), value, thread=x)
    machine = Machine(program.link())
    machine.check(machine.run())
    assert abs(machine.cycles - (num * (length - 1) + 2 * T + 1)) <= 1
    np.testing.assert_allclose(machine.read(0, 0, "v"), data[0].sum(0), rtol=1e-3, atol=1e-4)


def star_routes(program, length):
    """A color of its own for each sender, straight west to the first PE."""
    for x in range(1, length):
        color = x - 1
        program.route(Rect(x, 0, 1, 1), color, Port.RAMP, [Port.WEST])
        if x > 1:
            program.route(Rect(1, 0, x - 1, 1), color, Port.EAST, [Port.WEST])
        program.route(Rect(0, 0, 1, 1), color, Port.EAST, [Port.RAMP])
    return {x: x - 1 for x in range(1, length)}


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 11])
def test_allreduce_gives_every_pe_the_same_bits_for_any_root(length, axis):
    for root in sorted({0, length // 2, length - 1}):
        machine, data = build(length, 9, allreduce, axis=axis, root=root)
        results = [machine.read(*((i, 0) if axis == "x" else (0, i)), "v") for i in range(length)]
        assert all((result == results[0]).all() for result in results)
        np.testing.assert_allclose(results[0], data.sum(0), rtol=1e-4, atol=1e-5)


def test_allreduce_takes_the_maximum():
    machine, data = build(6, 4, allreduce, root=3, op=Op.MAX)
    np.testing.assert_array_equal(machine.read(5, 0, "v"), data.max(0))


def test_the_middle_root_is_chosen_for_short_vectors_and_the_end_for_long_ones():
    assert best_root(SPEC, 16, 1) == 8
    assert best_root(SPEC, 4, 4096) == 0
