"""The model a compilation starts from: shape, weights in one canonical form, rotary frequencies, tokenizer.

Every importer (`hf`, `llama2c`, `gguf_file`) ends here, so that no later stage knows of file formats. The letters
are llama2.c's. Matrices are row-major W (d_out, d_in): y = W @ x. Rotary pairs are interleaved (see `rope`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from wse.compiler.rope import RopeScaling, rope_frequencies
from wse.errors import ConfigError, ModelFileError

if TYPE_CHECKING:
    from wse.compiler.tokenizer import Tokenizer

STORAGE_DTYPES: dict[str, np.dtype] = {"f16": np.dtype(np.float16), "f32": np.dtype(np.float32)}
MAX_LAYERS = 10_000  # so that a damaged header fails at once, not after filling the memory


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a llama-architecture transformer."""

    dim: int  # width of the residual stream
    hidden_dim: int  # width of the feed-forward layer
    n_layers: int
    n_heads: int  # query heads
    n_kv_heads: int  # key and value heads; each serves n_heads / n_kv_heads query heads
    head_size: int  # even; n_heads * head_size may differ from dim
    vocab_size: int
    seq_len: int  # the longest context the model was made for
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    tied_embeddings: bool = False  # the output matrix is the embedding

    @property
    def q_dim(self) -> int:
        """Width of all query heads together."""
        return self.n_heads * self.head_size

    @property
    def kv_dim(self) -> int:
        """Width of all key (or value) heads together."""
        return self.n_kv_heads * self.head_size

    def verify(self) -> None:
        """Raise ConfigError when the numbers cannot describe a model."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and not (type(value) is int and value > 0):
                raise ConfigError(f"model config: {field.name} = {value!r} is not a positive integer")
            if field.type == "float" and not (isinstance(value, float) and math.isfinite(value) and value > 0):
                raise ConfigError(f"model config: {field.name} = {value!r} is not a positive number")
        if self.n_layers > MAX_LAYERS:
            raise ConfigError(f"model config: n_layers = {self.n_layers} is over {MAX_LAYERS}; no model has so many")
        if self.rope_scaling is not None:
            self.rope_scaling.verify()
        if self.head_size % 2:
            raise ConfigError(f"model config: head_size = {self.head_size} is odd; rotary embedding rotates pairs")
        if self.n_heads % self.n_kv_heads:
            raise ConfigError(f"model config: n_heads = {self.n_heads} is not a multiple of n_kv_heads = {self.n_kv_heads}")

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name -> shape of every weight, in the order a token meets them."""
        layer = {
            "attn_norm": (self.dim,),
            "wq": (self.q_dim, self.dim),
            "wk": (self.kv_dim, self.dim),
            "wv": (self.kv_dim, self.dim),
            "wo": (self.dim, self.q_dim),
            "ffn_norm": (self.dim,),
            "w_gate": (self.hidden_dim, self.dim),
            "w_up": (self.hidden_dim, self.dim),
            "w_down": (self.dim, self.hidden_dim),
        }
        shapes: dict[str, tuple[int, ...]] = {"tok_embeddings": (self.vocab_size, self.dim)}
        shapes |= {f"layers.{i}.{name}": shape for i in range(self.n_layers) for name, shape in layer.items()}
        return shapes | {"final_norm": (self.dim,), "output": (self.vocab_size, self.dim)}


def verify_config(config: ModelConfig, source: Path) -> None:
    """Raise ModelFileError naming the file when the numbers it holds cannot describe a model."""
    try:
        config.verify()
    except ConfigError as error:
        raise ModelFileError(f"{source}: {error.message.removeprefix('model config: ')}") from None


@dataclass(frozen=True)
class Model:
    """A loaded model: read-only weights by canonical name, float32 or float16."""

    name: str
    config: ModelConfig
    weights: Mapping[str, np.ndarray]  # keys and shapes as in config.weight_shapes()
    rope_freqs: np.ndarray  # float32 (head_size // 2,), radians per position, after any scaling
    tokenizer: Tokenizer | None
    source: str  # what it was read from, for people

    @classmethod
    def build(
        cls,
        name: str,
        config: ModelConfig,
        weights: Mapping[str, np.ndarray],
        *,
        tokenizer: Tokenizer | None = None,
        source: str = "memory",
        rope_freqs: np.ndarray | None = None,
    ) -> Model:
        """A verified model; `output` may be left out when tied, `rope_freqs` when the config tells it all."""
        config.verify()
        weights = {key: _read_only(array) for key, array in weights.items()}
        if config.tied_embeddings and "tok_embeddings" in weights:
            weights["output"] = weights["tok_embeddings"]
        if rope_freqs is None:
            rope_freqs = rope_frequencies(config.head_size, config.rope_theta, config.rope_scaling)
        model = cls(name, config, MappingProxyType(weights), _read_only(rope_freqs), tokenizer, source)
        model.verify()
        return model

    @property
    def num_parameters(self) -> int:
        """Stored numbers; a tied output counts once."""
        return sum(array.size for array in {id(array): array for array in self.weights.values()}.values())

    def encode_prompt(self, text: str) -> tuple[Tokenizer, list[int]]:
        """The model's tokenizer, and the token ids of `text`. Raises ConfigError where there is no tokenizer, or no token."""
        if self.tokenizer is None:
            help = "put tokenizer.json, or a llama2.c tokenizer.bin, beside the weights"
            raise ConfigError(f"model '{self.name}' has no tokenizer file", notes=[self.source], help=help)
        ids = self.tokenizer.encode(text)
        if not ids:
            raise ConfigError("the prompt is empty", help="give some text with -p: decoding starts from a token")
        return self.tokenizer, ids

    def verify(self) -> None:
        """Raise ModelFileError when a weight is missing, unexpected, misshapen, of a wrong dtype, or not finite."""
        self.config.verify()
        shapes = self.config.weight_shapes()
        for name in shapes.keys() - self.weights.keys():
            raise ModelFileError(f"model '{self.name}': tensor {name} is missing", notes=[self.source])
        for name, array in self.weights.items():
            self._verify_weight(name, array, shapes.get(name))
        if self.config.tied_embeddings and self.weights["output"] is not self.weights["tok_embeddings"]:
            raise ModelFileError(f"model '{self.name}': tied embeddings, but output is a matrix of its own", notes=[self.source])
        if self.rope_freqs.shape != (self.config.head_size // 2,) or self.rope_freqs.dtype != np.float32:
            raise ModelFileError(f"model '{self.name}': rope_freqs is not float32 ({self.config.head_size // 2},)")
        if not np.isfinite(self.rope_freqs).all():
            raise ModelFileError(f"model '{self.name}': rope_freqs are not all finite", notes=[self.source])
        if self.tokenizer is not None and self.tokenizer.vocab_size > self.config.vocab_size:
            raise ModelFileError(
                f"model '{self.name}': the tokenizer has {self.tokenizer.vocab_size} tokens, "
                f"the embedding {self.config.vocab_size} rows",
                notes=[self.source],
            )

    def _verify_weight(self, name: str, array: np.ndarray, shape: tuple[int, ...] | None) -> None:
        where = f"model '{self.name}': tensor {name}"
        if shape is None:
            raise ModelFileError(f"{where} is unexpected", notes=[self.source])
        if array.shape != shape:
            raise ModelFileError(f"{where} has shape {array.shape}, expected {shape}", notes=[self.source])
        if array.dtype not in STORAGE_DTYPES.values():
            raise ModelFileError(f"{where} is {array.dtype}, expected float32 or float16", notes=[self.source])
        finite = np.isfinite(array)
        if not finite.all():
            index = tuple(int(i) for i in np.unravel_index(int(finite.argmin()), array.shape))
            raise ModelFileError(f"{where} holds {array[index]} at {list(index)}", notes=[self.source])

    def dump(self) -> str:
        """Stable text: the config, then shape, dtype and content hash of every tensor."""
        lines = [f"model {self.name}", f"parameters {self.num_parameters}"]
        lines += [f"{field.name} {getattr(self.config, field.name)}" for field in fields(self.config)]
        for name in ("rope_freqs", *self.config.weight_shapes()):
            array = self.rope_freqs if name == "rope_freqs" else self.weights[name]
            digest = hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=6).hexdigest()
            lines.append(f"{name} {'x'.join(map(str, array.shape))} {array.dtype} {digest}")
        return "\n".join(lines) + "\n"


def quantize_storage(model: Model, dtype: str, on_part: Callable[[float], None] = lambda part: None) -> Model:
    """The model as SRAM stores it: matrices rounded to `dtype` ('f16' or 'f32'), norm vectors float32.

    `on_part` is told the part done, 0 to 1.

    Raises ConfigError for another dtype, ModelFileError when a weight is too large for float16.
    """
    if dtype not in STORAGE_DTYPES:
        raise ConfigError(f"no storage dtype '{dtype}'", help=f"known: {', '.join(STORAGE_DTYPES)}")
    stored: dict[int, np.ndarray] = {}  # by identity, so that a tied output stays one array
    for i, (name, array) in enumerate(model.weights.items()):
        on_part(i / len(model.weights))
        target = STORAGE_DTYPES[dtype] if array.ndim == 2 else STORAGE_DTYPES["f32"]
        if id(array) not in stored:
            stored[id(array)] = _round(model, name, array, target)
    return replace(model, weights=MappingProxyType({name: stored[id(array)] for name, array in model.weights.items()}))


def _round(model: Model, name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        rounded = array.astype(dtype)
    overflow = ~np.isfinite(rounded)
    if overflow.any():
        index = tuple(int(i) for i in np.unravel_index(int(overflow.argmax()), array.shape))
        raise ModelFileError(
            f"model '{model.name}': tensor {name} holds {array[index]} at {list(index)}, which {dtype} cannot hold",
            notes=[f"the largest {dtype} is {np.finfo(dtype).max}"],
            help="--dtype f32 stores the weights as f32",
        )
    return _read_only(rounded)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def load_model(name_or_path: str | Path, *, tokenizer: str | Path | None = None) -> Model:
    """Load a model by its shipped name or from a file or folder of a known format; see `wse.compiler.load`."""
    from wse.compiler.load import load_model as load

    return load(name_or_path, tokenizer=tokenizer)
