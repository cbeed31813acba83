"""Which modules do something to others when they are imported: enter a class into a table, say.

Such a module must run when it is imported, though nobody may ever name what it defines: whoever
looks into the table sees what it has done. By the text alone, and erring on the side of running it:
at the level of the module something of another one is changed, or a function of the project is
called, or decorates a definition, that keeps what it is given.
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.source import ir
from bnlint.source.bindings import Bindings, Bound, Meaning, statements_of
from bnlint.source.facts import FileFacts
from bnlint.source.keeping import GROWS, LONGEST_CHAIN, Keeping, root_of, target_of
from bnlint.source.project import Project
from bnlint.source.values import ModuleScope
from bnlint.source.walk import walk_apart

_INSIDE = (ir.Function, ir.Class, ir.Lambda)


class ImportEffects:
    """What the imports of one project do."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._bindings = Bindings(project)
        self._keeping = Keeping(project, self._bindings)
        self._searched: set[str] = set()
        self._ordered: set[str] = set()

    def acting_behind(self, scope: ModuleScope) -> Iterator[ModuleScope]:
        """The modules that must run when this one is imported, itself among them, in the order in
        which Python runs them; each module of the project is looked at once."""
        return (found for found in self._behind(scope, self._searched) if self.acts(found.facts))

    def in_order(self, scope: ModuleScope) -> Iterator[ModuleScope]:
        """The modules that run when this one is imported, itself the last, in the order in which
        Python runs them; each module of the project once."""
        return self._behind(scope, self._ordered)

    def _behind(self, scope: ModuleScope, seen: set[str]) -> Iterator[ModuleScope]:
        pending: list[tuple[ModuleScope, bool]] = [(scope, False)]
        while pending:
            module, is_done = pending.pop()
            if is_done:
                yield module
            elif module.facts.path not in seen:
                seen.add(module.facts.path)
                pending.append((module, True))
                pending += [(found, False) for found in reversed(self.imported_by(module))]

    def imported_by(self, scope: ModuleScope) -> list[ModuleScope]:
        """The modules that a module imports when it runs, in order."""
        found: dict[str, ModuleScope] = {}
        for statement in statements_of(scope.facts.body):
            for module in self.imported(statement, scope.facts.path):
                found.setdefault(module.facts.path, module)
        return list(found.values())

    def imported(self, statement: ir.Statement, path: str) -> Iterator[ModuleScope]:
        """The modules of the project that a statement in the file at a path imports."""
        resolve = self._project.resolve
        match statement:
            case ir.Import(names):
                for name, alias in names:
                    for whole in (name,) if alias else (name, name.partition(".")[0]):
                        if (module := resolve(whole, 0, path)) is not None:
                            yield module
            case ir.ImportFrom(name, level, names):
                module = resolve(name, level, path)
                if module is None:
                    return
                yield module
                for part, _ in names or ():
                    if (inner := self._project.submodule(module, part)) is not None:
                        yield inner

    def is_definition(self, name: str, path: str) -> bool:
        """Whether a name of a file means a function, a class or a module of the project."""
        found = self._bindings.meaning(name, path)
        if isinstance(found, Bound):
            return isinstance(found.node, ir.Function | ir.Class)
        return found is not None

    def acts(self, facts: FileFacts) -> bool:
        """Whether running a module's body does something to others."""
        return any(self._acts(statement, facts.path) for statement in statements_of(facts.body))

    def _acts(self, statement: ir.Statement, path: str) -> bool:
        code: object = statement
        match statement:
            case ir.Function(_, parameters):
                if any(self._enters(decorator, path) for decorator in statement.decorators):
                    return True
                code = tuple(parameter.default for parameter in parameters)
            case ir.Class(_, bases, body):
                inside = any(self._acts(inner, path) for inner in statements_of(body))
                if inside or any(self._enters(d, path) for d in statement.decorators):
                    return True
                code = bases
            case ir.If(value) | ir.While(value) | ir.For(_, value) | ir.Match(value):
                code = value
            case ir.With(items):
                code = tuple(value for value, _ in items)
            case ir.Try():
                return False
            case ir.Assign(targets):
                if any(self._is_of_another(target_of(target), path) for target in targets):
                    return True
            case ir.AugmentedAssign(target):
                if self._is_of_another(target_of(target), path):
                    return True
        calls = (node for node in walk_apart(code, _INSIDE) if isinstance(node, ir.Call))
        return any(self._does_something(call, path) for call in calls)

    def _enters(self, decorator: ir.Expression, path: str) -> bool:
        """Whether a decorator, or the one that a call gives, keeps what it decorates."""
        if isinstance(decorator, ir.Call):
            return self._keeping.is_keeping(decorator.function, path, inside=1)
        return self._keeping.is_keeping(decorator, path)

    def _does_something(self, call: ir.Call, path: str) -> bool:
        match call.function:
            case ir.Name("setattr") if call.arguments:
                return self._is_of_another(call.arguments[0].value, path)
            case ir.Attribute(_, "set_grad_enabled"):
                return True
            case ir.Attribute(owner, name) if name in GROWS and self._is_of_another(owner, path):
                return True
        return self._keeping.is_keeping(call.function, path)

    def _is_of_another(self, value: ir.Expression | None, path: str, depth: int = 0) -> bool:
        """Whether an object may be one of another module of the project, or such a module."""
        name = root_of(value)
        if name is None or depth > LONGEST_CHAIN:
            return False
        found: Meaning = self._bindings.meaning(name, path)
        if not self._bindings.is_own(name, path):
            return found is not None
        if isinstance(found, Bound) and not isinstance(found.node, ir.Function | ir.Class):
            return self._is_of_another(found.node, path, depth + 1)
        return False
