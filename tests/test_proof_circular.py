"""Circular waits that are proved before a program runs: hand-made ones, what must not be refused, and random programs."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from reference.machine import ReferenceMachine
from reference.programs import FEATURES, random_case

from wse.builder import ProgramBuilder
from wse.errors import ProgramError
from wse.isa import Command, Done, Port, Status, Type
from wse.machine import Machine
from wse.program import Rect
from wse.proof import advance, find_hangs
from wse.proof.script import FREE, Step, write_scripts
from wse.spec import load_spec
from wse.verify import suspicions, verify

SPEC = load_spec("wse2")
A, B, C = (Rect(x, 0, 1, 1) for x in range(3))
NORTH, EAST, SOUTH, WEST, RAMP = Port
ROOM = SPEC.ramp_fifo_room + SPEC.link_fifo_room + SPEC.core_queue_room  # of one hop


def wired():
    """PEs (0,0) and (1,0) with a way to each other, colors 1 and 2; no code yet."""
    program = ProgramBuilder(SPEC, 2, 1)
    program.route(A, 1, RAMP, [EAST])
    program.route(B, 1, WEST, [RAMP])
    program.route(B, 2, RAMP, [WEST])
    program.route(A, 2, EAST, [RAMP])
    return program


def exchange(first, second, size=4, type=Type.F32, how=None):
    """PEs (0,0) and (1,0) swap arrays of `size`; each does `first`, then `second` ("send", "recv"). `how`: options of what comes first."""
    program = wired()
    for pe, come, leave in ((A, 2, 1), (B, 1, 2)):
        pes = program.pes(pe)
        x, y = pes.zeros("x", size, type), pes.zeros("y", size, type)
        for what, options in ((first, how or {}), (second, {})):
            if what == "send":
                pes.mov(pes.send(leave), x, type=type, **options)
            else:
                pes.mov(y, pes.recv(come), type=type, **options)
    return program


def ring(n, seeded):
    """n PEs around a 2 x n/2 rectangle, each of which receives before it sends on; `seeded`: the first sends before."""
    program = ProgramBuilder(SPEC, n // 2, 2)
    for i in range(n):
        x, y = (i, 0) if i < n // 2 else (n - 1 - i, 1)
        onward = EAST if i < n // 2 - 1 else SOUTH if i == n // 2 - 1 else WEST if i < n - 1 else NORTH
        come = WEST if 0 < i < n // 2 else NORTH if i == n // 2 else EAST if i > n // 2 else SOUTH
        pe = Rect(x, y, 1, 1)
        even = i % 2
        program.route(pe, 1 + even, RAMP, [onward])
        program.route(pe, 2 - even, come, [RAMP])
        pes = program.pes(pe)
        value = pes.zeros("value", 3)
        if seeded and i == 0:
            pes.mov(pes.send(1 + even), value)
        pes.add(value, value, pes.recv(2 - even))
        if not (seeded and i == 0):
            pes.mov(pes.send(1 + even), value)
    return program


def later(num):
    """PE (0,0) sends `num` wavelets of color 1, then one of color 2; PE (1,0) takes that one first."""
    program = ProgramBuilder(SPEC, 2, 1)
    for color in (1, 2):
        program.route(A, color, RAMP, [EAST])
        program.route(B, color, WEST, [RAMP])
    first, second = program.pes(A), program.pes(B)
    first.mov(first.send(1), first.zeros("x", num))
    first.mov(first.send(2), 1.0)
    second.mov(program.reg(), second.recv(2))
    second.mov(second.zeros("y", num), second.recv(1))
    return program


def in_loops(num_sent, num_taken, endless=False):
    """PE (0,0) sends two wavelets in each turn of a loop, PE (1,0) takes two in each of its own."""
    program = ProgramBuilder(SPEC, 2, 1)
    program.route(A, 1, RAMP, [EAST])
    program.route(B, 1, WEST, [RAMP])
    first, second = program.pes(A), program.pes(B)
    x, y = first.zeros("x", 2), second.zeros("y", 2)
    with first.loop(num_sent):
        first.mov(first.send(1), x)
    if endless:
        again = program.label("again")
        second.place(again)
        second.mov(y, second.recv(1))
        second.jump(again)
    else:
        with second.loop(num_taken):
            second.mov(y, second.recv(1))
    return program


def broadcast_and_back(num):
    """PE (0,0) sends to both others at once; the nearer waits for the farther, which takes nothing before it has told PE (0,0)."""
    program = ProgramBuilder(SPEC, 3, 1)
    program.route(A, 1, RAMP, [EAST])
    program.route(B, 1, WEST, [EAST, RAMP])
    program.route(C, 1, WEST, [RAMP])
    program.route(C, 2, RAMP, [WEST])
    program.route(B, 2, EAST, [RAMP])
    first, middle, last = program.pes(A), program.pes(B), program.pes(C)
    first.mov(first.send(1), first.zeros("x", num))
    middle.mov(program.reg(), middle.recv(2))
    middle.mov(middle.zeros("x", num), middle.recv(1))
    x = last.zeros("x", num)
    last.mov(x, last.recv(1))
    last.mov(last.send(2), 1.0)
    return program


def fifo(size, **how):
    """One PE pushes `size` elements onto a FIFO of 4, then pops them."""
    program = ProgramBuilder(SPEC, 1, 1)
    pes = program.pes(A)
    queue, x = pes.fifo("q", 4), pes.zeros("x", size)
    pes.mov(pes.push(queue), x, **how)
    pes.mov(x, pes.pop(queue))
    return program


def for_a_microthread():
    """Both PEs have a microthread receive, and use that microthread again before they send."""
    program = wired()
    for pe, come, leave in ((A, 2, 1), (B, 1, 2)):
        pes = program.pes(pe)
        x = pes.zeros("x", 4)
        pes.mov(x, pes.recv(come), thread=1)
        pes.add(x, x, 1.0, thread=1)
        pes.mov(pes.send(leave), x)
    return program




HANGS = {
    "both receive first": (exchange("recv", "send"), "PEs (0,0)-(1,0) wait for each other in a circle", "before it gets to"),
    "both send more than the way holds": (exchange("send", "recv", ROOM + 1), "PEs (0,0)-(1,0) wait", f"{ROOM} of {ROOM} queued"),
    "both send more than the way holds, packed": (exchange("send", "recv", 2 * ROOM + 1, Type.F16), "PEs (0,0)-(1,0) wait", "element"),
    "a ring of receives": (ring(12, seeded=False), "PEs (0,0)-(5,1) wait for each other in a circle", "waits for a wavelet of color 1"),
    "a way too short for what must be held": (later(ROOM + 1), "PEs (0,0)-(1,0) wait for each other in a circle", "room on color 1"),
    "loops that send too little": (in_loops(3, 4), "PE (1,0) waits for what never comes", "has ended (6 sent)"),
    "loops that send too much": (in_loops(30, 2), "PE (0,0) waits for what never comes", "would have to take color 1 from its queue"),
    "a branch of a multicast that is not taken": (broadcast_and_back(ROOM + 20), "wait for each other in a circle", "PE (1,0) main thread"),
    "a FIFO that one thread fills and empties": (fifo(5), "PE (0,0) waits for itself", "room in FIFO 'q' (4 of 4 held), element 4 of 5"),
    "a main thread behind its microthread": (for_a_microthread(), "PEs (0,0)-(1,0) wait", "the microthread that its next instruction"),
}
"""(program, of the message, of a note)"""

ENDS = {
    "both send first": exchange("send", "recv"),
    "both send just what the way holds": exchange("send", "recv", ROOM),
    "both send just what the way holds, packed": exchange("send", "recv", 2 * ROOM, Type.F16),
    "both send by microthread": exchange("send", "recv", 400, how={"thread": 1}),
    "both receive by microthread": exchange("recv", "send", 400, how={"thread": 1}),
    "a ring that one PE starts": ring(12, seeded=True),
    "a way just long enough": later(ROOM),
    "loops that fit": in_loops(30, 30),
    "a FIFO just large enough": fifo(4),
    "a FIFO that two threads share": fifo(40, thread=1),
    "a multicast that fits": broadcast_and_back(SPEC.core_queue_room),
}


@pytest.mark.parametrize("name", HANGS)
def test_what_must_hang_is_refused_with_the_circle(name):
    program, message, note = HANGS[name]
    linked = program.link()
    machine = Machine(linked, refuse_hangs=False)
    assert machine.run() == Status.DEADLOCK
    with pytest.raises(ProgramError) as error:
        verify(linked)
    assert message in error.value.message and "hangs whatever is fed" in error.value.message
    assert any(note in line for line in error.value.notes), error.value.notes
    assert any(re.search(r"tests/test_proof_circular\.py:\d+", line) for line in error.value.notes) and error.value.help


@pytest.mark.parametrize("name", ENDS)
def test_what_can_end_is_not(name):
    machine = Machine(ENDS[name].link())
    machine.check(machine.run())
    assert not suspicions(ENDS[name].link())


def test_a_circle_of_pes_that_never_end_is_a_suspicion():
    program = wired()
    for pe, come, leave in ((A, 2, 1), (B, 1, 2)):
        pes, again = program.pes(pe), program.label("again")
        pes.place(again)
        pes.mov(pes.send(leave), pes.recv(come), shape=3)
        pes.jump(again)
    linked = program.link()
    verify(linked)
    (line,) = suspicions(linked)
    assert "PEs (0,0)-(1,0) wait for each other in a circle: they stop there" in line


def test_a_pe_that_loops_for_ever_may_wait_for_the_next_wavelet():
    linked = in_loops(3, 0, endless=True).link()
    assert not list(find_hangs(linked))


def test_what_data_decides_is_not_judged():
    builder = wired()
    for pe, come, leave in ((A, 2, 1), (B, 1, 2)):
        pes = builder.pes(pe)
        n, x = builder.reg(Type.I32), pes.zeros("x", 4)
        pes.mov(n, pes.const("n", [0], Type.I32), type=Type.I32)
        pes.mov(x, pes.recv(come), shape=n)
        pes.mov(pes.send(leave), x, shape=n)
    linked = builder.link()
    assert all(script.steps[-1, Step.THREAD] == FREE for script in write_scripts(linked))
    assert not list(find_hangs(linked))


def test_a_wavelet_that_starts_a_task_leaves_everything_open():
    program = exchange("recv", "send")
    program.route(A, 3, RAMP, [RAMP])
    program.pes(A, 4).mov(program.reg(), 1.0)
    program.pes(A).send_control(3, Command.NONE, task=4)
    assert not [script for script in write_scripts(program.link()) if script.ends and (script.steps[:, Step.LANE_A] == 2).any()]


def test_tasks_in_an_order_that_code_decides_are_followed():
    def two_tasks(order):
        program = wired()
        for pe, come, leave in ((A, 2, 1), (B, 1, 2)):
            x = program.pes(pe).zeros("x", 2)
            for task, what in zip((1, 2), order, strict=True):
                pes = program.pes(pe, task)
                pes.mov(*((pes.send(leave), x) if what == "send" else (x, pes.recv(come))))
            program.pes(pe).activate(2)
            program.pes(pe).mov(program.reg(), 1.0, on_done=(Done.ACTIVATE, 1))
        return program.link()

    verify(two_tasks(["send", "recv"]))
    with pytest.raises(ProgramError, match="in a circle"):
        verify(two_tasks(["recv", "send"]))


def test_nothing_is_proved_after_too_much_work(monkeypatch):
    linked = ring(12, seeded=False).link()
    assert list(find_hangs(linked))
    monkeypatch.setattr(advance, "MOST_WORK", 5)
    assert not list(find_hangs(linked))


RANDOM = settings(deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True)


@settings(RANDOM, max_examples=150)
@pytest.mark.parametrize("features", [(), FEATURES])
@given(seed=st.integers(0, 2**48))
def test_no_random_program_that_the_reference_machine_ends_is_refused(features, seed):
    case = random_case(seed, features=features)
    proven = [finding for finding in find_hangs(case.program) if finding.proven]
    if not proven:
        return
    machine = ReferenceMachine(case.program)
    for name in {name for run in case.runs for name, _ in run.feeds}:
        machine.feed(name, np.zeros(500, np.uint32))
    assert machine.run(None, 3_000) != Status.DONE, proven


def test_random_programs_that_hang_are_mostly_proved_to_where_code_says_what_they_do():
    """Of the first 300: those that hang, where every script ends and no thread shares a lane."""
    hang = proved = 0
    for seed in range(300):
        program = random_case(seed).program
        scripts = write_scripts(program)
        if not all(script.ends and not (script.shared_in | script.shared_out) for script in scripts):
            continue
        machine = Machine(program, refuse_hangs=False)
        for port in program.host_in:
            machine.feed(port.name, np.zeros(2000, np.uint32))
        if machine.run(max_cycles=50_000) == Status.DEADLOCK:
            hang += 1
            proved += any(finding.proven for finding in find_hangs(program))
    assert hang >= 5 and proved >= 0.9 * hang, (hang, proved)
