"""`with` statements, and `try` with `finally`: what happens however control leaves the body."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from bnlint.source import ir
from bnlint.source.evaluate.core import Gradient
from bnlint.source.evaluate.generators import Generators
from bnlint.source.evaluate.module_classes import is_module
from bnlint.source.values import (
    ANYTHING,
    NONE,
    Arguments,
    External,
    Frame,
    FunctionObject,
    Instance,
    Known,
    Namespace,
    Tensor,
    Value,
)
from bnlint.trace import Context, Within

WithItems: TypeAlias = tuple[tuple[ir.Expression, ir.Expression | None], ...]
GENERATOR_CONTEXTS = frozenset({"contextlib.contextmanager", "contextlib.asynccontextmanager"})


class Contexts(Generators):
    """Execution of `with`; context managers of the project are followed."""

    def enter(self, statement: ir.With, frame: Frame) -> bool:
        """Run a `with` statement; False when control never gets behind it."""
        return self._enter(statement.items, statement.body, frame)

    def _enter(self, items: WithItems, body: ir.Body, frame: Frame) -> bool:
        if not items:
            return self.execute(body, frame)
        context, target = items[0]

        def rest() -> bool:
            return self._enter(items[1:], body, frame)

        generator = self._manager(context, frame)
        if generator is not None and isinstance(context, ir.Call):
            arguments = self.arguments(context.arguments, frame)
            arguments.place = self.place(frame, context.span)
            return self._through(generator, arguments, target, rest, frame)
        value = self.evaluate(context, frame)
        gradient = gradient_of(value)
        if gradient is not None:
            return self._without_gradients(gradient, target, rest, frame)
        if isinstance(value, Instance) and not is_module(value):
            return self._around(value, target, rest, frame)
        if target is not None:
            self.assign(target, value if isinstance(value, Tensor | Instance) else ANYTHING, frame)
        return rest()

    def _without_gradients(
        self,
        gradient: Gradient,
        target: ir.Expression | None,
        rest: Callable[[], bool],
        frame: Frame,
    ) -> bool:
        if target is not None:
            self.assign(target, ANYTHING, frame)
        self.gradients.append(gradient)
        try:
            return rest()
        finally:
            self.gradients.pop()

    # --- context managers of the project -----------------------------------------------------

    def _manager(self, context: ir.Expression, frame: Frame) -> FunctionObject | None:
        """The function behind `with manager(...)`, when its `yield` can stand for the body."""
        function = self.generator_behind(context, frame)
        return function if function is not None and is_manager(function) else None

    def _through(
        self,
        manager: FunctionObject,
        arguments: Arguments,
        target: ir.Expression | None,
        rest: Callable[[], bool],
        frame: Frame,
    ) -> bool:
        """Run a generator; where it yields, the body of the `with` happens."""
        falls: list[bool] = []

        def body(value: Value) -> None:
            if target is not None:
                self.assign(target, value, frame)
            falls.append(self._within(rest))

        happened = self.drive(manager, arguments, body)
        if happened is None or not falls:
            return rest()
        self.events.append(Context(happened))
        return any(falls)

    def _around(
        self,
        manager: Instance,
        target: ir.Expression | None,
        rest: Callable[[], bool],
        frame: Frame,
    ) -> bool:
        """An object with `__enter__` and `__exit__`."""
        enter, leave = (self.find(manager.cls, name) for name in ("__enter__", "__exit__"))
        if enter is None or leave is None:
            if target is not None:
                self.assign(target, manager, frame)
            return rest()
        with self.recording() as events:
            value = self.call(self.bind_method(enter, manager), Arguments(), frame)
            if target is not None:
                self.assign(target, value, frame)
            falls = self._within(rest)
            given = Arguments([NONE, NONE, NONE])
            self.call(self.bind_method(leave, manager), given, frame)
        self.events.append(Context(tuple(events)))
        return falls

    # --- leaving -----------------------------------------------------------------------------

    def protected(self, run: Callable[[], bool], final: Callable[[], bool]) -> bool:
        """Run something, and something else however the first is left."""
        with self.recording() as events:
            falls = self._within(run)
            falls = final() and falls
        self.events.append(Context(tuple(events)))
        return falls

    def _within(self, run: Callable[[], bool]) -> bool:
        with self.recording() as events:
            falls = run()
        self.events.append(Within(tuple(events)))
        return falls


def is_manager(function: FunctionObject) -> bool:
    """Whether a function is a generator that manages a context."""
    return any(
        isinstance(d, External) and d.name in GENERATOR_CONTEXTS for d in function.decorators
    )


def gradient_of(value: Value) -> Gradient | None:
    """The gradient mode that a context manager sets; None when it sets none."""
    if not isinstance(value, Namespace) or value.kind != "gradient":
        return None
    enabled = value.fields.get("enabled")
    place = value.fields.get("place")
    return Gradient(
        enabled.value if isinstance(enabled, Known) else None,  # type: ignore[arg-type]
        place,  # type: ignore[arg-type]
    )
