"""Text to token ids and back: one class, whatever file the vocabulary came from.

A `Tokenizer` knows the bytes every token adds to the text, so that decoding (also token by token, with characters
split over several tokens) is the same for all; only encoding differs. Vocabularies come from a Hugging Face
`tokenizer.json`, a llama2.c `tokenizer.bin`, or the metadata of a GGUF file.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import tokenizers

from wse.compiler.jsonfile import read_json
from wse.errors import ConfigError, ModelFileError, UnsupportedError

UTF8_BYTES = frozenset(range(0xF5)) - {0xC0, 0xC1}  # the others occur in no text


@dataclass(frozen=True)
class Tokenizer:
    """A vocabulary and how to split text into it."""

    pieces: tuple[bytes, ...] = field(repr=False)  # by id: what a token adds to the text; nothing for control tokens
    bos_id: int | None  # stands before a prompt; None when prompts have none
    eos_ids: frozenset[int]  # any of these ends a text
    split: Callable[[str], list[int]] = field(repr=False)  # text -> ids, without bos
    unencodable: frozenset[int] = frozenset()  # bytes that no token can express
    leading_space: bool = False  # the first piece of a text brings a space that is not part of it

    @property
    def vocab_size(self) -> int:
        """Number of tokens; ids run from 0."""
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Ids of a prompt, `bos_id` first when there is one. Raises ConfigError for text that cannot be expressed."""
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"the prompt is not valid Unicode: character {error.start} is a lone surrogate") from error
        if lacking := self.unencodable & set(data):
            raise ConfigError(f"the prompt cannot be encoded: the vocabulary lacks byte 0x{min(lacking):02x}")
        bos = [] if self.bos_id is None else [self.bos_id]
        return bos + self.split(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of a whole sequence; bytes that are not UTF-8 become U+FFFD."""
        data = b"".join(map(self._piece, ids))
        if self.leading_space:
            data = data.removeprefix(b" ")
        return data.decode(errors="replace")

    def decode_stream(self) -> StreamDecoder:
        """A decoder of a continuation, token by token."""
        return StreamDecoder(self._piece)

    def _piece(self, token: int) -> bytes:
        if not 0 <= token < len(self.pieces):
            return b""  # embeddings are often padded past the vocabulary
        return self.pieces[token]


class StreamDecoder:
    """Text of a growing sequence: each call gives the characters that a token completes."""

    def __init__(self, piece: Callable[[int], bytes]):
        self._piece = piece
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The text that becomes certain with `token`; may be empty."""
        return self._utf8.decode(self._piece(token))

    def finish(self) -> str:
        """What is left of a character that was never completed, as U+FFFD."""
        return self._utf8.decode(b"", final=True)


# --- Hugging Face tokenizer.json -----------------------------------------------------------------------------------


def read_tokenizer_json(path: Path, *, bos_id: int | None, eos_ids: Collection[int]) -> Tokenizer:
    """A byte-level or byte-fallback BPE from a `tokenizer.json`.

    The file's own post-processor decides whether a prompt starts with a token, and with which; `add_bos_token` in a
    `tokenizer_config.json` beside it, when present, decides whether it does. Raises ModelFileError for a file that
    is missing or cannot be parsed, UnsupportedError for another kind of tokenizer.
    """
    try:
        text = path.read_text(encoding="utf-8")
        backend = tokenizers.Tokenizer.from_str(text)
        decoder = json.dumps(json.loads(text).get("decoder"))
    except FileNotFoundError as error:
        raise ModelFileError(f"no tokenizer: {path} does not exist", help="a model folder holds a tokenizer.json") from error
    except Exception as error:  # the library raises bare Exception
        raise ModelFileError(f"{path} is not a tokenizer: {error}") from error
    backend.no_padding()
    backend.no_truncation()
    prefix = backend.encode("").ids
    if len(prefix) > 1:
        raise UnsupportedError(f"{path}: {len(prefix)} tokens are added to every text; one, before it, is supported")
    config = path.with_name("tokenizer_config.json")
    add_bos = read_json(config).get("add_bos_token") if config.exists() else None
    if add_bos is True and bos_id is not None:
        prefix = [bos_id]
    elif add_bos is False:
        prefix = []
    if "ByteLevel" not in decoder and "ByteFallback" not in decoder:
        raise UnsupportedError(f"{path}: a tokenizer that is neither byte-level nor has byte fallback")
    return wrap_backend(
        backend,
        byte_level="ByteLevel" in decoder,
        leading_space="Strip" in decoder or "Metaspace" in decoder,
        bos_id=prefix[0] if prefix else None,
        eos_ids=eos_ids,
    )


def wrap_backend(
    backend: tokenizers.Tokenizer, *, byte_level: bool, leading_space: bool, bos_id: int | None, eos_ids: Collection[int]
) -> Tokenizer:
    """A Tokenizer around one of the `tokenizers` library, whose words spell bytes in GPT-2's alphabet or as <0xNN>."""
    added = backend.get_added_tokens_decoder()
    spell = _spell_byte_level if byte_level else spell_byte_fallback
    vocab = backend.get_vocab(with_added_tokens=True)
    pieces = [b""] * (max(vocab.values(), default=-1) + 1)
    for word, token in vocab.items():
        if token not in added:
            pieces[token] = spell(word)
        elif not added[token].special:
            pieces[token] = added[token].content.encode()
    return Tokenizer(
        pieces=tuple(pieces),
        bos_id=bos_id,
        eos_ids=frozenset(eos_ids),
        split=lambda text: backend.encode(text, add_special_tokens=False).ids,
        unencodable=UTF8_BYTES - {piece[0] for piece in pieces if len(piece) == 1},
        leading_space=leading_space,
    )


def _byte_level_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in byte-level vocabularies (GPT-2's table), inverted."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_ALPHABET = _byte_level_alphabet()


def _spell_byte_level(word: str) -> bytes:
    if all(character in _ALPHABET for character in word):
        return bytes(_ALPHABET[character] for character in word)
    return word.encode()  # not spelled in the alphabet: literal text


def spell_byte_fallback(word: str) -> bytes:
    """The bytes of a sentencepiece word: <0xNN> is a byte, U+2581 a space."""
    if len(word) == 6 and word.startswith("<0x") and word.endswith(">"):
        return bytes([int(word[3:5], 16)])
    return word.replace("▁", " ").encode()
