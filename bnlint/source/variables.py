"""Variables of a piece of code: what it binds, counts up, and never reads. By the text alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from bnlint.source import ir
from bnlint.source.walk import walk, walk_apart

BINDING: Final = frozenset({ir.Assign, ir.For, ir.Clause, ir.AugmentedAssign, ir.With, ir.Walrus})
"""The kinds of records that bind variables."""


def unread(body: ir.Body) -> Iterator[str]:
    """The variables that a function's body, or a file's, assigns and never reads."""
    reads = _reads(body)
    yield from (name for name in _assigned(body) if not reads[name])


def _reads(body: ir.Body) -> Counter[str]:
    """How often each variable is named and not assigned; what a function names counts for the code
    around it, unless it is the function's own variable."""
    found: Counter[str] = Counter()
    for node in walk_apart(body, (ir.Function,)):
        if isinstance(node, ir.Name):
            found[node.id] += 1
        elif isinstance(node, ir.Assign):
            found.subtract(_targets(node))
        elif isinstance(node, ir.Global):
            found.update(node.names)
        elif isinstance(node, ir.Function):
            outside = (node.decorators, tuple(p.default for p in node.parameters))
            found.update(_names(outside))
            body = node.read()
            own = {parameter.name for parameter in node.parameters} | _own(body)
            inner = _reads(body).items()
            found.update({name: n for name, n in inner if n > 0 and name not in own})
    return found


def _assigned(body: ir.Body) -> set[str]:
    """The variables that the statements of a body assign, those of functions inside it left out."""
    statements = walk_apart(body, (ir.Function,))
    return {name for node in statements if isinstance(node, ir.Assign) for name in _targets(node)}


def _own(body: ir.Body) -> set[str]:
    """The variables of a function that are not those of the code around it."""
    assigned: set[str] = set()
    others: set[str] = set()
    for node in walk_apart(body, (ir.Function,)):
        if isinstance(node, ir.Assign):
            assigned.update(_targets(node))
        elif isinstance(node, ir.Global):
            others.update(node.names)
    return assigned - others


def _targets(assign: ir.Assign) -> Iterator[str]:
    """The names in what is assigned to."""
    for target in assign.targets:
        if isinstance(target, ir.Name):
            yield target.id
        else:
            yield from _names((target,))


def _names(code: object) -> Iterator[str]:
    for node in walk(code):
        match node:
            case ir.Name(name):
                yield name


def counters(body: ir.Body) -> Iterator[str]:
    """The variables and attributes that code changes step by step: `n += 1`."""
    for node in walk(body):
        match node:
            case ir.AugmentedAssign(ir.Name(name) | ir.Attribute(_, name)):
                yield name
            case ir.Assign((ir.Name(name),), ir.Binary(_, ir.Name(left), _)) if left == name:
                yield name


def bound_by(node: ir.Node) -> set[str]:
    """The variables that one record binds."""
    match node:
        case ir.Assign(targets):
            return _bound(targets)
        case ir.For(target) | ir.Clause(target) | ir.AugmentedAssign(target):
            return _bound((target,))
        case ir.With(items):
            return _bound(tuple(target for _, target in items if target is not None))
        case ir.Walrus(ir.Name(name)):
            return {name}
    return set()


def _bound(targets: tuple[ir.Expression, ...]) -> set[str]:
    found: set[str] = set()
    for target in targets:
        match target:
            case ir.Name(name):
                found.add(name)
            case ir.Display(_, elements):
                found |= _bound(elements)
            case ir.Starred(value):
                found |= _bound((value,))
    return found
