"""The published decode layer on small meshes: every PE's activations against NumPy in f64, its all-reduces, and its predicted cycles."""

import numpy as np
import pytest
from kernel_bench import check_cycles, read_line, run

from wse.isa import Op, Type
from wse.kernels.calls import CALL_CYCLES, CalledProgram, ask_cycles, call_wait, update_cycles
from wse.kernels.cost import vector_cycles
from wse.kernels.layer import LayerDims, decode_layer, decode_layer_cycles
from wse.kernels.layer_reduce import tree_allreduce
from wse.kernels.line import Line
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec

SPEC = load_spec("wse2")
DIMS = LayerDims(4, 16, 24, 8)
SHAPES = {"q": (16, 16), "k": (16, 16), "v": (16, 16), "o": (16, 16), "gate": (16, 24), "up": (16, 24), "down": (24, 16)}


@pytest.fixture(scope="module")
def whole():
    """Weights, cache and input of the layer, uncut, f16 values in f64."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(0, 0.3, shape).astype(np.float16).astype(np.float64)  # noqa: E731
    arrays = {name: draw(*shape) for name, shape in SHAPES.items()}
    arrays |= {"x": draw(16), "norm 1": draw(16), "norm 2": draw(16), "keys": draw(8, 16), "values": draw(8, 16)}
    angle = rng.uniform(0, 6, 8)
    return arrays | {"cos": np.float16(np.cos(angle)).astype(np.float64), "sin": np.float16(np.sin(angle)).astype(np.float64)}


def expected(w):
    """The layer in f64: e^x by four operations as there, SiLU of the first 4 of the 6 elements that a PE has of `up`."""

    def norm(x, weight):
        return x / np.sqrt((x * x).mean() + 1e-6) * weight

    def exp(x):
        return (1 + x / 256) ** 4

    def rotate(v):
        even, odd = v[0::2], v[1::2]
        return np.stack([even * w["cos"] - odd * w["sin"], even * w["sin"] + odd * w["cos"]], -1).reshape(-1)

    normed = norm(w["x"], w["norm 1"])
    scores = w["keys"] @ rotate(normed @ w["q"]) / 4
    weights = exp(scores - max(0, scores.max()))
    x = w["x"] + (weights / weights.sum() @ w["values"]) @ w["o"]
    normed = norm(x, w["norm 2"])
    gate, up = normed @ w["gate"], normed @ w["up"]
    active = np.arange(24) % 6 < 4
    return x + (gate * np.where(active, up / (1 + exp(-up)), up)) @ w["down"]


def load(machine, w, x, y):
    """Give PE (x, y) its parts: inputs of a GEMV by row and outputs by column where it goes along y, the other way round along x."""
    part = lambda i, n: slice(i * n, (i + 1) * n)  # noqa: E731
    d, s, across, f_across, half = part(y, 4), part(y, 2), part(x, 4), part(x, 6), part(x, 2)
    machine.write(x, y, "x", w["x"][d])
    machine.write(x, y, "attention norm", w["norm 1"][d])
    machine.write(x, y, "feed-forward norm", w["norm 2"][d])
    for name in "qkv":
        machine.write(x, y, f"W{name}", w[name][d, across])
    machine.write(x, y, "table", np.stack([w["cos"][half], w["sin"][half]]))
    machine.write(x, y, "keys", w["keys"][s, across].T)
    machine.write(x, y, "values", w["values"][s, across])
    machine.write(x, y, "Wo", w["o"][across, d])
    machine.write(x, y, "Wup", w["up"][d, f_across])
    machine.write(x, y, "Wgate", w["gate"][d, f_across])
    machine.write(x, y, "Wdown", w["down"][f_across, d])


@pytest.mark.parametrize(("groups", "fused"), [(1, False), (2, False), (2, True)])
def test_the_layer_computes_what_the_published_one_computes(whole, groups, fused):
    """f16 throughout: about twenty roundings of 2^-11 one after another, of values of about 1."""
    program = CalledProgram(SPEC, 4, 4)
    decode_layer(program, DIMS, groups, fused)
    machine = Machine(program.link())
    for x in range(4):
        for y in range(4):
            load(machine, whole, x, y)
    machine.check(machine.run())
    wanted = expected(whole)
    assert np.abs(wanted - whole["x"]).max() > 0.3
    for x in range(4):
        got = np.concatenate([machine.read(x, y, "x") for y in range(4)])
        np.testing.assert_allclose(got, wanted, atol=0.02)


@pytest.mark.parametrize(("arch", "banks", "fused"), [("wse2", 0, False), ("wse2", 1, False), ("wse2", 0, True), ("wse3", 0, False)])
@pytest.mark.parametrize(("side", "groups", "parts"), [(4, 2, (4, 6, 2)), (9, 3, (10, 35, 10)), (12, 4, (8, 27, 8)), (7, 3, (3, 5, 4))])
def test_the_layer_takes_the_predicted_cycles(arch, banks, fused, side, groups, parts):
    spec, dims = load_spec(arch, bank_conflicts=banks), LayerDims(side, *(side * part for part in parts))
    program = CalledProgram(spec, side, side)
    decode_layer(program, dims, groups, fused)
    check_cycles(f"layer on {side} x {side}", decode_layer_cycles(spec, dims, groups, fused), run(program).cycles)


@pytest.mark.parametrize("op", [Op.ADD, Op.MAX])
@pytest.mark.parametrize(("length", "groups"), [(1, 1), (2, 1), (2, 2), (3, 1), (5, 2), (7, 7), (11, 3), (16, 4), (21, 20)])
def test_every_pe_ends_with_the_combination_of_all(length, groups, op):
    """Whole numbers, so that f16 is exact in any order."""
    data = np.random.default_rng(length).integers(-9, 9, (length, 5)).astype(np.float16)
    program = CalledProgram(SPEC, length, 1)
    line = Line(Rect(0, 0, length, 1), "x")
    tree_allreduce(program, line, program.pes(line.rect).array("v", data[None], Type.F16), groups, op)
    wanted = {Op.ADD: np.add, Op.MAX: np.maximum}[op].reduce(data.astype(np.float64))
    np.testing.assert_array_equal(read_line(run(program), length), np.tile(wanted, (length, 1)))


@pytest.mark.parametrize(("issue", "move"), [(1, 1), (3, 1), (3, 2), (2, 3)])
def test_a_call_takes_what_was_measured_and_scalar_instructions_what_they_take(issue, move):
    spec = SPEC.replace(issue_cycles=issue, move_cycles=move)
    def cycles(*steps):
        program = CalledProgram(spec, 1, 1)
        pe = program.pes(Rect(0, 0, 1, 1))
        for step in steps:
            step(pe)
        return run(program).cycles

    nine = (lambda pe: pe.zeros("a", 9), lambda pe: pe.add(pe.zeros("b", 9), pe.zeros("c", 9), 1.0))
    one = vector_cycles(spec, Op.MOV, 1)
    assert abs(cycles(*nine) - 9 - CALL_CYCLES) <= one / 2 and cycles(*nine) == call_wait(spec) + 9
    assert cycles(lambda pe: pe.add(pe.program.reg(), pe.program.reg(), 1.0)) == spec.issue_cycles
    assert cycles(lambda pe: pe.mov(pe.zeros("one", 1), 0.0, is_call=True)) == call_wait(spec) + move
    assert [cycles(lambda pe, n=n: pe.statements(n)) for n in (0, 1, 2, 7)] == [0, one, 2 * one, 7 * one]
    assert cycles(lambda pe: pe.update(2)) == update_cycles(spec, 2) == 6 * one
    assert cycles(lambda pe: pe.ask(True, False)) == ask_cycles(spec, True, False)
    assert cycles(lambda pe: pe.ask(True)) - cycles(lambda pe: pe.ask(False)) == spec.branch_not_taken_cycles - spec.branch_taken_cycles
