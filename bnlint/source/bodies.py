"""Bodies of functions as bytes, and back."""

from __future__ import annotations

import struct
from functools import cache
from sys import intern

import msgspec
from msgspec import Raw
from msgspec.msgpack import Decoder
from msgspec.structs import force_setattr

from bnlint.source import ir

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
    pending: list[object] = [body]
    while pending:
        node = pending.pop()
        if type(node) is tuple:
            pending += node
        elif isinstance(node, ir.Node):
            for name in node.__struct_fields__:
                value = getattr(node, name)
                if type(value) is str:
                    if name != "value":
                        force_setattr(node, name, intern(value))
                elif name == "span":
                    first, last = value
                    pair = (spans.setdefault(first, first), spans.setdefault(last, last))
                    force_setattr(node, name, spans.setdefault(pair, pair))
                else:
                    pending.append(value)
    return body


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
