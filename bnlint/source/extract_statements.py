"""Statements of Python's own parser -> intermediate representation."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from bnlint.source.extract_expressions import BINARY, ExpressionExtractor
from bnlint.source.ir import (
    Assert,
    Assign,
    AugmentedAssign,
    Body,
    Break,
    Case,
    Class,
    Constant,
    Continue,
    Declare,
    Delete,
    Display,
    Evaluate,
    Expression,
    For,
    Function,
    Global,
    Handler,
    If,
    Import,
    ImportFrom,
    Match,
    Raise,
    Return,
    Span,
    Statement,
    Try,
    While,
    With,
)
from bnlint.source.layout import Layout

_SPACE: Final = r"(?:[ \t\f]|\\\r?\n|\\\r)+"
_NAMED: Final = re.compile(rf"(?:async{_SPACE})?(?:def|class){_SPACE}(\w+)")


class StatementExtractor(ExpressionExtractor):
    """A walk over statements, dispatched on the node's class."""

    def __init__(self, layout: Layout, opaque: frozenset[int] = frozenset()) -> None:
        super().__init__(layout, opaque)
        self.logical_lines: dict[int, int] = {}
        """The last line, by the first, of lines of simple statements and of headers of compound
        statements, where they are several."""

    def body(self, nodes: Sequence[ast.stmt]) -> Body:
        """The statements of a block; what does nothing is left out."""
        found = []
        first: ast.stmt | None = None
        last = 0
        for node in nodes:
            handler = self._statements.get(type(node))
            if handler is not None:
                found.append(handler(self, node))
            if not isinstance(node, _COMPOUND):
                if first is None or node.lineno != last:  # `a; b` is one line
                    first = node
                last = node.end_lineno or node.lineno
                if first.lineno < last:
                    self._note_line(first, last)
        return tuple(found)

    def _note_line(self, first: ast.stmt, last: int) -> None:
        """Note a line of simple statements, unless they follow the colon of a header."""
        if self.layout.begins_line(self.span(first)[0]):
            self.logical_lines[first.lineno] = last

    def _header(self, start: int, end: int) -> None:
        """Note the lines from a compound statement's first word to the colon behind `end`."""
        layout = self.layout
        text = layout.text
        while text[end] != ":":
            end = layout.skip(end + 1)
        first, last = layout.line(start), layout.line(end)
        if first < last:
            self.logical_lines[first] = last

    def _suite(
        self, node: ast.stmt | ast.ExceptHandler, end: int, body: Sequence[ast.stmt]
    ) -> Body:
        """The body of a compound statement, whose header's last part ends at `end`."""
        self._header(self.span(node)[0], end)
        return self.body(body)

    def _end(self, node: ast.AST) -> int:
        return self.span(node)[1]

    def _assign(self, node: ast.Assign) -> Statement:
        return Assign(self.expressions(node.targets), self.expression(node.value), self.span(node))

    def _annotated_assign(self, node: ast.AnnAssign) -> Statement:
        target = self.expression(node.target)
        if node.value is None:
            return Declare(target, self.span(node))
        return Assign((target,), self.expression(node.value), self.span(node))

    def _augmented_assign(self, node: ast.AugAssign) -> Statement:
        target, value = self.expression(node.target), self.expression(node.value)
        return AugmentedAssign(target, BINARY[type(node.op)], value, self.span(node))

    def _if(self, node: ast.If) -> Statement:
        test = self.expression(node.test)
        body = self._suite(node, self._end(node.test), node.body)
        return If(test, body, self.body(node.orelse), self.span(node))

    def _for(self, node: ast.For | ast.AsyncFor) -> Statement:
        target, iterable = self.expression(node.target), self.expression(node.iter)
        body = self._suite(node, self._end(node.iter), node.body)
        return For(target, iterable, body, self.body(node.orelse), self.span(node))

    def _while(self, node: ast.While) -> Statement:
        test = self.expression(node.test)
        body = self._suite(node, self._end(node.test), node.body)
        return While(test, body, self.body(node.orelse), self.span(node))

    def _with(self, node: ast.With | ast.AsyncWith) -> Statement:
        items = tuple(
            (self.expression(item.context_expr), self.optional(item.optional_vars))
            for item in node.items
        )
        last = node.items[-1].optional_vars or node.items[-1].context_expr
        return With(items, self._suite(node, self._end(last), node.body), self.span(node))

    def _try(self, node: ast.Try | ast.TryStar) -> Statement:
        body, orelse, final = map(self.body, (node.body, node.orelse, node.finalbody))
        handlers = tuple(self._handler(handler) for handler in node.handlers)
        return Try(body, handlers, orelse, final, self.span(node))

    def _handler(self, node: ast.ExceptHandler) -> Handler:
        kind = self.optional(node.type)
        end = self.span(node)[0] if node.type is None else self._end(node.type)
        return Handler(kind, node.name, self._suite(node, end, node.body))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Statement:
        header = self._name_of(node)
        pieces = (_last_of(node.args), node.returns, *getattr(node, "type_params", ())[-1:])
        end = max(header[1], *(self._end(piece) for piece in pieces if piece is not None), 0)
        return Function(
            node.name,
            self.parameters(node.args),
            self._suite(node, end, node.body),
            self.expressions(node.decorator_list),
            self.span(node),
            header,
        )

    def _class(self, node: ast.ClassDef) -> Statement:
        header = self._name_of(node)
        pieces = (*node.bases, *node.keywords, *getattr(node, "type_params", ())[-1:])
        end = max(header[1], *(self._end(piece) for piece in pieces), 0)
        closed = self.layout.closed(self.layout.behind_comma(end)) - 1
        return Class(
            node.name,
            self.arguments(node.bases, node.keywords, header[1], closed),
            self._suite(node, end, node.body),
            self.expressions(node.decorator_list),
            self.span(node),
            header,
        )

    def _name_of(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Span:
        """The span of the name of what is defined."""
        start = self.span(node)[0]
        match = _NAMED.match(self.layout.text, start)
        return match.span(1) if match is not None else (start, start)

    def _import_from(self, node: ast.ImportFrom) -> Statement:
        is_star = node.names[0].name == "*"
        names = None if is_star else _aliases(node.names)
        return ImportFrom(node.module or "", node.level, names, self.span(node))

    def _delete(self, node: ast.Delete) -> Statement:
        targets = self.expressions(node.targets)
        if len(targets) > 1:
            start = self.layout.skip(self.span(node)[0] + len("del"))
            targets = (Display("tuple", targets, (start, self.span(node)[1])),)
        return Delete(targets, self.span(node))

    def _match(self, node: ast.Match) -> Statement:
        cases = tuple(self._case(case) for case in node.cases)
        return Match(self.expression(node.subject), cases, self.span(node))

    def _case(self, node: ast.match_case) -> Case:
        names: list[str] = []
        values = self._pattern(node.pattern, names)
        start = self.layout.text.rindex("case", 0, self.span(node.pattern)[0])
        self._header(start, self._end(node.guard or node.pattern))
        return Case(values, tuple(names), node.guard is not None, self.body(node.body))

    def _pattern(self, node: ast.pattern, names: list[str]) -> tuple[Expression, ...] | None:
        """The constants a pattern accepts; None when it cannot be told; () for the wildcard."""
        match node:
            case ast.MatchValue(value=value):
                return (self.expression(value),)
            case ast.MatchSingleton(value=value):
                return (Constant(value, self.span(node)),)
            case ast.MatchOr(patterns=patterns):
                parts = [self._pattern(pattern, names) for pattern in patterns]
                known = [part for part in parts if part]
                return sum(known, ()) if len(known) == len(parts) else None
            case ast.MatchAs(pattern=None, name=None):
                return ()
            case ast.MatchAs(pattern=None, name=str(name)):
                names.append(name)
                return ()
        return None

    _statements: ClassVar[Mapping[type[ast.AST], Callable[[Any, Any], Statement]]] = {
        ast.Assign: _assign,
        ast.AnnAssign: _annotated_assign,
        ast.AugAssign: _augmented_assign,
        ast.Expr: lambda me, node: Evaluate(me.expression(node.value), me.span(node)),
        ast.If: _if,
        ast.For: _for,
        ast.AsyncFor: _for,
        ast.While: _while,
        ast.With: _with,
        ast.AsyncWith: _with,
        ast.Try: _try,
        ast.TryStar: _try,
        ast.Return: lambda me, node: Return(me.optional(node.value), me.span(node)),
        ast.FunctionDef: _function,
        ast.AsyncFunctionDef: _function,
        ast.ClassDef: _class,
        ast.Import: lambda me, node: Import(_aliases(node.names), me.span(node)),
        ast.ImportFrom: _import_from,
        ast.Global: lambda me, node: Global(tuple(node.names), False, me.span(node)),
        ast.Nonlocal: lambda me, node: Global(tuple(node.names), True, me.span(node)),
        ast.Raise: lambda me, node: Raise(me.optional(node.exc), me.span(node)),
        ast.Assert: lambda me, node: Assert(me.expression(node.test), me.span(node)),
        ast.Delete: _delete,
        ast.Break: lambda me, node: Break(me.span(node)),
        ast.Continue: lambda me, node: Continue(me.span(node)),
        ast.Match: _match,
    }


_COMPOUND: Final = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Match,
)


def _aliases(names: Sequence[ast.alias]) -> tuple[tuple[str, str | None], ...]:
    return tuple((alias.name, alias.asname) for alias in names)


def _last_of(node: ast.arguments) -> ast.AST | None:
    """The last parameter or default of a function."""
    plain = [*node.posonlyargs, *node.args]
    if node.kwarg is not None:
        return node.kwarg
    if node.kwonlyargs:
        return node.kw_defaults[-1] or node.kwonlyargs[-1]
    if node.vararg is not None:
        return node.vararg
    if node.defaults:
        return node.defaults[-1]
    return plain[-1] if plain else None
