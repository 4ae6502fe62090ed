"""Progress: what is under way and how much is left, on stderr; bars on a terminal only, nothing when quiet."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
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


class Stage:
    """One piece of work; `done` moves its bar."""

    def __init__(self, progress: Progress, what: str, total: float | None):
        self.what, self.total = what, total
        self._progress = progress
        self._bar: TaskID | None = progress.add_bar(what, total)
        self._started = self._step_started = time.perf_counter()
        self._step = ""

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return time.perf_counter() - self._started

    def done(self, amount: float, step: str = "") -> None:
        """So much of the total is done, and `step` begins."""
        if step != self._step:
            self._end_step()
            self._step = step
        self._progress.move_bar(self._bar, amount, f"{self.what}: {step}" if step else self.what)

    def end(self) -> None:
        """Take the bar away; with `verbose`, say how long it took."""
        self._end_step()
        self._progress.drop_bar(self._bar)
        self._progress.say(f"{self.what}: {self.seconds:.2f} s")

    def _end_step(self) -> None:
        if self._step:
            self._progress.say(f"  {self._step}: {time.perf_counter() - self._step_started:.2f} s")
        self._step_started = time.perf_counter()


class Progress:
    """Where stages are shown. `quiet`: nowhere; `verbose`: their times are printed as well, even when stderr is no terminal."""

    def __init__(self, quiet: bool = False, verbose: bool = False):
        self.quiet, self.verbose = quiet, verbose and not quiet
        self.console = Console(stderr=True, highlight=False)
        self._bars: _Bars | None = None

    @contextmanager
    def stage(self, what: str, total: float | None = None, seconds: float | None = None) -> Iterator[Stage]:
        """Show `what` while the body runs. Its end is known from `total` and `Stage.done`, or from the `seconds` it usually takes."""
        stage = Stage(self, what, total if seconds is None else seconds)
        over = threading.Event()
        if seconds is not None and self._bars is not None:
            threading.Thread(target=_follow_clock, args=(stage, over, seconds), daemon=True).start()
        try:
            yield stage
        finally:
            over.set()
            stage.end()

    def note(self, text: str) -> None:
        """A remark to the person who waits; dropped when quiet."""
        if not self.quiet:
            self.console.print(text, style="dim")

    def say(self, text: str) -> None:
        """A remark for those who asked for more."""
        if self.verbose:
            self.console.print(text, style="dim")

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
        if self.quiet or not sys.stderr.isatty():
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


def _follow_clock(stage: Stage, over: threading.Event, seconds: float) -> None:
    while not over.wait(0.2):
        stage.done(min(stage.seconds, 0.98 * seconds))
