"""Workloads whose cycles others published, as programs: what fidelity is measured with.

Each `Workload` says what was published, in which unit, by whom, and whether the number set a constant of the preset
("calibrates"), tests the machine ("validates"), or covers more than the program does ("part": only an upper bound). Kernels
are written as published; what differs is in `differs`, and no constant makes up for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from wse.builder import ProgramBuilder
from wse.kernels.allreduce import RING, allreduce
from wse.kernels.broadcast import broadcast, broadcast_rect
from wse.kernels.gemm import mesh_gemm, summa
from wse.kernels.gemv import gemv
from wse.kernels.line import Line
from wse.kernels.product import LOOPED, STEPPED, Product
from wse.kernels.reduce import Algorithm, reduce
from wse.kernels.rmsnorm import rmsnorm
from wse.machine import Machine
from wse.program import Program, Rect
from wse.spec import MachineSpec

HPDC = "HPDC'24, arXiv 2404.15888"
WAFERLLM = "WaferLLM, OSDI'25"
F32_FOR_F16 = "f32 where the source has f16"


@dataclass(frozen=True)
class Workload:
    """One published number. `programs` builds what is run, for a spec of preset `arch`; `value` turns their cycles into `unit`."""

    name: str
    arch: str
    published: float
    unit: str
    source: str
    role: Literal["calibrates", "validates", "part"]
    programs: Callable[[MachineSpec], list[Program]]
    value: Callable[[list[int]], float] = lambda cycles: float(cycles[0])
    differs: str = ""

    def measure(self, spec: MachineSpec) -> float:
        """Run the programs and return the measured counterpart of `published`. Raises the machine's errors."""
        cycles = []
        for program in self.programs(spec):
            machine = Machine(program)
            machine.check(machine.run())
            cycles.append(machine.cycles)
        return self.value(cycles)


def workloads() -> Iterator[Workload]:
    """All of them, small ones first within each group."""
    yield from _collectives()
    yield from _one_pe()
    yield from _meshgemv_and_rmsnorm()
    yield from _gemms()
    yield from _decode_layer()


# --- collectives: closed forms ----------------------------------------------------------------------------------


def _collectives() -> Iterator[Workload]:
    t = 2
    star, chain, tree, two_phase = map(Algorithm, ("star", "chain", "tree", "two_phase"))

    def reduces(algorithm: Algorithm, length: int, num: int, published: float, role: Any) -> Workload:
        step = partial(reduce, algorithm=algorithm)
        name = f"{algorithm.name} reduce, P = {length}, B = {num}"
        return Workload(name, "wse2", published, "cycles", f"{HPDC}, model", role, partial(_line, length, num, step))

    yield reduces(chain, 16, 1, 91, "calibrates")
    yield reduces(chain, 512, 256, 3322, "calibrates")
    yield reduces(star, 16, 1, 20, "validates")
    for length, num in ((16, 64), (512, 256)):
        levels = math.log2(length)
        most = max(num * levels, num * length * levels / (2 * (length - 1)) + length - 1)
        yield reduces(tree, length, num, most + (2 * t + 1) * levels, "validates")
    for length, num in ((16, 64), (256, 256)):
        side = math.isqrt(length)
        energy = num * (length - side) + num * side * (side - 1)  # wavelet-hops inside the groups, and between their first PEs
        most = max(2 * num, energy / (length - 1) + length - 1)
        yield reduces(two_phase, length, num, most + (2 * t + 1) * (2 * side - 2), "validates")
    for length, num in ((16, 16), (16, 64)):
        form = 2 * (length - 1) * num / length + 4 * length - 6 + 2 * (length - 1) * (2 * t + 1)
        programs = partial(_line, length, num, partial(allreduce, algorithm=RING))
        yield Workload(f"ring all-reduce, P = {length}, B = {num}", "wse2", form, "cycles", f"{HPDC}, model", "validates", programs)
    yield Workload(
        "broadcast, P = 512, B = 256", "wse2", 772, "cycles", f"{HPDC}, model", "validates", partial(_line, 512, 256, broadcast)
    )
    yield Workload(
        "2-D broadcast, 32 x 32, B = 64", "wse2", 64 + 32 + 32 - 2 + 2 * t + 1, "cycles", f"{HPDC}, model", "validates", _broadcast_rect
    )


def _line(length: int, num: int, step: Callable[..., Any], spec: MachineSpec) -> list[Program]:
    program = ProgramBuilder(spec, length, 1)
    line = Line(Rect(0, 0, length, 1), "x")
    step(program, line, program.pes(line.rect).zeros("v", num))
    return [program.link()]


def _broadcast_rect(spec: MachineSpec) -> list[Program]:
    program, rect = ProgramBuilder(spec, 32, 32), Rect(0, 0, 32, 32)
    broadcast_rect(program, rect, program.pes(rect).zeros("v", 64))
    return [program.link()]


# --- one PE -----------------------------------------------------------------------------------------------------


def _one_pe() -> Iterator[Workload]:
    repeats = 10
    for n, published in ((20, 458.8), (40, 1678.8), (60, 3701.8), (100, 10144.8)):
        yield Workload(
            f"one PE, {n} x {n} matrix-vector, mapped FMAC", "wse2", published, "cycles per iteration", "vendor's simulator", "calibrates",
            partial(_matrix_vector, n, repeats), lambda cycles: cycles[0] / repeats, "39 to 47 cycles of set-up per iteration are left out",
        )  # fmt: skip


def _matrix_vector(n: int, repeats: int, spec: MachineSpec) -> list[Program]:
    program = ProgramBuilder(spec, 1, 1)
    pe = program.pes(Rect(0, 0, 1, 1))
    padded = -(-n // 4) * 4
    y, a, x = pe.zeros("y", padded), pe.zeros("A", (n, padded)), pe.zeros("x", n)
    with pe.loop(repeats):
        pe.fmac(y, a, x[:, None], mapped=True)
    return [program.link()]


# --- MeshGEMV, RMSNorm ------------------------------------------------------------------------------------------


def _meshgemv_and_rmsnorm() -> Iterator[Workload]:
    yield Workload(
        "MeshGEMV, [1,128] x [128,128] on 4 x 4 PEs, 2 groups", "wse3", 512, "cycles", f"{WAFERLLM}, vendor's simulator", "validates",
        _mesh_gemv, differs=F32_FOR_F16,
    )  # fmt: skip
    yield Workload(
        "RMSNorm of 128 rows, 16 columns less 8 columns", "wse3", 7454 - 7394, "cycles", "vendor's simulator", "validates",
        lambda spec: [_rmsnorm(columns, spec) for columns in (8, 16)], lambda cycles: float(cycles[1] - cycles[0]),
        f"{F32_FOR_F16}; elements per PE not published, so only the difference, to which they do not matter",
    )  # fmt: skip


def _mesh_gemv(spec: MachineSpec) -> list[Program]:
    program = ProgramBuilder(spec, 4, 4)
    line = Line(Rect(0, 0, 4, 4), "y")
    pe = program.pes(line.rect)
    gemv(program, line, pe.zeros("y", 32), pe.zeros("A", (32, 32)), pe.zeros("x", 32), Algorithm("two_tree", 2))
    return [program.link()]


def _rmsnorm(columns: int, spec: MachineSpec) -> Program:
    program, rows, n = ProgramBuilder(spec, columns, 1), 128, 4
    line = Line(Rect(0, 0, columns, 1), "x")
    pe = program.pes(line.rect)
    out, x, w, scale = pe.zeros("out", (rows, n)), pe.zeros("x", (rows, n)), pe.zeros("w", n), pe.zeros("scale", rows)
    rmsnorm(program, line, out, x, w, scale, columns * n, 1e-6, Algorithm("two_tree", 1))
    return program.link()


# --- GEMM -------------------------------------------------------------------------------------------------------


def _gemms() -> Iterator[Workload]:
    for side, mt, published in ((32, 4, 916), (32, 8, 3060), (128, 4, 912), (128, 8, 3045)):
        yield Workload(
            f"SUMMA, {side} x {side} PEs, tiles of {mt}", "wse2", published, "cycles per step", "CS-2 hardware", "validates",
            partial(_gemm, summa, side, (mt, mt, mt), LOOPED), lambda cycles, side=side: cycles[0] / side,  # type: ignore[misc]
            "tiles pass from core to core, not by rerouted broadcast; no library calls, no task switches",
        )  # fmt: skip
    mesh = ((1, 540, 2095.8, 4171.1), (4, 555, 2148.7, 4283.9), (8, 540, 2211.7, 4444.6))
    for mt, local, *runs in mesh:
        yield Workload(
            f"MeshGEMM's local product, Mt = {mt}, Kt = Nt = 8", "wse3", local, "cycles", f"{WAFERLLM}, vendor's simulator", "validates",
            partial(_gemm, mesh_gemm, 1, (mt, 8, 8), STEPPED), differs=F32_FOR_F16,
        )  # fmt: skip
        for side, run in zip((3, 6), runs, strict=True):
            yield Workload(
                f"MeshGEMM, {side} x {side} PEs, Mt = {mt}, Kt = Nt = 8", "wse3", run, "cycles", f"{WAFERLLM}, vendor's simulator",
                "validates", partial(_gemm, mesh_gemm, side, (mt, 8, 8), STEPPED),
                differs=f"{F32_FOR_F16}; no task switches between steps; B is aligned on the mesh too",
            )  # fmt: skip


def _gemm(
    multiply: Callable[..., Any], side: int, tile: tuple[int, int, int], product: Product, spec: MachineSpec
) -> list[Program]:
    program = ProgramBuilder(spec, side, side)
    m, k, n = tile
    multiply(program, Rect(0, 0, side, side), np.zeros((side, side, m, k), np.float32), np.zeros((side, side, k, n), np.float32), product)
    return [program.link()]


# --- the decode layer -------------------------------------------------------------------------------------------


def _decode_layer() -> Iterator[Workload]:
    for side, dim, hidden, published in ((420, 4200, 14700, 12732), (540, 4320, 14580, 13742)):
        yield Workload(
            f"LLaMA3-8B decode layer on {side} x {side} PEs, its ten all-reduces", "wse2", published, "cycles per layer",
            f"{WAFERLLM}, tables 4-5, CS-2 hardware", "part", partial(_ten_allreduces, side, dim // side, hidden // side),
            differs=f"{F32_FOR_F16}; the published number is of the whole layer",
        )  # fmt: skip


def _ten_allreduces(side: int, dim: int, hidden: int, spec: MachineSpec) -> list[Program]:
    """In the layer's order: norm, q|k|v, scores (x), maximum, sum, values, output (x), norm, gate|up, down (x); elements per PE."""
    program = ProgramBuilder(spec, side, side)
    rect = Rect(0, 0, side, side)
    value = program.pes(rect).zeros("v", max(3 * dim, 2 * hidden))
    y, x = Line(rect, "y"), Line(rect, "x")
    steps = [(y, 1), (y, 3 * dim), (x, dim), (y, 1), (y, 1), (y, dim), (x, dim), (y, 1), (y, 2 * hidden), (x, dim)]
    for line, num in steps:
        allreduce(program, line, value[:num], algorithm=Algorithm("two_tree", 20))
    return [program.link()]
