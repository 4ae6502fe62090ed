"""End to end: a model on the mesh gives the reference's tokens and op outputs; wrong input gives a clear refusal."""

import json

import numpy as np
import pytest
from commands import wse
from random_model import random_model

from wse.compiler.check import TOLERANCE, new_reference
from wse.compiler.compile import PlaceOptions, compile_model
from wse.crosscheck import verify
from wse.kernels.allreduce import RING
from wse.kernels.reduce import CHAIN, Algorithm
from wse.runner import Session
from wse.spec import load_spec

SPEC = load_spec("wse2")


@pytest.fixture(scope="module")
def kjv():
    return compile_model("kjv", SPEC)


def test_the_shipped_model_decodes_64_tokens_like_the_reference(kjv):
    prompt = kjv.model.tokenizer.encode("And the LORD spake")
    tokens = [token.id for token in Session(kjv).generate(prompt, 64)]
    assert tokens == list(new_reference(kjv).generate(prompt, 64))


def test_every_op_agrees_with_the_reference_at_every_token(kjv):
    prompt = kjv.model.tokenizer.encode("In the beginning")
    result = verify(Session(kjv), prompt, 1)
    assert result.num_tokens == len(prompt)
    assert 0 < max(check.error for check in result.worst.values()) <= TOLERANCE


def test_logits_streamed_out_are_the_reference_logits():
    compiled = compile_model("kjv", SPEC, head="logits")
    seen = []
    session = Session(compiled, lambda logits: seen.append(logits) or int(np.argmax(logits)))
    session.step([5, 6, 7])
    reference = new_reference(compiled)
    expected = [reference.step(t)["logits"] for t in (5, 6, 7)][-1]
    np.testing.assert_allclose(seen[0], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(24, 40, 3, 3, 8), (20, 33, 4, 1, 6), (30, 50, 6, 2, 10)])
def test_odd_sizes_and_grouped_queries_decode_like_the_reference(shape, monkeypatch):
    dim, hidden, heads, kv, head_size = shape
    model = random_model(dim, hidden, 2, heads, kv, head_size)
    monkeypatch.setattr("wse.compiler.compile.load_model", lambda name, **how: model)
    small = SPEC.replace(sram_bytes=4096 + 4176 + 2500)
    for spec in (SPEC, small):
        for split in ("layer", "half"):
            compiled = compile_model("odd", spec, dtype="f32", context=16, options=PlaceOptions(split=split))
            tokens = [token.id for token in Session(compiled).generate([1, 2, 3], 10)]
            assert tokens == list(new_reference(compiled).generate([1, 2, 3], 10))


@pytest.mark.parametrize("algorithm", [CHAIN, Algorithm("two_tree", 1), Algorithm("two_tree", 3), Algorithm("tree"), RING], ids=str)
def test_any_allreduce_decodes_like_the_reference(algorithm, monkeypatch):
    model = random_model(36, 40, 2, 4, 2, 8, seed=2)
    monkeypatch.setattr("wse.compiler.compile.load_model", lambda name, **how: model)

    def chosen(spec, length, sizes, num_colors, rooted=False):
        return CHAIN if rooted and algorithm == RING else algorithm

    monkeypatch.setattr("wse.compiler.cost.best_allreduce", chosen)
    compiled = compile_model("any", SPEC.replace(sram_bytes=4096 + 4176 + 1500), dtype="f32", context=16)
    assert compiled.blocks[0].height >= 4  # enough for groups
    tokens = [token.id for token in Session(compiled).generate([1, 2, 3], 6)]
    assert tokens == list(new_reference(compiled).generate([1, 2, 3], 6))


def test_run_prints_text_and_report_and_the_same_json_twice():
    done = wse("run", "kjv", "-n", "3")
    assert done.returncode == 0 and "lower bound" in done.stdout and "not modelled" in done.stdout
    first, second = (wse("run", "kjv", "-n", "3", "--json") for _ in range(2))
    assert first.stdout == second.stdout
    assert json.loads(first.stdout)["cycles_per_token"] > json.loads(first.stdout)["lower_bound_cycles"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "nosuch"], 2, "nosuch"),
        (["run", "kjv", "--arch", "wse9"], 2, "wse9"),
        (["run", "kjv", "--set", "hop_cycle=2"], 2, "did you mean 'hop_cycles'"),
        (["run", "kjv", "--mesh", "4x4"], 3, "does not fit"),
        (["run", "kjv", "--mesh", "big"], 2, "WxH"),
        (["run", "kjv", "--context", "9999"], 2, "context"),
        (["run", "kjv", "--context", "8", "-n", "8"], 3, "positions"),
        (["run", "kjv", "--placement", "nosuch.json"], 2, "nosuch.json"),
        (["run"], 2, "MODEL"),
    ],
)
def test_wrong_input_is_refused_in_words_without_a_traceback(arguments, code, words):
    done = wse(*arguments)
    assert done.returncode == code
    assert words in done.stderr and "Traceback" not in done.stderr
