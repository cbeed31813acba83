"""What the names of a file stand for, by its text alone: a definition, a value, or an import."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from bnlint.source import ir
from bnlint.source.facts import FileFacts
from bnlint.source.project import Project
from bnlint.source.variables import bound_by


class Bound(NamedTuple):
    """What a name is bound to in the file at a path."""

    node: ir.Function | ir.Class | ir.Expression
    path: str


Meaning: TypeAlias = Bound | str | None
"""What a name means: something of the project; the path of one of its modules; None for what lies
outside, or what cannot be told."""


class Bindings:
    """The names of the files of one project."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._tables: dict[str, dict[str, ir.Statement]] = {}
        self._looked_for: set[tuple[str, str]] = set()

    def meaning(self, name: str, path: str) -> Meaning:
        """What a name of the file at a path means, over as many imports as it takes."""
        if (name, path) in self._looked_for:  # imports in a circle
            return None
        self._looked_for.add((name, path))
        try:
            return self._meaning(name, path)
        finally:
            self._looked_for.discard((name, path))

    def is_bound(self, name: str, path: str) -> bool:
        """Whether the file itself binds a name, by an import or otherwise."""
        return name in self._table(path)

    def is_own(self, name: str, path: str) -> bool:
        """Whether the file binds a name by something else than an import."""
        bound = self._table(path).get(name)
        return bound is not None and not isinstance(bound, ir.Import | ir.ImportFrom)

    def within(self, value: Meaning, name: str) -> Meaning:
        """What `value.name` means where the value is a module."""
        if not isinstance(value, str):
            return None
        if (scope := self._project.scope(value)) is not None:
            self._project.noticed.asked(scope, (name,))
        found = self.meaning(name, value)
        return self._submodule(value, name) if found is None else found

    def _meaning(self, name: str, path: str) -> Meaning:
        match self._table(path).get(name):
            case ir.Function() | ir.Class() as definition:
                return Bound(definition, path)
            case ir.Assign(_, value):
                return Bound(value, path)
            case ir.Import(names):
                return self._imported(names, name, path)
            case ir.ImportFrom(module, level, tuple(names)):
                original = next(n for n, alias in names if (alias or n) == name)
                return self._from(module, level, original, path)
        return None

    def _imported(self, names: tuple[tuple[str, str | None], ...], name: str, path: str) -> Meaning:
        for module, alias in names:
            if alias == name or (alias is None and module.partition(".")[0] == name):
                found = self._project.resolve(module if alias else name, 0, path)
                return None if found is None else found.facts.path
        return None

    def _from(self, module: str, level: int, name: str, path: str) -> Meaning:
        scope = self._project.resolve(module, level, path)
        return None if scope is None else self.within(scope.facts.path, name)

    def _submodule(self, path: str, name: str) -> Meaning:
        package = self._project.scope(path)
        found = None if package is None else self._project.submodule(package, name)
        return None if found is None else found.facts.path

    def _table(self, path: str) -> dict[str, ir.Statement]:
        if path not in self._tables:
            facts = self._project.facts(path)
            self._tables[path] = {} if facts is None else _table_of(facts)
        return self._tables[path]


def _table_of(facts: FileFacts) -> dict[str, ir.Statement]:
    found: dict[str, ir.Statement] = {}
    for statement in statements_of(facts.body):
        for name in names_of(statement):
            found.setdefault(name, statement)
    return found


def names_of(statement: ir.Statement) -> Iterator[str]:
    """The names that a statement binds, those of the blocks in it left out."""
    match statement:
        case ir.Function(name) | ir.Class(name):
            yield name
        case ir.Import(names):
            yield from (alias or name.partition(".")[0] for name, alias in names)
        case ir.ImportFrom(_, _, tuple(names)):
            yield from (alias or name for name, alias in names)
        case _:
            yield from sorted(bound_by(statement))


def statements_of(body: ir.Body, *, types: bool = False) -> Iterator[ir.Statement]:
    """The statements that run when a body does, those of its blocks among them.

    types: those that only type checkers see, too.
    """
    for statement in body:
        yield statement
        for block in _blocks(statement, types):
            yield from statements_of(block, types=types)


def _blocks(statement: ir.Statement, types: bool) -> tuple[ir.Body, ...]:
    match statement:
        case ir.If(test, body, orelse):
            return (orelse,) if is_type_checking(test) and not types else (body, orelse)
        case ir.For() | ir.While():
            return (statement.body, statement.orelse)
        case ir.With():
            return (statement.body,)
        case ir.Try(body, handlers, orelse, final):
            return (body, *(handler.body for handler in handlers), orelse, final)
        case ir.Match(_, cases):
            return tuple(case.body for case in cases)
    return ()


def global_name(expression: object) -> str | None:
    """The name in `globals()["name"]`; None for any other expression."""
    match expression:
        case ir.Subscript(ir.Call(ir.Name("globals"), ()), ir.Constant(str(name))):
            return name
    return None


def is_type_checking(test: ir.Expression) -> bool:
    """Whether a test holds for type checkers only."""
    match test:
        case ir.Name("TYPE_CHECKING") | ir.Attribute(_, "TYPE_CHECKING"):
            return True
    return False
