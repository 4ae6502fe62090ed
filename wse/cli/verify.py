"""wse verify: every op on the wafer against the NumPy reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wse.cli.options import compile_with, emit, emit_json, json_option, machine_options, output_option, progress_options
from wse.progress import Progress


@click.command()
@click.argument("model")
@machine_options
@click.option("-p", "--prompt", default="And the LORD spake unto Moses", show_default=True, help="text to go on from")
@click.option("-n", "--n-gen", default=16, show_default=True, type=click.IntRange(1), help="tokens to generate and compare")
@json_option
@output_option
@progress_options
def verify(
    model: str, prompt: str, n_gen: int, as_json: bool, output: Path | None, progress: Progress, **options: Any
) -> None:  # fmt: skip
    """Compare every op's output on the wafer with a NumPy reference, token by token.

    Buffers that a layer reuses within a token are copied for this where SRAM allows. Exits with 5 at the first op that differs.
    """
    from wse.compiler.check import TOLERANCE
    from wse.crosscheck import TOP_K, verify
    from wse.runner import Session
    from wse.warmup import warm_up

    compiled = compile_with(progress, model, **options, keep_outputs=True)
    _, ids = compiled.model.encode_prompt(prompt)
    with progress.stage("loading the wafer"):
        session = Session(compiled)
    session.check_room(len(ids), n_gen)
    warm_up(progress)
    with progress.stage("verifying", total=len(ids) + n_gen - 1) as stage:
        result = verify(session, ids, n_gen, stage.done)
    worst = max(result.worst.values(), key=lambda check: check.error)
    if as_json:
        emit_json({
            "schema": 1, "model": compiled.model.name, "tokens": result.num_tokens, "outputs_compared": result.num_outputs,
            "tolerance": TOLERANCE, "ops_not_compared": list(result.not_compared),
            "top_k": TOP_K, "top_k_agreement_frac": result.top_k_agreement_frac,
            "ops": {
                op: {"max_relative_error": c.error, "wafer": c.wafer, "reference": c.reference, "element": c.element, "pe": list(c.pe)}
                for op, c in result.worst.items()
            },
        }, output)  # fmt: skip
        return
    lines = [
        f"ok: {result.num_tokens} tokens equal, {result.num_outputs:,} outputs of {len(result.worst)} ops within {TOLERANCE:.0e}",
        f"largest relative error {worst.error:.2e}: {worst.op}, element {worst.element} on PE ({worst.pe[0]},{worst.pe[1]})",
        f"top-{TOP_K} logits agree to {result.top_k_agreement_frac:.1%}",
    ]
    if result.not_compared:
        lines.append(f"not compared, for want of SRAM for a copy: {', '.join(result.not_compared)}")
    emit("\n".join(lines), output)
