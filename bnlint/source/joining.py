"""Joining: what a value may be when control comes from several sides."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from bnlint.source.values import (
    ANYTHING,
    OPEN,
    OTHERS,
    Alternatives,
    Choice,
    Element,
    Instance,
    Layer,
    Mapping,
    Repeat,
    Tensor,
    Value,
    weight_of,
)

MAXIMAL_ALTERNATIVES: Final = 12
MAXIMAL_WEIGHT: Final = 400


class AbsentType(Enum):
    """The type of ABSENT."""

    ABSENT = "absent"

    __hash__ = object.__hash__


ABSENT: Final = AbsentType.ABSENT
"""What a field holds that was never written."""


def one_of(values: Iterable[Value]) -> Value:
    """The value that is one of several; ANYTHING when they are none or too many.

    Of too many modules some are kept, with ANYTHING for the others: each may be the real one.
    """
    found: list[Value] = []
    tensors: list[Tensor] = []
    for value in values:
        for single in value.values if type(value) is Alternatives else (value,):
            if type(single) is Tensor:
                tensors.append(single)
            elif single not in found:
                found.append(single)
                if len(found) > MAXIMAL_ALTERNATIVES:
                    return _some_modules(found)
    if tensors:
        found.append(merge_tensors(tensors))
    if len(found) == 1:
        return found[0]
    if not found:
        return ANYTHING
    return Alternatives(tuple(found))


def _some_modules(found: list[Value]) -> Value:
    modules = [value for value in found if value is not ANYTHING]
    if not all(isinstance(value, Instance | Layer) for value in modules):
        return ANYTHING
    return Alternatives((*modules[: MAXIMAL_ALTERNATIVES - 1], ANYTHING))


def merge_tensors(tensors: Iterable[Tensor]) -> Tensor:
    """The tensor that depends on, or is one of, several."""
    parts = tuple(tensors)
    if len(parts) == 1 and parts[0].detached <= parts[0].sources:
        return parts[0]
    sources: frozenset[int] = frozenset().union(*(part.sources for part in parts))
    batches = {part.batch for part in parts}
    loaders = {part.loader for part in parts}
    dimensions = {part.dimensions for part in parts}
    attached: frozenset[int] = frozenset().union(*(part.sources - part.detached for part in parts))
    return Tensor(
        sources,
        all(part.synthetic for part in parts) and bool(parts),
        batches.pop() if len(batches) == 1 else None,
        loaders.pop() if len(loaders) == 1 else None,
        sources - attached,
        all(part.volatile for part in parts) and bool(parts),
        dimensions.pop() if len(dimensions) == 1 else None,
    )


def bounded(elements: tuple[Element, ...]) -> tuple[Element, ...]:
    """The elements, or an unknown list where choices in choices have grown beyond all use."""
    return elements if weight_of(elements) <= MAXIMAL_WEIGHT else (Repeat((ANYTHING,)),)


def join_fields(first: object, second: object) -> object:
    """What a field may hold when control comes from two sides."""
    if first is second or first == second:
        return first
    if first is ABSENT:
        return second
    if second is ABSENT:
        return first
    if isinstance(first, tuple) and isinstance(second, tuple):
        return join_elements(first, second)
    if isinstance(first, frozenset) and isinstance(second, frozenset):
        return first | second  # the MAYBE names
    if isinstance(first, bool) and isinstance(second, bool):
        return first or second  # the OPEN flag
    return one_of((first, second))  # type: ignore[arg-type]  # fields hold values


def is_same(before: object, after: object) -> bool:
    """Whether a field has its value again, after branches that saw different parts of it."""
    if before is after:
        return True
    if type(before) is Alternatives and type(after) is Alternatives:
        return set(before.values) == set(after.values)
    return before == after


def add_entry(mapping: Mapping, value: Value) -> None:
    """A new dictionary gets an entry whose key is unknown."""
    mapping.fields[OPEN] = True
    mapping.fields[OTHERS] = join_fields(mapping.fields.get(OTHERS, ABSENT), value)


def join_elements(first: tuple[Element, ...], second: tuple[Element, ...]) -> tuple[Element, ...]:
    """Common beginning, then a choice of the rests."""
    shared = 0
    for a, b in zip(first, second):
        if a is not b and a != b:
            break
        shared += 1
    rests = (first[shared:], second[shared:])
    if not any(rests):
        return first
    return bounded((*first[:shared], Choice(rests)))
