import numpy as np

from wse.builder import ProgramBuilder
from wse.isa import Port
from wse.kernels.line import Line
from wse.kernels.reduce import reduce
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec

H, W, K, M = 3, 4, 8, 16
random = np.random.default_rng(0)
a, x = random.random((W * K, H * M)), random.random(W * K)
IN = 0


def program() -> Machine:
    program = ProgramBuilder(load_spec("wse2"), W, H)
    rect = Rect(0, 0, W, H)
    program.route(rect.row(0, H - 1), IN, Port.NORTH, [Port.RAMP, Port.SOUTH])     # down every column, a copy to each core
    program.route(rect.row(H - 1), IN, Port.NORTH, [Port.RAMP])
    for column in range(W):
        program.input(f"x{column}", column, 0, IN, Port.NORTH)
    pe = program.pes(rect)
    tile = pe.array("A", a.reshape(W, K, H, M).transpose(2, 0, 1, 3))
    y = pe.zeros("y", M)
    pe.fmac(y, tile, pe.recv(IN, held=True), shape=(K, M), mapped=True)            # each x is held while it multiplies a row of A
    pe.print("my part is {:.3f} ...", y[0])
    reduce(program, Line(rect, "x", colors=[1, 2]), y)
    machine = Machine(program.link())
    for column in range(W):
        machine.feed(f"x{column}", x[column * K : (column + 1) * K].astype(np.float32))
    return machine


if __name__ == "__main__":
    machine = program()
    machine.check(machine.run())
    result = np.concatenate([machine.read(0, row, "y") for row in range(H)])
    print(f"{machine.cycles} cycles, off by {np.abs(result - x @ a).max():.1e}")
