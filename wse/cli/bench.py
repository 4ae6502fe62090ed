"""wse bench: decoding and the fabric, with where the figures come from; and a gate that compares two of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wse.bench.output import DECODE_COLUMNS, FABRIC_COLUMNS, FIDELITY_COLUMNS, FORMATS, render
from wse.cli.options import (
    arch_options,
    compile_with,
    emit,
    emit_json,
    json_option,
    load_machine,
    machine_options,
    output_option,
    progress_options,
)
from wse.errors import ConfigError, DoesNotFitError
from wse.progress import Progress
from wse.ranges import parse_ranges

if TYPE_CHECKING:
    from wse.bench.decode import Test


class Ranges(click.ParamType):
    """A list with ranges, as `parse_ranges` reads it."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        option = "a list" if param is None else max(param.opts, key=len)
        return value if isinstance(value, list) else parse_ranges(value, option)


def format_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How to print."""
    for option in reversed((
        click.option("--format", "format_", type=click.Choice(FORMATS), default="md", show_default=True),
        click.option("--json", "as_json", is_flag=True, help="the same as --format json"),
        output_option,
    )):  # fmt: skip
        command = option(command)
    return command


repetitions_option = click.option(
    "-r", "--repetitions", default=3, show_default=True, type=click.IntRange(1), help="for host time; cycles are exact"
)


@click.group()
def bench() -> None:
    """Measure, with provenance; compare two measurements.

    Cycles and hops are exact and the same in every repetition and on every host. Host times are not.
    """


@bench.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL…")
@machine_options
@click.option("-p", "--n-prompt", type=Ranges(), default="16", show_default=True, help="prompt lengths, 0 for none; 8,16 1-4 16-128*2")
@click.option("-n", "--n-gen", type=Ranges(), default="16", show_default=True, help="numbers of tokens to generate, 0 for none")
@click.option("-d", "--n-depth", type=Ranges(), default="0", show_default=True, help="tokens already in the context")
@click.option("--numpy/--no-numpy", "with_numpy", default=True, show_default=True, help="run NumPy beside it, and compare the tokens")
@repetitions_option
@format_options
@progress_options
def decode(
    models: tuple[str, ...], n_prompt: list[int], n_gen: list[int], n_depth: list[int], with_numpy: bool, repetitions: int,
    format_: str, as_json: bool, output: Path | None, progress: Progress, **options: Any,
) -> None:  # fmt: skip
    """Cycles per token of MODELs, prompt (pp) and generation (tg) apart, on deterministic tokens."""
    from wse.bench import decode as bench
    from wse.compiler.compile import DEFAULT_CONTEXT
    from wse.provenance import provenance
    from wse.warmup import warm_up

    tests = bench.plan(n_prompt, n_gen, n_depth)
    if not tests:
        raise ConfigError("nothing to measure: --n-prompt and --n-gen are both 0")
    longest = max(tests, key=lambda test: test.num_positions)
    placer = options["placer"] if options["placement"] is None else str(options["placement"])
    records, contexts = [], {}
    warm_up(progress)
    for model in models:
        if options["context"] is None and longest.num_positions > DEFAULT_CONTEXT:
            options["context"] = longest.num_positions
        compiled = compile_with(progress, model, **options)
        if longest.num_positions > compiled.context:
            raise _too_long(model, longest, compiled.context)
        contexts[model] = compiled.context
        with progress.stage(f"measuring {model}", total=len(tests) * (repetitions + 1)) as stage:
            for i, test in enumerate(tests):
                begun = i * (repetitions + 1)
                stage.done(begun, test.name)
                on_run = lambda runs, begun=begun, test=test: stage.done(begun + runs, test.name)  # noqa: E731
                records.append(bench.measure(compiled, test, placer, repetitions, with_numpy, on_run))
    settings = {name: options[name] for name in ("mesh", "dtype", "split")}
    settings |= {"placer": placer, "models": list(models), "contexts": contexts}
    config = {"machine": load_machine(options["arch"], options["settings"]).model_dump(), **settings, "tests": [t.name for t in tests]}
    emit(render("decode", records, DECODE_COLUMNS, provenance(config), "json" if as_json else format_), output)


def _too_long(model: str, test: Test, context: int) -> DoesNotFitError:
    return DoesNotFitError(
        f"{model}: test '{test.name}' needs {test.num_positions} positions; the context holds {context}",
        help="ask for shorter tests or a longer --context",
    )


@bench.command()
@arch_options
@click.option("--case", "cases", multiple=True, metavar="SIZExWAVELETS", default=("64x1024", "512x128"), show_default=True,
              help="rows of SIZE x SIZE PEs, so many wavelets each")  # fmt: skip
@repetitions_option
@format_options
@progress_options
def fabric(
    arch: str, settings: tuple[str, ...], cases: tuple[str, ...], repetitions: int, format_: str, as_json: bool, output: Path | None,
    progress: Progress,
) -> None:  # fmt: skip
    """Wavelet-hops per second of the engine on collectives, and the cost of a large mesh and a large program."""
    from wse.bench import fabric as bench
    from wse.cli.options import parse_mesh
    from wse.provenance import provenance
    from wse.warmup import warm_up

    spec = load_machine(arch, settings)
    plan = bench.plan([size for case in cases if (size := parse_mesh(case, "--case")) is not None])
    records = []
    warm_up(progress)
    with progress.stage("measuring the fabric", total=sum(case.cost for case in plan)) as stage:
        done = 0.0
        for case in plan:
            stage.done(done, case.name)
            records.append(bench.measure(spec, case, repetitions))
            done += case.cost
    kind = "json" if as_json else format_
    text = render("fabric", records, FABRIC_COLUMNS, provenance({"machine": spec.model_dump(), "tests": [c.name for c in plan]}), kind)
    if kind == "md":
        mesh = bench.CORNER[1].mesh
        ratio = bench.corner_ratio(records)
        text += f"\nthe same program in the corner of {mesh}x{mesh} PEs takes {ratio:.2f} x the host time it takes alone\n"
    emit(text, output)


@bench.command()
@click.option("--only", metavar="PATTERN", default="", help="workloads with this in their names; * and ? stand for anything")
@click.option("--full", is_flag=True, help="also those that take minutes and gigabytes; run them where they would be predicted")
@format_options
@progress_options
def fidelity(only: str, full: bool, format_: str, as_json: bool, output: Path | None, progress: Progress) -> None:
    """Cycles that others published beside those of the same workloads here, and how far apart they are."""
    from wse.bench import fidelity as bench
    from wse.provenance import provenance
    from wse.warmup import warm_up

    plan = bench.plan(only, full)
    records = []
    warm_up(progress)
    with progress.stage("measuring fidelity", total=len(plan)) as stage:
        for i, workload in enumerate(plan):
            stage.done(i, workload.name)
            records.append(bench.measure(workload, full))
    machines = {workload.arch: load_machine(workload.arch, ()).model_dump() for workload in plan}
    kind = "json" if as_json else format_
    config = {"machines": machines, "tests": [workload.name for workload in plan]}
    text = render("fidelity", records, FIDELITY_COLUMNS, provenance(config), kind)
    if kind == "md":
        text += f"\n{bench.summarize(records)}\n"
    emit(text, output)


@bench.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--fail-on", metavar="+1%", help="exit with 5 when a test takes so much more cycles, or is gone")
@json_option
@output_option
def compare(base: Path, new: Path, fail_on: str | None, as_json: bool, output: Path | None) -> None:
    """Cycles per test of two JSON files of `wse bench`, side by side."""
    from wse.bench import compare as bench

    bar = None if fail_on is None else bench.parse_bar(fail_on)
    changes = bench.compare(base, new)
    if as_json:
        emit_json([{"test": c.name, "base_cycles": c.base, "new_cycles": c.new, "change_frac": c.change_frac} for c in changes], output)
    else:
        emit(bench.render_changes(changes), output)
    if bar is not None:
        bench.gate(changes, bar)
