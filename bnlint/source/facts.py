"""FileFacts: what one file says without looking at another. Plain data, cheap to pickle."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from bnlint.finding import Place
from bnlint.records import Struct, replace
from bnlint.source.ir import Span, Statement

if TYPE_CHECKING:
    Offsets: TypeAlias = Sequence[int]
else:
    Offsets = tuple[int, ...]  # as which msgspec reads them


class CellStart(NamedTuple):
    """A notebook cell (counted from 0) and the line of the joined text where it starts (from 1)."""

    cell: int
    line: int


class FileFacts(Struct, frozen=True):
    """The meaning-bearing part of one file.

    path: absolute, forward slashes. line_starts: offset (code points) of each line's first
    character. logical_lines: first and last line (1-based, of the joined text) of every simple
    statement and compound-statement header that spans more than one line. mentions_batchnorm: only
    such files can build one.
    """

    path: str
    body: tuple[Statement, ...]
    line_starts: Offsets
    cells: tuple[CellStart, ...] = ()
    logical_lines: tuple[tuple[int, int], ...] = ()
    mentions_batchnorm: bool = False

    def packed(self) -> FileFacts:
        """The same with its numbers side by side, which takes a tenth of the memory."""
        is_small = bool(self.line_starts) and self.line_starts[-1] < 2**32
        return replace(self, line_starts=array("I", self.line_starts)) if is_small else self

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
