"""Eight pairs of neighbours swap rows. Both send first, and the queues between them do not hold a row: they wait for each other."""

from wse.builder import ProgramBuilder
from wse.isa import Port, Type
from wse.program import Rect
from wse.spec import load_spec

WEST, EAST = Rect(0, 0, 1, 8), Rect(1, 0, 1, 8)
NUM = 64


def swap(known: bool) -> ProgramBuilder:
    """`known`: the length of a row is a number in the code, and not one that PEs read from memory."""
    program = ProgramBuilder(load_spec("wse2"), 2, 8)
    for color, source, sink, leave, come in ((1, WEST, EAST, Port.EAST, Port.WEST), (2, EAST, WEST, Port.WEST, Port.EAST)):
        program.route(source, color, Port.RAMP, [leave])
        program.route(sink, color, come, [Port.RAMP])
    for rect, out, back in ((WEST, 1, 2), (EAST, 2, 1)):
        pes, num = program.pes(rect), program.reg(Type.I32)
        mine, theirs = pes.zeros("mine", NUM), pes.zeros("theirs", NUM)
        pes.mov(num, pes.const("num", [NUM], Type.I32))
        length = NUM if known else num
        pes.mov(pes.send(out), mine, shape=length)
        pes.mov(theirs, pes.recv(back), shape=length)
    return program


program = swap(known=False)
