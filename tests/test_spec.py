"""The presets: every number has a source, and the rates that others measured come out (they calibrated the presets)."""

from __future__ import annotations

import pytest
from reference.machine import ReferenceMachine

from wse.builder import ProgramBuilder
from wse.isa import Op, Status, Type
from wse.program import Rect
from wse.spec import PRESETS, MachineSpec, load_spec

F32, F16 = Type.F32, Type.F16
NUM = 1200


@pytest.mark.parametrize("preset", PRESETS)
def test_every_number_of_a_preset_has_a_source(preset: str, tmp_path) -> None:
    spec = load_spec(preset)
    assert spec.name == preset
    assert set(MachineSpec.model_fields) - {"name", "sources"} == set(spec.sources)
    path = tmp_path / "again.toml"
    path.write_text(spec.dump())
    assert load_spec(str(path)) == spec


def elements_per_cycle(preset: str, op: Op, type: Type) -> float:
    """Of an operation that is long enough for its set-up not to matter."""
    program = ProgramBuilder(load_spec(preset), 1, 1)
    pe = program.pes(Rect(0, 0, 1, 1))
    d, a = pe.zeros("d", NUM, type), pe.zeros("a", NUM, type)
    pe.vector(op, d, a, None if op is Op.MOV else 2.0, type=type)
    machine = ReferenceMachine(program.link())
    assert machine.run() == Status.DONE
    return NUM / machine.cycles


@pytest.mark.parametrize(
    ("preset", "op", "type", "published"),
    [
        ("wse2", Op.FMAC, F32, 1), ("wse2", Op.FMAC, F16, 4),
        ("wse3", Op.MOV, F16, 8), ("wse3", Op.MOV, F32, 4), ("wse3", Op.FMAC, F16, 4), ("wse3", Op.FMAC, F32, 0.5),
        ("wse3", Op.ADD, F16, 8),
        ("wse3-hw", Op.MOV, F16, 4.82), ("wse3-hw", Op.MOV, F32, 2.44), ("wse3-hw", Op.FMAC, F16, 2.92), ("wse3-hw", Op.FMAC, F32, 0.5),
    ],
)  # fmt: skip
def test_published_rates(preset: str, op: Op, type: Type, published: float) -> None:
    """Exact for simulator figures but for the set-up; within 5 % of what was measured on the chip, whose ratios are not whole lanes.

    But copies of 32 bits: what goes over a link is one too, at a wavelet a cycle, so its beat must not be longer than a cycle.
    """
    within = 0.02 if preset != "wse3-hw" else 0.2 if (op, type) == (Op.MOV, F32) else 0.05
    assert elements_per_cycle(preset, op, type) == pytest.approx(published, rel=within)
