"""FileFacts: what one file says without looking at another. Plain data, cheap to pickle."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

from bnlint.finding import Place
from bnlint.source.ir import Span, Statement


class CellStart(NamedTuple):
    """A notebook cell (counted from 0) and the line of the joined text where it starts (from 1)."""

    cell: int
    line: int


@dataclass(frozen=True, slots=True)
class FileFacts:
    """The meaning-bearing part of one file.

    path: absolute, forward slashes. line_starts: offset (code points) of each line's first
    character. logical_lines: first and last line (1-based, of the joined text) of every simple
    statement and compound-statement header that spans more than one line. mentions_batchnorm: only
    such files can build one.
    """

    path: str
    body: tuple[Statement, ...]
    line_starts: tuple[int, ...]
    cells: tuple[CellStart, ...] = ()
    logical_lines: tuple[tuple[int, int], ...] = ()
    mentions_batchnorm: bool = False

    def place(self, span: Span) -> Place:
        """The 1-based place of a span of offsets; in a notebook relative to its cell."""
        line, column = self._position(span[0])
        end_line, end_column = self._position(span[1])
        if not self.cells:
            return Place(self.path, line, column, end_line, end_column)
        start = self.cells[max(0, bisect_right([c.line for c in self.cells], line) - 1)]
        shift = start.line - 1
        return Place(self.path, line - shift, column, end_line - shift, end_column, start.cell)

    def _position(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1
