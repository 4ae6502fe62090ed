"""The command line. One file per group of verbs; `COMMANDS` lists them in the order help shows them."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from wse import __version__
from wse.cli.bench import bench
from wse.cli.build import compile_, models
from wse.cli.compare import compare
from wse.cli.config import config
from wse.cli.defects import defects, yield_
from wse.cli.host import doctor, warmup
from wse.cli.kernel import debug, profile
from wse.cli.place import place
from wse.cli.report import report
from wse.cli.run import run
from wse.cli.sweep import sweep
from wse.cli.trace import trace
from wse.cli.verify import verify
from wse.errors import EXIT_BUG, WseError

COMMANDS: tuple[click.Command, ...] = (
    run, report, trace, verify, bench, compile_, place, compare, sweep, defects, yield_, profile, debug, models, config, doctor, warmup,
)  # fmt: skip


_DISK_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: errors of the user's making are one line and an exit code, never a traceback."""
    try:
        cli(arguments, standalone_mode=False)
        sys.stdout.flush()
    except WseError as error:
        click.echo(error.render(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        _drop_output()
        sys.exit(0)
    except OSError as error:
        if error.errno not in _DISK_FULL:
            _report_bug()
        _drop_output()
        click.echo(f"error[config]: cannot write the output: {error.strerror}", err=True)
        sys.exit(2)
    except Exception:
        _report_bug()


def _report_bug() -> NoReturn:
    click.echo(f"error[bug]: this is a bug in wse {__version__}, not in your input:\n{traceback.format_exc()}", err=True)
    sys.exit(EXIT_BUG)


def _drop_output() -> None:
    """Let nothing that is still buffered for stdout be written when the interpreter ends: it cannot be."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _InOrder(click.Group):
    """Lists commands in the order in which they were added, not by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """A functional, cycle-counting emulator of a wafer-scale dataflow chip."""


for command in COMMANDS:
    cli.add_command(command)
