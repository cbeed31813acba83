"""Tests that are true in the last round of a loop only: `if epoch == epochs - 1: validate()`.

What happens behind such a test comes round no back edge. Both sides of a comparison are read as
sums of names and numbers, so that no value need be known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from bnlint.source import ir
from bnlint.source.walk import fields_of, walk

Sum = Counter[str]
"""Names (dotted, or `len(name)`) with their factors; the number stands under "" ."""

IN_LAST = {"Equal": True, "GreaterThanEqual": True, "NotEqual": False, "LessThan": False}
"""Truth in the last round of `v ? last`; it is the opposite in all others."""
MIRRORED = {"Equal": "Equal", "NotEqual": "NotEqual", "LessThanEqual": "GreaterThanEqual"} | {
    "GreaterThan": "LessThan"
}
PROGRESS = frozenset({"tqdm", "trange", "track", "prange"})
"""Functions that show the progress of a loop over what they are given."""


def last_round_tests(loop: ir.For) -> Mapping[ir.Compare, bool]:
    """The comparisons in a loop's body that tell its last round from all others, and their truth
    in that round. Empty where the loop can be left early."""
    counted = _counted(loop)
    if counted is None:
        return {}
    variable, last = counted
    found = {
        test: truth
        for statement in walk(loop.body)
        if isinstance(statement, ir.If | ir.Conditional)
        for test in _required(statement.test)
        if (truth := _truth(test, variable, last)) is not None
    }
    if (
        not found
        or _changes(loop.body, {variable, *map(_inside, last)})
        or is_left_early(loop.body)
    ):
        return {}
    return found


def _required(test: ir.Expression) -> Iterator[ir.Compare]:
    """The comparisons without which a test is not true: not those beside an `or`."""
    match test:
        case ir.Compare():
            yield test
        case ir.Boolean("And", left, right):
            yield from _required(left)
            yield from _required(right)


def _counted(loop: ir.For) -> tuple[str, Sum] | None:
    """The variable that counts the rounds, and its value in the last of them."""
    match loop.target, _plain(loop.iterable):
        case ir.Name(name), ir.Call(ir.Name("range" | "trange"), arguments):
            last = _last_of_range([argument.value for argument in arguments])
        case (
            ir.Display(_, (ir.Name(name), *_)),
            ir.Call(ir.Name("enumerate"), (ir.Argument(iterated), *others)),
        ):
            length = _name(_plain(iterated))
            start = _sum(others[0].value) if others else Counter()
            last = None if length is None or start is None else start
            if last is not None:
                last.update({f"len({length})": 1, "": -1})
        case _:
            return None
    return None if last is None else (name, last)


def _last_of_range(arguments: list[ir.Expression]) -> Sum | None:
    if not arguments or len(arguments) > 2:
        return None
    end = _sum(arguments[-1])
    if end is not None:
        end[""] -= 1
    return end


def _plain(iterable: ir.Expression) -> ir.Expression:
    """What is iterated over, without a progress bar around it."""
    match iterable:
        case ir.Call(ir.Name(name) | ir.Attribute(_, name), (ir.Argument(inner, None), *_)):
            return _plain(inner) if name in PROGRESS - {"trange"} else iterable
    return iterable


def _truth(test: ir.Compare, variable: str, last: Sum) -> bool | None:
    """The truth of a comparison in the last round, when it is the opposite in all others."""
    if len(test.comparisons) != 1:
        return None
    operator, other = test.comparisons[0]
    left, right = _sum(test.left), _sum(other)
    if left is None or right is None:
        return None
    left.subtract(right)
    if left[variable] == -1:
        left = Counter({name: -factor for name, factor in left.items()})
        operator = MIRRORED.get(operator, "")
    if left[variable] != 1:
        return None
    del left[variable]
    left.update(last)
    rest = left.pop("", 0)
    if any(left.values()):
        return None
    if operator == "GreaterThan" and rest == 1:  # v > last - 1
        return True
    if operator == "LessThanEqual" and rest == 1:  # v <= last - 1
        return False
    return IN_LAST.get(operator) if rest == 0 else None


def _sum(expression: ir.Expression) -> Sum | None:
    """An expression as a sum; None for anything else."""
    match expression:
        case ir.Constant(int() as number):
            return Counter({"": int(number)})
        case ir.Binary("Add" | "Subtract" as operator, left, right):
            total, other = _sum(left), _sum(right)
            if total is None or other is None:
                return None
            if operator == "Add":
                total.update(other)
            else:
                total.subtract(other)
            return total
    name = _name(expression)
    return None if name is None else Counter({name: 1})


def _name(expression: ir.Expression) -> str | None:
    match expression:
        case ir.Name(name):
            return name
        case ir.Attribute(value, attr):
            owner = _name(value)
            return None if owner is None else f"{owner}.{attr}"
        case ir.Subscript(value, ir.Constant(key)):
            owner = _name(value)
            return None if owner is None else f"{owner}[{key!r}]"
        case ir.Call(ir.Name("len"), (ir.Argument(value),)):
            inner = _name(value)
            return None if inner is None else f"len({inner})"
    return None


def _inside(name: str) -> str:
    return name.removeprefix("len(").removesuffix(")")


def _changes(body: ir.Body, names: set[str]) -> bool:
    """Whether a body assigns to one of these names, or to what they are a part of."""
    return any(
        name == target or name.startswith((f"{target}.", f"{target}["))
        for target in _targets(body)
        for name in names
    )


def _targets(body: ir.Body) -> Iterator[str]:
    for node in walk(body):
        match node:
            case ir.Assign(targets, _):
                expressions = targets
            case ir.AugmentedAssign(target) | ir.For(target):
                expressions = (target,)
            case _:
                continue
        for expression in expressions:
            parts = expression.elements if isinstance(expression, ir.Display) else (expression,)
            yield from filter(None, map(_name, parts))


def is_left_early(body: ir.Body) -> bool:
    """Whether a loop's own body leaves the loop."""
    return any(isinstance(node, ir.Break) for node in own_records(body))


def own_records(code: object) -> Iterator[object]:
    """The records of a loop's body that belong to no loop or function inside it."""
    pending = [code]
    while pending:
        node = pending.pop()
        if isinstance(node, tuple):
            pending += node
        elif isinstance(node, ir.Node):
            yield node
            if not isinstance(node, ir.For | ir.While | ir.Function | ir.Class):
                pending += fields_of(node)
