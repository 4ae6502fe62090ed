"""wse compile, wse models: a model up to the program it becomes."""

from __future__ import annotations

from typing import Any

import click

from wse.cli.options import compile_with, machine_options


@click.command(name="compile")
@machine_options
def compile_(**options: Any) -> None:
    """Compile MODEL and show every stage."""
    from wse.compiler.route import report_routes

    compiled = compile_with(**options)
    for block, rect in zip(compiled.blocks, compiled.placement.rects, strict=True):
        click.echo(f"{block.dump()} at {rect}")
    for net in compiled.nets:
        click.echo(net.dump())
    click.echo(report_routes(compiled.nets).dump())
    program = compiled.program
    click.echo(f"{len(program.core_pe)} PEs in {len(program.classes)} code classes, {len(program.channel_pe)} routes")


@click.command()
def models() -> None:
    """List models that can be named."""
    from wse.compiler.load import list_models

    for model in list_models():
        click.echo(f"{model.name:12} {model.about}" + ("" if model.path else f" (not installed: {model.install})"))
