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
    ):
        """`choose` picks a token from logits (float32); it wants a model compiled with head "logits". `run` stands in for
        `Machine.run`, to look at the machine on the way (`wse.view.frames.Sampler.run`)."""
        self.compiled = compiled
        self.machine = Machine(compiled.program)
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
        raise DoesNotFitError(f"{num_prompt} prompt tokens and {num} more need {need} positions; the context holds {context}", help=help)

    def step(self, tokens: list[int]) -> Token:
        """Feed `tokens`, wait for all their results; the token that follows the last."""
        per_token = self.compiled.model.config.vocab_size if self._choose else 1
        self.machine.feed(TOKENS_IN, self._embeddings[tokens].astype(np.float32))
        self.machine.check(self._run(self.machine, {RESULTS_OUT: per_token * len(tokens)}))
        self.position += len(tokens)
        values, cycles = self.machine.output(RESULTS_OUT, Type.F32 if self._choose else Type.I32)
        result = self._choose(values[-per_token:]) if self._choose else int(values[-1])
        return Token(result, int(cycles[-1]))
