"""libcst expressions -> intermediate representation: one method for each node class."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import libcst as cst

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
from bnlint.source.text import NO_FILE

NOWHERE: Span = (0, 0)

_KEYWORD_CONSTANTS: Mapping[str, object] = {"True": True, "False": False, "None": None}

LONGEST_NUMBER = 1_000
"""Digits of a number that is kept: from 4,300 on Python refuses to print one."""

type_of = type


def _literal(text: str) -> object:
    """The value of a literal; raises ValueError or SyntaxError."""
    return ast.literal_eval(ast.parse(text, NO_FILE, "eval"))


class ExpressionExtractor:
    """A walk over expression nodes, dispatched on the node's class.

    It looks only at the fields that carry meaning: whitespace, parentheses and commas are never
    visited. Recursion is bounded by the guard, which limits the depth of the tree.
    """

    def __init__(self, spans: Mapping[int, Span]) -> None:
        self.spans = spans
        self._expressions: dict[type[cst.CSTNode], Callable[[Any], Expression]] = {
            cst.Name: self._name,
            cst.Attribute: self._attribute,
            cst.Call: self._call,
            cst.Subscript: self._subscript,
            cst.Integer: self._number,
            cst.Float: self._number,
            cst.Imaginary: self._number,
            cst.SimpleString: self._string,
            cst.ConcatenatedString: self._concatenated,
            cst.FormattedString: self._format_string,
            cst.Tuple: self._display,
            cst.List: self._display,
            cst.Set: self._display,
            cst.Dict: self._dict,
            cst.BinaryOperation: self._binary,
            cst.BooleanOperation: self._boolean,
            cst.Comparison: self._compare,
            cst.UnaryOperation: self._unary,
            cst.IfExp: self._conditional,
            cst.Lambda: self._lambda,
            cst.ListComp: self._comprehension,
            cst.SetComp: self._comprehension,
            cst.GeneratorExp: self._comprehension,
            cst.DictComp: self._comprehension,
            cst.NamedExpr: self._walrus,
            cst.Await: self._await,
            cst.Yield: self._yield,
            cst.StarredElement: self._starred,
            cst.Ellipsis: lambda node: Constant(..., self.span(node)),
        }

    def span(self, node: cst.CSTNode) -> Span:
        """The span of a node."""
        return self.spans.get(id(node), NOWHERE)

    def expression(self, node: cst.CSTNode) -> Expression:
        """The representation of any expression."""
        handler = self._expressions.get(type_of(node))
        return handler(node) if handler is not None else Opaque((), self.span(node))

    def _name(self, node: cst.Name) -> Expression:
        if node.value in _KEYWORD_CONSTANTS:
            return Constant(_KEYWORD_CONSTANTS[node.value], self.span(node))
        return Name(node.value, self.span(node))

    def _attribute(self, node: cst.Attribute) -> Expression:
        return Attribute(self.expression(node.value), node.attr.value, self.span(node))

    def _call(self, node: cst.Call) -> Expression:
        arguments = tuple(self.argument(arg) for arg in node.args)
        return Call(self.expression(node.func), arguments, self.span(node))

    def argument(self, node: cst.Arg) -> Argument:
        """One argument of a call or a class definition."""
        keyword = node.keyword.value if node.keyword is not None else None
        return Argument(self.expression(node.value), keyword, node.star, self.span(node))

    def _subscript(self, node: cst.Subscript) -> Expression:
        indices = tuple(self._index(element.slice) for element in node.slice)
        is_tuple = len(indices) > 1 or isinstance(node.slice[0].comma, cst.Comma)
        index = Display("tuple", indices, self.span(node)) if is_tuple else indices[0]
        return Subscript(self.expression(node.value), index, self.span(node))

    def _index(self, node: cst.BaseSlice) -> Expression:
        if isinstance(node, cst.Index):
            return self.expression(node.value)
        if isinstance(node, cst.Slice):
            lower, upper, step = (
                None if part is None else self.expression(part)
                for part in (node.lower, node.upper, node.step)
            )
            return Slice(lower, upper, step, self.span(node))
        return Opaque((), self.span(node))

    def _number(self, node: cst.Integer | cst.Float | cst.Imaginary) -> Expression:
        text = node.value
        if len(text) > LONGEST_NUMBER:
            return Opaque((), self.span(node))
        try:
            value = int(text) if text.isdecimal() else _literal(text)
        except (ValueError, SyntaxError):  # none that Python itself would read
            return Opaque((), self.span(node))
        return Constant(value, self.span(node))

    def _string(self, node: cst.SimpleString) -> Expression:
        text = node.value
        if text[0] in "\"'" and "\\" not in text and "\r" not in text:
            width = 3 if text[:3] in ('"""', "'''") else 1
            return Constant(text[width:-width], self.span(node))
        try:
            return Constant(_literal(text), self.span(node))
        except (ValueError, SyntaxError):
            return Opaque((), self.span(node))

    def _concatenated(self, node: cst.ConcatenatedString) -> Expression:
        left, right = self.expression(node.left), self.expression(node.right)
        if isinstance(left, Constant) and isinstance(right, Constant):
            a, b = left.value, right.value
            if isinstance(a, str) and isinstance(b, str):
                return Constant(a + b, self.span(node))
        return FormatString((left, right), self.span(node))

    def _format_string(self, node: cst.FormattedString) -> Expression:
        parts: list[Expression] = []
        for part in node.parts:
            if isinstance(part, cst.FormattedStringText):
                parts.append(Constant(part.value, self.span(node)))
            elif isinstance(part, cst.FormattedStringExpression):
                plain = part.conversion is None and not part.format_spec
                value = self.expression(part.expression)
                parts.append(value if plain else Opaque((value,), self.span(node)))
        return FormatString(tuple(parts), self.span(node))

    def _display(self, node: cst.Tuple | cst.List | cst.Set) -> Expression:
        kind = type_of(node).__name__.lower()
        return Display(kind, tuple(map(self._element, node.elements)), self.span(node))

    def _element(self, node: cst.BaseElement) -> Expression:
        if isinstance(node, cst.StarredElement):
            return self._starred(node)
        return self.expression(node.value)

    def _starred(self, node: cst.StarredElement) -> Expression:
        return Starred(self.expression(node.value), self.span(node))

    def _dict(self, node: cst.Dict) -> Expression:
        items = tuple(
            (
                self.expression(element.key) if isinstance(element, cst.DictElement) else None,
                self.expression(element.value),
            )
            for element in node.elements
        )
        return DictDisplay(items, self.span(node))

    def _binary(self, node: cst.BinaryOperation) -> Expression:
        left, right = self.expression(node.left), self.expression(node.right)
        return Binary(type_of(node.operator).__name__, left, right, self.span(node))

    def _boolean(self, node: cst.BooleanOperation) -> Expression:
        left, right = self.expression(node.left), self.expression(node.right)
        return Boolean(type_of(node.operator).__name__, left, right, self.span(node))

    def _compare(self, node: cst.Comparison) -> Expression:
        comparisons = tuple(
            (type_of(target.operator).__name__, self.expression(target.comparator))
            for target in node.comparisons
        )
        return Compare(self.expression(node.left), comparisons, self.span(node))

    def _unary(self, node: cst.UnaryOperation) -> Expression:
        operator = type_of(node.operator).__name__
        operand = self.expression(node.expression)
        if operator == "Minus" and isinstance(operand, Constant):
            value = operand.value
            if isinstance(value, int | float):
                return Constant(-value, self.span(node))
        return Unary(operator, operand, self.span(node))

    def _conditional(self, node: cst.IfExp) -> Expression:
        return Conditional(
            self.expression(node.test),
            self.expression(node.body),
            self.expression(node.orelse),
            self.span(node),
        )

    def _lambda(self, node: cst.Lambda) -> Expression:
        return Lambda(self.parameters(node.params), self.expression(node.body), self.span(node))

    def _comprehension(
        self, node: cst.ListComp | cst.SetComp | cst.GeneratorExp | cst.DictComp
    ) -> Expression:
        clauses: list[Clause] = []
        part: cst.CompFor | None = node.for_in
        while part is not None:
            conditions = tuple(self.expression(c.test) for c in part.ifs)
            clauses.append(
                Clause(self.expression(part.target), self.expression(part.iter), conditions)
            )
            part = part.inner_for_in
        if isinstance(node, cst.DictComp):
            key, element, kind = self.expression(node.key), self.expression(node.value), "dict"
        else:
            key, element = None, self.expression(node.elt)
            kind = {cst.ListComp: "list", cst.SetComp: "set"}.get(type_of(node), "generator")
        return Comprehension(kind, key, element, tuple(clauses), self.span(node))

    def _walrus(self, node: cst.NamedExpr) -> Expression:
        target = self.expression(node.target)
        value = self.expression(node.value)
        if isinstance(target, Name):
            return Walrus(target, value, self.span(node))
        return Opaque((value,), self.span(node))

    def _await(self, node: cst.Await) -> Expression:
        return self.expression(node.expression)

    def _yield(self, node: cst.Yield) -> Expression:
        match node.value:
            case None:
                return Yield(Constant(None, self.span(node)), False, self.span(node))
            case cst.From(item=item):
                return Yield(self.expression(item), True, self.span(node))
            case value:
                return Yield(self.expression(value), False, self.span(node))

    def parameters(self, node: cst.Parameters) -> tuple[Parameter, ...]:
        """Parameters in order, with defaults and annotations."""
        found = [self._parameter(p, "", False) for p in (*node.posonly_params, *node.params)]
        if isinstance(node.star_arg, cst.Param):
            found.append(self._parameter(node.star_arg, "*", False))
        found += [self._parameter(p, "", True) for p in node.kwonly_params]
        if node.star_kwarg is not None:
            found.append(self._parameter(node.star_kwarg, "**", False))
        return tuple(found)

    def _parameter(self, node: cst.Param, star: str, keyword_only: bool) -> Parameter:
        default = None if node.default is None else self.expression(node.default)
        annotation = (
            None if node.annotation is None else self.expression(node.annotation.annotation)
        )
        return Parameter(node.name.value, default, star, keyword_only, annotation)

    def expressions(self, nodes: Iterable[cst.CSTNode]) -> tuple[Expression, ...]:
        """Several expressions."""
        return tuple(self.expression(node) for node in nodes)
