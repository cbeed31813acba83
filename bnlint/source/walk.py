"""Walking the intermediate representation without knowing each kind of record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
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
            parts = _PARTS[type(node)]
            if parts is not None:
                pending += parts(node)


def walk_apart(code: object, kinds: tuple[type[Node], ...]) -> Iterator[Node]:
    """The same, but what is inside records of these kinds is left out; `code` itself is not."""
    pending = [code]
    while pending:
        node = pending.pop()
        if type(node) is tuple:
            pending += reversed(node)
        elif isinstance(node, Node):
            yield node
            parts = _PARTS[type(node)]
            if parts is not None and (node is code or not isinstance(node, kinds)):
                pending += parts(node)


def _may_hold_records(annotation: str) -> bool:
    return annotation not in ("str", "str | None", "int", "bool", "object", "Span")


def _reader(kind: type[Node]) -> Callable[[object], tuple[object, ...]] | None:
    """What reads the fields of a kind of record that may hold records, the last one first."""
    names = [n for n in kind.__struct_fields__ if _may_hold_records(str(kind.__annotations__[n]))]
    if len(names) == 1:
        single = attrgetter(names[0])
        return lambda record: (single(record),)
    return attrgetter(*reversed(names)) if names else None


_PARTS: Final = {kind: _reader(kind) for kind in Node.__subclasses__()}
