"""Hangs and lost wavelets that can be seen before a program runs."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from reference.programs import random_case

from wse.builder import ProgramBuilder
from wse.errors import ProgramError
from wse.isa import Done, Port, Status, Type
from wse.machine import Machine
from wse.program import Rect
from wse.proof import find_hangs
from wse.spec import load_spec
from wse.verify import suspicions

SPEC = load_spec("wse2")
A, B, C = (Rect(x, 0, 1, 1) for x in range(3))
ROOM = SPEC.ramp_fifo_room + SPEC.link_fifo_room + SPEC.core_queue_room  # of one hop


def pair(num_sent, num_taken, type=Type.F32, height=1):
    """PE (0,0) sends, PE (1,0) takes."""
    program = ProgramBuilder(SPEC, 2, height)
    program.route(A, 1, Port.RAMP, [Port.EAST])
    program.route(B, 1, Port.WEST, [Port.RAMP])
    program.pes(A).mov(program.reg(), 0.0)
    program.pes(B).mov(program.reg(), 0.0)
    if num_sent:
        program.pes(A).mov(program.pes(A).send(1), program.pes(A).zeros("x", num_sent, type), type=type)
    if num_taken:
        program.pes(B).mov(program.pes(B).zeros("x", num_taken, type), program.pes(B).recv(1), type=type)
    return program


def blocked(how):
    program = ProgramBuilder(SPEC, 1, 1)
    pes = program.pes(A)
    pes.start_blocked(2)
    program.pes(A, 2).mov(program.reg(), 1.0)
    how(pes)
    return program


def ring(program=None):
    program = program or ProgramBuilder(SPEC, 2, 2)
    for x, y, rx, tx in ((0, 0, "SOUTH", "EAST"), (1, 0, "WEST", "SOUTH"), (1, 1, "NORTH", "WEST"), (0, 1, "EAST", "NORTH")):
        program.route(Rect(x, y, 1, 1), 4, Port[rx], [Port[tx]])
    return program


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (pair(3, 4), r"PE \(1,0\) receives 4 wavelets of color 1, but PE \(0,0\) sends at most 3"),
        (pair(0, 4), r"receives 4 wavelets of color 1, but PE \(0,0\) sends at most 0"),
        (pair(5, 7, Type.F16), r"receives 4 wavelets of color 1, but PE \(0,0\) sends at most 3"),
        (pair(ROOM + 3, 2), rf"sends {ROOM + 3} wavelets of color 1, but PE \(1,0\) takes at most 2: the queues on the way hold {ROOM}"),
        (blocked(lambda pes: pes.activate(2)), r"PE \(0,0\) activates task 2, which is blocked at load"),
        (ring(), r"color 4 is routed in a ring of which PE \(0,0\) is a part"),
        (ring(pair(3, 3, height=2)), r"color 4 is routed in a ring of which PE \(0,0\) is a part"),
    ],
)
def test_hangs_that_counting_proves_are_refused(program, words):
    with pytest.raises(ProgramError, match=words) as error:
        Machine(program.link())
    assert any(re.search(r"test_proof_counts\.py:\d+", note) for note in error.value.notes) and error.value.help


@pytest.mark.parametrize(("num_sent", "num_taken", "num_lost"), [(4, 4, 0), (7, 2, 5), (ROOM + 2, 2, ROOM)])
def test_wavelets_that_queues_can_hold_are_lost_but_do_no_harm(num_sent, num_taken, num_lost):
    program = pair(num_sent, num_taken).link()
    machine = Machine(program)
    machine.check(machine.run())
    found = suspicions(program)
    assert len(found) == (num_lost > 0)
    assert all(f"takes at most {num_taken}: the rest is lost" in line for line in found)


def test_a_blocked_task_is_suspicious_when_it_may_never_be_started():
    program = blocked(lambda pes: pes.mov(pes.program.reg(), 1.0)).link()
    assert ["has task 2, which is blocked" in line for line in suspicions(program)] == [True]
    assert not suspicions(blocked(lambda pes: (pes.activate(2), pes.unblock(2))).link())


@pytest.mark.parametrize("started", ["by nothing", "by an activation", "by a completion", "by a color", "by a control wavelet"])
def test_a_task_that_nothing_starts_is_suspicious(started):
    program = ProgramBuilder(SPEC, 2, 1)
    sender, pes, task = program.pes(A), program.pes(B), program.pes(B, 3)
    program.route(A, 1, Port.RAMP, [Port.EAST])
    program.route(B, 1, Port.WEST, [Port.RAMP])
    arrived = program.reg()
    task.mov(program.reg(), 1.0)
    pes.mov(program.reg(), 1.0, on_done=(Done.ACTIVATE, 3) if started == "by a completion" else (Done.NOTHING, 0))
    if started == "by an activation":
        pes.activate(3)
    if started == "by a color":
        task.bind(1, arrived)
        sender.mov(sender.send(1), 1.0)
    if started == "by a control wavelet":
        sender.send_control(1, task=3)
    expected = ["task 3 of PE (1,0) never runs"] if started == "by nothing" else []
    assert [line.split(":")[0] for line in suspicions(program.link())] == expected


def test_what_loops_or_registers_decide_is_not_judged():
    program = pair(0, 0)
    sender, taker = program.pes(A), program.pes(B)
    with sender.loop(3):
        sender.mov(sender.send(1), sender.zeros("y", 2))
    n = program.reg(Type.I32)
    taker.mov(n, 6, type=Type.I32)
    taker.mov(taker.zeros("y", 6), taker.recv(1), shape=n)
    assert not list(find_hangs(program.link()))


def test_all_senders_and_takers_alike_are_one_finding():
    program = ProgramBuilder(SPEC, 4, 5)
    program.route(Rect(0, 0, 1, 5), 1, Port.RAMP, [Port.EAST])
    program.route(Rect(1, 0, 2, 5), 1, Port.WEST, [Port.EAST, Port.RAMP])
    program.route(Rect(3, 0, 1, 5), 1, Port.WEST, [Port.RAMP])
    first, rest = program.pes(Rect(0, 0, 1, 5)), program.pes(Rect(1, 0, 3, 5))
    first.mov(first.send(1), 1.0)
    rest.mov(rest.zeros("x", 2), rest.recv(1))
    (found,) = find_hangs(program.link())
    assert found.proven and "PE (1,0), like 14 more, receives 2 wavelets" in found.message


@settings(
    deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), max_examples=300, derandomize=True
)
@given(seed=st.integers(0, 2**48))
def test_no_program_that_ends_is_refused(seed):
    case = random_case(seed)
    proven = [finding for finding in find_hangs(case.program) if finding.proven]
    machine = Machine(case.program, refuse_hangs=False)
    for name in {name for run in case.runs for name, _ in run.feeds}:
        machine.feed(name, np.zeros(500, np.uint32))
    status = machine.run(max_cycles=50_000)
    assert not (proven and status == Status.DONE), proven
