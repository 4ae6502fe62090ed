"""Kernels in f16 with packed wavelets, on the reference machine: values, and cycles by the same cost functions."""

import numpy as np
import pytest
from kernel_bench import check_cycles
from reference.machine import ReferenceMachine

from wse.builder import ProgramBuilder
from wse.isa import Status, Type
from wse.kernels.allreduce import RING, allreduce, allreduce_cycles
from wse.kernels.cost import wavelets
from wse.kernels.gemv import gemv, gemv_cycles
from wse.kernels.line import Line
from wse.kernels.reduce import CHAIN, Algorithm
from wse.program import Rect
from wse.spec import load_spec

SPEC = load_spec("wse3")


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


@pytest.mark.parametrize("algorithm", [CHAIN, Algorithm("two_tree", 1), Algorithm("two_tree", 2), Algorithm("tree"), RING], ids=str)
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
    """[1,128] x [128,128] on 4 x 4 PEs with 2 groups, vendor's simulator: 512 cycles, which count its library's overhead in: 23 % less."""
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
    check_cycles("MeshGEMV, published", 512, machine.cycles, within=0.25 * 512)
