"""What pieces of code call, set and name, by their text alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from bnlint.source import ir
from bnlint.source.walk import definitions, ir_name, walk, walk_apart


def called(function: ir.Function) -> set[str]:
    """The first names of what a function calls."""
    calls = (node.function for node in walk(function) if isinstance(node, ir.Call))
    return {ir_name(callee).partition(".")[0] for callee in calls}


def set_or_tested(function: ir.Function) -> set[str]:
    """The attributes that a method sets, and those that stand where something is tested."""
    found: set[str] = set()
    for node in walk(function.read()):
        match node:
            case ir.Assign(targets):
                found |= {target.attr for target in targets if isinstance(target, ir.Attribute)}
            case ir.If(test) | ir.While(test) | ir.Conditional(test) | ir.Unary("Not", test):
                found |= {n.attr for n in walk(test) if isinstance(n, ir.Attribute)}
            case ir.Boolean(_, left, right):
                found |= {n.attr for n in walk((left, right)) if isinstance(n, ir.Attribute)}
    return found


def names_from_torch(body: ir.Body) -> Iterator[str]:
    """The names that a file imports from torch and what belongs to it, for all its functions."""
    for node in walk_apart((body,), (ir.Function,)):
        if isinstance(node, ir.ImportFrom) and node.module.startswith("torch"):
            yield from (alias or name for name, alias in node.names or ())


def possible_aliases(body: ir.Body) -> Iterator[str]:
    """The names that a file's own statements bind to what may be of torch: imported from anywhere
    but the standard library, or assigned."""
    for node in body:
        match node:
            case ir.ImportFrom(module, level, names):
                if level or module.partition(".")[0] not in sys.stdlib_module_names:
                    yield from (alias or name for name, alias in names or ())
            case ir.Function() | ir.Class() | ir.Import():
                continue
            case _:
                yield from (n.id for n in walk(node) if isinstance(n, ir.Name))


def assigned(code: object) -> set[str]:
    """The names in the targets of assignments outside of functions."""
    nodes = walk_apart((code,), (ir.Function,))
    targets = [node.targets for node in nodes if isinstance(node, ir.Assign)]
    return {node.id for node in walk(tuple(targets)) if isinstance(node, ir.Name)}


def with_inner(statement: ir.Function | ir.Class) -> Iterator[ir.Function | ir.Class]:
    """A function or class, and those inside it."""
    yield statement
    yield from definitions(
        statement.read() if isinstance(statement, ir.Function) else statement.body
    )


def run_with(definition: ir.Function | ir.Class) -> Iterator[object]:
    """What runs where a function or class is defined: decorators, defaults, bases, and the body of
    a class but for that of its functions."""
    yield definition.decorators
    if isinstance(definition, ir.Function):
        yield tuple(parameter.default for parameter in definition.parameters)
        return
    yield definition.bases
    for node in walk_apart(definition.body, (ir.Function, ir.Class)):
        if isinstance(node, ir.Name):
            yield node


def bound_or_named(code: object, own: frozenset[str] = frozenset()) -> set[str]:
    """The names that a piece of code binds, and those that it may ask for; not parameters.

    own: the parameters of the functions around it.
    """
    found: set[str] = set()
    for node in walk_apart((code,), (ir.Function, ir.Lambda)):
        match node:
            case ir.Name(name) if name not in own:
                found.add(name)
            case ir.Class(name):
                found.add(name)
            case ir.Import(names) | ir.ImportFrom(_, _, names):
                for name, alias in names or ():
                    found |= {name.partition(".")[0], alias or name}
            case ir.Global(names):
                found.update(names)
            case ir.Subscript(ir.Call(ir.Name("globals")), ir.Constant(str(name))):
                found.add(name)
            case ir.Function(name, parameters):
                hints = tuple(parameter.annotation for parameter in parameters)
                found |= {name, *bound_or_named((*run_with(node), hints), own)}
                found |= bound_or_named(node.read(), _with(own, node))
            case ir.Lambda(parameters, body):
                found |= bound_or_named(tuple(p.default for p in parameters), own)
                found |= bound_or_named(body, _with(own, node))
    return found


def _with(own: frozenset[str], function: ir.Function | ir.Lambda) -> frozenset[str]:
    return own.union(parameter.name for parameter in function.parameters)
