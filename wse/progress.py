"""Progress: what is under way and how much is left, on stderr; bars on a terminal, lines elsewhere, nothing when quiet."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text


class _Bars(Bars):
    """Bars with text above them."""

    above = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        if self.above:
            width, height = self.console.size
            yield Text(self.above[-width * max(1, height - 4) :])  # the end, when it is more than a screen
        yield from super().get_renderables()


FIRST_LINE, LATER_LINES = 2.0, (10.0, 30.0)
"""Seconds after which a stage says on a stderr without bars that it goes on; after the last of them every so many more."""


class Stage:
    """One piece of work; `done` moves its bar."""

    def __init__(self, progress: Progress, what: str, total: float | None, watch: Callable[[], float] | None, unit: str):
        self.what, self.total, self.amount = what, total, 0.0
        self.watch, self.unit = watch, unit
        self._progress = progress
        self._bar: TaskID | None = progress.add_bar(what, total)
        self._started = self._step_started = time.perf_counter()
        self._step = ""

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return time.perf_counter() - self._started

    @property
    def left(self) -> float | None:
        """Seconds that are left if it goes on as so far; None when that is not known."""
        if not self.total or not self.amount:
            return None
        return self.seconds * max(0.0, self.total - self.amount) / self.amount

    def done(self, amount: float, step: str = "") -> None:
        """So much of the total is done, and `step` begins."""
        if step != self._step:
            self._end_step()
            self._step = step
        self.move(amount)

    def move(self, amount: float) -> None:
        """So much of the total is done, in the same step."""
        self.amount = amount
        self._progress.move_bar(self._bar, amount, self._text())

    def end(self) -> None:
        """Take the bar away; with `verbose`, say how long it took."""
        self._end_step()
        self._progress.drop_bar(self._bar)
        self._progress.say(f"{self.what}: {self.seconds:.2f} s")

    def line(self) -> str:
        """How far it is, in words."""
        far = f", {self.amount:,.0f} {self.unit}" if self.unit else ""
        left = f", about {_duration(self.left)} left" if self.left is not None else ""
        return f"{self._text()}{far}, {_duration(self.seconds)} so far{left}"

    def _text(self) -> str:
        return f"{self.what}: {self._step}" if self._step else self.what

    def _end_step(self) -> None:
        if self._step:
            self._progress.say(f"  {self._step}: {time.perf_counter() - self._step_started:.2f} s")
        self._step_started = time.perf_counter()


class Progress:
    """Where stages are shown: as bars on a terminal, elsewhere (or without `bars`) as a line now and then of one that takes long.

    `quiet`: nowhere. `verbose`: what each of them took is printed as well.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False, bars: bool = True):
        self.quiet, self.verbose, self._wants_bars = quiet, verbose and not quiet, bars
        self.console = Console(stderr=True, highlight=False)
        self._bars: _Bars | None = None

    @contextmanager
    def stage(
        self, what: str, total: float | None = None, seconds: float | None = None, watch: Callable[[], float] | None = None, unit: str = ""
    ) -> Iterator[Stage]:
        """Show `what` while the body runs. Its end is known from `total` and `Stage.done`, or from the `seconds` it usually takes.

        `watch` tells how much is done, when asked from another thread; `unit` is what that is counted in, where it should be shown.
        """
        stage = Stage(self, what, total if seconds is None else seconds, watch, unit)
        over = threading.Event()
        if not self.quiet:
            threading.Thread(target=_follow, args=(self, stage, over, seconds), daemon=True).start()
        try:
            yield stage
        finally:
            over.set()
            stage.end()

    def note(self, text: str) -> None:
        """A remark to the person who waits; dropped when quiet."""
        if not self.quiet:
            self._print(text)

    def say(self, text: str) -> None:
        """A remark for those who asked for more."""
        if self.verbose:
            self._print(text)

    def _print(self, text: str) -> None:
        self.console.print(text, style="dim", markup=False, soft_wrap=True)  # commands in it can be copied

    @property
    def has_bars(self) -> bool:
        """Whether a bar is on the terminal now."""
        return self._bars is not None

    def show_above(self, text: str) -> None:
        """Show `text` above the bars until they go."""
        if self._bars is not None:
            self._bars.above = text

    def add_bar(self, what: str, total: float | None) -> TaskID | None:
        """A bar on the terminal; None when there is none to show it on."""
        if self.quiet or not self._wants_bars or not sys.stderr.isatty():
            return None
        if self._bars is None:
            times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), *times)
            self._bars = _Bars(*columns, console=self.console, transient=True)
            self._bars.start()
        return self._bars.add_task(what, total=total)

    def move_bar(self, bar: TaskID | None, amount: float, what: str) -> None:
        """Set what a bar says."""
        if self._bars is not None and bar is not None:
            self._bars.update(bar, completed=amount, description=what)

    def drop_bar(self, bar: TaskID | None) -> None:
        """Take a bar away, and with the last one the display."""
        if self._bars is None or bar is None:
            return
        self._bars.remove_task(bar)
        if not self._bars.tasks:
            self._bars.stop()
            self._bars = None


def _follow(progress: Progress, stage: Stage, over: threading.Event, seconds: float | None) -> None:
    """Move a stage by its watch or by the clock; where there are no bars, say now and then how far it is."""
    times = itertools.chain((FIRST_LINE, *LATER_LINES), itertools.count(2 * LATER_LINES[-1], LATER_LINES[-1]))
    next_line = next(times)
    while not over.wait(0.2):
        if stage.watch is not None:
            stage.move(stage.watch())
        elif seconds is not None:
            stage.move(min(stage.seconds, 0.98 * seconds))
        if not progress.has_bars and stage.seconds >= next_line:
            progress.note(stage.line())
            next_line = next(times)


def _duration(seconds: float) -> str:
    """`35 s` or `4 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
