"""The source lines around a finding, read again when they are to be shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from bnlint.finding import Place
from bnlint.source.guard import LIMITS
from bnlint.source.notebook import cell_lines
from bnlint.source.text import RefusedError, decode, split_lines


def source_lines(texts: Mapping[str, str]) -> Callable[[Place], Sequence[str]]:
    """A function from a place to the lines of its file or cell.

    texts: documents that are not on disk, by path. Files that cannot be shown have no lines.
    """

    @lru_cache(maxsize=8)
    def document(path: str) -> str | None:
        if path in texts:
            return texts[path]
        try:
            file = Path(path)
            if file.stat().st_size > LIMITS.of(path):
                return None
            return decode(file.read_bytes())
        except (OSError, RefusedError):
            return None

    def lines(place: Place) -> Sequence[str]:
        text = document(place.path)
        if text is None:
            return ()
        try:
            return cell_lines(text, place.cell) if place.cell is not None else split_lines(text)
        except (ValueError, RefusedError):
            return ()

    return lines
