"""Tokenizers: what goes in comes out, for any text and any backend; splitting follows the definition."""

from __future__ import annotations

import json
import time

import pytest
from checkpoints import BYTE_LEVEL_WORDS, CONFIG, SpmVocab, write_tokenizer_bin, write_tokenizer_json
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from wse.compiler.gguf_tokenizer import PRE_TOKENIZERS, read_gguf_tokenizer
from wse.compiler.llama2c import read_tokenizer_bin
from wse.compiler.load import load_model
from wse.compiler.tokenizer import Tokenizer, read_tokenizer_json
from wse.errors import ConfigError, ModelFileError, UnsupportedError

GGUF_BPE = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": [*BYTE_LEVEL_WORDS, "th", "the", "11", "<|im_start|>", "<|im_end|>"],
    "tokenizer.ggml.token_type": [1] * 259 + [3, 3],
    "tokenizer.ggml.merges": ["t h", "th e", "1 1"],
    "tokenizer.ggml.bos_token_id": 259,
    "tokenizer.ggml.eos_token_id": 260,
}


def gguf_spm(**changes) -> Tokenizer:
    words, scores = zip(*SpmVocab().words(), strict=True)
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [word.replace(" ", "▁") for word in words],
        "tokenizer.ggml.scores": list(scores),
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * (len(words) - 259),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    return read_gguf_tokenizer("test", metadata | changes)


@pytest.fixture(scope="module")
def backends(tmp_path_factory) -> dict[str, Tokenizer]:
    folder = tmp_path_factory.mktemp("tokenizers")
    write_tokenizer_json(folder / "tokenizer.json")
    write_tokenizer_bin(folder / "tokenizer.bin", SpmVocab().words())
    found = {
        "tokenizer.json": read_tokenizer_json(folder / "tokenizer.json", bos_id=None, eos_ids=[0]),
        "tokenizer.bin": read_tokenizer_bin(folder / "tokenizer.bin", CONFIG.vocab_size),
        "gguf llama": gguf_spm(),
        "kjv": load_model("kjv").tokenizer,
    }
    return found | {f"gguf {pre}": read_gguf_tokenizer("test", GGUF_BPE | {"tokenizer.ggml.pre": pre}) for pre in PRE_TOKENIZERS}


@given(text=st.text(st.characters(exclude_categories=["Cs"])) | st.text("the 1'\n\r▁<0x>é世🙂", max_size=40))
def test_any_text_round_trips(backends, text):
    for name, tokenizer in backends.items():
        ids = tokenizer.encode(text)
        assert all(0 <= token < tokenizer.vocab_size for token in ids), name
        assert tokenizer.decode(ids) == text, name


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_streaming_gives_the_same_text_in_pieces(backends, text):
    for name, tokenizer in backends.items():
        stream = tokenizer.decode_stream()
        streamed = "".join(stream.push(token) for token in tokenizer.encode(text)) + stream.finish()
        assert streamed == (" " if tokenizer.leading_space and text else "") + text, name


def test_a_character_split_over_tokens_appears_with_its_last_one(backends):
    stream = backends["tokenizer.json"].decode_stream()
    assert [stream.push(token) for token in backends["tokenizer.json"].encode("é!")] == ["", "é", "!"]
    stream.push(backends["tokenizer.json"].encode("é")[0])
    assert stream.finish() == "�"


def test_control_tokens_and_padding_ids_decode_to_nothing(backends):
    smollm = backends["gguf smollm"]
    assert smollm.encode("<|im_start|>the<|im_end|>") == [259, 257, 260]
    assert smollm.decode([259, 257, 260, 100_000]) == "the"
    assert backends["tokenizer.bin"].decode([1, 266, 2]) == "the"


def test_bos_and_eos(backends):
    assert (backends["gguf smollm"].bos_id, backends["gguf smollm"].eos_ids) == (None, {260})  # add_bos_token defaults to false
    assert backends["gguf llama-bpe"].encode("the") == [259, 257]  # but not for llama 3
    assert backends["gguf llama"].encode("") == [1]
    assert (backends["tokenizer.bin"].bos_id, backends["tokenizer.bin"].eos_ids) == (1, {1, 2})
    assert (backends["kjv"].bos_id, backends["kjv"].eos_ids) == (0, {0})


def test_pre_tokenizers_cut_before_merging(backends):
    one = GGUF_BPE["tokenizer.ggml.tokens"].index("1")
    assert backends["gguf smollm"].encode("11") == [one, one]  # digits stand alone
    assert backends["gguf gpt-2"].encode("11") == [258]


# --- scored pieces ------------------------------------------------------------------------------------------------------


def merge_by_definition(text: str, vocab: dict[str, float]) -> list[str]:
    """Merge the neighbours of the best score, leftmost first, until none merge: the quadratic definition."""
    symbols = list(" " + text) if text else []
    while True:
        candidates = [
            (-vocab[symbols[i] + symbols[i + 1]], i) for i in range(len(symbols) - 1) if symbols[i] + symbols[i + 1] in vocab
        ]
        if not candidates:
            return symbols
        _, best = min(candidates)
        symbols[best : best + 2] = ["".join(symbols[best : best + 2])]


@given(text=st.text("the x", max_size=30))
def test_scored_pieces_merge_as_defined(backends, text):
    tokenizer = backends["tokenizer.bin"]
    words = [word for word, _ in SpmVocab().words()]
    expected = merge_by_definition(text, SpmVocab().pieces)
    spelled = [words[token].replace("<0x78>", "x") for token in tokenizer.encode(text)[1:]]
    assert spelled == expected
    assert gguf_spm().encode(text) == tokenizer.encode(text)


def test_a_long_prompt_is_split_in_good_time(backends):
    began = time.monotonic()
    assert len(backends["tokenizer.bin"].encode("the " * 25_000)) > 25_000
    assert time.monotonic() - began < 5  # a quadratic merge takes minutes


def test_space_prefix_can_be_switched_off():
    assert gguf_spm(**{"tokenizer.ggml.add_space_prefix": False}).encode("the") == [1, 265]


# --- errors -------------------------------------------------------------------------------------------------------------


def test_text_that_cannot_be_expressed(backends):
    for tokenizer in backends.values():
        with pytest.raises(ConfigError, match="surrogate"):
            tokenizer.encode("\udc80")
    lacking = {**GGUF_BPE, "tokenizer.ggml.tokens": ["a", "b"], "tokenizer.ggml.token_type": [1, 1], "tokenizer.ggml.merges": []}
    with pytest.raises(ConfigError, match="0x63"):
        read_gguf_tokenizer("test", lacking).encode("abc")
    no_bytes = {
        "tokenizer.ggml.tokens": ["<unk>", "▁", "a"],
        "tokenizer.ggml.scores": [0.0, 0.0, 0.0],
        "tokenizer.ggml.token_type": [2, 1, 1],
    }
    assert gguf_spm(**no_bytes).encode("a")[1:] == [1, 2]
    with pytest.raises(ConfigError, match="0x62"):
        gguf_spm(**no_bytes).encode("ab")


@pytest.mark.parametrize(
    ("changes", "kind", "word"),
    [
        ({"tokenizer.ggml.model": "bert"}, UnsupportedError, "bert"),
        ({"tokenizer.ggml.pre": "tekken"}, UnsupportedError, "tekken"),
        ({"tokenizer.ggml.tokens": []}, ModelFileError, "tokens is missing"),
        ({"tokenizer.ggml.token_type": [1]}, ModelFileError, "token_type holds 1 items, expected 261"),
        ({"tokenizer.ggml.merges": ["no such"]}, ModelFileError, "merges"),
        ({"tokenizer.ggml.merges": ["unsplit"]}, ModelFileError, "merges"),
        ({"tokenizer.ggml.model": "llama", "tokenizer.ggml.add_bos_token": False}, ModelFileError, "scores"),
        ({"tokenizer.ggml.pre": ["smollm"]}, ModelFileError, "pre is"),
        ({"tokenizer.ggml.add_bos_token": 1}, ModelFileError, "add_bos_token is 1, not of type bool"),
    ],
)
def test_gguf_vocabularies_that_are_refused(changes, kind, word):
    with pytest.raises(kind, match=word):
        read_gguf_tokenizer("test", GGUF_BPE | changes)


def test_tokenizer_json_of_another_kind(tmp_path):
    Backend(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnsupportedError, match="byte"):
        read_tokenizer_json(tmp_path / "tokenizer.json", bos_id=None, eos_ids=[])


def test_tokenizer_json_with_byte_fallback(tmp_path):
    words = [word.replace(" ", "▁") for word, _ in SpmVocab().words(CONFIG.vocab_size)]
    backend = Backend(
        models.BPE({word: i for i, word in enumerate(words)}, [("t", "h"), ("th", "e"), ("▁", "the")], byte_fallback=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing(single="<unk> $A", special_tokens=[("<unk>", 0)])
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = read_tokenizer_json(tmp_path / "tokenizer.json", bos_id=1, eos_ids=[2])
    ids = tokenizer.encode("the é")
    assert ids == [0, 266, 259, 3 + 0xC3, 3 + 0xA9]
    assert tokenizer.decode(ids[1:]) == "the é" == backend.decode(ids[1:])


def test_tokenizer_json_that_wraps_a_text_in_two_tokens(tmp_path):
    write_tokenizer_json(tmp_path / "tokenizer.json")
    backend = Backend.from_file(str(tmp_path / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(single="a $A a", special_tokens=[("a", 5)])
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnsupportedError, match="2 tokens"):
        read_tokenizer_json(tmp_path / "tokenizer.json", bos_id=None, eos_ids=[])


def test_tokenizer_config_overrides_the_post_processor(tmp_path):
    write_tokenizer_json(tmp_path / "tokenizer.json")
    backend = Backend.from_file(str(tmp_path / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(single="a $A", special_tokens=[("a", 5)])
    backend.save(str(tmp_path / "tokenizer.json"))
    read = lambda: read_tokenizer_json(tmp_path / "tokenizer.json", bos_id=7, eos_ids=[]).bos_id  # noqa: E731
    assert read() == 5
    for add_bos, expected in ((True, 7), (False, None)):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": add_bos}))
        assert read() == expected
