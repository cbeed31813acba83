"""Lists, tuples, dictionaries, strings and module containers: iteration, indexing, methods."""

from __future__ import annotations

from collections.abc import Collection
from itertools import accumulate

from bnlint.source.evaluate.core import Core
from bnlint.source.evaluate.enums import is_enum, members_of
from bnlint.source.evaluate.folding import call_text
from bnlint.source.evaluate.module_classes import children, is_module_class, is_module_dict
from bnlint.source.joining import ABSENT, MAXIMAL_ALTERNATIVES, one_of
from bnlint.source.values import (
    ANYTHING,
    ITEMS,
    NONE,
    OPEN,
    OTHERS,
    Alternatives,
    Arguments,
    Choice,
    ClassObject,
    Element,
    FunctionObject,
    Group,
    HeapObject,
    Instance,
    Known,
    Layer,
    Loader,
    Mapping,
    Marker,
    Repeat,
    Sequence,
    Soft,
    Tensor,
    Value,
    alternatives,
    flat,
    hard,
    is_exact,
    items_of,
)

LONGEST_PART = 64
"""Elements that a slice of unknown bounds keeps in order."""


class Containers(Core):
    """Iteration and the methods of Python's containers."""

    def elements(self, value: Value) -> tuple[Element, ...] | None:
        """The elements that iterating over a value gives; None when unknown."""
        match value:
            case Soft(Known(str())):
                return (Repeat((ANYTHING,)),)  # the user gives other characters, or a list
            case Soft(inner):
                return self.elements(inner)
            case Sequence():
                return items_of(value)
            case Layer() | Instance() if ITEMS in value.fields:
                return self._module_elements(value)
            case Mapping():
                keys = tuple(Known(key) for key, _ in _entries(value))
                return self._maybe_open(value, keys, ANYTHING)
            case Known(str() as text) if len(text) <= 64:
                return tuple(Known(character) for character in text)
            case ClassObject() if is_enum(value):
                return members_of(value)
            case Tensor():
                return (Repeat((value,)),)
            case Loader(batch):
                return (Repeat((Tensor(batch=batch, loader=value),)),)
            case Alternatives(values):
                runs = [self.elements(single) for single in values if single != NONE]
                known = tuple(run for run in runs if run is not None)
                if len(known) != len(runs):
                    return (Choice((*known, (Repeat((ANYTHING,)),))),) if known else None
                return known[0] if len(known) == 1 else (Choice(known),)
        return None

    def _module_elements(self, value: Layer | Instance) -> tuple[Element, ...]:
        if is_module_dict(value):
            return tuple(Known(name) for name, _ in children(value))
        return items_of(value)

    def sequence_method(
        self, value: Sequence | Layer | Instance, name: str, arguments: Arguments
    ) -> Value:
        """A method of a list, or of a Sequential or ModuleList."""
        items = items_of(value)
        first = arguments.get(0, "module") or ANYTHING
        match name:
            case "append" | "add":
                self.store.write(value, ITEMS, (*items, first))
            case "extend":
                more = self.elements(first)
                self.store.write(
                    value, ITEMS, items + ((Repeat((ANYTHING,)),) if more is None else more)
                )
            case "insert":
                self._insert(value, items, arguments)
            case "pop":
                return self._pop(value, items, arguments)
            case "__delitem__":
                self._remove(value, items, hard(first))
            case "reverse":
                self.store.write(value, ITEMS, items[::-1])
            case "__getitem__":
                return self.item(items, first, value)
            case "copy" | "tolist" | "numpy":
                return Sequence("list", items)
            case "split":
                return self._split(items, first)
            case "index" | "count":
                return ANYTHING
            case "clear":
                self.store.write(value, ITEMS, ())
            case _:
                return ANYTHING
        return value if isinstance(value, Layer | Instance) else NONE

    def _split(self, items: tuple[Element, ...], sizes: Value) -> Value:
        """`rates.split([2, 2])`: consecutive parts of these lengths."""
        lengths = [hard(v) for v in flat(self.elements(sizes) or ())]
        numbers = [v.value for v in lengths if isinstance(v, Known) and type(v.value) is int]
        if len(numbers) != len(lengths) or sum(numbers) != len(items) or not is_exact(items):
            return ANYTHING
        ends = list(accumulate(numbers))
        parts = (items[end - length : end] for end, length in zip(ends, numbers))
        return Sequence("list", tuple(Sequence("list", part) for part in parts))

    def _insert(
        self, value: Sequence | Layer | Instance, items: tuple[Element, ...], arguments: Arguments
    ) -> None:
        position = hard(arguments.get(0, "index") or ANYTHING)
        element = arguments.get(1, "module") or ANYTHING
        if isinstance(position, Known) and isinstance(position.value, int) and is_exact(items):
            at = position.value
            self.store.write(value, ITEMS, (*items[:at], element, *items[at:]))
        else:
            self.store.write(value, ITEMS, (Repeat((*items, element)),))

    def _pop(
        self, value: Sequence | Layer | Instance, items: tuple[Element, ...], arguments: Arguments
    ) -> Value:
        position = hard(arguments.get(0, "index") or Known(-1))
        if not (isinstance(position, Known) and isinstance(position.value, int)):
            return one_of(flat(items))
        if not is_exact(items) or not -len(items) <= position.value < len(items):
            return one_of(flat(items))
        at = position.value % len(items)
        self.store.write(value, ITEMS, items[:at] + items[at + 1 :])
        return items[at]

    def _remove(
        self, value: Sequence | Layer | Instance, items: tuple[Element, ...], key: Value
    ) -> None:
        """`del value[key]`."""
        if isinstance(key, Sequence) and key.kind == "slice":
            removed = list(flat(items_of(self._slice(items, key, value))))  # type: ignore[arg-type]
            kept = tuple(e for e in items if not any(e is r for r in removed))
        elif isinstance(key, Known) and isinstance(key.value, int) and is_exact(items):
            at = key.value % len(items) if items else 0
            kept = items[:at] + items[at + 1 :]
        else:
            kept = (Repeat(items),) if items else ()
        self.store.write(value, ITEMS, kept)

    def item(self, items: tuple[Element, ...], index: Value, owner: HeapObject) -> Value:
        """`items[index]`, for numbers and slices."""
        key = hard(index)
        if isinstance(key, Sequence) and key.kind == "slice":
            return self._slice(items, key, owner)
        if isinstance(key, Known) and isinstance(key.value, int):
            return self._at(items, key.value)
        return one_of(flat(items))

    def _at(self, items: tuple[Element, ...], index: int) -> Value:
        before = items[: index + 1] if index >= 0 else items[index:]
        inexact = not is_exact(before) or not -len(items) <= index < len(items)
        if inexact:
            return one_of(flat(items))
        return items[index]  # type: ignore[return-value]

    def _slice(self, items: tuple[Element, ...], key: Sequence, owner: HeapObject) -> Value:
        taken = _taken(items, [hard(bound) for bound in flat(items_of(key))])
        if isinstance(owner, Layer):
            part = Layer(owner.name, {}, owner.place)
            part.fields[ITEMS] = taken
            return part
        return Sequence(owner.kind if isinstance(owner, Sequence) else "list", taken)

    def mapping_method(
        self, value: Mapping | Layer | Instance, name: str, arguments: Arguments
    ) -> Value:
        """A method of a dictionary or a ModuleDict."""
        key = _key(value, arguments.get(0, "key") or ANYTHING)
        others = value.value(OTHERS) or ANYTHING
        match name:
            case "__getitem__" | "get" | "pop" | "setdefault":
                return self._entry(value, key, arguments, name)
            case "items":
                pairs = [Sequence("tuple", (Known(k), v)) for k, v in _entries(value)]
                other = Sequence("tuple", (ANYTHING, others))
                return Sequence("list", self._maybe_open(value, tuple(pairs), other))
            case "values":
                values = tuple(v for _, v in _entries(value))
                return Sequence("list", self._maybe_open(value, values, others))
            case "keys":
                return Sequence("list", self.elements(value) or ())
            case "__delitem__" if isinstance(key, Known) and key.value in value.fields:
                self.store.write(value, key.value, ABSENT)
                return NONE
            case "update":
                self._update(value, key if isinstance(key, HeapObject) else None, arguments)
                return NONE
            case "copy":
                copied = Mapping()
                copied.fields.update(value.fields)
                return copied
        return ANYTHING

    def _maybe_open(
        self, value: HeapObject, items: tuple[Value, ...], other: Value
    ) -> tuple[Element, ...]:
        """The known items; of an open dictionary any number of them, or of `other`."""
        if not value.fields.get(OPEN):
            return items
        known = items if items and OTHERS not in value.fields else (*items, other)
        return (Repeat(known),)

    def _entry(self, value: HeapObject, key: Value, arguments: Arguments, method: str) -> Value:
        default = arguments.get(1, "default")
        others = value.value(OTHERS) or ANYTHING
        if not isinstance(key, Known):
            if value.fields.get(OPEN):
                return others
            entries = [entry for _, entry in _entries(value)]
            chosen = one_of(entries)
            return self.any_builder(entries) if chosen is ANYTHING else chosen
        found = value.value(key.value)
        if found is not None:
            if method == "pop":
                self.store.write(value, key.value, ABSENT)
            return found
        if value.fields.get(OPEN) or method == "__getitem__":
            return others
        if method == "setdefault" and default is not None:
            self.store.write(value, key.value, default)
        return NONE if default is None else default

    def any_builder(self, entries: Collection[Value]) -> Value:
        """What a name that nobody knows may mean among these: one of those that build models."""
        functions = [e for e in entries if isinstance(e, FunctionObject) and self._is_builder(e)]
        classes = [e for e in entries if isinstance(e, ClassObject) and is_module_class(e)]
        found: list[Value] = [*functions, *classes]
        return one_of([*found[: MAXIMAL_ALTERNATIVES - 1], ANYTHING])

    def _is_builder(self, function: FunctionObject) -> bool:
        """Whether a function may be one that builds a model."""
        name = function.name
        return name.islower() and name[0] != "_" and name in self.relevance.building

    def _update(self, value: HeapObject, other: HeapObject | None, arguments: Arguments) -> None:
        if isinstance(other, Mapping):
            for key, entry in other.fields.items():
                self.store.write(value, key, entry)
        elif arguments.positional:
            self.store.write(value, OPEN, True)
        for name, entry in arguments.keywords.items():
            self.store.write(value, name, entry)

    def text_method(self, text: str, name: str, arguments: Arguments) -> Value:
        """A method of a known string."""
        given = [hard(value) for value in arguments.positional]
        plain = [value.value for value in given if isinstance(value, Known)]
        if len(plain) != len(given) or name not in TEXT_METHODS:
            return ANYTHING
        named = {k: v.value for k, v in arguments.keywords.items() if isinstance(v, Known)}
        return call_text(text, name, plain, named)

    def group_members(self, value: Value) -> tuple[Value, ...]:
        """The single objects behind a value."""
        if isinstance(value, Group):
            return value.members
        return alternatives(value)

    def length(self, value: Value) -> Value:
        """`len(value)`."""
        if isinstance(value, Known) and isinstance(value.value, str):
            return Known(len(value.value))
        if isinstance(value, Mapping):
            return ANYTHING if value.fields.get(OPEN) else Known(len(value.fields))
        elements = self.elements(value) if not isinstance(value, Tensor | Loader) else None
        if elements is None or not is_exact(elements):
            return ANYTHING
        return Known(len(elements))


TEXT_METHODS = frozenset(
    (
        "format lower upper split rsplit startswith endswith replace strip lstrip rstrip "
        "capitalize title removeprefix removesuffix isdigit partition rpartition zfill"
    ).split()
)


def _key(value: HeapObject, given: Value) -> Value:
    """A key of a dictionary; the default of an option that names no entry stands for any."""
    key = hard(given)
    is_absent = isinstance(key, Known) and key.value not in value.fields
    return ANYTHING if isinstance(given, Soft) and is_absent else key


def _entries(value: HeapObject) -> list[tuple[object, Value]]:
    return [
        (key, entry)  # type: ignore[misc]  # fields hold values
        for key, entry in value.fields.items()
        if not isinstance(key, Marker)
    ]


def _taken(items: tuple[Element, ...], bounds: list[Value]) -> tuple[Element, ...]:
    """What a slice with these bounds takes; where one is unknown, each element perhaps."""
    known = [b.value for b in bounds if isinstance(b, Known) and isinstance(b.value, int | None)]
    if len(bounds) == 3 and is_exact(items):
        if len(known) == 3 and known[2] != 0:
            return items[known[0] : known[1] : known[2]]
        start, end = (b.value if isinstance(b, Known) else None for b in bounds[:2])
        if bounds[2] == NONE and isinstance(start, int | None) and isinstance(end, int | None):
            items = items[start:end]
    if len(items) > LONGEST_PART:
        return (Repeat((one_of(flat(items)),)),)
    return tuple(Choice(((), (item,))) for item in items)
