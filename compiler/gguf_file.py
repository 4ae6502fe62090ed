"""Import a GGUF file of the llama architecture, dequantised to float32.

Reading and dequantising are the `gguf` package's (an optional extra). GGUF stores query and key matrices in
interleaved rotary order already, so they are taken as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wse.compiler.gguf_tokenizer import read_gguf_tokenizer
from wse.compiler.model import Model, ModelConfig
from wse.compiler.rope import RopeScaling, rope_frequencies
from wse.compiler.tokenizer import Tokenizer, read_tokenizer_json
from wse.errors import ConfigError, ModelFileError, UnsupportedError

TENSORS = {
    "tok_embeddings": "token_embd",
    "attn_norm": "attn_norm",
    "wq": "attn_q",
    "wk": "attn_k",
    "wv": "attn_v",
    "wo": "attn_output",
    "ffn_norm": "ffn_norm",
    "w_gate": "ffn_gate",
    "w_up": "ffn_up",
    "w_down": "ffn_down",
    "final_norm": "output_norm",
    "output": "output",
}
ROPE_FACTORS = "rope_freqs.weight"  # how llama3 scaling is stored: a divisor for every frequency
BROKEN = (ValueError, KeyError, IndexError, OverflowError, struct.error)  # what the package raises on a bad file


def load_gguf(path: Path, *, tokenizer: Path | None = None) -> Model:
    """The model in a GGUF file, with its embedded tokenizer unless a `tokenizer.json` is given.

    Raises ConfigError when the `gguf` package is missing, ModelFileError for a truncated or inconsistent file,
    UnsupportedError for another architecture, quantisation or tokenizer.
    """
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ConfigError(f"reading {path} needs the gguf package", help="pip install 'wse[gguf]'") from error
    try:
        reader = GGUFReader(path)
        metadata = {key: field.contents() for key, field in reader.fields.items()}
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from error
    except BROKEN as error:
        raise ModelFileError(f"{path} is truncated or not a GGUF file: {error}") from error
    stored = {tensor.name: tensor for tensor in reader.tensors}
    config = _read_config(path, metadata, tied="output.weight" not in stored)
    weights = _read_weights(path, config, stored)
    freqs = rope_frequencies(config.head_size, config.rope_theta, config.rope_scaling)
    if ROPE_FACTORS in stored:
        freqs = freqs / _dequantize(path, stored[ROPE_FACTORS], (config.head_size // 2,))
    text: Tokenizer
    if tokenizer is None:
        text = read_gguf_tokenizer(str(path), metadata)
    else:
        eos = metadata.get("tokenizer.ggml.eos_token_id")
        text = read_tokenizer_json(
            tokenizer, bos_id=metadata.get("tokenizer.ggml.bos_token_id"), eos_ids=() if eos is None else (eos,)
        )
    return Model.build(path.stem, config, weights, tokenizer=text, source=f"GGUF file {path}", rope_freqs=freqs)


def _read_config(path: Path, metadata: Mapping[str, Any], *, tied: bool) -> ModelConfig:
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise UnsupportedError(f"{path}: architecture {architecture}", help="supported: llama")

    def get(key: str, kind: type, default: Any = None) -> Any:
        value = metadata.get(f"llama.{key}", default)
        if isinstance(value, list):
            raise UnsupportedError(f"{path}: llama.{key} differs from layer to layer")
        if not isinstance(value, kind):
            raise ModelFileError(f"{path}: llama.{key} is {'missing' if value is None else repr(value)}")
        return float(str(np.float32(value))) if kind is float else value  # stored as float32: 1e-5, not 9.99999975e-06

    if get("expert_count", int, 0):
        raise UnsupportedError(f"{path}: a mixture of {get('expert_count', int)} experts")
    dim, n_heads = get("embedding_length", int), get("attention.head_count", int)
    head_size = get("attention.key_length", int, dim // max(1, n_heads))
    for key in ("attention.value_length", "rope.dimension_count"):
        if get(key, int, head_size) != head_size:
            raise UnsupportedError(f"{path}: llama.{key} = {get(key, int)} differs from the head size {head_size}")
    words = metadata.get("tokenizer.ggml.tokens", [])
    config = ModelConfig(
        dim=dim,
        hidden_dim=get("feed_forward_length", int),
        n_layers=get("block_count", int),
        n_heads=n_heads,
        n_kv_heads=get("attention.head_count_kv", int, n_heads),
        head_size=head_size,
        vocab_size=get("vocab_size", int, len(words)),
        seq_len=get("context_length", int),
        norm_eps=get("attention.layer_norm_rms_epsilon", float),
        rope_theta=get("rope.freq_base", float, 10000.0),
        rope_scaling=_rope_scaling(path, get("rope.scaling.type", str, "none"), metadata),
        tied_embeddings=tied,
    )
    config.verify()
    return config


def _rope_scaling(path: Path, kind: str, metadata: Mapping[str, Any]) -> RopeScaling | None:
    if kind == "none":
        return None
    if kind != "linear":
        raise UnsupportedError(f"{path}: rope scaling '{kind}'", help="supported: linear, and llama3 factors")
    factor = metadata.get("llama.rope.scaling.factor")
    if not isinstance(factor, float) or factor <= 0:
        raise ModelFileError(f"{path}: llama.rope.scaling.factor is {factor!r}")
    return RopeScaling("linear", factor)


def _read_weights(path: Path, config: ModelConfig, stored: Mapping[str, Any]) -> dict[str, np.ndarray]:
    weights: dict[str, np.ndarray] = {}
    names = {}
    for name, shape in config.weight_shapes().items():
        if name == "output" and config.tied_embeddings:
            continue
        theirs = _gguf_name(name)
        names[theirs] = name
        if theirs not in stored:
            raise ModelFileError(f"{path}: tensor {theirs} is missing")
        weights[name] = _dequantize(path, stored[theirs], shape)
    for theirs in stored:
        if theirs.endswith(".bias"):
            raise UnsupportedError(f"{path}: tensor {theirs}: biases")
        if theirs not in names and theirs != ROPE_FACTORS:
            raise ModelFileError(f"{path}: tensor {theirs} is unexpected")
    return weights


def _gguf_name(name: str) -> str:
    if not name.startswith("layers."):
        return f"{TENSORS[name]}.weight"
    _, layer, part = name.split(".")
    return f"blk.{layer}.{TENSORS[part]}.weight"


def _dequantize(path: Path, tensor: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A stored tensor as float32, or as float16 when it is stored so."""
    from gguf import GGMLQuantizationType, quants

    found = tuple(int(n) for n in reversed(tensor.shape))  # GGUF lists the fastest dimension first
    if found != shape:
        raise ModelFileError(f"{path}: tensor {tensor.name} has shape {found}, expected {shape}")
    if tensor.tensor_type in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        return np.asarray(tensor.data).reshape(shape)
    try:
        return quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
    except NotImplementedError as error:
        raise UnsupportedError(f"{path}: tensor {tensor.name} is quantised as {tensor.tensor_type.name}") from error
