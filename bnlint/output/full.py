"""The default output: each finding with its source, a caret, and its evidence step by step."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from bnlint.finding import Finding, Place, Role
from bnlint.output.base import STYLES, Printout, Span, fixable, header, paint, summary, where
from bnlint.printable import printable

CONTEXT: Final = 2
"""Source lines shown before and after the accused one."""

LONGEST: Final = 1000
"""Characters shown of a source line where nothing says how wide the reader is: what is longer was
generated, and is shown around the accused place."""

_LABELS: Final = {Role.INSTANCE: "also", Role.CAUSE: "because", Role.CONTEXT: "note"}
_FRAME: Final = "blue"


def render(printout: Printout) -> str:
    """All visible findings, each followed by an empty line, a summary, and what to do next."""
    lines: list[Sequence[Span]] = []
    for finding in printout.visible:
        lines += [*_block(finding, printout), []]
    end = (summary(printout), fixable(printout), _explaining(printout))
    lines += [[(line, "")] for line in end if line]
    return paint(lines, printout.colour)


def _explaining(printout: Printout) -> str:
    """Where the rules are explained."""
    return "`bnlint rule CODE` explains a rule." if printout.visible and printout.hints else ""


def _block(finding: Finding, printout: Printout) -> Iterator[Sequence[Span]]:
    yield from _wrapped(header(finding), printout.width)
    gutter = 2
    if finding.place is not None:
        excerpt = list(_excerpt(finding, finding.place, printout))
        gutter = len(excerpt[0][0][0]) - 1 if excerpt else gutter
        yield from excerpt
    for evidence in finding.evidence:
        text = f"{_seen_from(finding.place, evidence.place)}: {evidence.message}"
        yield from _note(f"{_LABELS[evidence.role]}: ", text, gutter, printout.width)
    if finding.fix is not None:
        kind = "fix" if finding.fix.safe else "fix (unsafe)"
        yield from _note(f"{kind}: ", finding.fix.message, gutter, printout.width)


def _wrapped(spans: Sequence[Span], width: int | None) -> Iterator[Sequence[Span]]:
    """A header on as many lines as it needs; the message is its last span."""
    if width is None:
        yield spans
        return
    *head, (message, style) = spans
    taken = sum(len(text) for text, _ in head)
    lines = textwrap.wrap(
        "x" * taken + message,
        width,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]
    yield [*head, (lines[0][taken:], style)]
    for line in lines[1:]:
        yield [(line, style)]


def _seen_from(own: Place | None, place: Place) -> str:
    """A place as a reader of the finding needs it: in the same file the line is enough."""
    if own is not None and (own.path, own.cell) == (place.path, place.cell):
        return f"line {place.line}"
    return where(place)


def _note(label: str, text: str, gutter: int, width: int | None) -> Iterator[Sequence[Span]]:
    """`  = label: text`, the continuation indented below the text."""
    mark = " " * gutter + "= "
    if width is None:
        yield [(mark, _FRAME), (label, "bold"), (text, "")]
        return
    room = max(width - len(mark) - len(label), 20)
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    yield [(mark, _FRAME), (label, "bold"), (lines[0], "")]
    for line in lines[1:]:
        yield [(" " * (len(mark) + len(label)) + line, "")]


def _excerpt(finding: Finding, place: Place, printout: Printout) -> Iterator[Sequence[Span]]:
    lines = printout.lines(place)
    if not 1 <= place.line <= len(lines):
        return
    first, last = max(1, place.line - CONTEXT), min(len(lines), place.line + CONTEXT)
    while first < place.line and not lines[first - 1].strip():
        first += 1
    while last > place.line and not lines[last - 1].strip():
        last -= 1
    digits = len(str(last))
    room = LONGEST if printout.width is None else max(printout.width - digits - 3, 20)
    window = _window(lines[place.line - 1], place, room)
    bar = " " * (digits + 1) + "|"
    yield [(bar, _FRAME)]
    for number in range(first, last + 1):
        shown = _clip(_shown(lines[number - 1]), *window)
        yield [(f"{number:>{digits}} | ", _FRAME), (shown, "")]
        if number == place.line:
            blank, carets = _carets(lines[number - 1], place, *window)
            yield [(f"{bar} {blank}", _FRAME), (carets, STYLES[finding.severity])]
    yield [(bar, _FRAME)]


def _shown(line: str) -> str:
    """A source line as it is printed."""
    return printable(line.expandtabs(4))


def _window(line: str, place: Place, room: int) -> tuple[int, int]:
    """Start and width of the part of a long line to show, so that the caret is in it."""
    column = len(_shown(line[: place.column - 1]))
    start = max(0, column - room // 3) if column + 10 > room else 0
    return start, room


def _clip(text: str, start: int, room: int) -> str:
    shown = text[start : start + room]
    if start and shown:
        shown = "…" + shown[1:]
    return shown[:-1] + "…" if start + room < len(text) else shown


def _carets(line: str, place: Place, start: int, room: int) -> tuple[str, str]:
    """Blanks up to the accused text, and carets under it, cut at the edge of the window."""
    before = _shown(line[: place.column - 1])[start:]
    end = place.end_column - 1 if place.end_line <= place.line else len(line)
    accused = _shown(line[:end].rstrip())[start + len(before) :]
    width = max(1, min(_width(accused), room - _width(before)))
    return " " * _width(before), "^" * width


def _width(text: str) -> int:
    """Columns of the text on a terminal: wide characters take two, combining ones none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)
