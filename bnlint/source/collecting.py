"""The garbage collector at a slower pace, while many small objects are made that all stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNGEST = 200_000
"""New containers after which it looks at them; Python's own 700 cost a tenth of a run."""


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Collect garbage less often; where that is done rarely enough already, or not at all, it
    stays so."""
    before = gc.get_threshold()
    if 0 < before[0] < YOUNGEST:
        gc.set_threshold(YOUNGEST, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
