"""wse config: machine presets and files."""

from __future__ import annotations

import click


@click.group()
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
