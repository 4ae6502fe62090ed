"""wse sweep: every combination of meshes, placers, seeds, splits, types and contexts, into a table that a sweep begun again completes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import click

from wse.cli.options import parse_mesh, progress_options
from wse.errors import ConfigError
from wse.progress import Progress

CHOICES = {"split": ("layer", "half"), "objective": ("both", "cycles", "hops"), "dtype": ("f16", "f32")}


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL…")
@click.option("--arch", default="wse2", show_default=True, help="machine: presets or .toml files")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="change a number of the machine")
@click.option("--mesh", default="", metavar="WxH,…", help="meshes in PEs (default: the smallest that fits)")
@click.option("--placer", default="snake", show_default=True, help="snake, greedy, spectral, anneal, exact")
@click.option("--seed", default="0", show_default=True, help="of the search: 0-9")
@click.option("--split", default="layer", show_default=True, help="layer, half")
@click.option("--objective", default="both", show_default=True, help="both, cycles, hops")
@click.option("--dtype", default="f16", show_default=True, help="f16, f32")
@click.option("--dead-pes", default="0", show_default=True, metavar="RATES", help="shares of PEs dead at random: 0,0.01 or 0-4%")
@click.option("--dead-links", default="0", show_default=True, metavar="RATES", help="likewise of links")
@click.option("--defect-seed", default="0", show_default=True, help="decides which are dead: 0-9")
@click.option("--context", default="0", help="positions to keep room for: 64,128 or 16-128*2 (default: the model's own, at most 256)")
@click.option("-p", "--prompt", default="In the beginning", show_default=True)
@click.option("-n", "--n-gen", default=2, show_default=True, type=click.IntRange(0), help="tokens to run; 0 places and predicts only")
@click.option("--workers", default=os.cpu_count() or 1, type=click.IntRange(1), help="processes of a local cluster (default: one per core)")
@click.option("--scheduler", metavar="ADDRESS", help="a Dask scheduler to use instead of a local cluster")
@click.option("--dry-run", is_flag=True, help="say how many points there are, and how many the table lacks")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("sweep.csv"), show_default=True, help=".csv or .parquet")
@progress_options
def sweep(
    models: tuple[str, ...], arch: str, settings: tuple[str, ...], mesh: str, placer: str, seed: str, split: str, objective: str,
    dtype: str, context: str, dead_pes: str, dead_links: str, defect_seed: str, prompt: str, n_gen: int, workers: int,
    scheduler: str | None, dry_run: bool, output: Path, progress: Progress,
) -> None:  # fmt: skip
    """Place and run every combination of the settings; results land one by one in a table.

    Lists are separated by commas; numbers may be ranges: 8,16,32 or 1-4 or 16-128*2. The same command again runs what is missing.
    """
    from wse import sweep as sweeping
    from wse.compiler.load import find_model
    from wse.compiler.placers import PLACERS
    from wse.ranges import parse_ranges, parse_rates
    from wse.spec import load_spec, parse_settings
    from wse.warmup import warm_up

    if output.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--output wants a file.csv or file.parquet, not {output}")
    for model in models:  # a mistake in a name is no result, and would stay in the table
        find_model(model)
    for machine in _words("arch", arch):
        load_spec(machine, **parse_settings(settings))
    meshes = [text.strip() for text in mesh.split(",")]
    for text in meshes:
        parse_mesh(text or None)
    points = sweeping.points(
        model=models, arch=_words("arch", arch), settings=[" ".join(settings)], mesh=meshes,
        placer=_words("placer", placer, tuple(PLACERS)), split=_words("split", split), objective=_words("objective", objective),
        dtype=_words("dtype", dtype), context=parse_ranges(context, "--context"), prompt=[prompt], n_gen=[n_gen],
        seed=parse_ranges(seed, "--seed"), dead_pes=parse_rates(dead_pes, "--dead-pes"),
        dead_links=parse_rates(dead_links, "--dead-links"), defect_seed=parse_ranges(defect_seed, "--defect-seed"),
    )  # fmt: skip
    rows = output.with_suffix(".csv")
    table = sweeping.Table(rows)
    missing = sum(sweeping.key_of(point) not in table.done for point in points)
    progress.note(f"{len(points)} point{'s' * (len(points) != 1)}, {missing} of them to be run -> {rows}")
    if dry_run:
        return
    if n_gen and missing:
        warm_up(progress)
    failed: list[tuple[sweeping.Point, Exception]] = []
    seen: Counter[str] = Counter()
    with progress.stage("sweeping", total=missing) as stage:
        for point, outcome in sweeping.sweep(points, table, scheduler=scheduler, workers=workers):
            if isinstance(outcome, Exception):
                failed.append((point, outcome))
            else:
                seen[outcome.status] += 1
            stage.done(len(failed) + seen.total(), f"{len(failed) + seen.total()} of {missing}")
    table.close()
    if output.suffix == ".parquet":
        sweeping.write_parquet(rows, output)
    counts = ", ".join(f"{n} {status}" for status, n in seen.most_common()) or "nothing to do"
    click.echo(f"{counts} -> {output}")
    if failed:
        point, error = failed[0]
        raise ConfigError(f"{len(failed)} points failed, the first ({point}) with {type(error).__name__}: {error}",
                          help="the same command again tries them anew")  # fmt: skip


def _words(option: str, text: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """A list of words. Raises `ConfigError` for one that is not allowed."""
    allowed = allowed or CHOICES.get(option, ())
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not word or (allowed and word not in allowed):
            raise ConfigError(f"--{option}: '{word}' is not one of {', '.join(allowed)}")
    return words
