"""wse profile, wse debug: run a program of a kernel developer's, see what its lines cost, or stop it and look."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wse.cli.options import emit, emit_json, hang_option, json_option, output_option, progress_options, reporting_hang
from wse.cli.trace import requested, trace_options, write_machine_trace
from wse.errors import ConfigError
from wse.progress import Progress

if TYPE_CHECKING:
    from wse.isa import Status
    from wse.machine import Machine
    from wse.program import Rect

STRETCH = 100_000
"""Cycles between two looks at how far a program is."""

_program = click.argument("program", type=click.Path(path_type=Path))
_print_pes = click.option("--print-pes", metavar="X,Y", multiple=True, help="show prints of these PEs only: 3,1 or 0:4,3 (repeatable)")
_max_cycles = click.option("--max-cycles", type=click.IntRange(1), help="stop before this cycle")


@click.command()
@_program
@_print_pes
@_max_cycles
@click.option("--pes", metavar="X,Y", help="only lines that these PEs run, such as 0:4,3")
@click.option("--sanitize", is_flag=True, help="check every memory operand (slow)")
@hang_option()
@trace_options
@json_option
@output_option
@progress_options
def profile(
    program: Path, print_pes: tuple[str, ...], max_cycles: int | None, pes: str | None, sanitize: bool, hang: Path | None,
    trace: Path | None, trace_events: str | None, trace_pes: str | None, trace_cycles: str | None, trace_max: int | None,
    as_json: bool, output: Path | None, progress: Progress,
) -> None:  # fmt: skip
    """Run PROGRAM and show what each line of its kernels cost.

    PROGRAM is a file that `wse.store.save` wrote, or a Python file with a variable or function `program`: a ProgramBuilder, a linked
    Program, or a Machine that has its inputs.
    """
    from wse.isa import Status
    from wse.lines import line_cycles, line_facts, line_table
    from wse.warmup import warm_up

    traced = requested(trace, trace_events, trace_pes, trace_cycles, trace_max)
    rect = parse_pes(pes) if pes else None
    with progress.stage("building and loading the program"):
        machine = load_program(program, print_pes, sanitize=sanitize)
    _warn(machine)
    if as_json:
        machine.on_print = lambda printed: click.echo(printed, err=True)
    if traced is not None:
        machine.trace(traced)
    warm_up(progress)
    with progress.stage(f"running {program}", total=max_cycles, watch=lambda: machine.cycles, unit="cycles"):
        status = _run_in_stretches(machine, max_cycles)
    lines = line_cycles(machine.program, machine.counters(), rect)
    if trace is not None:
        write_machine_trace(machine, trace, [], progress)
    if as_json:
        facts = {"status": status.name.lower(), "cycles_total": machine.cycles, "lines": line_facts(lines)}
        emit_json(facts, output)
    else:
        emit(f"{line_table(lines)}\n\n{machine.cycles:,} cycles, {status.name.lower()}", output)
    if status != Status.LIMIT:
        with reporting_hang(hang):
            machine.check(status)


def _warn(machine: Machine) -> None:
    """Say on stderr what looks wrong with the program of a machine, though it may run."""
    from wse.proof import find_hangs

    for finding in find_hangs(machine.program):
        click.echo(finding.warning(), err=True)


def _run_in_stretches(machine: Machine, max_cycles: int | None) -> Status:
    """`Machine.run`, in stretches, so that how far it is can be seen."""
    from wse.isa import Status

    while True:
        until = machine.cycles + STRETCH
        status = machine.run(max_cycles=until if max_cycles is None else min(until, max_cycles))
        if status != Status.LIMIT or machine.cycles == max_cycles:
            return status


@click.command()
@_program
@_print_pes
@click.option("-x", "--script", type=click.Path(path_type=Path), help="take the commands from a file, and stop at the first that is wrong")
@click.option("-q", "--quiet", is_flag=True, help="no progress")
def debug(program: Path, print_pes: tuple[str, ...], script: Path | None, quiet: bool) -> None:
    """Run PROGRAM under a debugger: stop by PE, line, color, symbol or cycle, look, change, step.

    PROGRAM as in `wse profile`; here one that is proved to hang runs too. Commands come from a prompt (`help` lists them), from
    standard input, or from -x FILE.
    """
    from wse.cli.prompt import Prompt
    from wse.debug import Debugger

    machine = load_program(program, print_pes, refuse_hangs=False)
    _warn(machine)
    commands = None
    if script is not None:
        try:
            commands = script.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {script}: {error}") from None
    elif not sys.stdin.isatty():
        commands = sys.stdin.read().splitlines()
    prompt = Prompt(Debugger(machine), Progress(quiet, bars=False))
    if commands is None:
        prompt.cmdloop()
    else:
        prompt.follow(commands)


def parse_pes(text: str) -> Rect:
    """`3,1` or `0:4,3` as a rectangle; both ends of a range are in it. Raises `ConfigError`."""
    from wse.program import Rect

    try:
        (x, last_x), (y, last_y) = ([int(end) for end in (side.split(":") * 2)[:2]] for side in text.split(","))
    except ValueError:
        raise ConfigError(f"cannot read PEs '{text}'", help="write X,Y with numbers or ranges: 3,1 or 0:4,3 or 0:4,0:4") from None
    if not (0 <= x <= last_x and 0 <= y <= last_y):
        raise ConfigError(f"PEs '{text}' end before they begin")
    return Rect(x, y, last_x - x + 1, last_y - y + 1)


def load_program(path: Path, print_pes: tuple[str, ...] = (), *, sanitize: bool = False, refuse_hangs: bool = True) -> Machine:
    """The machine that a program file describes, ready to run; `sanitize`, `refuse_hangs` as `Machine` takes them.

    Raises `ConfigError`, `ProgramError`.
    """
    import runpy

    from wse.builder import ProgramBuilder
    from wse.errors import WseError
    from wse.machine import Machine
    from wse.program import Program
    from wse.store import load

    if path.suffix == ".py":
        if not path.is_file():
            raise ConfigError(f"no file {path}")
        sys.path.insert(0, str(path.parent.resolve()))
        try:
            names = runpy.run_path(str(path))
            found = names.get("program")
            if callable(found):
                found = found()
        except WseError:
            raise
        except Exception as error:
            trace, line = error.__traceback__, "?"
            while trace is not None:
                if trace.tb_frame.f_code.co_filename == str(path):
                    line = str(trace.tb_lineno)
                trace = trace.tb_next
            raise ConfigError(f"{path}:{line}: {type(error).__name__}: {error}") from None
        finally:
            sys.path.remove(str(path.parent.resolve()))
    else:
        found = load(path)
    if isinstance(found, ProgramBuilder):
        found = found.link()
    if isinstance(found, Machine) and sanitize:
        raise ConfigError(f"{path} has a Machine that is loaded already", help="give Machine(..., sanitize=True) there")
    machine = Machine(found, sanitize, refuse_hangs=refuse_hangs) if isinstance(found, Program) else found
    if not isinstance(machine, Machine):
        raise ConfigError(
            f"{path} has no program", help="give it a variable or function `program`: a ProgramBuilder, a Program or a Machine"
        )
    if print_pes:
        machine.print_from([parse_pes(text) for text in print_pes])
    return machine
