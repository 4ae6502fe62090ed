"""Rotary position embedding: its frequencies, their scaling, and the two orders in which checkpoints store it.

Inside `wse` the order is **interleaved**: elements 2i and 2i+1 of a head rotate together, by the angle
`position * frequency[i]`. Hugging Face checkpoints pair i with i + head_size/2 ("rotate-half");
`interleave_rows` turns their query and key matrices into the interleaved order, which leaves every score as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wse.errors import ConfigError

ROPE_SCALINGS = ("linear", "llama3")


@dataclass(frozen=True)
class RopeScaling:
    """How a checkpoint stretches its rotary frequencies; the last three fields are for `llama3` only."""

    kind: str  # one of ROPE_SCALINGS
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_seq_len: int = 8192

    def verify(self) -> None:
        """Raise ConfigError when the numbers make no sense."""
        if self.kind not in ROPE_SCALINGS:
            raise ConfigError(f"rope scaling '{self.kind}'", help=f"known: {', '.join(ROPE_SCALINGS)}")
        sizes = (self.factor, self.low_freq_factor, self.high_freq_factor, self.original_seq_len)
        if not all(math.isfinite(size) and size > 0 for size in sizes) or self.low_freq_factor >= self.high_freq_factor:
            raise ConfigError(f"rope scaling {self} is not made of positive numbers, low before high")


def rope_frequencies(head_size: int, theta: float, scaling: RopeScaling | None = None) -> np.ndarray:
    """Radians per position of each rotating pair, float32 (head_size // 2,), computed in float64."""
    freqs = theta ** -(np.arange(0, head_size, 2, dtype=np.float64) / head_size)
    if scaling is not None and scaling.kind == "linear":
        freqs = freqs / scaling.factor
    elif scaling is not None:
        freqs = _scale_llama3(freqs, scaling)
    return freqs.astype(np.float32)


def _scale_llama3(freqs: np.ndarray, scaling: RopeScaling) -> np.ndarray:
    """Slow pairs are slowed by `factor`, fast ones kept, and those between blended by turns per original context."""
    turns = scaling.original_seq_len * freqs / (2 * math.pi)
    blend = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    keep = np.clip(blend, 0.0, 1.0)
    return freqs * (keep + (1.0 - keep) / scaling.factor)


def rope_rotation(freqs: np.ndarray, position: int) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of each pair's angle at `position`, float32 (head_size // 2,).

    The angle is one float32 product; its cosine and sine are taken in float64 and rounded once, so that every
    backend can get the same bits.
    """
    angles = (np.float32(position) * freqs).astype(np.float64)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def rotate_pairs(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Rotate the pairs (2i, 2i+1) of every head; x float32 (..., head_size), cos and sin (head_size // 2,)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    rotated = np.empty_like(x)
    rotated[..., 0::2] = even * cos - odd * sin
    rotated[..., 1::2] = even * sin + odd * cos
    return rotated


def interleave_rows(w: np.ndarray, head_size: int) -> np.ndarray:
    """Reorder the rows of a query or key matrix (heads * head_size, dim) from rotate-half to interleaved."""
    heads = w.reshape(-1, 2, head_size // 2, w.shape[-1])
    return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(w.shape)
