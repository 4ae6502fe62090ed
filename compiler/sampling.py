"""Choosing the next token from logits."""

from __future__ import annotations

import numpy as np

from wse.errors import ConfigError


def greedy(logits: np.ndarray) -> int:
    """The token of the largest logit; ties go to the lowest id."""
    return int(np.argmax(logits))


def sample(logits: np.ndarray, temperature: float, top_p: float, rng: np.random.Generator) -> int:
    """Draw a token from logits (vocab_size,) at `temperature`, out of the likeliest ones that make up `top_p`.

    Temperature 0 is `greedy` and draws nothing from `rng`. Equal logits rank by token id, so one seed gives one
    text on every machine. Raises ConfigError when temperature is negative or top_p is not in (0, 1].
    """
    if not (np.isfinite(temperature) and temperature >= 0):
        raise ConfigError(f"temperature = {temperature} is not a number of at least 0")
    if not 0 < top_p <= 1:
        raise ConfigError(f"top_p = {top_p} is not in (0, 1]")
    if temperature == 0:
        return greedy(logits)
    scores = (logits.astype(np.float64) - float(np.max(logits))) / temperature
    order = np.argsort(-scores, kind="stable")
    mass = np.cumsum(np.exp(scores[order]))
    kept = int(np.searchsorted(mass, top_p * mass[-1])) + 1  # the token that reaches top_p is the last one kept
    kept = min(kept, len(order))
    drawn = int(np.searchsorted(mass[:kept], rng.random() * mass[kept - 1], side="right"))
    return int(order[min(drawn, kept - 1)])
