"""What the verbs share: options that say which machine and model and how much to say, and where output goes."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wse.errors import ConfigError, DeadlockError
from wse.progress import Progress

if TYPE_CHECKING:
    from wse.compiler.compile import Compiled
    from wse.spec import MachineSpec


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which machine and how a model is put on it."""
    for option in reversed((
        *_ARCH_OPTIONS,
        click.option("--mesh", metavar="WxH", help="mesh in PEs (default: the smallest that fits)"),
        click.option("--placement", type=click.Path(path_type=Path), help="a placement file, as `wse place` writes it"),
        click.option("--placer", default="snake", show_default=True, help="snake, greedy, spectral, anneal or exact"),
        click.option("--split", type=click.Choice(["layer", "half"]), default="layer", show_default=True, help="a block per layer, or two"),
        *_DEFECT_OPTIONS,
        click.option("--context", type=int, metavar="N", help="positions to keep room for (default: the model's own, at most 256)"),
        click.option("--dtype", type=click.Choice(["f16", "f32"]), default="f16", show_default=True, help="weights in SRAM"),
    )):  # fmt: skip
        command = option(command)
    return command


_ARCH_OPTIONS = (
    click.option("--arch", default="wse2", show_default=True, help="a preset (wse config list) or a .toml file"),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="change a number: hop_cycles=2 (repeatable)"),
)


class Rate(click.ParamType):
    """A share of a whole: 0.01 or 1%."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from wse.ranges import parse_rates

        if isinstance(value, float):
            return value
        what = "a rate" if param is None else max(param.opts, key=len)
        rates = parse_rates(value, what)
        if len(rates) != 1:
            raise ConfigError(f"{what} wants one rate, got '{value}'")
        return rates[0]


_RANDOM_DEFECTS = (
    click.option("--dead-pes", type=Rate(), default=0.0, metavar="RATE", help="share of all PEs dead, at random: 1% (default: none)"),
    click.option("--dead-links", type=Rate(), default=0.0, metavar="RATE", help="likewise of all links between PEs (default: none)"),
    click.option("--dead-routers", is_flag=True, help="the routers of dead PEs pass nothing either"),
    click.option("--defect-seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="decides which are dead"),
)
_DEFECT_OPTIONS = (
    click.option("--defects", type=click.Path(path_type=Path), help="a map of dead PEs and links, as `wse defects` writes it"),
    *_RANDOM_DEFECTS,
)


def random_defect_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that draw a map of defects."""
    for option in reversed(_RANDOM_DEFECTS):
        command = option(command)
    return command


def arch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which machine, for verbs without a model."""
    for option in reversed(_ARCH_OPTIONS):
        command = option(command)
    return command


def progress_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """-q and -v, which the verb gets as one `progress`."""

    @click.option("-q", "--quiet", is_flag=True, help="no progress and no remarks")
    @click.option("-v", "--verbose", is_flag=True, help="say what each stage took, on stderr")
    @functools.wraps(command)
    def with_progress(*args: Any, quiet: bool, verbose: bool, **options: Any) -> Any:
        return command(*args, progress=Progress(quiet, verbose), **options)

    return with_progress


json_option = click.option("--json", "as_json", is_flag=True, help="print JSON and nothing else")

output_option = click.option("-o", "--output", type=click.Path(path_type=Path), help="write to a file instead of the terminal")


def hang_option(note: str = "default: nowhere") -> Callable[..., Any]:
    """The option that says where `reporting_hang` writes."""
    return click.option("--hang", type=click.Path(path_type=Path), help=f"where to write the report on a deadlock, as JSON ({note})")


@contextmanager
def reporting_hang(path: Path | None) -> Iterator[None]:
    """Leave the report on a deadlock in the body at `path`, if there is one."""
    from wse.files import write_text

    try:
        yield
    except DeadlockError as error:
        if path is not None:
            write_text(path, error.report.to_json() + "\n")
        raise


def load_machine(arch: str, settings: tuple[str, ...]) -> MachineSpec:
    """The machine that `arch_options` ask for."""
    from wse.spec import load_spec, parse_settings

    return load_spec(arch, **parse_settings(settings))


def compile_with(progress: Progress, model: str, head: str = "greedy", keep_outputs: bool = False, **options: Any) -> Compiled:
    """The model compiled as `machine_options` ask."""
    from wse.compiler.compile import compile_model

    arguments = compile_arguments(model, **options)
    with progress.stage(f"compiling {model}", total=1.0) as stage:
        return compile_model(**arguments, head=head, keep_outputs=keep_outputs, on_stage=stage.done)


def compile_arguments(
    model: str, arch: str, settings: tuple[str, ...], mesh: str | None, placement: Path | None, placer: str, split: str,
    context: int | None, dtype: str, defects: Path | None, dead_pes: float, dead_links: float, dead_routers: bool, defect_seed: int,
    **how: Any,
) -> dict[str, Any]:  # fmt: skip
    """What `compile_model` and `place_model` take, out of `machine_options`; `how` goes to `PlaceOptions`."""
    from wse.compiler.compile import DefectOptions, PlaceOptions

    dead = DefectOptions(defects, dead_pes, dead_links, defect_seed, dead_routers)
    options = PlaceOptions(placer, split, placement=placement, defects=dead, **how)
    spec = load_machine(arch, settings)
    return {"name": model, "spec": spec, "dtype": dtype, "context": context, "mesh": parse_mesh(mesh), "options": options}


def parse_mesh(text: str | None, option: str = "--mesh") -> tuple[int, int] | None:
    """`32x16` as (32, 16). Raises `ConfigError` naming the option."""
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise ConfigError(f"{option} wants WxH, for example 32x16, got '{text}'")
    return int(width), int(height)


def emit(text: str, output: Path | None = None) -> None:
    """Print `text`, or write it to a file, whole or not at all."""
    from wse.files import write_text

    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        write_text(output, text if text.endswith("\n") else text + "\n")


def emit_json(facts: Any, output: Path | None = None) -> None:
    """`emit` facts as JSON."""
    emit(json.dumps(facts, indent=1), output)
