"""GEMV on a rectangle: every PE multiplies its tile, and the partial products are all-reduced along a line.

With a chain it is the plain form, with a two-tree of K groups it is "MeshGEMV" (WaferLLM, OSDI'25). Contract: the result is
`gemv_reference` to within (k P - 1) 2^-24 sum |a x|: f32 products and sums, in the order of k on a PE, then that of `reduce`.
"""

from __future__ import annotations

import numpy as np

from wse.builder import Pes, ProgramBuilder
from wse.isa import Op, Type
from wse.kernels.allreduce import allreduce, allreduce_cycles
from wse.kernels.cost import mapped_cycles, pass_cycles, vector_cycles, wavelets
from wse.kernels.line import SENDER, Line, join, wire
from wse.kernels.reduce import Algorithm
from wse.operands import View
from wse.spec import MachineSpec


def gemv(
    program: ProgramBuilder, line: Line, y: View, tile: View, x: View, algorithm: Algorithm | None = None, type: Type | None = None
) -> None:
    """y = sum over each line of tile^T x, on all PEs of the line: tile (k, m), x (k,), y (m,). `algorithm`, `type` as in `allreduce`."""
    multiply(program.pes(line.rect), y, tile, x, type)
    allreduce(program, line, y, algorithm=algorithm, type=type)


def multiply(pe: Pes, y: View, tile: View, x: View, type: Type | None = None) -> None:
    """y = tile^T x on each PE alone: one multiply-accumulate of length m for each of the k inputs."""
    pe.mov(y, 0.0, type=type)
    pe.fmac(y, tile, x[:, None], mapped=True, type=type)


def multiply_cycles(spec: MachineSpec, k: int, m: int, type: Type | None = None) -> int:
    """Predicted cycles of `multiply`, exact: clear y, then k outer steps of ceil(m / lanes) beats and the map step."""
    return vector_cycles(spec, Op.MOV, m, type=type) + mapped_cycles(spec, Op.FMAC, k, m, type)


def gemv_cycles(spec: MachineSpec, algorithm: Algorithm, length: int, k: int, m: int, type: Type | None = None) -> int:
    """Predicted cycles of `gemv` with tiles (k, m) along lines of `length`."""
    return multiply_cycles(spec, k, m, type) + allreduce_cycles(spec, algorithm, length, wavelets(m, type))


def gemv_streamed(program: ProgramBuilder, line: Line, y: View, tile: View, x: View, root: int = 0) -> None:
    """y = tile^T x on every PE of each line, with x (k,) only on the PE at index `root`, which streams it to the others.

    Each wavelet is held while it multiplies one row of the tile; the root sends by microthread and multiplies from memory
    meanwhile. y (m,) stays where it is: with lines along x and an all-reduce along y this is a GEMV on a rectangle.
    """
    everyone = program.pes(line.rect)
    everyone.mov(y, 0.0)
    if line.length == 1:
        everyone.fmac(y, tile, x[:, None], mapped=True)
        return
    color = wire(program, line.spread(root), line.colors)
    source = program.pes(line.at(root))
    source.mov(source.send(color), x, thread=SENDER)
    source.fmac(y, tile, x[:, None], mapped=True)
    join(source, x, SENDER)
    for first, n in ((0, root), (root + 1, line.length - root - 1)):
        if n:
            pe = program.pes(line.at(first, n))
            pe.fmac(y, tile, pe.recv(color, held=True), mapped=True)


def gemv_streamed_cycles(spec: MachineSpec, length: int, k: int, m: int, root: int = 0) -> int:
    """Predicted cycles of `gemv_streamed` along lines of `length`: the farthest PE multiplies as x reaches it.

    Exact while that is the last to end. The root may end later, by at most a beat for each element it sends between its own.
    """
    if length == 1:
        return multiply_cycles(spec, k, m)
    return multiply_cycles(spec, k, m) + pass_cycles(spec, max(root, length - 1 - root)) - spec.map_step_cycles


def gemv_reference(tiles: np.ndarray, x: np.ndarray) -> np.ndarray:
    """tiles (P, k, m), x (P, k) -> (m,), in f64."""
    return np.einsum("pkm,pk->m", tiles.astype(np.float64), x.astype(np.float64))
