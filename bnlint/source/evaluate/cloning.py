"""Copies of module objects: new identity, same structure."""

from __future__ import annotations

from typing import NamedTuple

from bnlint.source.values import (
    Alternatives,
    AnythingType,
    Arguments,
    Choice,
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
    ModeFlag,
    Parameters,
    Partial,
    Repeat,
    Sequence,
    Soft,
    Value,
    items_of,
)

MOST_OBJECTS = 10_000
"""Objects that templates hold; each takes about a kilobyte."""


class Template(NamedTuple):
    """A module to be copied. size: the objects that each copy is made of; modules: how many of
    these are modules, with half of the elements that they hold; texts: see `recall.Kept`."""

    module: Instance
    size: int
    modules: int
    texts: frozenset[int]


class Templates:
    """Modules to be copied, by what they were built of; the oldest are forgotten when all together
    hold many objects."""

    def __init__(self) -> None:
        self._known: dict[object, Template] = {}
        self._size = 0

    def get(self, key: object) -> Template | None:
        """The template for a class and arguments; None where there is none."""
        return self._known.get(key)

    def keep(self, key: object, made: Template) -> None:
        """Keep a template, as long as there is room."""
        self._known[key] = made
        self._size += made.size
        while self._size > MOST_OBJECTS and len(self._known) > 1:
            self._size -= self._known.pop(next(iter(self._known))).size


def clone(value: Value) -> Value:
    """A deep copy of modules and the containers that hold them; all else is shared."""
    return _clone(value, {})  # type: ignore[return-value]  # a copy has its original's type


def template(module: Instance, texts: frozenset[int]) -> Template | None:
    """A deep copy of a module as it is now, with its size; None where something in it, as the
    parameters in an optimizer or a bound method, goes on to mean the original."""
    seen: dict[int, HeapObject] = {}
    copied = _clone_object(module, seen)
    assert isinstance(copied, Instance)
    if any(_means_an_object(entry) for part in seen.values() for entry in part.fields.values()):
        return None
    modules = [part for part in seen.values() if isinstance(part, Instance | Layer)]
    weight = sum(1 + len(items_of(part)) // 2 for part in modules)
    return Template(copied, len(seen), weight, texts)


def _means_an_object(value: object) -> bool:
    """Whether a value that copies share stands for one object of its own."""
    if type(value) not in _WITH_OBJECTS:
        return False
    match value:
        case Parameters() | Group() | ModeFlag():
            return True
        case FunctionObject():
            return value.receiver is not None
        case Method(receiver):
            return isinstance(receiver, Instance | Layer)
        case Alternatives(values):
            return any(map(_means_an_object, values))
    return False


_WITH_OBJECTS = frozenset({Parameters, Group, ModeFlag, FunctionObject, Method, Alternatives})


def template_key(cls: ClassObject, arguments: Arguments) -> object | None:
    """What decides the structure of a module: its class and its arguments by content.

    None when an argument is an object of its own (another module, say): then each is built anew.
    """
    try:
        positional = tuple(_content(value) for value in arguments.positional)
        keywords = tuple((name, _content(v)) for name, v in sorted(arguments.keywords.items()))
    except TypeError:
        return None
    return (cls, positional, keywords, arguments.unknown)


def content_of(value: object) -> object | None:
    """A hashable stand-in for a constant value; None for data and objects with an identity."""
    try:
        return None if isinstance(value, AnythingType) else _content(value)
    except TypeError:
        return None


def _content(value: object) -> object:
    """A hashable stand-in for a value; raises TypeError for objects with an identity."""
    if type(value) in _SHARED:
        return value
    match value:
        case Soft(inner):
            return ("soft", _content(inner))
        case Alternatives(values):
            return ("one of", tuple(_content(single) for single in values))
        case Method(receiver, name):
            return ("method", _content(receiver), name)
        case Sequence():
            return (value.kind, tuple(_content(item) for item in items_of(value)))
        case Repeat(run):
            return ("repeat", tuple(_content(item) for item in run))
        case Choice(runs):
            return ("choice", tuple(tuple(_content(item) for item in run) for run in runs))
        case Partial(function, positional, keywords):
            parts = tuple(_content(v) for v in positional)
            return (_content(function), parts, tuple((k, _content(v)) for k, v in keywords))
    raise TypeError(type(value).__name__)


_SHARED = frozenset({Known, External, ClassObject, FunctionObject, AnythingType})


def _clone(value: object, seen: dict[int, HeapObject]) -> object:
    if type(value) not in _COPIED:
        return value
    match value:
        case Instance() | Layer() | Sequence() | Mapping():
            return _clone_object(value, seen)
        case tuple() if type(value) is tuple:
            return tuple([_clone(item, seen) for item in value])
        case Alternatives(values):
            return Alternatives(tuple(_clone(item, seen) for item in values))  # type: ignore[misc]
        case Choice(runs):
            return Choice(tuple(_clone(run, seen) for run in runs))  # type: ignore[misc]
        case Repeat(run):
            return Repeat(_clone(run, seen))  # type: ignore[arg-type]
    return value


_COPIED = frozenset({Instance, Layer, Sequence, Mapping, tuple, Alternatives, Choice, Repeat})


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
    copied.fields = {
        key: _clone(entry, seen) if type(entry) in _COPIED else entry
        for key, entry in value.fields.items()
    }
    return copied
