"""What a module is made of, as a number: modules of one number do the same with their input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

from bnlint.source.evaluate.module_classes import TorchLayer
from bnlint.source.store import Store
from bnlint.source.values import (
    PLAIN,
    Alternatives,
    Choice,
    FunctionObject,
    HeapObject,
    Instance,
    Known,
    Layer,
    Method,
    Partial,
    Repeat,
    Sequence,
    Soft,
    Tensor,
    Value,
)
from bnlint.source.values import Mapping as MappingValue


class _Numbered(NamedTuple):
    """A module, kept so that no other takes its id; version: see `Store.version`."""

    module: HeapObject
    version: int
    number: int | None


class Structures:
    """The numbers of the modules below one root. numbered: gives a content its number; paths: the
    qualified names of the modules by their ids."""

    def __init__(
        self, store: Store, numbered: Callable[[Hashable], int], paths: Mapping[int, str]
    ) -> None:
        self._store = store
        self._number_of = numbered
        self._paths = paths
        self._known: dict[int, _Numbered] = {}
        self._running: set[int] = set()
        self._weight = 1
        self.counts: Counter[int] = Counter()
        """How many parts of others there are of a number, two for one that is repeated."""

    def number(self, module: Instance | Layer) -> int | None:
        """The number of a module as it is now, wherever it was built; None where it holds data,
        itself, or what belongs to a module elsewhere."""
        known = self._known.get(id(module))
        if known is None or known.version != self._store.version:
            known = _Numbered(module, self._store.version, self._find(module))
            self._known[id(module)] = known
        return known.number

    def _find(self, module: Instance | Layer) -> int | None:
        if id(module) in self._running:
            return None
        self._running.add(id(module))
        try:
            content = self._module(module)
        except TypeError:
            return None
        finally:
            self._running.discard(id(module))
        return self._number_of(content)

    def _module(self, module: Instance | Layer) -> Hashable:
        path = self._paths.get(id(module))
        fields = tuple((key, self._part(value, path)) for key, value in module.fields.items())
        if isinstance(module, Instance):
            return module.cls, fields
        return module.name, tuple(module.parameters.items()), fields

    def _part(self, value: object, path: str | None) -> Hashable:
        """A hashable stand-in for what a module at `path` holds; raises TypeError where it has
        none."""
        if type(value) is Known:
            hash(value)
            return value
        match value:
            case Instance() | Layer():
                return self._name(value, path), value.place, self._numbered(value)
            case Alternatives(values):
                return ("one of", *(self._part(single, path) for single in values))
            case tuple() if type(value) is tuple:
                return tuple(self._part(single, path) for single in value)
            case Repeat(run):
                self._weight *= 2
                try:
                    return ("repeat", *(self._part(single, path) for single in run))
                finally:
                    self._weight //= 2
            case Choice(runs):
                return ("choice", *(self._part(run, path) for run in runs))
            case Sequence() | MappingValue():
                kind = value.kind if isinstance(value, Sequence) else "dict"
                entries = ((key, self._part(v, path)) for key, v in value.fields.items())
                return (kind, *entries)
            case Soft(inner, place):
                return "soft", self._part(inner, path), place
            case Method(receiver, name):
                return "method", self._part(receiver, path), name
            case FunctionObject(receiver=receiver) if receiver is not None:
                return value.definition.span, value.frame, self._part(receiver, path)
            case Partial(function, arguments, keywords):
                given = tuple((name, self._part(v, path)) for name, v in keywords)
                parts = tuple(self._part(v, path) for v in arguments)
                return "partial", self._part(function, path), parts, given
            case TorchLayer(name, parameters):
                return "layer", name, *parameters.items()
            case Tensor() if value.sources:
                raise TypeError
            case _ if isinstance(value, _PLAIN):
                return value
        raise TypeError(type(value).__name__)

    def _name(self, part: Value, path: str | None) -> str:
        """The name of a part below its holder, "" where it has none."""
        own = self._paths.get(id(part))
        if own is None:
            return ""
        if path is None or not is_below(own, path):
            raise TypeError
        return own[len(path) :]

    def _numbered(self, part: Instance | Layer) -> int:
        number = self.number(part)
        if number is None:
            raise TypeError
        self.counts[number] += self._weight
        return number


def is_below(path: str, above: str) -> bool:
    """Whether a qualified name is that of a module, or of a part of it."""
    return not above or path == above or path.startswith(f"{above}.")


_PLAIN = (*PLAIN, FunctionObject, Tensor, bool, frozenset, int, str, type(None))
