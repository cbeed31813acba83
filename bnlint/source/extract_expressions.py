"""Expressions of Python's own parser -> intermediate representation."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from bnlint.source.ir import (
    Argument,
    Attribute,
    Binary,
    Boolean,
    Call,
    Clause,
    Compare,
    Comprehension,
    Conditional,
    Constant,
    DictDisplay,
    Display,
    Expression,
    FormatString,
    Lambda,
    Name,
    Opaque,
    Parameter,
    Slice,
    Span,
    Starred,
    Subscript,
    Unary,
    Walrus,
    Yield,
)
from bnlint.source.layout import Layout

LONGEST_NUMBER: Final = 1_000
"""Digits of a number that is kept: from 4,300 on Python refuses to print one."""

BINARY: Final[Mapping[type[ast.operator], str]] = {
    ast.Add: "Add",
    ast.Sub: "Subtract",
    ast.Mult: "Multiply",
    ast.MatMult: "MatrixMultiply",
    ast.Div: "Divide",
    ast.FloorDiv: "FloorDivide",
    ast.Mod: "Modulo",
    ast.Pow: "Power",
    ast.LShift: "LeftShift",
    ast.RShift: "RightShift",
    ast.BitOr: "BitOr",
    ast.BitAnd: "BitAnd",
    ast.BitXor: "BitXor",
}
_UNARY: Final[Mapping[type[ast.unaryop], str]] = {
    ast.USub: "Minus",
    ast.UAdd: "Plus",
    ast.Not: "Not",
    ast.Invert: "BitInvert",
}
_COMPARE: Final[Mapping[type[ast.cmpop], str]] = {
    ast.Eq: "Equal",
    ast.NotEq: "NotEqual",
    ast.Lt: "LessThan",
    ast.LtE: "LessThanEqual",
    ast.Gt: "GreaterThan",
    ast.GtE: "GreaterThanEqual",
    ast.Is: "Is",
    ast.IsNot: "IsNot",
    ast.In: "In",
    ast.NotIn: "NotIn",
}


class ExpressionExtractor:
    """A walk over expression nodes, dispatched on the node's class. Recursion is bounded by the
    guard, which limits the depth of the tree.

    opaque: offsets of tuples that stand for what this Python cannot read, see `lowering`.
    """

    def __init__(self, layout: Layout, opaque: frozenset[int] = frozenset()) -> None:
        self.layout = layout
        self.span = layout.span
        self._opaque = opaque

    def expression(self, node: ast.expr) -> Expression:
        """The representation of any expression."""
        handler = self._expressions.get(type(node))
        return handler(self, node) if handler is not None else Opaque((), self.span(node))

    def expressions(self, nodes: Iterable[ast.expr]) -> tuple[Expression, ...]:
        """Several expressions."""
        return tuple([self.expression(node) for node in nodes])

    def optional(self, node: ast.expr | None) -> Expression | None:
        """An expression that may be absent."""
        return None if node is None else self.expression(node)

    def _name(self, node: ast.Name) -> Expression:
        return Name(node.id, self.span(node))

    def _attribute(self, node: ast.Attribute) -> Expression:
        return Attribute(self.expression(node.value), node.attr, self.span(node))

    def _call(self, node: ast.Call) -> Expression:
        function = self.expression(node.func)
        span = self.span(node)
        if not node.args and not node.keywords:
            return Call(function, (), span)
        behind = self.span(node.func)[1]
        return Call(function, self.arguments(node.args, node.keywords, behind, span[1] - 1), span)

    def arguments(
        self,
        values: Sequence[ast.expr],
        keywords: Sequence[ast.keyword],
        behind: int,
        closed: int,
    ) -> tuple[Argument, ...]:
        """Arguments in the order of the text.

        behind: where the expression before them ends; closed: the offset of their last parenthesis.
        """
        found = []
        for value in values:
            found.append(self._argument(value, behind, closed))
            behind = found[-1].span[1]
        found += [self._keyword(keyword) for keyword in keywords]
        if values and keywords:
            found.sort(key=_start)
        return tuple(found)

    def _argument(self, node: ast.expr, behind: int, closed: int) -> Argument:
        span = self.span(node)
        if isinstance(node, ast.Starred):
            return Argument(self.expression(node.value), None, "*", span)
        value = self.expression(node)
        if span[1] > closed:  # a generator whose parentheses are those of the call
            span = value.span
        elif span[1] < closed and self.layout.text[span[1]] != ",":
            span = self.layout.enclosed(span, behind, closed)
        return Argument(value, None, "", span)

    def _keyword(self, node: ast.keyword) -> Argument:
        star = "**" if node.arg is None else ""
        return Argument(self.expression(node.value), node.arg, star, self.span(node))

    def _subscript(self, node: ast.Subscript) -> Expression:
        span = self.span(node)
        value, index = self.expression(node.value), node.slice
        if isinstance(index, ast.Tuple) and not self.layout.is_parenthesized(index):
            return Subscript(value, Display("tuple", self.expressions(index.elts), span), span)
        return Subscript(value, self.expression(index), span)

    def _slice(self, node: ast.Slice) -> Expression:
        lower, upper, step = map(self.optional, (node.lower, node.upper, node.step))
        return Slice(lower, upper, step, self.span(node))

    def _constant(self, node: ast.Constant) -> Expression:
        span = self.span(node)
        if isinstance(node.value, int | float | complex) and span[1] - span[0] > LONGEST_NUMBER:
            return Opaque((), span)
        return Constant(node.value, span)

    def _format_string(self, node: ast.JoinedStr) -> Expression:
        span = self.span(node)
        return FormatString(tuple([self._part(value, span) for value in node.values]), span)

    def _part(self, node: ast.expr, whole: Span) -> Expression:
        if not isinstance(node, ast.FormattedValue):
            return (
                Constant(node.value, whole) if isinstance(node, ast.Constant) else Opaque((), whole)
            )
        value = self.expression(node.value)
        plain = node.conversion == -1 and node.format_spec is None
        return value if plain else Opaque((value,), whole)

    def _tuple(self, node: ast.Tuple) -> Expression:
        elements = self.expressions(node.elts)
        span = self.span(node)
        if span[0] in self._opaque:
            return Opaque(elements, span)
        if self.layout.is_parenthesized(node):
            last = self.span(node.elts[-1])[1] if node.elts else span[0] + 1
            span = self.layout.inside(span, last)
        return Display("tuple", elements, span)

    def _list(self, node: ast.List) -> Expression:
        return Display("list", self.expressions(node.elts), self.span(node))

    def _set(self, node: ast.Set) -> Expression:
        return Display("set", self.expressions(node.elts), self.span(node))

    def _starred(self, node: ast.Starred) -> Expression:
        return Starred(self.expression(node.value), self.span(node))

    def _dict(self, node: ast.Dict) -> Expression:
        pairs = zip(node.keys, node.values)
        items = tuple([(self.optional(key), self.expression(value)) for key, value in pairs])
        return DictDisplay(items, self.span(node))

    def _binary(self, node: ast.BinOp) -> Expression:
        left, right = self.expression(node.left), self.expression(node.right)
        return Binary(BINARY[type(node.op)], left, right, self.span(node))

    def _boolean(self, node: ast.BoolOp) -> Expression:
        """A chain, nested to the left: `(a and b) and c`."""
        operator = type(node.op).__name__
        start, end = self.span(node)
        left = self.expression(node.values[0])
        for value in node.values[1:-1]:
            until = self.layout.closed(self.span(value)[1])
            left = Boolean(operator, left, self.expression(value), (start, until))
        return Boolean(operator, left, self.expression(node.values[-1]), (start, end))

    def _compare(self, node: ast.Compare) -> Expression:
        pairs = zip(node.ops, node.comparators)
        comparisons = tuple([(_COMPARE[type(op)], self.expression(value)) for op, value in pairs])
        return Compare(self.expression(node.left), comparisons, self.span(node))

    def _unary(self, node: ast.UnaryOp) -> Expression:
        operand = self.expression(node.operand)
        if isinstance(node.op, ast.USub) and isinstance(operand, Constant):
            value = operand.value
            if isinstance(value, int | float):
                return Constant(-value, self.span(node))
        return Unary(_UNARY[type(node.op)], operand, self.span(node))

    def _conditional(self, node: ast.IfExp) -> Expression:
        test, body, orelse = map(self.expression, (node.test, node.body, node.orelse))
        return Conditional(test, body, orelse, self.span(node))

    def _lambda(self, node: ast.Lambda) -> Expression:
        return Lambda(self.parameters(node.args), self.expression(node.body), self.span(node))

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> Expression:
        clauses = tuple([self._clause(part) for part in node.generators])
        span = self.span(node)
        if isinstance(node, ast.DictComp):
            key, element = self.expression(node.key), self.expression(node.value)
            return Comprehension("dict", key, element, clauses, span)
        if isinstance(node, ast.GeneratorExp):
            final = node.generators[-1]
            last = final.ifs[-1] if final.ifs else final.iter
            span = self.layout.inside(span, self.span(last)[1])
            kind = "generator"
        else:
            kind = "list" if isinstance(node, ast.ListComp) else "set"
        return Comprehension(kind, None, self.expression(node.elt), clauses, span)

    def _clause(self, node: ast.comprehension) -> Clause:
        target, iterable = self.expression(node.target), self.expression(node.iter)
        return Clause(target, iterable, self.expressions(node.ifs))

    def _walrus(self, node: ast.NamedExpr) -> Expression:
        target = Name(node.target.id, self.span(node.target))
        return Walrus(target, self.expression(node.value), self.span(node))

    def _yield(self, node: ast.Yield) -> Expression:
        span = self.span(node)
        value = Constant(None, span) if node.value is None else self.expression(node.value)
        return Yield(value, False, span)

    def _yield_from(self, node: ast.YieldFrom) -> Expression:
        return Yield(self.expression(node.value), True, self.span(node))

    def parameters(self, node: ast.arguments) -> tuple[Parameter, ...]:
        """Parameters in order, with defaults and annotations."""
        plain = [*node.posonlyargs, *node.args]
        defaults = [*[None] * (len(plain) - len(node.defaults)), *node.defaults]
        found = [self._parameter(arg, default) for arg, default in zip(plain, defaults)]
        if node.vararg is not None:
            found.append(self._parameter(node.vararg, star="*"))
        for arg, keyword_default in zip(node.kwonlyargs, node.kw_defaults):
            found.append(self._parameter(arg, keyword_default, keyword_only=True))
        if node.kwarg is not None:
            found.append(self._parameter(node.kwarg, star="**"))
        return tuple(found)

    def _parameter(
        self,
        node: ast.arg,
        default: ast.expr | None = None,
        *,
        star: str = "",
        keyword_only: bool = False,
    ) -> Parameter:
        annotation = self.optional(node.annotation)
        return Parameter(node.arg, self.optional(default), star, keyword_only, annotation)

    _expressions: ClassVar[Mapping[type[ast.AST], Callable[[Any, Any], Expression]]] = {
        ast.Name: _name,
        ast.Attribute: _attribute,
        ast.Call: _call,
        ast.Subscript: _subscript,
        ast.Slice: _slice,
        ast.Constant: _constant,
        ast.JoinedStr: _format_string,
        ast.Tuple: _tuple,
        ast.List: _list,
        ast.Set: _set,
        ast.Dict: _dict,
        ast.BinOp: _binary,
        ast.BoolOp: _boolean,
        ast.Compare: _compare,
        ast.UnaryOp: _unary,
        ast.IfExp: _conditional,
        ast.Lambda: _lambda,
        ast.ListComp: _comprehension,
        ast.SetComp: _comprehension,
        ast.GeneratorExp: _comprehension,
        ast.DictComp: _comprehension,
        ast.NamedExpr: _walrus,
        ast.Await: lambda me, node: me.expression(node.value),
        ast.Yield: _yield,
        ast.YieldFrom: _yield_from,
        ast.Starred: _starred,
    }


def _start(argument: Argument) -> int:
    return argument.span[0]
