"""Tests that are true in every n-th round of a loop: `if (i + 1) % 4 == 0`."""

from __future__ import annotations

from bnlint.source import ir
from bnlint.source.evaluate.core import Core, Period
from bnlint.source.values import Frame, Known, Soft, hard


def period_of(machine: Core, test: ir.Expression, truth: bool, frame: Frame) -> Period | None:
    """How seldom a test has this outcome; None where no remainder says so.

    `or` adds the last round of a loop, `and` a condition: both leave the period as it is.
    """
    if type(test) not in _WITH_REMAINDERS:
        return None
    match test:
        case ir.Unary("Not", operand):
            return period_of(machine, operand, not truth, frame)
        case ir.Boolean(_, left, right):
            found = period_of(machine, left, truth, frame)
            return found or period_of(machine, right, truth, frame)
        case ir.Compare(ir.Binary("Modulo", _, number), ((operator, _),)):
            return _period(machine, number, frame) if (operator == "Equal") is truth else None
        case ir.Compare(ir.Constant(), (("Equal", ir.Binary("Modulo", _, number)),)) if truth:
            return _period(machine, number, frame)
        case ir.Binary("Modulo", _, number) if not truth:
            return _period(machine, number, frame)
    return None


_WITH_REMAINDERS = frozenset({ir.Unary, ir.Boolean, ir.Compare, ir.Binary})


def _period(machine: Core, number: ir.Expression, frame: Frame) -> Period | None:
    value = machine.evaluate(number, frame)
    every = hard(value)
    if not isinstance(every, Known) or type(every.value) is not int or every.value < 2:
        return None
    written = value.place if isinstance(value, Soft) else None
    return Period(every.value, written or machine.place(frame, number.span))
