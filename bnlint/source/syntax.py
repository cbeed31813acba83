"""Questions about the intermediate representation as text: what stands around a span."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from bnlint.source import ir
from bnlint.source.walk import fields_of
from bnlint.torchnames import lookup

_STATEMENTS = get_args(ir.Statement)


def enclosing(body: ir.Body, wanted: ir.Span) -> list[Any]:
    """The nodes whose text holds the span, outermost first."""
    found: list[Any] = []
    first = bisect_right(body, wanted[0], key=_starts) - 1
    pending: list[Any] = list(body[max(first, 0) : first + 1])
    while pending:
        node = pending.pop()
        if not hasattr(node, "span"):  # parameters, handlers, cases: what they hold decides
            pending += _children(node)
        elif _holds(node, wanted):
            found.append(node)
            pending = list(_children(node))
    return found


def statement_around(nodes: Sequence[Any], text: str) -> ir.Statement | None:
    """The innermost statement of a chain of nodes that another one can be written before."""
    statements: list[ir.Statement] = [node for node in nodes if isinstance(node, _STATEMENTS)]
    before = (node for node in reversed(statements) if not text.startswith("elif", node.span[0]))
    return next(before, None)


def first_offset(statement: ir.Statement, text: str) -> int:
    """Where a statement begins, its decorators included."""
    match statement:
        case ir.Function(decorators=(first, *_)) | ir.Class(decorators=(first, *_)):
            return text.rindex("@", 0, first.span[0])
        case _:
            return statement.span[0]


def argument_of(call: ir.Call, parameter: str) -> int | None:
    """The index of the argument that a call binds to a parameter; None when it is not sure.

    Positions are known for torch's own names only: a factory may have any signature.
    """
    for index, argument in enumerate(call.arguments):
        if argument.keyword == parameter:
            return index
    position = _position(call.function, parameter)
    leading = call.arguments[: position + 1] if position is not None else ()
    if position is None or len(leading) <= position:
        return None
    is_plain = all(argument.keyword is None and not argument.star for argument in leading)
    return position if is_plain else None


def takes(call: ir.Call, parameter: str) -> bool:
    """Whether a call is of torch's own layer or function, by its name, with such a parameter."""
    return _position(call.function, parameter) is not None


def is_written_out(value: ir.Expression) -> bool:
    """Whether an expression consists of literals only."""
    match value:
        case ir.Constant():
            return True
        case ir.Unary(_, operand):
            return is_written_out(operand)
        case ir.Binary(_, left, right):
            return is_written_out(left) and is_written_out(right)
        case _:
            return False


def _position(function: ir.Expression, parameter: str) -> int | None:
    match function:
        case ir.Name(name) | ir.Attribute(_, name):
            known = lookup(f"torch.nn.{name}") or lookup(f"torch.nn.functional.{name}")
        case _:
            known = None
    names = [name for name, _ in known.parameters] if known is not None else []
    return names.index(parameter) if parameter in names else None


def _starts(statement: ir.Statement) -> int:
    """Where a statement or its first decorator begins."""
    match statement:
        case ir.Function(decorators=(first, *_)) | ir.Class(decorators=(first, *_)):
            return first.span[0]
        case _:
            return statement.span[0]


def _holds(node: Any, wanted: ir.Span) -> bool:
    spans = [node.span, *(d.span for d in getattr(node, "decorators", ()))]
    return any(start <= wanted[0] and wanted[1] <= end for start, end in spans)


def _children(node: Any) -> Iterator[Any]:
    pending = fields_of(node)
    while pending:
        value = pending.pop()
        if isinstance(value, tuple):
            pending += value
        elif isinstance(value, ir.Node):
            yield value
