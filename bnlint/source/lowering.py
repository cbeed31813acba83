"""Python newer than the one that runs: what only libcst reads is written otherwise, in as many
characters, so that every place and offset stays as it is, and the rest is read as ever.

That is strings with expressions in them (of `f"{a["b"]}"` the tuple `(   a["b"],)` remains),
type parameters, `type` statements, and numbers that are too long for Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import libcst as cst

from bnlint.source.cst_offsets import spans_of
from bnlint.source.extract_expressions import LONGEST_NUMBER
from bnlint.source.ir import Span
from bnlint.source.notebook import is_python
from bnlint.source.recursion import room_to_recurse

FRAMES = 20_000
"""Frames for one file: the guard bounds its depth, and each level costs a handful of frames."""

_Text: TypeAlias = cst.FormattedString | cst.TemplatedString | cst.ConcatenatedString


class Lowered(NamedTuple):
    """A text without newer syntax; opaque: offsets of tuples that stand for strings."""

    text: str
    opaque: frozenset[int]


def lower(text: str) -> Lowered | None:
    """The text without newer syntax; None where libcst cannot parse it, or finds none."""
    try:
        with room_to_recurse(FRAMES):
            module = cst.parse_module(text)
            lowering = _Lowering(text, spans_of(module))
            lowering.visit(module)
    except cst.ParserSyntaxError:
        return None
    lowered = "".join(lowering.characters)
    return Lowered(lowered, frozenset(lowering.opaque)) if lowered != text else None


class _Lowering:
    """A walk that rewrites a text while the tree of what it was is at hand."""

    def __init__(self, text: str, spans: dict[int, Span]) -> None:
        self.text = text
        self.characters = list(text)
        self.opaque: set[int] = set()
        self._spans = spans

    def visit(self, node: cst.CSTNode) -> None:
        """Rewrite what is at and below a node."""
        match node:
            case cst.FormattedString() | cst.TemplatedString() | cst.ConcatenatedString():
                parts = list(_expressions(node))
                self._lower_text(node, parts)
                for part in parts:
                    self.visit(part)
                return
            case cst.Integer(value=value) if len(value) > LONGEST_NUMBER:
                self._blank(self._spans[id(node)], "()")
                self.opaque.add(self._spans[id(node)][0])
            case cst.TypeAlias():
                self._blank(self._spans[id(node)], "()")
                return
            case cst.FunctionDef(type_parameters=cst.TypeParameters() as parameters):
                self._blank_parameters(self._spans[id(node.name)], parameters)
            case cst.ClassDef(type_parameters=cst.TypeParameters() as parameters):
                self._blank_parameters(self._spans[id(node.name)], parameters)
            case cst.TypeParameters():
                return
        for child in node.children:
            self.visit(child)

    def _lower_text(self, node: _Text, parts: list[cst.BaseExpression]) -> None:
        start, end = self._spans[id(node)]
        if is_python(f"({self.text[start:end]})"):
            return
        kept = [self._with_parentheses(part) for part in parts]
        text = [self.characters[first:last] for first, last in kept]
        self._blank((start, end), "()")
        for (first, last), characters in zip(kept, text):
            self.characters[first : last + 1] = [*characters, ","]
        self.opaque.add(start)

    def _blank_parameters(self, name: Span, parameters: cst.TypeParameters) -> None:
        """Blank the brackets behind a name, of which libcst does not say where they stand."""
        ends = [name[1]]
        pending: list[cst.CSTNode] = [parameters]
        while pending:
            node = pending.pop()
            ends.append(self._spans.get(id(node), name)[1])
            pending += node.children
        start = self.text.index("[", name[1])
        self._blank((start, self.text.index("]", max(ends)) + 1), " ")

    def _with_parentheses(self, node: cst.BaseExpression) -> Span:
        start, end = self._spans[id(node)]
        for _ in node.lpar:
            start = self.text.rindex("(", 0, start)
        for _ in node.rpar:
            end = self.text.index(")", end) + 1
        return start, end

    def _blank(self, span: Span, ends: str) -> None:
        """Blank a span but for its line ends; its own ends become the first and last of these."""
        start, end = span
        blanks = [c if c in "\r\n" else " " for c in self.text[start:end]]
        self.characters[start:end] = [ends[0], *blanks[1:-1], ends[-1]]


def _expressions(node: cst.CSTNode) -> Iterator[cst.BaseExpression]:
    """The expressions in a string, those of its formats too."""
    match node:
        case cst.ConcatenatedString():
            yield from _expressions(node.left)
            yield from _expressions(node.right)
        case cst.FormattedString() | cst.TemplatedString():
            for part in node.parts:
                yield from _expressions(part)
        case cst.FormattedStringExpression() | cst.TemplatedStringExpression():
            yield node.expression
            for part in node.format_spec or ():
                yield from _expressions(part)
