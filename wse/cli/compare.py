"""wse compare: placements, or runs, side by side, with the reason for the difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wse.cli.options import json_option, progress_options
from wse.errors import ConfigError, WseError
from wse.progress import Progress

if TYPE_CHECKING:
    from wse.compiler.compare import Described
    from wse.compiler.partition import Partitioner

MEASURED = ("cycles_per_token", "hops_per_token", "sram_peak_bytes")
NUM_CHANGES = 5


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="A B …")
@click.option("-m", "--model", help="the model, where a file does not say which")
@click.option("--arch", help="machine: a preset or a .toml file, where a file does not say which")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="change a number of the machine")
@json_option
@progress_options
def compare(
    paths: tuple[Path, ...], model: str | None, arch: str | None, settings: tuple[str, ...], as_json: bool, progress: Progress
) -> None:
    """Put placements side by side: cycles, hops, hot links, SRAM, and which blocks and nets make the difference.

    A and B are placement files, or folders of runs (with placement.json and summary.json). The first is what the others are compared with.
    """
    if len(paths) < 2:
        raise ConfigError("compare wants two placement files or run folders at least")
    from wse.compiler.compare import changes

    known: dict[tuple[Any, ...], Partitioner] = {}
    short = [path.stem for path in paths]
    names = short if len(set(short)) == len(short) else [str(path) for path in paths]
    found: list[Described] = []
    with progress.stage("comparing", total=len(paths)) as stage:
        for path, name in zip(paths, names, strict=True):
            stage.done(len(found), str(path))
            on_part = lambda part: stage.move(len(found) + 0.9 * part)  # noqa: E731
            found.append(_read(path, name, model, arch, settings, known, on_part))
    differences = [changes(found[0], other) for other in found[1:]]
    if as_json:
        click.echo(json.dumps({
            "schema": 1,
            "placements": [{"name": one.name, **one.facts, "measured": one.measured} for one in found],
            "changes": [
                {"from": found[0].name, "to": other.name, "blocks": [vars(c) for c in blocks], "nets": [vars(c) for c in nets]}
                for other, (blocks, nets) in zip(found[1:], differences, strict=True)
            ],
        }, indent=1))  # fmt: skip
        return
    _print_table(found)
    for other, (blocks, nets) in zip(found[1:], differences, strict=True):
        gap = other.cost.hops - found[0].cost.hops, other.cost.cycles - found[0].cost.cycles
        click.echo(f"\n{other.name} against {found[0].name}: {gap[0]:+,.0f} hops, {gap[1]:+,.0f} cycles per token, predicted")
        for what, listed in (("blocks", blocks), ("nets", nets)):
            hops, cycles = sum(c.hops for c in listed), sum(c.cycles for c in listed)
            num = f"1 {what[:-1]} differs" if len(listed) == 1 else f"{len(listed)} {what} differ"
            click.echo(f"  {num}: {hops:+,.0f} hops, {cycles:+,.0f} cycles")
            for change in listed[:NUM_CHANGES]:
                click.echo(f"    {change.dump()}")
            if len(listed) > NUM_CHANGES:
                click.echo(f"    and {len(listed) - NUM_CHANGES} more")


def _print_table(found: list[Described]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("", *(one.name for one in found)):
        table.add_column(heading, no_wrap=not heading, overflow="fold")
    rows: dict[str, list[Any]] = {key: [one.facts[key] for one in found] for key in found[0].facts}
    for key in MEASURED:
        if any(key in one.measured for one in found):
            rows[f"measured {key}"] = [one.measured.get(key, "") for one in found]
    for key, values in rows.items():
        cells = [f"{value:,.0f}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value) for value in values]
        table.add_row(key.replace("_", " "), *cells)
    Console(highlight=False).print(table)


def _read(
    path: Path, name: str, model: str | None, arch: str | None, settings: tuple[str, ...], known: dict[tuple[Any, ...], Partitioner],
    on_part: Callable[[float], None],
) -> Described:  # fmt: skip
    """A placement file or a run folder, taken apart and called `name`; `known` keeps models that were loaded."""
    from wse.compiler.compare import describe
    from wse.compiler.load import load_model
    from wse.compiler.partition import Partitioner
    from wse.compiler.place import read_json, read_placement
    from wse.spec import load_spec, parse_settings

    placement = read_placement(path / "placement.json" if path.is_dir() else path)
    measured = read_json(path / "summary.json", "summary") if path.is_dir() else {}
    about = placement.about
    named = model or about.get("model")
    if named is None:
        raise ConfigError(f"{path} does not say of which model it is", help="name it with --model")
    key = (named, arch or about.get("arch", "wse2"), about.get("dtype", "f16"), int(about.get("context", 256)))
    if key not in known:
        spec = load_spec(key[1], **parse_settings(settings))
        known[key] = Partitioner(load_model(named, on_part=on_part).config, spec, key[2], key[3])
    try:
        return describe(name, placement, known[key], {k: measured[k] for k in (*MEASURED, "busiest_links") if k in measured})
    except WseError as error:
        error.notes = (*error.notes, f"in {path}, of model {named}")
        raise
