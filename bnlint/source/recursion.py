"""Room to recurse in: as deep as the guard lets a file nest, wherever the caller's stack ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

FRAMES: Final = 6_000
"""Frames of our own: each level of the guard's 200 costs some seven, a followed call as many. In
the worst case each of them lies on the C stack as well, which holds 8 MB."""


@contextmanager
def room_to_recurse(frames: int = FRAMES) -> Iterator[None]:
    """Allow so many frames below the present one, for a while."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _depth() + frames))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _depth() -> int:
    """How many frames the present stack has."""
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth
