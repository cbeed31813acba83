"""Constant folding: Python's operators on values that are known."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from typing import Any, Final

from bnlint.finding import Place
from bnlint.source.evaluate.module_classes import is_module_dict
from bnlint.source.joining import one_of
from bnlint.source.values import (
    ANYTHING,
    NONE,
    OPEN,
    Alternatives,
    Begins,
    ClassObject,
    External,
    FunctionObject,
    Group,
    HeapObject,
    Instance,
    Known,
    Layer,
    Mapping,
    ModuleReference,
    Partial,
    Sequence,
    Soft,
    Tensor,
    Value,
    alternatives,
    is_exact,
    items_of,
)

_DOTTED = re.compile(r"[\w.]*\.")

BINARY: MappingType[str, Callable[[Any, Any], object]] = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Divide": operator.truediv,
    "FloorDivide": operator.floordiv,
    "Modulo": operator.mod,
    "Power": operator.pow,
    "BitAnd": operator.and_,
    "BitOr": operator.or_,
    "BitXor": operator.xor,
    "LeftShift": operator.lshift,
    "RightShift": operator.rshift,
}
COMPARE: MappingType[str, Callable[[Any, Any], object]] = {
    "Equal": operator.eq,
    "NotEqual": operator.ne,
    "LessThan": operator.lt,
    "LessThanEqual": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEqual": operator.ge,
}
UNARY: MappingType[str, Callable[[Any], object]] = {
    "Minus": operator.neg,
    "Plus": operator.pos,
    "BitInvert": operator.invert,
}
LARGEST_NUMBER = 10**12
LONGEST_TEXT = 10_000


_PLAIN_TEMPLATE: Final = re.compile(
    r"(?:[^{}]|\{\{|\}\}|\{\w*(?:![rsa])?(?::[^{}\d]{0,3}\d{0,3}(?:\.\d{0,3})?[^{}\d]?)?\})*"
)
"""A template of `str.format` that reads no attributes and asks for no large width."""

_WIDE_PERCENT: Final = re.compile(r"%[^a-zA-Z%]*(?:\d{4}|\*)")


def _is_small(value: object) -> bool:
    """Whether an operand can take part in folding without making something huge."""
    if isinstance(value, bool | None):
        return True
    if isinstance(value, int | float):
        return abs(value) <= LARGEST_NUMBER
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def call_text(text: str, name: str, given: list[Any], named: MappingType[str, Any]) -> Value:
    """`text.name(*given, **named)`; ANYTHING when it raises or makes something huge."""
    if not all(map(_is_small, (text, *given, *named.values()))):
        return ANYTHING
    if name == "format" and not _PLAIN_TEMPLATE.fullmatch(text):
        return ANYTHING
    if name == "zfill" and any(isinstance(v, int) and v > LONGEST_TEXT for v in given):
        return ANYTHING
    try:
        result = getattr(text, name)(*given, **named)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError):
        return ANYTHING
    if isinstance(result, list | tuple):
        return Sequence(type(result).__name__, tuple(map(Known, result)))
    return Known(result) if _is_small(result) else ANYTHING


def percent(template: str, given: tuple[object, ...]) -> Value:
    """`template % given`; ANYTHING when it raises or makes something huge."""
    if _WIDE_PERCENT.search(template) or not all(map(_is_small, (template, *given))):
        return ANYTHING
    try:
        return Known(template % given)
    except (TypeError, ValueError):
        return ANYTHING


def fold_binary(name: str, left: Value, right: Value) -> Value:
    """`left operator right`; ANYTHING when the operands are not constants or it raises."""
    if type(left) is Alternatives or type(right) is Alternatives:
        pairs = [(a, b) for a in alternatives(left) for b in alternatives(right)]
        return one_of(fold_binary(name, a, b) for a, b in pairs)
    if isinstance(left, Soft) or isinstance(right, Soft):
        return soft(fold_binary(name, _plain(left), _plain(right)), _origin(left, right))
    if not (isinstance(left, Known) and isinstance(right, Known)):
        return _beginning(left) if name == "Add" else ANYTHING
    a, b = left.value, right.value
    if not (_is_small(a) and _is_small(b)) or _explodes(name, a, b):
        return ANYTHING
    try:
        return Known(BINARY[name](a, b)) if name in BINARY else ANYTHING
    except (ArithmeticError, TypeError, ValueError, MemoryError):
        return ANYTHING


def as_text(value: Value) -> Value:
    """`str(value)` for constants."""
    match value:
        case Known(constant):
            return Known(str(constant))
        case Soft(inner, place):
            return soft(as_text(inner), place)
    return ANYTHING


def _beginning(left: Value) -> Value:
    """What is known of `"models." + name`."""
    if isinstance(left, Known) and isinstance(left.value, str) and _DOTTED.fullmatch(left.value):
        return Begins(left.value)
    return ANYTHING


def _explodes(name: str, left: object, right: object) -> bool:
    match name, left, right:
        case "Power" | "LeftShift", _, int() | float():
            return abs(right) > 64
        case "Multiply", str(), int():
            return right * len(left) > LONGEST_TEXT
        case "Multiply", int(), str():
            return left * len(right) > LONGEST_TEXT
    return False


def _plain(value: Value) -> Value:
    return value.value if isinstance(value, Soft) else value


def soft(value: Value, place: Place | None = None) -> Value:
    """The value as a default, written at `place`, that the user may change."""
    return value if value is ANYTHING or isinstance(value, Soft) else Soft(value, place)


def softened(value: Value, place: Place | None) -> Value:
    """What a calculation with a default gives: a constant, or a list of them."""
    if isinstance(value, Sequence):
        parts = [soft(v, place) if isinstance(v, Known) else v for v in items_of(value)]
        return Sequence(value.kind, tuple(parts))
    return soft(value, place) if isinstance(value, Known) else value


def _origin(*values: Value) -> Place | None:
    """Where the first default among values is written."""
    return next((v.place for v in values if isinstance(v, Soft) and v.place is not None), None)


def fold_unary(name: str, operand: Value) -> Value:
    """`operator operand` for numbers."""
    match operand:
        case Alternatives(values):
            return one_of(fold_unary(name, value) for value in values)
        case Soft(value, place):
            return soft(fold_unary(name, value), place)
        case Known(int() | float() as number) if name in UNARY:
            try:
                return Known(UNARY[name](number))
            except TypeError:
                return ANYTHING
    return ANYTHING


def truth_of(value: Value) -> bool | None:
    """Whether a value counts as true; None when that is open."""
    if type(value) is Known:
        return bool(value.value)
    if value is ANYTHING:  # most often; the kinds below take long
        return None
    match value:
        case Alternatives(values):
            truths = {truth_of(single) for single in values}
            return truths.pop() if len(truths) == 1 else None
        case Sequence():
            items = items_of(value)
            return bool(items) if is_exact(items) else None
        case (
            External()
            | ModuleReference()
            | ClassObject()
            | FunctionObject()
            | Partial()
            | Instance()
            | Group()
        ):
            return True
        case Mapping():
            return bool(value.values()) or (
                None if value.fields.get(OPEN) else len(value.fields) > 0
            )
        case Layer():
            return True
    return None


def compare(name: str, left: Value, right: Value) -> bool | None:
    """The truth of one comparison; None when it is open."""
    if type(left) is Alternatives or type(right) is Alternatives:
        pairs = [(a, b) for a in alternatives(left) for b in alternatives(right)]
        truths = {compare(name, a, b) for a, b in pairs}
        return truths.pop() if len(truths) == 1 else None
    match name:
        case "Is" | "Equal":
            return _same(left, right, name == "Is")
        case "IsNot" | "NotEqual":
            same = _same(left, right, name == "IsNot")
            return None if same is None else not same
        case "In" | "NotIn":
            found = _contains(left, right)
            return found if name == "In" or found is None else not found
    if isinstance(left, Known) and isinstance(right, Known) and name in COMPARE:
        try:
            return bool(COMPARE[name](left.value, right.value))
        except TypeError:
            return None
    return None


def _same(left: Value, right: Value, identity: bool) -> bool | None:
    if isinstance(left, Known) and isinstance(right, Known):
        return left == right if identity else bool(left.value == right.value)
    if left is ANYTHING or right is ANYTHING:
        return None
    objects = (HeapObject, External, FunctionObject, ModuleReference, Group, Partial)
    if left == NONE or right == NONE:
        other = right if left == NONE else left
        return False if isinstance(other, (*objects, Tensor)) else None
    if isinstance(left, objects) and isinstance(right, objects):
        if isinstance(left, Sequence) or isinstance(right, Sequence):
            return left is right if identity else _same_elements(left, right)
        return left is right or left == right
    return None


def _same_elements(left: Value, right: Value) -> bool | None:
    """Whether two lists or tuples of constants are equal."""
    if not isinstance(left, Sequence) or not isinstance(right, Sequence):
        return None
    first, second = items_of(left), items_of(right)
    if not all(isinstance(item, Known) for item in (*first, *second)):
        return None
    return left.kind == right.kind and first == second


def _contains(item: Value, container: Value) -> bool | None:
    if not isinstance(item, Known):
        return None
    if isinstance(container, Known):
        part, text = item.value, container.value
        return part in text if isinstance(part, str) and isinstance(text, str) else None
    if isinstance(container, Mapping) or is_module_dict(container):
        return _has_key(item, container)
    if not isinstance(container, Sequence):
        return None
    items = items_of(container)
    if item in items:
        return True
    return False if all(isinstance(element, Known) for element in items) else None


def _has_key(item: Known, container: Value) -> bool | None:
    assert isinstance(container, HeapObject)
    if item.value in container.fields:
        return True
    return None if container.fields.get(OPEN) else False
