"""wse doctor, wse warmup: the host's side of things."""

from __future__ import annotations

import os
from typing import Any

import click

from wse.cli.options import emit, emit_json, json_option, progress_options
from wse.progress import Progress


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Show versions, the cache of compiled kernels, threads, and whether the engine is compiled at all."""
    facts = _facts()
    if as_json:
        emit_json(facts)
        return
    cache = facts["cache"]
    lines = [f"{name:12} {version or 'not installed'}" for name, version in facts["versions"].items()]
    lines += [
        f"{'commit':12} {facts['git_commit'] or 'not a git checkout'}",
        f"{'cores':12} {facts['cores']}, of which the engine uses 1",
        f"{'JIT':12} " + ("on" if facts["jit"] else "off (NUMBA_DISABLE_JIT): the same results, some thousand times slower"),
        f"{'engine':12} " + ("compiled" if cache["warm"] else "not compiled yet for this version: `wse warmup` does it"),
        f"{'cache':12} {cache['path']}, {cache['bytes'] / 1e6:.1f} MB for {cache['versions']} versions"
        + ("" if cache["writable"] else ", NOT WRITABLE: every start compiles again; WSE_CACHE_DIR moves it"),
    ]
    emit("\n".join(lines))


@click.command()
@json_option
@progress_options
def warmup(as_json: bool, progress: Progress) -> None:
    """Compile the engine ahead of its first use."""
    from wse import _jit
    from wse.warmup import warm_up

    was_warm = _jit.is_warm()
    seconds = warm_up(progress)
    if as_json:
        emit_json({"was_warm": was_warm, "host_seconds": seconds, "cache": str(_jit.cache_dir())})
    else:
        click.echo(f"{'was compiled already, loaded' if was_warm else 'compiled'} in {seconds:.1f} s")


def _facts() -> dict[str, Any]:
    from wse import _jit
    from wse.provenance import git_commit, versions

    folder = _jit.cache_dir()
    files = [path for path in folder.parent.glob("numba-*/**/*") if path.is_file()]
    home = next(path for path in (folder, *folder.parents) if path.exists())
    return {
        "versions": versions(),
        "git_commit": git_commit(),
        "cores": os.cpu_count(),
        "jit": bool(_jit.JIT),
        "cache": {
            "path": str(folder),
            "bytes": sum(path.stat().st_size for path in files),
            "versions": len(list(folder.parent.glob("numba-*"))),
            "warm": bool(_jit.is_warm()),
            "writable": os.access(home, os.W_OK),
        },
    }
