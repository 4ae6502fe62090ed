"""wse run: compile a model, decode on the emulated wafer, report."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from wse.cli.options import announce_compiling, compile_with, machine_options, notes
from wse.errors import ConfigError


@click.command()
@machine_options
@click.option("-p", "--prompt", default="And the LORD spake unto Moses", show_default=True)
@click.option("-n", "--n-gen", default=32, show_default=True, type=click.IntRange(1), help="tokens to generate")
@click.option("-t", "--temperature", default=0.0, type=click.FloatRange(0), help="0 is greedy, on the wafer")
@click.option("--top-p", default=1.0, type=click.FloatRange(0, 1, min_open=True))
@click.option("--seed", default=0, type=int, help="of sampling")
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON and nothing else")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="leave a run folder here, for `wse report`")
@click.option("--force", is_flag=True, help="replace the run folder that --output names")
def run(
    prompt: str, n_gen: int, temperature: float, top_p: float, seed: int, as_json: bool, output: Path | None, force: bool, **options: Any
) -> None:
    """Compile MODEL, decode on the emulated wafer, report.

    MODEL is a name from `wse models`, a folder or a file.
    """
    from wse.compiler.sampling import sample
    from wse.machine import Machine
    from wse.report import render, summarize
    from wse.runner import Session
    from wse.view.folder import check_target, provenance, write_run
    from wse.view.frames import Sampler
    from wse.view.record import config_toml, record

    if output is not None:
        check_target(output, force)
    compiled = compile_with(**options, head="logits" if temperature > 0 else "greedy")
    tokenizer = compiled.model.tokenizer
    if tokenizer is None:
        raise ConfigError(f"model '{compiled.model.name}' has no tokenizer file")
    ids = tokenizer.encode(prompt)
    if not ids:
        raise ConfigError("the prompt is empty")
    rng = np.random.default_rng(seed)
    choose = (lambda logits: sample(logits, temperature, top_p, rng)) if temperature > 0 else None
    sampler = Sampler(compiled.program)
    session = Session(compiled, choose, Machine.run if output is None else sampler.run)
    announce_compiling()
    tokens, stream, started = [], tokenizer.decode_stream(), time.perf_counter()
    if not as_json:
        click.echo(prompt, nl=False)
    for token in session.generate(ids, n_gen):
        tokens.append(token)
        if not as_json:
            click.echo(stream.push(token.id), nl=False)
            sys.stdout.flush()
        if token.id in tokenizer.eos_ids:
            break
    summary = summarize(session, ids, tokens, tokenizer.decode([token.id for token in tokens]))
    seconds = time.perf_counter() - started
    if output is not None:
        chosen = {"prompt": prompt, "n_gen": n_gen, "temperature": temperature, "top_p": top_p, "seed": seed}
        used = {"model": options["model"], "mesh": list(summary["mesh"]), "context": compiled.context, "dtype": compiled.dtype}
        config = config_toml({**used, "head": compiled.head, **chosen}, compiled.spec)
        placement = compiled.placement
        seen = record(
            session.machine, sampler, summary, blocks=zip(placement.names, placement.rects, strict=True), nets=compiled.nets,
            placement=placement.dump(), config=config, provenance=provenance(seconds),
        )  # fmt: skip
        write_run(seen, output, force)
    if as_json:
        click.echo(json.dumps(summary, indent=1))
        return
    click.echo(stream.finish() + "\n")
    click.echo(render(summary))
    if output is not None:
        notes.print(f"run folder: {output} (see it: wse report {output} -o run.html)", style="dim")
    notes.print(f"emulated {summary['cycles_total'] / seconds:,.0f} cycles/s, {len(tokens) / seconds:.1f} tokens/s", style="dim")
