"""Narrowing: what a test that turned out true or false says of a variable or attribute."""

from __future__ import annotations

from collections.abc import Callable

from bnlint.source import ir
from bnlint.source.evaluate.core import Core
from bnlint.source.evaluate.folding import compare, truth_of
from bnlint.source.joining import one_of
from bnlint.source.values import (
    Alternatives,
    Arguments,
    Frame,
    Instance,
    Known,
    Layer,
    ModeFlag,
    Value,
    alternatives,
    hard,
)


def can_narrow(test: ir.Expression, value: Value) -> bool:
    """Whether a test may say something of a variable or attribute when it has this value."""
    return type(test) not in _PATHS or type(value) in _NARROWED


_PATHS = frozenset({ir.Name, ir.Attribute})
_NARROWED = frozenset({Alternatives, ModeFlag})


def narrow(machine: Core, test: ir.Expression, truth: bool, frame: Frame) -> None:
    """Drop the alternatives of the tested variable that contradict the outcome of the test."""
    if type(test) is ir.Compare:
        _narrow_compared(machine, test, truth, frame)
    elif type(test) is ir.Name or type(test) is ir.Attribute:
        value = machine.evaluate(test, frame)
        if isinstance(value, ModeFlag):
            machine.assume_mode(value, truth)
        elif isinstance(value, Alternatives):
            _keep_of(machine, test, value, lambda v: truth_of(v) is not (not truth), frame)
    elif type(test) is ir.Boolean:
        if (test.operator == "And") is truth:
            narrow(machine, test.left, truth, frame)
            narrow(machine, test.right, truth, frame)
    elif type(test) is ir.Unary:
        if test.operator == "Not":
            narrow(machine, test.operand, not truth, frame)
    elif type(test) is ir.Call:
        match test:
            case ir.Call(ir.Name("isinstance"), (ir.Argument(subject, None, ""), _)):
                _keep_class(machine, test, subject, truth, frame)


def _narrow_compared(machine: Core, test: ir.Compare, truth: bool, frame: Frame) -> None:
    if len(test.comparisons) != 1:
        return
    operator, right = test.comparisons[0]
    comparator = machine.evaluate(right, frame)
    if isinstance(hard(comparator), Known):
        contradiction = not truth
        _keep(
            machine,
            test.left,
            lambda v: compare(operator, v, comparator) is not contradiction,
            frame,
        )


def _keep_class(
    machine: Core, test: ir.Call, subject: ir.Expression, truth: bool, frame: Frame
) -> None:
    if not isinstance(subject, ir.Name | ir.Attribute):
        return
    classes = machine.evaluate(test.arguments[1].value, frame)

    def agrees(value: Value) -> bool:
        result = machine.call_external("builtins.isinstance", Arguments([value, classes]), frame)
        return truth_of(result) is not (not truth)

    _keep(machine, subject, agrees, frame)


def _keep(
    machine: Core, subject: ir.Expression, agrees: Callable[[Value], bool], frame: Frame
) -> None:
    """Keep the alternatives that agree, where the subject is a variable or an attribute."""
    if type(subject) is ir.Name or type(subject) is ir.Attribute:
        value = machine.evaluate(subject, frame)
        if isinstance(value, Alternatives):
            _keep_of(machine, subject, value, agrees, frame)


def _keep_of(
    machine: Core,
    subject: ir.Name | ir.Attribute,
    value: Alternatives,
    agrees: Callable[[Value], bool],
    frame: Frame,
) -> None:
    kept = [single for single in alternatives(value) if agrees(single)]
    if not kept or len(kept) == len(value.values):
        return
    if isinstance(subject, ir.Attribute):
        owner = machine.evaluate(subject.value, frame)
        if isinstance(owner, Instance | Layer):
            machine.store.write(owner, subject.attr, one_of(kept))
        return
    machine.assign(subject, one_of(kept), frame)
