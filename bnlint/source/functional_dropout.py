"""Functional dropout that follows its module's mode: `F.dropout(x, training=self.training)`, and
what else acts at random in training mode.

A module whose methods do that depends on its own training flag, as a BatchNorm does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bnlint.finding import Place
from bnlint.graph import Kind
from bnlint.source import ir
from bnlint.source.evaluate.functions import ir_name
from bnlint.source.random_functions import acts_at_random, is_own_flag, random_calls, rate_in
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
from bnlint.torchnames import TorchName, lookup


class FunctionalDropout(NamedTuple):
    """What drops values in a module's own methods in training mode: the function of torch, or the
    module itself by the name of its class; and where. optional: its rate is a command-line option,
    0 where nobody gives it."""

    name: str
    place: Place
    optional: bool


def functional_dropout(module: Instance) -> FunctionalDropout | None:
    """How a module drops values in training mode; None when it does not, or its rate is 0."""
    found: FunctionalDropout | None = None
    for method, call in dropout_calls(module.cls):
        rate = _rate_of(call, method, module)
        optional = is_optional_rate(rate)
        if optional or hard(rate) not in _NEVER:
            entry = _torch_function(call, method)
            known = entry is not None and entry.kind in (Kind.DROPOUT, Kind.ATTENTION)
            name = entry.name if entry is not None and known else module.cls.name
            place = method.frame.module.facts.place(call.span)
            found = FunctionalDropout(name, place, optional)
            if not optional:
                return found
    return found


def is_optional_rate(rate: Value) -> bool:
    """Whether a rate is a command-line option that is 0 where nobody gives it."""
    return isinstance(rate, Soft) and rate.place is not None and rate.value in _NEVER


def _rate_of(call: ir.Call, method: FunctionObject, module: Instance) -> Value:
    """The rate with which a call drops; 0 of what is not known to act at random."""
    if _follows_mode(call, method):
        return rate_in(module, _argument(call, 1, "p"))
    weights = _attention_rate(call, method)
    if weights is not None:
        return rate_in(module, weights)
    return ANYTHING if acts_at_random(call, method, module) else Known(0)


def dropout_calls(cls: ClassObject) -> Iterator[tuple[FunctionObject, ir.Call]]:
    """The calls in a class's methods that drop or draw at random where `self.training` says so."""
    for base in cls.linearization():
        if not isinstance(base, ClassObject):
            continue
        for method in list(base.fields.values()):
            if isinstance(method, FunctionObject):
                for call in _calls(method):
                    yield method, call


def _calls(method: FunctionObject) -> Iterator[ir.Call]:
    for node in walk(method.definition.read()):
        if isinstance(node, ir.Call) and (
            _follows_mode(node, method) or _attention_rate(node, method) is not None
        ):
            yield node
    yield from random_calls(method)


def _attention_rate(call: ir.Call, method: FunctionObject) -> ir.Expression | None:
    """The rate of `F.scaled_dot_product_attention(..., dropout_p=rate if self.training else 0)`."""
    match _argument(call, 4, "dropout_p"):
        case ir.Conditional(test, rate, ir.Constant(0)) if is_own_flag(test):
            entry = _torch_function(call, method)
            return rate if entry is not None and entry.kind is Kind.ATTENTION else None
    return None


def _follows_mode(call: ir.Call, method: FunctionObject) -> bool:
    """Whether a call is one of torch's dropout functions with `training=self.training`."""
    if "dropout" not in ir_name(call.function) or not is_own_flag(_argument(call, 2, "training")):
        return False
    entry = _torch_function(call, method)
    return entry is not None and entry.kind is Kind.DROPOUT


def _torch_function(call: ir.Call, method: FunctionObject) -> TorchName | None:
    head, _, rest = ir_name(call.function).partition(".")
    imported = method.frame.module.value_outside(head)
    if not isinstance(imported, External):
        return None
    return lookup(f"{imported.name}.{rest}" if rest else imported.name)


def _argument(call: ir.Call, position: int, keyword: str) -> ir.Expression | None:
    named = (a.value for a in call.arguments if a.keyword == keyword)
    positional = [a.value for a in call.arguments if a.keyword is None and not a.star]
    return next(named, positional[position] if position < len(positional) else None)


_NEVER = (Known(0), Known(0.0), Known(False))
"""Rates with which nothing is dropped."""
