"""Walking the intermediate representation without knowing each kind of record."""

from __future__ import annotations

from collections.abc import Iterator


def fields_of(record: object) -> list[object]:
    """The fields of a record of the intermediate representation."""
    return [getattr(record, name) for name in type(record).__match_args__]  # type: ignore[attr-defined]


def walk(code: object) -> Iterator[object]:
    """Every record below a record or a body, each before its parts."""
    pending = [code]
    while pending:
        node = pending.pop()
        if isinstance(node, tuple):
            pending += reversed(node)
        elif hasattr(node, "__match_args__"):
            yield node
            pending += reversed(fields_of(node))
