"""What the code around a call tells: whether its constant flag is meant.

Somebody who drops the same value anew in every round of a loop, or who chooses between dropout that
stays and dropout that follows the mode, has not forgotten the mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from itertools import pairwise

from bnlint.source import ir
from bnlint.source.walk import dotted, fields_of, ir_name, walk


def conditions_of(way: Sequence[object]) -> tuple[str, ...]:
    """The names that the conditions around a call ask for."""
    return tuple(
        node.id if isinstance(node, ir.Name) else node.attr
        for around in way
        if isinstance(around, ir.If | ir.Conditional)
        for node in walk(around.test)
        if isinstance(node, ir.Name | ir.Attribute)
    )


def is_deliberate(
    way: Sequence[object], value: ir.Expression | None, follows: Callable[[ir.Call], bool]
) -> bool:
    """Whether the code on the way to a call that drops a value in both modes shows that it is meant
    to.

    follows: whether another call of a dropout follows the mode.
    """
    return (value is not None and _is_dropped_anew(way, value)) or any(
        isinstance(node, ir.Call) and "drop" in ir_name(node.function).lower() and follows(node)
        for other in _instead(way)
        for node in walk(other)
    )


def way_to(code: object, call: ir.Call) -> list[object]:
    """What holds a call (this one, not an equal one), outermost first, itself last; empty where
    nothing does."""
    if code is call:
        return [code]
    if not isinstance(code, tuple | ir.Node):
        return []
    for part in code if isinstance(code, tuple) else fields_of(code):
        inner = way_to(part, call)
        if inner:
            return [code, *inner]
    return []


def _is_dropped_anew(way: Sequence[object], value: ir.Expression) -> bool:
    """Whether a loop around a call drops a value that its rounds do not change: each round gets a
    sample of its own, as in Monte Carlo dropout."""
    names = {dotted(node) for node in walk(value) if isinstance(node, ir.Name)}
    names.add(dotted(value))
    for around in reversed(way):
        match around:
            case ir.Lambda() | ir.Function():
                return False
            case ir.For() | ir.While() | ir.Comprehension():
                return not names & _set_inside(around)
    return False


def _set_inside(loop: ir.Node) -> Set[str]:
    """The names and attributes that a loop sets."""
    return {
        dotted(name)
        for node in walk(loop)
        for target in _targets(node)
        for name in walk(target)
        if isinstance(name, ir.Name | ir.Attribute)
    }


def _targets(node: object) -> Iterator[object]:
    match node:
        case ir.Assign(targets):
            yield from targets
        case ir.AugmentedAssign(target) | ir.For(target) | ir.Clause(target) | ir.Walrus(target):
            yield target
        case ir.With(items):
            yield from (target for _, target in items if target is not None)


def _instead(way: Sequence[object]) -> Iterator[object]:
    """The code that runs in place of what is on the way to a call: other branches, and what follows
    a branch that leaves."""
    for around, inner in pairwise(way):
        match around:
            case ir.If(_, first, second) | ir.Conditional(_, first, second):
                if inner is first or inner is second:
                    yield second if inner is first else first
            case tuple() if isinstance(inner, ir.If) and leaves(inner.body):
                yield around[next(i for i, part in enumerate(around) if part is inner) + 1 :]


def leaves(body: Sequence[ir.Statement]) -> bool:
    """Whether a block never gets to what follows it."""
    return bool(body) and isinstance(body[-1], ir.Return | ir.Raise | ir.Continue | ir.Break)
