"""The store: writes to heap objects that can be taken back, for branches and loops."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TypeAlias

from bnlint.source.joining import ABSENT, is_same, join_fields
from bnlint.source.values import (
    ITEMS,
    MAYBE,
    ClassObject,
    Frame,
    HeapObject,
    Instance,
    Layer,
    ModuleScope,
    PendingImport,
    maybe_absent,
)

Key: TypeAlias = tuple[HeapObject, object]
Changes: TypeAlias = dict[Key, object]


JOINS_PER_STEP = 4


class Store:
    """All writes go through here, so that the two sides of a branch start from the same state.

    charge: told of work that statements do not show (joining many outcomes), in steps.
    """

    def __init__(self, charge: Callable[[int], None] = lambda work: None) -> None:
        self._charge = charge
        self._logs: list[Changes] = []
        self._versions: list[int] = []
        self._latest = 0
        self.version = 0
        """Names the state of all module objects: what was derived from them holds for as long as
        this is the same. A state that comes back has its old name."""
        self.definitions = 0
        """How often a variable of a file, or an attribute of a class, was written."""

    @property
    def depth(self) -> int:
        """The number of open logs."""
        return len(self._logs)

    def write(self, obj: HeapObject, key: object, value: object) -> None:
        """Set a field."""
        fields = obj.fields
        before = fields.get(key, ABSENT)
        if before is not value:
            if self._logs:
                self._logs[-1].setdefault((obj, key), before)
            if type(obj) is Frame and value is not ABSENT:
                fields[key] = value
                return
            self._put(obj, key, value)
        if MAYBE in fields and key in maybe_absent(obj):
            self.write(obj, MAYBE, maybe_absent(obj) - {key})

    def begin(self) -> None:
        """Open a log: what is written from now on can be taken back."""
        self._logs.append({})
        self._versions.append(self.version)

    def commit(self, gone: HeapObject | None = None) -> None:
        """Close the last log and keep its writes; an object that is gone needs no log any more."""
        log = self._logs.pop()
        self._versions.pop()
        if self._logs:
            outer = self._logs[-1]
            for key, before in log.items():
                if key[0] is not gone:
                    outer.setdefault(key, before)

    def rollback(self) -> Changes:
        """Close the last log, undo its writes, and return them."""
        log = self._logs.pop()
        changes: Changes = {}
        for place, before in log.items():
            obj, key = place
            fields = obj.fields
            changes[place] = fields.get(key, ABSENT)
            if type(obj) is not Frame:
                self._put(obj, key, before)
            elif before is ABSENT:
                fields.pop(key, None)
            else:
                fields[key] = before
        self.version = self._versions.pop()
        return changes

    @contextmanager
    def watched(self) -> Iterator[set[Key]]:
        """Collects the fields that have other values in the end."""
        changed: set[Key] = set()
        self.begin()
        try:
            yield changed
        finally:
            for (obj, key), before in self._logs[-1].items():
                if not is_same(before, obj.fields.get(key, ABSENT)):
                    changed.add((obj, key))
            self.commit()

    def capture(self, depth: int) -> Changes:
        """The current values of all fields written in the logs opened at `depth` and later."""
        return {key: key[0].fields.get(key[1], ABSENT) for log in self._logs[depth:] for key in log}

    def merge(self, outcomes: list[Changes], gone: HeapObject | None = None) -> None:
        """Write the join of alternative outcomes; each starts from the current state.

        gone: an object that nobody can ask any more.
        """
        if not outcomes:
            return
        if len(outcomes) == 1:
            self._charge(len(outcomes[0]) // JOINS_PER_STEP)
            for (obj, name), value in outcomes[0].items():
                if obj is not gone:
                    self.write(obj, name, value)
            return
        keys: Collection[Key] = dict.fromkeys(chain.from_iterable(outcomes))
        if gone is not None:
            keys = [key for key in keys if key[0] is not gone]
        self._charge(len(keys) * len(outcomes) // JOINS_PER_STEP)
        first, rest = outcomes[0], outcomes[1:]
        for key in keys:
            obj, name = key
            before = obj.fields.get(name, ABSENT)
            if type(before) is PendingImport:
                before = obj.value(name)
            joined = first.get(key, before)
            is_absent = joined is ABSENT
            for changes in rest:
                value = changes.get(key, before)
                if value is not joined:
                    is_absent |= value is ABSENT
                    joined = join_fields(joined, value)
            if not is_same(before, joined):
                self.write(obj, name, joined)
            if is_absent and joined is not ABSENT and isinstance(obj, Instance):
                self.write(obj, MAYBE, maybe_absent(obj) | {name})

    @contextmanager
    def permanent(self) -> Iterator[None]:
        """Writes inside are never taken back: a module that is imported stays imported."""
        logs, self._logs = self._logs, []
        versions, self._versions = self._versions, []
        before = self.version
        try:
            yield
        finally:
            self._logs = logs
            self._versions = versions if self.version == before else [*map(self._renamed, versions)]

    def _put(self, obj: HeapObject, key: object, value: object) -> None:
        if _is_of_module(obj):
            self._latest += 1
            self.version = self._latest
        elif isinstance(obj, _DEFINING):
            self.definitions += 1
        if value is ABSENT:
            obj.fields.pop(key, None)
        else:
            obj.fields[key] = value

    def _renamed(self, version: int) -> int:
        """A new name for an outer state, which has changed, too."""
        self._latest += 1
        return self._latest


_DEFINING = (ModuleScope, ClassObject)


def _is_of_module(obj: HeapObject) -> bool:
    """Whether an object is, or may be, a module or a container of modules."""
    if type(obj) is Instance:
        return obj.cls.derives_from_module is not False or ITEMS in obj.fields
    return type(obj) is Layer
