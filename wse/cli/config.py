"""wse config: machine presets and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wse.cli.options import emit, emit_json, json_option, load_machine, output_option

if TYPE_CHECKING:
    from wse.spec import MachineSpec

_SETTINGS = click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="change a number of the machine")


@click.group()
def config() -> None:
    """Machine presets and files."""


@config.command()
@click.argument("arch", default="wse2")
@_SETTINGS
@json_option
@output_option
def show(arch: str, settings: tuple[str, ...], as_json: bool, output: Path | None) -> None:
    """Print a machine's numbers with their sources, as TOML that --arch takes back."""
    spec = load_machine(arch, settings)
    if as_json:
        emit_json(spec.model_dump(), output)
    else:
        emit(spec.dump(), output)


@config.command()
@click.argument("file")
@json_option
def validate(file: str, as_json: bool) -> None:
    """Check a machine file."""
    spec = load_machine(file, ())
    if as_json:
        emit_json({"ok": True, "name": spec.name})
    else:
        click.echo(f"ok: {spec.name}")


@config.command(name="list")
@json_option
def list_(as_json: bool) -> None:
    """List the presets."""
    from wse.spec import PRESETS

    specs = [load_machine(name, ()) for name in PRESETS]
    if as_json:
        emit_json([spec.model_dump(exclude={"sources"}) for spec in specs])
        return
    for s in specs:
        click.echo(f"{s.name:8} {s.width}x{s.height} PEs, {s.sram_bytes:,} B of SRAM each, {s.clock_hz / 1e6:,.0f} MHz")


@config.command()
@click.argument("a")
@click.argument("b")
@json_option
@output_option
def diff(a: str, b: str, as_json: bool, output: Path | None) -> None:
    """Show what differs between two machines, presets or files, with the sources of the numbers."""
    first, second = load_machine(a, ()), load_machine(b, ())
    keys = [key for key in type(first).model_fields if key not in ("name", "sources") and getattr(first, key) != getattr(second, key)]
    if as_json:
        emit_json({key: {name: _entry(spec, key) for name, spec in ((a, first), (b, second))} for key in keys}, output)
        return
    lines = [f"{key}: {_describe(first, key)} -> {_describe(second, key)}" for key in keys]
    emit("\n".join(lines) or f"{a} and {b} have the same numbers", output)


def _entry(spec: MachineSpec, key: str) -> dict[str, object]:
    return {"value": getattr(spec, key), "source": spec.sources.get(key, "assumed")}


def _describe(spec: MachineSpec, key: str) -> str:
    return f"{getattr(spec, key)} ({spec.sources.get(key, 'assumed')})"
