"""Loops whose rounds are numbered by constants: the number with which the last one begins.

The rounds of a training loop are not told apart, but the last one decides what comes behind it:
`if step % 100 == 0: validate()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from bnlint.source import ir
from bnlint.source.evaluate.folding import COMPARE
from bnlint.source.evaluate.last_round import own_records
from bnlint.source.walk import walk

Number: TypeAlias = Callable[[ir.Expression], int | None]
"""The value of a name or a constant before a loop; None when it is unknown."""

MOST_ROUNDS: Final = 100_000
"""Rounds that are counted through; a longer loop is not looked at."""


class LastRound(NamedTuple):
    """A variable, its value when the last round begins, and the test that leaves the loop then;
    None where the loop's own test does."""

    variable: str
    value: int
    leaving: ir.Compare | None


class _Counter(NamedTuple):
    """A variable that each round raises by `step`, in the body's statement number `position`."""

    variable: str
    step: int
    position: int


def asks_for(body: ir.Body, variable: str) -> bool:
    """Whether a loop's body asks for the value of a variable: `if epoch % 5 == 0`."""
    return any(
        isinstance(inner, ir.Name) and inner.id == variable
        for node in walk(body)
        if isinstance(node, ir.If | ir.Conditional)
        for inner in walk(node.test)
    )


def last_round(loop: ir.While, number: Number) -> LastRound | None:
    """The last round of a `while` loop, or None where the text does not number the rounds."""
    kinds = [type(node) for node in own_records(loop.body)]
    if ir.Continue in kinds:
        return None
    leaving, position = _leaving(loop)
    if leaving is None or kinds.count(ir.Break) != (position is not None):
        return None
    test = leaving.comparisons[0]
    limit, holds = number(test[1]), COMPARE.get(test[0])
    if not isinstance(leaving.left, ir.Name) or limit is None or holds is None:
        return None
    counter, start = _counter(loop.body, leaving.left.id), number(leaving.left)
    if counter is None or start is None or not asks_for(loop.body, counter.variable):
        return None
    if position is None:
        return _while_it_holds(counter, start, lambda value: bool(holds(value, limit)))
    ahead = counter.step if counter.position < position else 0
    for value in range(start, start + MOST_ROUNDS * counter.step, counter.step):
        if holds(value + ahead, limit):
            return LastRound(counter.variable, value, leaving)
    return None


def _while_it_holds(
    counter: _Counter, start: int, holds: Callable[[int], bool]
) -> LastRound | None:
    last = None
    for value in range(start, start + MOST_ROUNDS * counter.step, counter.step):
        if not holds(value):
            return None if last is None else LastRound(counter.variable, last, None)
        last = value
    return None


def _leaving(loop: ir.While) -> tuple[ir.Compare | None, int | None]:
    """The comparison that ends the loop, and the index of the statement with its `break`; no index
    for the loop's own test."""
    if isinstance(loop.test, ir.Compare):
        return (loop.test if len(loop.test.comparisons) == 1 else None), None
    if not (isinstance(loop.test, ir.Constant) and loop.test.value):
        return None, None
    for index, statement in enumerate(loop.body):
        match statement:
            case ir.If(ir.Compare(_, (_,)) as test, body, ()) if body:
                if isinstance(body[-1], ir.Break):
                    return test, index
    return None, None


def _counter(body: ir.Body, variable: str) -> _Counter | None:
    """How a loop counts: the only statement that assigns to the variable adds a constant."""
    found = None
    for index, statement in enumerate(body):
        match statement:
            case ir.AugmentedAssign(ir.Name(name), "Add", ir.Constant(step)) if name == variable:
                if found is not None or type(step) is not int or step < 1:
                    return None
                found = _Counter(variable, step, index)
    changes = sum(1 for node in walk(body) if _assigns(node, variable))
    return found if changes == 1 else None


def _assigns(node: object, variable: str) -> bool:
    """Whether a statement or expression may give a variable another value."""
    match node:
        case ir.AugmentedAssign(ir.Name(name)):
            return name == variable
        case ir.Assign(targets):
            return any(_names(target, variable) for target in targets)
        case ir.For(target):
            return _names(target, variable)
        case ir.Global(names) | ir.Delete(names):
            return variable in names
        case ir.Walrus(target) | ir.With(target):
            return _names(target, variable)
    return False


def _names(target: object, variable: str) -> bool:
    return any(isinstance(node, ir.Name) and node.id == variable for node in walk(target))
