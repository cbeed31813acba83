"""Where the code of a notebook stands in the JSON, so that edits leave all the rest as it is."""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Final

from bnlint.finding import Edit, Place
from bnlint.source.notebook import cell_sources
from bnlint.source.text import line_starts

_TOKEN: Final = re.compile(
    r'(?P<string>"[^"\\]*(?:\\.[^"\\]*)*")|(?P<mark>[\[\]{},:])|[^\s\[\]{},:"]+', re.DOTALL
)
_CHARACTER: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL
)
"""What stands for one code point inside a JSON string."""

_OLD_PREFIX: Final = ("worksheets", 0)
"""Format 3 keeps its cells in worksheets."""


@dataclass(frozen=True)
class _Literal:
    """One JSON string: the offset of its first character after the quote, and the raw text."""

    start: int
    raw: str

    @property
    def end(self) -> int:
        """The offset of the closing quote."""
        return self.start + len(self.raw)

    @cached_property
    def offsets(self) -> list[int]:
        """The offset of each code point, and of the closing quote."""
        return [self.start + match.start() for match in _CHARACTER.finditer(self.raw)] + [self.end]


class NotebookLayout:
    """The strings of a notebook's code cells, in a document that `read_notebook` has read."""

    def __init__(self, document: str) -> None:
        self._document = document
        literals: dict[int, list[_Literal]] = {}
        for cell, literal in _source_strings(document):
            literals.setdefault(cell, []).append(literal)
        cells = {index: _Cell(found) for index, found in literals.items()}
        sources = cell_sources(document)
        self._cells = {i: cell for i, cell in cells.items() if cell.source == sources.get(i)}

    def in_file(self, place: Place) -> Place:
        """The same place in lines and columns of the JSON; as it is when it is not found there."""
        if place.cell is None:
            return place
        end = (place.end_line or place.line, place.end_column or place.column)
        try:
            cell = self._cells[place.cell]
            start, stop = cell.offset(place.line, place.column), cell.offset(*end)
        except LookupError:
            return place
        line, column = self._position(cell.raw(start))
        end_line, end_column = self._position(cell.raw(stop, is_end=stop > start))
        return replace(
            place, line=line, column=column, end_line=end_line, end_column=end_column, cell=None
        )

    def edited(self, cell: int, edits: Sequence[Edit]) -> list[tuple[int, int, str]]:
        """Edits of a cell as changes of the JSON: start, end, and what becomes of the text there.

        Raises LookupError when the cell is not laid out as expected.
        """
        return [self._change(self._cells[cell], edit) for edit in edits]

    def _position(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    @cached_property
    def _line_starts(self) -> list[int]:
        return line_starts(self._document)

    def _change(self, cell: _Cell, edit: Edit) -> tuple[int, int, str]:
        start = cell.offset(edit.line, edit.column)
        end = cell.offset(edit.end_line, edit.end_column)
        if not edit.text and (whole := cell.whole_elements(start, end)) is not None:
            return (*whole, "")
        is_ascii = self._document.isascii()
        written = json.dumps(edit.text, ensure_ascii=is_ascii)[1:-1]
        separator = self._separator(cell)
        if separator:
            written = written.replace("\\n", f'\\n"{separator}"')
        return cell.raw(start), cell.raw(end, is_end=end > start), written

    def _separator(self, cell: _Cell) -> str:
        """What stands between two lines of a cell; empty when cells are not lists of lines."""
        for literals in (other.literals for other in (cell, *self._cells.values())):
            if len(literals) > 1:
                return self._document[literals[0].end + 1 : literals[1].start - 1]
        return ""


class _Cell:
    """The strings of one code cell: together they are its source."""

    def __init__(self, literals: list[_Literal]) -> None:
        self.literals = literals
        texts = [str(json.loads(f'"{literal.raw}"', strict=False)) for literal in literals]
        self.source = "".join(texts)
        self._starts = [0, *accumulate(map(len, texts))]
        self._line_starts = line_starts(self.source)

    def offset(self, line: int, column: int) -> int:
        """The offset in the source of a 1-based position; raises LookupError beyond its end."""
        if line == len(self._line_starts) + 1 and column == 1:
            return len(self.source)
        offset = self._line_starts[line - 1] + column - 1
        if offset > len(self.source):
            raise LookupError(f"no column {column} in line {line}")
        return offset

    def raw(self, offset: int, *, is_end: bool = False) -> int:
        """The offset in the JSON. Where two strings meet an end belongs to the first of them, all
        else to the second."""
        find = bisect_left if is_end else bisect_right
        index = min(max(find(self._starts, offset) - 1, 0), len(self.literals) - 1)
        return self.literals[index].offsets[offset - self._starts[index]]

    def whole_elements(self, start: int, end: int) -> tuple[int, int] | None:
        """The span in the JSON of the strings that a removal takes away, with a comma; None when
        it takes only a part of one, or all that there are."""
        if start >= end or start not in self._starts or end not in self._starts:
            return None
        first, last = bisect_right(self._starts, start) - 1, bisect_left(self._starts, end)
        if last < len(self.literals):
            return self.literals[first].start - 1, self.literals[last].start - 1
        if first:
            return self.literals[first - 1].end + 1, self.literals[last - 1].end + 1
        return None


def _source_strings(document: str) -> Iterator[tuple[int, _Literal]]:
    """The strings of every cell's source, in order, with the index of the cell."""
    path: list[str | int] = []
    is_key = False
    for match in _TOKEN.finditer(document):
        text = match[0]
        if match["string"] is not None:
            if is_key:
                path[-1] = str(json.loads(text, strict=False))
            elif (cell := _cell_of(path)) is not None:
                yield cell, _Literal(match.start() + 1, text[1:-1])
            is_key = False
            continue
        match match["mark"]:
            case "{":
                path.append("")
                is_key = True
            case "[":
                path.append(0)
            case "}" | "]":
                path.pop()
                is_key = False
            case ",":
                top = path[-1]
                path[-1] = top + 1 if isinstance(top, int) else ""
                is_key = not isinstance(top, int)


def _cell_of(path: Sequence[str | int]) -> int | None:
    """The index of the cell whose source a value at this path of keys is, or is part of."""
    if tuple(path[:2]) == _OLD_PREFIX:
        path = path[2:]
    match path:
        case ["cells", int(index), "source" | "input"] | [
            "cells",
            int(index),
            "source" | "input",
            int(),
        ]:
            return index
        case _:
            return None
