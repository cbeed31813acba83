"""The source around a finding, read again when it is to be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bnlint.finding import Place
from bnlint.source.limits import LIMITS
from bnlint.source.text import RefusedError, decode, split_lines

if TYPE_CHECKING:
    from bnlint.source.notebook_layout import NotebookLayout


class Sources:
    """The documents behind places. Files that cannot be shown have no lines.

    texts: documents that are not on disk, by path.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._read = lru_cache(maxsize=8)(self._document)
        self._layout = lru_cache(maxsize=8)(_layout)
        self._lines = lru_cache(maxsize=64)(self._split)

    def text(self, path: str) -> str | None:
        """The whole document; None when it cannot be shown."""
        return self._read(path)

    def lines(self, place: Place) -> Sequence[str]:
        """The lines of the file (of the cell, in a notebook) that a place is in."""
        return self._lines(place.path, place.cell)

    def in_file(self, place: Place) -> Place:
        """The place as a position in its file: of a notebook, in the lines of its JSON."""
        text = self._read(place.path) if place.cell is not None else None
        if text is None:
            return place
        try:
            return self._layout(text).in_file(place)
        except (ValueError, RefusedError):
            return place

    def _split(self, path: str, cell: int | None) -> Sequence[str]:
        text = self._read(path)
        if text is None:
            return ()
        if cell is None:
            return split_lines(text)
        from bnlint.source.notebook import cell_lines

        try:
            return cell_lines(text, cell)
        except (ValueError, RefusedError):
            return ()

    def _document(self, path: str) -> str | None:
        if path in self._texts:
            return self._texts[path]
        try:
            file = Path(path)
            if file.stat().st_size > LIMITS.of(path):
                return None
            return decode(file.read_bytes())
        except (OSError, RefusedError):
            return None


def _layout(text: str) -> NotebookLayout:
    from bnlint.source.notebook_layout import NotebookLayout

    return NotebookLayout(text)
