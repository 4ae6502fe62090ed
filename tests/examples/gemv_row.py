import numpy as np

from wse.builder import ProgramBuilder
from wse.isa import Port
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec

P, K, M = 4, 8, 16                                       # PEs, inputs of each, outputs
random = np.random.default_rng(0)
a, x = random.random((P * K, M)), random.random(P * K)
program = ProgramBuilder(load_spec("wse2"), P, 1)
row = Rect(0, 0, P, 1)
pe = program.pes(row)
tile, inputs = pe.array("A", a.reshape(1, P, K, M)), pe.array("x", x.reshape(1, P, K))
y = pe.zeros("y", M)
pe.fmac(y, tile, inputs[:, None], mapped=True)           # every PE: its own part of the sum

for i in range(P - 1, 0, -1):                            # from the east end on, each PE adds its part and passes the sum west;
    color = i % 2                                        # a color has one route at a PE, so neighbours take turns
    program.route(row.column(i), color, Port.RAMP, [Port.WEST])
    program.route(row.column(i - 1), color, Port.EAST, [Port.RAMP])
for i in range(P):
    pe = program.pes(row.column(i))
    theirs = pe.recv((i + 1) % 2)
    if i == P - 1:
        pe.mov(pe.send(i % 2), y)
    elif i > 0:
        pe.add(pe.send(i % 2), y, theirs)                # wavelet by wavelet, without a stop at the memory
    else:
        pe.add(y, y, theirs)

machine = Machine(program.link())
machine.check(machine.run())
print(f"{machine.cycles} cycles, off by {np.abs(machine.read(0, 0, 'y') - x @ a).max():.1e}")
