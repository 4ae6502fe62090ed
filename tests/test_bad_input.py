"""What a kernel can get wrong is found as early as it can be, and told with the kernel's line, the place, the color and help."""

import re

import mistakes.arrays
import mistakes.fabric
import mistakes.operands
import mistakes.tasks  # noqa: F401
import numpy as np
import pytest
from mistakes import RAMP, TABLE, WEST, A

from wse.builder import ProgramBuilder
from wse.errors import ProgramError
from wse.machine import Machine
from wse.spec import load_spec


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_mistake_is_found_as_early_as_it_can_be_and_told_with_all_that_helps(row):
    stage, error = row.find()
    text = error.render()
    assert (stage, type(error)) == (row.stage, row.error), text
    assert row.words in error.message, text
    assert "\n" not in error.message
    assert row.place in text and row.color in text
    found = set(re.findall(r"mistakes/\w+\.py:\d+", " ".join(error.notes)))
    assert found & row.lines(), (text, row.lines())
    assert error.help, text


FED = {
    "an unknown input": (lambda m: m.feed("inn", np.zeros(3, np.float32)), "no host input 'inn'"),
    "values of 64 bits": (lambda m: m.feed("in", np.zeros(3)), "input 'in' takes 32-bit values, got float64"),
    "an unknown array": (lambda m: m.read(0, 0, "aa"), "PE (0,0) has no array 'aa'"),
    "a PE without code": (lambda m: m.read(2, 0, "a"), "PE (2,0) has no code and no data"),
    "a PE off the mesh": (lambda m: m.read(5, 0, "a"), "PE (5,0) is outside the mesh of 3x1 PEs"),
    "values of the wrong shape": (lambda m: m.write(0, 0, "a", np.zeros(4)), "array 'a' of PE (0,0) has the shape (3,), got (4,)"),
    "an unknown output": (lambda m: m.output("out"), "no host output 'out'"),
    "no wavelets to wait for": (lambda m: m.run({"done": 0}), "cannot await 0 wavelets at 'done'"),
}


@pytest.mark.parametrize("name", FED)
def test_what_a_machine_is_asked_for_wrongly_is_told_with_a_suggestion(name):
    ask, words = FED[name]
    program = ProgramBuilder(load_spec("wse2"), 3, 1)
    program.route(A, 1, WEST, [RAMP])
    program.route(A, 2, RAMP, [WEST])
    program.input("in", 0, 0, 1, WEST)
    program.output("done", 0, 0, 2, WEST)
    pe = program.pes(A)
    a = pe.zeros("a", 3)
    pe.mov(a, pe.recv(1))
    pe.mov(pe.send(2), a)
    with pytest.raises(ProgramError) as error:
        ask(Machine(program.link()))
    assert words in error.value.message and error.value.help, error.value.render()
