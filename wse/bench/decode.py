"""Decode benchmark: cycles of a model's prompt and generation on the wafer, and the host's speed beside NumPy's in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wse.compiler.check import new_reference
from wse.compiler.compile import Compiled
from wse.compiler.reference import Reference
from wse.errors import VerificationError
from wse.machine import Counters
from wse.runner import Session
from wse.summary import channel_hops


@dataclass(frozen=True)
class Test:
    """`num_prompt` tokens at once, or `num_gen` one after another, behind `depth` tokens that are not counted."""

    num_prompt: int
    num_gen: int
    depth: int = 0

    @property
    def name(self) -> str:
        """`pp 64`, `tg 16`, `tg 16 @ d128`."""
        what = f"pp {self.num_prompt}" if self.num_prompt else f"tg {self.num_gen}"
        return what + (f" @ d{self.depth}" if self.depth else "")

    @property
    def num_tokens(self) -> int:
        return self.num_prompt or self.num_gen

    @property
    def num_positions(self) -> int:
        """Context the test needs."""
        return self.num_tokens + self.depth


def plan(num_prompts: list[int], num_gens: list[int], depths: list[int]) -> list[Test]:
    """The tests that lists of lengths stand for; a length of 0 is no test."""
    return [Test(p, 0, d) for d in depths for p in num_prompts if p] + [Test(0, n, d) for d in depths for n in num_gens if n]


def measure(
    compiled: Compiled, test: Test, placer: str, repetitions: int, with_numpy: bool, on_run: Callable[[int], None]
) -> dict[str, Any]:
    """The record of one test. Cycles and hops are exact and the same in every repetition; only host times vary.

    `on_run` is told how many runs are done, of `repetitions` + 1. Raises `VerificationError` when NumPy's tokens differ.
    """
    tokens = test_tokens(compiled.model.config.vocab_size, test.num_positions)
    seconds, counted, ours = [], None, None
    for i in range(repetitions):
        taken, counters, generated = _emulate(compiled, test, tokens)
        if counted is not None:
            assert counters.cycles == counted.cycles and generated == ours, "two runs of one program differ"
        seconds.append(taken)
        counted, ours = counters, generated
        on_run(i + 1)
    assert counted is not None and ours is not None
    numpy_rate = None
    if with_numpy:
        taken, theirs = _reference(new_reference(compiled), test, tokens)
        numpy_rate = test.num_tokens / taken
        if ours != theirs:
            raise VerificationError(f"{compiled.model.name}, {test.name}: {ours} on the wafer, {theirs} in NumPy")
    rates = [test.num_tokens / taken for taken in seconds]
    cycles_per_token = counted.cycles / test.num_tokens
    spec, program = compiled.spec, compiled.program
    return {
        "model": compiled.model.name,
        "parameters": compiled.model.num_parameters,
        "arch": spec.name,
        "mesh": f"{program.width}x{program.height}",
        "dtype": compiled.dtype,
        "context": compiled.context,
        "placer": placer,
        "test": test.name,
        "num_tokens": test.num_tokens,
        "cycles": counted.cycles,
        "cycles_per_token": cycles_per_token,
        "clock_hz": spec.clock_hz,
        "tokens_per_s_at_clock": spec.clock_hz / cycles_per_token,
        "hops_per_token": int(channel_hops(program, counted).sum()) / test.num_tokens,
        "wavelets_per_token": int(counted.sent.sum()) / test.num_tokens,
        "repetitions": repetitions,
        "host_tokens_per_s": statistics.mean(rates),
        "host_tokens_per_s_stdev": statistics.stdev(rates) if len(rates) > 1 else 0.0,
        "numpy_tokens_per_s": numpy_rate,
    }


def test_tokens(vocab_size: int, num: int) -> list[int]:
    """The same token ids for the same vocabulary, every time and everywhere."""
    return [int(token) for token in np.random.default_rng(0).integers(0, vocab_size, num)]


def _emulate(compiled: Compiled, test: Test, tokens: list[int]) -> tuple[float, Counters, list[int]]:
    """(host seconds, what was counted, tokens generated) of a test on a freshly loaded machine."""
    session = Session(compiled)
    if test.depth:
        session.step(tokens[: test.depth])
    before, started = session.machine.counters(), time.perf_counter()
    if test.num_prompt:
        generated = [session.step(tokens[test.depth :]).id]
    else:
        generated, feed = [], tokens[test.depth]
        for _ in range(test.num_gen):
            feed = session.step([feed]).id
            generated.append(feed)
    return time.perf_counter() - started, session.machine.counters() - before, generated


def _reference(reference: Reference, test: Test, tokens: list[int]) -> tuple[float, list[int]]:
    """(host seconds, tokens) of the same in NumPy, which takes a prompt token by token."""
    reference.step(tokens[0])  # the first step converts the weights
    reference.reset()
    for token in tokens[: test.depth]:
        reference.step(token)
    started = time.perf_counter()
    if test.num_prompt:
        generated = [int(reference.step(token)["argmax"]) for token in tokens[test.depth :]][-1:]
    else:
        generated, feed = [], tokens[test.depth]
        for _ in range(test.num_gen):
            feed = int(reference.step(feed)["argmax"])
            generated.append(feed)
    return time.perf_counter() - started, generated
