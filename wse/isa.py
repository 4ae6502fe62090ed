"""The instruction set: opcodes, operand kinds, and the columns of a linked instruction.

An instruction is one row of int64 in `Program.code`; both the engine and the reference machine read
rows by the column names below. What each opcode means, element by element, stands beside it. How
long things take is design section 2.2; where that section is silent these rules fill it in:

* A vector operation over `n` elements runs in beats of `lanes(op, type)` elements, one element where an
  operand is a fabric operand consumed per element (two where it is packed, see below). A mapped operation runs each outer step (all
  extents but the last) in beats of its own. A beat takes `cycles(op, type)` cycles: it takes its fabric operands,
  reads and writes memory and registers, and claims room in its output in the first; an element it
  sends has "executed" in the last. Elements are handled in index order, one after another.
* With zero elements an operation is over `issue_cycles` after it was issued, and moves nothing.
* A vector operation issued in t on the main thread: the next instruction issues the cycle after its
  last beat's last cycle. One given to a microthread: the next issues in t + `issue_cycles`; if that
  microthread is busy the instruction issues the cycle after it became free.
* Control instructions and branches do not use the datapath: the next instruction issues `control_cycles`
  or `branch_*_cycles` later. What ACTIVATE, BLOCK, UNBLOCK or a completion does in t can be seen from t + 1.
* A mapped operation's first beat waits `map_step_cycles` more, as does the first beat of each later outer step,
  counted from the last beat before it.
* A task picked in t issues its first instruction in t + `task_start_cycles`; tasks picked in
  cycle 0 were started by the loader and begin at once. A task's end takes no time: the next runnable task is picked
  in the cycle in which its next instruction would have issued.
* Stalls: a PE-cycle in which no beat is under way belongs to the lowest-numbered thread with an
  instruction under way (main thread first): "overhead" before that thread's next beat could start (issue, map step, branch,
  task start), then "data" until its fabric operands are there, then "room".
* Counters by row of code, summed over all PEs that run it: `row_busy`, cycles in which a beat of its operation was under way;
  `row_elapsed`, for each of its operations that has ended, the cycles from its issue to its last cycle, both included. A control
  instruction or branch adds what it costs to both when it issues. `row_issued`: how many times it issued.

Switches. A color at a router has 1 to 4 route positions, each an rx port and a set of tx ports; a plain route is one position.

* A router has one FIFO for each (color, rx port that any position of the color names, or that code can write there); in each
  cycle the current position's rx port says which of them is served, and its tx ports where the wavelet goes. The first position
  is current at load. Wavelets in the other FIFOs wait. A neighbour, the host or the core sends into the FIFO of the port it
  reaches, and room is judged for that FIFO alone. A FIFO or queue gives at most one wavelet in a cycle.
* Arbitration and `wait` go by the cycle from which a wavelet could have left had its FIFO been served all the time.
* A control wavelet has its control bit set and says in its 32 bits (`control_bits`): up to 8 commands, the first in bits 0-1, and
  in bits 16-21 the number of a task plus one, or 0 for none; bits 22-31 are free. It moves as any wavelet does: takes a slot, a
  link, and in multicast every tx port.
* Where a control wavelet leaves a router in t and its color has a switch there, its first command acts on that switch: ADVANCE to
  the next position, RESET to the first; the new position counts from t + 1. What leaves has that command popped (the others move
  up, NONE comes in last) with `Pop.ALWAYS`, and with `Pop.ON_ADVANCE` if the command was ADVANCE. A plain route passes it on as
  it is, and so does a link to the host.
* A control wavelet that would leave a switch with bits 0-21 all zero is spent: it has nothing left to say. It goes nowhere, needs
  neither port nor room, and takes no time: in the first cycle t in which it is the oldest of the served FIFO and could leave, it
  is taken off and its command acts at once, so that in t the router serves the FIFO of the new position (unless that is the FIFO
  it was in, which has given its wavelet). One for each color and cycle. It is counted neither in `sent` nor in `wait`.
* After the last position ADVANCE leads to the first with ring mode; without, it is `Fault.SWITCH_PAST_END` of that PE and color
  in t.
* REROUTE issued in t overwrites one position of a color at its own router, from t + 1 on (also of a plain route, which is a ring
  of one position that never pops). Wavelets stay in the FIFOs they are in. It takes `control_cycles`. If it meets a command in
  the same cycle, both act.
* Counters: `sent` and `wait` are by (PE, color) as for plain routes; `switch_sent` counts, for each row of `Program.switches`,
  the wavelets that left through each port.

Control wavelets at a core. In a cycle t in which the oldest wavelet of an input queue could be consumed and is a control wavelet,
the core takes it off: the task it names, if any, is activated, seen from t + 1 on. It is no operand: what is behind it can be
consumed from t + 1 on. A task without code (or one that a color is bound to) is `Fault.BAD_TASK`.

Data tasks. A task that is bound to a color is runnable in t when it is not blocked and the oldest wavelet of that color's input
queue could be consumed in t and is data. Like any task it is picked only when the main thread is free, and the lowest number
goes first over all kinds. Picking it in t consumes the wavelet and puts its 32 bits into the register named in the binding,
before the core issues or executes anything in t; the task then takes `task_start_cycles` as others do. A queue gives one wavelet
a cycle, so that a task whose code takes no time runs once a cycle. BLOCK and UNBLOCK act on it; ACTIVATE, completions and control
wavelets cannot name it. The main task cannot be bound, a queue feeds at most one task, and then no instruction.

f16. An operation of type F16 rounds every source to f16 when it reads it (f32 memory, registers, immediates and unpacked wavelets
hold f32; f16 memory and packed wavelets are exact), computes in f16, and widens the result again where 32 bits are stored. Add,
subtract, multiply, maximum and minimum round once, to nearest even; FMAC rounds the product to f16, then the sum; special
functions and ITOF (of an i32 source) are computed as for f32 and that result is rounded. FMAC of type MIXED rounds both factors
to f16; the product, which is then exact, is added to the f32 destination and the sum rounded to f32. ARGMAX and branches have no
f16 type: f16 memory widens exactly.

* `lanes` and `cycles` of a type are numbers of the spec: move, add and fma with `_f16` for F16, `fma_mixed` for MIXED; special
  functions are one element a beat in any type.
* A fabric operand whose column TYPE is F16 is packed, two elements a wavelet, the first in the low half; else a wavelet is one
  element of 32 bits (an f16 value as f32). The operation may be of any floating-point type. Received, an element of even index in
  the whole operation takes a wavelet and the element after it the high half; of a held operand, so do outer steps of even and odd
  index. Sent, the wavelet leaves with the element of odd index, or with the last one, its high half then 0. The odd half is kept
  by the operation.
* A beat handles one element where an operand is consumed or sent per element and is not packed; else, where one is packed, two
  from an even index on, one from an odd (never more than `lanes`). It waits only for wavelets it takes and for room for one it
  sends.

FIFOs in SRAM. A core's code declares circular buffers of a capacity and an element type in its SRAM, empty at load: the k-th
element ever pushed is stored at slot k mod capacity. An element of an operation pops from one (FIFO_POP) or is pushed onto one
(FIFO_PUSH), in index order; conversions are those of memory of that type, and each is counted as a read or write of SRAM. A beat
handles at most `capacity` elements, and waits until as many as it handles are there, or room for as many, at the end of the cycle
before ("data" and "room" where stalls are told apart); it pops and pushes in its first cycle. A beat in t that pushes or pops
activates the task that the FIFO names for that, seen from t + 1 on.

Bank conflicts. With `bank_conflicts` = 1 a beat takes one cycle more when its destination is in memory and a source in memory
lies in another word of the same bank class: word addresses (byte address // 4 in the PE's SRAM) that differ but are equal modulo
4. The first element of the beat decides, for any number of lanes and, with f16, whichever half of the word it is; so an f16 beat
compares the words its elements begin in. Any vector operation can conflict; the two sources of one operation cannot, an element
that is updated in place cannot, nor can scalars, immediates, wavelets or FIFOs in SRAM. The cycle more is the beat's last; it
counts as `Stall.BANK` instead of busy, and in `row_busy`.

Completions. An operation on any thread, the main thread too, can activate or unblock a task: at the end of its last cycle, seen
from the next one on.

Prints. PRINT is no instruction of the chip: it takes no time, no SRAM and counts nowhere, and a program with it is the same, cycle
by cycle, as without. It happens in the cycle t in which the main thread would issue it, and the main thread goes on in t; any
number follow each other. It shows one value, 32 bits of a register or an element of an array, as an instruction issued in t
would see it: as of the end of t - 1, but for the register of a data task picked in t.

NaNs. What is computed from a NaN is a NaN; its bits are those of the NaN, made quiet, but of several which one is not specified
(the host's processor decides). Nothing but reading a float as an integer can tell.

Ends of a run. With outputs awaited, when the last has arrived. With none awaited, when every program has ended: no task running
or activated, no operation under way, and no wavelet queued or under way in an input queue that a task is bound to. In a program
that is reactive (an instruction sends control wavelets, or a task is bound to a color) a core that has ended can be woken, so
there the run is over when that holds and nothing can move any more; `cycles` is then as at a deadlock: the cycle after the last
in which anything was done.
"""

from __future__ import annotations

from enum import IntEnum


class Op(IntEnum):
    """Opcodes. d, a, b are an element of the destination and the sources."""

    # copies
    MOV = 0  # d = a, bits unchanged (converted only between f16 memory and 32-bit)
    # arithmetic, f32, f16 or i32 (i32 wraps around; a shift of nothing, no saturation)
    ADD = 1  # d = a + b
    SUB = 2  # d = a - b
    MUL = 3  # d = a * b
    MAX = 4  # d = a if a > b else b
    MIN = 5  # d = a if a < b else b
    # multiply-accumulate: product and sum are each rounded to the type
    FMAC = 6  # d = d + a * b
    # special functions, computed in f64 and rounded to f32, then to f16 in that type (DIV and MOD also in i32, rounding down)
    DIV = 7  # d = a / b
    MOD = 8  # d = a mod b, i32 only, sign of b
    EXP = 9  # d = e ** a
    RSQRT = 10  # d = 1 / sqrt(a)
    SILU = 11  # d = a / (1 + e ** -a)
    SIN = 12  # d = sin a
    COS = 13  # d = cos a
    ITOF = 14  # d = float(a), a is i32
    # d is register r: if a > R[r]: R[r] = a, R[r+1] = R[b] + element index
    ARGMAX = 15
    # control, main thread only
    JUMP = 16
    BLT = 17  # to target if a < b
    BGE = 18  # to target if a >= b
    BEQ = 19  # to target if a == b
    BNE = 20  # to target if a != b
    ACTIVATE = 21
    BLOCK = 22
    UNBLOCK = 23
    END = 24  # end of a task's code
    REROUTE = 25  # overwrite a route position at this router; columns EXTENT..: color, position, rx port, mask of tx ports
    PRINT = 26  # show source a, one element, or only a text; columns TARGET, TASK: index into `Program.prints`, number of the element


class OpClass(IntEnum):
    """What kind of work a beat is: the columns of the busy counters."""

    MOVE = 0
    ADD = 1
    FMA = 2
    SPECIAL = 3


class Stall(IntEnum):
    """Why no beat made progress: the columns of the stall counters (idle is what remains)."""

    OVERHEAD = 0
    DATA = 1
    ROOM = 2
    BANK = 3  # a beat is under way, but waits for a bank


class Kind(IntEnum):
    """Where an operand lives."""

    NONE = 0
    MEM = 1  # SRAM, through base, strides and an optional offset register
    REG = 2  # a scalar register, read or written anew for every element
    IMM = 3  # 32 bits in the instruction
    FABRIC_IN = 4  # one wavelet of a color per element (packed: per two)
    FABRIC_HELD = 5  # one wavelet of a color per outer step of a mapped operation (packed: per two), held for its inner elements
    FABRIC_OUT = 6  # one wavelet of a color per element (packed: per two)
    CONTROL_OUT = 7  # one control wavelet of a color per element, whose 32 bits it is
    FIFO_POP = 8  # the oldest element of a FIFO in SRAM, taken out
    FIFO_PUSH = 9  # a new element of a FIFO in SRAM


FIFO_KINDS = frozenset({Kind.FIFO_POP, Kind.FIFO_PUSH})
RECEIVES = frozenset({Kind.FABRIC_IN, Kind.FABRIC_HELD})
SENDS = frozenset({Kind.FABRIC_OUT, Kind.CONTROL_OUT})


class Type(IntEnum):
    """Types of arithmetic and, but for MIXED, of elements in memory; conversions to F16 round to nearest even."""

    F32 = 0
    I32 = 1
    F16 = 2
    MIXED = 3  # of FMAC only: f16 factors, f32 sum


class Done(IntEnum):
    """What an operation does to a task when it ends."""

    NOTHING = 0
    ACTIVATE = 1
    UNBLOCK = 2


class Port(IntEnum):
    """Ports of a router; a link leaves through NORTH..WEST, the core is at RAMP."""

    NORTH = 0
    EAST = 1
    SOUTH = 2
    WEST = 3
    RAMP = 4


class Command(IntEnum):
    """What a control wavelet tells a switch."""

    NONE = 0
    ADVANCE = 1
    RESET = 2


class Pop(IntEnum):
    """When a switch takes the command it obeyed off a control wavelet."""

    NEVER = 0
    ALWAYS = 1
    ON_ADVANCE = 2


MAX_POSITIONS = 4
MAX_COMMANDS = 8
COMMAND_BITS = 2
COMMANDS_MASK = (1 << COMMAND_BITS * MAX_COMMANDS) - 1
TASK_SHIFT = 16  # of a control wavelet's task number plus one
TASK_MASK = 0x3F


def control_bits(*commands: Command, task: int | None = None) -> int:
    """The 32 bits of a control wavelet with these commands (the first is obeyed first) that activates `task` at cores it reaches.

    Raises `ValueError` for more than 8 commands or a task that does not fit.
    """
    if len(commands) > MAX_COMMANDS:
        raise ValueError(f"a control wavelet carries at most {MAX_COMMANDS} commands, got {len(commands)}")
    if task is not None and not 0 <= task < TASK_MASK:
        raise ValueError(f"a control wavelet names a task in 0..{TASK_MASK - 1}, got {task}")
    bits = sum(int(command) << COMMAND_BITS * i for i, command in enumerate(commands))
    return bits | (0 if task is None else task + 1) << TASK_SHIFT


PORT_STEP = {Port.NORTH: (0, -1), Port.EAST: (1, 0), Port.SOUTH: (0, 1), Port.WEST: (-1, 0)}
OPPOSITE = {Port.NORTH: Port.SOUTH, Port.EAST: Port.WEST, Port.SOUTH: Port.NORTH, Port.WEST: Port.EAST, Port.RAMP: Port.RAMP}

VECTOR_OPS = frozenset(op for op in Op if op <= Op.ARGMAX)
BRANCHES = frozenset({Op.BLT, Op.BGE, Op.BEQ, Op.BNE})
TWO_SOURCES = frozenset({Op.ADD, Op.SUB, Op.MUL, Op.MAX, Op.MIN, Op.FMAC, Op.DIV, Op.MOD})
HALF_TYPES = frozenset({Type.F16, Type.MIXED})
FLOAT_ONLY = frozenset({Op.FMAC, Op.EXP, Op.RSQRT, Op.SILU, Op.SIN, Op.COS, Op.ARGMAX})

OP_CLASS = {
    Op.MOV: OpClass.MOVE,
    **dict.fromkeys((Op.ADD, Op.SUB, Op.MUL, Op.MAX, Op.MIN, Op.ITOF, Op.ARGMAX), OpClass.ADD),
    Op.FMAC: OpClass.FMA,
    **dict.fromkeys((Op.DIV, Op.MOD, Op.EXP, Op.RSQRT, Op.SILU, Op.SIN, Op.COS), OpClass.SPECIAL),
}

FLOPS = {op: 0 if op in (Op.MOV, Op.MOD, Op.ITOF) else 2 if op is Op.FMAC else 1 for op in VECTOR_OPS}
"""Floating-point operations per element of an operation in a floating-point type; an i32 operation counts none."""

MAX_DIMS = 4
TYPE_BYTES = {Type.F32: 4, Type.I32: 4, Type.F16: 2}


class Col(IntEnum):
    """Columns of an instruction row. An extent or offset register of -1 means "none".

    Extents run from outermost to innermost and are 1 where unused. An operand is seven columns, from
    `D`, `A` or `B`, at the offsets of `Operand`.
    """

    OP = 0
    TYPE = 1  # of the arithmetic, or of a branch's comparison (F32 or I32)
    THREAD = 2  # 0 main thread, k microthread k
    MAPPED = 3
    EXTENT = 4  # ..7
    EXTENT_REG = 8  # ..11, a register that replaces the extent (i32; negative counts as 0)
    D = 12
    A = 20
    B = 28
    DONE = 36
    TASK = 37  # of ACTIVATE, BLOCK, UNBLOCK, or of the completion
    TARGET = 38  # row a branch goes to; of a PRINT see there
    LINE = 39  # index into Program.source_lines


class Operand(IntEnum):
    """Columns of an operand, counted from its first column."""

    KIND = 0
    TYPE = 1  # element type of a MEM operand; of a fabric operand F16 if it is packed
    BASE = 2  # MEM: byte address; REG: number; IMM: 32 bits as unsigned; FABRIC_*: color; FIFO_*: index into `CodeClass.fifos`
    OFFSET_REG = 3  # MEM: register added to the address, in elements
    STRIDE = 4  # ..7, in elements, one per extent


NUM_COLS = 40


class Switch(IntEnum):
    """Columns of `Program.switches`: one row per channel with more than one position, or that code rewrites."""

    CHANNEL = 0
    NUM = 1  # positions
    RING = 2
    POP = 3  # a Pop
    FIFOS = 4  # mask of the rx ports that have a FIFO
    EXITS = 5  # mask of the tx ports that a wavelet can ever leave through
    RX = 6  # ..9, a Port for each position, -1 where there is none
    TX = 10  # ..13, mask of ports for each position


NUM_SWITCH_COLS = 14


class Fault(IntEnum):
    """What a running program can do wrong; the engine stops at the end of that cycle with one of these."""

    NONE = 0
    OUT_OF_BOUNDS = 1  # a memory operand reaches outside the PE's SRAM
    DIVIDE_BY_ZERO = 2  # i32 DIV or MOD
    SWITCH_PAST_END = 3  # ADVANCE at the last position of a switch without ring mode
    BAD_TASK = 4  # a control wavelet names a task that has no code, or that a color is bound to
    # found by the sanitizer alone
    UNWRITTEN = 5  # a memory operand reads a word that nothing has written
    OUT_OF_SYMBOL = 6  # a memory operand reaches outside the array its address is in
    SHARED_WORD = 7  # operations of two threads of a core share a word while both are under way, and one writes it


class Status(IntEnum):
    """Why a run stopped."""

    RUNNING = 0
    DONE = 1  # every awaited output has arrived, or every program has ended
    DEADLOCK = 2  # nothing can move
    LIMIT = 3  # max_cycles reached
    FAULT = 4
