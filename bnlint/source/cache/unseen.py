"""Changes of functions that no picture of a project would show.

A function that was never run and whose text decided nothing may say something else, as long as it
is still of no interest: by its words, as far as anybody judges by words. And a function that names
nothing but its own variables may come and go, and so may a constant, as long as nobody names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final

from msgspec.structs import replace

from bnlint.functional import DRAWS, SIGNATURES
from bnlint.overrides import SWITCHES
from bnlint.source import ir
from bnlint.source.cache.codec import may_contain
from bnlint.source.cache.looked import ACTING, BUILDING, SENSES, SETS_BY_NAME, Looked
from bnlint.source.cache.mentions import (
    assigned,
    bound_or_named,
    called,
    names_from_torch,
    possible_aliases,
    run_with,
    set_or_tested,
    with_inner,
)
from bnlint.source.facts import FileFacts
from bnlint.source.noticed import ALL_NAMES
from bnlint.source.outcome import Outcome
from bnlint.source.relevance import COMMON, Relevance
from bnlint.source.scripts import is_script
from bnlint.source.search_path import added_folders
from bnlint.source.variables import bound_by, unread
from bnlint.source.walk import definitions, walk
from bnlint.torchnames import TABLE, is_batchnorm

LARGEST: Final = 200
"""Nodes of a function that may come and go."""
_TOLD_BY: Final = frozenset({"super", "forward", "train", "backward", "step"})
"""Words that a method has or has not, which decides something about its class."""


class CodeChangedError(Exception):
    """More has changed than what no picture would show."""

    def __init__(self, words: str = "its code has changed") -> None:
        super().__init__(words)


class Unseen:
    """Two versions of one file, and what was looked at when pictures of the old one were drawn.

    paths: of all files of the project.
    """

    def __init__(
        self, looked: Looked, old: FileFacts, new: FileFacts, paths: Sequence[str] = ()
    ) -> None:
        self.looked = looked
        self._paths = paths
        self.old, self.new = old, new
        self.starts: dict[int, int] = {}
        """Where the functions of the old version begin in the new one."""
        self.grown = 0
        """Nodes that the new version has more than the old one."""
        self.has_changed = False
        """Whether more than the layout has changed."""
        self._constants: set[str] = set()
        self._pieces: list[ir.Statement] = []
        self._outside = frozenset(looked.outside)
        self._read = frozenset(looked.functions.get(old.path, ()))
        self._reader = Relevance.beside(looked.outside)

    # --- what the file as a whole says ---------------------------------------------------------

    def check_file(self) -> None:
        """Raise CodeChangedError where the file as a whole says something else, or where so many
        steps were needed that a little more code may count."""
        folders = (added_folders(facts) for facts in (self.old, self.new))
        if not _all_equal(folders) or not self._reads_the_same():
            raise CodeChangedError
        if self.room < 0:
            raise CodeChangedError("there were too few steps for the project")

    def _reads_the_same(self) -> bool:
        """Whether the same of the file's own variables are read as before."""
        bodies = (self.old.body, self.new.body)
        if assigned(bodies).isdisjoint(bound_or_named(tuple(self._pieces))):
            return True
        return _all_equal(set(unread(body)) - self._constants for body in bodies)

    @property
    def room(self) -> int:
        """Nodes by which the project may change further."""
        return self.looked.room - abs(self.grown)

    def looked_at_now(self) -> Looked:
        """What was looked at, with the places of the new version."""
        known = self.looked.functions.get(self.old.path, [])
        starts = sorted(self.starts[start] for start in known if start in self.starts)
        functions = {**self.looked.functions, self.old.path: starts}
        return replace(self.looked, functions=functions, room=self.room)

    # --- functions that say something else -----------------------------------------------------

    def change(self, old: ir.Function, new: ir.Function) -> None:
        """Accept another body of a function, or raise CodeChangedError."""
        self.has_changed = True
        self._pieces += (old, new)
        before, after = self._reader.profile(old), self._reader.profile(new)
        self.grown += after.size - before.size
        objection = self._objection(old, new)
        if objection and not (
            self._is_inert(old, self.old, new) and self._is_inert(new, self.new, old)
        ):
            raise CodeChangedError(f"{old.name}() {objection}")

    def _objection(self, old: ir.Function, new: ir.Function) -> str:
        """Why a picture may show another body of a function; empty where none would."""
        words = (self._reader.profile(function).words for function in (old, new))
        if old.span[0] in self._read or old.name in ("train", "eval"):
            return "was run or read"
        if any(map(self._is_sensitive, words)):
            return "mentions what rules look for"
        if not self._tell_the_same(old, new):
            return "refers to other things than before"
        if not self._calls_no_norm(old, new) or not self._fits_its_class(old, new):
            return "has new names in it"
        return ""

    def _tell_the_same(self, old: ir.Function, new: ir.Function) -> bool:
        """Whether all that is told of functions by their words is the same of both."""
        first, second = self._reader.profile(old), self._reader.profile(new)
        bodies = [self._senses(f.read(), ACTING) for f in (old, new)]
        gives = self.new.mentions_batchnorm and self._reader.gives(new)
        return (
            self._edges(old) == self._edges(new)
            and _all_equal(bodies)
            and first.words & _TOLD_BY == second.words & _TOLD_BY
            and (old.span in self._methods or not gives)
        )

    def _edges(self, function: ir.Function) -> list[tuple[str, dict[str, int]]]:
        """Which names of functions become relevant by what: of a function and those in it."""
        found = []
        for definition in (function, *definitions(function.read())):
            senses = self._senses(definition)
            if senses and (definition is function or definition.name not in COMMON):
                found.append((definition.name, senses))
        return found

    def _senses(self, code: object, wanted: int = sum(SENSES)) -> dict[str, int]:
        """The relevant words that code refers to, each with what it is relevant for."""
        known, referred = self.looked.senses, self._reader.profile(code).referred
        return {word: known[word] for word in referred if known.get(word, 0) & wanted}

    def _is_sensitive(self, words: frozenset[str]) -> bool:
        """Whether words are among those for which the texts of functions are searched."""
        return not words.isdisjoint(self._searched) or any("dropout" in word for word in words)

    @cached_property
    def _searched(self) -> frozenset[str]:
        last = {name.rpartition(".")[2] for name in SIGNATURES}
        norms = {name.rpartition(".")[2] for name in TABLE if is_batchnorm(name)}
        words = SWITCHES | SETS_BY_NAME | DRAWS | last | norms | set(self.looked.called)
        return words.union(names_from_torch(self.old.body), names_from_torch(self.new.body))

    def _calls_no_norm(self, old: ir.Function, new: ir.Function) -> bool:
        """Whether a function calls nothing more that may be a BatchNorm under another name."""
        more = called(new) - called(old)
        return not (more and self._has_star) and more.isdisjoint(self._aliases)

    def _fits_its_class(self, old: ir.Function, new: ir.Function) -> bool:
        """Whether a method hides no more of its class's methods behind attributes, and mentions no
        more names that may be functions of torch."""
        if old.span not in self._methods:
            return True
        switching = frozenset(self.looked.switching)
        if not switching.isdisjoint(set_or_tested(old) | set_or_tested(new)):
            return False
        first, second = (self._reader.profile(function).words for function in (old, new))
        searched = self.looked.parts.get(self.old.path, ())
        return (first | second).isdisjoint(searched) and (first ^ second).isdisjoint(self._aliases)

    @cached_property
    def _methods(self) -> frozenset[ir.Span]:
        """The places of the functions in the bodies of the old version's classes."""
        classes = (d for d in definitions(self.old.body) if isinstance(d, ir.Class))
        return frozenset(
            node.span for cls in classes for node in walk(cls.body) if isinstance(node, ir.Function)
        )

    @cached_property
    def _has_star(self) -> bool:
        """Whether the file has names that it does not name."""
        imports = (node for node in walk(self.new.body) if isinstance(node, ir.ImportFrom))
        return any(statement.names is None for statement in imports)

    @cached_property
    def _aliases(self) -> frozenset[str]:
        """What the file's own names are that may stand for something of torch."""
        return frozenset(n for facts in (self.old, self.new) for n in possible_aliases(facts.body))

    # --- functions that come and go ------------------------------------------------------------

    def aligned(self) -> tuple[ir.Body, ir.Body]:
        """The statements of both versions without functions that came or went; raises
        CodeChangedError for those that may not."""
        old, new = self.old.body, self.new.body
        if [*map(key_of, old)] == [*map(key_of, new)]:
            return old, new
        from difflib import SequenceMatcher  # most runs compare nothing

        pairs = SequenceMatcher(None, [*map(key_of, old)], [*map(key_of, new)], autojunk=False)
        kept: list[tuple[ir.Statement, ir.Statement]] = []
        for kind, start, end, first, last in pairs.get_opcodes():
            if kind == "equal":
                kept += zip(old[start:end], new[first:last])
                continue
            gone, come = old[start:end], new[first:last]
            self.has_changed = True
            self._pieces += (s for s in gone + come if not isinstance(s, ir.Assign))
            for statements, facts in ((gone, self.old), (come, self.new)):
                if not all(self._may_come_and_go(statement, facts) for statement in statements):
                    raise CodeChangedError("statements at its top have come or gone")
            self.grown += sum(self._reader.profile(statement).size for statement in come)
            self.grown -= sum(self._reader.profile(statement).size for statement in gone)
        if self.old.path in self.looked.strained:
            raise CodeChangedError("there were too few steps for it")
        return tuple(first for first, _ in kept), tuple(second for _, second in kept)

    def _may_come_and_go(self, statement: ir.Statement, facts: FileFacts) -> bool:
        match statement:
            case ir.Function():
                return self._is_inert(statement, facts)
            case ir.Assign((ir.Name(name),), ir.Constant()):
                self._constants.add(name)
                return self._is_unnamed(name, statement, None)
            case ir.Import(names) if all(self._is_of_python(name) for name, _ in names):
                bound = [alias or name for name, alias in names]
                if not self._outside.issuperset(bound) or facts is self.old:
                    return False  # what other files say of the name may mean something else
                return all(self._is_unnamed(name, statement, None) for name in bound)
            case ir.ImportFrom(module, 0, tuple(names)) if self._is_of_python(module):
                return all(self._is_unnamed(alias or n, statement, None) for n, alias in names)
        return False

    def _is_of_python(self, module: str) -> bool:
        """Whether a module of this name is Python's own and harmless, whoever imports it."""
        own = (f"/{module}.py", f"/{module}/")
        return module in _HARMLESS and not any(part in path for path in self._paths for part in own)

    def _is_inert(
        self, function: ir.Function, facts: FileFacts, other: ir.Function | None = None
    ) -> bool:
        """Whether a function of a file's own, run or not, does nothing, and nobody asks for it.
        other: what it is in the other version."""
        profile = self._reader.profile(function)
        defaults = (p.default for p in function.parameters)
        return (
            any(statement is function for statement in facts.body)
            and not function.decorators
            and all(default is None or isinstance(default, ir.Constant) for default in defaults)
            and not self._senses(function)
            and function.name not in self.looked.senses
            and not self._is_sensitive(profile.words)
            and not profile.loops
            and profile.size <= LARGEST
            and self._is_unnamed(function.name, function, other)
            and (
                not facts.mentions_batchnorm
                or not self._reader.gives(function)
                or self._is_closed(function, facts)
            )
        )

    def _is_unnamed(self, name: str, own: ir.Statement, other: ir.Statement | None) -> bool:
        """Whether nobody asks for what a statement binds: `own` itself, `other` in the other
        version."""
        asked = self.looked.names.get(self.old.path, ())
        if name in asked or ALL_NAMES in asked or name.startswith("__"):
            return False
        before = (s for s in self.old.body if s is not own and s is not other)
        after = (s for s in self.new.body if s is not own and s is not other)
        return not (
            any(self._mentions(statement, name, self._is_read(statement)) for statement in before)
            or any(self._mentions(statement, name, False) for statement in after)
        )

    def _mentions(self, statement: ir.Statement, name: str, is_read: bool) -> bool:
        """Whether a statement may mean, or bind, a name of the file. What functions mention does
        not count where nobody has run them."""
        if not may_contain(statement, name):
            return False
        if is_read or not isinstance(statement, ir.Function | ir.Class):
            return name in bound_or_named(statement)
        heads = (part for d in with_inner(statement) for part in run_with(d))
        return statement.name == name or any(name in bound_or_named(head) for head in heads)

    def _is_read(self, statement: ir.Statement) -> bool:
        """Whether a function of the old version, or one of a class, was run or read."""
        if not isinstance(statement, ir.Function | ir.Class):
            return False
        return any(d.span[0] in self._read for d in with_inner(statement))

    def _is_closed(self, function: ir.Function, facts: FileFacts) -> bool:
        """Whether a function names nothing but variables of its own, and no other one of the file
        has its words."""
        profile = self._reader.profile(function)
        inside = list(walk(function.read()))
        own = {parameter.name for parameter in function.parameters}
        own |= {name for node in inside if isinstance(node, ir.Assign) for name in bound_by(node)}
        if any(isinstance(node, _OPEN) for node in inside):
            return False
        named = {node.id for node in inside if isinstance(node, ir.Name)}
        others = (f for f in facts.body if isinstance(f, ir.Function) and f is not function)
        alike = (self._reader.profile(other).words for other in others)
        return named <= own and profile.words not in alike


def says_nothing(outcome: Outcome, looked: Looked) -> bool:
    """Whether a file that nobody has read, though it was there, begins no story of its own when it
    is asked for: it is no script, builds nothing, and runs, trains or sets no model."""
    facts = outcome.facts
    if facts is None or outcome.problem is not None or facts.mentions_batchnorm or is_script(facts):
        return False
    reader = Relevance.beside(looked.outside)
    known = looked.senses
    outside = tuple(s for s in facts.body if not isinstance(s, ir.Function | ir.Class))
    return (
        not any(known.get(word, 0) & ~BUILDING for word in reader.profile(facts.body).referred)
        and not any(known.get(word, 0) & BUILDING for word in reader.profile(outside).referred)
        and not added_folders(facts)
    )


_HARMLESS: Final = frozenset(
    "abc collections contextlib copy dataclasses datetime functools itertools json logging math "
    "operator os pathlib re string textwrap time typing warnings".split()
)
"""Modules of Python that a file may begin to import; none of them has a part in models."""
_OPEN: Final = (ir.Function, ir.Class, ir.Lambda, ir.Import, ir.ImportFrom, ir.Global, ir.Yield)
"""What makes a function more than a calculation on its arguments."""


def _all_equal(values: Iterator[object] | Sequence[object]) -> bool:
    first, *others = values
    return all(other == first for other in others)


def key_of(statement: ir.Statement) -> tuple[type[ir.Node], str]:
    """What statements have in common that may be one and the same, before and after a change."""
    match statement:
        case ir.Function(name) | ir.Class(name) | ir.Assign((ir.Name(name),)):
            return type(statement), name
        case ir.Import(names) | ir.ImportFrom(_, _, tuple(names)):
            return type(statement), ",".join(name for name, _ in names)
    return type(statement), ""
