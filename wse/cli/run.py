"""wse run: compile a model, decode on the emulated wafer, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from wse.cli.options import compile_with, emit_json, hang_option, json_option, machine_options, progress_options, reporting_hang
from wse.cli.trace import requested, trace_options, write_machine_trace
from wse.errors import VerificationError
from wse.progress import Progress

if TYPE_CHECKING:
    from wse.runner import Session


@click.command()
@click.argument("model")
@machine_options
@click.option("-p", "--prompt", default="And the LORD spake unto Moses", show_default=True, help="text to go on from")
@click.option("-n", "--n-gen", default=32, show_default=True, type=click.IntRange(1), help="tokens to generate")
@click.option("-t", "--temperature", default=0.0, show_default=True, type=click.FloatRange(0), help="0 is greedy, on the wafer")
@click.option(
    "--top-p", default=1.0, show_default=True, type=click.FloatRange(0, 1, min_open=True), help="sample among tokens of so much probability"
)
@click.option("--seed", default=0, show_default=True, type=int, help="of sampling")
@click.option("--check/--no-check", default=None, help="compare the tokens with NumPy's (default: for small models)")
@json_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="leave a run folder here, for `wse report`")
@hang_option("default: -o with .hang.json")
@click.option("--force", is_flag=True, help="replace the run folder that --output names")
@click.option("--sanitize", is_flag=True, help="check every memory operand, and that results do not depend on timing (slow)")
@trace_options
@progress_options
def run(
    model: str, prompt: str, n_gen: int, temperature: float, top_p: float, seed: int, check: bool | None, as_json: bool,
    output: Path | None, hang: Path | None, force: bool, sanitize: bool, trace: Path | None, trace_events: str | None,
    trace_pes: str | None, trace_cycles: str | None, trace_max: int | None, progress: Progress, **options: Any,
) -> None:  # fmt: skip
    """Compile MODEL, decode on the emulated wafer, report.

    MODEL is a name from `wse models`, a folder or a file. The report goes to the terminal; -o leaves all of the run in a folder.
    """
    import numpy as np
    from rich.console import Console

    from wse.compiler.sampling import sample
    from wse.machine import Machine
    from wse.provenance import provenance
    from wse.report import print_report
    from wse.runner import Session
    from wse.summary import summarize
    from wse.view.folder import check_target, write_run
    from wse.view.intervals import Sampler
    from wse.view.record import config_toml, record
    from wse.warmup import warm_up

    if output is not None:
        check_target(output, force)
    traced = requested(trace, trace_events, trace_pes, trace_cycles, trace_max)
    compiled = compile_with(progress, model, **options, head="logits" if temperature > 0 else "greedy")
    tokenizer, ids = compiled.model.encode_prompt(prompt)
    rng = np.random.default_rng(seed)
    choose = (lambda logits: sample(logits, temperature, top_p, rng)) if temperature > 0 else None
    with progress.stage("loading the wafer"):
        sampler = Sampler(compiled.program)
        session = Session(compiled, choose, Machine.run if output is None else sampler.run, sanitize)
    if traced is not None:
        session.machine.trace(traced)
    session.check_room(len(ids), n_gen)
    warm_up(progress)
    tokens, stream, started = [], tokenizer.decode_stream(), time.perf_counter()
    if hang is None and output is not None:
        hang = output.with_name(output.name + ".hang.json")
    try:
        with reporting_hang(hang), _streaming(session, prompt, None if as_json else sys.stdout, n_gen, len(ids), progress) as show:
            for token in session.generate(ids, n_gen):
                tokens.append(token)
                show(stream.push(token.id))
                if token.id in tokenizer.eos_ids:
                    break
            show(stream.finish() + "\n\n")
        seconds = time.perf_counter() - started
    finally:  # a run that went wrong is what one would look into
        if trace is not None:
            placement = compiled.placement
            write_machine_trace(session.machine, trace, list(zip(placement.names, placement.footprints, strict=True)), progress)
    if sanitize:
        with progress.stage("running with another timing"):
            session.check_timing([*ids, *(token.id for token in tokens[:-1])])
        progress.note("sanitized: every memory operand was checked, and another timing gave the same results")
    checked = _check(session.compiled, ids, [token.id for token in tokens], check, temperature, progress)
    summary = summarize(session, ids, tokens, tokenizer.decode([token.id for token in tokens]), checked)
    if output is not None:
        chosen = {"prompt": prompt, "n_gen": n_gen, "temperature": temperature, "top_p": top_p, "seed": seed}
        used = {"model": model, "mesh": list(summary["mesh"]), "context": compiled.context, "dtype": compiled.dtype}
        settings = {**used, "head": compiled.head, **chosen}
        config = config_toml(settings, compiled.spec)
        placement = compiled.placement
        seen = record(
            session.machine, sampler, summary, blocks=zip(placement.names, placement.footprints, strict=True), nets=compiled.nets,
            placement=placement.dump(), config=config, provenance={**provenance(settings), "wall_seconds": round(seconds, 3)},
        )  # fmt: skip
        write_run(seen, output, force)
    if as_json:
        emit_json(summary, None)
    if not as_json:
        print_report(summary, Console(highlight=False))
        progress.note(f"emulated {summary['cycles_total'] / seconds:,.0f} cycles/s, {len(tokens) / seconds:.1f} tokens/s on this host")
    if output is not None:
        progress.note(f"run folder: {output} (see it: wse report {output} -o run.html)")
    if checked.status == "differs":
        raise VerificationError(f"the tokens differ {checked.detail}", help="wse verify finds the first op that differs")


@contextmanager
def _streaming(
    session: Session, prompt: str, out: TextIO | None, n_gen: int, num_prompt: int, progress: Progress
) -> Iterator[Callable[[str], None]]:
    """Show text as it comes: on a terminal above a bar of what is left, elsewhere as a plain stream (`out` None: only the bar)."""
    text, live, positions = prompt, False, num_prompt + n_gen - 1

    def push(piece: str) -> None:
        nonlocal text
        text += piece
        show(piece)

    def show(piece: str) -> None:
        if live:
            progress.show_above(text)
        elif out is not None:
            out.write(piece)
            out.flush()

    try:
        with progress.stage(f"prompt of {num_prompt} tokens, then {n_gen} more", total=positions, watch=lambda: session.num_done):
            live = out is not None and out.isatty() and progress.has_bars
            show(prompt)
            yield push
    finally:
        if live and out is not None:  # the view above the bar is gone with it
            out.write(text)
            out.flush()


def _check(compiled: Any, prompt: list[int], tokens: list[int], wanted: bool | None, temperature: float, progress: Progress) -> Any:
    """The reference's verdict on the tokens, or why there is none."""
    from wse.crosscheck import CHECKED_PARAMETERS, TokenCheck, check_tokens

    if temperature > 0:
        return TokenCheck("skipped", "sampled tokens hang on the last bit of a logit; wse verify compares op by op")
    if wanted is None and compiled.model.num_parameters > CHECKED_PARAMETERS:
        return TokenCheck("skipped", f"more than {CHECKED_PARAMETERS / 1e6:.0f} M parameters; --check compares")
    if wanted is False:
        return TokenCheck("skipped", "asked for with --no-check")
    with progress.stage("checking against NumPy", total=len(prompt) + len(tokens) - 1) as stage:
        return check_tokens(compiled, prompt, tokens, stage.done)
