"""libcst statements -> intermediate representation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import libcst as cst

from bnlint.source.extract_expressions import ExpressionExtractor, type_of
from bnlint.source.ir import (
    Assert,
    Assign,
    AugmentedAssign,
    Body,
    Break,
    Case,
    Class,
    Continue,
    Declare,
    Delete,
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


class StatementExtractor(ExpressionExtractor):
    """A walk over statements, dispatched on the node's class."""

    def __init__(self, spans: Mapping[int, Span]) -> None:
        super().__init__(spans)
        self.logical_spans: list[Span] = []
        """Spans of simple statement lines and of the headers of compound statements."""
        self._statements: dict[type[cst.CSTNode], Callable[[Any], Statement | None]] = {
            cst.Assign: self._assign,
            cst.AnnAssign: self._annotated_assign,
            cst.AugAssign: self._augmented_assign,
            cst.Expr: lambda node: Evaluate(self.expression(node.value), self.span(node)),
            cst.If: self._if,
            cst.For: self._for,
            cst.While: self._while,
            cst.With: self._with,
            cst.Try: self._try,
            cst.TryStar: self._try,
            cst.Return: self._return,
            cst.FunctionDef: self._function,
            cst.ClassDef: self._class,
            cst.Import: self._import,
            cst.ImportFrom: self._import_from,
            cst.Global: lambda node: self._global(node, False),
            cst.Nonlocal: lambda node: self._global(node, True),
            cst.Raise: self._raise,
            cst.Assert: lambda node: Assert(self.expression(node.test), self.span(node)),
            cst.Del: self._delete,
            cst.Break: lambda node: Break(self.span(node)),
            cst.Continue: lambda node: Continue(self.span(node)),
            cst.Match: self._match,
        }

    def body(self, nodes: Iterable[cst.CSTNode]) -> Body:
        """The statements of a block, simple statement lines flattened."""
        found: list[Statement] = []
        for node in nodes:
            if isinstance(node, cst.SimpleStatementLine):
                self.logical_spans.append(self.span(node))
                found += self._small(node.body)
            else:
                found += self._small((node,))
        return tuple(found)

    def _small(self, nodes: Sequence[cst.CSTNode]) -> list[Statement]:
        found = []
        for node in nodes:
            handler = self._statements.get(type_of(node))
            statement = handler(node) if handler is not None else None
            if statement is not None:
                found.append(statement)
        return found

    def suite(self, owner: cst.CSTNode, node: cst.BaseSuite) -> Body:
        """The body of a compound statement, whose header is noted as a logical line."""
        block = node.header if isinstance(node, cst.IndentedBlock) else node
        self.logical_spans.append((self.span(owner)[0], self.span(block)[0]))
        if isinstance(node, cst.IndentedBlock):
            return self.body(node.body)
        return tuple(self._small(node.body))

    def _assign(self, node: cst.Assign) -> Statement:
        targets = self.expressions(target.target for target in node.targets)
        return Assign(targets, self.expression(node.value), self.span(node))

    def _annotated_assign(self, node: cst.AnnAssign) -> Statement:
        target = self.expression(node.target)
        if node.value is None:
            return Declare(target, self.span(node))
        return Assign((target,), self.expression(node.value), self.span(node))

    def _augmented_assign(self, node: cst.AugAssign) -> Statement:
        operator = type_of(node.operator).__name__.removesuffix("Assign")
        return AugmentedAssign(
            self.expression(node.target), operator, self.expression(node.value), self.span(node)
        )

    def _if(self, node: cst.If) -> Statement:
        return If(
            self.expression(node.test),
            self.suite(node, node.body),
            self._orelse(node.orelse),
            self.span(node),
        )

    def _orelse(self, node: cst.If | cst.Else | None) -> Body:
        if node is None:
            return ()
        if isinstance(node, cst.If):
            return (self._if(node),)
        return self.suite(node, node.body)

    def _for(self, node: cst.For) -> Statement:
        return For(
            self.expression(node.target),
            self.expression(node.iter),
            self.suite(node, node.body),
            self._orelse(node.orelse),
            self.span(node),
        )

    def _while(self, node: cst.While) -> Statement:
        return While(
            self.expression(node.test),
            self.suite(node, node.body),
            self._orelse(node.orelse),
            self.span(node),
        )

    def _with(self, node: cst.With) -> Statement:
        items = tuple(
            (
                self.expression(item.item),
                None if item.asname is None else self.expression(item.asname.name),
            )
            for item in node.items
        )
        return With(items, self.suite(node, node.body), self.span(node))

    def _try(self, node: cst.Try | cst.TryStar) -> Statement:
        handlers = tuple(self._handler(handler) for handler in node.handlers)
        final = () if node.finalbody is None else self.suite(node.finalbody, node.finalbody.body)
        body = self.suite(node, node.body)
        return Try(body, handlers, self._orelse(node.orelse), final, self.span(node))

    def _handler(self, node: cst.ExceptHandler | cst.ExceptStarHandler) -> Handler:
        kind = None if node.type is None else self.expression(node.type)
        name = node.name.name.value if node.name and isinstance(node.name.name, cst.Name) else None
        return Handler(kind, name, self.suite(node, node.body))

    def _return(self, node: cst.Return) -> Statement:
        value = None if node.value is None else self.expression(node.value)
        return Return(value, self.span(node))

    def _function(self, node: cst.FunctionDef) -> Statement:
        return Function(
            node.name.value,
            self.parameters(node.params),
            self.suite(node, node.body),
            self.expressions(decorator.decorator for decorator in node.decorators),
            self.span(node),
            self.span(node.name),
        )

    def _class(self, node: cst.ClassDef) -> Statement:
        return Class(
            node.name.value,
            tuple(self.argument(base) for base in (*node.bases, *node.keywords)),
            self.suite(node, node.body),
            self.expressions(decorator.decorator for decorator in node.decorators),
            self.span(node),
            self.span(node.name),
        )

    def _import(self, node: cst.Import) -> Statement:
        return Import(tuple(_alias(name) for name in node.names), self.span(node))

    def _import_from(self, node: cst.ImportFrom) -> Statement:
        module = "" if node.module is None else dotted(node.module)
        level = len(node.relative)
        if isinstance(node.names, cst.ImportStar):
            return ImportFrom(module, level, None, self.span(node))
        names = tuple(_alias(name) for name in node.names)
        return ImportFrom(module, level, names, self.span(node))

    def _global(self, node: cst.Global | cst.Nonlocal, nonlocal_: bool) -> Statement:
        return Global(tuple(item.name.value for item in node.names), nonlocal_, self.span(node))

    def _raise(self, node: cst.Raise) -> Statement:
        value = None if node.exc is None else self.expression(node.exc)
        return Raise(value, self.span(node))

    def _delete(self, node: cst.Del) -> Statement:
        return Delete((self.expression(node.target),), self.span(node))

    def _match(self, node: cst.Match) -> Statement:
        cases = tuple(self._case(case) for case in node.cases)
        return Match(self.expression(node.subject), cases, self.span(node))

    def _case(self, node: cst.MatchCase) -> Case:
        names: list[str] = []
        values = self._pattern(node.pattern, names)
        return Case(values, tuple(names), node.guard is not None, self.suite(node, node.body))

    def _pattern(self, node: cst.MatchPattern, names: list[str]) -> tuple[Expression, ...] | None:
        """The constants a pattern accepts; None when it cannot be told; () for the wildcard."""
        match node:
            case cst.MatchValue(value=value):
                return (self.expression(value),)
            case cst.MatchSingleton(value=value):
                return (self.expression(value),)
            case cst.MatchOr(patterns=patterns):
                parts = [self._pattern(p.pattern, names) for p in patterns]
                known = [part for part in parts if part]
                return sum(known, ()) if len(known) == len(parts) else None
            case cst.MatchAs(pattern=None, name=None):
                return ()
            case cst.MatchAs(pattern=None, name=cst.Name(value=name)):
                names.append(name)
                return ()
        return None


def dotted(node: cst.CSTNode) -> str:
    """The text of a dotted name."""
    match node:
        case cst.Name(value=name):
            return name
        case cst.Attribute(value=value, attr=cst.Name(value=name)):
            return f"{dotted(value)}.{name}"
    raise TypeError(f"not a dotted name: {type_of(node).__name__}")


def _alias(node: cst.ImportAlias) -> tuple[str, str | None]:
    alias = node.asname.name if node.asname is not None else None
    return dotted(node.name), alias.value if isinstance(alias, cst.Name) else None
