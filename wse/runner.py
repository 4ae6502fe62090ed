"""Runner: decode steps of a compiled model on the machine, token by token, with what each one cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from wse.compiler.compile import Compiled
from wse.compiler.lower import RESULTS_OUT, TOKENS_IN
from wse.errors import DoesNotFitError
from wse.isa import Status, Type
from wse.machine import Counters, Machine
from wse.races import check_timing


@dataclass(frozen=True)
class Token:
    """One generated token and the cycle in which it reached the host."""

    id: int
    cycle: int


class Session:
    """One sequence: a machine loaded with a compiled model, and the positions used so far."""

    def __init__(
        self,
        compiled: Compiled,
        choose: Callable[[np.ndarray], int] | None = None,
        run: Callable[[Machine, dict[str, int]], Status] = Machine.run,
        sanitize: bool = False,
    ):
        """`choose` picks a token from logits (float32); it wants a model compiled with head "logits". `run` stands in for
        `Machine.run`, to look at the machine on the way (`wse.view.intervals.Sampler.run`). `sanitize`: as `Machine` takes it."""
        self.compiled = compiled
        self.machine = Machine(compiled.program, sanitize)
        self.position = 0
        self.prompt_counters: Counters | None = None
        self._choose, self._run = choose, run
        self._embeddings = compiled.model.weights["tok_embeddings"]

    def generate(self, prompt: list[int], num: int) -> Iterator[Token]:
        """Feed the prompt, pipelined through the blocks, then yield `num` tokens, each fed back in turn.

        Raises `DoesNotFitError` when prompt and tokens exceed the context.
        """
        self.check_room(len(prompt), num)
        feed = prompt
        for i in range(num):
            token = self.step(feed)
            if i == 0:
                self.prompt_counters = self.machine.counters()
            yield token
            feed = [token.id]

    def check_room(self, num_prompt: int, num: int) -> None:
        """Raise `DoesNotFitError`, saying what would fit, when a prompt and `num` tokens exceed the context."""
        context, limit = self.compiled.context, self.compiled.model.config.seq_len
        need, room = self.position + num_prompt + num - 1, context - self.position - num_prompt + 1
        if need <= context:
            return
        longer = f", or --context {need}" if need <= limit else f"; the model was made for {limit} positions"
        if room > 0:
            help = f"with this prompt at most -n {room} fits{longer}"
        else:
            help = f"at most {context - self.position} prompt tokens fit{longer}"
        tokens = f"{num_prompt} prompt token{'s' * (num_prompt != 1)}"
        raise DoesNotFitError(f"{tokens} and {num} more need {need} positions; the context holds {context}", help=help)

    def step(self, tokens: list[int]) -> Token:
        """Feed `tokens`, wait for all their results; the token that follows the last."""
        self._feed(self.machine, tokens, self._run)
        self.position += len(tokens)
        values, cycles = self.machine.output(RESULTS_OUT, Type.F32 if self._choose else Type.I32)
        result = self._choose(values[-self._results_per_token :]) if self._choose else int(values[-1])
        return Token(result, int(cycles[-1]))

    def check_timing(self, tokens: list[int]) -> None:
        """Run `tokens` through the model on two more machines, one with another timing. Raises `TimeDependentError` if results differ."""
        check_timing(self.compiled.program, lambda machine: self._feed(machine, tokens, Machine.run), seeds=(1,))

    @property
    def num_done(self) -> int:
        """Tokens, those of the prompt among them, whose results have left the wafer; another thread may ask while it runs."""
        return self.machine.received(RESULTS_OUT) // self._results_per_token

    @property
    def _results_per_token(self) -> int:
        return self.compiled.model.config.vocab_size if self._choose else 1

    def _feed(self, machine: Machine, tokens: list[int], run: Callable[[Machine, dict[str, int]], Status]) -> None:
        """Feed `tokens` to a machine and wait for all their results."""
        machine.feed(TOKENS_IN, self._embeddings[tokens].astype(np.float32))
        machine.check(run(machine, {RESULTS_OUT: self._results_per_token * len(tokens)}))
