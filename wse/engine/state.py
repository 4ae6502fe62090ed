"""The state of a machine: a flat NamedTuple of tables, and the names of their columns.

Tables are int64 matrices with one row per thing (a FIFO, a channel, a core, a thread); the columns an event
touches most come first, so that they share a cache line. "Entity" numbers what can have an event pending: channels first,
then host sources, then cores.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

WHEEL_SLOTS = 1024
NEVER = 1 << 62
HORIZON = 64  # cycles that a wavelet may be sent ahead of the cycle at hand


class Fifo(IntEnum):
    """Columns of `fifo`: the router FIFO of every channel, those of switches for further rx ports, then the core queues.

    Entries and exits carry their cycles, which may lie ahead of the cycle at hand. Entry n is in ring slot BASE + (n & MASK);
    once it has left, its slot keeps the cycle of that until the slot is used again, which tells its producer from when there is room.
    """

    HEAD = 0  # entries taken out so far
    COUNT = 1  # entries queued or under way
    ROOM = 2
    BASE = 3
    MASK = 4
    WAITS = 5  # bits of `Waits`
    PRODUCER = 6  # entity
    CONSUMER = 7  # entity


class Waits(IntEnum):
    """Who sleeps until something happens to a FIFO."""

    PRODUCER = 1  # until an exit
    CONSUMER = 2  # until an entry (channels are always woken)


class Chan(IntEnum):
    """Columns of `chan`, one row per channel; its FIFO has the same index."""

    NUM_DST = 0
    DST = 1  # ..5: FIFO, or -1 - sink
    SENT = 6
    WAIT = 7
    QUIET = 8  # no rival has a wavelet to send before this cycle, as far as known
    NUM_RIVALS = 9
    RIVALS = 10  # first in `rival`: channels of this router that share a tx port with this one
    SOURCE = 11  # channel where the wavelets of this one enter the fabric; all of them pass through here
    DELAY = 12  # least cycles from their first beat, or from the host, to being usable here
    TX = 13  # port mask
    ROUTER = 14  # dense index of routers that have channels with rivals
    SWITCH = 15  # row of `switch`, or -1: a plain route, whose FIFO has the channel's index
    TRACED = 16  # its PE is among those traced


class Turn(IntEnum):
    """Columns of `switch`, one row per row of `Program.switches`."""

    CHANNEL = 0
    PE = 1
    COLOR = 2
    NUM = 3  # positions
    RING = 4
    POP = 5
    POSITION = 6  # current
    FIFO = 7  # served by it
    RX = 8  # ..11, by position
    TX = 12  # ..15, by position
    FIFO_OF = 16  # ..20, by rx port, -1 without
    DST_OF = 21  # ..25, by tx port: FIFO, or -1 - sink
    SENT = 26  # ..30, by tx port
    REWRITE = 31  # position that a core has rewritten, -1 for none
    REWRITE_RX = 32
    REWRITE_TX = 33
    REWRITE_FROM = 34  # cycle from which that counts
    OBEYS = 35  # control wavelets; a plain route that a core rewrites does not


class Core(IntEnum):
    """Columns of `core`."""

    THREAD = 0  # first row in `thread`
    NUM_THREADS = 1
    LIVE = 2  # threads with an operation under way
    STREAM = 3  # row in `thread` of a streaming operation that nothing else on the core can meet, or -1
    ACCOUNTED = 4  # cycles before this one are in the counters
    LAST_ROW = 5  # instruction of the latest beat
    LAST_THREAD = 6
    RUNNING = 7  # a task is under way on the main thread
    READY = 8  # cycle in which the main thread can issue next
    PC = 9
    ACTIVE = 10  # task bit masks
    BLOCKED = 11
    SRAM = 12  # first word
    SRAM_BYTES = 13
    TASKS = 14  # first entry in `task_entry`
    ENDED = 15
    INSTRUCTIONS = 16
    FLOPS = 17
    READ_BYTES = 18
    WRITE_BYTES = 19
    BUSY = 20  # ..23, by OpClass
    STALL = 24  # ..27, by Stall
    LAST_BANK = 28  # the latest beat's last cycle waits for a bank
    LISTENS = 29  # control wavelets may arrive, or a task is bound to a color
    BINDING = 30  # first in `binding`
    NUM_BINDINGS = 31
    SRAM_FIFO = 32  # first in `sram_fifo`
    PE = 33
    NUM_TASKS = 34
    TASK = 35  # of the main thread, the latest picked
    TASK_SINCE = 36  # cycle in which it was
    TRACED = 37  # this PE is among those traced
    MARKS = 38  # bits of `Marks`: what of it is marked


class Marks(IntEnum):
    """What a core marks of the rows whose plan says MARKED."""

    PRINTS = 1
    STOPS = 2


class Mark(IntEnum):
    """Columns of `mark`: instructions that were issued, in the order of their cycles."""

    CYCLE = 0
    CORE = 1
    ROW = 2
    BITS = 3  # of what a print shows


class Thread(IntEnum):
    """Columns of `thread`: the operation under way on each thread of each core."""

    PHASE = 0
    NEXT = 1  # earliest cycle of the next beat; in phase ENDING, of the next instruction
    POS = 2  # elements done
    NUM = 3  # elements in all
    ROW = 4  # of the instruction
    FIFO_D = 5  # FIFO of a fabric operand, -1 without
    FIFO_A = 6
    FIFO_B = 7
    ADDR_D = 8  # first element of a memory operand, in units of its type, over all SRAM; register number; immediate bits
    ADDR_A = 9
    ADDR_B = 10
    IN_STEP = 11  # elements done of the step at hand
    STEP = 12  # elements per step: the inner extent if mapped, else all
    HELD_A = 13  # bits of a held operand
    ISSUED = 14
    LINEAR = 15  # one-dimensional: element i of an operand is at address + i * stride
    EXTENT = 16  # ..19
    BULK_POS = 20  # first element of the bulk
    BULK_END = 21  # element after its last
    BULK_START = 22  # cycle of its first beat
    WORD_A = 23  # of a packed operand: the latest wavelet, which holds two elements
    WORD_B = 24
    HELD_B = 26
    HALF_D = 25  # the element that waits to be sent with the next one


class Phase(IntEnum):
    """Where an operation stands."""

    FREE = 0  # no operation
    LIVE = 1
    BULK = 2  # beats run without interaction until cycle NEXT; arithmetic is caught up later
    ENDING = 3  # all beats done; over in cycle NEXT


class Plan(IntEnum):
    """Columns of `plan`: what is known of an instruction before it runs, one row per row of `code`."""

    CLASS = 0
    LANES = 1
    CYCLES = 2  # of a beat
    GAP = 3  # cycles added per step
    HELD = 4  # 0 no held operand, 1 a, 2 b
    STREAMS = 5  # takes or sends wavelets beat by beat, and is neither mapped nor able to fault
    FLOPS = 6  # per element
    READ_BYTES = 7
    WRITE_BYTES = 8
    STATIC = 9  # extents and addresses do not depend on registers; the columns below hold
    NUM = 10
    STEP = 11
    REACH = 12  # bytes of SRAM that the memory operands need; one more than any SRAM has if they reach below 0
    BULKS = 13  # can run in bulk: no wavelet per element, cannot fault
    PACKED_A = 14  # two elements a wavelet
    PACKED_B = 15
    PACKED_D = 16
    PER_WAVELET = 17  # elements that a beat handles at most because of wavelets; 0 where they do not limit it
    ODD = 18  # has an operand that only `odd_beat` knows
    MARKED = 19  # issuing it is marked: a print, or where a debugger wants to stop
    PRIVATE = 20  # when it issues and what it does matters to nobody but its core and the FIFOs it names; it cannot fault


class Event(IntEnum):
    """Columns of `event`, one row per entity: a link in the list of a slot of the wheel."""

    WHEN = 0  # cycle, -1 when nothing is pending
    NEXT = 1
    PREVIOUS = 2


class Source(IntEnum):
    """Columns of `source`: what the host streams in."""

    DST = 0  # FIFO
    POS = 1  # next word of `host_data`
    END = 2
    TRACED = 3  # its PE is among those traced


class Sink(IntEnum):
    """Columns of `sink`: what the host receives."""

    COUNT = 0
    AWAITED = 1  # stop when COUNT gets here, -1 when nothing is awaited
    CHANNEL = 2  # that sends to it
    TRACED = 3  # its PE is among those traced


class Bind(IntEnum):
    """Columns of `binding`: the data tasks of each core."""

    TASK = 0
    FIFO = 1  # core queue
    REGISTER = 2


class SramFifo(IntEnum):
    """Columns of `sram_fifo`: the circular buffers of each core."""

    FIRST = 0  # elements popped so far
    COUNT = 1
    BASE = 2  # first element, in units of its type, over all SRAM
    TYPE = 3
    CAPACITY = 4
    ON_PUSH = 5  # task, or -1
    ON_POP = 6


class Sent(IntEnum):
    """Columns of `journal`: a wavelet sent ahead of the cycle at hand, so that it can be taken back when the run ends before."""

    CHANNEL = 0
    CYCLE = 1
    USABLE = 2  # cycle from which it could have left
    BITS = 3


class Clock(IntEnum):
    """Entries of `clock`."""

    NOW = 0
    STATUS = 1
    STOP_AT = 2  # cycle in which the last awaited wavelet arrives
    AWAITING = 3  # sinks that still wait
    ALIVE = 4  # cores whose program has not ended
    PENDING = 5  # entities with an event
    LAST_ACTIVE = 6
    AHEAD = 7  # streaming operations may execute beats up to this cycle
    SURE = 16  # the run lasts longer than this cycle: what is sent up to then will not be taken back
    CAN_FAULT = 8
    FAULT = 9
    FAULT_PE = 10
    FAULT_COLOR = 11  # of a router's fault or of a wavelet's; -1 for an instruction's
    FAULT_ROW = 12  # instruction, -1 without
    FAULT_CYCLE = 21
    FAULT_RANK = 22  # 0 router, 1 core
    NUM_ROUTER_FIFOS = 23
    BANKS = 24  # the spec's bank_conflicts
    REACTIVE = 25  # a wavelet can wake a core that has ended
    FULL = 13  # a sink's buffer or that of marks is nearly full
    NUM_MARKS = 31
    MARK_LIMIT = 32  # with more marks than this the next cycle's might not fit
    NUM_SENT = 14  # entries of the journal
    SWEPT = 15  # cycle in which the journal was last rid of old entries
    NUM_CHANNELS = 17
    FIRST_CORE = 18  # entity of the first core
    TO_END = 20  # the run ends with the programs, not with awaited outputs
    LAST_AWAITED = 19  # latest arrival among the last awaited wavelets
    TRACED = 26  # mask of `wse.engine.trace.Category`, 0 when nothing is traced
    SANITIZE = 27  # check memory operands, `wse.engine.sanitize`
    TIMING_SEED = 28  # of random delays while sanitizing, 0 without
    FAULT_HALF = 29  # half-word of the PE's SRAM that a fault of the sanitizer is about
    FAULT_OTHER_ROW = 30  # instruction of another thread with a part in it, -1 without


class Rate(IntEnum):
    """Entries of `rate`: the spec's numbers the core needs."""

    HOP = 0
    RAMP_IN = 1
    RAMP_OUT = 2
    ISSUE = 3
    CONTROL = 4
    TAKEN = 5
    NOT_TAKEN = 6
    TASK_START = 7


class State(NamedTuple):
    """All of a machine's state, as arrays."""

    clock: np.ndarray  # int64 (Clock,)
    rate: np.ndarray  # int64 (Rate,)
    code: np.ndarray  # int64 (num_instructions, NUM_COLS)
    plan: np.ndarray  # int64 (num_instructions, Plan)
    row_cycles: np.ndarray  # int64 (num_instructions, 3): busy, elapsed, times issued
    task_entry: np.ndarray  # int64, the classes' tables one after another
    queue_of: np.ndarray  # int32 (num_cores, 2, colors in use): FIFO into and out of a core
    fifo: np.ndarray
    ring: np.ndarray  # int64 (slots, 2): cycle from which usable, or of leaving; 32 payload bits
    chan: np.ndarray
    rival: np.ndarray  # int32 (num_rivals,), channels
    switch: np.ndarray
    binding: np.ndarray
    sram_fifo: np.ndarray
    core: np.ndarray
    thread: np.ndarray
    event: np.ndarray
    part_entity: np.ndarray  # int64 (num_entities,), sorted by part
    part_start: np.ndarray  # int64 (num_parts + 1,); (2,) where parts are not told apart
    wheel: np.ndarray  # int64 (2, WHEEL_SLOTS): first channel or source, first core
    work: np.ndarray  # int64 (num_entities,): events of the cycle at hand
    todo: np.ndarray  # int64: channels that may be able to send; entry 0 counts them
    journal: np.ndarray
    mark: np.ndarray  # int64 (capacity, Mark)
    trace: np.ndarray  # int64 (1 + 2 * max_records, Record), or (0, Record) when nothing is traced; `wse.engine.trace`
    router_count: np.ndarray  # int64 (num_routers,): contended channels with something to send this cycle
    router_chan: np.ndarray  # int64 (num_routers, num_colors)
    source: np.ndarray
    sink: np.ndarray
    host_data: np.ndarray  # int64, 32-bit payloads
    out_value: np.ndarray  # int64 (num_sinks, capacity)
    out_cycle: np.ndarray  # int64 (num_sinks, capacity)
    sram: np.ndarray  # int32, as in Program
    sram_f32: np.ndarray  # the same memory
    sram_u16: np.ndarray  # the same memory
    shadow: np.ndarray  # int64 (half-words of sram, Shadow) while sanitizing, else (0, Shadow); `wse.engine.sanitize`
    regs: np.ndarray  # int32 (num_cores, num_registers)
    regs_f32: np.ndarray  # the same memory
