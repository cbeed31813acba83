"""Bodies of functions as bytes, and back."""

from __future__ import annotations

import struct
from functools import cache
from sys import intern
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw
from msgspec.msgpack import Decoder
from msgspec.structs import force_setattr

from bnlint.source import ir
from bnlint.source.walk import PARTS, may_hold_records

COMPLEX, ELLIPSIS, INTEGER, TEXT = 1, 2, 3, 4
"""Constants that msgpack has no form for."""


def read_body(code: Raw) -> ir.Body:
    """The statements in these bytes; none where they are no body, as nobody has written them."""
    try:
        return _bodies().decode(code)
    except (msgspec.MsgspecError, ValueError, TypeError, struct.error):
        return ()


def read_expression(code: Raw) -> ir.Expression | None:
    """The expression in these bytes; None where there is none."""
    try:
        return _expressions().decode(code)
    except (msgspec.MsgspecError, ValueError, TypeError, struct.error):
        return None


def shared(body: ir.Body) -> ir.Body:
    """The same statements, with names and spans that are equal as one object each: bytes do not
    say which are."""
    spans: dict[object, object] = {}
    pending: list[Any] = [body]
    while pending:
        node = pending.pop()
        kind = type(node)
        if kind is tuple:
            pending += node
        elif kind in PARTS:
            fields = _FIELDS[kind]
            for name in fields.names:
                value = getattr(node, name)
                if type(value) is str:
                    force_setattr(node, name, intern(value))
            if fields.has_span:
                first, last = node.span
                pair = (spans.setdefault(first, first), spans.setdefault(last, last))
                force_setattr(node, "span", spans.setdefault(pair, pair))
            pending += [getattr(node, name) for name in fields.parts]
    return body


class _Fields(NamedTuple):
    """Of a kind of record: which fields may be names, which may hold records that are no bytes,
    and whether it has a span."""

    names: tuple[str, ...]
    parts: tuple[str, ...]
    has_span: bool


def _fields_of(kind: type[ir.Node]) -> _Fields:
    hints = {name: str(kind.__annotations__[name]) for name in kind.__struct_fields__}
    names = tuple(name for name, hint in hints.items() if hint in ("str", "str | None"))
    parts = tuple(name for name, hint in hints.items() if may_hold_records(hint))
    return _Fields(names, parts, "span" in hints)


_FIELDS: Final = {kind: _fields_of(kind) for kind in PARTS}


def from_extension(number: int, data: memoryview) -> object:
    """The constant behind an extension of msgpack; raises ValueError for one of others."""
    match number:
        case 1:
            return complex(*struct.unpack("<dd", data))
        case 2:
            return Ellipsis
        case 3:
            return int.from_bytes(data, "little", signed=True)
        case 4:
            return bytes(data).decode("utf-8", "surrogatepass")
    raise ValueError(f"no extension {number}")


@cache
def _expressions() -> Decoder[ir.Expression | None]:
    return Decoder(ir.Expression | None, ext_hook=from_extension)


@cache
def _bodies() -> Decoder[ir.Body]:
    return Decoder(tuple[ir.Statement, ...], ext_hook=from_extension)
