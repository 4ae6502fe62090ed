"""A saved program comes back equal and runs alike; a damaged file is refused."""

import numpy as np
import pytest
from reference.programs import random_case

from wse.builder import ProgramBuilder
from wse.errors import ConfigError
from wse.files import write_text
from wse.machine import Machine
from wse.program import Rect
from wse.spec import load_spec
from wse.store import content_hash, load, save


@pytest.mark.parametrize("seed", range(6))
def test_a_program_survives_the_file(seed, tmp_path):
    program = random_case(seed).program
    save(program, tmp_path / "p.npz")
    again = load(tmp_path / "p.npz")
    assert content_hash(again) == content_hash(program)
    first, second = Machine(program, refuse_hangs=False), Machine(again, refuse_hangs=False)
    assert first.run(max_cycles=500) == second.run(max_cycles=500)
    assert all(np.array_equal(state, second.snapshot()[name]) for name, state in first.snapshot().items())


def test_the_ops_of_code_survive_the_file(tmp_path):
    program = ProgramBuilder(load_spec("toy"), 1, 1)
    with program.op("norm"):
        program.pes(Rect(0, 0, 1, 1)).zeros("a", 1)
        program.pes(Rect(0, 0, 1, 1)).mov(program.reg(), 1.0)
    linked = program.link()
    save(linked, tmp_path / "p.npz")
    again = load(tmp_path / "p.npz")
    assert again.op_names == ("other", "norm")
    assert again.row_ops.tolist() == linked.row_ops.tolist() == [1, 0]


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "p.npz"
    save(random_case(1).program, path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"x" * 100):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match=r"p\.npz"):
            load(path)
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "missing.npz")


def test_a_new_file_gets_the_usual_permissions_and_one_that_is_there_keeps_its_own(tmp_path) -> None:
    plain, path = tmp_path / "plain", tmp_path / "written"
    plain.write_text("")
    write_text(path, "once")
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o640)
    write_text(path, "twice")
    assert path.stat().st_mode & 0o777 == 0o640
