"""Results of calls that only calculate, kept for the next call with the same arguments.

`get_padding(3, 1)`, `decode_block("ds_r1_k3_s1")`: a library of networks calculates the same few
things thousands of times. A call is kept when it was given constants and has done nothing but give
a value: no object that is older than the call was written, no module built, nothing noted. What it
has read of lists and dictionaries around it must still be there when it is recalled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from typing import NamedTuple, TypeAlias

from bnlint.source import ir
from bnlint.source.evaluate.cloning import clone
from bnlint.source.noticed import Noticed
from bnlint.source.store import Store
from bnlint.source.values import (
    PLAIN,
    Alternatives,
    Arguments,
    Choice,
    Frame,
    FunctionObject,
    HeapObject,
    Mapping,
    Method,
    Partial,
    Repeat,
    Sequence,
    Soft,
    Tensor,
    births,
    items_of,
)
from bnlint.source.values import Value as AnyValue

ENOUGH_REFUSALS = 4
"""Calls of a function that did more than calculate, beyond those that did not; then no more are
watched."""
LARGEST_READ = 100
"""Entries of a list or dictionary that a call may have read."""


Called: TypeAlias = "tuple[str, ir.Span]"


class CallKey(NamedTuple):
    """What decides the result of a call. view: see `Core.point_of_view`."""

    function: FunctionObject
    view: Hashable
    constants: Hashable


class Kept(NamedTuple):
    """What a call gave; called: the functions that it has run; reads: lists and dictionaries that
    it looked at, with their content; definitions: see `Store.definitions`; texts: of the
    definitions on which it depends, see `Noticed.reading`."""

    value: AnyValue
    called: dict[Called, None]
    reads: dict[HeapObject, dict[object, object]]
    definitions: int
    texts: frozenset[int]


class Recording:
    """A call that runs now. start: the births before it."""

    __slots__ = ("called", "is_pure", "reads", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.is_pure = True
        self.reads: dict[HeapObject, dict[object, object]] = {}
        self.called: dict[Called, None] = {}


class Recall:
    """The calls of one machine that only calculate."""

    def __init__(self, store: Store, noticed: Noticed) -> None:
        self._store = store
        self._noticed = noticed
        self._refused: Counter[tuple[FunctionObject, Hashable]] = Counter()
        """How many more calls of a function have done something else than have not."""
        self._kept: dict[CallKey, Kept] = {}
        self.running: list[Recording] = []
        self.listening: Recording | None = None
        """The call that runs now, as long as it does nothing but calculate."""

    def is_worthwhile(self, function: FunctionObject, view: Hashable) -> bool:
        """Whether the calls of a function may do nothing but calculate, by those so far."""
        return self._refused[function, view] < ENOUGH_REFUSALS

    def value(self, key: CallKey, called: dict[Called, None]) -> AnyValue | None:
        """What the same call gave before; what it ran then is called now."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        stale = kept.definitions != self._store.definitions
        if stale or any(obj.fields != content for obj, content in kept.reads.items()):
            del self._kept[key]
            return None
        called |= kept.called
        self._noticed.reading |= kept.texts
        if self.running:
            self.running[-1].reads.update(kept.reads)
            self.running[-1].called |= kept.called
        return clone(kept.value)

    def record(
        self, key: CallKey, run: Callable[[], AnyValue], happened: Callable[[], Hashable]
    ) -> AnyValue:
        """Run a call, and keep what it gives if that is all it does; `happened` tells."""
        store, before = self._store, happened()
        recording, definitions = Recording(births()), store.definitions
        self.running.append(recording)
        self.listening = recording
        outer = self._noticed.listen()
        try:
            with store.watched() as written:
                value = run()
        finally:
            texts = self._noticed.heard(outer)
            self.running.pop()
            self.listening = None
            if self.running:
                self._pass_on(recording, self.running[-1])
        same = before == happened() and definitions == store.definitions
        is_pure = recording.is_pure and same and _is_own(value, recording.start)
        is_kept = is_pure and all(obj.born > recording.start for obj, _ in written)
        self._refused[key.function, key.view] += -1 if is_kept else 1
        if is_kept:
            kept = Kept(
                clone(value),
                recording.called,
                recording.reads,
                definitions,
                texts,
            )
            self._kept[key] = kept
        return value

    def _pass_on(self, inner: Recording, outer: Recording) -> None:
        outer.is_pure &= inner.is_pure
        outer.called |= inner.called
        outer.reads.update(inner.reads)
        self.listening = outer if outer.is_pure else None

    def taint(self) -> None:
        """The calls that run now do more than calculate."""
        for recording in self.running:
            recording.is_pure = False
        self.listening = None

    def read(self, value: object, holder: HeapObject) -> None:
        """The call that runs now has read a value that a variable or class holds."""
        recording = self.listening
        if recording is None:
            return
        if type(holder) is Frame and holder.born <= recording.start:
            is_fixed = False  # of a function around this one, which may assign it anew
        else:
            is_fixed = isinstance(value, _STABLE) or _is_fixed(value, recording)
        if not is_fixed:
            recording.is_pure = False
            self.listening = None


def _is_fixed(value: object, recording: Recording) -> bool:
    """Whether a value that a call has read stays what it is, or shows by its content when it does
    not: that is noted."""
    if type(value) in _STABLE_KINDS:
        return True
    match value:
        case Alternatives():
            return all(_is_fixed(single, recording) for single in value.values)
        case Soft():
            return _is_fixed(value.value, recording)
        case Partial():
            return all(_is_fixed(part, recording) for part in _parts(value))
        case Method():
            return _is_fixed(value.receiver, recording)
        case HeapObject() if value.born > recording.start or value in recording.reads:
            return True
        case Sequence() | Mapping():
            recording.reads[value] = dict(value.fields)
            entries = items_of(value) if isinstance(value, Sequence) else value.fields.values()
            is_small = len(entries) <= LARGEST_READ
            return is_small and all(_is_fixed(entry, recording) for entry in entries)
    return isinstance(value, _STABLE)


def _parts(partial: Partial) -> Iterator[AnyValue]:
    yield partial.function
    yield from partial.arguments
    yield from (value for _, value in partial.keywords)


def constants_of(function: FunctionObject, arguments: Arguments) -> Hashable | None:
    """The arguments of a call of a file's function; None where they are more than constants."""
    if not function.is_of_file:
        return None
    try:
        positional = tuple(map(_content, arguments.positional))
        keywords = tuple((name, _content(v)) for name, v in arguments.keywords.items())
    except TypeError:
        return None
    return positional, keywords, arguments.unknown


def _content(value: object) -> Hashable:
    """A hashable stand-in for a constant; raises TypeError for objects and data."""
    kind = type(value)
    if kind in PLAIN:
        hash(value)  # a constant may be a list
        return value
    if isinstance(value, Soft):
        return ("soft", _content(value.value), value.place)
    if isinstance(value, Alternatives):
        return ("one of", *map(_content, value.values))
    if isinstance(value, FunctionObject) and value.is_of_file:
        return value
    if isinstance(value, Sequence):
        return (value.kind, *map(_content, items_of(value)))
    if isinstance(value, Partial):
        names = tuple(name for name, _ in value.keywords)
        return ("partial", names, *map(_content, _parts(value)))
    raise TypeError(kind.__name__)


def _is_own(value: object, start: int) -> bool:
    """Whether a result can be given out again: constants, and lists and dictionaries of them that
    the call has made itself."""
    if type(value) in _PLAIN_KINDS:
        return True
    match value:
        case Alternatives(values):
            return all(_is_own(single, start) for single in values)
        case Repeat(run):
            return all(_is_own(single, start) for single in run)
        case Choice(runs):
            return all(_is_own(single, start) for run in runs for single in run)
        case Soft(inner):
            return _is_own(inner, start)
        case Sequence():
            is_own = value.born > start or value.kind == "tuple"
            return is_own and all(_is_own(item, start) for item in items_of(value))
        case Mapping():
            entries = (v for v in value.fields.values() if isinstance(v, _VALUES))
            return value.born > start and all(_is_own(entry, start) for entry in entries)
        case Partial():
            return all(_is_own(part, start) for part in _parts(value))
        case FunctionObject():
            return value.is_of_file
        case Tensor():
            return not value.sources and value.loader is None
    return isinstance(value, _STABLE)


_STABLE = (*PLAIN, FunctionObject)
_PLAIN_KINDS = frozenset(PLAIN)
_STABLE_KINDS = frozenset(_STABLE)
_VALUES = (HeapObject, Alternatives, Soft, Partial, Tensor, Repeat, Choice, *_STABLE)
