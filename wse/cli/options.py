"""What the verbs share: options that say which machine and model, and notes to the person at the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from wse.errors import ConfigError

notes = Console(stderr=True, highlight=False)


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which machine and how a model is put on it."""
    for option in reversed((
        click.argument("model"),
        click.option("--arch", default="wse2", show_default=True, help="machine: a preset or a .toml file"),
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="change a number of the machine"),
        click.option("--mesh", metavar="WxH", help="mesh in PEs (default: the smallest that fits)"),
        click.option("--placement", type=click.Path(path_type=Path), help="a placement file, as `wse place` writes it"),
        click.option("--placer", default="snake", show_default=True, help="snake, greedy, spectral, anneal or exact"),
        click.option("--split", type=click.Choice(["layer", "half"]), default="layer", show_default=True, help="a block per layer, or two"),
        click.option("--context", type=int, help="positions to keep room for"),
        click.option("--dtype", type=click.Choice(["f16", "f32"]), default="f16", show_default=True, help="weights in SRAM"),
    )):  # fmt: skip
        command = option(command)
    return command


def compile_with(head: str = "greedy", **options: Any) -> Any:
    """The model of `machine_options`, compiled."""
    from wse.compiler.compile import compile_model

    return compile_model(**compile_arguments(**options), head=head)


def compile_arguments(
    model: str, arch: str, settings: tuple[str, ...], mesh: str | None, placement: Path | None, placer: str, split: str,
    context: int | None, dtype: str, **how: Any,
) -> dict[str, Any]:  # fmt: skip
    """What `compile_model` and `place_model` take, out of `machine_options`; `how` goes to `PlaceOptions`."""
    from wse.compiler.compile import PlaceOptions
    from wse.spec import load_spec, parse_settings

    options = PlaceOptions(placer, split, placement=placement, **how)
    spec = load_spec(arch, **parse_settings(settings))
    return {"name": model, "spec": spec, "dtype": dtype, "context": context, "mesh": parse_mesh(mesh), "options": options}


def parse_mesh(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise ConfigError(f"--mesh wants WxH, for example 32x16, got '{text}'")
    return int(width), int(height)


def announce_compiling() -> None:
    from wse import _jit

    if not _jit.is_warm():
        notes.print("compiling the engine (once per version, about half a minute) …", style="dim")
