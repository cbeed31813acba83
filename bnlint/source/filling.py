"""What fills the weights of modules, by the text: `nn.init.kaiming_normal_(m.weight)`.

Hardly any library of networks leaves its weights as torch makes them. Nothing that is drawn shows
what the weights are, so that a call which only fills them need not be followed through every module
of a model. The text tells what a function does at most; what the names in it mean is looked up when
it is called. Whatever the text leaves open counts as more than filling.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from bnlint.source import ir
from bnlint.source.relevance import ACTS, JUDGES
from bnlint.source.variables import BINDING, bound_by
from bnlint.source.walk import dotted, ir_name, walk, walk_apart


class Filling(NamedTuple):
    """What a function names that fills weights at most.

    given: parameters that are called; called: variables from around it that are; named: all others
    from there, but those that only say what a module is an instance of. attributes: whatever is
    behind a dot; methods: those that are called; tested: those that `hasattr` asks for.
    returned: parameters that it gives back, and nothing else; None where it may give more, or never
    come back. ends: whether its last statement gives one back.
    """

    given: frozenset[str]
    called: frozenset[str]
    named: frozenset[str]
    attributes: frozenset[str]
    methods: frozenset[str]
    tested: frozenset[str]
    returned: frozenset[str] | None
    ends: bool


def filling(function: ir.Function | ir.Lambda) -> Filling | None:
    """What a function names that fills weights at most; None for every other function."""
    body = (function.body,) if isinstance(function, ir.Lambda) else function.read()
    nodes: list[ir.Node] = []
    for node in walk_apart(body, ()):
        if type(node) in _DOING and not _is_harmless(node):
            return None
        nodes.append(node)
    made = _made(nodes)
    if any(isinstance(statement, ir.Raise) for statement in body):
        return None
    if not all(_is_own(node, made) for node in nodes):
        return None
    parameters = {parameter.name for parameter in function.parameters}
    bound = frozenset[str]().union(*(bound_by(node) for node in nodes if type(node) in BINDING))
    inside = [node for node in nodes if isinstance(node, ir.Function | ir.Lambda)]
    inner = {parameter.name for one in inside for parameter in one.parameters}
    calls = [node for node in nodes if isinstance(node, ir.Call)]
    called = {call.function.id for call in calls if isinstance(call.function, ir.Name)}
    defined = {one.name for one in inside if isinstance(one, ir.Function)}
    own = parameters | bound | inner | defined
    given = called & own - defined
    if not given <= parameters - inner or not all(_is_passed_on(n, function, calls) for n in given):
        return None
    if not all(_is_renamed(name, own - {name}, nodes) for name in given & bound):
        return None
    methods = {call.function.attr for call in calls if isinstance(call.function, ir.Attribute)}
    attributes = {node.attr for node in nodes if isinstance(node, ir.Attribute)}
    attributes.update(name for call in calls for name in _asked(call))
    if not (attributes.isdisjoint(SHOWN) and all(map(_is_of_project, methods))):
        return None
    kinds = {id(name) for call in calls for name in _kinds_asked(call)}
    names = {node.id for node in nodes if isinstance(node, ir.Name) and id(node) not in kinds}
    return Filling(
        frozenset(given),
        frozenset(called - own),
        frozenset(names - called - own),
        frozenset(attributes),
        frozenset(methods),
        frozenset(name for call in calls for name in _tested(call)),
        _returned(function, nodes, parameters - bound),
        bool(body) and isinstance(body[-1], ir.Return),
    )


def _is_harmless(node: object) -> bool:
    """Whether a record does nothing but calculate, or change the content of tensors."""
    match node:
        case ir.Function(_, _, _, decorators):
            return not decorators
        case ir.Assign(targets):
            return all(map(_is_content, targets))
        case ir.AugmentedAssign(target) | ir.For(target) | ir.Clause(target):
            return _is_content(target)
        case ir.With(items):
            return all(_stops_gradients(manager) and name is None for manager, name in items)
        case ir.Call(ir.Name("getattr")):
            return any(True for _ in _asked(node))
        case ir.Call(ir.Name(name)):
            return name not in OPEN
        case ir.Call(function):
            return isinstance(function, ir.Attribute)
    return False


def _is_content(target: ir.Expression) -> bool:
    """Whether what is assigned to is a variable, or the content of a tensor: `m.weight.data`."""
    match target:
        case ir.Name() | ir.Attribute(_, "data"):
            return True
        case ir.Display(_, targets):
            return all(map(_is_content, targets))
        case ir.Subscript(ir.Attribute(_, "data") | ir.Name()):
            return True
    return False


def _made(nodes: list[ir.Node]) -> frozenset[str]:
    """The variables that hold nothing but numbers, lists and dictionaries that are made here."""
    made: set[str] = set()
    other: set[str] = set()
    for node in nodes:
        match node:
            case ir.Assign((ir.Name(name),), ir.Display() | ir.DictDisplay() | ir.Constant()):
                made.add(name)
            case ir.AugmentedAssign():
                continue
            case _ if type(node) in BINDING:
                other |= bound_by(node)
    return frozenset(made - other)


def _is_own(node: object, made: frozenset[str]) -> bool:
    """Whether a record changes no list or dictionary that may be anybody else's."""
    match node:
        case ir.AugmentedAssign(ir.Name(name), "Add"):
            return name in made
        case ir.AugmentedAssign(ir.Subscript(ir.Name(name))):
            return name in made
        case ir.Assign(targets):
            changed = (t.value for t in targets if isinstance(t, ir.Subscript))
            return all(not isinstance(v, ir.Name) or v.id in made for v in changed)
        case ir.Call(ir.Attribute(ir.Name(name), "append" | "extend")):
            return name in made
        case ir.Call(ir.Attribute(_, "append" | "extend")):
            return False
    return True


def _stops_gradients(manager: ir.Expression) -> bool:
    match manager:
        case ir.Call(ir.Attribute(ir.Name("torch"), "no_grad"), ()):
            return True
    return False


def _is_renamed(variable: str, own: set[str], nodes: list[ir.Node]) -> bool:
    """Whether a variable is given nothing but what functions are: `fn = fn or init_linear`."""
    for node in nodes:
        if type(node) in BINDING and variable in bound_by(node):
            values = node.value if isinstance(node, ir.Assign) else node
            for part in walk(values):
                if not isinstance(part, ir.Boolean | ir.Name):
                    return False
                if isinstance(part, ir.Name) and part.id in own:
                    return False
    return True


def _is_passed_on(parameter: str, function: ir.Function | ir.Lambda, calls: list[ir.Call]) -> bool:
    """Whether a function that calls itself hands on a parameter as it is."""
    if isinstance(function, ir.Lambda):
        return False
    position = [p.name for p in function.parameters].index(parameter)
    for call in calls:
        if ir_name(call.function).rpartition(".")[2] == function.name:
            passed = [a.value for a in call.arguments if a.keyword == parameter]
            passed += [a.value for a in call.arguments[position : position + 1] if not a.keyword]
            if not (passed and all(dotted(value) == parameter for value in passed)):
                return False
    return True


def is_of_torch(method: str) -> bool:
    """Whether a method of this name is one of tensors or modules that changes content at most."""
    fills = method.endswith("_") and not method.endswith("__") and method not in OPEN
    return fills or method in HARMLESS


def _is_of_project(method: str) -> bool:
    """Whether a method of this name is none of torch or Python that does more than calculate."""
    return method.startswith("_") or "init" in method or "reset" in method or is_of_torch(method)


def _kinds_asked(call: ir.Call) -> Iterator[ir.Name]:
    """The names in `isinstance(m, (nn.Linear, Block))` that say of which class."""
    match call:
        case ir.Call(ir.Name("isinstance"), (_, kinds)):
            yield from (node for node in walk(kinds) if isinstance(node, ir.Name))


def _asked(call: ir.Call) -> Iterator[str]:
    """The attribute that `getattr(m, "bias", None)` asks for."""
    match call:
        case ir.Call(ir.Name("getattr"), (_, ir.Argument(ir.Constant(str() as name)), *_)):
            yield name


def _tested(call: ir.Call) -> Iterator[str]:
    """The attribute that `hasattr(m, "init_weights")` asks for."""
    match call:
        case ir.Call(ir.Name("hasattr"), (_, ir.Argument(ir.Constant(str() as name)))):
            yield name


def _returned(
    function: ir.Function | ir.Lambda, nodes: list[ir.Node], parameters: set[str]
) -> frozenset[str] | None:
    """The parameters that a function gives back; None where it may give something else."""
    if isinstance(function, ir.Lambda):
        return None
    found: set[str] = set()
    for node in nodes:
        match node:
            case ir.Return(None | ir.Constant(None)):
                continue
            case ir.Return(ir.Name(name)) if name in parameters:
                found.add(name)
            case ir.Return() | ir.Yield() | ir.Raise():
                return None
    return frozenset(found)


STATISTICS: Final = frozenset(
    "buffers named_buffers running_mean running_var num_batches_tracked reset_running_stats".split()
)
"""Attributes of BatchNorm that are no weights."""
_DOING: Final = frozenset(
    {
        ir.Assign, ir.AugmentedAssign, ir.Call, ir.Class, ir.Clause, ir.Delete, ir.For,
        ir.Function, ir.Global, ir.Import, ir.ImportFrom, ir.Match, ir.With,
    }
)  # fmt: skip
"""The kinds of records that may do more than calculate."""
SHOWN: Final = (ACTS | JUDGES | STATISTICS) - {"apply", "no_grad"}
"""Attributes that say more of a model than its weights."""
OPEN: Final = frozenset(
    "setattr delattr exec eval compile open super globals locals vars next map filter "
    "requires_grad_ share_memory_".split()
)
"""Functions and methods that may do anything, or whose result may."""
HARMLESS: Final = frozenset(
    "isinstance issubclass hasattr getattr len range int float bool str abs min max sum round "
    "pow any all tuple list dict set zip enumerate sorted reversed print id type ValueError "
    "TypeError AssertionError NotImplementedError RuntimeError apply modules named_modules "
    "children named_children parameters named_parameters "
    "reset_parameters _reset_parameters size dim numel view reshape flatten unsqueeze squeeze "
    "transpose permute expand repeat clone detach t contiguous chunk split item tolist double "
    "half to mean std sqrt log log2 log10 exp erf floor ceil prod cos sin tan no_grad zeros "
    "ones full eye empty randn rand arange linspace tensor as_tensor meshgrid zeros_like "
    "ones_like empty_like isfinite isnan where outer stack cat calculate_gain "
    "_calculate_fan_in_and_fan_out _calculate_correct_fan keys values items get append extend "
    "product startswith endswith format join lower upper replace strip info debug warning "
    "warn".split()
)
"""Python's own functions, and methods of tensors, modules, lists and strings, that calculate
at most, or do so with the functions that they are given."""
