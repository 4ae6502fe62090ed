"""Reports on hangs: hand-made ones of each kind, folded ones, their text and JSON, and those of random programs."""

import json
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from reference.programs import FEATURES, random_case

from wse.builder import ProgramBuilder
from wse.engine.state import Core, Thread
from wse.engine.state import Phase as Stage
from wse.errors import DeadlockError
from wse.fold import rectangles
from wse.hang.nodes import THREADS
from wse.isa import Done, Port, Status
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec

SPEC = load_spec("wse2")
A, B, C = (Rect(x, 0, 1, 1) for x in range(3))
EAST, WEST, RAMP = Port.EAST, Port.WEST, Port.RAMP


def hang(program, feeds=None, **await_outputs):
    """The report of a program that ends in a deadlock."""
    machine = Machine(program.link(), refuse_hangs=False)
    for name, values in (feeds or {}).items():
        machine.feed(name, values)
    with pytest.raises(DeadlockError) as error:
        machine.check(machine.run(await_outputs))
    assert error.value.exit_code == 4
    return error.value.report, error.value.render()


def line(program, color, *pes, towards=EAST):
    """`color` goes from the first of these neighbours through the others to the last."""
    back = {EAST: WEST, WEST: EAST}[towards]
    program.route(pes[0], color, RAMP, [towards])
    for pe in pes[1:-1]:
        program.route(pe, color, back, [towards])
    program.route(pes[-1], color, back, [RAMP])


def two_way(program):
    line(program, 1, A, B)
    line(program, 2, B, A, towards=WEST)


def test_two_pes_that_both_receive_first():
    program = ProgramBuilder(SPEC, 2, 1)
    two_way(program)
    for pe, come, leave in ((A, 2, 1), (B, 1, 2)):
        pes = program.pes(pe)
        x = pes.zeros("x", 4)
        pes.mov(x, pes.recv(come))
        pes.mov(pes.send(leave), x)
    report, text = hang(program)
    assert text.splitlines()[0] == "error[deadlock]: nothing can move after cycle 1: 2 threads wait in a circle"
    (root,) = report.roots
    assert root.kind == "cycle" and not report.queued
    assert [(step.kind, step.rects, step.color, step.direction) for step in root.steps] == [
        ("wavelet", (A,), 2, "EAST"), ("wavelet", (B,), 1, "WEST"),
    ]  # fmt: skip
    assert all("test_hang.py" in step.line for step in root.steps)
    assert "PE (0,0) main thread waits for a wavelet of color 2 from EAST (0 of 6 queued), element 0 of 4, since cycle 0" in text
    assert "help: let one PE of the circle send before it receives" in text


def test_a_ring_of_backpressure_names_every_full_queue():
    program = ProgramBuilder(SPEC, 2, 1)
    two_way(program)
    for pe, come, leave in ((A, 2, 1), (B, 1, 2)):
        pes = program.pes(pe)
        x = pes.zeros("x", 400)
        pes.mov(pes.send(leave), x)
        pes.mov(x, pes.recv(come))
    report, text = hang(program)
    (root,) = report.roots
    assert [step.kind for step in root.steps] == ["room", "router_room", "router_room"] * 2
    assert [step.rects[0] for step in root.steps] == [A, A, B, B, B, A]
    assert all(step.queued == step.room for step in root.steps)
    room = SPEC.ramp_fifo_room + SPEC.link_fifo_room + SPEC.core_queue_room
    assert root.steps[0].done == (room, room) and root.steps[0].total == (400, 400)
    assert "receive while it sends" in text


def test_a_sender_that_has_ended_and_who_is_queued_behind():
    program = ProgramBuilder(SPEC, 3, 1)
    line(program, 5, A, B)
    line(program, 6, B, C)
    program.pes(A).mov(program.pes(A).send(5), program.pes(A).zeros("a", 3))
    middle, last = program.pes(B), program.pes(C)
    b = middle.zeros("b", 4)
    middle.mov(b, middle.recv(5))
    middle.mov(middle.send(6), b)
    last.mov(last.zeros("c", 4), last.recv(6))
    report, text = hang(program)
    (root,) = report.roots
    assert root.kind == "sender" and root.steps[-1].reason == "ended" and root.steps[-1].done == (3, 3)
    assert root.steps[0].rects == (B,) and root.steps[0].done == (3, 3) and root.steps[0].total == (4, 4)
    assert [wait.rects for wait in report.queued] == [(C,)]
    assert "queued behind: PE (2,0) main thread waits for a wavelet of color 6 from WEST" in text
    assert "send as many wavelets of color 5 at PE (0,0)" in text


@pytest.mark.parametrize("reason", ["never", "past"])
def test_a_sender_that_is_alive_but_will_not_send(reason):
    program = ProgramBuilder(SPEC, 2, 1)
    two_way(program)
    first, second = program.pes(A), program.pes(B)
    if reason == "past":
        first.mov(first.send(1), 1.0)
        second.mov(program.reg(), second.recv(1))
    first.mov(first.zeros("x", 1), first.recv(2))
    second.mov(second.zeros("x", 1), second.recv(1))
    second.mov(second.send(2), 1.0)
    report, _ = hang(program)
    (root,) = report.roots
    assert root.kind == "sender" and root.steps[-1].reason == reason and root.steps[-1].rects == (A,)
    assert root.steps[0].rects == (B,) and report.queued[0].rects == (A,)


def test_wavelets_that_nobody_takes():
    program = ProgramBuilder(SPEC, 2, 1)
    line(program, 1, A, B)
    program.pes(A).mov(program.pes(A).send(1), program.pes(A).zeros("x", 100))
    program.pes(B).mov(program.pes(B).zeros("x", 10), program.pes(B).recv(1))
    report, text = hang(program)
    (root,) = report.roots
    assert root.kind == "taker" and root.steps[-1].reason == "ended" and root.steps[-1].rects == (B,)
    assert report.queued[0].kind == "room" and report.queued[0].rects == (A,)
    assert "receive all of color 1 at PE (1,0)" in text


def test_a_blocked_task_that_nobody_unblocks():
    program = ProgramBuilder(SPEC, 1, 1)
    pes = program.pes(A)
    pes.start_blocked(3)
    pes.activate(3)
    program.pes(A, 3).mov(program.reg(), 1.0)
    report, text = hang(program)
    assert report.num_threads == 0 and report.roots[0].kind == "blocked_task" and report.roots[0].steps[0].number == 3
    assert "has task 3 ready to run but blocked" in text and "unblock(3)" in text


def test_a_blocked_task_whose_unblocking_waits():
    program = ProgramBuilder(SPEC, 2, 1)
    line(program, 1, A, B)
    program.pes(A).mov(program.reg(), 1.0)
    pes = program.pes(B)
    pes.start_blocked(3)
    pes.activate(3)
    pes.mov(pes.zeros("x", 1), pes.recv(1), thread=1, on_done=(Done.UNBLOCK, 3))
    program.pes(B, 3).mov(program.reg(), 1.0)
    report, _ = hang(program)
    (root,) = report.roots
    assert root.kind == "sender" and root.steps[0].number == 1
    assert [wait.kind for wait in report.queued] == ["blocked_task"]


@pytest.mark.parametrize("num_stranded", [20, 2], ids=["whose sender waits too", "whose sender has ended"])
def test_a_switch_that_stands_in_the_wrong_position(num_stranded):
    program = ProgramBuilder(SPEC, 3, 1)
    program.route(A, 1, RAMP, [EAST])
    program.route(C, 1, RAMP, [WEST])
    program.switch(B, 1, [(WEST, [RAMP]), (EAST, [RAMP])])
    for pe, num in ((A, 2), (C, num_stranded)):
        program.pes(pe).mov(program.pes(pe).send(1), program.pes(pe).zeros("x", num))
    program.pes(B).mov(program.pes(B).zeros("x", 2 + num_stranded), program.pes(B).recv(1))
    report, text = hang(program)
    switch = report.roots[0].steps[-1]
    assert report.roots[0].kind == switch.kind == "switch"
    assert (switch.rects, switch.number, switch.direction) == ((B,), 0, "WEST")
    assert "PE (1,0) switch of color 1 stands in position 0, which takes in from WEST" in text
    assert "control wavelet" in text


@pytest.mark.parametrize("to_host", [False, True])
def test_a_gather_whose_switch_is_never_told_to_advance(to_host):
    """B sends its own and should then let C's through; A lacks C's, which wait in B's router though everybody there has ended."""
    program = ProgramBuilder(SPEC, 3, 1)
    if to_host:
        program.route(A, 1, EAST, [WEST])
        program.output("out", 0, 0, 1, WEST)
    else:
        program.route(A, 1, EAST, [RAMP])
        program.pes(A).mov(program.pes(A).zeros("x", 4), program.pes(A).recv(1))
    program.switch(B, 1, [(RAMP, [WEST]), (EAST, [WEST])])
    program.route(C, 1, RAMP, [WEST])
    for pe in (B, C):
        program.pes(pe).mov(program.pes(pe).send(1), program.pes(pe).zeros("x", 2))
    report, text = hang(program, **({"out": 4} if to_host else {}))
    (root,) = report.roots
    assert root.kind == "switch" and (root.steps[-1].rects, root.steps[-1].number) == ((B,), 0)
    assert "PE (1,0) switch of color 1 stands in position 0, which takes in from its core" in text


@pytest.mark.parametrize(("push_first", "kind"), [(True, "fifo_room"), (False, "fifo_element")])
def test_a_fifo_in_sram_that_one_thread_both_fills_and_empties(push_first, kind):
    program = ProgramBuilder(SPEC, 1, 1)
    pes = program.pes(A)
    fifo, x = pes.fifo("q", 4), pes.zeros("x", 9)
    steps = [lambda: pes.mov(pes.push(fifo), x), lambda: pes.mov(x, pes.pop(fifo))]
    for step in steps if push_first else steps[::-1]:
        step()
    report, text = hang(program)
    (root,) = report.roots
    assert root.kind == "cycle" and [step.kind for step in root.steps] == [kind]
    assert root.steps[0].name == "q" and root.steps[0].room == (4, 4) and "FIFO 'q'" in text


def test_a_main_thread_that_waits_for_its_microthread():
    program = ProgramBuilder(SPEC, 2, 1)
    line(program, 1, A, B)
    program.pes(A).mov(program.reg(), 1.0)
    pes = program.pes(B)
    x = pes.zeros("x", 2)
    pes.mov(x, pes.recv(1), thread=2)
    pes.mul(x, x, 2.0, thread=2)
    report, _ = hang(program)
    (root,) = report.roots
    assert root.steps[-1].reason == "never" and root.steps[0].number == 2
    assert [(wait.kind, wait.number) for wait in report.queued] == [("microthread", 0)]


def test_a_host_input_that_has_run_dry_and_the_output_behind_it():
    program = ProgramBuilder(SPEC, 1, 1)
    program.route(A, 1, WEST, [RAMP])
    program.input("in", 0, 0, 1, WEST)
    program.route(A, 2, RAMP, [WEST])
    program.output("out", 0, 0, 2, WEST)
    pes = program.pes(A)
    x = pes.zeros("x", 9)
    pes.mov(x, pes.recv(1))
    pes.mov(pes.send(2), x)
    report, text = hang(program, {"in": np.zeros(5, np.float32)}, out=9)
    (root,) = report.roots
    assert root.kind == "host_input" and root.steps[-1].name == "in" and root.steps[-1].done == (5, 5)
    assert [(wait.kind, wait.name, wait.total) for wait in report.queued] == [("host_output", "out", (9, 9))]
    assert "feed('in', …)" in text


def test_what_was_run_can_be_read_after_the_report():
    program = ProgramBuilder(SPEC, 2, 1)
    line(program, 1, A, B)
    program.pes(A).mov(program.pes(A).send(1), 7.0)
    program.pes(B).mov(program.pes(B).zeros("x", 2), program.pes(B).recv(1))
    machine = Machine(program.link(), refuse_hangs=False)
    status = machine.run()
    before = machine.snapshot()
    first, again = machine.hang(), machine.hang()
    assert status == Status.DEADLOCK and first == again
    assert all(np.array_equal(before[name], value) for name, value in machine.snapshot().items())
    assert machine.read(1, 0, "x").tolist() == [7, 0]


def test_what_the_pes_of_a_circle_did_last_is_told():
    program = ProgramBuilder(SPEC, 2, 1)
    two_way(program)
    for pe, come, leave in ((A, 2, 1), (B, 1, 2)):
        pes = program.pes(pe)
        x = pes.zeros("x", 4)
        with pes.loop(3):
            pes.add(x, x, 1.0)
        pes.mov(x, pes.recv(come))
        pes.mov(pes.send(leave), x)
    machine = Machine(program.link(), refuse_hangs=False)
    machine.write(0, 0, "x", [1, 2, 3, 4])
    machine.run(max_cycles=7)
    status = machine.run()
    report, cycles = machine.hang(), machine.cycles
    assert status == Status.DEADLOCK and [past.pe for past in report.past] == [(0, 0), (1, 0)]
    assert [event["op"] for event in report.past[0].events] == ["add", "blt", "add", "add", "blt"]
    assert report.past[0].events[-1]["end"] == report.roots[0].steps[0].since[0]
    assert "PE (0,0) did last: " in report.notes[-2] and "tests/test_hang.py" in report.notes[-2]
    assert machine.cycles == cycles and machine.read(0, 0, "x").tolist() == [4, 5, 6, 7]
    assert json.loads(report.to_json())["past"][1]["pe"] == [1, 0]
    machine.restore(machine.save())  # from here on the machine does not know how it came to where it is
    assert not machine.hang().past


def test_prints_are_not_shown_again_to_find_out_what_was_done_last():
    program = ProgramBuilder(SPEC, 1, 1)
    pes = program.pes(A)
    fifo, x = pes.fifo("q", 4), pes.zeros("x", 9)
    pes.add(x, x, 1.0)
    pes.print("here")
    pes.mov(pes.push(fifo), x)
    shown = []
    machine = Machine(program.link(), refuse_hangs=False, on_print=shown.append)
    assert machine.run() == Status.DEADLOCK and machine.hang().past and len(shown) == 1


def test_nothing_is_run_again_after_much_work(monkeypatch):
    monkeypatch.setattr("wse.machine.MOST_WORK", 1)
    report, text = hang(folded(4))
    assert not report.past and "did last" not in text


def folded(n):
    """Rows in which all PEs but the first wait for one wavelet more than is sent."""
    program = ProgramBuilder(SPEC, n, n)
    program.route(Rect(0, 0, 1, n), 1, RAMP, [EAST])
    program.route(Rect(1, 0, n - 2, n), 1, WEST, [EAST, RAMP])
    program.route(Rect(n - 1, 0, 1, n), 1, WEST, [RAMP])
    first, rest = program.pes(Rect(0, 0, 1, n)), program.pes(Rect(1, 0, n - 1, n))
    first.mov(first.send(1), first.zeros("x", 1))
    rest.mov(rest.zeros("x", 2), rest.recv(1))
    return program


def test_many_pes_that_wait_alike_are_one_line():
    report, text = hang(folded(12))
    (root,) = report.roots
    assert root.num_alike == 12 and report.num_threads == 12 * 11
    assert [(wait.num, wait.rects) for wait in root.members] == [(132, (Rect(1, 0, 11, 12),)), (12, (Rect(0, 0, 1, 12),))]
    assert len(text.splitlines()) <= 6


@pytest.mark.nightly
def test_a_hang_of_a_quarter_million_pes_is_explained_in_seconds():
    machine = Machine(folded(512).link(), refuse_hangs=False)
    assert machine.run() == Status.DEADLOCK
    started = time.perf_counter()
    report = machine.hang()
    assert time.perf_counter() - started < 30  # 5 s on two busy cores
    assert report.roots[0].members[0].rects == (Rect(1, 0, 511, 512),) and len(report.notes) < 8


def test_json_has_all_that_the_report_has():
    report, _ = hang(folded(4))
    facts = json.loads(report.to_json())
    assert facts["schema"] == 2 and facts["kind"] == "wse hang"
    assert set(facts) == {"schema", "kind", "cycle", "num_threads", "message", "roots", "queued", "past"}
    (root,) = facts["roots"]
    assert set(root) == {"kind", "num_alike", "help", "steps", "members"}
    wait = root["members"][0]
    assert wait["rects"] == [{"x": 1, "y": 0, "width": 3, "height": 4}]
    assert wait["kind"] == "wavelet" and wait["color"] == 1 and wait["direction"] == "WEST" and wait["done"] == [1, 1]
    assert wait["text"] == report.roots[0].members[0].text


@given(st.sets(st.integers(0, 48)), st.integers(1, 9))
def test_rectangles_cover_each_pe_once(pes, width):
    covered = [
        y * width + x for r in rectangles(np.array(sorted(pes), np.int64), width) for y in range(r.y, r.y + r.height)
        for x in range(r.x, r.x + r.width)
    ]  # fmt: skip
    assert sorted(covered) == sorted(pes)


def each_thread(report):
    """(x, y, thread) of every wait of a thread that the report lists."""
    for wait in [*report.queued, *(wait for root in report.roots for wait in root.members)]:
        if wait.kind in THREADS:
            assert wait.num == sum(rect.num_pes for rect in wait.rects)
            for rect in wait.rects:
                yield from ((x, y, wait.number) for y in range(rect.y, rect.y + rect.height) for x in range(rect.x, rect.x + rect.width))


def waiting_threads(machine):
    """The same, read from the machine's state."""
    core, thread = machine._state.core, machine._state.thread
    for k in range(len(core)):
        x, y = machine.program.xy(machine.program.core_pe[k])
        for i in range(core[k, Core.NUM_THREADS]):
            busy = thread[core[k, Core.THREAD] + i, Thread.PHASE] != Stage.FREE
            if busy or (i == 0 and core[k, Core.RUNNING]):
                yield x, y, i


@settings(
    deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), max_examples=300, derandomize=True
)
@pytest.mark.parametrize("features", [(), FEATURES])
@given(seed=st.integers(0, 2**48))
def test_reports_on_random_programs(features, seed):
    case = random_case(seed, features=features)
    machine = Machine(case.program, refuse_hangs=False)
    for run in case.runs:
        for name, values in run.feeds:
            machine.feed(name, values)
        status = machine.run(run.await_outputs, machine.cycles + run.num_cycles)
        if status == Status.FAULT:
            return
        if status == Status.DEADLOCK:
            report = machine.hang()
            assert sorted(each_thread(report)) == sorted(waiting_threads(machine))
            assert report.roots and all(root.steps and root.help for root in report.roots)
            assert report.notes and json.loads(report.to_json())["roots"]
