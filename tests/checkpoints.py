"""Write one tiny random llama as a checkpoint of every format that the compiler reads."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from wse.compiler.model import Model, ModelConfig

CONFIG = ModelConfig(
    dim=24, hidden_dim=40, n_layers=2, n_heads=4, n_kv_heads=2, head_size=6, vocab_size=300, seq_len=16, norm_eps=1e-5
)
BYTE_LEVEL_WORDS = list(pre_tokenizers.ByteLevel.alphabet())


def random_model(config: ModelConfig = CONFIG, seed: int = 0) -> Model:
    """A model of random weights, in canonical form, without a tokenizer."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in config.weight_shapes().items():
        if not (config.tied_embeddings and name == "output"):
            spread = 0.3 if len(shape) == 2 else 0.1
            weights[name] = (rng.normal(scale=spread, size=shape) + (len(shape) == 1)).astype(np.float32)
    return Model.build("random", config, weights)


# --- Hugging Face -----------------------------------------------------------------------------------------------------

HF_NAMES = {
    "attn_norm": "input_layernorm",
    "wq": "self_attn.q_proj",
    "wk": "self_attn.k_proj",
    "wv": "self_attn.v_proj",
    "wo": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "w_gate": "mlp.gate_proj",
    "w_up": "mlp.up_proj",
    "w_down": "mlp.down_proj",
    "tok_embeddings": "embed_tokens",
    "final_norm": "norm",
}


def rotate_half_order(w: np.ndarray, head_size: int) -> np.ndarray:
    """Rows of an interleaved wq or wk in the order of a Hugging Face checkpoint, one row at a time."""
    rows = []
    for head in range(len(w) // head_size):
        rows += [w[head * head_size + 2 * i] for i in range(head_size // 2)]
        rows += [w[head * head_size + 2 * i + 1] for i in range(head_size // 2)]
    return np.array(rows)


def hf_tensors(model: Model) -> dict[str, np.ndarray]:
    """The model's weights under Hugging Face names."""
    tensors = {}
    for name, array in model.weights.items():
        if name == "output":
            if not model.config.tied_embeddings:
                tensors["lm_head.weight"] = array
            continue
        *layer, part = name.split(".")
        if part in ("wq", "wk"):
            array = rotate_half_order(array, model.config.head_size)
        tensors[".".join(["model", *layer, HF_NAMES[part], "weight"])] = array
    return tensors


def bfloat16_bits(array: np.ndarray) -> np.ndarray:
    """The upper halves of float32 numbers, uint16; exact for numbers that bfloat16 can hold."""
    return (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def write_safetensors(path: Path, tensors: dict[str, np.ndarray], *, bfloat16: bool = False) -> None:
    """A safetensors file written from the format's description."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    blobs = []
    for name, array in tensors.items():
        blob = (bfloat16_bits(array) if bfloat16 else np.ascontiguousarray(array)).tobytes()
        begin = sum(map(len, blobs))
        dtype = "BF16" if bfloat16 else {"float32": "F32", "float16": "F16"}[array.dtype.name]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, begin + len(blob)]}
        blobs.append(blob)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def hf_config(config: ModelConfig, **changes: Any) -> dict[str, Any]:
    """A config.json of this shape; a change to None removes the key."""
    raw = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": config.dim,
        "intermediate_size": config.hidden_dim,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_size,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.seq_len,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": config.tied_embeddings,
        "hidden_act": "silu",
        "bos_token_id": 1,
        "eos_token_id": [2, 3],
    } | changes
    return {key: value for key, value in raw.items() if value is not None}


def write_tokenizer_json(path: Path) -> None:
    """A byte-level BPE of the 256 bytes and two merges."""
    vocab = {word: token for token, word in enumerate([*BYTE_LEVEL_WORDS, "th", "the"])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[("t", "h"), ("th", "e")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.save(str(path))


def write_hf(folder: Path, model: Model, *, bfloat16: bool = False, **changes: Any) -> Path:
    """A whole Hugging Face folder; `changes` go into its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(hf_config(model.config, **changes)))
    write_safetensors(folder / "model.safetensors", hf_tensors(model), bfloat16=bfloat16)
    write_tokenizer_json(folder / "tokenizer.json")
    return folder


def write_sharded_hf(folder: Path, model: Model) -> Path:
    """The same in two shards and an index."""
    write_hf(folder, model)
    (folder / "model.safetensors").unlink()
    tensors = hf_tensors(model)
    index = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for shard in sorted(set(index.values())):
        write_safetensors(folder / shard, {name: array for name, array in tensors.items() if index[name] == shard})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


# --- llama2.c ---------------------------------------------------------------------------------------------------------


@dataclass
class SpmVocab:
    """A sentencepiece-like vocabulary: three control words, 256 bytes, then scored pieces."""

    pieces: dict[str, float] = field(
        default_factory=lambda: {" ": -9.0, "t": -8.0, "h": -8.0, "e": -8.0, "th": -1.0, "he": -2.0, "the": -3.0, " the": -4.0}
    )

    def words(self, size: int = CONFIG.vocab_size) -> list[tuple[str, float]]:
        """Words and scores, filled up with pieces that no text holds."""
        words = [("<unk>", 0.0), ("\n<s>\n", 0.0), ("\n</s>\n", 0.0)]
        words += [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
        words += self.pieces.items()
        return words + [(f"\x00{i}", -99.0) for i in range(size - len(words))]


def write_tokenizer_bin(path: Path, words: list[tuple[str, float]]) -> None:
    """A llama2.c tokenizer file."""
    encoded = [(word.encode(), score) for word, score in words]
    body = b"".join(struct.pack("<fi", score, len(word)) + word for word, score in encoded)
    path.write_bytes(struct.pack("<i", max(len(word) for word, _ in encoded)) + body)


def write_llama2c(folder: Path, model: Model) -> Path:
    """A version 0 checkpoint, model.bin, and its tokenizer.bin."""
    folder.mkdir(parents=True, exist_ok=True)
    c, w = model.config, model.weights
    vocab_size = c.vocab_size if c.tied_embeddings else -c.vocab_size
    data = struct.pack("<7i", c.dim, c.hidden_dim, c.n_layers, c.n_heads, c.n_kv_heads, vocab_size, c.seq_len)
    data += w["tok_embeddings"].tobytes()
    for part in ("attn_norm", "wq", "wk", "wv", "wo", "ffn_norm", "w_gate", "w_down", "w_up"):
        data += b"".join(w[f"layers.{i}.{part}"].tobytes() for i in range(c.n_layers))
    data += w["final_norm"].tobytes()
    data += np.zeros((2, c.seq_len, c.head_size // 2), np.float32).tobytes()
    if not c.tied_embeddings:
        data += w["output"].tobytes()
    (folder / "model.bin").write_bytes(data)
    write_tokenizer_bin(folder / "tokenizer.bin", SpmVocab().words(c.vocab_size))
    return folder / "model.bin"


# --- GGUF -------------------------------------------------------------------------------------------------------------

GGUF_NAMES = {
    "wq": "attn_q",
    "wk": "attn_k",
    "wv": "attn_v",
    "wo": "attn_output",
    "w_gate": "ffn_gate",
    "w_up": "ffn_up",
    "w_down": "ffn_down",
    "tok_embeddings": "token_embd",
    "final_norm": "output_norm",
}


def write_gguf(
    path: Path,
    model: Model,
    *,
    architecture: str = "llama",
    skip: str = "",
    quantize: bool = False,
    rope_factors: np.ndarray | None = None,
) -> Path:
    """A GGUF file with an embedded byte-level BPE; `quantize` stores matrices as Q8_0 where they divide into blocks."""
    gguf = pytest.importorskip("gguf")
    path.parent.mkdir(parents=True, exist_ok=True)
    c = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_embedding_length(c.dim)
    writer.add_feed_forward_length(c.hidden_dim)
    writer.add_block_count(c.n_layers)
    writer.add_head_count(c.n_heads)
    writer.add_head_count_kv(c.n_kv_heads)
    writer.add_context_length(c.seq_len)
    writer.add_layer_norm_rms_eps(c.norm_eps)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_key_length(c.head_size)
    writer.add_vocab_size(c.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    if c.rope_scaling is not None:
        writer.add_rope_scaling_type(gguf.RopeScalingType(c.rope_scaling.kind))
        writer.add_rope_scaling_factor(c.rope_scaling.factor)
    if rope_factors is not None:
        writer.add_tensor("rope_freqs.weight", rope_factors)
    words = [*BYTE_LEVEL_WORDS, "th", "the", "<|endoftext|>"]
    writer.add_token_list(words)
    writer.add_token_types([1] * (len(words) - 1) + [3])
    writer.add_token_merges(["t h", "th e"])
    writer.add_eos_token_id(len(words) - 1)
    for name, array in model.weights.items():
        *layer, part = name.split(".")
        theirs = ".".join([*(["blk", layer[1]] if layer else []), GGUF_NAMES.get(part, part), "weight"])
        if theirs == skip or (part == "output" and c.tied_embeddings):
            continue
        if quantize and array.ndim == 2 and array.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(theirs, gguf.quants.quantize(np.array(array), kind), raw_dtype=kind)
        else:
            writer.add_tensor(theirs, np.array(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
