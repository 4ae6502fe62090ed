"""The published decode layer on a small mesh: every PE's activations against NumPy in f64, and its ten all-reduces."""

import numpy as np
import pytest

from wse.builder import ProgramBuilder
from wse.kernels.calls import CALL_CYCLES, CalledProgram
from wse.kernels.layer import LayerDims, decode_layer
from wse.kernels.reduce import CHAIN, Algorithm
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
    """The layer in f64."""

    def norm(x, weight):
        return x / np.sqrt((x * x).mean() + 1e-5) * weight

    def rotate(v):
        even, odd = v[0::2], v[1::2]
        return np.stack([even * w["cos"] - odd * w["sin"], even * w["sin"] + odd * w["cos"]], -1).reshape(-1)

    normed = norm(w["x"], w["norm 1"])
    q, k, v = rotate(normed @ w["q"]), rotate(normed @ w["k"]), normed @ w["v"]
    keys, values = np.vstack([w["keys"][:-1], k]), np.vstack([w["values"][:-1], v])
    scores = keys @ q / 4
    weights = np.exp(scores - scores.max())
    x = w["x"] + (weights / weights.sum() @ values) @ w["o"]
    normed = norm(x, w["norm 2"])
    gate, up = normed @ w["gate"], normed @ w["up"]
    return x + (gate / (1 + np.exp(-gate)) * up) @ w["down"]


def load(machine, w, x, y):
    """Give PE (x, y) its parts: inputs of a GEMV by row and outputs by column where it goes along y, the other way round along x."""
    part = lambda i, n: slice(i * n, (i + 1) * n)  # noqa: E731
    d, s, across, f_across, half = part(y, 4), part(y, 2), part(x, 4), part(x, 6), part(x, 2)
    machine.write(x, y, "x", w["x"][d])
    machine.write(x, y, "attention norm", w["norm 1"][d])
    machine.write(x, y, "feed-forward norm", w["norm 2"][d])
    machine.write(x, y, "Wqkv", np.hstack([w[name][d, across] for name in "qkv"]))
    machine.write(x, y, "table", np.stack([w["cos"][half], w["sin"][half]]))
    machine.write(x, y, "keys", w["keys"][s, across].T)
    machine.write(x, y, "values", w["values"][s, across])
    machine.write(x, y, "Wo", w["o"][across, d])
    machine.write(x, y, "Wgu", np.hstack([w["gate"][d, f_across], w["up"][d, f_across]]))
    machine.write(x, y, "Wd", w["down"][f_across, d])


@pytest.mark.parametrize("builder", [ProgramBuilder, CalledProgram])
@pytest.mark.parametrize("algorithm", [CHAIN, Algorithm("two_tree", 2)], ids=str)
def test_the_layer_computes_what_a_layer_computes(whole, builder, algorithm):
    """f16 throughout: about twenty roundings of 2^-11 one after another, of values of about 1."""
    program = builder(SPEC, 4, 4)
    decode_layer(program, DIMS, algorithm)
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


def test_a_call_takes_what_was_measured_and_a_scalar_operation_nothing_more():
    for arch in ("wse2", "wse3"):
        spec = load_spec(arch)
        cycles = []
        for builder in (ProgramBuilder, CalledProgram):
            program = builder(spec, 1, 1)
            pe = program.pes(Rect(0, 0, 1, 1))
            pe.add(program.reg(), program.reg(), 1.0)
            pe.add(pe.zeros("a", 9), pe.zeros("b", 9), 1.0)
            machine = Machine(program.link())
            machine.check(machine.run())
            cycles.append(machine.cycles)
        assert CALL_CYCLES - 2 < cycles[1] - cycles[0] + spec.issue_cycles <= CALL_CYCLES
