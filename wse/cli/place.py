"""wse place: find a placement, write it to a file that can be edited and given back, say how good it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from wse.cli.options import compile_arguments, machine_options, progress_options
from wse.progress import Progress


@click.command()
@click.argument("model")
@machine_options
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="of the search")
@click.option("--time-budget", type=click.FloatRange(0), metavar="SECONDS", help="stop searching after so long, with the best so far")
@click.option("--starts", default=4, show_default=True, type=click.IntRange(1), help="independent searches, side by side on the cores")
@click.option("--objective", default="both", show_default=True, help="what to make small: both, cycles or hops")
@click.option("--constraints", type=click.Path(path_type=Path), help="a file of constraints, or a placement with pinned blocks")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("placement.json"), show_default=True)
@progress_options
def place(
    model: str, seed: int, time_budget: float | None, starts: int, objective: str, constraints: Path | None, output: Path,
    progress: Progress, **options: Any,
) -> None:  # fmt: skip
    """Place MODEL and write the placement to a file that can be edited and given back with --placement.

    Pinned blocks ("pinned": true in a placement file) and other constraints are kept; what cannot be placed is refused with the reason.
    """
    from wse.compiler.compile import place_model
    from wse.compiler.cost import Cost
    from wse.compiler.hops import routed_cost
    from wse.compiler.placers import Search
    from wse.compiler.route import report_routes, route

    best, part = "", 0.0
    with progress.stage("placing", total=1.0) as stage:

        def on_best(seconds: float, gap: float, cost: Cost) -> None:
            nonlocal best
            best = f"{cost.hops:,.0f} hops, {cost.cycles:,.0f} cycles, {100 * gap:.2f} % above the bound"
            stage.done(part, best)

        def on_stage(done: float, what: str) -> None:
            nonlocal part
            part = done
            stage.done(done, best or what)

        search = Search(seed, time_budget, starts, on_best=on_best)
        arguments = compile_arguments(model, **options, search=search, objective=objective, constraints=constraints)
        placed = place_model(**arguments, on_stage=on_stage)
    placement = placed.placement
    with progress.stage("routing"):
        nets = route(placement, placed.model.config.dim, placed.spec.num_colors)
    problem, cost = placed.problem, routed_cost(placed, nets)
    gap = problem.weigh(cost) / problem.lower_bound - 1
    said = {"predicted_hops_per_token": int(cost.hops), "gap_frac": round(gap, 4)}
    placement = replace(placement, about=dict(placement.about) | said)
    placement.write(output)
    click.echo(f"{len(placed.blocks)} blocks on {placement.width}x{placement.height} PEs -> {output}")
    if placement.defects is not None:
        click.echo(str(placement.defects))
        for name, where in zip(placement.names, placement.describe(), strict=True):
            click.echo(f"  {name} at {where}")
    click.echo(f"predicted per token: {cost.hops:,.0f} hops, {cost.cycles:,.0f} cycles")
    click.echo(f"no placement has fewer than {problem.bounds.hops:,.0f} hops, or {problem.bounds.cycles:,.0f} cycles; this one is "
               f"{100 * gap:.2f} % above the bound for objective '{problem.objective}'")  # fmt: skip
    if "proved_bound" in placement.about:
        proved = placement.about["objective_value"] / placement.about["proved_bound"] - 1
        click.echo("proved optimal" if placement.about["proved_optimal"] else f"at most {100 * proved:.2f} % above the optimum")
    click.echo(report_routes(nets).dump())
