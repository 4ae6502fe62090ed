"""Import a GGUF file of the llama architecture, dequantised to float32.

Reading and dequantising are the `gguf` package's (an optional extra). GGUF stores query and key matrices in
interleaved rotary order already, so they are taken as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wse.compiler.gguf_metadata import Metadata
from wse.compiler.gguf_tokenizer import read_gguf_tokenizer
from wse.compiler.model import Model, ModelConfig, verify_config
from wse.compiler.rope import RopeScaling, rope_frequencies
from wse.compiler.tokenizer import read_tokenizer_json
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


def load_gguf(path: Path, *, tokenizer: Path | None = None, on_part: Callable[[float], None] = lambda part: None) -> Model:
    """The model in a GGUF file, with its embedded tokenizer unless a `tokenizer.json` is given; `on_part` is told the part done, 0 to 1.

    Raises ConfigError when the `gguf` package is missing, ModelFileError for a truncated or inconsistent file,
    UnsupportedError for another architecture, quantisation or tokenizer.
    """
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ConfigError(f"reading {path} needs the gguf package", help="pip install 'wse[gguf]'") from error
    try:
        with path.open("rb") as file:
            magic, size = file.read(4), path.stat().st_size
        if magic != b"GGUF":
            raise ModelFileError(f"{path} is not a GGUF file: it begins with {magic!r}" if size else f"{path} is empty")
        reader = GGUFReader(path)
        metadata = Metadata(str(path), {key: field.contents() for key, field in reader.fields.items()})
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from error
    except BROKEN as error:
        raise ModelFileError(f"{path} is truncated or damaged: {size:,} bytes cannot be read as GGUF ({error})") from error
    stored = {tensor.name: tensor for tensor in reader.tensors}
    config = _read_config(metadata, tied="output.weight" not in stored)
    weights = _read_weights(path, config, stored, on_part)
    freqs = rope_frequencies(config.head_size, config.rope_theta, config.rope_scaling)
    if ROPE_FACTORS in stored:
        with np.errstate(divide="ignore"):  # a zero is refused by Model.verify
            freqs = freqs / _dequantize(path, stored[ROPE_FACTORS], (config.head_size // 2,))
    if tokenizer is None:
        text = read_gguf_tokenizer(str(path), metadata.values)
    else:
        eos = metadata.find("tokenizer.ggml.eos_token_id", int)
        bos = metadata.find("tokenizer.ggml.bos_token_id", int)
        text = read_tokenizer_json(tokenizer, bos_id=bos, eos_ids=() if eos is None else (eos,))
    return Model.build(path.stem, config, weights, tokenizer=text, source=f"GGUF file {path}", rope_freqs=freqs)


def _read_config(metadata: Metadata, *, tied: bool) -> ModelConfig:
    path, get = metadata.source, metadata.get
    architecture = get("general.architecture", str)
    if architecture != "llama":
        raise UnsupportedError(f"{path}: architecture {architecture}", help="supported: llama")
    if experts := metadata.find("llama.expert_count", int):
        raise UnsupportedError(f"{path}: a mixture of {experts} experts")
    if isinstance(metadata.values.get("llama.attention.head_count"), list):
        raise UnsupportedError(f"{path}: llama.attention.head_count differs from layer to layer")
    dim, n_heads = get("llama.embedding_length", int), get("llama.attention.head_count", int)
    head_size = get("llama.attention.key_length", int, dim // max(1, n_heads))
    for key in ("llama.attention.value_length", "llama.rope.dimension_count"):
        if get(key, int, head_size) != head_size:
            raise UnsupportedError(f"{path}: {key} = {get(key, int)} differs from the head size {head_size}")
    config = ModelConfig(
        dim=dim,
        hidden_dim=get("llama.feed_forward_length", int),
        n_layers=get("llama.block_count", int),
        n_heads=n_heads,
        n_kv_heads=get("llama.attention.head_count_kv", int, n_heads),
        head_size=head_size,
        vocab_size=get("llama.vocab_size", int, len(metadata.table("tokenizer.ggml.tokens", str))),
        seq_len=get("llama.context_length", int),
        norm_eps=get("llama.attention.layer_norm_rms_epsilon", float),
        rope_theta=get("llama.rope.freq_base", float, 10000.0),
        rope_scaling=_rope_scaling(metadata),
        tied_embeddings=tied,
    )
    verify_config(config, Path(path))
    return config


def _rope_scaling(metadata: Metadata) -> RopeScaling | None:
    kind = metadata.get("llama.rope.scaling.type", str, "none")
    if kind == "none":
        return None
    if kind != "linear":
        raise UnsupportedError(f"{metadata.source}: rope scaling '{kind}'", help="supported: linear, and llama3 factors")
    return RopeScaling("linear", metadata.get("llama.rope.scaling.factor", float))


def _read_weights(path: Path, config: ModelConfig, stored: Mapping[str, Any], on_part: Callable[[float], None]) -> dict[str, np.ndarray]:
    weights: dict[str, np.ndarray] = {}
    names, shapes = {}, config.weight_shapes()
    for i, (name, shape) in enumerate(shapes.items()):
        on_part(i / len(shapes))
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
