"""Files that say something else than before: what has changed in them, and where the rest is now.

Unlike functions that nobody has seen (`unseen`), what has changed may have been run. Functions and
classes may say something else, come and go; so may what names a file binds to plain values. Whoever
depended on any of that must be drawn again; where it cannot be told who that is, all must.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from bnlint.finding import Place
from bnlint.source import ir
from bnlint.source.cache.looked import Looked
from bnlint.source.cache.mentions import bound_or_named, run_with, with_inner
from bnlint.source.cache.moved import collapsed, parts, spans
from bnlint.source.cache.unseen import CodeChangedError, key_of
from bnlint.source.facts import FileFacts
from bnlint.source.noticed import ALL_NAMES
from bnlint.source.objects import TRAINS_ITSELF, switched
from bnlint.source.outcome import Outcome
from bnlint.source.project import Project
from bnlint.source.relevance import COMMON, SEEDS, Relevance
from bnlint.source.scripts import is_script
from bnlint.source.search_path import added_folders
from bnlint.source.walk import definitions, walk

MOST_CHANGES: Final = 40
"""Statements and functions of a file that may say something else."""
_Definition: TypeAlias = ir.Function | ir.Class


class Replaced(NamedTuple):
    """A statement that has become another one; None where there was or is none. cls: the class in
    whose body that is."""

    old: ir.Statement | None
    new: ir.Statement | None
    cls: ir.Class | None


class Reworked:
    """Two versions of one file; raises CodeChangedError where they differ in too much."""

    def __init__(self, old: Outcome | None, new: Outcome) -> None:
        if old is None:
            raise CodeChangedError("it is not known any more what has changed in it")
        self.old, self.new = _facts(old), _facts(new)
        self.path = self.old.path
        self.starts: dict[int, int] = {}
        """Where the definitions of the old version begin in the new one."""
        self._pairs: list[tuple[_Definition, _Definition]] = []
        """The functions that say something else."""
        self._replaced: list[Replaced] = []
        self._spans: dict[ir.Span, ir.Span] = {}
        self._align(self.old.body, self.new.body, None)
        for definition in definitions(self.old.body):
            now = self._spans.get(definition.span)
            if now is not None:
                self.starts[definition.span[0]] = now[0]
        for tell in (added_folders, is_script, _mentions_batchnorm):
            if tell(self.old) != tell(self.new):
                raise CodeChangedError("the file as a whole says something else")

    # --- what has changed ----------------------------------------------------------------------

    def _align(self, old: ir.Body, new: ir.Body, cls: ir.Class | None) -> None:
        """Find the statements of both versions that are the same, but for what functions do."""
        for first, second in _paired(old, new):
            if first is not None and second is not None and self._is_same(first, second):
                continue
            match first, second:
                case ir.Class() as one, ir.Class() as other if self._has_same_head(one, other):
                    self._align(one.body, other.body, one)
                    continue
            self._replaced.append(Replaced(first, second, cls))
            if len(self._replaced) > MOST_CHANGES:
                raise CodeChangedError("much of it has changed")
            if isinstance(first, _DEFINITIONS) and isinstance(second, _DEFINITIONS):
                self._add(first.span, second.span)
                self._pairs.append((first, second))

    def _is_same(self, old: object, new: object) -> bool:
        size = len(self._pairs)
        try:
            found = list(spans(old, new, self))
        except CodeChangedError:
            del self._pairs[size:]
            return False
        for first, second in found:
            self._add(first, second)
        return True

    def _has_same_head(self, old: ir.Class, new: ir.Class) -> bool:
        """Whether two classes have name, bases and decorators in common."""
        inside = [(one, other) for name, one, other in parts(old, new) if name not in _OF_CLASSES]
        if not self._is_same(*map(tuple, zip(*inside))):
            return False
        self._add(old.span, new.span)
        self._add(old.header, new.header)
        return True

    def change(self, old: ir.Function, new: ir.Function) -> None:
        """Accept another body of a function; raises CodeChangedError where it defines something
        else."""
        if len(self._pairs) > MOST_CHANGES:
            raise CodeChangedError("much of it has changed")
        before, after = list(definitions(old.read())), list(definitions(new.read()))
        if [(type(d), d.name) for d in before] != [(type(d), d.name) for d in after]:
            raise CodeChangedError
        self._pairs.append((old, new))
        for first, second in zip(before, after):
            self._add(first.span, second.span)

    def _add(self, old: ir.Span, new: ir.Span) -> None:
        if self._spans.setdefault(old, new) != new:
            raise CodeChangedError("code has come apart that stood at one place")

    @property
    def has_changed(self) -> bool:
        """Whether more than the layout has changed."""
        return bool(self._pairs or self._replaced)

    @cached_property
    def local(self) -> frozenset[int]:
        """Where the definitions begin, in the old version, that functions make when they run."""
        functions = (d for d in definitions(self.old.body) if isinstance(d, ir.Function))
        return frozenset(inner.span[0] for f in functions for inner in definitions(f.read()))

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the file that mean something else than before."""
        found: set[str] = set()
        for old, new, cls in self._replaced:
            for statement in (old, new):
                if cls is None:
                    found |= _bound_by(statement)
                elif statement is not None and not isinstance(statement, ir.Function):
                    found.add(cls.name)  # who asks for the attribute has named the class
        return frozenset(found)

    def changed(self, relevance: Relevance) -> frozenset[int]:
        """Where the definitions begin, in the old version, that say something else: by themselves,
        in what they define or are a part of, or by the names that they mention."""
        edited = [old.span for old, _ in self._pairs]
        edited += [s.old.span for s in self._replaced if isinstance(s.old, _DEFINITIONS)]
        edited += [s.cls.header for s in self._replaced if s.cls is not None]
        return frozenset(
            d.span[0]
            for d in definitions(self.old.body)
            if any(_overlap(d.span, span) for span in edited)
            or not self.names.isdisjoint(relevance.profile(d).spelled)
        )

    # --- where the rest is now -----------------------------------------------------------------

    def span(self, old: ir.Span) -> ir.Span | None:
        """Where a piece of code is now; None where it is not the same any more."""
        return self._spans.get(old)

    def place(self, old: Place) -> Place:
        """Where a place is now; raises CodeChangedError for one in changed code."""
        if old not in self._places:
            raise CodeChangedError("a place in it is gone that was told of")
        return self._places[old]

    def is_rewritten(self, place: Place) -> bool:
        """Whether a place of the new version is in a definition that says something else."""
        return any(start <= place.line <= end for start, end in self._rewritten)

    @cached_property
    def _rewritten(self) -> list[tuple[int, int]]:
        new = [second for _, second in self._pairs]
        new += [s.new for s in self._replaced if isinstance(s.new, _DEFINITIONS)]
        found = (self.new.place(definition.span) for definition in new)
        return [(place.line, place.end_line) for place in found]

    @cached_property
    def _places(self) -> Mapping[Place, Place]:
        found: dict[Place, Place] = {Place(self.path, 1): Place(self.path, 1)}
        for first, second in self._spans.items():
            place, now = self.old.place(first), self.new.place(second)
            if found.setdefault(place, now) != now:
                raise CodeChangedError("code has come apart that stood at one place")
            if place.end_line > place.line:
                found[collapsed(place)] = collapsed(now)
        return found

    # --- who else may depend on it -------------------------------------------------------------

    def check(self, looked: Looked, relevance: Relevance, project: Project) -> None:
        """Raise CodeChangedError where it cannot be told who depends on what has changed."""
        asked = looked.names.get(self.path, ())
        self._check_names(asked, project)
        pieces = [code for pair in (*self._pairs, *self._statements()) for code in pair if code]
        if any(_calls_one_of(code, looked.called) for code in pieces):
            raise CodeChangedError("it calls a method that is hidden somewhere")
        for first, second in (*self._pairs, *self._statements()):
            if set(switched(walk(first))) != set(switched(walk(second))):
                raise CodeChangedError("it switches another object's model")
        for first, second in self._classes():
            may_be_base = ALL_NAMES in asked or first.name in asked
            if may_be_base and _told(first, relevance) != _told(second, relevance):
                raise CodeChangedError(f"{first.name} refers to other things than before")

    def keeps_relevance(self, relevance: Relevance, project: Project) -> bool:
        """Whether the same functions matter as before, by what has changed in this file alone."""
        pairs = (*self._pairs, *self._classes())
        return all(_keeps_its_name(*pair, relevance) for pair in pairs) and all(
            self._is_alone(statement, cls, relevance, project)
            for old, new, cls in self._replaced
            for statement in (old, new)
            if isinstance(statement, _DEFINITIONS)
            and not (isinstance(old, _DEFINITIONS) and isinstance(new, _DEFINITIONS))
        )

    def _statements(self) -> Iterator[tuple[ir.Statement | None, ir.Statement | None]]:
        return ((old, new) for old, new, _ in self._replaced)

    def _check_names(self, asked: Collection[str], project: Project) -> None:
        """That what names mean is decided by nothing but who mentions them in this file."""
        for old, new, cls in self._replaced:
            for statement in (old, new):
                if statement is not None and not _is_plain(statement, cls, self.path, project):
                    raise CodeChangedError("statements at its top have come or gone")
        if self.names and (ALL_NAMES in asked or not self.names.isdisjoint(asked)):
            raise CodeChangedError("other files ask for what has changed in it")
        own = {id(s) for pair in self._statements() for s in pair}
        around = {id(s.cls) for s in self._replaced}
        for statement in (*self.old.body, *self.new.body):
            heads: Iterable[object] = (statement,)
            if isinstance(statement, _DEFINITIONS):
                heads = (part for d in with_inner(statement) for part in run_with(d))
            if id(statement) in own | around:
                continue
            if any(not self.names.isdisjoint(bound_or_named(head)) for head in heads):
                raise CodeChangedError("what has changed is named at its top")

    def _is_alone(
        self, found: _Definition, cls: ir.Class | None, relevance: Relevance, project: Project
    ) -> bool:
        """Whether what comes or goes makes nothing relevant, for nobody mentions it."""
        if found.name in COMMON or not _refers_to_any(found, relevance):
            return True
        name = re.compile(rf"\b{found.name}\b".encode())
        for path in project.given:
            if path != self.path and name.search(_bytes_of(path)):
                facts = project.facts(path)
                if facts is None or found.name in relevance.profile(facts.body).spelled:
                    return False
        whole = [d for facts in (self.old, self.new) for d in definitions(facts.body)]
        others = (d for d in whole if d is not found and d is not cls and d.name != found.name)
        return not any(
            found.name in relevance.profile(other).spelled
            and other.name not in COMMON
            and not _overlap(other.span, found.span)
            for other in others
        )

    def _classes(self) -> list[tuple[ir.Class, ir.Class]]:
        """The classes around what has changed."""
        inside = [old.span for old, _ in self._pairs]
        inside += [s.cls.header for s in self._replaced if s.cls is not None]
        new = {d.span: d for d in definitions(self.new.body) if isinstance(d, ir.Class)}
        return [
            (d, new[self._spans[d.span]])
            for d in definitions(self.old.body)
            if isinstance(d, ir.Class)
            and self._spans.get(d.span) in new
            and any(_overlap(d.span, span) for span in inside)
        ]


_DEFINITIONS = (ir.Function, ir.Class)
_OF_CLASSES = ("body", "span", "header")


def _facts(outcome: Outcome) -> FileFacts:
    facts = outcome.facts
    if facts is None or outcome.problem is not None or facts.cells:
        raise CodeChangedError
    return facts


def _mentions_batchnorm(facts: FileFacts) -> bool:
    return facts.mentions_batchnorm


def _overlap(first: ir.Span, second: ir.Span) -> bool:
    return first[0] < second[1] and second[0] < first[1]


def _paired(
    old: ir.Body, new: ir.Body
) -> Iterator[tuple[ir.Statement | None, ir.Statement | None]]:
    """The statements of two versions that may be one and the same; None for what came or went."""
    before, after = [*map(key_of, old)], [*map(key_of, new)]
    if before == after:
        yield from zip(old, new)
        return
    from difflib import SequenceMatcher  # most runs compare nothing

    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, start, end, first, last in matcher.get_opcodes():
        if kind == "equal":
            yield from zip(old[start:end], new[first:last])
            continue
        yield from ((statement, None) for statement in old[start:end])
        yield from ((None, statement) for statement in new[first:last])


def _bound_by(statement: ir.Statement | None) -> set[str]:
    """The names that a statement at the top of a file binds."""
    match statement:
        case ir.Function(name) | ir.Class(name) | ir.Assign((ir.Name(name),)):
            return {name}
        case ir.Import(names):
            return {alias or name.partition(".")[0] for name, alias in names}
        case ir.ImportFrom(_, _, tuple(names)):
            return {alias or name for name, alias in names}
    return set()


def _is_plain(statement: ir.Statement, cls: ir.Class | None, path: str, project: Project) -> bool:
    """Whether all that a statement does is to bind a name that anybody who asks for it mentions."""
    match statement:
        case ir.Function() | ir.Class():
            return not statement.decorators
        case ir.Assign((ir.Name(),), value):
            return not any(isinstance(node, ir.Call | ir.Lambda) for node in walk(value))
        case ir.Evaluate(ir.Constant()):
            return True
        case ir.Import(names) if cls is None:
            first = [name.partition(".")[0] for name, _ in names]
            return all(
                name in project.relevance.outside and project.resolve(name, 0, path) is None
                for name in first
            )
        case ir.ImportFrom(module, 0, tuple(names)) if cls is None:
            is_known = not module.startswith("torch") or all(
                (alias or name) in project.relevance.building for name, alias in names
            )
            return is_known and project.resolve(module, 0, path) is None
    return False


def _told(code: _Definition, relevance: Relevance) -> object:
    """What is told of a class by its words, for those that derive from it."""
    profile = relevance.profile(code)
    senses = tuple(sense.isdisjoint(profile.referred) for sense in relevance.senses)
    return senses, profile.words & TRAINS_ITSELF


def _refers_to_any(code: _Definition, relevance: Relevance) -> bool:
    referred = relevance.profile(code).referred
    return any(not sense.isdisjoint(referred) for sense in relevance.senses) or (
        isinstance(code, ir.Class) and bool(code.bases)
    )


def _keeps_its_name(old: _Definition, new: _Definition, relevance: Relevance) -> bool:
    """Whether the name of a definition is as relevant as before: by the same words, or by one that
    needs no other; or whether it has always been."""
    if old.name in COMMON:
        return True
    before, after = (frozenset(relevance.profile(code).referred) for code in (old, new))
    for sense, words in zip(relevance.senses, SEEDS):
        if (before - after) & sense and after.isdisjoint(words):
            return False
        is_new = before.isdisjoint(sense) and not after.isdisjoint(sense)
        if is_new and not sense >= {old.name, f".{old.name}"}:
            return False
    return True


def _calls_one_of(code: object, names: Iterable[str]) -> bool:
    called = frozenset(names)
    return any(
        isinstance(node, ir.Call)
        and isinstance(node.function, ir.Attribute)
        and node.function.attr in called
        for node in walk(code)
    )


def _bytes_of(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CodeChangedError("a file cannot be read") from error
