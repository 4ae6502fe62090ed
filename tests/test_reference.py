"""The reference against an independent reading of the architecture, and against itself."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from checkpoints import CONFIG, hf_tensors, random_model, rotate_half_order, write_gguf, write_hf
from hypothesis import given
from hypothesis import strategies as st

from wse.compiler.load import load_model
from wse.compiler.model import Model, quantize_storage
from wse.compiler.reference import Reference, silu
from wse.compiler.rope import RopeScaling, interleave_rows, rope_frequencies, rope_rotation, rotate_pairs
from wse.compiler.sampling import greedy, sample
from wse.errors import ConfigError, DoesNotFitError, ModelFileError, UnsupportedError

TOKENS = [5, 299, 0, 17, 17, 123]


def whole_sequence_logits(model: Model, tokens: list[int]) -> np.ndarray:
    """All positions at once, float64, Hugging Face weights and rotate-half rotary order, one head at a time."""
    c = model.config
    t = {name: array.astype(np.float64) for name, array in hf_tensors(model).items()}
    head_dim, group = c.head_size, c.n_heads // c.n_kv_heads
    frequencies = c.rope_theta ** (-np.arange(0, head_dim, 2) / head_dim)
    angles = np.outer(np.arange(len(tokens)), np.concatenate([frequencies, frequencies]))

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + c.norm_eps) * t[name]

    def rotate(x):
        half = np.concatenate([-x[:, head_dim // 2 :], x[:, : head_dim // 2]], axis=-1)
        return x * np.cos(angles) + half * np.sin(angles)

    x = t["model.embed_tokens.weight"][tokens]
    for i in range(c.n_layers):
        layer = f"model.layers.{i}."
        h = norm(x, layer + "input_layernorm.weight")
        q, k, v = (h @ t[f"{layer}self_attn.{n}_proj.weight"].T for n in "qkv")
        heads = []
        for head in range(c.n_heads):
            mine = slice(head * head_dim, (head + 1) * head_dim)
            theirs = slice(head // group * head_dim, (head // group + 1) * head_dim)
            scores = rotate(q[:, mine]) @ rotate(k[:, theirs]).T / math.sqrt(head_dim)
            scores[np.triu_indices(len(tokens), 1)] = -np.inf
            probabilities = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
            heads.append(probabilities @ v[:, theirs])
        x = x + np.concatenate(heads, axis=-1) @ t[layer + "self_attn.o_proj.weight"].T
        h = norm(x, layer + "post_attention_layernorm.weight")
        gate, up = h @ t[layer + "mlp.gate_proj.weight"].T, h @ t[layer + "mlp.up_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ t[layer + "mlp.down_proj.weight"].T
    return norm(x, "model.norm.weight") @ t.get("lm_head.weight", t["model.embed_tokens.weight"]).T


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tied_embeddings": True},
        {"n_kv_heads": 1},
        {"n_kv_heads": 4},
        {"head_size": 10},
        {"rope_theta": 500.0, "norm_eps": 0.1},
    ],
)
def test_stepwise_agrees_with_the_whole_sequence(changes, tmp_path):
    model = random_model(dataclasses.replace(CONFIG, **changes))
    reference = Reference(load_model(write_hf(tmp_path, model)))
    stepwise = np.array([reference.step(token)["logits"] for token in TOKENS])
    np.testing.assert_allclose(stepwise, whole_sequence_logits(model, TOKENS), rtol=2e-5, atol=2e-5)


def test_f16_storage_computes_in_f32_with_rounded_weights():
    stored = quantize_storage(random_model(), "f16")
    outputs = Reference(stored).step(7)
    assert all(array.dtype == np.float32 for name, array in outputs.items() if name != "argmax")
    upcast = Reference(quantize_storage(stored, "f32")).step(7)
    for name, array in outputs.items():
        np.testing.assert_array_equal(array, upcast[name], err_msg=name)


def test_generate_position_reset_and_stop():
    reference = Reference(random_model())
    chosen = reference.generate(TOKENS, 5)
    assert reference.position == len(TOKENS) + 4
    reference.reset()
    assert [int(reference.step(token)["argmax"]) for token in [*TOKENS, *chosen]][len(TOKENS) - 1 : -1] == chosen
    reference.reset()
    assert reference.generate(TOKENS, 5, stop_ids={chosen[1]}) == chosen[:2]
    reference.reset()
    assert reference.generate(TOKENS, 0) == []


def test_errors():
    reference = Reference(random_model(), context=2)
    with pytest.raises(ConfigError, match="token 300"):
        reference.step(300)
    with pytest.raises(ConfigError, match="empty"):
        reference.generate([], 1)
    with pytest.raises(DoesNotFitError, match="2 positions") as caught:
        reference.generate([1], 5)
    assert caught.value.exit_code == 3


def test_silu_at_the_ends():
    assert silu(np.array([-1000.0, 0.0, 1000.0], np.float32)).tolist() == [0.0, 0.0, 1000.0]


# --- rotary embedding -----------------------------------------------------------------------------------------------------


def test_rotation_uses_float32_angles():
    freqs = rope_frequencies(64, 10000.0)
    assert freqs.dtype == np.float32 and freqs[0] == 1.0
    cos, sin = rope_rotation(freqs, 777)
    angle = float(np.float32(777) * freqs[5])
    assert (cos[5], sin[5]) == (np.float32(math.cos(angle)), np.float32(math.sin(angle)))


def test_interleaving_undoes_rotate_half_order():
    w = np.arange(2 * 6 * 3, dtype=np.float32).reshape(12, 3)
    np.testing.assert_array_equal(interleave_rows(rotate_half_order(w, 6), 6), w)


@given(position=st.integers(0, 5000), shift=st.integers(0, 5000))
def test_scores_depend_on_distance_alone(position, shift):
    rng = np.random.default_rng(position)
    q, k = rng.normal(size=(2, 8)).astype(np.float32)
    freqs = rope_frequencies(8, 10000.0)

    def score(q_position, k_position):
        return rotate_pairs(q, *rope_rotation(freqs, q_position)) @ rotate_pairs(k, *rope_rotation(freqs, k_position))

    assert score(position + 3, position) == pytest.approx(score(position + shift + 3, position + shift), abs=5e-3)


def test_rope_scalings():
    plain = rope_frequencies(16, 10000.0)
    np.testing.assert_allclose(rope_frequencies(16, 10000.0, RopeScaling("linear", 4.0)), plain / 4, rtol=1e-6)
    scaled = rope_frequencies(16, 10000.0, RopeScaling("llama3", 8.0, 1.0, 4.0, 256))
    turns = 256 * plain / (2 * math.pi)
    np.testing.assert_array_equal(scaled[turns > 4], plain[turns > 4])
    np.testing.assert_allclose(scaled[turns < 1], plain[turns < 1] / 8, rtol=1e-6)
    between = (turns >= 1) & (turns <= 4)
    assert between.any() and (scaled[between] < plain[between]).all() and (scaled[between] > plain[between] / 8).all()


def test_rope_scaling_is_read_from_a_config(tmp_path):
    section = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 256,
    }
    expected = rope_frequencies(6, 500.0, RopeScaling("llama3", 8.0, 1.0, 4.0, 256))
    old = write_hf(tmp_path / "old", random_model(), rope_scaling=section, rope_theta=500.0)
    new = write_hf(tmp_path / "new", random_model(), rope_parameters=section | {"rope_theta": 500.0}, rope_theta=None)
    for folder in (old, new):
        np.testing.assert_array_equal(load_model(folder).rope_freqs, expected)


def test_rope_scaling_is_read_from_gguf(tmp_path):
    linear = dataclasses.replace(CONFIG, rope_scaling=RopeScaling("linear", 4.0))
    loaded = load_model(write_gguf(tmp_path / "linear.gguf", random_model(linear)))
    assert loaded.config == linear
    np.testing.assert_array_equal(loaded.rope_freqs, random_model(linear).rope_freqs)

    factors = np.array([1.0, 2.0, 8.0], np.float32)  # how llama3 scaling is stored
    loaded = load_model(write_gguf(tmp_path / "llama3.gguf", random_model(), rope_factors=factors))
    np.testing.assert_array_equal(loaded.rope_freqs, random_model().rope_freqs / factors)

    model = random_model()
    yarn = dataclasses.replace(model, config=dataclasses.replace(CONFIG, rope_scaling=RopeScaling("yarn", 4.0)))
    with pytest.raises(UnsupportedError, match="yarn"):
        load_model(write_gguf(tmp_path / "yarn.gguf", yarn))
    with pytest.raises(ModelFileError, match="rope_freqs"):
        load_model(write_gguf(tmp_path / "zero.gguf", model, rope_factors=np.array([1, 0, 1], np.float32)))


# --- choosing a token -----------------------------------------------------------------------------------------------------


def test_greedy_ties_go_to_the_lowest_id():
    assert greedy(np.array([1.0, 3.0, 3.0])) == 1


def test_sampling_follows_the_distribution():
    rng = np.random.default_rng(0)
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    drawn = np.bincount([sample(logits, 1.0, 1.0, rng) for _ in range(20_000)], minlength=4) / 20_000
    np.testing.assert_allclose(drawn, [0.5, 0.3, 0.15, 0.05], atol=0.015)
    nucleus = np.bincount([sample(logits, 1.0, 0.75, rng) for _ in range(20_000)], minlength=4) / 20_000
    np.testing.assert_allclose(nucleus, [0.625, 0.375, 0, 0], atol=0.015)


def test_sampling_limits():
    rng = np.random.default_rng(0)
    logits = np.array([0.0, 5.0, 4.0], np.float32)
    assert sample(logits, 0.0, 0.9, rng) == sample(logits, 1.0, 1e-9, rng) == sample(logits, 1e-3, 1.0, rng) == 1
    assert {sample(np.array([-np.inf, 1.0, -np.inf]), 1.0, 1.0, rng) for _ in range(50)} == {1}
    for temperature, top_p in ((-1.0, 1.0), (float("nan"), 1.0), (1.0, 0.0), (1.0, 1.5)):
        with pytest.raises(ConfigError):
            sample(logits, temperature, top_p, rng)
