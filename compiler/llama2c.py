"""Import a llama2.c checkpoint (`model.bin`, version 0) and its `tokenizer.bin`.

The checkpoint is seven little-endian int32 and then float32 arrays in a fixed order, each over all layers at once;
a negative vocabulary size means that the output matrix is not the embedding.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from wse.compiler.model import Model, ModelConfig, verify_config
from wse.compiler.spm import build_spm
from wse.compiler.tokenizer import Tokenizer
from wse.errors import ModelFileError, UnsupportedError

HEADER = struct.Struct("<7i")
LATER_VERSION_MAGIC = 0x616B3432  # "ak42"
BOS_ID, EOS_ID = 1, 2


def load_llama2c(path: Path, *, tokenizer: Path | None = None) -> Model:
    """The model in a llama2.c file; the tokenizer is `tokenizer`, or a `tok*.bin` in the same folder that fits.

    Raises ModelFileError for a file of a wrong length or without a tokenizer, UnsupportedError for a later version.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEADER.size)
        size = path.stat().st_size
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from error
    config = _read_config(path, head)
    verify_config(config, path)
    arrays = _array_shapes(config)
    expected = HEADER.size + 4 * sum(map(math.prod, arrays.values()))
    if size != expected:
        what = "is truncated" if size < expected else "is too long"
        raise ModelFileError(f"{path} {what}: {size} bytes, its header asks for {expected}", notes=[str(config)])
    data = np.memmap(path, dtype="<f4", mode="r", offset=HEADER.size)
    stacked: dict[str, np.ndarray] = {}
    begin = 0
    for name, shape in arrays.items():
        stacked[name] = np.asarray(data[begin : begin + math.prod(shape)]).reshape(shape)
        begin += math.prod(shape)
    weights = {}
    for name in config.weight_shapes():
        prefix, _, rest = name.partition(".")
        if prefix == "layers":
            layer, _, part = rest.partition(".")
            weights[name] = stacked[part][int(layer)]
        elif name in stacked:
            weights[name] = stacked[name]
    found = read_tokenizer_bin(tokenizer, config.vocab_size) if tokenizer else _find_tokenizer(path, config.vocab_size)
    return Model.build(path.stem, config, weights, tokenizer=found, source=f"llama2.c file {path}")


def _read_config(path: Path, head: bytes) -> ModelConfig:
    if len(head) < HEADER.size:
        raise ModelFileError(f"{path} is truncated: {len(head)} bytes, the header alone has {HEADER.size}")
    if head[:4] == struct.pack("<I", LATER_VERSION_MAGIC):
        raise UnsupportedError(f"{path} is a llama2.c file of version 1 or later", help="export it again with --version 0")
    if head[:2] == b"PK":
        raise UnsupportedError(f"{path} is a pickled PyTorch checkpoint, which could run code", help="convert it to safetensors")
    dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len = HEADER.unpack(head)
    if min(dim, hidden_dim, n_layers, n_heads, n_kv_heads, abs(vocab_size), seq_len) <= 0 or dim % n_heads:
        raise ModelFileError(f"{path} is not a llama2.c file: its header reads {HEADER.unpack(head)}")
    return ModelConfig(
        dim=dim,
        hidden_dim=hidden_dim,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_size=dim // n_heads,
        vocab_size=abs(vocab_size),
        seq_len=seq_len,
        tied_embeddings=vocab_size > 0,
    )


def _array_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The file's arrays in order; those of a layer have the layer as first axis."""
    shapes = config.weight_shapes()
    order = ["attn_norm", "wq", "wk", "wv", "wo", "ffn_norm", "w_gate", "w_down", "w_up"]
    arrays: dict[str, tuple[int, ...]] = {"tok_embeddings": shapes["tok_embeddings"]}
    arrays |= {name: (config.n_layers, *shapes[f"layers.0.{name}"]) for name in order}
    arrays["final_norm"] = shapes["final_norm"]
    arrays["rope tables"] = (2, config.seq_len, config.head_size // 2)  # cosines and sines, which readers compute anew
    if not config.tied_embeddings:
        arrays["output"] = shapes["output"]
    return arrays


# --- tokenizer ------------------------------------------------------------------------------------------------------


def _find_tokenizer(path: Path, vocab_size: int) -> Tokenizer:
    """The first of `tokenizer.bin`, `tok*.bin` beside a checkpoint that holds exactly its vocabulary."""
    candidates = sorted(path.parent.glob("tok*.bin"), key=lambda file: (file.name != "tokenizer.bin", file.name))
    refusals = []
    for candidate in candidates:
        try:
            return read_tokenizer_bin(candidate, vocab_size)
        except ModelFileError as error:
            refusals.append(error.message)
    raise ModelFileError(
        f"no tokenizer for {path}",
        notes=refusals,
        help="put its tokenizer.bin into the same folder, or name it explicitly",
    )


def read_tokenizer_bin(path: Path, vocab_size: int) -> Tokenizer:
    """A llama2.c tokenizer: an int32, then for each token a float32 score, an int32 length, and that many bytes.

    Raises ModelFileError unless the file holds exactly `vocab_size` tokens.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from error
    words: list[bytes] = []
    scores: list[float] = []
    at = 4  # past the length of the longest token
    while at < len(data) and len(words) < vocab_size:
        if at + 8 > len(data):
            break
        score, length = struct.unpack_from("<fi", data, at)
        if length < 0 or at + 8 + length > len(data):
            raise ModelFileError(f"{path} is not a tokenizer or is truncated: token {len(words)} has length {length}")
        words.append(data[at + 8 : at + 8 + length])
        scores.append(score)
        at += 8 + length
    if len(words) < vocab_size or at != len(data):
        more = f"{len(words)}" if len(words) < vocab_size else "more"
        raise ModelFileError(f"{path} does not fit the model: it holds {more} tokens, expected {vocab_size}")
    return build_spm(
        words,
        scores,
        control={0, BOS_ID, EOS_ID},
        bos_id=BOS_ID,
        eos_ids={BOS_ID, EOS_ID},  # llama2.c models separate texts by bos
        leading_space=True,
    )
