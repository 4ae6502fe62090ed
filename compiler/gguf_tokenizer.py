"""Build a tokenizer from the vocabulary inside a GGUF file: byte-level BPE ('gpt2') or scored pieces ('llama')."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from wse.compiler.gguf_metadata import Metadata
from wse.compiler.spm import build_spm
from wse.compiler.tokenizer import Tokenizer, wrap_backend
from wse.errors import ModelFileError, UnsupportedError

PREFIX = "tokenizer.ggml."
UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4  # values of tokenizer.ggml.token_type
END_OF_TEXT = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|im_end|>")  # control words that end a text

_DIGIT = r"\p{N}"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# tokenizer.ggml.pre -> patterns, applied in turn, that cut a text before any merge
PRE_TOKENIZERS = {
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    "gpt-2": (_GPT2,),
    "llama-bpe": (_LLAMA3,),
    "smollm": (_DIGIT, _GPT2),
    "starcoder": (_DIGIT, _GPT2),
    "refact": (_DIGIT, _GPT2),
    "command-r": (_DIGIT, _GPT2),
}


def read_gguf_tokenizer(source: str, values: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that a GGUF file's metadata `values` describe; `source` names the file in errors.

    Raises ModelFileError when keys are missing or inconsistent, UnsupportedError for another kind of vocabulary.
    """
    metadata = Metadata(source, {key.removeprefix(PREFIX): value for key, value in values.items() if key.startswith(PREFIX)})
    kind = metadata.get("model", str)
    if kind not in ("gpt2", "llama"):
        raise UnsupportedError(f"{source}: tokenizer model '{kind}'", help="supported: gpt2, llama")
    words = metadata.table("tokens", str)
    if not words:
        raise ModelFileError(f"{source}: {PREFIX}tokens is missing")
    types = metadata.table("token_type", int, len(words))
    pre = metadata.get("pre", str, "default")
    starts_with_bos = metadata.get("add_bos_token", bool, kind == "llama" or pre == "llama-bpe")
    bos_id = metadata.get("bos_token_id", int) if starts_with_bos else None
    ends = {metadata.find("eos_token_id", int), metadata.find("eot_token_id", int)} - {None}
    eos_ids = ends | {token for token, word in enumerate(words) if types[token] == CONTROL and word in END_OF_TEXT}
    if kind == "gpt2":
        backend = _byte_level_bpe(source, words, types, metadata.table("merges", str), pre)
        return wrap_backend(backend, byte_level=True, leading_space=False, bos_id=bos_id, eos_ids=eos_ids)
    return build_spm(
        [word.replace("▁", " ").encode() for word in words],
        metadata.table("scores", float, len(words)),
        control={token for token, type_ in enumerate(types) if type_ in (UNKNOWN, CONTROL)},
        bos_id=bos_id,
        eos_ids=eos_ids,
        leading_space=metadata.get("add_space_prefix", bool, True),
    )


def _byte_level_bpe(source: str, words: list[str], types: list[int], merges: list[str], pre: str) -> Backend:
    if pre not in PRE_TOKENIZERS:
        raise UnsupportedError(f"{source}: pre-tokenizer '{pre}'", help=f"supported: {', '.join(PRE_TOKENIZERS)}")
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    vocab = {word: token for token, word in enumerate(words)}
    try:
        backend = Backend(models.BPE(vocab=vocab, merges=pairs, ignore_merges=pre == "llama-bpe"))  # type: ignore[arg-type]
    except Exception as error:  # the library raises bare Exception
        raise ModelFileError(f"{source}: the tokenizer's merges do not fit its tokens: {error}") from error
    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PRE_TOKENIZERS[pre]]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*cuts, to_bytes])
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(
        [AddedToken(word, normalized=False) for word, kind in zip(words, types, strict=True) if kind == CONTROL]
    )
    backend.add_tokens(
        [AddedToken(word, normalized=False) for word, kind in zip(words, types, strict=True) if kind == USER_DEFINED]
    )
    return backend
