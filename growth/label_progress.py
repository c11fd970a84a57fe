"""How far labelling is: a bar on a terminal, a line now and then anywhere else."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0


class LabelProgress:
    """Shows counts of labels. Use within `with progress.shown():`."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(soft_wrap=True, highlight=False)
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]} failed"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("labels", total=None, failed=0)
        self._first: tuple[float, int] | None = None
        self._last_line = 0.0

    @contextmanager
    def shown(self) -> Iterator["LabelProgress"]:
        """Keep the bar on the terminal meanwhile."""
        with self._bar:
            yield self

    def say(self, text: str) -> None:
        """Show one line."""
        self._console.print(text, markup=False)

    def update(self, done: int, total: int, failed: int) -> None:
        """Show how many structures are done, of how many, and how many labels failed."""
        now = time.monotonic()
        self._bar.update(self._task, completed=done, total=total, failed=failed)
        self._first = self._first or (now, done)
        if not self._console.is_terminal and (done == total or now - self._last_line >= LINE_EVERY_S):
            self._last_line = now
            self.say(f"{done}/{total} structures, {failed} failed{self._rate(now, done, total)}")

    def _rate(self, now: float, done: int, total: int) -> str:
        """How fast and how long still, from the second answer on."""
        start, before = self._first or (now, done)
        if done <= before or now <= start:
            return ""
        rate = (done - before) / (now - start)
        return f", {rate:.3g} a second, about {(total - done) / rate / 60:.0f} min left"
