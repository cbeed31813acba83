"""A file as text that can be edited and becomes bytes again: encoding, newlines and a notebook's
layout stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeAlias

from bnlint.finding import Edit
from bnlint.records import Struct
from bnlint.source.notebook import broken_cells, cell_sources, is_python, read_notebook
from bnlint.source.notebook_layout import NotebookLayout
from bnlint.source.text import RefusedError, decode_with_encoding, line_starts

Change: TypeAlias = tuple[int, int, str]
"""The code points from the first up to the second offset become the text."""

CellEdits: TypeAlias = tuple[int | None, Sequence[Edit]]
"""Edits that belong together, all in one cell of a notebook (None: not a notebook)."""


class EditError(Exception):
    """Edits that cannot be made; the message says why, to follow the name of the file."""


class Document(Struct, frozen=True):
    """The text of a file, and the encoding with which it becomes the file's bytes."""

    path: str
    text: str
    encoding: str = "utf-8"

    @classmethod
    def of(cls, path: str, data: bytes) -> Document:
        """The document in these bytes; raises EditError when they would not come back as they
        are."""
        try:
            text, encoding = decode_with_encoding(data)
        except RefusedError as error:
            raise EditError(error.message) from None
        document = cls(path, text, encoding)
        if document.encoded(text) != data:
            raise EditError(f"cannot be written as {encoding} without changing more than the fix")
        return document

    @property
    def is_notebook(self) -> bool:
        """Whether positions count in cells."""
        return self.path.endswith(".ipynb")

    def encoded(self, text: str) -> bytes:
        """A text in the file's own encoding; raises EditError when it cannot say it."""
        try:
            return text.encode(self.encoding)
        except UnicodeEncodeError:
            raise EditError(f"cannot be written as {self.encoding}") from None


def edited(document: Document, wanted: Iterable[CellEdits]) -> tuple[str, list[int]]:
    """The text with as many of these edits as fit together, and the indices of those taken.

    The first ones win; edits that touch those already taken are left for another round. The text
    still parses, also where each edit was tried only by itself.
    """
    layout = NotebookLayout(document.text) if document.is_notebook else None
    chosen: list[tuple[int, list[Change]]] = []
    for index, (cell, edits) in enumerate(wanted):
        try:
            changes = _changes(document.text, layout, cell, edits)
        except LookupError:
            continue
        if not _conflict([*changes, *(change for _, taken in chosen for change in taken)]):
            chosen.append((index, changes))
    while chosen:
        text = applied(document.text, [change for _, changes in chosen for change in changes])
        if _is_sound(text, document):
            return text, [index for index, _ in chosen]
        chosen.pop()
    return document.text, []


def _changes(
    text: str, layout: NotebookLayout | None, cell: int | None, edits: Sequence[Edit]
) -> list[Change]:
    if layout is not None:
        if cell is None:
            raise LookupError("no cell")
        return layout.edited(cell, edits)
    starts = [*line_starts(text), len(text)]
    return [
        (
            starts[edit.line - 1] + edit.column - 1,
            starts[edit.end_line - 1] + edit.end_column - 1,
            edit.text,
        )
        for edit in edits
    ]


def _conflict(changes: list[Change]) -> bool:
    """Whether two changes overlap or begin at the same place, so that their order would matter."""
    ordered = sorted(changes)
    return any(after[0] < before[1] or after[0] == before[0] for before, after in pairwise(ordered))


def applied(text: str, changes: Iterable[Change]) -> str:
    """The text with these changes, which do not overlap."""
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _is_sound(text: str, document: Document) -> bool:
    """Whether an edited text is Python (a notebook of such cells) wherever it was before."""
    if not document.is_notebook:
        return is_python(text) or not is_python(document.text)
    try:
        before, after = cell_sources(document.text), cell_sources(text)
        code, was = read_notebook(text), read_notebook(document.text)
    except (ValueError, RefusedError):
        return False
    return before.keys() == after.keys() and (
        is_python(code.text)
        or (not is_python(was.text) and broken_cells(code) <= broken_cells(was))
    )
