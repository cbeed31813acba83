"""Where a new statement that uses a name may be written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, get_args

from bnlint.source import ir
from bnlint.source.walk import dotted, walk

_STATEMENTS = get_args(ir.Statement)
_SCOPES = (ir.Function, ir.Lambda, ir.Class)


def statement_for(
    nodes: Sequence[Any], name: str, text: str, above: Collection[ir.Span] | None
) -> ir.Statement | None:
    """The statement before which `name` means what it means in the innermost of `nodes`.

    nodes: what stands around a span, outermost first. above: the spans of loops to go past, and
    with them past `with` blocks whose statements so far leave the name alone; None: stay. None in a
    lambda, and where the statement itself binds the name.
    """
    depth = max((i + 1 for i, node in enumerate(nodes) if isinstance(node, _SCOPES)), default=0)
    if depth and isinstance(nodes[depth - 1], ir.Lambda):
        return None
    inner: list[ir.Statement] = [n for n in nodes[depth:] if isinstance(n, _STATEMENTS)]
    statements = [s for s in inner if not text.startswith("elif", s.span[0])]
    if not statements or binds(statements[-1], name):
        return None
    found = current = statements.pop()
    while above is not None and statements:
        outer = statements.pop()
        match outer:
            case ir.With() if found is current and not _touches_before(outer, current, name):
                found = outer
            case ir.For() | ir.While() if outer.span in above and not binds(outer, name):
                found = outer
            case ir.If() | ir.Try():
                pass
            case _:
                break
        current = outer
    return found


def _touches_before(block: ir.With, statement: ir.Statement, name: str) -> bool:
    """Whether a `with` block binds the name, or hands it to anybody before a statement."""
    before = [s for s in block.body if s.span[0] < statement.span[0]]
    items = [target for _, target in block.items if target is not None]
    root = name.partition(".")[0]
    return any(_binds_target(target, name) for target in items) or any(
        isinstance(node, ir.Name) and node.id == root for s in before for node in walk(s)
    )


def binds(statement: object, name: str) -> bool:
    """Whether a statement binds the name, or an object that it is looked up on."""
    return any(_binds_target(target, name) for node in walk(statement) for target in _targets(node))


def _targets(node: object) -> Iterator[object]:
    match node:
        case ir.Assign(targets):
            yield from targets
        case ir.AugmentedAssign(target) | ir.For(target) | ir.Walrus(target) | ir.Clause(target):
            yield target
        case ir.Delete(targets):
            yield from targets
        case ir.With(items):
            yield from (target for _, target in items if target is not None)
        case ir.Function(name) | ir.Class(name) | ir.Handler(_, str(name)):
            yield ir.Name(name, (0, 0))
        case ir.Import(names) | ir.ImportFrom(_, _, tuple(names)):
            yield from (ir.Name(alias or n.partition(".")[0], (0, 0)) for n, alias in names)


def _binds_target(target: object, name: str) -> bool:
    match target:
        case ir.Display(_, elements):
            return any(_binds_target(element, name) for element in elements)
        case ir.Starred(value):
            return _binds_target(value, name)
        case _:
            bound = dotted(target)
            return bool(bound) and f"{name}.".startswith(f"{bound}.")
