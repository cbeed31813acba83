"""Suppression comments: `# bnlint: ignore[...]`, `# bnlint: ignore-file[...]` and `# noqa`."""

from __future__ import annotations

import io
import re
import tokenize
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bnlint.finding import Finding, Fix, Place, Role, places_of

_QUICK: Final = re.compile(r"bnlint:|noqa", re.IGNORECASE)
_OWN: Final = re.compile(
    r"#\s*bnlint:\s*ignore(?P<file>-file)?\b(?:\[(?P<codes>[^\]]*)\])?", re.IGNORECASE
)
_NOQA: Final = re.compile(
    r"#\s*noqa(?:(?P<colon>\s*:)\s*(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+\b)*)?)?(?![\w-])",
    re.IGNORECASE,
)
_SEPARATOR: Final = re.compile(r"[,\s]+")


@dataclass(frozen=True, slots=True)
class Suppression:
    """One comment.

    line: of the joined text, from 1; selectors: codes or names in upper case, none for
    "everything"; whole_file: holds for the file; foreign: a `# noqa`, which is not ours alone.
    """

    line: int
    selectors: tuple[str, ...] = ()
    whole_file: bool = False
    foreign: bool = False

    def covers(self, finding: Finding) -> bool:
        """Whether the comment speaks of findings of this code."""
        if not self.selectors:
            return True
        names = (finding.code, finding.name.upper())
        return any(s in names or _is_family(s, finding.code) for s in self.selectors)


def _is_family(selector: str, code: str) -> bool:
    return len(selector) >= 3 and selector.startswith("BNL") and code.startswith(selector)


def find_suppressions(text: str) -> tuple[Suppression, ...]:
    """All suppression comments of a file; text that looks like one inside a string is none."""
    if not _QUICK.search(text):
        return ()
    return tuple(s for line, comment in _comments(text) for s in _parse(line, comment))


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Comments with their lines. Where the tokenizer gives up the rest is read line by line."""
    last = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text, newline="").readline):
            last = token.end[0]
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    except (tokenize.TokenError, SyntaxError):
        for number, line in enumerate(text.splitlines()[last:], last + 1):
            if "#" in line:
                yield number, line[line.index("#") :]


def _parse(line: int, comment: str) -> Iterator[Suppression]:
    for match in _OWN.finditer(comment):
        codes = match["codes"]
        selectors = _split(codes) if codes is not None else ()
        if codes is None or selectors:
            yield Suppression(line, selectors, whole_file=match["file"] is not None)
    noqa = _NOQA.search(comment)
    if noqa is None:
        return
    ours = tuple(code for code in _split(noqa["codes"] or "") if code.startswith("BNL"))
    if ours or not noqa["colon"]:
        yield Suppression(line, ours, foreign=True)


def _split(codes: str) -> tuple[str, ...]:
    return tuple(code.upper() for code in _SEPARATOR.split(codes) if code)


@dataclass(frozen=True, slots=True)
class FileSuppressions:
    """The suppressions of one file, and what is needed to find the line of a finding.

    cells: each notebook cell and the line of the joined text where it starts. logical_lines: first
    and last line of every simple statement that has several.
    """

    comments: tuple[Suppression, ...]
    cells: tuple[tuple[int, int], ...] = ()
    logical_lines: tuple[tuple[int, int], ...] = ()

    def lines_of(self, place: Place) -> tuple[int, ...]:
        """Lines of the joined text on which a comment holds for the place: its own, and the first
        of its statement."""
        shift = next((line - 1 for cell, line in self.cells if cell == place.cell), 0)
        line = place.line + shift
        index = bisect_right(self.logical_lines, (line, line)) - 1
        candidates = self.logical_lines[max(0, index - 3) : index + 1]
        return (line, *(first for first, last in candidates if first < line <= last))

    def covering(self, finding: Finding, place: Place) -> Suppression | None:
        """The comment that suppresses the finding at this place; None when there is none."""
        lines = self.lines_of(place)
        candidates = (c for c in self.comments if c.whole_file or c.line in lines)
        return next((c for c in candidates if c.covers(finding)), None)


@dataclass(frozen=True, slots=True)
class Applied:
    """findings: the suppressed ones marked; used: (path, line) of the comments that did it."""

    findings: tuple[Finding, ...]
    used: frozenset[tuple[str, int]]


def apply_suppressions(
    findings: Iterable[Finding], files: Mapping[str, FileSuppressions]
) -> Applied:
    """Mark what comments suppress.

    Each instance of a grouped finding is suppressed at its own line: a group of which only some
    are suppressed is split. A finding whose proof spans files is also suppressed at a cause.
    """
    used: set[tuple[str, int]] = set()
    kept: list[Finding] = []
    for finding in findings:
        kept += _split_group(finding, files, used)
    return Applied(tuple(kept), frozenset(used))


def _split_group(
    finding: Finding, files: Mapping[str, FileSuppressions], used: set[tuple[str, int]]
) -> list[Finding]:
    if finding.place is None:
        return [finding]
    causes = _cross_file_causes(finding, finding.place)
    excused = [_suppressed(finding, cause, files, used) for cause in causes]
    if any(excused):
        return [replace(finding, suppressed=True)]
    instances = [e for e in finding.evidence if e.role is Role.INSTANCE]
    places = [finding.place, *(e.place for e in instances)]
    hidden = [_suppressed(finding, place, files, used) for place in places]
    if not any(hidden):
        return [finding]
    if all(hidden):
        return [replace(finding, suppressed=True)]
    shown = _regroup(finding, [p for p, h in zip(places, hidden) if not h])
    gone = _regroup(finding, [p for p, h in zip(places, hidden) if h])
    return [shown, replace(gone, suppressed=True)]


def _cross_file_causes(finding: Finding, own: Place) -> list[Place]:
    if all(e.place.path == own.path for e in finding.evidence):
        return []
    return [e.place for e in finding.evidence if e.role is Role.CAUSE]


def _suppressed(
    finding: Finding,
    place: Place,
    files: Mapping[str, FileSuppressions],
    used: set[tuple[str, int]],
) -> bool:
    file = files.get(place.path)
    comment = file.covering(finding, place) if file is not None else None
    if comment is not None:
        used.add((place.path, comment.line))
    return comment is not None


def _regroup(finding: Finding, places: list[Place]) -> Finding:
    """The finding accusing only these of its places, the first of them as its own.

    What a fix would change stays only with the places that it was written for.
    """
    first, *others = places
    evidence = tuple(
        e for e in finding.evidence if e.role is not Role.INSTANCE or e.place in others
    )
    fix = None if finding.fix is None else _fix_of(finding.fix, places)
    return replace(finding, place=first, evidence=evidence, fix=fix)


def _fix_of(fix: Fix, places: list[Place]) -> Fix | None:
    intents = tuple(i for i in fix.intents if not places_of(i).isdisjoint(places))
    return replace(fix, intents=intents) if intents else None
