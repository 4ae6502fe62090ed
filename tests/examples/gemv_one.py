import numpy as np

from wse.builder import ProgramBuilder
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec

random = np.random.default_rng(0)
a, x = random.random((8, 16)), random.random(8)          # y = x @ a
program = ProgramBuilder(load_spec("wse2"), 1, 1)
pe = program.pes(Rect(0, 0, 1, 1))                       # code for these PEs; data has (height, width) in front
tile, inputs, y = pe.array("A", a[None, None]), pe.array("x", x[None, None]), pe.zeros("y", 16)
pe.fmac(y, tile, inputs[:, None], mapped=True)           # y += A[k, :] * x[k], for every k

machine = Machine(program.link())
machine.check(machine.run())
print(f"{machine.cycles} cycles, off by {np.abs(machine.read(0, 0, 'y') - x @ a).max():.1e}")
