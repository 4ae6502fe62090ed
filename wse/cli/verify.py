"""wse verify: every op on the wafer against the NumPy reference."""

from __future__ import annotations

from typing import Any

import click

from wse.cli.options import announce_compiling, compile_with, machine_options
from wse.errors import VerificationError


@click.command()
@machine_options
@click.option("-p", "--prompt", default="And the LORD spake unto Moses", show_default=True)
@click.option("-n", "--n-gen", default=16, show_default=True, type=click.IntRange(1), help="tokens to generate and compare")
def verify(prompt: str, n_gen: int, **options: Any) -> None:
    """Compare every op's output on the wafer with a NumPy reference, token by token."""
    from wse.compiler.check import TOLERANCE, check_ops, new_reference
    from wse.runner import Session

    compiled = compile_with(**options)
    reference, session = new_reference(compiled), Session(compiled)
    feed, worst, compared = compiled.model.tokenizer.encode(prompt), 0.0, 0
    announce_compiling()
    position = 0
    while position < len(feed) and position < len(feed) + n_gen:
        token = session.step([feed[position]])
        expected = reference.step(feed[position])
        for check in check_ops(compiled, session.machine, expected):
            if not check.error <= TOLERANCE:
                x, y = check.pe
                raise VerificationError(
                    f"{check.op} differs at token {position}: relative error {check.error:.2e} > {TOLERANCE}",
                    notes=[
                        f"worst: element {check.element} on PE ({x},{y}), {check.wafer!r} on the wafer, {check.reference!r} expected"
                    ],
                )
            worst, compared = max(worst, check.error), compared + 1
        if token.id != int(expected["argmax"]):
            raise VerificationError(
                f"argmax differs at token {position}: {token.id} on the wafer, {int(expected['argmax'])} expected"
            )
        position += 1
        if position == len(feed) and n_gen > 0:
            feed.append(token.id)
            n_gen -= 1
    click.echo(f"ok: {position} tokens equal, {compared} op outputs within {TOLERANCE}, largest relative error {worst:.2e}")
