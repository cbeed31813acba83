"""Progress on stderr, for long work on a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

PATIENCE: Final = 1.0
"""Seconds before anything is shown."""


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None] | None]:
    """A function to call with files read and files to read; None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    with ExitStack() as stack:
        yield _Bar(stack).update


class _Bar:
    """A bar of rich's, imported and shown once the work has taken some time."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._start = time.monotonic()
        self._show: Callable[[int, int], None] | None = None

    def update(self, done: int, total: int) -> None:
        """Show how far the work is."""
        if self._show is None and time.monotonic() - self._start > PATIENCE:
            self._show = self._open(total)
        if self._show is not None:
            self._show(done, total)

    def _open(self, total: int) -> Callable[[int, int], None]:
        from rich.console import Console
        from rich.progress import Progress

        bar = self._stack.enter_context(Progress(console=Console(stderr=True), transient=True))
        task = bar.add_task("Reading files", total=total)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return show
