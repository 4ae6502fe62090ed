"""End to end: a model on the mesh gives the reference's tokens and op outputs; wrong input gives a clear refusal."""

import json
import subprocess
import sys

import numpy as np
import pytest

from wse.compiler.check import TOLERANCE, check_ops, new_reference
from wse.compiler.compile import compile_model
from wse.compiler.model import Model, ModelConfig
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
    session, reference = Session(kjv), new_reference(kjv)
    for token in kjv.model.tokenizer.encode("In the beginning"):
        session.step([token])
        for check in check_ops(kjv, session.machine, reference.step(token)):
            assert check.error <= TOLERANCE, check


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
    config = ModelConfig(dim, hidden, 2, heads, kv, head_size, 37, 32)
    rng = np.random.default_rng(1)
    weights = {name: rng.standard_normal(s).astype(np.float32) * 0.3 for name, s in config.weight_shapes().items()}
    model = Model.build("odd", config, weights)
    monkeypatch.setattr("wse.compiler.compile.load_model", lambda name: model)
    small = SPEC.replace(sram_bytes=4096 + 4176 + 2500)
    for spec in (SPEC, small):
        compiled = compile_model("odd", spec, dtype="f32", context=16)
        tokens = [token.id for token in Session(compiled).generate([1, 2, 3], 10)]
        assert tokens == list(new_reference(compiled).generate([1, 2, 3], 10))


@pytest.mark.parametrize("algorithm", [CHAIN, Algorithm("two_tree", 1), Algorithm("two_tree", 3), Algorithm("tree"), RING], ids=str)
def test_any_allreduce_decodes_like_the_reference(algorithm, monkeypatch):
    config = ModelConfig(36, 40, 2, 4, 2, 8, 37, 32)
    rng = np.random.default_rng(2)
    weights = {name: rng.standard_normal(s).astype(np.float32) * 0.3 for name, s in config.weight_shapes().items()}
    model = Model.build("any", config, weights)
    monkeypatch.setattr("wse.compiler.compile.load_model", lambda name: model)

    def chosen(spec, length, sizes, num_colors, rooted=False):
        return CHAIN if rooted and algorithm == RING else algorithm

    monkeypatch.setattr("wse.compiler.partition.best_allreduce", chosen)
    compiled = compile_model("any", SPEC.replace(sram_bytes=4096 + 4176 + 1500), dtype="f32", context=16)
    assert compiled.blocks[0].height >= 4  # enough for groups
    tokens = [token.id for token in Session(compiled).generate([1, 2, 3], 6)]
    assert tokens == list(new_reference(compiled).generate([1, 2, 3], 6))


def wse(*arguments, **how):
    return subprocess.run([sys.executable, "-c", "from wse.cli import main; main()", *arguments], capture_output=True, text=True, **how)


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


def test_a_placement_can_be_written_edited_and_is_refused_when_illegal(tmp_path):
    file = tmp_path / "placement.json"
    assert wse("place", "kjv", "-o", str(file)).returncode == 0
    placement = json.loads(file.read_text())
    placement["mesh"] = [40, 20]
    placement["blocks"][0]["x"] = 5
    file.write_text(json.dumps(placement))
    assert wse("run", "kjv", "-n", "2", "--placement", str(file)).returncode == 0
    placement["blocks"][1]["y"] = placement["blocks"][0]["y"]
    placement["blocks"][1]["x"] = 6
    file.write_text(json.dumps(placement))
    done = wse("run", "kjv", "--placement", str(file))
    assert done.returncode == 2 and "overlap" in done.stderr
