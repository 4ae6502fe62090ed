import numpy as np

from wse.builder import ProgramBuilder
from wse.kernels.line import Line
from wse.kernels.reduce import reduce
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec

H, W, K, M = 3, 4, 8, 16                                 # rows of PEs share outputs, columns inputs
random = np.random.default_rng(0)
a, x = random.random((W * K, H * M)), random.random(W * K)
program = ProgramBuilder(load_spec("wse2"), W, H)
rect = Rect(0, 0, W, H)
pe = program.pes(rect)
tile = pe.array("A", a.reshape(W, K, H, M).transpose(2, 0, 1, 3))      # (H, W, K, M), one tile per PE
inputs = pe.array("x", np.broadcast_to(x.reshape(1, W, K), (H, W, K)))
y = pe.zeros("y", M)
pe.fmac(y, tile, inputs[:, None], mapped=True)
reduce(program, Line(rect, "x"), y)                      # all rows at once, each onto its first PE; takes free colors

machine = Machine(program.link())
machine.check(machine.run())
result = np.concatenate([machine.read(0, row, "y") for row in range(H)])
print(f"{machine.cycles} cycles, off by {np.abs(result - x @ a).max():.1e}")
