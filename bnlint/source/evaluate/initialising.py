"""Calls that only fill weights, and are not followed: see `filling`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from bnlint.source.evaluate.contexts import gradient_of
from bnlint.source.evaluate.core import Core
from bnlint.source.evaluate.domain import sources_in
from bnlint.source.filling import HARMLESS, Filling, filling, is_of_torch
from bnlint.source.values import (
    ANYTHING,
    ITEMS,
    NONE,
    Alternatives,
    Arguments,
    ClassObject,
    External,
    FunctionObject,
    Group,
    HeapObject,
    Instance,
    Known,
    Layer,
    Mapping,
    Method,
    ModuleReference,
    Parameters,
    Partial,
    Sequence,
    Soft,
    Tensor,
    Value,
    flat,
    items_of,
)

if TYPE_CHECKING:
    from bnlint.source.evaluate.functions import Functions

MOST_OBJECTS = 5_000
"""Objects that a call may reach."""
OBJECTS_PER_STEP = 8
"""Objects that are looked at in the time of one step."""


class Reached(NamedTuple):
    """What a call may reach: the functions that it is given; the classes of all objects, and the
    names of what these hold."""

    functions: list[FunctionObject]
    classes: dict[ClassObject, None]
    fields: set[object]


def fills_weights(
    machine: Functions, function: FunctionObject, arguments: Arguments
) -> Filling | None:
    """What a call does that fills weights at most; None for every other call.

    Notes the functions that it would have called, and on which texts this depends.
    """
    text = machine.relevance.once(filling, function.definition)
    if text is None or text.returned is None or arguments.unknown:
        return None
    reached, objects = Reached([function], {}, set()), list[HeapObject]()
    values = arguments.all() if function.receiver is None else [function.receiver, *arguments.all()]
    if not all(_is_harmless(value, reached, objects) for value in values):
        return None
    if text.given and not all(map(_is_function, machine.bound(function, arguments, text.given))):
        return None
    if not _look_through(objects, reached, machine):
        return None
    behind = _behind(machine, reached)
    if behind is None:
        return None
    for called in behind:
        machine.note_called(called)
    return text


def _is_harmless(value: Value | None, reached: Reached, objects: list[HeapObject]) -> bool:
    """Add what a call can reach by one of its arguments; False where that may be anything else."""
    if type(value) in _PLAIN or value is ANYTHING:
        return True
    match value:
        case Soft(inner) | Method(inner):
            return _is_harmless(inner, reached, objects)
        case Tensor():
            return not value.sources
        case FunctionObject():
            reached.functions.append(value)
            return value.receiver is None or _is_harmless(value.receiver, reached, objects)
        case Partial(function, positional, keywords):
            parts = (function, *positional, *(part for _, part in keywords))
            return all(_is_harmless(part, reached, objects) for part in parts)
        case Alternatives(values) | Group(values):
            return all(_is_harmless(single, reached, objects) for single in values)
        case Sequence():
            return all(_is_harmless(part, reached, objects) for part in flat(items_of(value)))
        case Instance() | Layer():
            objects.append(value)
            return True
    return False


def _is_function(value: Value) -> bool:
    """Whether a value that is called is a function, and no module."""
    match value:
        case Partial(function):
            return _is_function(function)
        case Alternatives(values):
            return all(map(_is_function, values))
    return isinstance(value, FunctionObject) or value == NONE


def _look_through(objects: list[HeapObject], reached: Reached, machine: Functions) -> bool:
    """Note the classes of objects and of all that they hold; False for too many, and where that is
    data which layers have made."""
    seen: dict[HeapObject, None] = {}
    while objects:
        obj = objects.pop()
        if obj in seen:
            continue
        seen[obj] = None
        if len(seen) > MOST_OBJECTS or any(map(sources_in, _fields(obj))):
            return False
        if isinstance(obj, Instance):
            reached.classes[obj.cls] = None
        if isinstance(obj, Instance | Layer):
            reached.fields.update(obj.fields)
        objects += [held for field in _fields(obj) for held in _held(field)]
    machine.spend(len(seen) // OBJECTS_PER_STEP)
    for cls in reached.classes:
        machine.noticed.build(cls)
    return True


def _fields(obj: HeapObject) -> Iterator[Value]:
    """What an object holds that may be, or hold, other objects or data."""
    for key, field in obj.fields.items():
        if type(field) in _HOLDING:
            yield field  # type: ignore[misc]  # which are values
        elif key is ITEMS:
            yield from (item for item in flat(items_of(obj)) if type(item) in _HOLDING)


def _held(value: object) -> Iterator[HeapObject]:
    match value:
        case Alternatives(values) | Group(values):
            yield from (v for v in values if isinstance(v, _CONTAINING))
        case HeapObject() if isinstance(value, _CONTAINING):
            yield value


def _behind(machine: Functions, reached: Reached) -> list[FunctionObject] | None:
    """All functions that may be called; None where one does more than fill weights."""
    found: dict[int, FunctionObject] = {}
    pending = list(reached.functions)
    root = pending[0]
    while pending:
        function = pending.pop()
        if id(function.definition) in found:
            continue
        found[id(function.definition)] = function
        machine.noticed.read(function)
        text = machine.relevance.once(filling, function.definition)
        if text is None or not _has_plain_decorators(function):
            return None
        if text.given and function.definition is not root.definition:
            return None  # nobody knows what such a parameter is here
        reached.functions.clear()
        objects: list[HeapObject] = []
        values = [*_variables(machine, function, text), *function.defaults]
        is_harmless = all(v is None or _is_harmless(v, reached, objects) for v in values)
        if not is_harmless or objects:
            return None
        methods = _methods(machine, text.attributes, reached.classes)
        if not _are_known(text, methods, reached):
            return None
        pending += [*reached.functions, *methods]
    return list(found.values())


def _are_known(text: Filling, methods: list[FunctionObject], reached: Reached) -> bool:
    """Whether all methods that a function calls are torch's own, or of the classes that it can
    reach; or whether it asks first, and no object has one."""
    if not text.methods.isdisjoint(reached.fields):
        return False
    others = text.methods.difference(method.name for method in methods) - text.tested
    return all(map(is_of_torch, others))


def _variables(machine: Core, function: FunctionObject, text: Filling) -> Iterator[Value]:
    """What the variables around a function hold, but for what is outside of the project."""
    for name in text.named:
        value = machine.load(name, function.frame)
        if not isinstance(value, External | ModuleReference):
            yield value
    for name in text.called:
        value = machine.load(name, function.frame)
        if not (isinstance(value, External) and _only_fills(value.name)):
            yield _UNKNOWN if value is ANYTHING else value


def _only_fills(name: str) -> bool:
    """Whether a function outside the project calculates, or fills a tensor."""
    package, _, last = name.rpartition(".")
    if package in ("torch.nn.init", "math"):
        return True
    return name == "functools.partial" or (package in ("builtins", "torch") and last in HARMLESS)


def _methods(
    machine: Core, names: Iterable[str], classes: Iterable[ClassObject]
) -> list[FunctionObject]:
    """The methods and properties of these names that objects of these classes have."""
    found = (machine.find(cls, name) for cls in classes for name in names)
    return [method for method in found if isinstance(method, FunctionObject)]


def _has_plain_decorators(function: FunctionObject) -> bool:
    """Whether nothing but torch and Python itself decorates a function."""
    return all(
        gradient_of(decorator) is not None
        or (isinstance(decorator, External) and decorator.name.startswith(("torch.", "builtins.")))
        for decorator in function.decorators
    )


_PLAIN = frozenset({Known, Parameters})
_CONTAINING = (Instance, Layer, Sequence, Mapping)
_HOLDING = frozenset({*_CONTAINING, Alternatives, Group, Tensor})
_UNKNOWN = External("unknown")
"""Stands for a function of which nothing is known; it may do anything."""
