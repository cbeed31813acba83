"""Statements other than loops."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingType
from typing import Any, Final

from bnlint.source import ir
from bnlint.source.bindings import is_type_checking
from bnlint.source.evaluate.configurations import default_of, is_configuration
from bnlint.source.evaluate.contexts import Contexts
from bnlint.source.evaluate.core import OutOfBudget
from bnlint.source.evaluate.domain import sources_in
from bnlint.source.evaluate.enums import as_member, is_enum, member_names
from bnlint.source.evaluate.freezing import is_known_part
from bnlint.source.evaluate.module_classes import is_module_dict
from bnlint.source.evaluate.narrowing import can_narrow, narrow
from bnlint.source.evaluate.periods import period_of
from bnlint.source.joining import ABSENT, join_fields, one_of
from bnlint.source.values import (
    ANYTHING,
    ITEMS,
    NONE,
    OPEN,
    OTHERS,
    Arguments,
    ClassObject,
    External,
    Frame,
    FunctionObject,
    HeapObject,
    Instance,
    Known,
    Layer,
    Mapping,
    Method,
    ModuleReference,
    ModuleScope,
    Namespace,
    Sequence,
    Tensor,
    Value,
    alternatives,
    hard,
    is_exact,
    items_of,
)
from bnlint.trace import ExitKind


class Statements(Contexts):
    """Execution of statements, dispatched on their kind."""

    def execute(self, body: ir.Body, frame: Frame) -> bool:
        """Run statements in order; False when control never reaches the end."""
        for statement in body:  # a generator for `all` would cost a level of recursion each
            self.budget -= 1
            if self.budget < 0:
                raise OutOfBudget
            if not _EXECUTIONS[type(statement)](self, statement, frame):
                return False
        return True

    def _evaluated(self, statement: ir.Evaluate, frame: Frame) -> bool:
        expression = statement.value
        value = self.evaluate(expression, frame)
        self.statement_value(value, expression, frame)
        if isinstance(value, Tensor):
            names = _written_in_place(expression)
            tensors = (n for n in names if isinstance(self.evaluate(n, frame), Tensor))
            if (written := next(tensors, None)) is not None:
                self.assign(written, value, frame)
        if type(value) is External and value == NEVER_RETURNS:
            return self.leave(ExitKind.RAISE)
        return True

    def _assigned(self, statement: ir.Assign, frame: Frame) -> bool:
        result = self.evaluate(statement.value, frame)
        for target in statement.targets:
            self.assign(target, result, frame)
        if isinstance(result, Tensor) and self._is_dropped(statement.targets, frame):
            self.output_dropped(result, statement.value, frame)
        return True

    def _loop(self, statement: ir.For | ir.While, frame: Frame) -> bool:
        return self.loop(statement, frame)

    def _with(self, statement: ir.With, frame: Frame) -> bool:
        return self.enter(statement, frame)

    def _raise(self, statement: ir.Raise, frame: Frame) -> bool:
        return self.leave(ExitKind.RAISE)

    def _define_function(self, statement: ir.Function, frame: Frame) -> bool:
        self._bind(statement.name, self._function(statement, frame), frame)
        return True

    def _define_class(self, statement: ir.Class, frame: Frame) -> bool:
        self._bind(statement.name, self._class(statement, frame), frame)
        return True

    def _import_here(self, statement: ir.Import | ir.ImportFrom, frame: Frame) -> bool:
        self.import_names(statement, frame)
        return True

    def _global(self, statement: ir.Global, frame: Frame) -> bool:
        if statement.nonlocal_:
            frame.nonlocals = frame.nonlocals.union(statement.names)
        else:
            frame.globals = frame.globals.union(statement.names)
        return True

    def _assert(self, statement: ir.Assert, frame: Frame) -> bool:
        truth = self.truth(self.evaluate(statement.test, frame))
        if truth is None:
            narrow(self, statement.test, True, frame)
        return self.leave(ExitKind.RAISE) if truth is False else True

    def _delete_all(self, statement: ir.Delete, frame: Frame) -> bool:
        for target in statement.targets:
            self._delete(target, frame)
        return True

    def _declare(self, statement: ir.Declare, frame: Frame) -> bool:
        return True

    def _is_dropped(self, targets: tuple[ir.Expression, ...], frame: Frame) -> bool:
        """Whether nothing reads what is assigned: `_ = model(x)`."""
        match targets:
            case (ir.Name("_"),):
                return True
            case (ir.Name(name),):
                body = self._body_around(frame)
                return body is not None and name in self.relevance.unread(body)
        return False

    def _body_around(self, frame: Frame) -> ir.Body | None:
        """The body of the file or of the function that runs; None in a class or a lambda."""
        if isinstance(frame, ModuleScope):
            return frame.facts.body
        definition = self.invocations[-1].definition if self.invocations else None
        return definition.body if isinstance(definition, ir.Function) else None

    def output_dropped(self, value: Value, expression: ir.Expression, frame: Frame) -> None:
        """What an expression gives is assigned and never read."""

    def statement_value(self, value: Value, expression: ir.Expression, frame: Frame) -> None:
        """An expression statement has been evaluated and its value is dropped."""

    def _augmented(self, statement: ir.AugmentedAssign, frame: Frame) -> bool:
        current = self.evaluate(statement.target, frame)
        value = self.evaluate(statement.value, frame)
        if statement.operator == "Add" and isinstance(current, Sequence | Layer):
            added = self.elements(value)
            if isinstance(added, tuple):
                self.store.write(current, ITEMS, items_of(current) + added)
                return True
        result = self._binary(statement, current, value, frame)
        self.wrote(current, result)
        self.assign(statement.target, result, frame)
        return True

    def _binary(
        self, statement: ir.AugmentedAssign, left: Value, right: Value, frame: Frame
    ) -> Value:
        return self.binary(statement.operator, left, right, frame, statement.span)

    def _if(self, statement: ir.If, frame: Frame) -> bool:
        if frame is frame.module and is_type_checking(statement.test):
            return self._for_types(statement, frame)
        test = self.evaluate(statement.test, frame)
        decided = self.decide(test)
        if decided is not None:  # every alternative agrees: none is to be dropped
            return self.execute(statement.body if decided else statement.orelse, frame)

        narrows = can_narrow(statement.test, test)

        def run(body: ir.Body, truth: bool) -> bool:
            if narrows:
                narrow(self, statement.test, truth, frame)
            period = period_of(self, statement.test, truth, frame)
            if period is None:
                return self.execute(body, frame)
            with self.periodic(period):
                return self.execute(body, frame)

        return self.branch(
            [lambda: run(statement.body, True), lambda: run(statement.orelse, False)]
        )

    def _for_types(self, statement: ir.If, frame: Frame) -> bool:
        """A test that holds for type checkers only: what they import is there under its name, as
        lazy packages have it, unless the file itself binds another."""
        outer, self.for_types = self.for_types, True
        try:
            self.execute(statement.body, frame)
        finally:
            self.for_types = outer
        return self.execute(statement.orelse, frame)

    def _match(self, statement: ir.Match, frame: Frame) -> bool:
        subject = hard(self.evaluate(statement.subject, frame))
        runs: list[Callable[[], bool]] = []
        for case in statement.cases:
            accepts = self._accepts(case, subject, frame)
            if accepts is False:
                continue
            runs.append(lambda body=case.body: self.execute(body, frame))  # type: ignore[misc]
            if accepts:
                break
        else:
            runs.append(lambda: True)
        return runs[0]() if len(runs) == 1 else self.branch(runs)

    def _accepts(self, case: ir.Case, subject: Value, frame: Frame) -> bool | None:
        if case.values is None or case.guarded:
            return None
        if not case.values:
            for name in case.names:
                self._bind(name, subject, frame)
            return True
        accepted = [hard(self.evaluate(value, frame)) for value in case.values]
        if not isinstance(subject, Known):
            return None
        if subject in accepted:
            return True
        return False if all(isinstance(value, Known) for value in accepted) else None

    def _try(self, statement: ir.Try, frame: Frame) -> bool:
        def plain() -> bool:
            return self.execute(statement.body, frame) and self.execute(statement.orelse, frame)

        def tried() -> bool:
            only_imports = all(isinstance(s, ir.Import | ir.ImportFrom) for s in statement.body)
            if not statement.handlers or only_imports:
                return plain()
            handlers = (self._handler(handler, frame) for handler in statement.handlers)
            return self.branch([plain, *handlers])

        if not statement.final:
            return tried()
        return self.protected(tried, lambda: self.execute(statement.final, frame))

    def _handler(self, handler: ir.Handler, frame: Frame) -> Callable[[], bool]:
        def run() -> bool:
            if handler.name is not None:
                self._bind(handler.name, ANYTHING, frame)
            return self.execute(handler.body, frame)

        return run

    def _return(self, statement: ir.Return, frame: Frame) -> bool:
        result = NONE if statement.value is None else self.evaluate(statement.value, frame)
        if self.invocations:
            invocation = self.invocations[-1]
            invocation.returns.append(result)
            definition = invocation.definition
            if type(definition) is ir.Function and definition.body[-1] is statement:
                invocation.is_at_end = True
            else:
                invocation.exits.append(self.store.capture(invocation.depth))
        return self.leave(ExitKind.RETURN)

    def _break(self, statement: ir.Break, frame: Frame) -> bool:
        if self.loops:
            self.loops[-1].breaks.append(self.store.capture(self.loops[-1].depth))
        return self.leave(ExitKind.BREAK)

    def _continue(self, statement: ir.Continue, frame: Frame) -> bool:
        if self.loops:
            self.loops[-1].continues.append(self.store.capture(self.loops[-1].round_depth))
        return self.leave(ExitKind.CONTINUE)

    def _function(self, definition: ir.Function, frame: Frame) -> Value:
        defaults = tuple(
            None if p.default is None else self.evaluate(p.default, frame)
            for p in definition.parameters
        )
        decorators = tuple(self.evaluate(decorator, frame) for decorator in definition.decorators)
        owner = frame.owner if frame.receiver is CLASS_BODY else None
        names = {value.name for value in decorators if isinstance(value, External)}
        frame.keep()
        function = FunctionObject(
            definition,
            frame.outer if owner is not None and frame.outer is not None else frame,
            defaults,
            owner,
            is_static="builtins.staticmethod" in names,
            is_property=bool(names & PROPERTY_DECORATORS),
            decorators=decorators,
        )
        self.defined(function, frame)
        return self.decorated(function, frame)

    def defined(self, function: FunctionObject | ClassObject, frame: Frame) -> None:
        """A function or class has been defined."""

    def _class(self, definition: ir.Class, frame: Frame) -> Value:
        bases = tuple(
            self.evaluate(base.value, frame) for base in definition.bases if base.keyword is None
        )
        cls = ClassObject(definition, frame, bases, f"{frame.module.name}.{definition.name}")
        frame.keep()
        body = Frame(frame.module, frame, cls, CLASS_BODY)
        self.execute(definition.body, body)
        members = member_names(cls) if is_enum(cls) else []
        for name, value in body.fields.items():
            if name in members:
                value = as_member(cls, str(name), value)  # type: ignore[arg-type]
            self.store.write(cls, name, value)
        self.defined(cls, frame)
        return self._decorated_class(cls, frame)

    def _decorated_class(self, cls: ClassObject, frame: Frame) -> Value:
        """What the project's own decorators make of a class: `@register("name")`."""
        for decorator in reversed(cls.definition.decorators):
            function = self.evaluate(decorator, frame)
            if isinstance(function, FunctionObject):
                made = self.made_by(function, cls, frame)
                cls = made if isinstance(made, ClassObject) else cls
        return cls

    # --- assignment --------------------------------------------------------------------------

    def assign(self, target: ir.Expression, value: Value, frame: Frame) -> None:
        """Bind a target (name, attribute, element, tuple of targets) to a value."""
        if type(target) is ir.Name:
            self._bind(target.id, value, frame)
            return
        match target:
            case ir.Attribute(owner, attr):
                self.set_attribute(self.evaluate(owner, frame), attr, value, frame, target.span)
            case ir.Subscript(owner, index):
                filled = self.evaluate(owner, frame)
                self.set_item(filled, self.evaluate(index, frame), value)
                if isinstance(filled, Tensor) and (self.draws_layers or sources_in(value)):
                    self._fill(owner, filled, value, frame, target.span)
            case ir.Display(_, targets):
                self._unpack(targets, value, frame)
            case ir.Starred(inner):
                self.assign(inner, value, frame)

    def set_attribute(
        self, owner: Value, name: str, value: Value, frame: Frame, span: ir.Span
    ) -> None:
        """`owner.name = value`."""
        objects = alternatives(owner)
        for obj in (m for single in objects for m in self.group_members(single)):
            if isinstance(obj, ModuleReference):
                obj = obj.scope
                self.noticed.asked(obj, (name,))
            if isinstance(obj, Instance | Layer | ClassObject | Namespace | ModuleScope):
                if is_configuration(obj):
                    value = default_of(value)
                if len(objects) > 1:
                    value = one_of((value, _field(obj, name, value)))
                self.join_container(obj, name, value)
                self.store.write(obj, name, value)

    def _fill(
        self, target: ir.Expression, filled: Tensor, value: Value, frame: Frame, span: ir.Span
    ) -> None:
        """`x[:, :2] = value`: the tensor now holds both."""
        given = Arguments([filled, value], place=self.place(frame, span))
        result = self.operate("operator.setitem", given, frame)
        if not isinstance(result, Tensor):
            return
        self.wrote(filled, result)
        if isinstance(target, ir.Name):
            self.assign(target, result, frame)

    def _delete(self, target: ir.Expression, frame: Frame) -> None:
        """`del items[-1]`, `del self.fc`, `del a, b`."""
        match target:
            case ir.Display(_, targets):
                for single in targets:
                    self._delete(single, frame)
            case ir.Subscript(owner, index):
                position = Arguments([self.evaluate(index, frame)])
                self.call(Method(self.evaluate(owner, frame), "__delitem__"), position, frame)
            case ir.Attribute(owner, attr):
                obj = self.evaluate(owner, frame)
                if isinstance(obj, Instance) and attr in obj.fields:
                    self.store.write(obj, attr, ABSENT)

    def set_item(self, owner: Value, index: Value, value: Value) -> None:
        """`owner[index] = value`."""
        key = hard(index)
        if isinstance(owner, Mapping):
            if isinstance(key, Known):
                self.store.write(owner, key.value, value)
            else:
                self.store.write(owner, OPEN, True)
                known = owner.fields.get(OTHERS, ABSENT)
                self.store.write(owner, OTHERS, join_fields(known, value))
        elif is_module_dict(owner) or is_known_part(owner):
            if isinstance(owner, HeapObject) and isinstance(key, Known):
                self.store.write(owner, str(key.value), value)
        elif isinstance(owner, Sequence | Layer) and ITEMS in owner.fields:
            items = items_of(owner)
            match key:
                case Known(int() as i) if is_exact(items) and -len(items) <= i < len(items):
                    position = i % len(items)
                    updated = (*items[:position], value, *items[position + 1 :])
                    self.store.write(owner, ITEMS, updated)

    def _bind(self, name: str, value: Value, frame: Frame) -> None:
        scope: Frame = frame
        if name in frame.globals:
            scope = frame.module
        elif name in frame.nonlocals:
            outer = frame.outer
            while outer is not None:
                if name in outer.fields:
                    scope = outer
                    break
                outer = outer.outer
        self.store.write(scope, name, value)

    def _unpack(self, targets: tuple[ir.Expression, ...], value: Value, frame: Frame) -> None:
        if isinstance(value, Tensor):
            values: list[Value] = [value] * len(targets)
        else:
            values = self._parts(targets, value)
        for target, part in zip(targets, values):
            self.assign(target, part, frame)

    def _parts(self, targets: tuple[ir.Expression, ...], value: Value) -> list[Value]:
        options = []
        for single in alternatives(value):
            elements = self.elements(single)
            if not isinstance(elements, tuple) or not is_exact(elements):
                loose = self.loose_parts(single)
                options.append([loose] * len(targets))
            elif len(elements) == len(targets) and not any(
                isinstance(target, ir.Starred) for target in targets
            ):
                options.append(list(elements))
            else:
                options.append(self._starred_parts(targets, elements))
        return [one_of(option[i] for option in options) for i in range(len(targets))]

    def loose_parts(self, value: Value) -> Value:
        """What each part of a value that is unpacked may be."""
        return ANYTHING

    def _starred_parts(
        self, targets: tuple[ir.Expression, ...], elements: tuple[Value, ...]
    ) -> list[Value]:
        star = next((i for i, t in enumerate(targets) if isinstance(t, ir.Starred)), None)
        if star is None or len(elements) < len(targets) - 1:
            return [ANYTHING] * len(targets)
        after = len(targets) - star - 1
        middle = elements[star : len(elements) - after]
        tail = elements[len(elements) - after :] if after else ()
        return [*elements[:star], Sequence("list", middle), *tail]


_EXECUTIONS: Final[MappingType[type[ir.Statement], Callable[[Statements, Any, Frame], bool]]] = {
    ir.Evaluate: Statements._evaluated,
    ir.Assign: Statements._assigned,
    ir.AugmentedAssign: Statements._augmented,
    ir.Declare: Statements._declare,
    ir.If: Statements._if,
    ir.For: Statements._loop,
    ir.While: Statements._loop,
    ir.With: Statements._with,
    ir.Try: Statements._try,
    ir.Match: Statements._match,
    ir.Return: Statements._return,
    ir.Break: Statements._break,
    ir.Continue: Statements._continue,
    ir.Raise: Statements._raise,
    ir.Function: Statements._define_function,
    ir.Class: Statements._define_class,
    ir.Import: Statements._import_here,
    ir.ImportFrom: Statements._import_here,
    ir.Global: Statements._global,
    ir.Assert: Statements._assert,
    ir.Delete: Statements._delete_all,
}
"""How each kind is executed: a `match` would try one kind after the other, millions of times."""

NEVER_RETURNS = External("never returns")
"""What a call gives behind which nothing happens."""
CLASS_BODY = External("class body")
"""Marks the frame of a class body, whose names are not visible in methods."""

GROWS = frozenset({"append", "extend", "insert", "setdefault", "update"})
"""Methods of dictionaries and lists that take something in."""
PROPERTY_DECORATORS = frozenset(
    {"builtins.property", "functools.cached_property", "torch.jit.unused_property"}
)


def _field(obj: HeapObject, name: str, default: Value) -> Value:
    return obj.value(name) or default


def _written_in_place(expression: ir.Expression) -> list[ir.Name]:
    """Variables, of which a statement writes the first that is a tensor: `x.relu_()`, `F.relu_(x)`,
    `F.relu(x, inplace=True)`; what a model gives may be a dictionary: `outputs.update(more)`."""
    if not isinstance(expression, ir.Call) or not isinstance(expression.function, ir.Attribute):
        return []
    method = expression.function.attr
    if method in GROWS and isinstance(expression.function.value, ir.Name):
        return [expression.function.value]
    inplace = [a.value for a in expression.arguments if a.keyword == "inplace"]
    is_told = any(isinstance(value, ir.Constant) and value.value is True for value in inplace)
    if not is_told and (not method.endswith("_") or method.endswith("__")):
        return []
    touched = [expression.function.value, *(a.value for a in expression.arguments[:1])]
    return [name for name in touched if isinstance(name, ir.Name)]
