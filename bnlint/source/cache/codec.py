"""What is kept of one file, as bytes: msgpack, which can describe data and nothing else."""

from __future__ import annotations

import struct
from array import array
from functools import cache
from typing import Any, Final

import msgspec
from msgspec.msgpack import Decoder, Encoder, Ext

from bnlint.records import replace
from bnlint.source import ir
from bnlint.source.bodies import COMPLEX, ELLIPSIS, INTEGER, TEXT, from_extension
from bnlint.source.outcome import Outcome

_PLAIN_INTEGERS: Final = range(-(2**63), 2**64)


class _Wrapped:
    """A constant that msgpack has no form for."""

    def __init__(self, value: int | str) -> None:
        self.value = value


def encode(outcome: Outcome) -> bytes | None:
    """An outcome without its path, which the same content may have elsewhere; None when it has
    no such form."""
    facts = None if outcome.facts is None else replace(outcome.facts, path="")
    try:
        return _encoder().encode(replace(outcome, path="", facts=facts))
    except (OverflowError, UnicodeEncodeError):
        if facts is None:
            return None
    except (RecursionError, TypeError):
        return None
    try:
        wrapped = replace(facts, body=_wrapped(facts.body))
        return _encoder().encode(replace(outcome, path="", facts=wrapped))
    except (RecursionError, OverflowError, UnicodeEncodeError, TypeError):
        return None


def may_contain(statement: ir.Statement, word: str) -> bool:
    """Whether a piece of code may name something so, by its bytes alone."""
    try:
        return word.encode() in _encoder().encode(statement)
    except (OverflowError, UnicodeEncodeError, RecursionError, TypeError):
        return True


def decode(data: bytes, path: str) -> Outcome | None:
    """The outcome for the file at this path; None for anything else than `encode` has made."""
    try:
        outcome = _decoder().decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, struct.error):
        return None
    facts = outcome.facts
    if facts is None:
        return replace(outcome, path=path) if outcome.problem is not None else None
    if not facts.line_starts or facts.line_starts[0] != 0:
        return None
    return replace(outcome, path=path, facts=replace(facts, path=path))


@cache
def _encoder() -> Encoder:
    return Encoder(enc_hook=_to_extension)


@cache
def _decoder() -> Decoder[Outcome]:
    return Decoder(Outcome, ext_hook=from_extension)


def _to_extension(value: object) -> Ext | list[int]:
    match value:
        case array():
            return value.tolist()
        case complex():
            return Ext(COMPLEX, struct.pack("<dd", value.real, value.imag))
        case _ if value is Ellipsis:
            return Ext(ELLIPSIS, b"")
        case _Wrapped(value=int() as number):
            return Ext(
                INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
            )
        case _Wrapped(value=str() as text):
            return Ext(TEXT, text.encode("utf-8", "surrogatepass"))
    raise TypeError(f"no form for {type(value).__name__}")


def _wrapped(part: Any) -> Any:
    """Code with its large numbers and its texts that are no Unicode wrapped."""
    if type(part) is tuple:
        return tuple(_wrapped(inner) for inner in part)
    if type(part) is ir.Constant:
        return msgspec.structs.replace(part, value=_wrapped_constant(part.value))
    if isinstance(part, ir.Node):
        return type(part)(*(_wrapped(getattr(part, name)) for name in part.__struct_fields__))
    return part


def _wrapped_constant(value: object) -> object:
    if isinstance(value, int) and value not in _PLAIN_INTEGERS:
        return _Wrapped(value)
    if isinstance(value, str) and not _is_unicode(value):
        return _Wrapped(value)
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
