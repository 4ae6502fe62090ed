"""Sweep: many points (model, mesh, placer, seed, …), each placed and run once, their results in a table on disk as they come.

The table is a CSV file with a row per point. A row is written whole, by the one process that started the sweep, as soon as the
point's result arrives; so after Ctrl-C, a killed worker or a lost machine the table holds what was done, and the same sweep
started again runs only what is missing. A worker's death costs the points it had under way: Dask gives them to another.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import IO, Any

from wse.errors import ConfigError, UnsupportedError, WseError


@dataclass(frozen=True)
class Point:
    """One combination of settings, as text and numbers: what a worker is sent, and what a row of the table begins with."""

    model: str
    arch: str
    settings: str  # KEY=VALUE, separated by spaces
    mesh: str  # WxH, or "" for the smallest that fits
    placer: str
    seed: int
    split: str
    objective: str
    dtype: str
    context: int
    prompt: str
    n_gen: int  # tokens decoded on the emulated wafer; 0: placed and predicted only
    dead_pes: float = 0.0  # shares of all PEs and links, dead at random
    dead_links: float = 0.0
    defect_seed: int = 0


@dataclass(frozen=True)
class Result:
    """What a point came to. `status` is "ok" or the kind of error with which it was refused; figures are then empty."""

    status: str = "ok"
    message: str = ""
    width: int | None = None
    height: int | None = None
    num_pes: int | None = None
    num_usable_pes: int | None = None  # of the mesh
    num_skipped: int | None = None  # rows and columns, over all blocks
    predicted_cycles_per_token: float | None = None
    predicted_hops_per_token: float | None = None
    gap_frac: float | None = None  # above the lower bound of the objective
    cycles_per_token: float | None = None  # mean over the tokens decoded after the first
    ttft_cycles: int | None = None
    hops_per_token: float | None = None
    tokens: str = ""
    host_seconds: float | None = None
    worker_pid: int | None = None


KEY_COLUMNS = tuple(field.name for field in fields(Point))
COLUMNS = (*KEY_COLUMNS, *(field.name for field in fields(Result)))
Key = tuple[str, ...]


def key_of(point: Point) -> Key:
    """A point as the table holds it."""
    return tuple(str(value) for value in astuple(point))


def points(**axes: Iterable[Any]) -> list[Point]:
    """Every combination of the axes, named as `Point`'s fields, each once; the last axis named changes fastest."""
    return list(dict.fromkeys(Point(**dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())))


def run_point(point: Point) -> Result:
    """Place a point, and run it if it asks for tokens. What the user's settings make impossible is a result, not an error."""
    started = time.perf_counter()
    try:
        figures = _figures(point)
    except WseError as error:
        figures = {"status": error.kind, "message": error.message}
    return Result(**figures, host_seconds=round(time.perf_counter() - started, 3), worker_pid=os.getpid())


def _figures(point: Point) -> dict[str, Any]:
    from wse.cli.options import parse_mesh
    from wse.compiler.compile import DefectOptions, PlaceOptions, compile_placed, place_model
    from wse.compiler.hops import routed_cost
    from wse.compiler.placers import Search
    from wse.compiler.route import route
    from wse.runner import Session
    from wse.spec import load_spec, parse_settings
    from wse.summary import channel_hops

    spec = load_spec(point.arch, **parse_settings(tuple(point.settings.split())))
    defects = DefectOptions(None, point.dead_pes, point.dead_links, point.defect_seed)
    options = PlaceOptions(point.placer, point.split, point.objective, Search(point.seed), defects=defects)
    context = point.context or None
    placed = place_model(point.model, spec, dtype=point.dtype, context=context, mesh=parse_mesh(point.mesh or None), options=options)
    problem = placed.problem
    cost = routed_cost(placed, route(placed.placement, placed.model.config.dim, spec.num_colors))
    figures: dict[str, Any] = {
        "width": problem.width, "height": problem.height, "num_pes": sum(rect.num_pes for rect in placed.placement.rects),
        "num_usable_pes": int(problem.usable.sum()),
        "num_skipped": sum(map(len, (*placed.placement.skipped_columns, *placed.placement.skipped_rows))),
        "predicted_cycles_per_token": cost.cycles, "predicted_hops_per_token": cost.hops,
        "gap_frac": round(problem.weigh(cost) / problem.lower_bound - 1, 6),
    }  # fmt: skip
    if not point.n_gen:
        return figures
    _, prompt = placed.model.encode_prompt(point.prompt)
    session = Session(compile_placed(placed))
    tokens = list(session.generate(prompt, point.n_gen))
    positions = len(prompt) + len(tokens) - 1
    between = [b.cycle - a.cycle for a, b in itertools.pairwise(tokens)]
    hops = channel_hops(session.compiled.program, session.machine.counters())
    return figures | {
        "ttft_cycles": tokens[0].cycle, "cycles_per_token": sum(between) / len(between) if between else None,
        "hops_per_token": float(hops.sum()) / positions, "tokens": " ".join(str(token.id) for token in tokens),
    }  # fmt: skip


class Table:
    """The results on disk. Opening it reads what is there, and drops a last line that was cut short; only one process may have it open."""

    def __init__(self, path: Path):
        """Raises `ConfigError` when the file is no table of a sweep, or another sweep is writing it."""
        self.path = path
        self.done: set[Key] = set()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = open(path, "a+b")  # noqa: SIM115  # held, and locked, until `close`
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None
        _lock(self._file, path)
        self._file.seek(0)
        data = self._file.read()
        whole = _whole_rows(data)
        rows = list(csv.reader(io.StringIO(data[:whole].decode())))
        if data and whole and tuple(rows[0]) != COLUMNS:
            raise ConfigError(f"{path} is not the table of a sweep of this version", help="give another file with -o")
        if data and not whole and not ",".join(COLUMNS).encode().startswith(data.rstrip()):
            raise ConfigError(f"{path} is not the table of a sweep", help="give another file with -o")
        self._file.truncate(whole)
        if not whole:
            self._append(COLUMNS)
        self.done = {tuple(row[: len(KEY_COLUMNS)]) for row in rows[1:]}

    def add(self, point: Point, result: Result) -> bool:
        """Append a row and put it on the disk; False, and nothing written, when the point has one already."""
        if key_of(point) in self.done:
            return False
        self._append(["" if value is None else str(value) for value in (*astuple(point), *astuple(result))])
        self.done.add(key_of(point))
        return True

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()

    def _append(self, row: Iterable[str]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow([value.replace("\n", " ") for value in row])
        self._file.write(text.getvalue().encode())
        self._file.flush()
        os.fsync(self._file.fileno())


def _whole_rows(data: bytes) -> int:
    """Bytes up to the end of the last line that is whole; a line of ours holds no line break."""
    return data.rfind(b"\n") + 1


def _lock(file: IO[bytes], path: Path) -> None:
    """Keep other processes off the table while this one lives, where the system can."""
    try:
        import fcntl
    except ImportError:  # not on this system
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigError(f"another sweep is writing {path}", help="wait for it, or give another file with -o") from None


@contextmanager
def _client(scheduler: str | None, workers: int) -> Iterator[Any]:
    """A Dask client, of a cluster of our own or of the scheduler named."""
    try:
        import distributed
    except ImportError:
        raise UnsupportedError("a sweep wants Dask", help="pip install 'wse[sweep]'") from None
    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            raise ConfigError(f"no Dask scheduler answers at {scheduler}: {error}") from None
        with client:
            yield client
        return
    cluster = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50)
    with cluster, distributed.Client(cluster) as client:
        yield client


def sweep(
    wanted: list[Point], table: Table, *, scheduler: str | None = None, workers: int = 1
) -> Iterator[tuple[Point, Result | Exception]]:
    """Run the points that the table lacks; yields each as it ends, after its row is on the disk.

    An exception takes the place of a result when a point failed by our fault, or killed every worker it was given to; it has
    no row then, and is tried again by the next sweep.
    """
    missing = [point for point in wanted if key_of(point) not in table.done]
    if not missing:
        return
    with _client(scheduler, workers) as client:
        from distributed import as_completed

        futures = {client.submit(run_point, point, pure=False): point for point in missing}
        for future in as_completed(futures):
            point = futures.pop(future)
            if future.status == "finished":
                result = future.result()
                table.add(point, result)
                yield point, result
            else:
                yield point, future.exception()
            future.release()


def write_parquet(table: Path, output: Path) -> None:
    """The table as Parquet. Raises `UnsupportedError` without pyarrow."""
    try:
        from pyarrow import csv as arrow_csv
        from pyarrow import parquet
    except ImportError:
        raise UnsupportedError("Parquet wants pyarrow", help=f"pip install 'wse[parquet]'; the results are in {table}") from None
    parquet.write_table(arrow_csv.read_csv(table), output)
