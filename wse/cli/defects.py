"""wse defects, wse yield: maps of what is dead on a wafer, and what they cost a model."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wse.cli.options import arch_options, emit, emit_json, json_option, output_option, parse_mesh, progress_options, random_defect_options
from wse.errors import ConfigError
from wse.progress import Progress

if TYPE_CHECKING:
    from wse.sweep import Point, Result

WIDEST = 160  # PEs of a row that are drawn as one line of characters


@click.command()
@click.argument("map_file", metavar="[MAP]", required=False, type=click.Path(path_type=Path))
@click.option("--mesh", metavar="WxH", help="draw a map for a mesh of this size")
@random_defect_options
@json_option
@output_option
def defects(
    map_file: Path | None, mesh: str | None, dead_pes: float, dead_links: float, dead_routers: bool, defect_seed: int, as_json: bool,
    output: Path | None,
) -> None:  # fmt: skip
    """Show the MAP of what is dead on a mesh, or draw one at random and, with -o, write it to a file for --defects.

    A dead PE (x) runs nothing but passes wavelets straight on; a dead router (X) passes nothing. Real wafers have defects in
    clusters, these are spread evenly.
    """
    from wse.defects import Defects, read_defects

    if (map_file is None) == (mesh is None):
        raise ConfigError("wse defects wants a map to show, or --mesh to draw one for", help="wse defects --mesh 100x100 --dead-pes 1%")
    if map_file is not None:
        found = read_defects(map_file)
    else:
        width, height = parse_mesh(mesh) or (0, 0)
        found = Defects.random(width, height, dead_pes, dead_links, defect_seed, dead_routers)
    if output is not None:
        found.write(output)
        click.echo(f"{found} -> {output}")
    elif as_json:
        emit_json({**found.facts(), "digest": found.digest})
    else:
        emit("\n".join([f"{found.width}x{found.height} PEs: {found}", *_drawn(found)]))


def _drawn(found: Any) -> list[str]:
    """The mesh in characters, a row a line; nothing when it is too wide to look at."""
    if found.width > WIDEST:
        return []
    rows = [["."] * found.width for _ in range(found.height)]
    for sign, pes in (("x", found.pes), ("X", found.routers)):
        for x, y in pes:
            rows[y][x] = sign
    links = [f"dead links: {', '.join(f'({a[0]},{a[1]})-({b[0]},{b[1]})' for a, b in found.links)}"] if found.links else []
    return ["".join(row) for row in rows] + links


@click.command(name="yield")
@click.argument("model")
@arch_options
@click.option("--mesh", metavar="WxH", help="mesh in PEs (default: the smallest that fits, larger where more is dead)")
@click.option("--placer", default="greedy", show_default=True, help="snake, greedy, spectral or anneal")
@click.option("--split", type=click.Choice(["layer", "half"]), default="layer", show_default=True, help="a block per layer, or two")
@click.option("--dtype", type=click.Choice(["f16", "f32"]), default="f16", show_default=True, help="weights in SRAM")
@click.option("--context", type=click.IntRange(1), help="positions to keep room for")
@click.option("--dead-pes", default="0,1%,2%,4%", show_default=True, metavar="RATES", help="shares of PEs dead: 0,0.01 or 0-4% or 0-4+0.5%")
@click.option("--dead-links", default="0", show_default=True, metavar="RATES", help="likewise of links")
@click.option("--defect-seed", default="0-2", show_default=True, help="the maps of each rate: 0-9")
@click.option("-p", "--prompt", default="In the beginning", show_default=True, help="text to go on from")
@click.option("-n", "--n-gen", default=2, show_default=True, type=click.IntRange(0), help="tokens to run; 0 places only")
@json_option
@output_option
@progress_options
def yield_(
    model: str, arch: str, settings: tuple[str, ...], mesh: str | None, placer: str, split: str, dtype: str, context: int | None,
    dead_pes: str, dead_links: str, defect_seed: str, prompt: str, n_gen: int, as_json: bool, output: Path | None, progress: Progress,
) -> None:  # fmt: skip
    """What defects cost MODEL: whether it places, cycles and hops per token, against rates of dead PEs and links.

    Every rate is tried on several random maps; figures are over those on which the model was placed, and compare its tokens.
    """
    from wse import sweep as sweeping
    from wse.ranges import parse_ranges, parse_rates
    from wse.warmup import warm_up

    parse_mesh(mesh)
    rates = list(itertools.product(parse_rates(dead_pes, "--dead-pes"), parse_rates(dead_links, "--dead-links")))
    seeds = parse_ranges(defect_seed, "--defect-seed")
    fixed: dict[str, Any] = {
        "model": model, "arch": arch, "settings": " ".join(settings), "mesh": mesh or "", "placer": placer, "seed": 0, "split": split,
        "objective": "both", "dtype": dtype, "context": context or 0, "prompt": prompt, "n_gen": n_gen,
    }  # fmt: skip
    wanted = [
        sweeping.Point(**fixed, dead_pes=pes, dead_links=links, defect_seed=seed)
        for pes, links in rates for seed in (seeds if pes or links else seeds[:1])
    ]  # fmt: skip
    if n_gen:
        warm_up(progress)
    found: list[tuple[Point, Result]] = []
    with progress.stage("placing and running", total=len(wanted)) as stage:
        for point in wanted:
            stage.done(len(found), f"{point.dead_pes:.2%} of PEs, {point.dead_links:.2%} of links, seed {point.defect_seed}")
            found.append((point, sweeping.run_point(point)))
    refused = next((result for _, result in found if result.status not in ("ok", "does-not-fit")), None)
    if refused is not None:  # the settings are wrong, whatever is dead
        raise ConfigError(refused.message)
    rows = [_row(pes, links, [(p, r) for p, r in found if (p.dead_pes, p.dead_links) == (pes, links)]) for pes, links in rates]
    different = len({result.tokens for _, result in found if result.tokens}) > 1
    if as_json:
        points = [{**vars(point), **vars(result)} for point, result in found]
        emit_json({"schema": 1, "model": model, "rates": rows, "tokens_equal": not different if n_gen else None, "points": points}, output)
    else:
        emit(_table(rows, n_gen, different), output)


def _row(pes: float, links: float, found: list[tuple[Point, Result]]) -> dict[str, Any]:
    """One rate over its maps: medians of what was placed, None where nothing was."""
    placed = [result for _, result in found if result.status == "ok"]

    def median(name: str) -> float | None:
        values = [value for result in placed if (value := getattr(result, name)) is not None]
        return statistics.median(values) if values else None

    return {
        "dead_pes": pes, "dead_links": links, "num_maps": len(found), "num_placed": len(placed),
        "mesh": "/".join(dict.fromkeys(f"{result.width}x{result.height}" for result in placed)),
        **{name: median(name) for name in ("num_usable_pes", "num_pes", "num_skipped", "cycles_per_token", "hops_per_token")},
        "why_not": next((result.message for _, result in found if result.status != "ok"), None),
    }  # fmt: skip


def _table(rows: list[dict[str, Any]], n_gen: int, different: bool) -> str:
    headings = ["dead PEs", "dead links", "placed", "mesh", "usable PEs", "PEs used", "lines skipped", "cycles/token", "hops/token"]
    lines = ["| " + " | ".join(headings) + " |", "|" + "".join("---:|" for _ in headings)]
    base = rows[0]
    for row in rows:
        cells = [f"{row['dead_pes']:.2%}", f"{row['dead_links']:.2%}", f"{row['num_placed']} of {row['num_maps']}", row["mesh"]]
        cells += ["" if row[key] is None else f"{row[key]:,.0f}" for key in ("num_usable_pes", "num_pes", "num_skipped")]
        for key in ("cycles_per_token", "hops_per_token"):
            more = f" ({row[key] / base[key] - 1:+.2%})" if row is not base and row[key] and base[key] else ""
            cells.append("" if row[key] is None else f"{row[key]:,.0f}{more}")
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"{row['dead_pes']:.2%}, {row['dead_links']:.2%}: {row['why_not']}" for row in rows if row["why_not"]]
    lines.append("Medians over the maps on which the model was placed, in brackets against the first row; defects are spread evenly.")
    if n_gen:
        differ = "The tokens differ between maps: blocks in other shapes add up in another order, and a logit may have been close."
        lines.append(differ if different else "The tokens are the same on all maps.")
    return "\n".join(lines)
