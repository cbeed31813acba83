"""Generators of the project whose consumer's code happens where they yield."""

from __future__ import annotations

from collections.abc import Callable

from bnlint.source import ir
from bnlint.source.evaluate.core import Core
from bnlint.source.values import Arguments, Frame, FunctionObject, Value
from bnlint.trace import Call, Item


class Generators(Core):
    """Runs a generator together with the body of the statement that drives it."""

    def generator_behind(self, call: ir.Expression, frame: Frame) -> FunctionObject | None:
        """The function that an expression calls, when that is a generator without a `return`."""
        if not isinstance(call, ir.Call) or not _is_path(call.function):
            return None
        function = self.evaluate(call.function, frame)
        if not isinstance(function, FunctionObject):
            return None
        kinds = self.relevance.own_kinds(function.definition.body)
        return function if ir.Yield in kinds and ir.Return not in kinds else None

    def drive(
        self, generator: FunctionObject, arguments: Arguments, body: Callable[[Value], None]
    ) -> tuple[Item, ...] | None:
        """Run a generator; where it yields, `body` happens, in the caller's own frame.

        What happened, as the caller's own; None when the generator was not followed to a yield.
        """
        invocations, loops = list(self.invocations), self.loops
        given: list[Item] = []

        def at_yield(value: Value) -> None:
            inside = self.invocations, self.loops
            self.invocations, self.loops = invocations, loops
            before = len(self.events)
            try:
                body(value)
            finally:
                self.invocations, self.loops = inside
            given.extend(self.events[before:])

        self.on_yield = (generator.definition, at_yield)
        with self.recording() as events:
            self.call_function(generator, arguments)
        followed = self.on_yield is None
        self.on_yield = None
        if not followed:
            self.events += events
            return None
        opened = [inner for item in events for inner in _opened(item)]
        return tuple(opened or given)


def _opened(item: Item) -> tuple[Item, ...]:
    """The events of a call as the caller's own."""
    return item.body if isinstance(item, Call) else (item,)


def _is_path(expression: ir.Expression) -> bool:
    """Whether an expression is a name with attributes, which can be evaluated twice."""
    while isinstance(expression, ir.Attribute):
        expression = expression.value
    return isinstance(expression, ir.Name)
