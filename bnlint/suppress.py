"""Suppression comments: `# bnlint: ignore[...]`, `# bnlint: ignore-file[...]` and `# noqa`."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from bnlint.comments import comments_with
from bnlint.finding import Finding, Fix, Place, Role, places_of
from bnlint.records import Struct, field, replace

_WORDS: Final = ("bnlint:", "noqa")
_REASON: Final = r"(?P<reason>.*?)(?=\s*$|\s+#\s*(?:[\w-]+:|noqa\b))"
"""Up to the end of the comment, or up to another one behind it."""
OWN: Final = re.compile(
    rf"#\s*bnlint:\s*ignore(?P<file>-file)?\b(?:\[(?P<codes>[^\]]*)(?:\]|$))?{_REASON}",
    re.IGNORECASE,
)
"""A bracket that nobody closes goes on to the end: never does it excuse everything."""
NOQA: Final = re.compile(
    r"#\s*noqa(?:(?P<colon>\s*:)\s*(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+\b)*)?)?(?![\w-])"
    rf"{_REASON}",
    re.IGNORECASE,
)
_SEPARATOR: Final = re.compile(r"[,\s]+")


class Suppression(Struct, frozen=True):
    """One comment.

    line: of the joined text, from 1; selectors: codes or names in upper case, none for
    "everything"; whole_file: holds for the file; foreign: a `# noqa`, which is not ours alone;
    reason: what it says beside that; column, text: where in the line it begins, and all of it.
    """

    line: int
    selectors: tuple[str, ...] = ()
    whole_file: bool = False
    foreign: bool = False
    reason: str = ""
    column: int = 1
    text: str = ""

    def covering(self, finding: Finding) -> tuple[str, ...]:
        """The selectors that speak of findings of this code; an empty one for "everything"."""
        if not self.selectors:
            return ("",)
        return tuple(s for s in self.selectors if selects(s, finding.code, finding.name))


def selects(selector: str, code: str, name: str) -> bool:
    """Whether a selector in upper case means a rule: its code, its name, or its family."""
    is_family = len(selector) >= 3 and code.startswith(selector)
    return is_family or selector in (code, name.upper())


def find_suppressions(text: str) -> tuple[Suppression, ...]:
    """All suppression comments of a file; text that looks like one inside a string is none."""
    comments = comments_with(text, _WORDS)
    return tuple(found for comment in comments for found in _parse(*comment))


def _parse(line: int, column: int, comment: str) -> Iterator[Suppression]:
    for match in OWN.finditer(comment):
        codes = match["codes"]
        selectors = _upper(codes) if codes is not None else ()
        if codes is None or selectors:
            found = _suppression(line, column, match)
            yield replace(found, selectors=selectors, whole_file=match["file"] is not None)
    noqa = NOQA.search(comment)
    if noqa is None:
        return
    ours = tuple(code for code in _upper(noqa["codes"] or "") if code.startswith("BNL"))
    if ours or not noqa["colon"]:
        yield replace(_suppression(line, column, noqa), selectors=ours, foreign=True)


def _suppression(line: int, column: int, match: re.Match[str]) -> Suppression:
    reason = match["reason"].strip(" \t:-\u2013\u2014")
    return Suppression(line, reason=reason, column=column + match.start(), text=match[0])


def split_codes(codes: str) -> list[str]:
    """The codes of a list as they are written."""
    return [code for code in _SEPARATOR.split(codes) if code]


def _upper(codes: str) -> tuple[str, ...]:
    return tuple(code.upper() for code in split_codes(codes))


class FileSuppressions(Struct, frozen=True):
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

    def without_blanket(self) -> FileSuppressions:
        """The comments that name what they suppress."""
        return replace(self, comments=tuple(c for c in self.comments if c.selectors))

    def cell_at(self, line: int) -> tuple[int | None, int]:
        """The notebook cell that a line of the joined text is in, and the lines before the cell."""
        start = next((cell for cell in reversed(self.cells) if cell[1] <= line), None)
        return (None, 0) if start is None else (start[0], start[1] - 1)

    def by_line(self) -> dict[int, list[Suppression]]:
        """The comments by their line; those that hold for the whole file under 0."""
        found: dict[int, list[Suppression]] = {}
        for comment in self.comments:
            found.setdefault(0 if comment.whole_file else comment.line, []).append(comment)
        return found


Used: TypeAlias = tuple[str, Suppression, str]
"""A file, a comment in it, and the selector of the comment that suppressed something."""


class Applied(Struct, frozen=True):
    """findings: the suppressed ones marked; used: what suppressed them."""

    findings: tuple[Finding, ...]
    used: frozenset[Used]


def apply_suppressions(
    findings: Iterable[Finding], files: Mapping[str, FileSuppressions]
) -> Applied:
    """Mark what comments suppress.

    Each instance of a grouped finding is suppressed at its own line: a group of which only some
    are suppressed is split. A finding whose proof spans files is also suppressed at a cause.
    """
    excusing = _Excusing(files)
    kept: list[Finding] = []
    for finding in findings:
        kept += _split_group(finding, excusing)
    return Applied(tuple(kept), frozenset(excusing.used))


class _Excusing(Struct):
    """The comments of all files, and which of them were of use."""

    files: Mapping[str, FileSuppressions]
    used: set[Used] = field(default_factory=set)
    _by_line: dict[str, dict[int, list[Suppression]]] = field(default_factory=dict)

    def comments(self, finding: Finding, place: Place) -> list[Suppression]:
        """The comments that excuse the finding at this place, noted as used."""
        file = self.files.get(place.path)
        if file is None:
            return []
        by_line = self._by_line.get(place.path)
        if by_line is None:
            by_line = self._by_line[place.path] = file.by_line()
        lines = sorted({0, *file.lines_of(place)})
        found = [c for line in lines for c in by_line.get(line, ()) if c.covering(finding)]
        for comment in found:
            selectors = comment.covering(finding)
            self.used.update((place.path, comment, selector) for selector in selectors)
        return found


def _split_group(finding: Finding, excusing: _Excusing) -> list[Finding]:
    if finding.place is None:
        return [finding]
    causes = _cross_file_causes(finding, finding.place)
    excuses = [e for cause in causes for e in excusing.comments(finding, cause)]
    if excuses:
        return [_hidden(finding, excuses)]
    instances = [e for e in finding.evidence if e.role is Role.INSTANCE]
    places = [finding.place, *(e.place for e in instances)]
    found = [excusing.comments(finding, place) for place in places]
    excuses = [excuse for of_place in found for excuse in of_place]
    shown = [place for place, of_place in zip(places, found) if not of_place]
    if not excuses:
        return [finding]
    if not shown:
        return [_hidden(finding, excuses)]
    gone = [place for place, of_place in zip(places, found) if of_place]
    return [regroup(finding, shown), _hidden(regroup(finding, gone), excuses)]


def _hidden(finding: Finding, excuses: Sequence[Suppression]) -> Finding:
    reason = next((excuse.reason for excuse in excuses if excuse.reason), "")
    return replace(finding, suppressed=True, reason=reason)


def _cross_file_causes(finding: Finding, own: Place) -> list[Place]:
    if all(e.place.path == own.path for e in finding.evidence):
        return []
    return [e.place for e in finding.evidence if e.role is Role.CAUSE]


def regroup(finding: Finding, places: list[Place]) -> Finding:
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
