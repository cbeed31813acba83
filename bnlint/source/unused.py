"""Suppression comments that suppress nothing (BNL902), and how they are taken away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set

from bnlint.finding import Finding, Fix, Place, ReplaceText
from bnlint.records import Struct
from bnlint.rules import all_rules, find_rule
from bnlint.source.text import split_lines
from bnlint.spelling import did_you_mean_rule
from bnlint.suppress import (
    NOQA,
    OWN,
    FileSuppressions,
    Suppression,
    Used,
    selects,
    split_codes,
)

_OUT_OF_REACH = frozenset({"BNL902", "BNL903"})
"""Findings about comments and about bnlint: who silences them does so in advance."""


class Ran(Struct, frozen=True):
    """codes: of the rules that were asked about a file."""

    codes: Set[str]

    def would_have_spoken(self, comment: Suppression, selector: str) -> bool:
        """Whether everything that a selector stands for was looked for. A selector that stands for
        nothing is as good as looked for."""
        if not selector:
            wanted = {r.code for r in all_rules() if r.default and r.source and r.check is not None}
            return not comment.foreign and wanted <= self.codes
        meant = {rule.code for rule in all_rules() if selects(selector, rule.code, rule.name)}
        return meant <= self.codes and not meant & _OUT_OF_REACH


def unused_suppressions(
    path: str,
    file: FileSuppressions,
    used: Set[Used],
    ran: Ran,
    text_of: Callable[[str], str | None],
) -> Iterator[Finding]:
    """A finding for each comment of a file with a selector that suppressed nothing.

    text_of: the text (of a notebook: of its joined code cells) that the comments stand in.
    """
    lines: list[str] | None = None
    for comment in file.comments:
        dead = [
            selector
            for selector in dict.fromkeys(comment.selectors) or ("",)
            if (path, comment, selector) not in used and ran.would_have_spoken(comment, selector)
        ]
        if dead and lines is None:  # once for the file: there may be thousands of comments
            text = text_of(path)
            if text is None:
                return
            lines = split_lines(text)
        if dead and lines is not None:
            yield _finding(_Comment(path, file, comment, lines), dead)


def _finding(comment: _Comment, dead: Sequence[str]) -> Finding:
    rule = find_rule("BNL902")
    if rule is None:
        raise LookupError("no rule BNL902")
    everything = len(dead) == len(set(comment.written.selectors) or ("",))
    written = comment.as_written()
    names = " and ".join(written.get(selector, selector) for selector in dead if selector)
    kind = "noqa" if comment.written.foreign else "ignore"
    what = f"no finding of {names}" if names else "nothing"
    message = f"the comment `{kind}` suppresses {what} here"
    unknown = [written.get(s, s) for s in dead if s and not _is_known(s)]
    guesses = {name: did_you_mean_rule(name) for name in unknown}
    if unknown:
        said = (f"{name}: no such rule{guess}" for name, guess in guesses.items())
        message += f" ({'; '.join(said)})"
    if any(guesses.values()):  # what was meant is to be kept, with its reason
        return rule.finding(message, comment.place())
    edit = comment.without(dead)
    words = "remove the comment" if everything else f"remove {names} from the comment"
    return rule.finding(message, comment.place(), fix=Fix(words, (edit,), safe=True))


def _is_known(selector: str) -> bool:
    return any(selects(selector, rule.code, rule.name) for rule in all_rules())


class _Comment(Struct, frozen=True):
    """A comment where it stands. lines: of the joined text."""

    path: str
    file: FileSuppressions
    written: Suppression
    lines: Sequence[str]

    def place(self) -> Place:
        """The comment, without a reason that follows its codes."""
        end = self._match().start("reason")
        column = self.written.column
        text = self.written.text[:end].rstrip()
        return self._span(column, column + len(text))

    def as_written(self) -> dict[str, str]:
        """The selectors of the comment, which are kept in upper case, as the comment has them."""
        codes = split_codes(self._match()["codes"] or "")
        return {code.upper(): code for code in reversed(codes)}

    def without(self, dead: Iterable[str]) -> ReplaceText:
        """The edit that takes selectors away, or the whole comment with its reason when none is
        left."""
        match = self._match()
        gone = {selector for selector in dead if selector}
        codes = split_codes(match["codes"] or "")
        kept = [code for code in codes if code.upper() not in gone]
        if kept:
            start, end = (self.written.column + offset for offset in match.span("codes"))
            return ReplaceText(self._span(start, end), ", ".join(kept))
        return ReplaceText(self._whole(), "")

    def _match(self) -> re.Match[str]:
        pattern = NOQA if self.written.foreign else OWN
        match = pattern.match(self.written.text)
        if match is None:
            raise ValueError(f"not a suppression: {self.written.text!r}")
        return match

    def _whole(self) -> Place:
        """The comment with the blanks that led to it; a line that holds nothing else goes too."""
        line = self.lines[self.written.line - 1]
        start = self.written.column - 1
        end = start + len(self.written.text)
        rest = line[end:]
        if rest.strip():
            return self._span(start + 1, end + len(rest) - len(rest.lstrip()) + 1)
        before = line[:start].rstrip()
        if before or self.written.line == len(self.lines):
            return self._span(len(before) + 1, len(line) + 1)
        place = self._span(1, 1)
        return Place(self.path, place.line, 1, place.line + 1, 1, place.cell)

    def _span(self, column: int, end_column: int) -> Place:
        cell, shift = self.file.cell_at(self.written.line)
        line = self.written.line - shift
        return Place(self.path, line, column, line, end_column, cell)
