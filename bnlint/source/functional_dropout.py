"""Functional dropout that follows its module's mode: `F.dropout(x, training=self.training)`.

A module whose methods do that depends on its own training flag, as a BatchNorm does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bnlint.finding import Place
from bnlint.graph import Kind
from bnlint.source import ir
from bnlint.source.evaluate.functions import ir_name
from bnlint.source.values import (
    ANYTHING,
    ClassObject,
    External,
    FunctionObject,
    Instance,
    Known,
    Soft,
    Value,
    hard,
)
from bnlint.source.walk import walk
from bnlint.torchnames import lookup


class FunctionalDropout(NamedTuple):
    """Where a module drops values in training mode. optional: its rate is a command-line option,
    0 where nobody gives it."""

    place: Place
    optional: bool


def functional_dropout(module: Instance) -> FunctionalDropout | None:
    """How a module drops values in training mode; None when it does not, or its rate is 0."""
    found: FunctionalDropout | None = None
    for method, call in dropout_calls(module.cls):
        rate = _rate(_argument(call, 1, "p"), module)
        optional = is_optional_rate(rate)
        if optional or hard(rate) not in _NEVER:
            place = method.frame.module.facts.place(call.span)
            found = FunctionalDropout(place, optional)
            if not optional:
                return found
    return found


def is_optional_rate(rate: Value) -> bool:
    """Whether a rate is a command-line option that is 0 where nobody gives it."""
    return isinstance(rate, Soft) and rate.place is not None and rate.value in _NEVER


def dropout_calls(cls: ClassObject) -> Iterator[tuple[FunctionObject, ir.Call]]:
    """The calls of functional dropout in a class's methods that are given `self.training`."""
    for base in cls.linearization():
        if not isinstance(base, ClassObject):
            continue
        for method in list(base.fields.values()):
            if isinstance(method, FunctionObject):
                for node in walk(method.definition.body):
                    if isinstance(node, ir.Call) and _follows_mode(node, method):
                        yield method, node


def _follows_mode(call: ir.Call, method: FunctionObject) -> bool:
    """Whether a call is one of torch's dropout functions with `training=self.training`."""
    name = ir_name(call.function)
    if "dropout" not in name or not _is_own_flag(_argument(call, 2, "training")):
        return False
    head, _, rest = name.partition(".")
    imported = method.frame.module.fields.get(head)
    if not isinstance(imported, External):
        return False
    entry = lookup(f"{imported.name}.{rest}" if rest else imported.name)
    return entry is not None and entry.kind is Kind.DROPOUT


def _argument(call: ir.Call, position: int, keyword: str) -> ir.Expression | None:
    named = (a.value for a in call.arguments if a.keyword == keyword)
    positional = [a.value for a in call.arguments if a.keyword is None and not a.star]
    return next(named, positional[position] if position < len(positional) else None)


def _is_own_flag(expression: ir.Expression | None) -> bool:
    match expression:
        case ir.Attribute(ir.Name("self"), "training"):
            return True
    return False


def _rate(rate: ir.Expression | None, module: Instance) -> Value:
    """What a rate is, as far as it is a constant or an attribute of the module."""
    match rate:
        case ir.Constant(value):
            return Known(value)
        case ir.Attribute(ir.Name("self"), name):
            return module.value(name) or ANYTHING
    return ANYTHING


_NEVER = (Known(0), Known(0.0), Known(False))
"""Rates with which nothing is dropped."""
