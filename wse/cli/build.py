"""wse compile, wse models: a model up to the program it becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wse.cli.options import compile_with, emit, emit_json, json_option, machine_options, output_option, progress_options
from wse.progress import Progress


@click.command(name="compile")
@click.argument("model")
@machine_options
@json_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="save the program to this .npz file")
@progress_options
def compile_(model: str, as_json: bool, output: Path | None, progress: Progress, **options: Any) -> None:
    """Compile MODEL and show every stage."""
    from wse.compiler.route import report_routes
    from wse.kahn import is_kahn
    from wse.store import content_hash, save
    from wse.verify import suspicions

    compiled = compile_with(progress, model, **options)
    program = compiled.program
    if progress.verbose:
        for line in suspicions(program):
            progress.say(f"warning: {line}")
        kahn = is_kahn(program)
        progress.say("a Kahn network: no value depends on time" if kahn else "values may depend on time:")
        for reason in kahn.reasons:
            progress.say(f"  {reason}")
    if output is not None:
        with progress.stage(f"saving {output}"):
            save(program, output)
    if as_json:
        emit_json({
            "schema": 1, "model": compiled.model.name, "parameters": compiled.model.num_parameters, "dtype": compiled.dtype,
            "context": compiled.context, "mesh": [program.width, program.height],
            "blocks": [
                {"name": block.name, "rect": str(rect), "num_pes": block.num_pes, "sram_bytes": block.sram_bytes}
                for block, rect in zip(compiled.blocks, compiled.placement.footprints, strict=True)
            ],
            "nets": [net.facts() for net in compiled.nets],
            "num_pes": len(program.core_pe), "num_code_classes": len(program.classes), "num_instructions": len(program.code),
            "num_routes": len(program.channel_pe), "program_hash": content_hash(program),
        })  # fmt: skip
        return
    for block, place in zip(compiled.blocks, compiled.placement.describe(), strict=True):
        click.echo(f"{block.dump()} at {place}")
    for net in compiled.nets:
        click.echo(net.dump())
    click.echo(report_routes(compiled.nets).dump())
    click.echo(f"{len(program.core_pe)} PEs in {len(program.classes)} code classes, {len(program.channel_pe)} routes")


@click.command()
@json_option
@output_option
def models(as_json: bool, output: Path | None) -> None:
    """List models that can be named."""
    from wse.compiler.load import list_models

    found = list_models()
    if as_json:
        emit_json([{"name": m.name, "about": m.about, "installed": m.path is not None, "install": m.install} for m in found], output)
        return
    lines = (f"{model.name:12} {model.about}" + ("" if model.path else f" (not installed: {model.install})") for model in found)
    emit("\n".join(lines), output)
