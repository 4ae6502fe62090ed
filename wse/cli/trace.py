"""wse trace: look into, convert and cut down traces that `wse run --trace` wrote; and the options of tracing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wse.cli.options import emit, emit_json, json_option, progress_options
from wse.errors import ConfigError
from wse.progress import Progress

if TYPE_CHECKING:
    from wse.machine import Machine
    from wse.program import Rect
    from wse.trace.records import Trace
    from wse.trace.selection import Selection


def trace_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say what a run traces."""
    for option in reversed((
        click.option("--trace", type=click.Path(path_type=Path), help="write a trace: FILE.jsonl, or FILE.pftrace for ui.perfetto.dev"),
        click.option("--trace-events", metavar="A,B", help="of task, operation, fabric, queue, sync, host (default: task,operation)"),
        click.option("--trace-pes", metavar="X0:X1,Y0:Y1", help="PEs to trace, ends excluded (default: all)"),
        click.option("--trace-cycles", metavar="A:B", help="cycles to trace, B excluded (default: all)"),
        click.option("--trace-max", type=int, metavar="N", help="records to keep, the earliest (default: 1,000,000)"),
    )):  # fmt: skip
        command = option(command)
    return command


def requested(trace: Path | None, events: str | None, pes: str | None, cycles: str | None, most: int | None) -> Selection | None:
    """What `trace_options` ask for; None without --trace. Raises `ConfigError`, before anything has run."""
    from wse.trace.files import check_path
    from wse.trace.selection import parse_selection

    if trace is None:
        for option, value in (("events", events), ("pes", pes), ("cycles", cycles), ("max", most)):
            if value is not None:
                raise ConfigError(f"--trace-{option} says what to trace, but not where to", help="add --trace FILE.jsonl")
        return None
    check_path(trace)
    return parse_selection(events, pes, cycles, most, "--trace-")


def write_machine_trace(machine: Machine, path: Path, regions: list[tuple[str, Rect]], progress: Progress) -> None:
    """Write what a machine has traced; what was dropped goes to stderr in any case."""
    _write(machine.traced(regions), path, progress)


def _write(trace: Trace, path: Path, progress: Progress) -> None:
    from wse.trace.files import estimate_bytes, write_trace

    progress.note(f"trace: {trace.header.num_records:,} records, about {estimate_bytes(trace, path) / 1e6:.1f} MB to write")
    with _counting(trace, f"writing {path}", progress) as counted:
        write_trace(counted, path)
    progress.note(f"trace: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    _warn(trace)


@contextmanager
def _counting(trace: Trace, what: str, progress: Progress) -> Iterator[Trace]:
    """The same trace, whose events move a bar as they are read."""
    num = 0

    def events() -> Iterator[dict[str, Any]]:
        nonlocal num
        for event in trace.events():
            num += 1
            yield event

    with progress.stage(what, total=trace.header.num_records, watch=lambda: num):
        yield replace(trace, events=events)


def _warn(trace: Trace) -> None:
    if warning := trace.header.warning():
        click.echo(f"warning: {warning}", err=True)


@click.group()
def trace() -> None:
    """Look into, convert and cut down traces that `wse run --trace FILE.jsonl` wrote."""


@trace.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@progress_options
def info(file: Path, as_json: bool, progress: Progress) -> None:
    """Show what a trace holds."""
    from wse.trace.files import read_trace

    trace = read_trace(file)
    header, kinds, pes = trace.header, Counter[str](), Counter[tuple[int, int]]()
    with _counting(trace, f"reading {file}", progress) as counted:
        for event in counted.events():
            kinds[event["kind"]] += 1
            pes[tuple(event["pe"])] += 1
    first, last = header.selection.cycles
    facts = {
        "events": list(header.selection.events), "pes": str(header.rect), "cycles": [first, last], "end_cycle": header.end_cycle,
        "num_records": header.num_records, "dropped": header.dropped, "complete_before": header.complete_before,
        "num_pes": len(pes), "kinds": dict(sorted(kinds.items())), "jsonl_bytes": file.stat().st_size,
    }  # fmt: skip
    if as_json:
        emit_json(facts)
    else:
        window = f"{first:,} to before {header.end_cycle if last is None else last:,} of {header.end_cycle:,} executed"
        lines = [f"events   {', '.join(header.selection.events)}", f"PEs      {header.rect}, {len(pes):,} of them with records"]
        lines += [f"cycles   {window}", f"records  {header.num_records:,}, {header.dropped:,} dropped"]
        lines += [f"  {kind:<10} {num:,}" for kind, num in sorted(kinds.items())]
        lines += [f"size     {file.stat().st_size:,} B"]
        emit("\n".join(lines))
    _warn(trace)


@trace.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="the name says the format: .pftrace or .jsonl")
@progress_options
def convert(file: Path, output: Path, progress: Progress) -> None:
    """Write a trace in another format."""
    from wse.trace.files import check_path, read_trace

    check_path(output)
    _write(read_trace(file), output, progress)


@trace.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--events", metavar="A,B", help="of those the trace has (default: all of them)")
@click.option("--pes", metavar="X0:X1,Y0:Y1", help="PEs, ends excluded")
@click.option("--cycles", metavar="A:B", help="cycles, B excluded; what overlaps is kept whole")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="the name says the format: .pftrace or .jsonl")
@progress_options
def filter(file: Path, events: str | None, pes: str | None, cycles: str | None, output: Path, progress: Progress) -> None:
    """Write a part of a trace."""
    from wse.trace.files import check_path, read_trace
    from wse.trace.selection import parse_selection

    check_path(output)
    trace = read_trace(file)
    wanted = parse_selection(events or ",".join(trace.header.selection.events), pes, cycles)
    with _counting(trace, f"reading {file}", progress) as counted:
        part = counted.filter(wanted)
    _write(part, output, progress)
