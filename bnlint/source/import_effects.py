"""Which modules do something to others when they are imported: enter a class into a table, say.

Such a module must run when it is imported, though nobody may ever name what it defines: whoever
looks into the table sees what it has done. By the text alone, and erring on the side of running it:
at the level of the module something of another one is changed, or a function of the project is
called, or decorates a definition, that keeps what it is given.
"""

from __future__ import annotations

from collections import Counter
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
        self._imported_by: dict[str, list[ModuleScope]] = {}
        self._circles: dict[str, int] = {}
        """Which modules import each other: one number for each circle of them."""
        self._sizes: Counter[int] = Counter()
        self._acting: dict[str, bool] = {}
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
        circles: dict[int, list[ModuleScope]] = {}
        while pending:
            module, is_done = pending.pop()
            if is_done:
                circle = circles[self._circle_of(module)]
                if circle[0] is module:  # it runs the others, so far as it gets
                    yield from circle
                continue
            if module.facts.path not in seen:
                seen.add(module.facts.path)
                circles.setdefault(self._circle_of(module), []).append(module)
                pending.append((module, True))
                pending += [(found, False) for found in reversed(self.imported_by(module))]

    def are_in_circle(self, first: ModuleScope, second: ModuleScope) -> bool:
        """Whether two modules import each other, directly or not."""
        return self._circle_of(first) == self._circle_of(second)

    def _circle_of(self, scope: ModuleScope) -> int:
        if scope.facts.path not in self._circles:
            self._find_circles(scope)
        return self._circles[scope.facts.path]

    def _find_circles(self, start: ModuleScope) -> None:
        """Number the circles of modules below one, by Tarjan's algorithm (1972)."""
        order: dict[str, int] = {}
        lowest: dict[str, int] = {}
        open_ones: list[str] = []
        running: list[tuple[str, Iterator[ModuleScope]]] = []

        def enter(scope: ModuleScope) -> None:
            path = scope.facts.path
            order[path] = lowest[path] = len(order)
            open_ones.append(path)
            running.append((path, iter(self.imported_by(scope))))

        enter(start)
        while running:
            path, imported = running[-1]
            for module in imported:
                other = module.facts.path
                if other not in order and other not in self._circles:
                    enter(module)
                    break
                if other not in self._circles:
                    lowest[path] = min(lowest[path], order[other])
            else:
                running.pop()
                if running:
                    outer = running[-1][0]
                    lowest[outer] = min(lowest[outer], lowest[path])
                if lowest[path] == order[path]:
                    number = len(self._circles)
                    while path not in self._circles:
                        self._circles[open_ones.pop()] = number
                        self._sizes[number] += 1

    def imported_by(self, scope: ModuleScope) -> list[ModuleScope]:
        """The modules that a module imports when it runs, in order."""
        found = self._imported_by.get(scope.facts.path)
        if found is None:
            modules: dict[str, ModuleScope] = {}
            for statement in statements_of(scope.facts.body):
                for module in self.imported(statement, scope.facts.path):
                    modules.setdefault(module.facts.path, module)
            found = self._imported_by[scope.facts.path] = list(modules.values())
        return found

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
        path = facts.path
        if path not in self._acting:
            statements = statements_of(facts.body)
            self._acting[path] = any(self._acts(statement, path) for statement in statements)
        return self._acting[path]

    def is_eager(self, scope: ModuleScope) -> bool:
        """Whether it matters when a module runs: it does something to others, or they import each
        other."""
        return self._sizes[self._circle_of(scope)] > 1 or self.acts(scope.facts)

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
