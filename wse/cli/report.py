"""wse report: look at runs that `wse run -o DIR` left."""

from __future__ import annotations

from pathlib import Path

import click

from wse.cli.options import progress_options
from wse.errors import ConfigError
from wse.progress import Progress


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="RUN_DIR [RUN_B]", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="write a page (.html) that needs nothing but a browser")
@click.option("--png", type=click.Path(path_type=Path), help="write a picture of the mesh (needs wse[plot])")
@click.option("--svg", type=click.Path(path_type=Path), help="write a picture of the mesh (needs wse[plot])")
@click.option("--terminal", is_flag=True, help="draw the mesh in the terminal")
@click.option("--metric", default="active", show_default=True, help="what pictures and the terminal show")
@progress_options
def report(
    folders: tuple[Path, ...], output: Path | None, png: Path | None, svg: Path | None, terminal: bool, metric: str, progress: Progress
) -> None:
    """Show a run: as a page, a picture, or in the terminal.

    RUN_DIR is a folder that `wse run -o` left; a page can show two runs side by side.
    """
    from wse.files import write_text
    from wse.view.folder import read_run
    from wse.view.metrics import find_metric

    if len(folders) > 2:
        raise ConfigError(f"a report shows one run or two, got {len(folders)}")
    if not (output or png or svg or terminal):
        raise ConfigError("nothing to write", help="say -o run.html, --png FILE, --svg FILE or --terminal")
    if output is not None and output.suffix in (".png", ".svg"):
        raise ConfigError(f"-o writes a page, but {output} is named like a picture", help=f"say --{output.suffix[1:]} {output}")
    chosen = find_metric(metric)
    if len(folders) == 2 and (png or svg or terminal):
        raise ConfigError("pictures and the terminal show one run", help="compare two runs on a page: -o run.html")
    with progress.stage("report", total=1.0) as stage:

        def tick(step: str, done: float) -> None:
            stage.done(done, step)

        runs = {}
        for name, folder in zip(_names(folders), folders, strict=True):
            tick(f"reading {folder}", 0.0)
            runs[name] = read_run(folder)
        if output is not None:
            from wse.view.page import build_page

            write_text(output, build_page(runs, tick))
        run = next(iter(runs.values()))
        for path in (png, svg):
            if path is not None:
                from wse.view.plot import save_plot

                tick(f"drawing {path}", 1.0)
                save_plot(run, chosen, path)
    for written in (output, png, svg):
        if written is not None:
            progress.note(f"{written}: {written.stat().st_size / 1e6:.2f} MB")
    if terminal:
        from wse.view.terminal import print_mesh

        print_mesh(run, chosen)


def _names(folders: tuple[Path, ...]) -> list[str]:
    """Short names to show runs under: the folders' own, made different by A and B."""
    names = [folder.resolve().name for folder in folders]
    return names if len(names) == 1 else [f"{letter}: {name}" for letter, name in zip("AB", names, strict=True)]
