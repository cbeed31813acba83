"""Imports: a name is bound to what it means when somebody asks for it, a module run when one does.

Python runs a module where it is imported. Here that is put off for what stands at the top level of
a file, since most of a large project is imported and never used; a module that does something to
others when it runs is run at once, whoever imports it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bnlint.source import ir
from bnlint.source.evaluate.core import GIVEN_UP, Core
from bnlint.source.noticed import ALL_NAMES
from bnlint.source.public_names import public_names, star_exports
from bnlint.source.values import (
    ANYTHING,
    External,
    Frame,
    Known,
    ModuleReference,
    ModuleScope,
    PendingImport,
    Sequence,
    Value,
)
from bnlint.trace import Call

IMPORT_BUDGET = 100_000
"""Steps for the body of one module."""


class Imports(Core):
    """Import statements, and the modules that they run."""

    def import_names(self, statement: ir.Import | ir.ImportFrom, frame: Frame) -> None:
        """Bind the names of an import statement."""
        module = frame.module
        if frame is module and self.store.depth == self.top and self._put_off(statement, module):
            return
        if isinstance(statement, ir.ImportFrom) and statement.names is None:
            self._import_star(statement, frame)
            return
        for name, alias in statement.names or ():
            bound = _bound_name(statement, name, alias)
            target = module if bound in frame.globals else frame
            self.store.write(target, bound, self._value_of(statement, name, alias, module))

    def _put_off(self, statement: ir.Import | ir.ImportFrom, module: ModuleScope) -> bool:
        """Bind the names to what is looked for when somebody asks; False where there is nothing to
        put off, or where nobody can tell the names."""
        imported = list(self.effects.imported(statement, module.facts.path))
        if not imported or (statement.names is None and imported[0] is module):
            return False
        if not self.for_types and any(self.effects.are_in_circle(module, m) for m in imported):
            return False
        names = statement.names
        if names is None and self.for_types:
            module.stars.append(imported[0])
            return True
        if names is None:
            public = public_names(self.project, imported[0])
            if public is None:
                return False
            names = tuple((name, None) for name in public)
        if not self.for_types:
            for acting in [a for scope in imported for a in self.effects.acting_behind(scope)]:
                self.import_module(acting)
        for name, alias in names:
            pending = PendingImport(statement, name, alias, module, self)
            self.store.write(module, _bound_name(statement, name, alias), pending)
        return True

    def bind(self, pending: PendingImport) -> Value | None:
        """What a name means that somebody asks for; None for what is not there yet, as modules
        import each other in a circle."""
        statement, module = pending.statement, pending.module
        if pending in self.binding:
            self.recall.taint()
            return None
        self.binding.add(pending)
        before = len(self.prologue)
        try:
            value = self._value_of(statement, pending.name, pending.alias, module)
        finally:
            self.binding.discard(pending)
        if module in self.import_events:
            self.import_events[module] += tuple(self.prologue[before:])
        if value is ANYTHING and isinstance(statement, ir.ImportFrom):
            source = self.project.resolve(statement.module, statement.level, module.facts.path)
            if source in self.running:
                self.recall.taint()
                return None
        return value

    def is_definition(self, pending: PendingImport) -> bool:
        """Whether a name means a function, a class or a module of the project, by the text."""
        name = _bound_name(pending.statement, pending.name, pending.alias)
        return self.effects.is_definition(name, pending.module.facts.path)

    def _value_of(
        self,
        statement: ir.Import | ir.ImportFrom,
        name: str,
        alias: str | None,
        module: ModuleScope,
    ) -> Value:
        """What one name of an import in a module means; runs what has to run for that."""
        if isinstance(statement, ir.Import):
            return self._module_named(name, alias, module)
        scope = self.project.resolve(statement.module, statement.level, module.facts.path)
        if scope is module:  # `from . import part` in a package itself; a file of the same name
            part = self.project.submodule(scope, name)
            if part is not None:
                self.import_module(part)
                return ModuleReference(part)
            scope = None
        if scope is None:
            outside = statement.level or not statement.module
            return ANYTHING if outside else External(f"{statement.module}.{name}")
        return self.attribute(ModuleReference(scope), name, module)

    def _module_named(self, name: str, alias: str | None, module: ModuleScope) -> Value:
        path = module.facts.path
        scope = self.project.resolve(name, 0, path)
        if scope is not None:
            self.import_module(scope)
        first = name if alias is not None else name.partition(".")[0]
        top = self.project.resolve(first, 0, path)
        if top is None:
            return External(first)
        self.import_module(top)
        return ModuleReference(top)

    def _import_star(self, statement: ir.ImportFrom, frame: Frame) -> None:
        path = frame.module.facts.path
        scope = self.project.resolve(statement.module, statement.level, path)
        if scope is None:
            for name in star_exports(statement.module):
                self.store.write(frame, name, External(f"{statement.module}.{name}"))
            return
        if scope is frame.module:
            return
        self.import_module(scope)
        listed = scope.value("__all__")
        names: set[str] | None = None
        if isinstance(listed, Sequence):
            found = self.elements(listed) or ()
            names = {e.value for e in found if isinstance(e, Known) and isinstance(e.value, str)}
        self.noticed.asked(scope, (ALL_NAMES,) if names is None else names)
        for key, value in list(scope.fields.items()):
            public = isinstance(key, str) and not key.startswith("_")
            if public if names is None else key in names:
                self.store.write(frame, key, value)

    def starred(self, scope: ModuleScope, name: str) -> Value | None:
        """What a module has under a name by a star for type checkers; None for nothing."""
        for source in reversed(scope.stars):
            if source not in self.public:
                self.public[source] = frozenset(public_names(self.project, source) or ())
            if name in self.public[source]:
                return self.attribute(ModuleReference(source), name, source)
        return None

    def import_module(self, scope: ModuleScope) -> None:
        """Run a module's body, once; its own `__name__` is not `__main__`. Its events happen once
        in every program that imports it, before all others.

        That is not at the expense of who imports it first: it has a budget of its own, and what
        is defined beyond that stays unknown.
        """
        if not scope.executed:
            self.loads.append(scope)
            scope.executed = True
            scope.fields.setdefault("__name__", Known(scope.name))
            scope.fields.setdefault("__file__", ANYTHING)
            self._run_body(scope)
        events = self.import_events.get(scope, ())
        if events and scope not in self.imported_here:
            self.imported_here.add(scope)
            self.prologue.append(Call(f"import {scope.name}", None, events))

    def _run_body(self, scope: ModuleScope) -> None:
        self.running.add(scope)
        outer = self.noticed.listen()
        try:
            with (
                self.store.permanent(),
                self.recording() as events,
                self._from_the_start(),
                suppress(*GIVEN_UP),
            ):
                self.prologue = events
                try:
                    self.execute(scope.facts.body, scope)
                finally:
                    self.noticed.spent(scope.facts.path, self.budget)
        finally:
            self.noticed.share(outer)
            self.running.discard(scope)
        self.import_events[scope] = tuple(events)

    @contextmanager
    def _from_the_start(self) -> Iterator[None]:
        """Run code as if nothing else were running: somebody has asked for it in the midst of
        something, which says nothing of it."""
        running = (self.invocations, self.loops, self.budget, self.constructing, self.top)
        around = (self.checkpoints, self.periods, self.decided, self.explored, self.rehearsing)
        awaited = (self.evaluated, self.on_yield, self.prologue, self.for_types)
        self.invocations, self.loops, self.budget, self.constructing = [], [], IMPORT_BUDGET, 0
        self.checkpoints, self.periods, self.decided, self.explored = [], [], {}, None
        self.rehearsing, self.evaluated, self.on_yield, self.for_types = False, None, None, False
        self.top = self.store.depth
        try:
            yield
        finally:
            self.invocations, self.loops, self.budget, self.constructing, self.top = running
            self.checkpoints, self.periods, self.decided, self.explored, self.rehearsing = around
            self.evaluated, self.on_yield, self.prologue, self.for_types = awaited


def _bound_name(statement: ir.Import | ir.ImportFrom, name: str, alias: str | None) -> str:
    """The variable that an import binds."""
    if alias is not None or isinstance(statement, ir.ImportFrom):
        return alias or name
    return name.partition(".")[0]
