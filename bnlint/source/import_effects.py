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
        self._keeping = Keeping(self._bindings)
        self._searched: set[str] = set()

    def acting_behind(self, scope: ModuleScope) -> Iterator[ModuleScope]:
        """The modules that must run when this one is imported, itself among them, in the order in
        which Python runs them; each module of the project is looked at once."""
        pending: list[tuple[ModuleScope, bool]] = [(scope, False)]
        while pending:
            module, is_done = pending.pop()
            if is_done:
                if self.acts(module.facts):
                    yield module
            elif module.facts.path not in self._searched:
                self._searched.add(module.facts.path)
                pending.append((module, True))
                pending += [(found, False) for found in reversed(self.imported_by(module))]

    def imported_by(self, scope: ModuleScope) -> list[ModuleScope]:
        """The modules that a module imports when it runs, in order."""
        found: dict[str, ModuleScope] = {}
        for statement in statements_of(scope.facts.body):
            for module in self._imported(statement, scope.facts.path):
                found.setdefault(module.facts.path, module)
        return list(found.values())

    def _imported(self, statement: ir.Statement, path: str) -> Iterator[ModuleScope]:
        resolve = self._project.resolve
        match statement:
            case ir.Import(names):
                for name, _ in names:
                    if (module := resolve(name, 0, path)) is not None:
                        yield module
            case ir.ImportFrom(name, level, names):
                module = resolve(name, level, path)
                if module is None:
                    return
                yield module
                for part, _ in names or ():
                    if (inner := self._project.submodule(module, part)) is not None:
                        yield inner

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
