"""Where the nodes of Python's own parser stand in a text, as offsets in code points.

`ast` counts bytes in lines, and includes in a tuple or a generator the parentheses around it. A
span of ours leaves out all that enclose an expression.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from bnlint.source.ir import Span

Positioned: TypeAlias = (
    ast.expr | ast.stmt | ast.excepthandler | ast.keyword | ast.arg | ast.pattern
)

_BLANK: Final = re.compile(r"(?:[ \t\f\r\n]|\\\r?\n|\\\r|#[^\r\n]*)*")
_NO_TOKEN: Final = frozenset(" \t\f\r\n\\#")


class Layout:
    """A text and the places of its nodes. starts: the offset of each line's first character."""

    def __init__(self, text: str, starts: Sequence[int]) -> None:
        self.text = text
        self._starts = starts
        self._known: dict[Span, Span] = {}
        self._numbers: dict[int, int] = {}
        self._wide = None if text.isascii() else _wide_lines(text, starts)

    def span(self, node: Any) -> Span:
        """The span that `ast` gives a node; equal ones are one object, which halves the memory
        that the facts of a file take."""
        starts = self._starts
        if self._wide is None:
            span = (
                starts[node.lineno - 1] + node.col_offset,
                starts[node.end_lineno - 1] + node.end_col_offset,
            )
        else:
            span = (
                self._offset(node.lineno, node.col_offset),
                self._offset(node.end_lineno, node.end_col_offset),
            )
        known = self._known.get(span)
        if known is not None:
            return known
        number = self._numbers.setdefault
        start, end = span
        span = (number(start, start), number(end, end))
        self._known[span] = span
        return span

    def _offset(self, line: int, column: int) -> int:
        assert self._wide is not None
        wide = self._wide.get(line)
        if wide is not None:
            column = len(wide[:column].decode("utf-8", "replace"))
        return self._starts[line - 1] + column

    def skip(self, offset: int) -> int:
        """The offset of the next token: behind blanks, comments and ends of lines."""
        text = self.text
        if offset < len(text) and text[offset] not in _NO_TOKEN:
            return offset
        blank = _BLANK.match(text, offset)
        return blank.end() if blank is not None else offset

    def marks(self, start: int, stop: int, mark: str) -> list[int]:
        """The offsets of a mark between two nodes, comments left out."""
        found = []
        while (start := self.skip(start)) < stop:
            if self.text[start] == mark:
                found.append(start)
            start += 1
        return found

    def closed(self, end: int) -> int:
        """The end of a node with all parentheses that close behind it."""
        token = self.skip(end)
        while self.text.startswith(")", token):
            end = token + 1
            token = self.skip(end)
        return end

    def enclosed(self, span: Span, behind: int, closed: int) -> Span:
        """A span with the parentheses around it that open behind `behind` and close before
        `closed`."""
        closing = []
        token = self.skip(span[1])
        while token < closed and self.text[token] == ")":
            closing.append(token)
            token = self.skip(token + 1)
        if not closing:
            return span
        return self.marks(behind, span[0], "(")[-len(closing)], closing[-1] + 1

    def line(self, offset: int) -> int:
        """The line (from 1) that an offset is in."""
        return bisect_right(self._starts, offset)

    def begins_line(self, offset: int) -> bool:
        """Whether nothing but blanks stands before an offset in its line."""
        start = self._starts[self.line(offset) - 1]
        return not self.text[start:offset].strip()

    def behind_comma(self, end: int) -> int:
        """The end of a node with the comma behind it, if there is one."""
        token = self.skip(end)
        return token + 1 if self.text.startswith(",", token) else end

    def inside(self, outer: Span, last: int) -> Span:
        """What is within a pair of parentheses, whose last node ends at `last`."""
        start = self.skip(outer[0] + 1)
        end = token = max(last, start)
        while (token := self.skip(token)) < outer[1] - 1:
            token += 1
            end = token
        return start, end

    def is_parenthesized(self, node: ast.Tuple) -> bool:
        """Whether what stands at the ends of a tuple is its own: not so in `(a), (b)`. Inside of
        `f"{a, b}"` Python before 3.12 takes the braces for parentheses."""
        start, end = self.span(node)
        if self.text[start] not in "({":
            return False
        if not node.elts:
            return True
        first_start, first_end = self.span(node.elts[0])
        if self.text[start] == "{":
            return first_start > start
        opened = len(self.marks(start, first_start, "("))
        token, closed = self.skip(first_end), 0
        while token < end and self.text[token] == ")":
            closed += 1
            token = self.skip(token + 1)
        return opened > closed


def _wide_lines(text: str, starts: Sequence[int]) -> dict[int, bytes]:
    """The lines that are not ASCII, encoded, by their number."""
    ends = (*starts[1:], len(text))
    lines = ((number, text[start:end]) for number, (start, end) in enumerate(zip(starts, ends), 1))
    return {number: line.encode() for number, line in lines if not line.isascii()}
