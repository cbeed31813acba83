"""Fixes made exact: what a rule wants changed, as edits of the finding's file that parse."""

from __future__ import annotations

import ast
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from bnlint.finding import (
    AddCall,
    Edit,
    Finding,
    InsertBefore,
    Intent,
    Place,
    RemoveArgument,
    ReplaceArgument,
    ReplaceText,
    SetArgument,
    SwapElements,
)
from bnlint.records import replace
from bnlint.source import ir
from bnlint.source.facts import FileFacts
from bnlint.source.insertion import statement_for
from bnlint.source.syntax import (
    argument_of,
    enclosing,
    first_offset,
    is_written_out,
    statement_around,
    takes,
)
from bnlint.source.text import NO_FILE


class _Change(NamedTuple):
    """The code points from `start` up to `end` become `text`."""

    start: int
    end: int
    text: str


def with_edits(
    findings: Iterable[Finding],
    facts_of: Callable[[str], FileFacts | None],
    text_of: Callable[[str], str | None],
) -> tuple[Finding, ...]:
    """The findings with exact edits in their fixes; a fix that has none is dropped.

    text_of: the text that the facts were extracted from; None when it is gone.
    """
    return tuple(_with_edits(finding, facts_of, text_of) for finding in findings)


def _with_edits(
    finding: Finding,
    facts_of: Callable[[str], FileFacts | None],
    text_of: Callable[[str], str | None],
) -> Finding:
    if finding.fix is None or finding.place is None:
        return finding
    facts, text = facts_of(finding.place.path), text_of(finding.place.path)
    edits = () if facts is None or text is None else realise(finding, facts, text)
    return replace(finding, fix=replace(finding.fix, edits=edits) if edits else None)


def realise(finding: Finding, facts: FileFacts, text: str) -> tuple[Edit, ...]:
    """The edits of a finding's fix, in the order of the text; empty when it cannot be made.

    facts, text: of the finding's own file (in a notebook: of its joined code cells). A fix is made
    as a whole or not at all, within the finding's file and cell, and only when the edited text
    still parses. An argument that is a name stays, since others may rely on what the name says,
    unless the call has the same argument before.
    """
    if finding.fix is None or finding.place is None:
        return ()
    writer = _Writer(facts, text)
    changes: list[_Change] = []
    for intent in finding.fix.intents:
        found = writer.changes(intent)
        if not found:
            return ()
        changes += found
    changes.sort()
    if any(after.start < before.end for before, after in pairwise(changes)):
        return ()
    start, end = _statements_around(facts.body, changes, text)
    if not _parses(_applied(text[:end], changes)[start:]):
        return ()
    places = [facts.place((change.start, change.end)) for change in changes]
    if any(place.cell != finding.place.cell for place in places):
        return ()
    return tuple(
        Edit(p.line, p.column, p.end_line, p.end_column, change.text)
        for p, change in zip(places, changes)
    )


class _Writer:
    """Turns intents into changes of one text; no changes where the text is not as expected."""

    def __init__(self, facts: FileFacts, text: str) -> None:
        self.facts = facts
        self.text = text

    def changes(self, intent: Intent) -> list[_Change]:
        """The changes of one intent; empty when it cannot be realised here."""
        match intent:
            case ReplaceArgument(place, parameter, text):
                call, index = self._argument(place, parameter)
                return [] if call is None else self._replace(call, index, parameter, text)
            case RemoveArgument(place, parameter):
                call, index = self._argument(place, parameter)
                return [] if call is None else self._remove(call, index)
            case SetArgument(place, parameter, text):
                return self._set(place, parameter, text)
            case InsertBefore():
                return self._insert_before(intent)
            case SwapElements(first, second):
                return self._swap(self._span(first), self._span(second))
            case AddCall(place):
                span = self._span(place)
                return [] if span is None else [_Change(span[1], span[1], "()")]
            case ReplaceText(place, text):
                span = self._span(place)
                return [] if span is None else [_Change(*span, text)]

    def _span(self, place: Place) -> ir.Span | None:
        """The offsets of a place; None when it is not in this text."""
        if place.path != self.facts.path or not place.end_line:
            return None
        start = self._offset(place.line, place.column, place.cell)
        end = self._offset(place.end_line, place.end_column, place.cell)
        return (start, end) if start is not None and end is not None else None

    def _offset(self, line: int, column: int, cell: int | None) -> int | None:
        if cell is not None:
            line += next((c.line - 1 for c in self.facts.cells if c.cell == cell), 0)
        if line > len(self.facts.line_starts):
            return None
        offset = self.facts.line_starts[line - 1] + column - 1
        return offset if offset <= len(self.text) else None

    def _call(self, place: Place) -> ir.Call | None:
        span = self._span(place)
        nodes = [] if span is None else enclosing(self.facts.body, span)
        return next((n for n in nodes if isinstance(n, ir.Call) and n.span == span), None)

    def _argument(self, place: Place, parameter: str) -> tuple[ir.Call | None, int]:
        """The call at a place and the index of its argument; None when there is no such call."""
        call = self._call(place)
        index = None if call is None else argument_of(call, parameter)
        return (None, 0) if call is None or index is None else (call, index)

    def _set(self, place: Place, parameter: str, text: str) -> list[_Change]:
        """Replace an argument, or add it to a call of torch's own that takes it."""
        call, index = self._argument(place, parameter)
        if call is not None:
            return self._replace(call, index, parameter, text)
        call = self._call(place)
        if call is None or not takes(call, parameter) or any(a.star for a in call.arguments):
            return []
        if not call.arguments:
            return [_Change(call.span[1] - 1, call.span[1] - 1, text)]
        end = call.arguments[-1].span[1]
        if self.text[end : call.span[1]].count(")") != 1:  # something unexpected behind it
            return []
        return [_Change(end, end, f", {text}")]

    def _replace(self, call: ir.Call, index: int, parameter: str, text: str) -> list[_Change]:
        argument = call.arguments[index]
        if not is_written_out(argument.value):
            return []
        keyword, _, value = text.partition("=")
        others = (*call.arguments[:index], *call.arguments[index + 1 :])
        if any(other.keyword == keyword or other.star == "**" for other in others):
            return []
        if argument.keyword is None and _has_positional(call.arguments[index + 1 :]):
            if keyword != parameter:
                return []
            text = value
        return [_Change(*argument.span, text)]

    def _remove(self, call: ir.Call, index: int) -> list[_Change]:
        arguments = call.arguments
        argument, later = arguments[index], arguments[index + 1 :]
        said_before = any(self._says(a) == self._says(argument) for a in arguments[:index])
        if not (is_written_out(argument.value) or said_before):
            return []
        if argument.keyword is None and _has_positional(later):
            return []
        start, end = argument.span
        comma = end + len(self.text[end:]) - len(self.text[end:].lstrip(" \t"))
        before = arguments[index - 1].span[1] if index else start
        if later or self.text[comma : comma + 1] == ",":
            end = comma + 1
            end += len(self.text[end:]) - len(self.text[end:].lstrip(" \t"))
        elif self.text[before:start].strip(", \t") == "":
            start = before
        return [_Change(*self._whole_line(start, end), "")]

    def _says(self, argument: ir.Argument) -> str:
        return self.text[slice(*argument.value.span)]

    def _whole_line(self, start: int, end: int) -> ir.Span:
        """The span, or its whole line where nothing else stands on it."""
        line = self._line_start(start)
        after = bisect_right(self.facts.line_starts, end)
        if after == len(self.facts.line_starts):
            return start, end
        next_line = self.facts.line_starts[after]
        alone = not (self.text[line:start] + self.text[end:next_line]).strip()
        return (line, next_line) if alone else (start, end)

    def _line_start(self, offset: int) -> int:
        return self.facts.line_starts[bisect_right(self.facts.line_starts, offset) - 1]

    def _insert_before(self, intent: InsertBefore) -> list[_Change]:
        span = self._span(intent.place)
        statement = None if span is None else self._statement(span, intent)
        text = intent.text
        if statement is None:
            return []
        start = first_offset(statement, self.text)
        line = self._line_start(start)
        indent = self.text[line:start]
        if indent.strip():  # after a semicolon, or in the line of `if x:`
            return [_Change(start, start, f"{text}; ")] if "\n" not in text else []
        newline = "\r\n" if "\r\n" in self.text else "\n"
        lines = "".join(f"{one}{newline}{indent}" for one in text.splitlines())
        return [_Change(start, start, lines)]

    def _statement(self, span: ir.Span, intent: InsertBefore) -> ir.Statement | None:
        """The statement that a new one goes before."""
        nodes = enclosing(self.facts.body, span)
        if not intent.name:
            return statement_around(nodes, self.text)
        above = intent.above
        spans = None if above is None else [s for p in above if (s := self._span(p)) is not None]
        return statement_for(nodes, intent.name, self.text, spans)

    def _swap(self, first: ir.Span | None, second: ir.Span | None) -> list[_Change]:
        if first is None or second is None:
            return []
        for node in reversed(enclosing(self.facts.body, first)):
            elements = _elements(node)
            for (value, own), (next_value, next_own) in pairwise(elements):
                if (value, next_value) == (first, second):
                    return [
                        _Change(*own, self.text[slice(*next_own)]),
                        _Change(*next_own, self.text[slice(*own)]),
                    ]
        return []


def _elements(node: object) -> list[tuple[ir.Span, ir.Span]]:
    """The elements of a list, tuple or argument list: the value's span, and what to exchange."""
    match node:
        case ir.Call(_, arguments):
            return [(a.value.span, a.span) for a in arguments if not a.star and a.keyword is None]
        case ir.Display("list" | "tuple", elements):
            return [(element.span, element.span) for element in elements]
        case _:
            return []


def _has_positional(arguments: Sequence[ir.Argument]) -> bool:
    return any(a.keyword is None and a.star != "**" for a in arguments)


def _statements_around(body: ir.Body, changes: Sequence[_Change], text: str) -> tuple[int, int]:
    """Start and end of the outermost statements that hold the changes: whole statements parse as
    they would in the file, in a time that does not grow with it."""

    def begins(statement: ir.Statement) -> int:
        return first_offset(statement, text)

    first = bisect_right(body, changes[0].start, key=begins) - 1
    following = bisect_right(body, changes[-1].end, key=begins)
    line = text.rfind("\n", 0, changes[0].start) + 1
    if following == first + 1 and (first < 0 or line > body[first].span[1]):
        return line, _end_of_line(text, changes[-1].end)  # comments between two statements
    start = 0 if first < 0 else begins(body[first])
    return start, len(text) if following == len(body) else begins(body[following])


def _end_of_line(text: str, offset: int) -> int:
    end = text.find("\n", offset)
    return len(text) if end < 0 else end + 1


def _applied(text: str, changes: Sequence[_Change]) -> str:
    """The text with these changes, which are sorted and do not overlap."""
    for start, end, new in reversed(changes):
        text = text[:start] + new + text[end:]
    return text


def _parses(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text, NO_FILE)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
