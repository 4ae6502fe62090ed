"""The sanitizer: what it must find, each with PE, array, line and cycle; what it must not; and that it changes nothing else."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given
from reference.programs import FEATURES, random_case
from test_decode import wse
from test_parity import COMMON, SEEDS, settings
from test_trace import run_case

from wse.builder import Pes, ProgramBuilder
from wse.errors import FaultError, SharedWordError, SymbolBoundsError, TimeDependentError, UnwrittenReadError
from wse.isa import Done, Fault, Port, Status, Type
from wse.machine import Machine
from wse.operands import Reg
from wse.program import Rect
from wse.races import check_timing
from wse.sanitize import POISON, Sanitizer
from wse.spec import load_spec
from wse.store import load, save

SANITIZER_FAULTS = (Fault.UNWRITTEN, Fault.OUT_OF_SYMBOL, Fault.SHARED_WORD)


def one_pe() -> tuple[ProgramBuilder, Pes]:
    builder = ProgramBuilder(load_spec("toy"), 2, 1)
    return builder, builder.pes(Rect(1, 0, 1, 1))


def here() -> str:
    """The line of the caller, as errors name it."""
    return f"tests/test_sanitize.py:{inspect.currentframe().f_back.f_lineno}"


def run(builder: ProgramBuilder, **how) -> Machine:
    machine = Machine(builder.link(), sanitize=True, **how)
    machine.check(machine.run())
    return machine


def refused(builder: ProgramBuilder, error: type[FaultError], *words: str) -> None:
    """The sanitizer refuses the program with `words` in its message and notes; without it, the program runs."""
    with pytest.raises(error) as caught:
        run(builder)
    text = caught.value.render()
    assert all(word in text for word in ("PE (1,0)", "in cycle ", *words)), text
    plain = Machine(builder.link())
    plain.check(plain.run())


@pytest.mark.parametrize("type", [Type.F32, Type.F16, Type.I32])
def test_reading_what_nothing_has_written(type: Type) -> None:
    builder, pe = one_pe()
    y, z = pe.empty("y", (2, 3), type), pe.zeros("z", (2, 3), type)
    pe.mov(y[0], z[0])
    pe.mov(z[0], y[0])
    pe.mov(z, y); line = here()  # fmt: skip  # noqa: E702
    refused(builder, UnwrittenReadError, "array 'y'[1, 0]", line)


def test_what_an_operation_adds_to_is_read() -> None:
    builder, pe = one_pe()
    y, x = pe.empty("y", 3), pe.zeros("x", 3)
    pe.fmac(y, x, 2.0); line = here()  # fmt: skip  # noqa: E702
    refused(builder, UnwrittenReadError, "array 'y'[0]", line)


def test_an_element_may_be_read_by_the_operation_that_has_written_it() -> None:
    builder, pe = one_pe()
    y = pe.empty("y", 8)
    pe.mov(y[:1], 1.0)
    pe.add(y[1:], y[:-1], 1.0)
    assert run(builder).read(1, 0, "y").tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_what_the_host_writes_is_written_and_what_nobody_does_is_poison() -> None:
    builder, pe = one_pe()
    y, z = pe.empty("y", 3), pe.zeros("z", 3)
    pe.empty("never", 2)
    pe.mov(z, y)
    machine = Machine(builder.link(), sanitize=True)
    assert (machine.read(1, 0, "never").view(np.uint32) == POISON).all() and np.isnan(machine.read(1, 0, "y")).all()
    machine.write(1, 0, "y", [4, 5, 6])
    machine.check(machine.run())
    assert machine.read(1, 0, "z").tolist() == [4, 5, 6]


def test_leaving_an_array_by_a_register() -> None:
    builder, pe = one_pe()
    y, z = pe.zeros("y", 4), pe.zeros("z", 4)
    n = builder.reg(Type.I32)
    pe.mov(n, 5, type=Type.I32)
    pe.mov(y, 1.0, shape=(n,)); line = here()  # fmt: skip  # noqa: E702
    pe.mov(z, 2.0)
    refused(builder, SymbolBoundsError, "array 'z'[0]", line)


def test_two_threads_that_write_the_same_word() -> None:
    builder, pe = one_pe()
    y = pe.zeros("y", 40)
    pe.mov(y[:20], 1.0, thread=1); other = here()  # fmt: skip  # noqa: E702
    pe.mov(y[19:], 2.0); line = here()  # fmt: skip  # noqa: E702
    refused(builder, SharedWordError, "array 'y'[19]", line, f"the other: instruction from {other}")


def test_a_thread_that_reads_what_another_writes() -> None:
    builder, pe = one_pe()
    y, z = pe.zeros("y", 40), pe.zeros("z", 40)
    pe.mov(z, y, thread=1)
    pe.mov(y, 2.0); line = here()  # fmt: skip  # noqa: E702
    refused(builder, SharedWordError, "array 'y'[0]", line)


def test_threads_that_wait_for_each_other_or_only_read_may_share() -> None:
    builder, pe = one_pe()
    y, z, w = pe.const("y", np.arange(40.0)), pe.zeros("z", 40), pe.zeros("w", 40)
    pe.mov(z, y, thread=1)
    pe.mov(w, y, thread=2, on_done=(Done.ACTIVATE, 1))
    after = builder.pes(Rect(1, 0, 1, 1), 1)
    after.add(w, w, 1.0)
    assert run(builder).read(1, 0, "w").tolist() == list(np.arange(40.0) + 1)


def test_halves_of_a_word_are_not_shared() -> None:
    builder, pe = one_pe()
    y = pe.zeros("y", 41, Type.F16)
    pe.mov(y[:21], 1.0, thread=1)
    pe.mov(y[21:], 2.0)
    assert run(builder).read(1, 0, "y").tolist() == [1.0] * 21 + [2.0] * 20


@settings(COMMON, max_examples=60, derandomize=True)
@given(SEEDS)
def test_random_programs_do_the_same_while_sanitized(seed: int) -> None:
    """Up to the first fault of the sanitizer: cycles, counters and values."""
    case = random_case(seed, features=FEATURES)
    plain, machine = Machine(case.program, refuse_hangs=False), Machine(case.program, sanitize=True, refuse_hangs=False)
    statuses = run_case(machine, case)
    if Status.FAULT in statuses:
        assert machine.fault[0] in SANITIZER_FAULTS or (run_case(plain, case) == statuses and plain.fault == machine.fault)
        return
    assert run_case(plain, case) == statuses
    mine, wanted = machine.snapshot(), plain.snapshot()
    halves, expected = mine.pop("sram").view(np.uint16), wanted.pop("sram").view(np.uint16)
    assert (((halves == POISON & 0xFFFF) & (expected == 0)) | (halves == expected)).all()
    assert all(mine[name].tobytes() == wanted[name].tobytes() for name in wanted)


def two_senders(race: bool) -> ProgramBuilder:
    """PEs 0 and 2 send to PE 1, which takes them in an order of its own, or with data tasks, as they come."""
    builder = ProgramBuilder(load_spec("toy"), 3, 1)
    y = builder.pes(Rect(1, 0, 1, 1)).zeros("y", 1)
    for x, color, out, back in ((0, 0, Port.EAST, Port.WEST), (2, 1, Port.WEST, Port.EAST)):
        builder.route(Rect(x, 0, 1, 1), color, Port.RAMP, [out])
        builder.route(Rect(1, 0, 1, 1), color, back, [Port.RAMP])
        sender, value = builder.pes(Rect(x, 0, 1, 1)), builder.reg(Type.F32)
        sender.mov(value, 3.0 + x)
        sender.mov(sender.send(color), value, shape=1)
        if race:
            task, payload = builder.pes(Rect(1, 0, 1, 1), 1 + color), Reg(20 + color, Type.F32)
            task.bind(color, payload)
            task.mov(y, payload)
        else:
            pe = builder.pes(Rect(1, 0, 1, 1))
            pe.mov(y, pe.recv(color))
    return builder


def drive(machine: Machine) -> None:
    machine.check(machine.run())


def test_values_that_depend_on_time_are_found_and_those_that_do_not_are_not() -> None:
    check_timing(two_senders(race=False).link(), drive, range(1, 9))
    with pytest.raises(TimeDependentError) as caught:
        check_timing(two_senders(race=True).link(), drive, range(1, 9))
    text = caught.value.render()
    assert (
        "array 'y'[0] of PE (1,0) depends on time" in text and "may write it: tests/test_sanitize.py:" in text and "ended in cycles" in text
    )


def test_a_timing_is_drawn_from_its_seed() -> None:
    cycles = []
    for seed in (0, 1, 1, 2):
        machine = Machine(two_senders(race=False).link(), sanitize=Sanitizer(seed))
        drive(machine)
        cycles.append(machine.cycles)
    assert cycles[1] == cycles[2] and len(set(cycles)) == 3 and min(cycles) == cycles[0]


def test_a_saved_program_knows_what_was_not_written(tmp_path) -> None:
    builder, pe = one_pe()
    pe.mov(pe.zeros("z", 1), pe.empty("y", 1))
    save(builder.link(), tmp_path / "p.npz")
    machine = Machine(load(tmp_path / "p.npz"), sanitize=True)
    assert machine.run() == Status.FAULT and machine.fault[0] == Fault.UNWRITTEN


def test_a_model_decodes_while_sanitized() -> None:
    done = wse("run", "kjv", "-n", "1", "-p", "A", "--sanitize", "--json")
    assert done.returncode == 0, done.stderr
    assert "another timing gave the same results" in " ".join(done.stderr.split())
