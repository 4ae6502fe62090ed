"""Verification finds what is wrong and where: a tile changed in SRAM is named by block, op and PE."""

import json

import numpy as np
import pytest
from checkpoints import random_model, write_llama2c

from wse.compiler.check import not_compared
from wse.compiler.compile import compile_model
from wse.compiler.lower import REUSED
from wse.compiler.reference import Reference
from wse.crosscheck import check_tokens, verify
from wse.errors import VerificationError
from wse.runner import Session
from wse.spec import load_spec

SPEC = load_spec("wse2")
SMALL = SPEC.replace(sram_bytes=4096 + 4176 + 2500)


def compiled_for(spec, **how):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wse.compiler.compile.load_model", lambda name, **how: random_model())
        return compile_model("random", spec, dtype="f32", context=16, **how)


@pytest.fixture(scope="module")
def tiny():
    return compiled_for(SMALL, keep_outputs=True)


def test_every_op_of_the_graph_is_compared_where_sram_allows(tiny):
    result = verify(Session(tiny), [1, 2, 3], 4)
    assert result.not_compared == () and result.num_tokens == 6
    on_host = {"embed", "argmax"}  # the embedding is read by the host; argmax is compared as the token
    assert set(result.worst) == {op.name for op in tiny.graph.ops} - on_host
    assert result.num_outputs == 6 * len(result.worst)
    assert result.top_k_agreement_frac == 1.0


def test_copies_change_no_value_and_are_left_out_of_a_normal_compile(tiny):
    plain = compiled_for(SMALL)
    assert plain.kept == () and not_compared(plain) == REUSED
    assert not any(name.startswith("kept_") for cls in plain.program.classes for name in cls.symbols)
    ours, theirs = ([token.id for token in Session(c).generate([1, 2], 6)] for c in (tiny, plain))
    assert ours == theirs


def test_ops_without_room_for_a_copy_are_said_to_be_left_out():
    plain = compiled_for(SMALL)
    block = plain.blocks[0]
    segment = -(-plain.model.config.dim // block.height) * 4 + SPEC.instruction_bytes
    tight = SMALL.replace(sram_bytes=SPEC.sram_reserved_bytes + 4096 + block.sram_bytes + segment)
    compiled = compiled_for(tight, keep_outputs=True)
    assert compiled.blocks[0].height == block.height
    assert compiled.kept == ("attn_residual",)
    result = verify(Session(compiled), [1], 2)
    assert set(result.not_compared) == {"attn_out", "attn_norm", "qkv"}
    assert "L0.attn_residual" in result.worst and "L0.attn_out" not in result.worst


@pytest.mark.parametrize(
    ("op", "array", "block"),
    [
        ("L0.attn_norm", "attn_norm", 0),
        ("L1.qkv", "wqkv", 1),
        ("L0.attn_out", "wo", 0),
        ("L1.ffn_norm", "ffn_norm", 1),
        ("L0.gate_up", "w_gate_up", 0),
        ("L1.down", "w_down", 1),
        ("logits", "w_logits", 2),
    ],
)
def test_a_tile_changed_in_sram_is_named_by_block_op_and_pe(tiny, op, array, block):
    session = Session(tiny)
    rect = tiny.placement.rects[block]
    x, y = rect.x + rect.width - 1, rect.y
    tile = session.machine.read(x, y, array)
    tile.reshape(-1)[0] += 1.0
    session.machine.write(x, y, array, tile)
    with pytest.raises(VerificationError) as error:
        verify(session, [1, 2, 3], 2)
    assert error.value.exit_code == 5
    assert f"{op} in block '{tiny.blocks[block].name}' is the first op that differs, at position 0" in error.value.message
    assert f"weights of {op} changed since loading: 1 elements of '{array}' on PE ({x},{y})" in error.value.render()
    if array.endswith("norm"):  # every PE scales its own copy, so the worst element is on the PE itself
        assert f"on PE ({x},{y}):" in error.value.notes[0]


def test_a_value_that_is_not_a_number_is_a_difference(tiny):
    session = Session(tiny)
    rect = tiny.placement.rects[0]
    session.machine.write(rect.x, rect.y, "ffn_norm", np.full(session.machine.read(rect.x, rect.y, "ffn_norm").shape, np.nan))
    with pytest.raises(VerificationError, match=r"L0\.ffn_norm"):
        verify(session, [1], 1)


def test_token_check_says_where_tokens_part(tiny):
    tokens = [token.id for token in Session(tiny).generate([1, 2, 3], 5)]
    done = []
    assert check_tokens(tiny, [1, 2, 3], tokens, done.append).status == "equal"
    assert done == list(range(1, 8))
    wrong = [*tokens[:2], (tokens[2] + 1) % 300, *tokens[3:]]
    verdict = check_tokens(tiny, [1, 2, 3], wrong, lambda done: None)
    assert verdict.status == "differs"
    assert verdict.detail == f"at generated token 2: {wrong[2]} on the wafer, {tokens[2]} in NumPy"


def test_the_verb_prints_facts_as_json(tmp_path, wse):
    facts = json.loads(wse("verify", write_llama2c(tmp_path, random_model()), "-p", "the", "-n", "2", "--json", "-q").out)
    assert facts["ops_not_compared"] == [] and facts["outputs_compared"] == facts["tokens"] * len(facts["ops"])
    assert all(op["max_relative_error"] <= facts["tolerance"] for op in facts["ops"].values())


def test_a_run_whose_tokens_differ_reports_and_exits_with_5(monkeypatch, wse):
    right = Reference.step
    monkeypatch.setattr(Reference, "step", lambda self, token: right(self, token) | {"argmax": np.int64(7)})
    done = wse("run", "kjv", "-n", "2", "-q")
    assert done.code == 5 and "check differs" in done.out and "wse verify" in done.err
