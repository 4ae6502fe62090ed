"""Wavelet-hops per second of the engine: chain reduce and broadcast along the rows of a mesh, beside NumPy's sum of the same data.

    python benchmarks/fabric.py [--size 64 --wavelets 1024]
"""

from __future__ import annotations

import os
import time

import click
import numpy as np

from wse.builder import ProgramBuilder
from wse.kernels.broadcast import broadcast, broadcast_cycles
from wse.kernels.line import Line
from wse.kernels.reduce import CHAIN, reduce, reduce_cycles
from wse.machine import Machine
from wse.program import Program, Rect
from wse.spec import load_spec

SPEC = load_spec("wse2", width=1024, height=1024)


def build(size: int, wavelets: int, mesh: int, step: object) -> Program:
    """A linked program that does `step` along every row of size x size PEs in the corner of a mesh."""
    program = ProgramBuilder(SPEC, mesh, mesh)
    line = Line(Rect(0, 0, size, size), "x")
    data = np.random.default_rng(0).standard_normal((size, size, wavelets)).astype(np.float32)
    step(program, line, program.pes(line.rect).array("v", data))  # type: ignore[operator]
    return program.link()


def timed(program: Program) -> tuple[float, float, int]:
    """(seconds to load, seconds to run, cycles)."""
    start = time.perf_counter()
    machine = Machine(program)
    loaded = time.perf_counter()
    machine.check(machine.run())
    return loaded - start, time.perf_counter() - loaded, machine.cycles


@click.command()
@click.option("--size", default=64, show_default=True)
@click.option("--wavelets", default=1024, show_default=True)
def main(size: int, wavelets: int) -> None:
    """Print the figures."""
    print(f"{os.cpu_count()} cores; {size} x {size} PEs, {wavelets} wavelets")
    timed(build(4, 4, 4, reduce))  # compile
    data = np.ones((size, size, wavelets), np.float32)
    start = time.perf_counter()
    data.sum(axis=1)
    numpy_seconds = time.perf_counter() - start
    for step, predicted in ((reduce, reduce_cycles(SPEC, CHAIN, size, wavelets)), (broadcast, broadcast_cycles(SPEC, size, wavelets))):
        start = time.perf_counter()
        program = build(size, wavelets, size, step)
        build_seconds = time.perf_counter() - start
        load, run, cycles = timed(program)
        hops = size * (size - 1) * wavelets
        assert cycles == predicted
        print(
            f"{step.__name__:9} {hops / run / 1e6:6.2f} M wavelet-hops/s, {cycles} cycles, build {build_seconds:.2f} s, "
            f"load {load:.2f} s, run {run:.2f} s, {run / numpy_seconds:,.0f} x NumPy's sum"
        )
    small, corner = (min(timed(build(32, 64, mesh, reduce))[1] for _ in range(3)) for mesh in (32, 512))
    print(f"32 x 32 PEs, alone {small:.3f} s, in the corner of 512 x 512 {corner:.3f} s: {corner / small:.2f} x")


if __name__ == "__main__":
    main()
