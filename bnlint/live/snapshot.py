"""A snapshot of nested plain values that can be put back in place, bit by bit.

Containers (lists, dictionaries, sets, deques) are remembered by their elements, tensors and numpy
arrays by a copy of their data, random generators by their state, plain objects by their
attributes, everything else by reference.
Restoring refills the same container and tensor objects, so that whoever else holds them sees the
old state too.
"""

from __future__ import annotations

import io
import random
import sys
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from operator import is_
from types import MemberDescriptorType, SimpleNamespace
from typing import Any, Final

import torch
from torch import Tensor, nn

from bnlint.live.hooks import Hooks
from bnlint.live.tensors import restore_tensor

MAXIMAL_DEPTH = 6
"""Levels of plain objects and containers below a module that are remembered."""

MAXIMAL_VALUES = 200_000
"""Values that are remembered for one module, nearest first; a data set held by it stops here."""

_EMPTY: Final = object()
"""In place of the content of a slot that is not set."""

_CONTAINERS: Final = (dict, list, set, deque)
_CONSTANT: Final = frozenset({int, float, complex, bool, str, bytes, type(None), type})

_FOREIGN = ("torch.", "builtins", "threading", "logging", "concurrent.", "multiprocessing.")


class Snapshot:
    """Remembers values handed to `add` and puts them back with `restore`.

    shared: ids of tensors that somebody else takes care of (the parameters), and that are
    therefore not copied. unknown: by owner, what is not remembered, and why.
    """

    def __init__(self, shared: frozenset[int] = frozenset()) -> None:
        self.unknown: dict[str, str] = {}
        self._shared = shared
        self._owner = ""
        self._seen: set[int] = set()
        self._kept: list[object] = []
        self._undo: list[tuple[str, Callable[[], None]]] = []
        self._empty: list[dict[Any, Any]] = []

    def add(self, value: object, owner: str = "") -> None:
        """Remember a value, and all that hangs on it. owner: whose it is, for messages."""
        self._owner = owner
        pending: deque[tuple[object, int]] = deque([(value, 0)])
        budget = MAXIMAL_VALUES
        while pending and budget:
            budget -= 1
            current, depth = pending.popleft()
            if id(current) in self._seen:
                continue
            if depth > MAXIMAL_DEPTH:
                if isinstance(current, _CONTAINERS) or _is_plain_object(current):
                    self.unknown[owner] = f"its attributes go deeper than {MAXIMAL_DEPTH} levels"
                continue
            parts = self._remember(current)
            if parts is None:
                continue
            self._seen.add(id(current))
            self._kept.append(current)
            pending += [(part, depth + 1) for part in parts if type(part) not in _CONSTANT]
        if pending:
            self.unknown[owner] = f"it holds more than {MAXIMAL_VALUES} values"

    def add_instance(self, value: object, owner: str = "") -> None:
        """Remember an object, whatever its class is: the class, and all its attributes."""
        cls, attributes = type(value), vars(value)
        self._note(lambda: _restore_instance(value, cls, attributes), owner)
        self.add(attributes, owner)

    def add_class(self, cls: type, owner: str = "") -> None:
        """Remember the attributes of a class; of one that is not torch's, what they hold, too."""
        attributes = dict(vars(cls))
        self._note(lambda: _restore_class(cls, attributes), owner)
        if not cls.__module__.startswith(_FOREIGN):
            for value in attributes.values():
                self.add(value, owner)

    def restore(self) -> dict[str, str]:
        """Put everything back as it was; by owner, why something could not be."""
        failed: dict[str, str] = {}
        for empty in self._empty:
            if dict.__len__(empty):
                _refill_dict(empty, [], [])
        for owner, undo in self._undo:
            try:
                undo()
            except Exception as error:  # of a class of the user's, or of memory that is gone
                failed[owner] = f"{type(error).__name__}: {error}"
        return failed

    def _note(self, undo: Callable[[], None], owner: str | None = None) -> None:
        self._undo.append((self._owner if owner is None else owner, undo))

    def _remember(self, value: object) -> list[object] | None:
        """Note how to restore this value; its parts, or None when it cannot change."""
        match value:
            case Tensor():
                return self._remember_tensor(value)
            case nn.Module():
                return None  # modules are remembered one by one, by whoever walks the model
            case dict() if not dict.__len__(value):
                self._empty.append(value)  # most of them: a module has a dozen tables of hooks
                return None
            case dict():
                keys, values = list(dict.keys(value)), list(dict.values(value))
                self._note(lambda: _refill_dict(value, keys, values))
                return values
            case list() | deque():
                items = list(value)
                self._note(lambda: _refill_sequence(value, items))
                return items
            case set():
                members = set(value)
                self._note(lambda: _refill_set(value, members))
                return None
            case tuple():
                return list(value)
            case bytearray() | array():
                content = value[:]
                self._note(lambda: _refill_bytes(value, content))
                return []
            case torch.Generator():
                state = value.get_state()
                self._note(lambda: _set_generator(value, state))
                return []
            case random.Random():
                drawn = value.getstate()
                self._note(lambda: value.setstate(drawn))
                return []
        if _is_array(value):
            self._remember_array(value)
            return []
        if _is_numpy_generator(value):
            self._remember_numpy_generator(value)
            return []
        if _is_plain_object(value):
            return self._remember_object(value)
        if isinstance(value, Iterator) and not isinstance(value, io.IOBase):
            name = type(value).__name__
            self.unknown[self._owner] = f"it holds a {name}, which cannot be turned back"
        return None

    def _remember_object(self, value: object) -> list[object]:
        """An instance: its class, its `__dict__`, the attributes that are slots of its classes."""
        slots = _slots(value)
        if slots:
            self._note(lambda: _refill_slots(value, slots))
        held = [slot for slot in slots.values() if slot is not _EMPTY]
        if not hasattr(value, "__dict__"):
            return held
        cls, attributes = type(value), vars(value)
        self._note(lambda: _restore_instance(value, cls, attributes))
        return [attributes, *held]

    def _remember_tensor(self, tensor: Tensor) -> list[object] | None:
        if id(tensor) in self._shared:
            return None
        copy, alias, hooks = tensor.detach().clone(), tensor.detach(), Hooks(tensor)
        wanted, is_leaf = tensor.requires_grad, tensor.is_leaf

        def undo() -> None:
            restore_tensor(tensor, alias, copy)
            if is_leaf and tensor.requires_grad is not wanted:
                tensor.requires_grad_(wanted)
            hooks.restore()

        self._note(undo)
        return [vars(tensor)]

    def _remember_numpy_generator(self, generator: Any) -> None:
        bits = generator.bit_generator
        state = bits.state

        def undo() -> None:
            bits.state = state

        self._note(undo)

    def _remember_array(self, array: Any) -> None:
        copy, is_writeable = array.copy(), array.flags.writeable

        def undo() -> None:
            if array.shape != copy.shape or array.tobytes() != copy.tobytes():
                array.flags.writeable = True
                if array.shape != copy.shape:
                    array.resize(copy.shape, refcheck=False)
                array[...] = copy
            if array.flags.writeable is not is_writeable:
                array.flags.writeable = is_writeable

        self._note(undo)


def _set_generator(generator: torch.Generator, state: Tensor) -> None:
    generator.set_state(state)


def _restore_instance(value: Any, cls: type, attributes: dict[str, object]) -> None:
    """Give an object its class and its very own `__dict__` back."""
    if type(value) is not cls:
        object.__setattr__(value, "__class__", cls)
    if vars(value) is not attributes:
        object.__setattr__(value, "__dict__", attributes)


def _restore_class(cls: type, attributes: dict[str, object]) -> None:
    for name in [name for name in vars(cls) if name not in attributes]:
        type.__delattr__(cls, name)
    for name, old in attributes.items():
        if vars(cls).get(name, _EMPTY) is not old:
            type.__setattr__(cls, name, old)


def _refill_dict(target: dict[Any, Any], keys: list[Any], values: list[Any]) -> None:
    """By the methods of the plain class: those of the user's may refuse, or do more."""
    if list(dict.keys(target)) == keys and all(map(is_, dict.values(target), values)):
        return
    plain: type[dict[Any, Any]] = OrderedDict if isinstance(target, OrderedDict) else dict
    plain.clear(target)
    for key, value in zip(keys, values):
        plain.__setitem__(target, key, value)


def _refill_sequence(target: list[Any] | deque[Any], items: list[Any]) -> None:
    if len(target) == len(items) and all(map(is_, target, items)):
        return
    plain: Any = deque if isinstance(target, deque) else list
    plain.clear(target)
    plain.extend(target, items)


def _refill_set(target: set[Any], members: set[Any]) -> None:
    if set(target) != members:
        set.clear(target)
        set.update(target, members)


def _refill_bytes(target: bytearray | array[Any], content: Any) -> None:
    if target != content:
        target[:] = content


def _slots(value: object) -> dict[str, object]:
    """The slots of an instance with what they hold."""
    names = [
        name
        for cls in type(value).__mro__
        for name, member in vars(cls).items()
        if isinstance(member, MemberDescriptorType)
    ]
    return {name: getattr(value, name, _EMPTY) for name in names}


def _refill_slots(target: object, slots: dict[str, object]) -> None:
    for name, old in slots.items():
        if getattr(target, name, _EMPTY) is old:
            continue
        if old is _EMPTY:
            object.__delattr__(target, name)
        else:
            object.__setattr__(target, name, old)  # also where the class is frozen


def _is_array(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _is_numpy_generator(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.random.Generator)


def _is_plain_object(value: object) -> bool:
    """Whether the value is an ordinary instance with attributes (a meter, a config, a cache)."""
    cls = type(value)
    if isinstance(value, (type, SimpleNamespace)):
        return isinstance(value, SimpleNamespace)
    if cls.__module__.startswith(_FOREIGN) or cls.__module__ == "torch" or callable(value):
        return False
    return isinstance(getattr(value, "__dict__", None), dict) or bool(_slots(value))
