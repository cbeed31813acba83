"""Offsets of libcst nodes in the text they were parsed from.

libcst's PositionProvider renders the file and counts lines and columns; here only lengths are
counted, which is about eight times as fast. The code-generator state is private API of libcst
(hence `libcst<2`); the tests compare every span with PositionProvider.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import libcst as cst
from libcst._nodes.internal import CodegenState

from bnlint.source.ir import Span


class _Recording:
    """The context manager around one node's text; a class, since generators cost twice as much."""

    __slots__ = ("end_node", "node", "start", "start_node", "state")

    def __init__(
        self,
        state: OffsetState,
        node: cst.CSTNode,
        start_node: cst.CSTNode | None,
        end_node: cst.CSTNode | None,
    ) -> None:
        self.state = state
        self.node = node
        self.start_node = start_node
        self.end_node = end_node

    def __enter__(self) -> None:
        self.start = self.state.offset

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        spans = self.state.spans
        start, end = self.start, self.state.offset
        if self.start_node is not None:
            start = spans.get(id(self.start_node), (start, end))[0]
        if self.end_node is not None:
            end = spans.get(id(self.end_node), (start, end))[1]
        spans[id(self.node)] = (start, end)


class OffsetState(CodegenState):
    """A code-generator state that generates nothing and counts."""

    __slots__ = ("offset", "spans")

    def __init__(self, module: cst.Module) -> None:
        super().__init__(module.default_indent, module.default_newline)
        self.offset = 0
        self.spans: dict[int, Span] = {}

    def add_token(self, value: str) -> None:
        """Count a token."""
        self.offset += len(value)

    def add_indent_tokens(self) -> None:
        """Count the indentation of a line."""
        for token in self.indent_tokens:
            self.offset += len(token)

    # Told of each node, for nothing: a builtin costs half of what a function does.
    before_codegen = staticmethod(id)  # type: ignore[assignment]
    after_codegen = staticmethod(id)  # type: ignore[assignment]

    def pop_trailing_newline(self) -> None:
        """Nothing to take back: offsets before the end of the file are not affected."""

    def record_syntactic_position(
        self,
        node: cst.CSTNode,
        *,
        start_node: cst.CSTNode | None = None,
        end_node: cst.CSTNode | None = None,
    ) -> Any:
        """Record the span of a node; libcst calls this around the node's own text."""
        if type(node) is cst.IndentedBlock:
            behind_colon = self.offset - self._length(node.header)
            self.spans[id(node.header)] = (behind_colon, behind_colon)
        return _Recording(self, node, start_node, end_node)

    def _length(self, header: cst.TrailingWhitespace) -> int:
        """The length of what follows the colon of a block in its line."""
        newline = header.newline.value
        comment = header.comment.value if header.comment is not None else ""
        end = self.default_newline if newline is None else newline
        return len(header.whitespace.value) + len(comment) + len(end)


def spans_of(module: cst.Module) -> dict[int, Span]:
    """The span of every node that has a syntactic position, by the node's `id`.

    The header of an indented block (what follows the colon) gets an empty span.
    """
    state = OffsetState(module)
    module._codegen(state)
    return state.spans
