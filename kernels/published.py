"""Workloads whose cycles others published, as programs: what fidelity is measured with.

Each `Workload` says what was published, in which unit and by whom. Kernels are written as published, those that the vendor's compiler
made with its calls (`CalledProgram`); what differs is in `differs`, and no constant makes up for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from wse.builder import ProgramBuilder
from wse.isa import Type
from wse.kernels.allreduce import RING, allreduce
from wse.kernels.broadcast import broadcast, broadcast_rect
from wse.kernels.calls import CalledProgram
from wse.kernels.gemm import mesh_gemm
from wse.kernels.layer import LayerDims, decode_layer, decode_layer_cycles
from wse.kernels.line import Line
from wse.kernels.mesh_gemv import MESH_GEMV_CALL_CYCLES, mesh_gemv
from wse.kernels.microbenchmarks import microbenchmarks
from wse.kernels.product import STEPPED
from wse.kernels.reduce import Algorithm, reduce
from wse.kernels.rmsnorm import rmsnorm
from wse.kernels.summa import summa_broadcast
from wse.kernels.workload import Workload
from wse.program import Program, Rect
from wse.spec import MachineSpec

HPDC = "HPDC'24, arXiv 2404.15888"
WAFERLLM = "WaferLLM, OSDI'25"
CALLS = "vector operations cost what calls do in a microbenchmark; the rest of the compiled code is ours"
MESH_GEMV = "what a call takes is calibrated on one of the runs on the chip; the rest of the compiled code is ours"
BANKS = {"bank_conflicts": 1}
MESH_GEMM = partial(mesh_gemm, product=STEPPED, type=Type.F16, loaded=True)  # as published: A alone is aligned on the mesh
CHIP_GEMVS: tuple[tuple[int, int, int, int, float, Any], ...] = (  # P, tile (k, m), groups, cycles
    (16, 1, 1, 2, 247.25, "calibrates"),  # a call
    (16, 8, 1, 2, 268.25, "calibrates"),  # less the one above: 7 mapped steps
    (144, 1, 1, 2, 951.82, "calibrates"),
    (144, 1, 1, 8, 604.81, "calibrates"),  # the one above less this: 24 stages of chains, and as many hops as there are
    (16, 1, 1, 8, 241.26, "validates"),
    (16, 8, 8, 2, 275.26, "validates"),
    (144, 1, 1, 4, 711.81, "validates"),
    (144, 8, 8, 8, 634.81, "validates"),
    (400, 8, 8, 8, 1411.38, "validates"),
    (720, 8, 8, 8, 2372.33, "validates"),
)
GROUPS = 20  # of the decode layer's two-trees
LAYERS = (  # name, sizes, layers, tokens a second, what is not sure
    ("LLaMA3-8B", LayerDims(420, 4200, 14700, 4200), 32, 2699.9, ""),
    ("LLaMA3-8B", LayerDims(540, 4320, 14580, 4320), 32, 2501.5, ""),
    ("Qwen2-72B", LayerDims(420, 8400, 29820, 4200), 80, 840.0, "; rounded, its mesh taken from the repository's configuration"),
)
READINGS = (  # of what was timed: fused or not
    (True, "the all-reduces that the published kernel calls, two of which its library lacks"),
    (False, "the all-reduces that the published library has"),
)
WAFERLLM_HZ = 1.1e9  # by which its authors' launcher turns cycles into seconds


def workloads() -> Iterator[Workload]:
    """All of them, small ones first within each group."""
    yield from _collectives()
    yield from _one_pe()
    yield from microbenchmarks()
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
    for length, num in ((16, 1), (64, 16), (64, 256)):
        yield reduces(star, length, num, num * (length - 1) + 2 * t + 1, "validates")
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
            partial(_matrix_vector, n, repeats), lambda machines: machines[0].cycles / repeats,
            "39 to 47 cycles of set-up are left out; x's element is loaded once a column: our mapped FMAC reads it for each element", BANKS,
        )  # fmt: skip
    yield Workload(
        "one PE, 5 x 5 x 5 tile product, its 25 FMACs", "wse2", 5 * sum(map(int, "1112121112121111121111121")), "cycles",
        "vendor's simulator, trace", "calibrates", _tile_product,
        lambda machines: float(machines[0].counters().row_busy[:25].sum()), settings=BANKS,
    )  # fmt: skip


def _matrix_vector(n: int, repeats: int, spec: MachineSpec) -> list[Program]:
    """Columns padded to 4 words, so that all meet y in the same way: with a word between, in another bank."""
    program = ProgramBuilder(spec, 1, 1)
    pe = program.pes(Rect(0, 0, 1, 1))
    padded = -(-n // 4) * 4
    y, _, a, x = pe.zeros("y", padded), pe.zeros("between", 1), pe.zeros("A", (n, padded)), pe.zeros("x", n)
    scalar = program.reg()
    with pe.loop(repeats):
        for column in range(n):
            pe.mov(scalar, x[column])
            pe.fmac(y, a[column], scalar)
    return [program.link()]


def _tile_product(spec: MachineSpec) -> list[Program]:
    """C += A B, one after another in SRAM: for each k, row k of B into each row of C; A's element is a scalar."""
    program = ProgramBuilder(spec, 1, 1)
    pe = program.pes(Rect(0, 0, 1, 1))
    _, b, c = (pe.zeros(name, (5, 5)) for name in "ABC")
    scalar = program.reg()
    for k in range(5):
        for i in range(5):
            pe.fmac(c[i], b[k], scalar)
    return [program.link()]


# --- MeshGEMV, RMSNorm ------------------------------------------------------------------------------------------


def _meshgemv_and_rmsnorm() -> Iterator[Workload]:
    """MeshGEMV runs as often as it takes to see what a repetition adds: as published, the mean of a hundred after warming up."""
    per_repeat = lambda machines: float(machines[1].cycles - machines[0].cycles)  # noqa: E731
    yield Workload(
        "MeshGEMV, [1,128] x [128,128] on 4 x 4 PEs, 2 groups", "wse3", 512, "cycles", f"{WAFERLLM}, vendor's simulator", "validates",
        partial(_mesh_gemv, 4, 32, 32, 2), per_repeat, MESH_GEMV,
    )  # fmt: skip
    for side, k, m, groups, published, role in CHIP_GEMVS:
        yield Workload(
            f"MeshGEMV on the chip, P = {side}, tiles of {k} x {m}, {groups} groups", "wse3-hw", published, "cycles",
            "third party, hardware: logs of github.com/FxPiGaAo/WaferLLM", role, partial(_mesh_gemv, side, k, m, groups), per_repeat,
            f"{MESH_GEMV}; one column of PEs, all are alike",
        )  # fmt: skip
    yield Workload(
        "RMSNorm of 128 rows, 16 columns less 8 columns", "wse3", 7454 - 7394, "cycles", "vendor's simulator", "validates",
        lambda spec: [_rmsnorm(columns, spec) for columns in (8, 16)], lambda machines: float(machines[1].cycles - machines[0].cycles),
        "elements per PE not published, so only the difference, to which they do not matter",
    )  # fmt: skip


def _mesh_gemv(side: int, k: int, m: int, groups: int, spec: MachineSpec) -> list[Program]:
    programs = []
    for repeats in (1, 2):
        program = CalledProgram(spec, 1, side, call_cycles=MESH_GEMV_CALL_CYCLES)
        line = Line(Rect(0, 0, 1, side), "y")
        pe = program.pes(line.rect)
        y, tile, x = pe.zeros("y", m, Type.F16), pe.zeros("A", (k, m), Type.F16), pe.zeros("x", k, Type.F16)
        mesh_gemv(program, line, y, tile, x, groups, repeats)
        programs.append(program.link())
    return programs


def _rmsnorm(columns: int, spec: MachineSpec) -> Program:
    program, rows, n = CalledProgram(spec, columns, 1), 128, 4
    line = Line(Rect(0, 0, columns, 1), "x")
    pe = program.pes(line.rect)
    out, x = (pe.zeros(name, (rows, n), Type.F16) for name in ("out", "x"))
    w, scale = pe.zeros("w", n, Type.F16), pe.zeros("scale", rows, Type.F16)
    rmsnorm(program, line, out, x, w, scale, columns * n, 1e-3, Algorithm("two_tree", 1), Type.F16)
    return program.link()


# --- GEMM -------------------------------------------------------------------------------------------------------


def _gemms() -> Iterator[Workload]:
    for side, mt, published in ((32, 4, 916), (32, 8, 3060), (128, 4, 912), (128, 8, 3045)):
        yield Workload(
            f"SUMMA, {side} x {side} PEs, tiles of {mt}", "wse2", published, "cycles per step", "CS-2 hardware", "validates",
            partial(_gemm, summa_broadcast, side, (mt, mt, mt)),
            lambda machines, side=side: machines[0].cycles / side,  # type: ignore[misc]
            f"{CALLS}; the library's broadcast is ours", BANKS, side > 32,
        )  # fmt: skip
    mesh = ((1, 540, 2095.8, 4171.1), (4, 555, 2148.7, 4283.9), (8, 540, 2211.7, 4444.6))
    for mt, local, *runs in mesh:
        yield Workload(
            f"MeshGEMM's local product, Mt = {mt}, Kt = Nt = 8", "wse3", local, "cycles", f"{WAFERLLM}, vendor's simulator", "calibrates",
            partial(_gemm, MESH_GEMM, 1, (mt, 8, 8)), differs=CALLS,
        )  # fmt: skip
        for side, run in zip((3, 6), runs, strict=True):
            yield Workload(
                f"MeshGEMM, {side} x {side} PEs, Mt = {mt}, Kt = Nt = 8", "wse3", run, "cycles", f"{WAFERLLM}, vendor's simulator",
                "validates", partial(_gemm, MESH_GEMM, side, (mt, 8, 8)),
                differs=f"{CALLS}; no task switches between steps; most of it is the local product",
            )  # fmt: skip


def _gemm(multiply: Callable[..., Any], side: int, tile: tuple[int, int, int], spec: MachineSpec) -> list[Program]:
    program = CalledProgram(spec, side, side)
    m, k, n = tile
    a, b = np.zeros((side, side, m, k), np.float32), np.zeros((side, side, k, n), np.float32)
    multiply(program, Rect(0, 0, side, side), a, b)
    return [program.link()]


# --- the decode layer -------------------------------------------------------------------------------------------


def _decode_layer() -> Iterator[Workload]:
    for name, dims, layers, tokens, unsure in LAYERS:
        for fused, reading in READINGS:
            yield Workload(
                f"{name} decode layer, {dims.side} x {dims.side} PEs, {10 if fused else 13} all-reduces", "wse2",
                round(WAFERLLM_HZ / tokens / layers), "cycles", f"{WAFERLLM}, CS-2 hardware", "validates", partial(_layer, dims, fused),
                differs=f"{CALLS}; published as tokens a second at 1.1 GHz, of the whole model{unsure}; {reading}", settings=BANKS,
                is_long=True, predict=partial(_predict_layer, dims, fused),
            )  # fmt: skip


def _predict_layer(dims: LayerDims, fused: bool, spec: MachineSpec) -> float:
    return float(decode_layer_cycles(spec, dims, GROUPS, fused))


def _layer(dims: LayerDims, fused: bool, spec: MachineSpec) -> list[Program]:
    program = CalledProgram(spec, dims.side, dims.side)
    decode_layer(program, dims, GROUPS, fused)
    return [program.link()]
