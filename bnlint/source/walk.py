"""Walking the intermediate representation without knowing each kind of record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bnlint.source.ir import Node


def fields_of(record: Node) -> list[object]:
    """The fields of a record of the intermediate representation."""
    return [getattr(record, name) for name in record.__struct_fields__]


def walk(code: object) -> Iterator[object]:
    """Every record below a record or a body, each before its parts."""
    pending = [code]
    while pending:
        node = pending.pop()
        if type(node) is tuple:
            pending += reversed(node)
        elif isinstance(node, Node):
            yield node
            pending += [getattr(node, name) for name in _PARTS[type(node)]]


def _may_hold_records(annotation: str) -> bool:
    return annotation not in ("str", "str | None", "int", "bool", "object", "Span")


_PARTS: Final = {
    kind: tuple(
        name
        for name in reversed(kind.__struct_fields__)
        if _may_hold_records(str(kind.__annotations__[name]))
    )
    for kind in Node.__subclasses__()
}
"""The fields of each kind of record that may hold records, the last one first."""
