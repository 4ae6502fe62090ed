"""GEMM on P x P PEs: values against NumPy on odd sizes, hops from the counters, cycles against the cost functions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_bench import check_cycles, count_hops, run

from wse.builder import ProgramBuilder
from wse.errors import ProgramError
from wse.isa import Type
from wse.kernels.calls import CalledProgram
from wse.kernels.gemm import (
    cannon,
    cannon_order,
    cyclic_cycles,
    cyclic_hops,
    gemm_reference,
    interleaved_order,
    mesh_gemm,
    read_product,
    summa,
    summa_cycles,
    summa_hops,
)
from wse.kernels.product import LOOPED, MAPPED, STEPPED, cut_tiles, join_tiles
from wse.kernels.summa import summa_broadcast
from wse.program import Rect
from wse.spec import load_spec

SPEC, WSE3 = load_spec("wse2"), load_spec("wse3")
ORDERS = {cannon: cannon_order, mesh_gemm: interleaved_order}
products = pytest.mark.parametrize("product", [MAPPED, STEPPED, LOOPED], ids=["mapped", "stepped", "looped"])


def multiply(spec, gemm, side, shape, *how, builder=ProgramBuilder):
    """(machine, tile extents) after A (m, k) times B (k, n) on side x side PEs, its values checked."""
    m, k, n = shape
    rng = np.random.default_rng(side)
    a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
    rect = Rect(0, 0, side, side)
    program = builder(spec, side, side)
    gemm(program, rect, cut_tiles(a, side), cut_tiles(b, side), *how)
    machine = run(program)
    assert len(program.routes.at) <= spec.num_colors
    error = np.abs(read_product(machine, rect, (m, n)) - gemm_reference(a, b))
    assert (error <= k * 2.0**-24 * (np.abs(a) @ np.abs(b))).all()
    return machine, [-(-extent // side) for extent in shape]


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([summa, cannon, mesh_gemm]), st.integers(1, 7), st.tuples(*[st.integers(1, 15)] * 3),
    st.sampled_from([MAPPED, STEPPED, LOOPED]),
)  # fmt: skip
def test_gemm_of_any_size_on_any_square(gemm, side, shape, product):
    machine, tile = multiply(SPEC, gemm, side, shape, product)
    hops = summa_hops(side, *tile) if gemm is summa else cyclic_hops(side, *tile, ORDERS[gemm](side))
    assert count_hops(machine) == hops


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 7), st.tuples(*[st.integers(1, 15)] * 3), st.sampled_from([1, 9]), st.sampled_from([1, 4]), st.sampled_from([2, 40]))
def test_broadcast_summa_is_right_however_late_wavelets_are(side, shape, hop, depth, ramp):
    """Routes are rewritten while wavelets are under way: none may be left behind, whatever the latencies and the room."""
    depths = dict.fromkeys(("router_queue_depth", "input_queue_depth", "output_queue_depth"), depth)
    spec = SPEC.replace(hop_cycles=hop, ramp_in_cycles=ramp, ramp_out_cycles=ramp, **depths)
    multiply(spec, summa_broadcast, side, shape, builder=CalledProgram)


@pytest.mark.parametrize("side", [1, 2, 3, 6])
def test_b_may_be_aligned_as_it_is_loaded(side):
    """It saves the turns of one axis and changes no value."""
    cycles = []
    for loaded in (False, True):
        machine, _ = multiply(SPEC, mesh_gemm, side, (7, 10, 5), MAPPED, Type.F32, loaded)
        cycles.append(machine.cycles)
    assert cycles[1] < cycles[0] or side == 1


@products
@pytest.mark.parametrize("spec", [SPEC, WSE3], ids=["wse2", "wse3"])
@pytest.mark.parametrize(("side", "shape"), [(1, (4, 4, 4)), (2, (8, 8, 8)), (3, (7, 10, 5)), (5, (13, 7, 11)), (8, (32, 32, 32))])
def test_summa_takes_the_predicted_cycles(spec, side, shape, product):
    machine, tile = multiply(spec, summa, side, shape, product)
    check_cycles("summa", summa_cycles(spec, side, *tile, product), machine.cycles, within=1)


@products
@pytest.mark.parametrize("gemm", [cannon, mesh_gemm])
@pytest.mark.parametrize(("side", "shape"), [(1, (4, 4, 4)), (2, (8, 8, 8)), (3, (7, 10, 5)), (5, (20, 20, 20)), (8, (32, 32, 32))])
def test_cyclic_gemms_take_about_the_predicted_cycles(gemm, side, shape, product):
    """Four shifts and the product take turns on the datapath, which the cost function only adds up: within 6 %."""
    machine, tile = multiply(SPEC, gemm, side, shape, product)
    expected = cyclic_cycles(SPEC, side, *tile, ORDERS[gemm](side), product)
    check_cycles(gemm.__name__, expected, machine.cycles, within=0 if side == 1 else 0.06 * expected)


def test_no_shift_of_the_interleaved_ring_goes_further_than_two_hops():
    for side in range(1, 20):
        order = interleaved_order(side)
        assert sorted(order) == list(range(side))
        assert max(abs(order[j - 1] - i) for j, i in enumerate(order)) <= 2
    assert max(abs(cannon_order(8)[j - 1] - i) for j, i in enumerate(cannon_order(8))) == 7


@products
@pytest.mark.parametrize("spec", [SPEC, WSE3], ids=["wse2", "wse3"])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (4, 4, 4), (3, 5, 2), (8, 2, 7)])
def test_the_local_product_takes_exactly_the_predicted_cycles(spec, product, m, k, n):
    rng = np.random.default_rng(m)
    a, b = rng.standard_normal((k, m)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
    program = ProgramBuilder(spec, 1, 1)
    pe = program.pes(Rect(0, 0, 1, 1))
    start = program.reg(Type.I32)
    pe.mov(start, 0)
    product.emit(pe, pe.zeros("C", (n, m)), pe.const("A", a), pe.const("B", b), start, start)
    machine = run(program)
    check_cycles("product", spec.issue_cycles - 1 + spec.move_cycles + product.cycles(spec, m, k, n, Type.F32), machine.cycles)
    np.testing.assert_allclose(machine.read(0, 0, "C"), b.T @ a, rtol=0, atol=k * 2.0**-24 * (np.abs(b.T) @ np.abs(a)).max())


@given(st.integers(1, 6), st.integers(1, 20), st.integers(1, 20))
def test_tiles_join_to_the_matrix_they_were_cut_from(side, rows, columns):
    matrix = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    tiles = cut_tiles(matrix, side)
    assert tiles.shape == (side, side, -(-rows // side), -(-columns // side))
    assert (join_tiles(tiles, matrix.shape) == matrix).all()


def test_a_rectangle_or_tiles_that_do_not_fit_are_refused():
    program = ProgramBuilder(SPEC, 4, 4)
    tiles = cut_tiles(np.ones((8, 8)), 4)
    with pytest.raises(ProgramError, match="P x P"):
        summa(program, Rect(0, 0, 4, 3), tiles, tiles)
    with pytest.raises(ProgramError, match="P x P"):
        cannon(program, Rect(0, 0, 4, 4), tiles, cut_tiles(np.ones((12, 8)), 4))
