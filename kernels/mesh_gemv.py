"""MeshGEMV as its authors published it (WaferLLM, OSDI'25), and as it is timed: the product again and again, one after another.

Known from the source (WSE-3): a repetition begins with two conditions on the count; y is cleared; three descriptors are loaded, and one
multiply-accumulate of y's length is mapped over x; then the two-tree all-reduce in which every PE asks for its role (`tree_allreduce`).
Tiles of a single element are vector operations like others. Assumed: what compiled code costs (`calls`), but for the calls.

`MESH_GEMV_CALL_CYCLES` is calibrated: with it the smallest of the runs on the chip, 16 PEs, tiles of 1 x 1, 2 groups (247 cycles), comes
as near as scalar instructions of 3 cycles let it, on `wse3-hw`. It is less than a microbenchmark of vector operations says
(`calls.CALL_CYCLES`), which was run on the simulator.
"""

from __future__ import annotations

from wse.isa import Op, Type
from wse.kernels.calls import CalledProgram
from wse.kernels.layer_reduce import tree_allreduce
from wse.kernels.line import Line
from wse.operands import View

MESH_GEMV_CALL_CYCLES = 5


def mesh_gemv(program: CalledProgram, line: Line, y: View, tile: View, x: View, groups: int, repeats: int = 1) -> None:
    """y = sum over each line of tile^T x, on all PEs of the line, `repeats` times: f16 tile (k, m), x (k,), y (m,).

    Contract as that of `gemv` in f16, but for the order of additions at roots. Raises `ProgramError`.
    """
    pe = program.pes(line.rect)
    for _ in range(repeats):
        with pe.function():
            pe.statements(2)  # the limits of the count, and the count
            pe.ask(False, False)
            pe.vector(Op.MOV, y, 0.0, None, type=Type.F16, is_call=True)
            pe.vector(Op.FMAC, y, tile, x[:, None], mapped=True, type=Type.F16, is_call=True)
            tree_allreduce(program, line, y, groups)
