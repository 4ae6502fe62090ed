"""Sentencepiece-style splitting: merge the neighbours whose union has the best score, until none is a token.

Characters that are no token fall back to their UTF-8 bytes. A heap of candidate merges over a linked list of
symbols makes it O(n log n) in the length of the text.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Collection, Mapping, Sequence

from wse.compiler.tokenizer import Tokenizer
from wse.errors import ConfigError

BYTE_WORD = re.compile(rb"<0x([0-9A-Fa-f]{2})>")


def build_spm(
    words: Sequence[bytes],
    scores: Sequence[float],
    *,
    control: Collection[int],
    bos_id: int | None,
    eos_ids: Collection[int],
    leading_space: bool,
) -> Tokenizer:
    """A Tokenizer of scored pieces.

    `words`: the UTF-8 text of every token, a word like <0x0A> standing for that byte; `control`: ids of tokens that
    are no text. Of equal words the first counts.
    """
    pieces: list[bytes] = []
    ids: dict[bytes, int] = {}
    byte_ids: dict[int, int] = {}
    for token, word in enumerate(words):
        if token in control:
            pieces.append(b"")
        elif match := BYTE_WORD.fullmatch(word):
            pieces.append(bytes([int(match[1], 16)]))
            byte_ids.setdefault(pieces[-1][0], token)
        else:
            pieces.append(word)
            ids.setdefault(word, token)
    merger = ScoreMerger(ids, dict(enumerate(scores)), byte_ids, leading_space=leading_space)
    return Tokenizer(tuple(pieces), bos_id, frozenset(eos_ids), merger.split, leading_space=leading_space)


class ScoreMerger:
    """Splits text by scored pieces; `leading_space` puts a space before any text, as llama vocabularies expect."""

    def __init__(
        self, ids: Mapping[bytes, int], scores: Mapping[int, float], byte_ids: Mapping[int, int], *, leading_space: bool
    ):
        """`ids`: piece -> token, `scores`: token -> score, `byte_ids`: byte -> token that stands for it alone."""
        self._ids = ids
        self._scores = scores
        self._byte_ids = byte_ids
        self._leading_space = leading_space

    def split(self, text: str) -> list[int]:
        """Token ids of `text`; the best score merges first, the leftmost of equals. ConfigError for a byte without a token."""
        if not text:
            return []
        characters = (" " + text) if self._leading_space else text
        symbols: list[bytes | None] = [character.encode() for character in characters]  # None: merged into its left
        before = list(range(-1, len(symbols) - 1))
        after = [*range(1, len(symbols)), -1]
        heap: list[tuple[float, int, bytes]] = []  # -score, index of the left symbol, the union

        def propose(left: int) -> None:
            if left < 0 or after[left] < 0:
                return
            union = (symbols[left] or b"") + (symbols[after[left]] or b"")
            if union in self._ids:
                heapq.heappush(heap, (-self._scores[self._ids[union]], left, union))

        for left in range(len(symbols)):
            propose(left)
        while heap:
            _, left, union = heapq.heappop(heap)
            right = after[left]
            if right < 0 or symbols[left] is None or (symbols[left] or b"") + (symbols[right] or b"") != union:
                continue  # one of the two has been merged with another neighbour since
            symbols[left], symbols[right] = union, None
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            propose(before[left])
            propose(left)
        return [token for symbol in symbols if symbol is not None for token in self._tokens(symbol)]

    def _tokens(self, symbol: bytes) -> list[int]:
        if symbol in self._ids:
            return [self._ids[symbol]]
        try:
            return [self._byte_ids[byte] for byte in symbol]
        except KeyError as error:
            raise ConfigError(f"the prompt cannot be encoded: the vocabulary lacks byte 0x{error.args[0]:02x}") from error
