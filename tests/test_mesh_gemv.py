"""MeshGEMV as published: its values, and that a repetition takes the same whenever it comes."""

import numpy as np
import pytest
from kernel_bench import run

from wse.isa import Type
from wse.kernels.calls import CalledProgram
from wse.kernels.line import Line
from wse.kernels.mesh_gemv import MESH_GEMV_CALL_CYCLES, mesh_gemv
from wse.program import Rect
from wse.spec import load_spec


def product(arch, length, k, m, groups, repeats, seed=0):
    """The machine after the product along columns of a 2 x `length` mesh, and what it should be: whole numbers, exact in f16."""
    rng = np.random.default_rng(seed)
    tiles, x = rng.integers(-2, 3, (length, 2, k, m)), rng.integers(-2, 3, (length, 2, k))
    program = CalledProgram(load_spec(arch), 2, length, call_cycles=MESH_GEMV_CALL_CYCLES)
    line = Line(Rect(0, 0, 2, length), "y")
    pe = program.pes(line.rect)
    y = pe.zeros("y", m, Type.F16)
    mesh_gemv(program, line, y, pe.array("A", tiles, Type.F16), pe.array("x", x, Type.F16), groups, repeats)
    return run(program), np.einsum("pckm,pck->cm", tiles, x)


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize(("length", "k", "m", "groups"), [(3, 1, 1, 1), (4, 3, 5, 2), (7, 4, 4, 3), (16, 1, 8, 8)])
def test_every_pe_ends_with_the_product(length, k, m, groups, repeats):
    machine, wanted = product("wse3-hw", length, k, m, groups, repeats)
    for column in range(2):
        for row in range(length):
            np.testing.assert_array_equal(machine.read(column, row, "y"), wanted[column])


@pytest.mark.parametrize("arch", ["wse3", "wse3-hw"])
def test_a_second_repetition_takes_as_long_as_a_later_one(arch):
    """So that two runs show what others measured over a hundred."""
    cycles = [product(arch, 16, 8, 8, 2, repeats)[0].cycles for repeats in (1, 2, 3, 6)]
    assert cycles[2] - cycles[1] == cycles[1] - cycles[0] and cycles[3] - cycles[2] == 3 * (cycles[1] - cycles[0])
