"""A snapshot of nested plain values that can be put back in place, bit by bit.

Containers (lists, dictionaries, sets, deques) are remembered by their elements, tensors and numpy
arrays by a copy of their data, random generators by their state, plain objects by their
attributes, everything else by reference.
Restoring refills the same container and tensor objects, so that whoever else holds them sees the
old state too.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable
from types import MemberDescriptorType, SimpleNamespace
from typing import Any, Final

import torch
from torch import Tensor, nn

from bnlint.live.tensors import same_bits

MAXIMAL_DEPTH = 6
"""Levels of plain objects and containers below a module that are remembered."""

MAXIMAL_VALUES = 200_000
"""Values that are remembered for one module, nearest first; a data set held by it stops here."""

_EMPTY: Final = object()
"""In place of the content of a slot that is not set."""

_FOREIGN = ("torch.", "builtins", "threading", "logging", "concurrent.", "multiprocessing.")


class Snapshot:
    """Remembers values handed to `add` and puts them back with `restore`.

    shared: ids of tensors that somebody else takes care of (the parameters), and that are
    therefore not copied.
    """

    def __init__(self, shared: frozenset[int] = frozenset()) -> None:
        self._shared = shared
        self._seen: set[int] = set()
        self._kept: list[object] = []
        self._undo: list[Callable[[], None]] = []

    def add(self, value: object) -> None:
        """Remember a value, and all that hangs on it."""
        pending: deque[tuple[object, int]] = deque([(value, 0)])
        budget = MAXIMAL_VALUES
        while pending and budget:
            budget -= 1
            current, depth = pending.popleft()
            if id(current) in self._seen or depth > MAXIMAL_DEPTH:
                continue
            parts = self._remember(current)
            if parts is None:
                continue
            self._seen.add(id(current))
            self._kept.append(current)
            pending += [(part, depth + 1) for part in parts]

    def restore(self) -> None:
        """Put everything back as it was."""
        for undo in self._undo:
            undo()

    def _remember(self, value: object) -> list[object] | None:
        """Note how to restore this value; its parts, or None when it cannot change."""
        match value:
            case Tensor():
                return self._remember_tensor(value)
            case nn.Module():
                return None  # modules are remembered one by one, by whoever walks the model
            case dict():
                elements = dict(value)
                self._undo.append(lambda: _refill_dict(value, elements))
                return list(elements.values())
            case list() | deque():
                items = list(value)
                self._undo.append(lambda: _refill_sequence(value, items))
                return items
            case set():
                members = set(value)
                self._undo.append(lambda: _refill_set(value, members))
                return None
            case tuple():
                return list(value)
            case torch.Generator():
                state = value.get_state()
                self._undo.append(lambda: _set_generator(value, state))
                return []
            case random.Random():
                drawn = value.getstate()
                self._undo.append(lambda: value.setstate(drawn))
                return []
        if _is_array(value):
            self._remember_array(value)
            return []
        if _is_numpy_generator(value):
            self._remember_numpy_generator(value)
            return []
        if _is_plain_object(value):
            return self._remember_object(value)
        return None

    def _remember_object(self, value: object) -> list[object]:
        """An instance: its `__dict__`, and the attributes that are slots of its classes."""
        slots = _slots(value)
        if slots:
            self._undo.append(lambda: _refill_slots(value, slots))
        attributes = [vars(value)] if hasattr(value, "__dict__") else []
        return [*attributes, *(held for held in slots.values() if held is not _EMPTY)]

    def _remember_tensor(self, tensor: Tensor) -> list[object] | None:
        if id(tensor) in self._shared:
            return None
        copy = tensor.detach().clone()
        alias = tensor.detach()
        self._undo.append(lambda: restore_tensor(tensor, alias, copy))
        return []

    def _remember_numpy_generator(self, generator: Any) -> None:
        bits = generator.bit_generator
        state = bits.state

        def undo() -> None:
            bits.state = state

        self._undo.append(undo)

    def _remember_array(self, array: Any) -> None:
        copy = array.copy()

        def undo() -> None:
            array[...] = copy

        self._undo.append(undo)


def _set_generator(generator: torch.Generator, state: Tensor) -> None:
    generator.set_state(state)


def restore_tensor(tensor: Tensor, alias: Tensor, copy: Tensor) -> None:
    """Give a tensor its old memory (`alias`) with its old content (`copy`), writing only if needed.

    `copy` is `alias` itself where the content is known to be untouched.
    """
    if copy is not alias and not same_bits(alias, copy):
        alias.data.copy_(copy)
    moved = tensor.data_ptr() != alias.data_ptr() or tensor.shape != alias.shape
    if moved or tensor.dtype != alias.dtype or tensor.device != alias.device:
        tensor.data = alias


def _refill_dict(target: dict[Any, Any], elements: dict[Any, Any]) -> None:
    same_keys = len(target) == len(elements) and list(target) == list(elements)
    if same_keys and all(target[key] is old for key, old in elements.items()):
        return
    target.clear()
    target.update(elements)


def _refill_sequence(target: list[Any] | deque[Any], items: list[Any]) -> None:
    if len(target) == len(items) and all(new is old for new, old in zip(target, items)):
        return
    target.clear()
    target.extend(items)


def _refill_set(target: set[Any], members: set[Any]) -> None:
    if target != members:
        target.clear()
        target.update(members)


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
