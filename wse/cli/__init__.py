"""The command line. One file per group of verbs; `COMMANDS` lists them in the order help shows them."""

from __future__ import annotations

import sys
import traceback

import click

from wse import __version__
from wse.cli.build import compile_, models, place
from wse.cli.config import config
from wse.cli.report import report
from wse.cli.run import run
from wse.cli.verify import verify
from wse.errors import EXIT_BUG, WseError

COMMANDS: tuple[click.Command, ...] = (run, report, verify, compile_, place, models, config)


def main() -> None:
    """Entry point: errors of the user's making are one line and an exit code, never a traceback."""
    try:
        cli(standalone_mode=False)
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
        sys.exit(0)
    except Exception:
        click.echo(f"error[bug]: this is a bug in wse {__version__}, not in your input:\n{traceback.format_exc()}", err=True)
        sys.exit(EXIT_BUG)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """A functional, cycle-counting emulator of a wafer-scale dataflow chip."""


for command in COMMANDS:
    cli.add_command(command)
