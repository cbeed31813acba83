"""Progress of a check over several batches, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

WIDTH: Final = 24


@contextmanager
def progress(total: int) -> Iterator[Callable[[int, int], None] | None]:
    """A function to call with the batches done and to do; None where nobody would see it.

    One line on stderr, which is wiped at the end.
    """
    if total < 2 or not sys.stderr.isatty():
        yield None
        return
    try:
        yield _show
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _show(done: int, total: int) -> None:
    filled = round(WIDTH * done / total)
    bar = "█" * filled + "·" * (WIDTH - filled)
    print(f"\rchecking {bar} batch {done + 1} of {total}", end="", file=sys.stderr, flush=True)
