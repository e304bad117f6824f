"""How does a long command show that it lives? A bar on a terminal, plain lines elsewhere.

It writes to standard error only: standard output belongs to the command's result.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

# More often is flicker on a terminal, and noise in a log.
_REFRESH_S = 0.1
_LINE_S = 2.0


class Meter:
    """Counts steps towards `total`; use it as a context manager and call `advance`."""

    def __init__(
        self, title: str, total: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title = title
        self._total = max(total, 1)
        self._clock = clock
        self._done = 0
        self._shown = -1
        self._note = ""
        self._started_s = self._shown_s = clock()
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal:
            # No refresh thread: the steps themselves redraw the bar.
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                console=console,
                auto_refresh=False,
            )
            self._task = self._bar.add_task(title, total=self._total, note="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._show()
            self._bar.stop()
        elif kind is None and self._shown != self._done:
            self._show()

    def advance(self, steps: int, note: str = "") -> None:
        """Counts `steps` more; `note` says in a few words what has happened so far."""
        self._done += steps
        self._note = note or self._note
        if self._clock() - self._shown_s >= (_REFRESH_S if self._bar else _LINE_S):
            self._show()

    def _show(self) -> None:
        self._shown_s = self._clock()
        self._shown = self._done
        if self._bar:
            self._bar.update(self._task, completed=self._done, note=self._note)
            self._bar.refresh()
            return
        percent = 100 * self._done // self._total
        passed_s = self._shown_s - self._started_s
        note = f", {self._note}" if self._note else ""
        sys.stderr.write(f"{self._title}: {percent} %{note}, {passed_s:.0f} s\n")
        sys.stderr.flush()
