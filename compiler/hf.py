"""Import a Hugging Face checkpoint: `config.json`, `*.safetensors`, `tokenizer.json`.

All three are data; nothing in them is executed, and pickled checkpoints are refused. Whatever this compiler would
silently compute wrongly (another architecture, biases, a sliding window, unknown rope scaling) is refused by name.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from wse.compiler.jsonfile import read_json
from wse.compiler.model import Model, ModelConfig, verify_config
from wse.compiler.rope import ROPE_SCALINGS, RopeScaling, interleave_rows
from wse.compiler.safetensors_file import read_safetensors
from wse.compiler.tokenizer import read_tokenizer_json
from wse.errors import ModelFileError, UnsupportedError

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM")
LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "wq": "self_attn.q_proj",
    "wk": "self_attn.k_proj",
    "wv": "self_attn.v_proj",
    "wo": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "w_gate": "mlp.gate_proj",
    "w_up": "mlp.up_proj",
    "w_down": "mlp.down_proj",
}
INDEX_NAME = "model.safetensors.index.json"


def load_hf(path: Path, *, tokenizer: Path | None = None) -> Model:
    """The model in a folder, or in one .safetensors file with a config.json beside it.

    Raises ModelFileError for missing, truncated or inconsistent files, UnsupportedError for what is not a plain llama.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / "config.json").exists():
        raise ModelFileError(f"{folder} holds no config.json", help=_instead(folder))
    raw = read_json(folder / "config.json")
    config = _read_config(folder / "config.json", raw)
    tensors, files = read_safetensors_folder(folder) if path.is_dir() else _read_all([path])
    weights = _canonical(config, tensors, files, path)
    ids, where = dict(raw), folder / "config.json"
    if (folder / "generation_config.json").exists():
        where = folder / "generation_config.json"
        ids |= read_json(where)
    text = read_tokenizer_json(
        tokenizer or folder / "tokenizer.json",
        bos_id=next(iter(_token_ids(where, ids, "bos_token_id")), None),
        eos_ids=_token_ids(where, ids, "eos_token_id"),
    )
    name = folder.resolve().name if path.is_dir() else path.stem
    return Model.build(name, config, weights, tokenizer=text, source=f"Hugging Face checkpoint {path}")


def _instead(folder: Path) -> str:
    """What to name where a folder is no checkpoint."""
    others = sorted(file for kind in ("*.gguf", "*.bin") for file in folder.glob(kind) if not file.name.startswith("tok"))
    if others:
        return f"name the file: {others[0]}"
    return "a model's folder holds config.json, *.safetensors and tokenizer.json"


# --- config.json ----------------------------------------------------------------------------------------------------


def _read_config(path: Path, raw: dict[str, Any]) -> ModelConfig:
    _refuse_unsupported(path, raw)

    def number(key: str, default: Any = None) -> Any:
        return _number(path, raw, key, default)

    rope = _rope_section(path, raw)
    dim, n_heads = number("hidden_size"), number("num_attention_heads")
    if not n_heads or (raw.get("head_dim") is None and dim % n_heads):
        raise ModelFileError(f"{path}: hidden_size {dim} does not divide into {n_heads} heads, and head_dim is not given")
    return ModelConfig(
        dim=dim,
        hidden_dim=number("intermediate_size"),
        n_layers=number("num_hidden_layers"),
        n_heads=n_heads,
        n_kv_heads=number("num_key_value_heads", n_heads),
        head_size=number("head_dim", dim // n_heads),
        vocab_size=number("vocab_size"),
        seq_len=number("max_position_embeddings", 2048),
        norm_eps=float(number("rms_norm_eps", 1e-6)),
        rope_theta=float(_number(path, rope, "rope_theta", number("rope_theta", 10000.0))),
        rope_scaling=_rope_scaling(path, rope),
        tied_embeddings=bool(raw.get("tie_word_embeddings", False)),
    )


def _number(path: Path, section: dict[str, Any], key: str, default: Any = None) -> Any:
    """A number out of config.json; a null counts as absent, as it does for the format's own library."""
    value = default if section.get(key) is None else section[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelFileError(f"{path}: {key} is {'missing' if value is None else f'{value!r}, not a number'}")
    return value


def _refuse_unsupported(path: Path, raw: dict[str, Any]) -> None:
    """Raise UnsupportedError for each setting that would change the computation in a way we do not compile."""
    named = raw.get("architectures")
    architecture = named[0] if isinstance(named, list) and named else raw.get("model_type")
    if architecture not in (*ARCHITECTURES, "llama", "mistral"):
        raise UnsupportedError(f"{path}: architecture {architecture}", help=f"supported: {', '.join(ARCHITECTURES)}")
    for key in ("attention_bias", "mlp_bias", "quantization_config"):
        if raw.get(key):
            raise UnsupportedError(f"{path}: {key} = {raw[key]}")
    if raw.get("hidden_act", "silu") not in ("silu", "swish"):
        raise UnsupportedError(f"{path}: activation hidden_act = {raw['hidden_act']}", help="supported: silu")
    if raw.get("partial_rotary_factor", 1.0) != 1.0:
        raise UnsupportedError(f"{path}: partial_rotary_factor = {raw['partial_rotary_factor']}")
    if _number(path, raw, "sliding_window", math.inf) < _number(path, raw, "max_position_embeddings", math.inf):
        raise UnsupportedError(
            f"{path}: sliding_window = {raw['sliding_window']} is active",
            help="with max_position_embeddings set to the window the model is a plain one of that context",
        )


def _rope_section(path: Path, raw: dict[str, Any]) -> dict[str, Any]:
    """The rotary settings, wherever this version of the format keeps them."""
    section = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(section, dict):
        raise ModelFileError(f"{path}: rope settings are {section!r}, not an object")
    return section


def _rope_scaling(path: Path, rope: dict[str, Any]) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind in (None, "default"):
        return None
    if kind not in ROPE_SCALINGS:
        raise UnsupportedError(f"{path}: rope scaling '{kind}'", help=f"supported: {', '.join(ROPE_SCALINGS)}")
    factor = float(_number(path, rope, "factor"))
    if kind == "linear":
        return RopeScaling("linear", factor)
    return RopeScaling(
        "llama3",
        factor,
        float(_number(path, rope, "low_freq_factor")),
        float(_number(path, rope, "high_freq_factor")),
        _number(path, rope, "original_max_position_embeddings"),
    )


def _token_ids(path: Path, raw: dict[str, Any], key: str) -> list[int]:
    value = raw.get(key)
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(token) is int for token in values):
        raise ModelFileError(f"{path}: {key} = {value!r} is not a token id or a list of them")
    return values


# --- tensors ----------------------------------------------------------------------------------------------------------

Files = dict[str, Path]  # tensor name -> the file it came from


def read_safetensors_folder(folder: Path) -> tuple[dict[str, np.ndarray], Files]:
    """Every tensor of a folder: through its index when there is one, else from its only .safetensors file."""
    index = folder / INDEX_NAME
    if index.exists():
        return _read_index(index)
    files = sorted(folder.glob("*.safetensors"))
    if len(files) > 1 and folder / "model.safetensors" in files:
        files = [folder / "model.safetensors"]
    if len(files) == 1:
        return _read_all(files)
    if files:
        raise ModelFileError(f"{folder} holds {len(files)} .safetensors files and no {INDEX_NAME}")
    if list(folder.glob("*.bin")) or list(folder.glob("*.pt*")):
        raise UnsupportedError(
            f"{folder} holds only a pickled checkpoint, which could run code", help="convert it to safetensors"
        )
    raise ModelFileError(f"{folder} holds no .safetensors file")


def _read_index(index: Path) -> tuple[dict[str, np.ndarray], Files]:
    mapping = read_json(index).get("weight_map")
    if not isinstance(mapping, dict) or not all(isinstance(file, str) for file in mapping.values()):
        raise ModelFileError(f"{index}: weight_map is not an object of file names")
    for name, file in mapping.items():
        if Path(file).name != file:
            raise ModelFileError(f"{index}: tensor {name} is said to be in '{file}', which is not a plain file name")
        if not (index.parent / file).exists():
            raise ModelFileError(f"{index}: tensor {name} is said to be in {file}, which does not exist")
    tensors, files = _read_all([index.parent / file for file in sorted(set(mapping.values()))])
    for name, file in mapping.items():
        if name not in tensors:
            raise ModelFileError(f"{index}: tensor {name} is said to be in {file}, which does not hold it")
    return tensors, files


def _read_all(paths: list[Path]) -> tuple[dict[str, np.ndarray], Files]:
    tensors: dict[str, np.ndarray] = {}
    files: Files = {}
    for path in paths:
        for name, array in read_safetensors(path).items():
            if name in tensors:
                raise ModelFileError(f"tensor {name} is both in {files[name]} and in {path}")
            tensors[name], files[name] = array, path
    return tensors, files


def _canonical(config: ModelConfig, tensors: dict[str, np.ndarray], files: Files, source: Path) -> dict[str, np.ndarray]:
    """Rename the tensors, check their shapes, and turn wq and wk to interleaved rotary order."""
    verify_config(config, source / "config.json" if source.is_dir() else source.parent / "config.json")
    weights: dict[str, np.ndarray] = {}
    left = dict(tensors)
    for name, shape in config.weight_shapes().items():
        if name == "output" and config.tied_embeddings:
            left.pop("lm_head.weight", None)  # some writers store the tied matrix twice
            continue
        theirs = _hf_name(name)
        if theirs not in left:
            raise ModelFileError(f"{source}: tensor {theirs} is missing")
        array = left.pop(theirs)
        if array.shape != shape:
            raise ModelFileError(f"{files[theirs]}: tensor {theirs} has shape {array.shape}, expected {shape}")
        weights[name] = interleave_rows(array, config.head_size) if name.endswith((".wq", ".wk")) else array
    for theirs in left:
        if theirs.endswith(".bias"):
            raise UnsupportedError(f"{files[theirs]}: tensor {theirs}: biases")
        if not theirs.endswith("rotary_emb.inv_freq"):  # old checkpoints store the frequencies, which config.json gives
            raise ModelFileError(f"{files[theirs]}: tensor {theirs} of shape {left[theirs].shape} is unexpected")
    return weights


def _hf_name(name: str) -> str:
    """The Hugging Face name of a canonical one."""
    if name in ("tok_embeddings", "final_norm", "output"):
        return {"tok_embeddings": "model.embed_tokens", "final_norm": "model.norm", "output": "lm_head"}[name] + ".weight"
    _, layer, part = name.split(".")
    return f"model.layers.{layer}.{LAYER_TENSORS[part]}.weight"
