"""Kernels in f16 with packed wavelets, on both machines: values, and cycles by the same cost functions."""

import numpy as np
import pytest
from kernel_bench import check_cycles, count_hops
from reference.machine import ReferenceMachine

from wse.builder import ProgramBuilder
from wse.isa import Status, Type
from wse.kernels.allreduce import RING, allreduce, allreduce_cycles
from wse.kernels.cost import wavelets
from wse.kernels.gather import allgather, allgather_cycles, allgather_hops, gather, gather_cycles, gather_hops, scatter, scatter_cycles
from wse.kernels.gemm import cannon, gemm_reference, mesh_gemm, read_product, summa, summa_cycles, summa_hops
from wse.kernels.gemv import gemv, gemv_cycles
from wse.kernels.line import Line
from wse.kernels.product import LOOPED, MAPPED, STEPPED, cut_tiles
from wse.kernels.reduce import CHAIN, Algorithm
from wse.kernels.rmsnorm import rmsnorm, rmsnorm_cycles, rmsnorm_reference
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec

SPEC = load_spec("wse3")
ALGORITHMS = (CHAIN, *(Algorithm("two_tree", k) for k in (1, 2)), Algorithm("tree"), Algorithm("star"), RING)


def run(program):
    machine = ReferenceMachine(program)
    assert machine.run() == Status.DONE
    return machine


def read(machine, program, x, y, name):
    """The f16 array `name` of PE (x, y)."""
    k = program.core_at(x, y)
    symbol = program.classes[program.core_class[k]].symbols[name]
    first = int(program.core_sram[k]) * 2 + symbol.address // 2
    return machine.snapshot()["sram"].view(np.float16)[first : first + symbol.num_elements].reshape(symbol.shape)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
@pytest.mark.parametrize(("length", "num"), [(2, 4), (4, 16), (5, 7)])
def test_allreduce_in_f16_packs_two_elements_in_a_wavelet(algorithm, length, num):
    """f16 sums of small whole numbers are exact, so any order gives the same bits."""
    builder = ProgramBuilder(SPEC, length, 1)
    line = Line(Rect(0, 0, length, 1), "x")
    data = np.random.default_rng(num).integers(-50, 50, (length, num))
    value = builder.pes(line.rect).array("v", data[None], Type.F16)
    allreduce(builder, line, value, algorithm=algorithm, type=Type.F16)
    program = builder.link()
    machine = run(program)
    for x in range(length):
        assert (read(machine, program, x, 0, "v") == data.sum(0)).all()
    if algorithm == CHAIN:
        check_cycles(str(algorithm), allreduce_cycles(SPEC, algorithm, length, wavelets(num, Type.F16)), machine.cycles)
    else:
        assert machine.cycles < allreduce_cycles(SPEC, algorithm, length, num) + 2 * SPEC.issue_cycles


def test_meshgemv_in_f16_is_near_the_published_count():
    """[1,128] x [128,128] on 4 x 4 PEs with 2 groups, vendor's simulator: 512 cycles, which count calls in: 11 % less."""
    builder = ProgramBuilder(SPEC, 4, 4)
    line = Line(Rect(0, 0, 4, 4), "y")
    pe = builder.pes(line.rect)
    rng = np.random.default_rng(0)
    tiles, x = rng.integers(-3, 4, (4, 4, 32, 32)), rng.integers(-3, 4, (4, 4, 32))
    algorithm = Algorithm("two_tree", 2)
    y = pe.zeros("y", 32, Type.F16)
    gemv(builder, line, y, pe.array("A", tiles, Type.F16), pe.array("x", x, Type.F16), algorithm, Type.F16)
    program = builder.link()
    machine = run(program)
    for column in range(4):
        assert (read(machine, program, column, 2, "y") == np.einsum("pkm,pk->m", tiles[:, column], x[:, column])).all()
    check_cycles("MeshGEMV", gemv_cycles(SPEC, algorithm, 4, 32, 32, Type.F16), machine.cycles, within=2)
    check_cycles("MeshGEMV, published", 512, machine.cycles, within=0.13 * 512)


@pytest.mark.parametrize("n", [1, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_segments_in_f16_are_packed_where_they_are_even(length, n):
    """Scatter, gather and both all-gathers on the engine: bits, hops and cycles."""
    data = np.random.default_rng(n).standard_normal((length, n)).astype(np.float16)
    for step, expected, hops in (
        (scatter, scatter_cycles(SPEC, length, n, Type.F16), gather_hops(length, n, Type.F16)),
        (gather, gather_cycles(SPEC, length, n, Type.F16), gather_hops(length, n, Type.F16)),
        (allgather, allgather_cycles(SPEC, length, n, False, Type.F16), allgather_hops(length, n, False, Type.F16)),
        (lambda *args: allgather(*args, ring=True), allgather_cycles(SPEC, length, n, True, Type.F16),
         allgather_hops(length, n, length > 1, Type.F16)),
    ):  # fmt: skip
        builder = ProgramBuilder(SPEC, length, 1)
        line = Line(Rect(0, 0, length, 1), "x")
        pe = builder.pes(line.rect)
        segment = pe.array("segment", (np.zeros_like(data) if step is scatter else data)[None], Type.F16)
        whole = pe.const("whole", data if step is scatter else np.zeros_like(data), Type.F16)
        step(builder, line, segment, whole)
        machine = Machine(builder.link())
        machine.check(machine.run())
        if step is scatter:
            assert all((machine.read(x, 0, "segment") == data[x]).all() for x in range(length))
        else:
            assert (machine.read(0, 0, "whole") == data).all()
        assert count_hops(machine) == hops
        check_cycles(f"{step}", expected, machine.cycles)


@pytest.mark.parametrize("product", [MAPPED, STEPPED, LOOPED])
@pytest.mark.parametrize("gemm", [summa, cannon, mesh_gemm])
@pytest.mark.parametrize(("side", "shape"), [(1, (3, 4, 5)), (2, (3, 4, 5)), (3, (9, 7, 5))])
def test_gemm_in_f16(gemm, side, shape, product):
    """Whole numbers whose sums stay below 2^11 are exact in f16."""
    m, k, n = shape
    rng = np.random.default_rng(side)
    a, b = rng.integers(-4, 5, (m, k)), rng.integers(-4, 5, (k, n))
    builder, rect = ProgramBuilder(SPEC, side, side), Rect(0, 0, side, side)
    tiles_a, tiles_b = cut_tiles(a, side), cut_tiles(b, side)
    gemm(builder, rect, tiles_a, tiles_b, product, Type.F16)
    machine = Machine(builder.link())
    machine.check(machine.run())
    assert (read_product(machine, rect, (m, n)) == gemm_reference(a, b)).all()
    if gemm is summa:
        tile = (*tiles_a.shape[2:], tiles_b.shape[3])
        assert count_hops(machine) == summa_hops(side, *tile, Type.F16)
        check_cycles("SUMMA", summa_cycles(SPEC, side, *tile, product, Type.F16), machine.cycles, within=0 if side == 1 else 2 * side)


@pytest.mark.parametrize(("columns", "rows", "n"), [(1, 2, 6), (3, 4, 5), (8, 2, 4)])
def test_rmsnorm_in_f16(columns, rows, n):
    """To within (dim + 4) 2^-11."""
    dim, algorithm = columns * n, CHAIN
    rng = np.random.default_rng(dim)
    x, w = (rng.uniform(0.5, 2, shape).astype(np.float16) for shape in ((columns, rows, n), (columns, n)))
    builder = ProgramBuilder(SPEC, columns, 1)
    line = Line(Rect(0, 0, columns, 1), "x")
    pe = builder.pes(line.rect)
    values, weights = pe.array("x", x[None], Type.F16), pe.array("w", w[None], Type.F16)
    out, scale = pe.zeros("out", (rows, n), Type.F16), pe.zeros("scale", rows, Type.F16)
    rmsnorm(builder, line, out, values, weights, scale, dim, 1e-3, algorithm, Type.F16)
    machine = Machine(builder.link())
    machine.check(machine.run())
    wanted = rmsnorm_reference(x.swapaxes(0, 1).reshape(rows, dim), w.reshape(dim), 1e-3)
    got = np.concatenate([machine.read(c, 0, "out") for c in range(columns)], axis=1)
    np.testing.assert_allclose(got, wanted, rtol=(dim + 4) * 2.0**-11)
    check_cycles("RMSNorm", rmsnorm_cycles(SPEC, algorithm, columns, rows, n, Type.F16), machine.cycles)
