"""The instruction set: opcodes, operand kinds, and the columns of a linked instruction.

An instruction is one row of int64 in `Program.code`; both the engine and the reference machine read
rows by the column names below. What each opcode means, element by element, stands beside it. How
long things take is design section 2.2; where that section is silent these rules fill it in:

* A vector operation over `n` elements runs in beats of `lanes(op)` elements, one element where an
  operand is a fabric operand consumed per element. A mapped operation runs each outer step (all
  extents but the last) in beats of its own. A beat takes `cycles(op)` cycles: it takes its fabric operands,
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
"""

from __future__ import annotations

from enum import IntEnum


class Op(IntEnum):
    """Opcodes. d, a, b are an element of the destination and the sources."""

    # copies
    MOV = 0  # d = a, bits unchanged (converted only between f16 memory and 32-bit)
    # arithmetic, f32 or i32 (i32 wraps around; a shift of nothing, no saturation)
    ADD = 1  # d = a + b
    SUB = 2  # d = a - b
    MUL = 3  # d = a * b
    MAX = 4  # d = a if a > b else b
    MIN = 5  # d = a if a < b else b
    # multiply-accumulate: product and sum are each rounded to f32
    FMAC = 6  # d = d + a * b
    # special functions, computed in f64 and rounded to f32 (DIV and MOD also in i32, rounding down)
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


class OpClass(IntEnum):
    """What kind of work a beat is: the columns of the busy counters."""

    MOVE = 0
    ADD = 1
    FMA = 2
    SPECIAL = 3


class Stall(IntEnum):
    """Why no beat was under way: the columns of the stall counters (idle is what remains)."""

    OVERHEAD = 0
    DATA = 1
    ROOM = 2


class Kind(IntEnum):
    """Where an operand lives."""

    NONE = 0
    MEM = 1  # SRAM, through base, strides and an optional offset register
    REG = 2  # a scalar register, read or written anew for every element
    IMM = 3  # 32 bits in the instruction
    FABRIC_IN = 4  # one wavelet of a color per element
    FABRIC_HELD = 5  # one wavelet of a color per outer step of a mapped operation, held for its inner elements
    FABRIC_OUT = 6  # one wavelet of a color per element


class Type(IntEnum):
    """Element types. Arithmetic is in F32 or I32; F16 is a storage type of SRAM only (round to nearest even)."""

    F32 = 0
    I32 = 1
    F16 = 2


class Done(IntEnum):
    """What a microthread's operation does to a task when it ends."""

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


PORT_STEP = {Port.NORTH: (0, -1), Port.EAST: (1, 0), Port.SOUTH: (0, 1), Port.WEST: (-1, 0)}
OPPOSITE = {Port.NORTH: Port.SOUTH, Port.EAST: Port.WEST, Port.SOUTH: Port.NORTH, Port.WEST: Port.EAST, Port.RAMP: Port.RAMP}

VECTOR_OPS = frozenset(op for op in Op if op <= Op.ARGMAX)
BRANCHES = frozenset({Op.BLT, Op.BGE, Op.BEQ, Op.BNE})
TWO_SOURCES = frozenset({Op.ADD, Op.SUB, Op.MUL, Op.MAX, Op.MIN, Op.FMAC, Op.DIV, Op.MOD})
FLOAT_ONLY = frozenset({Op.FMAC, Op.EXP, Op.RSQRT, Op.SILU, Op.SIN, Op.COS, Op.ARGMAX})

OP_CLASS = {
    Op.MOV: OpClass.MOVE,
    **dict.fromkeys((Op.ADD, Op.SUB, Op.MUL, Op.MAX, Op.MIN, Op.ITOF, Op.ARGMAX), OpClass.ADD),
    Op.FMAC: OpClass.FMA,
    **dict.fromkeys((Op.DIV, Op.MOD, Op.EXP, Op.RSQRT, Op.SILU, Op.SIN, Op.COS), OpClass.SPECIAL),
}

FLOPS = {op: 0 if op in (Op.MOV, Op.MOD, Op.ITOF) else 2 if op is Op.FMAC else 1 for op in VECTOR_OPS}
"""Floating-point operations per element of an f32 operation; an i32 operation counts none."""

MAX_DIMS = 4
TYPE_BYTES = {Type.F32: 4, Type.I32: 4, Type.F16: 2}


class Col(IntEnum):
    """Columns of an instruction row. An extent or offset register of -1 means "none".

    Extents run from outermost to innermost and are 1 where unused. An operand is seven columns, from
    `D`, `A` or `B`, at the offsets of `Operand`.
    """

    OP = 0
    TYPE = 1  # of the arithmetic, or of a branch's comparison: F32 or I32
    THREAD = 2  # 0 main thread, k microthread k
    MAPPED = 3
    EXTENT = 4  # ..7
    EXTENT_REG = 8  # ..11, a register that replaces the extent (i32; negative counts as 0)
    D = 12
    A = 20
    B = 28
    DONE = 36
    TASK = 37  # of ACTIVATE, BLOCK, UNBLOCK, or of the completion
    TARGET = 38  # row a branch goes to
    LINE = 39  # index into Program.source_lines


class Operand(IntEnum):
    """Columns of an operand, counted from its first column."""

    KIND = 0
    TYPE = 1  # element type of a MEM operand
    BASE = 2  # MEM: byte address; REG: number; IMM: 32 bits as unsigned; FABRIC_*: color
    OFFSET_REG = 3  # MEM: register added to the address, in elements
    STRIDE = 4  # ..7, in elements, one per extent


NUM_COLS = 40


class Fault(IntEnum):
    """What a running program can do wrong; the engine stops at the end of that cycle with one of these."""

    NONE = 0
    OUT_OF_BOUNDS = 1  # a memory operand reaches outside the PE's SRAM
    DIVIDE_BY_ZERO = 2  # i32 DIV or MOD


class Status(IntEnum):
    """Why a run stopped."""

    RUNNING = 0
    DONE = 1  # every awaited output has arrived, or every program has ended
    DEADLOCK = 2  # nothing can move
    LIMIT = 3  # max_cycles reached
    FAULT = 4
