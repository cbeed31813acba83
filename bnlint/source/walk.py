"""Walking the intermediate representation without knowing each kind of record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, Final

from bnlint.source import ir
from bnlint.source.ir import Node


def fields_of(record: Node) -> list[object]:
    """The fields of a record of the intermediate representation."""
    read = _READ.get(type(record))
    if read is not None:
        return [*reversed(read(record))]
    return [getattr(record, name) for name in record.__struct_fields__]


def walk(code: object) -> Iterator[object]:
    """Every record below a record or a body, each before its parts."""
    pending: list[Any] = [code]
    while pending:
        node = pending.pop()
        kind = type(node)
        if kind is tuple:
            pending += reversed(node)
        elif kind in PARTS:
            yield node
            pending += PARTS[kind](node)


def walk_apart(code: object, kinds: tuple[type[Node], ...]) -> Iterator[Node]:
    """The same, but what is inside records of these kinds is left out; `code` itself is not."""
    pending: list[Any] = [code]
    while pending:
        node = pending.pop()
        kind = type(node)
        if kind is tuple:
            pending += reversed(node)
        elif kind in PARTS:
            yield node
            if node is code or kind not in kinds:
                pending += PARTS[kind](node)


def dotted(node: object) -> str:
    """The names that an expression spells ("self.net"); "" when it is anything else."""
    match node:
        case ir.Name(name):
            return name
        case ir.Attribute(value, attr):
            base = dotted(value)
            return f"{base}.{attr}" if base else ""
    return ""


def ir_name(expression: ir.Expression) -> str:
    """The dotted name that an expression (or the callee of a call) spells; "" for others."""
    match expression:
        case ir.Name(name):
            return name
        case ir.Attribute(value, attr):
            base = ir_name(value)
            return f"{base}.{attr}" if base else attr
        case ir.Call(function):
            return ir_name(function)
    return ""


def definitions(body: ir.Body) -> Iterator[ir.Function | ir.Class]:
    """The functions and classes of a body and of what is in it, in the order of the text; no
    expression holds one."""
    for statement in body:
        if isinstance(statement, ir.Function | ir.Class):
            yield statement
        for inner in inner_bodies(statement):
            yield from definitions(inner)


def inner_bodies(statement: ir.Statement) -> tuple[ir.Body, ...]:
    """The bodies in a statement, in the order of the text."""
    match statement:
        case ir.Function():
            return (statement.read(),)
        case ir.Class() | ir.With():
            return (statement.body,)
        case ir.If() | ir.For() | ir.While():
            return (statement.body, statement.orelse)
        case ir.Try(body, handlers, orelse, final):
            return (body, *(handler.body for handler in handlers), orelse, final)
        case ir.Match(_, cases):
            return tuple(case.body for case in cases)
    return ()


def may_hold_records(annotation: str) -> bool:
    """Whether a field that is annotated so may hold records."""
    return annotation not in ("str", "str | None", "int", "bool", "object", "Span")


def _reader(kind: type[Node]) -> Callable[[object], tuple[object, ...]]:
    """What reads the fields of a kind of record that may hold records, the last one first."""
    names = [n for n in kind.__struct_fields__ if may_hold_records(str(kind.__annotations__[n]))]
    if len(names) == 1:
        single = attrgetter(names[0])
        return lambda record: (single(record),)
    return attrgetter(*reversed(names)) if names else lambda _: ()


def _parts_of_function(function: ir.Function) -> tuple[object, ...]:
    return function.decorators, function.read(), function.parameters


def _parts_of_parameter(parameter: ir.Parameter) -> tuple[object, ...]:
    return parameter.annotation, parameter.default


_READ: Final[dict[type[Node], Callable[[Any], tuple[object, ...]]]] = {
    ir.Function: _parts_of_function,
    ir.Parameter: _parts_of_parameter,
}
"""What reads records parts of which may be bytes, the last part first."""
PARTS: Final[dict[type, Callable[[Any], tuple[object, ...]]]] = {
    **{kind: _reader(kind) for kind in Node.__subclasses__()},
    **_READ,
}
"""What reads the fields that may hold records, by the kind of record; the last field first."""
