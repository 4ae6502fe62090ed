"""What the builder, the linker and verify() refuse, each naming the place; and the README's own example."""

import re
from pathlib import Path

import numpy as np
import pytest

from wse.builder import ProgramBuilder
from wse.errors import DoesNotFitError, ProgramError
from wse.isa import Col, Command, Op, Port, Type
from wse.machine import Machine
from wse.operands import Reg
from wse.program import Rect
from wse.spec import load_spec
from wse.verify import verify

SPEC = load_spec("wse2")
ALL = Rect(0, 0, 3, 2)


def builder():
    return ProgramBuilder(SPEC, 3, 2)


def test_code_is_shared_by_rectangles_and_data_is_per_pe():
    program = builder()
    pe = program.pes(ALL)
    a = pe.array("a", np.arange(6).reshape(2, 3, 1))
    pe.add(a, a, 1.0)
    program.pes(Rect(2, 0, 1, 2)).mul(a, a, 10.0)
    linked = program.link()
    machine = Machine(linked)
    machine.check(machine.run())
    assert len(linked.classes) == 2
    assert [[machine.read(x, y, "a")[0] for x in range(3)] for y in range(2)] == [[1, 2, 30], [4, 5, 60]]


def test_every_row_of_code_carries_the_op_it_was_written_in():
    program = builder()
    a = program.pes(ALL).zeros("a", 2)
    program.pes(ALL).add(a, a, 1.0)
    with program.op("norm"):
        program.pes(ALL).mul(a, a, 2.0)
        with program.op("reduce"):
            program.pes(ALL).sub(a, a, 3.0)
    linked = program.link()
    assert linked.op_names == ("other", "norm", "norm/reduce")
    ops = [(Op(row[Col.OP]).name, linked.op_names[op]) for row, op in zip(linked.code, linked.row_ops, strict=True)]
    assert ops == [("ADD", "other"), ("MUL", "norm"), ("SUB", "norm/reduce"), ("END", "other")]


@pytest.mark.parametrize(("second", "num_classes"), [("qkv", 1), ("down", 2)])
def test_code_is_shared_only_by_pes_whose_ops_are_alike(second, num_classes):
    program = builder()
    for column, name in ((Rect(0, 0, 1, 2), "qkv"), (Rect(1, 0, 1, 2), second)):
        with program.op(name):
            pe = program.pes(column)
            pe.add(pe.zeros("a", 2), 1.0, 2.0)
    linked = program.link()
    assert len(linked.classes) == num_classes
    assert len(linked.code) == len(linked.row_ops) == 2 * num_classes


def test_an_array_too_large_is_refused_with_each_buffer_and_what_would_help():
    program = builder()
    program.pes(ALL).zeros("big", 12000)
    program.pes(ALL).zeros("small", 10)
    with pytest.raises(DoesNotFitError) as error:
        program.link()
    assert "big" in error.value.render() and "B more than" in error.value.message and error.value.help
    assert "PE (0,0) (and 5 others like it)" in error.value.message
    assert re.search(r"48000 B at +0  big .*test_builder\.py:\d+", error.value.render())


def test_two_routes_for_a_color_are_refused():
    program = builder()
    program.route(Rect(0, 0, 1, 1), 3, Port.RAMP, [Port.EAST])
    with pytest.raises(ProgramError, match=r"color 3 already has another route at PE \(0,0\)") as error:
        program.route(ALL, 3, Port.WEST, [Port.RAMP])
    there, wanted = error.value.notes
    assert re.match(r"there: RAMP to EAST, .*test_builder\.py:\d+", there)
    assert re.match(r"wanted: WEST to RAMP, .*test_builder\.py:\d+", wanted)


def past_the_end(program, positions, commands, times=1, **switch):
    """PE (0,0) sends control wavelets that its own switch of `positions` obeys."""
    first = Rect(0, 0, 1, 1)
    program.switch(first, 1, [(Port.RAMP, [Port.EAST])] * positions, **switch)
    program.route(Rect(1, 0, 1, 1), 1, Port.WEST, [Port.RAMP])
    program.pes(Rect(1, 0, 1, 1)).mov(program.reg(), 1.0)
    for _ in range(times):
        program.pes(first).send_control(1, *commands)


@pytest.mark.parametrize(
    ("positions", "commands", "times", "switch"),
    [
        (2, [Command.ADVANCE], 1, {}), (1, [Command.NONE, Command.ADVANCE], 1, {}), (1, [Command.ADVANCE], 3, {"ring": True}),
        (2, [Command.ADVANCE, Command.RESET], 2, {}),
    ],
)  # fmt: skip
def test_a_switch_that_may_stay_within_its_positions_is_not_refused(positions, commands, times, switch):
    program = builder()
    past_the_end(program, positions, commands, times, **switch)
    verify(program.link())


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda p: p.pes(ALL).mov(p.pes(ALL).send(1), p.pes(ALL).zeros("a", 4)), "sends color 1"),
        (lambda p: p.pes(ALL).mov(p.pes(ALL).zeros("a", 4), p.pes(ALL).recv(1)), "receives color 1"),
        (lambda p: p.route(Rect(2, 0, 1, 1), 1, Port.RAMP, [Port.EAST]), "leads off the mesh"),
        (lambda p: (p.pes(ALL).mov(p.reg(), 1.0), p.route(Rect(0, 0, 1, 1), 1, Port.RAMP, [Port.EAST])), "neighbour"),
        (lambda p: p.pes(ALL).activate(1), "activates task 1"),
        (lambda p: p.route(ALL, 1, Port.RAMP, [Port.RAMP]), "color 1 uses the ramp of PE .* no code"),
        (lambda p: p.pes(ALL).mov(p.pes(ALL).zeros("a", 4).strided((5,), (1,)), 1.0), "like 5 more, reaches outside .* destination of mov"),
        (lambda p: p.pes(ALL).add(p.reg(), p.pes(ALL).zeros("a", 4).strided((3,), (-1,)), 1.0), "first source of add: bytes -8 to 3"),
        (lambda p: past_the_end(p, 1, [Command.ADVANCE]), "advances its switch of color 1 past the last of 1 positions"),
        (lambda p: past_the_end(p, 2, [Command.ADVANCE], times=2), "past the last of 2 positions"),
    ],
)
def test_verify_names_what_breaks_a_rule(write, words):
    program = builder()
    write(program)
    with pytest.raises(ProgramError, match=words) as error:
        Machine(program.link())
    assert "PE (" in error.value.message
    assert any(re.search(r"test_builder\.py:\d+", note) for note in error.value.notes)
    assert error.value.help


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda pe: pe.add(pe.zeros("a", 3), pe.zeros("b", 4), 1.0), "broadcast"),
        (lambda pe: pe.mod(pe.zeros("a", 3), pe.zeros("b", 3), 2), "i32"),
        (lambda pe: pe.fmac(pe.send(1), pe.zeros("b", 3), 2.0), "accumulates"),
        (lambda pe: pe.fmac(pe.zeros("a", 3), pe.zeros("b", 3), pe.recv(1, held=True)), "mapped"),
        (lambda pe: pe.zeros("a", 3)[5], "outside axis"),
        (lambda pe: pe.zeros("a", 3)[1, 2], "too many indices"),
        (lambda pe: pe.zeros("a", 4)[::2].reshape(1, 2), "cannot reshape"),
        (lambda pe: pe.array("a", np.zeros((1, 1, 3))), "begin with"),
        (lambda pe: pe.mov(pe.zeros("a", 3, Type.I32), 1.0, thread=9), "microthread"),
        (lambda pe: pe.mov(Reg(32), 1.0), "no register 32"),
        (lambda pe: pe.argmax(Reg(31), pe.zeros("a", 3), 0), "no register 32"),
        (lambda pe: pe.mov(pe.zeros("a", 3).shifted(Reg(-1)), 1.0), "no register -1"),
        (lambda pe: pe.mov(Reg(0), 1.0, shape=-2), "negative"),
        (lambda pe: pe.mov(pe.send(24), 1.0), "no color 24"),
        (lambda pe: pe.branch(Op.BLT, Reg(40), 1, pe.program.label()), "no register 40"),
        (lambda pe: pe.reroute(1, Port.WEST, []), "needs at least one other tx port"),
        (lambda pe: pe.reroute(1, Port.WEST, [Port.EAST], position=4), "no position 4"),
        (lambda pe: pe.send_control(1, *[Command.ADVANCE] * 9), "at most 8 commands"),
    ],
)
def test_impossible_operands_are_refused_where_they_are_written(write, words):
    with pytest.raises(ProgramError, match=words) as error:
        write(builder().pes(ALL))
    assert any(re.search(r"test_builder\.py:\d+", note) for note in error.value.notes)


def test_the_example_in_the_readme_runs(capsys):
    text = (Path(__file__).parent.parent / "README.md").read_text()
    exec(re.search(r"```python\n(.*?)```", text, re.S).group(1), {})
    assert "cycles" in capsys.readouterr().out
