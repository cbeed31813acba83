"""Functional dropout that follows its module's mode: `F.dropout(x, training=self.training)`.

A module whose methods do that depends on its own training flag, as a BatchNorm does.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    hard,
)
from bnlint.source.walk import walk
from bnlint.torchnames import lookup


def functional_dropout(module: Instance) -> Place | None:
    """Where a module drops values in training mode; None when it does not, or its rate is 0."""
    for method, call in dropout_calls(module.cls):
        if not _never_drops(_argument(call, 1, "p"), module):
            return method.frame.module.facts.place(call.span)
    return None


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


def _never_drops(rate: ir.Expression | None, module: Instance) -> bool:
    """Whether a rate is known to be 0."""
    match rate:
        case ir.Constant(value):
            return value == 0
        case ir.Attribute(ir.Name("self"), name):
            known = hard(module.value(name) or ANYTHING)
            return isinstance(known, Known) and known.value == 0
    return False
