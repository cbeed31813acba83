"""Files in which the code has only moved: other comments, blank lines, docstrings and spaces; and
functions that nobody has looked at, which may say something else.

What was found in them holds, at other places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from msgspec import Raw
from msgspec.structs import asdict, astuple

from bnlint.finding import Finding, Place
from bnlint.records import Struct, replace
from bnlint.source import ir
from bnlint.source.cache.looked import Looked
from bnlint.source.cache.unseen import CodeChangedError, Unseen
from bnlint.source.outcome import Outcome
from bnlint.source.verdicts import Verdicts

Moves: TypeAlias = Mapping[Place, Place]
_SPANS = ("span", "header")


class Changing(Protocol):
    """What may be said of functions that say something else. starts: where the functions of the old
    version begin in the new one."""

    starts: dict[int, int]

    def change(self, old: ir.Function, new: ir.Function) -> None:
        """Accept another body of a function, or raise CodeChangedError."""


class Moved(NamedTuple):
    """places: where each place of a file is now. unseen: what else has changed in it; None where
    nothing else may."""

    places: dict[Place, Place]
    unseen: Unseen | None


def moves(
    old: Outcome,
    new: Outcome,
    looked: Looked | None = None,
    paths: Sequence[str] = (),
    *,
    wanted: bool = True,
) -> Moved:
    """Where the places of a file have gone. looked: what was looked at, so that functions that
    nobody has seen may say something else. paths: of all files of the project. wanted: whether
    anybody asks for the places.

    Raises CodeChangedError when more code has changed, or when code that shared a line does so no
    longer, or the other way round.
    """
    before, after = old.facts, new.facts
    if before is None or after is None or old.problem is not None or new.problem is not None:
        raise CodeChangedError
    if before.cells or after.cells or before.mentions_batchnorm != after.mentions_batchnorm:
        raise CodeChangedError
    unseen = None if looked is None else Unseen(looked, before, after, paths)
    found: dict[Place, Place] = {}
    lines: dict[int, int] = {}
    bodies = (before.body, after.body) if unseen is None else unseen.aligned()
    for first, second in spans(*bodies, unseen, wanted):
        if not wanted:
            continue
        place, moved = before.place(first), after.place(second)
        if found.setdefault(place, moved) != moved:
            raise CodeChangedError
        for was, now in ((place.line, moved.line), (place.end_line, moved.end_line)):
            if lines.setdefault(was, now) != now:
                raise CodeChangedError
        if place.end_line > place.line:
            found[collapsed(place)] = collapsed(moved)
    if len(set(lines.values())) < len(lines):
        raise CodeChangedError
    if unseen is not None and unseen.has_changed:
        unseen.check_file()
    return Moved(found, unseen)


def collapsed(place: Place) -> Place:
    """The first character of a place of several lines, which stands for it where it is long."""
    return replace(place, end_line=place.line, end_column=place.column)


def spans(
    old: object, new: object, changing: Changing | None, wanted: bool = True
) -> Iterator[tuple[ir.Span, ir.Span]]:
    """The spans of two pieces of code, pair by pair; raises CodeChangedError where they differ,
    unless `changing` accepts that. wanted: whether those of code at the same offsets count."""
    pending = [(old, new)]
    while pending:
        first, second = pending.pop()
        if isinstance(first, tuple) and isinstance(second, tuple):
            if len(first) != len(second):
                raise CodeChangedError
            pending += zip(first, second)
        elif isinstance(first, ir.Node):
            if type(first) is not type(second):
                raise CodeChangedError
            assert isinstance(second, ir.Node)
            if _is_lone_text(first) and _is_lone_text(second):
                continue
            if isinstance(first, ir.Function) and changing is not None:
                yield from _of_function(first, second, changing, wanted)
                continue
            for name, one, other in parts(first, second):
                if name in _SPANS:
                    yield one, other
                else:
                    pending.append((one, other))
        elif type(first) is not type(second) or repr(first) != repr(second):
            raise CodeChangedError


def _of_function(
    old: ir.Function, new: ir.Node, changing: Changing, wanted: bool
) -> Iterator[tuple[ir.Span, ir.Span]]:
    """The same for functions that stand in no other one: of which the body may be another."""
    assert isinstance(new, ir.Function)
    changing.starts[old.span[0]] = new.span[0]
    for name, one, other in parts(old, new):
        if name in _SPANS:
            yield one, other
        elif name != "read":
            yield from spans(one, other, None)
    if not wanted and _are_same_bytes(old.code, new.code):
        return
    try:
        inside = list(spans(old.read(), new.read(), None))
    except CodeChangedError:
        changing.change(old, new)
    else:
        yield from inside


def _are_same_bytes(first: ir.Code, second: ir.Code) -> bool:
    """Whether two bodies are the same, at the same offsets; False where neither is bytes."""
    return isinstance(first, Raw) and isinstance(second, Raw) and bytes(first) == bytes(second)


def parts(first: ir.Node, second: ir.Node) -> Iterator[tuple[str, Any, Any]]:
    """What two records of one kind consist of, by name."""
    for name in first.__struct_fields__:
        name = {"code": "read", "hint": "annotation"}.get(name, name)
        one, other = getattr(first, name), getattr(second, name)
        yield (name, one(), other()) if name == "read" else (name, one, other)


def _is_lone_text(node: ir.Node) -> bool:
    """Whether a statement is nothing but a text: a docstring."""
    match node:
        case ir.Evaluate(ir.Constant(str())):
            return True
    return False


def moved(verdicts: Verdicts, where: Moves, now: Mapping[str, Outcome]) -> Verdicts:
    """The same verdicts with the places of the files that are read anew. Raises CodeChangedError
    for a place that is no code's."""
    by_rule = {
        code: tuple(_moved(finding, where, now) for finding in findings)
        for code, findings in verdicts.by_rule.items()
    }
    problems = {path: found for path, found in verdicts.problems.items() if path not in now}
    suppressions = {p: found for p, found in verdicts.suppressions.items() if p not in now}
    for path, outcome in now.items():
        if outcome.suppressions is not None:
            suppressions[path] = outcome.suppressions
    return replace(
        verdicts,
        by_rule=by_rule,
        problems=problems,
        suppressions=dict(sorted(suppressions.items())),
    )


def _moved(finding: Finding, where: Moves, now: Mapping[str, Outcome]) -> Finding:
    result = _relocated(finding, where, now)
    assert isinstance(result, Finding)
    return result


def _relocated(value: object, where: Moves, now: Mapping[str, Outcome]) -> object:
    """A value with other places, in all that it consists of."""
    if isinstance(value, Place):
        if value.path not in now:
            return value
        if value not in where:
            raise CodeChangedError
        return where[value]
    if isinstance(value, tuple):
        return tuple(_relocated(part, where, now) for part in value)
    if isinstance(value, Struct):
        parts = asdict(value)
        return replace(value, **{n: _relocated(part, where, now) for n, part in parts.items()})
    return value


def places_in(value: object) -> Iterator[Place]:
    """All places in findings."""
    pending = [value]
    while pending:
        single = pending.pop()
        if isinstance(single, Place):
            yield single
        elif isinstance(single, tuple):
            pending += single
        elif isinstance(single, Struct):
            pending += astuple(single)
