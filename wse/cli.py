"""The command line: run, compile, place, verify, models, config."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from wse import __version__
from wse.errors import EXIT_BUG, ConfigError, VerificationError, WseError

notes = Console(stderr=True, highlight=False)


def main() -> None:
    """Entry point: errors of the user's making are one line and an exit code, never a traceback."""
    try:
        cli(standalone_mode=False)
    except WseError as error:
        click.echo(error.render(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except Exception:
        click.echo(f"error[bug]: this is a bug in wse {__version__}, not in your input:\n{traceback.format_exc()}", err=True)
        sys.exit(EXIT_BUG)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """A functional, cycle-counting emulator of a wafer-scale dataflow chip."""


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which machine and how a model is put on it."""
    for option in reversed((
        click.argument("model"),
        click.option("--arch", default="wse2", show_default=True, help="machine: a preset or a .toml file"),
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="change a number of the machine"),
        click.option("--mesh", metavar="WxH", help="mesh in PEs (default: the smallest that fits)"),
        click.option("--placement", type=click.Path(path_type=Path), help="a placement file, as `wse place` writes it"),
        click.option("--context", type=int, help="positions to keep room for"),
        click.option("--dtype", type=click.Choice(["f16", "f32"]), default="f16", show_default=True, help="weights in SRAM"),
    )):  # fmt: skip
        command = option(command)
    return command


def _compile(model: str, arch: str, settings: tuple[str, ...], mesh: str | None, placement: Path | None,
             context: int | None, dtype: str, head: str = "greedy") -> Any:  # fmt: skip
    from wse.compiler.compile import compile_model
    from wse.spec import load_spec, parse_settings

    spec = load_spec(arch, **parse_settings(settings))
    return compile_model(model, spec, dtype=dtype, context=context, mesh=_parse_mesh(mesh), placement_file=placement, head=head)


def _parse_mesh(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise ConfigError(f"--mesh wants WxH, for example 32x16, got '{text}'")
    return int(width), int(height)


def _announce_compiling() -> None:
    from wse import _jit

    if not _jit.is_warm():
        notes.print("compiling the engine (once per version, about half a minute) …", style="dim")


@cli.command()
@machine_options
@click.option("-p", "--prompt", default="And the LORD spake unto Moses", show_default=True)
@click.option("-n", "--n-gen", default=32, show_default=True, type=click.IntRange(1), help="tokens to generate")
@click.option("-t", "--temperature", default=0.0, type=click.FloatRange(0), help="0 is greedy, on the wafer")
@click.option("--top-p", default=1.0, type=click.FloatRange(0, 1, min_open=True))
@click.option("--seed", default=0, type=int, help="of sampling")
@click.option("--json", "as_json", is_flag=True, help="print the report as JSON and nothing else")
def run(prompt: str, n_gen: int, temperature: float, top_p: float, seed: int, as_json: bool, **options: Any) -> None:
    """Compile MODEL, decode on the emulated wafer, report.

    MODEL is a name from `wse models`, a folder or a file.
    """
    from wse.compiler.sampling import sample
    from wse.report import render, summarize
    from wse.runner import Session

    compiled = _compile(**options, head="logits" if temperature > 0 else "greedy")
    tokenizer = compiled.model.tokenizer
    if tokenizer is None:
        raise ConfigError(f"model '{compiled.model.name}' has no tokenizer file")
    ids = tokenizer.encode(prompt)
    if not ids:
        raise ConfigError("the prompt is empty")
    rng = np.random.default_rng(seed)
    session = Session(compiled, (lambda logits: sample(logits, temperature, top_p, rng)) if temperature > 0 else None)
    _announce_compiling()
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
    if as_json:
        click.echo(json.dumps(summary, indent=1))
        return
    click.echo(stream.finish() + "\n")
    click.echo(render(summary))
    seconds = time.perf_counter() - started
    notes.print(f"emulated {summary['cycles_total'] / seconds:,.0f} cycles/s, {len(tokens) / seconds:.1f} tokens/s", style="dim")


@cli.command()
@machine_options
@click.option("-p", "--prompt", default="And the LORD spake unto Moses", show_default=True)
@click.option("-n", "--n-gen", default=16, show_default=True, type=click.IntRange(1), help="tokens to generate and compare")
def verify(prompt: str, n_gen: int, **options: Any) -> None:
    """Compare every op's output on the wafer with a NumPy reference, token by token."""
    from wse.compiler.check import TOLERANCE, check_ops, new_reference
    from wse.runner import Session

    compiled = _compile(**options)
    reference, session = new_reference(compiled), Session(compiled)
    feed, worst, compared = compiled.model.tokenizer.encode(prompt), 0.0, 0
    _announce_compiling()
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


@cli.command(name="compile")
@machine_options
def compile_(**options: Any) -> None:
    """Compile MODEL and show every stage."""
    compiled = _compile(**options)
    for block, rect in zip(compiled.blocks, compiled.placement.rects, strict=True):
        click.echo(f"{block.dump()} at {rect}")
    for net in compiled.nets:
        click.echo(net.dump())
    program = compiled.program
    click.echo(f"{len(program.core_pe)} PEs in {len(program.classes)} code classes, {len(program.channel_pe)} routes")


@cli.command()
@machine_options
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("placement.json"), show_default=True)
def place(output: Path, **options: Any) -> None:
    """Write the placement of MODEL to a file that can be edited and given back with --placement."""
    compiled = _compile(**options)
    compiled.placement.write(output)
    click.echo(f"{len(compiled.blocks)} blocks on {compiled.placement.width}x{compiled.placement.height} PEs -> {output}")


@cli.command()
def models() -> None:
    """List models that can be named."""
    from wse.compiler.load import list_models

    for model in list_models():
        click.echo(f"{model.name:12} {model.about}" + ("" if model.path else f" (not installed: {model.install})"))


@cli.group()
def config() -> None:
    """Machine presets and files."""


@config.command()
@click.argument("arch", default="wse2")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE")
def show(arch: str, settings: tuple[str, ...]) -> None:
    """Print a machine's numbers with their sources, as TOML that --arch takes back."""
    from wse.spec import load_spec, parse_settings

    click.echo(load_spec(arch, **parse_settings(settings)).dump(), nl=False)


@config.command()
@click.argument("file")
def validate(file: str) -> None:
    """Check a machine file."""
    from wse.spec import load_spec

    click.echo(f"ok: {load_spec(file).name}")
