"""Kernels of a decode step: values against NumPy, cycles as predicted from the rules: expected, measured, deviation."""

import numpy as np
import pytest
from kernel_bench import check_cycles, run

from wse.builder import ProgramBuilder
from wse.isa import Type
from wse.kernels.gemv import gemv, gemv_cycles, gemv_reference, gemv_streamed, gemv_streamed_cycles, multiply, multiply_cycles
from wse.kernels.line import Line
from wse.kernels.reduce import CHAIN, Algorithm
from wse.kernels.rmsnorm import rmsnorm, rmsnorm_cycles, rmsnorm_reference
from wse.kernels.transformer import (
    append_cache,
    append_cache_cycles,
    attend,
    attend_cycles,
    attend_reference,
    rope,
    rope_cycles,
    rope_reference,
    swiglu,
    swiglu_cycles,
    swiglu_reference,
)
from wse.program import Rect
from wse.spec import load_spec

SPECS = [load_spec("wse2"), load_spec("wse3")]
EPS = 2.0**-24
on_both = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def one_pe(spec):
    program = ProgramBuilder(spec, 1, 1)
    return program, program.pes(Rect(0, 0, 1, 1))


@on_both
@pytest.mark.parametrize(("k", "m"), [(1, 1), (1, 5), (7, 1), (5, 8), (31, 13)])
def test_multiply(spec, k, m):
    program, pe = one_pe(spec)
    tile, x = normal(k, m), normal(k)
    multiply(pe, pe.zeros("y", m), pe.const("A", tile), pe.const("x", x))
    machine = run(program)
    check_cycles("multiply", multiply_cycles(spec, k, m), machine.cycles)
    tolerance = k * EPS * (np.abs(tile) * np.abs(x)[:, None]).sum(0)
    assert (np.abs(machine.read(0, 0, "y") - gemv_reference(tile[None], x[None])) <= tolerance).all()


@on_both
@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("algorithm", [CHAIN, Algorithm("two_tree", 1), Algorithm("two_tree", 2)], ids=str)
@pytest.mark.parametrize(("length", "k", "m"), [(1, 3, 4), (2, 5, 3), (5, 4, 9), (10, 3, 16)])
def test_gemv_on_a_rectangle(spec, axis, algorithm, length, k, m):
    width, height = (length, 3) if axis == "x" else (3, length)
    program = ProgramBuilder(spec, width, height)
    line = Line(Rect(0, 0, width, height), axis)
    pe = program.pes(line.rect)
    tiles, x = normal(height, width, k, m), normal(height, width, k)
    gemv(program, line, pe.zeros("y", m), pe.array("A", tiles), pe.array("x", x), algorithm)
    machine = run(program)
    within = 0 if algorithm == CHAIN else 2
    check_cycles("gemv", gemv_cycles(spec, algorithm, length, k, m), machine.cycles, within)
    along = 1 if axis == "x" else 0
    for other in range(3):
        of_line = tiles.take(other, 1 - along), x.take(other, 1 - along)
        tolerance = (k * length) * EPS * np.einsum("pkm,pk->m", *map(np.abs, of_line))
        for i in range(length):
            y = machine.read(*((i, other) if axis == "x" else (other, i)), "y")
            assert (np.abs(y - gemv_reference(*of_line)) <= tolerance).all()


@on_both
@pytest.mark.parametrize(("length", "root"), [(1, 0), (2, 1), (5, 0), (7, 3)])
@pytest.mark.parametrize(("k", "m"), [(4, 1), (6, 9), (40, 20)])
def test_streamed_gemv_takes_its_input_off_the_fabric(spec, length, root, k, m):
    program = ProgramBuilder(spec, length, 2)
    line = Line(Rect(0, 0, length, 2), "x")
    pe = program.pes(line.rect)
    tiles, x = normal(2, length, k, m), normal(2, length, k)
    gemv_streamed(program, line, pe.zeros("y", m), pe.array("A", tiles), pe.array("x", x), root)
    machine = run(program)
    expected = gemv_streamed_cycles(spec, length, k, m, root)
    check_cycles("streamed gemv", expected, machine.cycles, within=k + 2 if length > 1 else 0)  # the sender's beats, at most one a step
    for row in range(2):
        for i in range(length):
            reference = gemv_reference(tiles[row, i][None], x[row, root][None])
            tolerance = k * EPS * (np.abs(tiles[row, i]) * np.abs(x[row, root])[:, None]).sum(0)
            assert (np.abs(machine.read(i, row, "y") - reference) <= tolerance).all()


@on_both
@pytest.mark.parametrize("algorithm", [CHAIN, Algorithm("two_tree", 1)], ids=str)
@pytest.mark.parametrize(("length", "rows", "n"), [(1, 1, 7), (3, 0, 5), (8, 4, 3), (6, 0, 1)])
def test_rmsnorm(spec, algorithm, length, rows, n):
    """`rows` 0: one vector, not a batch of one."""
    dim, shape = length * n, (rows, n) if rows else (n,)
    program = ProgramBuilder(spec, length, 1)
    line = Line(Rect(0, 0, length, 1), "x")
    pe = program.pes(line.rect)
    x, w = normal(max(rows, 1), dim), normal(dim)
    cut = x.reshape(-1, length, n).swapaxes(0, 1).reshape(1, length, *shape)
    out, scale = pe.zeros("out", shape), pe.zeros("scale", max(rows, 1))
    rmsnorm(program, line, out, pe.array("x", cut), pe.array("w", w.reshape(1, length, n)), scale, dim, 1e-5, algorithm)
    machine = run(program)
    within = 0 if algorithm == CHAIN else 1
    check_cycles("rmsnorm", rmsnorm_cycles(spec, algorithm, length, max(rows, 1), n), machine.cycles, within)
    got = np.concatenate([machine.read(i, 0, "out").reshape(-1, n) for i in range(length)], axis=1)
    np.testing.assert_allclose(got, rmsnorm_reference(x, w, 1e-5), rtol=(dim + 4) * EPS)


@on_both
@pytest.mark.parametrize(("n", "s"), [(1, 2), (3, 8), (5, 16)])
def test_rope(spec, n, s):
    program, pe = one_pe(spec)
    heads, freqs, pos = normal(n, s), np.float32(10000.0) ** (-np.arange(0, s, 2, dtype=np.float32) / s), program.reg(Type.I32)
    pe.mov(pos, 37)
    rope(pe, pe.const("heads", heads), pe.const("freqs", freqs), pe.zeros("scratch", (3 + 2 * n, s // 2)), pos)
    machine = run(program)
    check_cycles("rope", rope_cycles(spec, n, s) + spec.issue_cycles - 1 + spec.move_cycles, machine.cycles)
    tolerance = (4 + 37) * EPS * np.abs(heads).max() * 2
    assert np.abs(machine.read(0, 0, "heads") - rope_reference(heads, freqs, 37)).max() <= tolerance


@on_both
@pytest.mark.parametrize("pos", [0, 4, 5])
def test_append_cache_stores_on_one_row_only(spec, pos):
    s, slots, rows, held = 6, 5, 4, 2
    program = ProgramBuilder(spec, 1, rows)
    pe = program.pes(Rect(0, 0, 1, rows))
    k, v = normal(s), normal(s) + 1
    keys, values = pe.zeros("keys", (s, slots)), pe.zeros("values", (slots, s))
    row, at, num = (program.reg(Type.I32) for _ in range(3))
    pe.mov(row, pe.array("row", np.arange(rows)[:, None, None], Type.I32))
    pe.mov(at, pos)
    pe.mov(num, held)
    append_cache(pe, keys, values, pe.const("k", k), pe.const("v", v), row, at, rows, num)
    machine = run(program)
    moves = 3 * (spec.issue_cycles - 1 + spec.move_cycles)
    check_cycles("append_cache", moves + append_cache_cycles(spec, s, here=True), machine.cycles)
    assert append_cache_cycles(spec, s, here=False) < append_cache_cycles(spec, s, here=True)
    for y in range(rows):
        stored = (pos % rows == y) * 1.0
        assert (machine.read(0, y, "keys")[:, held] == stored * k).all()
        assert (machine.read(0, y, "values")[held] == stored * v).all()
        assert np.count_nonzero(machine.read(0, y, "keys")) == stored * s


@on_both
@pytest.mark.parametrize(("columns", "rows", "n", "s", "num"), [(1, 1, 1, 4, 1), (1, 3, 2, 6, 4), (2, 4, 3, 4, 3), (4, 2, 2, 2, 5)])
def test_attend(spec, columns, rows, n, s, num):
    slots = num + 2
    program = ProgramBuilder(spec, columns, rows)
    rect = Rect(0, 0, columns, rows)
    pe = program.pes(rect)
    q, keys, values = normal(n, columns * s), normal(rows * num, columns * s), normal(rows * num + 1, columns * s)[1:]

    def cut(positions, transpose):
        tiles = np.zeros((rows, columns, slots, s), np.float32)
        tiles[:, :, :num] = positions.reshape(rows, num, columns, s).swapaxes(1, 2)
        return tiles.swapaxes(2, 3) if transpose else tiles

    count = program.reg(Type.I32)
    pe.mov(count, num)
    heads = pe.array("q", np.broadcast_to(q.reshape(n, columns, s).swapaxes(0, 1), (rows, columns, n, s)))
    attend(
        program, Line(rect, "y"), [Line(rect, "x")] if columns > 1 else [], heads, pe.array("keys", cut(keys, True)),
        pe.array("values", cut(values, False)), pe.zeros("scores", (n, slots)), pe.zeros("top", n), pe.zeros("out", n * s + n),
        count, 0.5, CHAIN, CHAIN,
    )  # fmt: skip
    machine = run(program)
    expected = attend_cycles(spec, n, s, slots, num, rows, CHAIN, columns, CHAIN) + spec.issue_cycles - 1 + spec.move_cycles
    check_cycles("attend", expected, machine.cycles)
    reference = attend_reference(q, keys, values, 0.5)
    for x in range(columns):
        for y in range(rows):
            got = machine.read(x, y, "out")[: n * s].reshape(n, s)
            np.testing.assert_allclose(got, reference[:, x * s : (x + 1) * s], rtol=0, atol=1e-5 * np.abs(reference).max())


@on_both
@pytest.mark.parametrize("m", [1, 7, 32])
def test_swiglu(spec, m):
    program, pe = one_pe(spec)
    gate_up = normal(2, m)
    swiglu(pe, pe.const("gate_up", gate_up), pe.zeros("out", m))
    machine = run(program)
    check_cycles("swiglu", swiglu_cycles(spec, m), machine.cycles)
    np.testing.assert_allclose(machine.read(0, 0, "out"), swiglu_reference(gate_up), rtol=2 * EPS)
