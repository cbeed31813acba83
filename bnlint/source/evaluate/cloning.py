"""Copies of module objects: new identity, same structure."""

from __future__ import annotations

from bnlint.source.values import (
    Alternatives,
    Choice,
    HeapObject,
    Instance,
    Layer,
    Mapping,
    Repeat,
    Sequence,
    Value,
)


def clone(value: Value) -> Value:
    """A deep copy of modules and the containers that hold them; all else is shared."""
    copied = _clone(value, {})
    return copied  # type: ignore[return-value]  # a copy has the type of its original


def _clone(value: object, seen: dict[int, HeapObject]) -> object:
    match value:
        case Instance() | Layer() | Sequence() | Mapping():
            return _clone_object(value, seen)
        case tuple() if type(value) is tuple:
            return tuple(_clone(item, seen) for item in value)
        case Alternatives(values):
            return Alternatives(tuple(_clone(item, seen) for item in values))  # type: ignore[misc]
        case Choice(runs):
            return Choice(tuple(_clone(run, seen) for run in runs))  # type: ignore[misc]
        case Repeat(run):
            return Repeat(_clone(run, seen))  # type: ignore[arg-type]
    return value


def _clone_object(
    value: Instance | Layer | Sequence | Mapping, seen: dict[int, HeapObject]
) -> HeapObject:
    known = seen.get(id(value))
    if known is not None:
        return known
    copied: HeapObject
    match value:
        case Instance():
            copied = Instance(value.cls, value.place)
        case Layer():
            copied = Layer(value.name, value.parameters, value.place)
        case Sequence():
            copied = Sequence(value.kind)
        case Mapping():
            copied = Mapping()
    seen[id(value)] = copied
    copied.fields = {key: _clone(entry, seen) for key, entry in value.fields.items()}
    return copied
