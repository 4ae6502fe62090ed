"""Crosscheck: what the wafer computed, held against the NumPy reference, token by token or op by op."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wse.compiler.check import TOLERANCE, OpCheck, changed_weights, compare, new_reference, not_compared, read_outputs
from wse.compiler.compile import Compiled
from wse.errors import VerificationError
from wse.runner import Session

TOP_K = 5
CHECKED_PARAMETERS = 20_000_000
"""Models up to this size are checked unless told otherwise: NumPy then takes no longer than the emulation."""


@dataclass(frozen=True)
class TokenCheck:
    """Generated tokens against the reference's. `status`: "equal", "differs" or "skipped"; `detail` says where, or why."""

    status: str
    detail: str


@dataclass(frozen=True)
class Verified:
    """A verification that found no difference. Errors are relative to an output's largest value, by op, the worst of all tokens."""

    num_tokens: int
    num_outputs: int  # op outputs compared
    worst: dict[str, OpCheck]
    not_compared: tuple[str, ...]
    top_k_agreement_frac: float  # of the `TOP_K` largest logits, those that the reference has among its own, over all tokens


def check_tokens(compiled: Compiled, prompt: list[int], tokens: list[int], on_token: Callable[[int], None]) -> TokenCheck:
    """Decode greedily in NumPy and compare; `on_token` is told how many positions are done."""
    reference, feed = new_reference(compiled), list(prompt)
    for i in range(len(prompt) + len(tokens) - 1):
        found = int(reference.step(feed[i])["argmax"])
        on_token(i + 1)
        if i >= len(prompt) - 1:
            wafer = tokens[i - len(prompt) + 1]
            if found != wafer:
                return TokenCheck("differs", f"at generated token {i - len(prompt) + 1}: {wafer} on the wafer, {found} in NumPy")
            feed.append(wafer)
    return TokenCheck("equal", f"all {len(tokens)} tokens equal to the NumPy reference's")


def verify(session: Session, prompt: list[int], num: int, on_token: Callable[[int], None] = lambda done: None) -> Verified:
    """Feed `prompt`, then `num` - 1 tokens as generated, comparing every op's output after each.

    Raises `VerificationError` at the first op that differs, naming block, op, PE and element.
    """
    compiled, reference = session.compiled, new_reference(session.compiled)
    feed, worst, num_outputs, agreeing = list(prompt), dict[str, OpCheck](), 0, 0
    for position in range(len(prompt) + num - 1):
        token = session.step([feed[position]])
        expected = reference.step(feed[position])
        checks, agreement = [], 0
        for output in read_outputs(compiled, session.machine):
            checks.append(compare(output, expected[output.op]))
            if output.op == "logits":
                agreement = len(set(_largest(output.values[0])) & set(_largest(expected["logits"])))
        agreeing += agreement
        first = next((check for check in checks if not check.error <= TOLERANCE), None)
        if first is not None:
            raise _difference(session, first, position, agreement)
        if token.id != int(expected["argmax"]):
            raise VerificationError(f"argmax differs at position {position}: {token.id} on the wafer, {int(expected['argmax'])} in NumPy")
        for check in checks:
            if check.op not in worst or check.error > worst[check.op].error:
                worst[check.op] = check
        num_outputs += len(checks)
        if position >= len(prompt) - 1:
            feed.append(token.id)
        on_token(position + 1)
    num_tokens = len(prompt) + num - 1
    return Verified(num_tokens, num_outputs, worst, not_compared(compiled), agreeing / (TOP_K * num_tokens))


def _difference(session: Session, check: OpCheck, position: int, agreement: int) -> VerificationError:
    x, y = check.pe
    notes = [
        f"element {check.element} on PE ({x},{y}): {check.wafer!r} on the wafer, {check.reference!r} in NumPy, "
        f"absolute error {abs(check.wafer - check.reference):.2e}",
        f"{agreement} of the {TOP_K} largest logits agree",
    ]
    for op, array, (wx, wy), num in changed_weights(session.compiled, session.machine, check.block)[:TOP_K]:
        notes.append(f"weights of {op} changed since loading: {num} elements of '{array}' on PE ({wx},{wy})")
    skipped = not_compared(session.compiled)
    if skipped:
        notes.append(f"not compared, so the difference may begin there: {', '.join(skipped)} (no SRAM for copies)")
    return VerificationError(
        f"{check.op} in block '{check.block}' is the first op that differs, at position {position}: "
        f"relative error {check.error:.2e}, {TOLERANCE:.0e} is accepted",
        notes=notes,
    )


def _largest(logits: np.ndarray) -> np.ndarray:
    return np.argsort(-logits.reshape(-1), kind="stable")[:TOP_K]
