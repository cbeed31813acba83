"""Functions and modules of a project that act at random while they train: stochastic depth
(Huang et al. 2016, arXiv:1603.09382), drop connect, noise.

A module depends on its mode as a Dropout does where its method hands `self.training` to a function
that draws random numbers, or draws them itself where `self.training` is tested.
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.functional import DRAWS
from bnlint.source import ir
from bnlint.source.values import (
    ANYTHING,
    ClassObject,
    External,
    FunctionObject,
    Instance,
    Known,
    ModuleReference,
    Value,
    hard,
)
from bnlint.source.walk import walk


def random_calls(method: FunctionObject) -> Iterator[ir.Call]:
    """The calls in a method that draw random numbers while its module trains."""
    tested = method.name == "forward" and _tests_own_flag(method)
    for node in walk(method.definition.read()):
        if not isinstance(node, ir.Call):
            continue
        if (tested and _draws(node, method)) or _drawn_by(node, method) is not None:
            yield node


def _tests_own_flag(method: FunctionObject) -> bool:
    tests = (node.test for node in walk(method.definition.read()) if isinstance(node, ir.If))
    return any(is_own_flag(node) for test in tests for node in walk(test))


def acts_at_random(call: ir.Call, method: FunctionObject, module: Instance) -> bool:
    """Whether such a call surely changes what the module passes on: of the numbers that decide how
    much, one is a known rate, and none is 0."""
    function = _drawn_by(call, method)
    if function is None:
        rates = [module.value(name) for name in _own_attributes(method)]
    else:
        rates = [rate_in(module, each) for each in _rates(call, function)]
    known = [hard(rate) for rate in rates if rate is not None]
    given = [v.value for v in known if isinstance(v, Known) and not isinstance(v.value, bool)]
    return all(given) and any(isinstance(value, float) and 0 < value < 1 for value in given)


def is_own_flag(expression: object) -> bool:
    """Whether an expression is `self.training`."""
    match expression:
        case ir.Attribute(ir.Name("self"), "training"):
            return True
    return False


def _draws(call: ir.Call, function: FunctionObject) -> bool:
    """Whether a call in a function draws random numbers: `torch.rand(3)`, `x.bernoulli_(0.1)`."""
    if not isinstance(call.function, ir.Attribute):
        return False
    name, owner = call.function.attr, call.function.value
    imported = function.frame.module.value(owner.id) if isinstance(owner, ir.Name) else None
    if isinstance(imported, External | ModuleReference):
        is_torch = isinstance(imported, External) and imported.name.partition(".")[0] == "torch"
        return is_torch and name in DRAWS
    return name in DRAWS and (name.endswith("_") or name == "bernoulli")


def _drawn_by(call: ir.Call, method: FunctionObject) -> FunctionObject | None:
    """The function of the project that a call hands `self.training` to, if it draws at random."""
    if not any(is_own_flag(argument.value) for argument in call.arguments):
        return None
    function = _called(call.function, method)
    if function is None:
        return None
    inside = walk(function.definition.read())
    draws = any(isinstance(n, ir.Call) and _draws(n, function) for n in inside)
    return function if draws else None


def _called(expression: ir.Expression, method: FunctionObject) -> FunctionObject | None:
    """The function of the project that an expression names, in a method."""
    found: Value | None = None
    match expression:
        case ir.Name(name):
            found = method.frame.module.value(name)
        case ir.Attribute(ir.Name("self"), name) if method.owner is not None:
            found = _of_class(method.owner, name)
        case ir.Attribute(ir.Name(owner), name):
            module = method.frame.module.value(owner)
            found = module.scope.value(name) if isinstance(module, ModuleReference) else None
    return found if isinstance(found, FunctionObject) else None


def _of_class(cls: ClassObject, name: str) -> Value | None:
    bases = (base for base in cls.linearization() if isinstance(base, ClassObject))
    return next((base.value(name) for base in bases if name in base.fields), None)


def _rates(call: ir.Call, function: FunctionObject) -> Iterator[ir.Expression | Value]:
    """What a function is given besides its data and the flag: expressions of the caller, and
    defaults of its own."""
    names = [p.name for p in function.definition.parameters]
    own = names[:1] == ["self"] and not function.is_static
    given = dict(zip(names[own:], (a.value for a in call.arguments if a.keyword is None)))
    given |= {a.keyword: a.value for a in call.arguments if a.keyword is not None}
    defaults = dict(zip(names, function.defaults))
    for name in names[own + 1 :]:
        rate = given.get(name, defaults.get(name))
        if rate is not None and not is_own_flag(rate):
            yield rate


def rate_in(module: Instance, rate: ir.Expression | Value | None) -> Value:
    """What a rate is, as far as it is a constant or an attribute of the module."""
    match rate:
        case ir.Constant(value):
            return Known(value)
        case ir.Attribute(ir.Name("self"), name):
            return module.value(name) or ANYTHING
        case ir.Node() | None:
            return ANYTHING
    return rate


def _own_attributes(method: FunctionObject) -> set[str]:
    """The attributes of its own that a method reads."""
    nodes = walk(method.definition.read())
    return {
        node.attr
        for node in nodes
        if isinstance(node, ir.Attribute)
        and isinstance(node.value, ir.Name)
        and node.value.id == "self"
        and node.attr != "training"
    }
