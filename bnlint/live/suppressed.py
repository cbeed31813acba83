"""Suppression comments at the lines that live findings accuse: the same as for the linter."""

from __future__ import annotations

import io
import linecache
import tokenize
from collections.abc import Iterable, Iterator
from contextlib import suppress

from bnlint.finding import Finding, Place
from bnlint.suppress import FileSuppressions, apply_suppressions, find_suppressions

_NO_CODE = frozenset({tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT})


def mark_suppressed(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, those that a comment excuses marked as suppressed."""
    found = list(findings)
    paths = {place.path for finding in found for place in _places(finding)}
    files = {path: file for path in paths if (file := _suppressions(path)) is not None}
    return list(apply_suppressions(found, files).findings) if files else found


def _places(finding: Finding) -> Iterator[Place]:
    if finding.place is not None:
        yield finding.place
    yield from (evidence.place for evidence in finding.evidence)


def _suppressions(path: str) -> FileSuppressions | None:
    text = "".join(linecache.getlines(path))
    comments = find_suppressions(text)
    return FileSuppressions(comments, (), _long_lines(text)) if comments else None


def _long_lines(text: str) -> tuple[tuple[int, int], ...]:
    """First and last line of every statement, or header of one, that has several lines."""
    found: list[tuple[int, int]] = []
    # What does not tokenize (a notebook's magics) is read as far as it goes.
    with suppress(tokenize.TokenError, SyntaxError):
        first: int | None = None
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in _NO_CODE:
                continue
            if token.type != tokenize.NEWLINE:
                first = token.start[0] if first is None else first
                continue
            if first is not None and token.start[0] > first:
                found.append((first, token.start[0]))
            first = None
    return tuple(found)
