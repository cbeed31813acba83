"""What a method does to the mode of its module, read with the mode that it is told.

Every path through the body is followed for the one argument; what a test of anything else decides
is both. Only calls that set modes count: `super().train(mode)`, `nn.Module.train(self, mode)`,
`self.eval()`, `self.training = mode`, and the same for what lies below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum

from bnlint.overrides import MODE_NAMES
from bnlint.records import Struct, field
from bnlint.source import ir
from bnlint.source.evaluate.functions import ir_name
from bnlint.source.walk import walk


class Outcome(Enum):
    """What becomes of the mode on one path."""

    NOTHING = "nothing"
    TRAIN = "train"
    EVAL = "eval"
    BELOW_TRAIN = "below train"
    BELOW_EVAL = "below eval"
    UNKNOWN = "unknown"


State = frozenset[Outcome]
_BELOW = {True: Outcome.BELOW_TRAIN, False: Outcome.BELOW_EVAL, None: Outcome.BELOW_EVAL}
_SELF = {True: Outcome.TRAIN, False: Outcome.EVAL, None: Outcome.UNKNOWN}


class Toggle(Struct):
    """The paths through a method that is told a mode.

    receiver, parameter: the names of `self` and of what takes the mode ("" for none).
    may_switch: whether a call (of a method or function of the project) may set modes itself; told:
    whether it is given the mode.
    """

    receiver: str
    parameter: str
    mode: bool
    may_switch: Callable[[ir.Call, bool], bool]
    ends: set[Outcome] = field(default_factory=set)
    returned: list[ir.Expression | None] = field(default_factory=list)

    def run(self, body: ir.Body) -> None:
        """Follow the body; `ends` and `returned` then hold what each path comes to."""
        falls = self._block(body, frozenset({Outcome.NOTHING}))
        if falls:
            self.ends |= falls
            self.returned.append(None)

    def _block(self, body: ir.Body, state: State) -> State:
        for statement in body:
            if not state:
                break
            state = self._statement(statement, state)
        return state

    def _statement(self, statement: ir.Statement, state: State) -> State:
        match statement:
            case ir.Return(value):
                state = state if value is None else self._expression(value, state)
                self.ends |= state
                self.returned.append(value)
                return frozenset()
            case ir.Raise():
                return frozenset()
            case ir.If(test, body, orelse):
                state = self._expression(test, state)
                truth = self._truth(test)
                taken = [b for b, when in ((body, True), (orelse, False)) if truth in (when, None)]
                return frozenset().union(*(self._block(branch, state) for branch in taken))
            case ir.For(_, iterable, body, orelse):
                inside = self._block(body, self._expression(iterable, state))
                return self._block(orelse, inside or state)
            case ir.While(test, body, orelse):
                inside = self._block(body, self._expression(test, state))
                return self._block(orelse, inside or state)
            case ir.With(items, body):
                for context, _ in items:
                    state = self._expression(context, state)
                return self._block(body, state)
            case ir.Try(body, handlers, orelse, final):
                plain = self._block(orelse, self._block(body, state))
                caught = (self._block(handler.body, state) for handler in handlers)
                return self._block(final, plain.union(*caught))
            case ir.Match(_, cases):
                return state.union(*(self._block(case.body, state) for case in cases))
        return self._simple(statement, state)

    def _simple(self, statement: ir.Statement, state: State) -> State:
        match statement:
            case ir.Evaluate(ir.Constant()) | ir.Import() | ir.ImportFrom() | ir.Global():
                return state
            case ir.Function() | ir.Class():
                return state
            case ir.Assign(targets, value):
                state = self._expression(value, state)
                for target in targets:
                    state = self._assign(target, value, state)
                return state
        return self._expression(statement, state)

    def _assign(self, target: ir.Expression, value: ir.Expression, state: State) -> State:
        match target:
            case ir.Attribute(ir.Name(name), "training") if name == self.receiver:
                return frozenset({_SELF[self._truth(value)]})
            case ir.Attribute(_, "training"):
                return _below(state, self._truth(value))
            case ir.Name(name) if name == self.parameter:
                return frozenset({Outcome.UNKNOWN})
        return state

    # --- expressions -------------------------------------------------------------------------

    def _expression(self, code: object, state: State) -> State:
        """The state after all calls of an expression, the inner ones first."""
        for node in reversed(list(walk(code))):
            if isinstance(node, ir.Call):
                state = self._call(node, state)
        return state

    def _call(self, call: ir.Call, state: State) -> State:
        match call.function:
            case ir.Attribute(owner, "train" | "eval" as method):
                arguments = call.arguments
                if self._is_own_base(owner, arguments):
                    arguments = arguments[1:]
                elif not self._is_self(owner):
                    is_mode = len(arguments) <= 1
                    return _below(state, self._told(method, arguments)) if is_mode else state
                return frozenset({_SELF[self._told(method, arguments)]})
        told = self._mentions_mode(call.arguments)
        if ir_name(call.function) in ("setattr", "super") and told:
            return frozenset({Outcome.UNKNOWN})
        if self.may_switch(call, told):
            return frozenset({Outcome.UNKNOWN})
        return state

    def _is_self(self, owner: ir.Expression) -> bool:
        match owner:
            case ir.Name(name):
                return name == self.receiver
            case ir.Call(ir.Name("super")):
                return True
        return False

    def _is_own_base(self, owner: ir.Expression, arguments: tuple[ir.Argument, ...]) -> bool:
        """`nn.Module.train(self, mode)`."""
        match owner, arguments:
            case ir.Name() | ir.Attribute(), (ir.Argument(ir.Name(name), None), *_):
                return name == self.receiver
        return False

    def _told(self, method: str, arguments: tuple[ir.Argument, ...]) -> bool | None:
        """The mode that a call of `train` or `eval` sets."""
        if method == "eval":
            return False
        if not arguments:
            return True
        if arguments[0].star:  # `super().train(*args)`: what was given is handed on
            return self.mode
        return self._truth(arguments[0].value)

    def _mentions_mode(self, arguments: tuple[ir.Argument, ...]) -> bool:
        return bool(self.parameter) and any(
            isinstance(node, ir.Name) and node.id == self.parameter for node in walk(arguments)
        )

    def _truth(self, test: ir.Expression) -> bool | None:
        """Whether a test is true, as far as the mode and constants decide it."""
        match test:
            case ir.Constant(value):
                return bool(value)
            case ir.Name(name):
                return self.mode if name == self.parameter else None
            case ir.Unary("Not", operand):
                truth = self._truth(operand)
                return None if truth is None else not truth
            case ir.Boolean(operator, left, right):
                decisive = operator == "Or"
                truths = {self._truth(left), self._truth(right)}
                if decisive in truths:
                    return decisive
                return None if None in truths else not decisive
        return None


def _below(state: State, mode: bool | None) -> State:
    """The state once something below has been set; what the module itself was told stays."""
    own = {Outcome.TRAIN, Outcome.EVAL, Outcome.UNKNOWN}
    return frozenset(outcome if outcome in own else _BELOW[mode] for outcome in state)


def does_nothing(body: ir.Body, receiver: str) -> bool:
    """Whether a body holds but a docstring, `pass` (of which nothing is left) and `return self`."""
    for statement in body:
        match statement:
            case ir.Evaluate(ir.Constant()) | ir.Return(None | ir.Constant(None)):
                continue
            case ir.Return(ir.Name(name)) if name == receiver:
                continue
        return False
    return True


def hands_out(body: ir.Body, receiver: str) -> Iterator[ir.Call]:
    """The calls by which a method sets the mode of its own module."""
    for node in walk(body):
        match node:
            case ir.Call(ir.Attribute(ir.Name(name), "train" | "eval")) if name == receiver:
                yield node
            case ir.Call(ir.Attribute(ir.Call(ir.Name("super")), "train" | "eval")):
                yield node


def takes_mode(parameters: Sequence[ir.Parameter]) -> bool:
    """Whether the first parameter is one for a mode: by its default, its annotation, its name."""
    first = next((p for p in parameters if not p.keyword_only and p.star != "**"), None)
    if first is None:
        return False
    is_flag = isinstance(first.default, ir.Constant) and isinstance(first.default.value, bool)
    annotated = isinstance(first.annotation, ir.Name) and first.annotation.id == "bool"
    return is_flag or annotated or first.star == "*" or first.name in MODE_NAMES
