"""What every renderer gets and gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from bnlint.finding import Finding, Place, Role, Severity
from bnlint.paths import shown_path
from bnlint.printable import counted, printable
from bnlint.records import Struct

if TYPE_CHECKING:
    from bnlint.baseline import Entry

SourceLines: TypeAlias = Callable[[Place], Sequence[str]]
"""The lines of the file (of the cell, in a notebook) that a place is in; empty when unknown."""

Span: TypeAlias = tuple[str, str]
"""A piece of a line and its style, in rich's words ("" for none)."""

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold blue"}


class Printout(Struct, frozen=True):
    """What to render, and where it will stand.

    findings: sorted. files: how many were linted. width: columns of the terminal; None where there
    is none, and nothing is wrapped. colour: whether the reader is a terminal that shows colours.
    fail_level: what is below it does not fail the run. seconds: how long the run took; None leaves
    it unsaid. in_file: a place as a position in its file: of a notebook, in the lines of its JSON.
    slack: entries of the baseline that are no longer found, and how often. unread: files and
    folders that could not be read, and why. hints: whether to say what can be done next.
    """

    findings: Sequence[Finding]
    files: int
    lines: SourceLines
    width: int | None = 80
    colour: bool = False
    fail_level: Severity = Severity.WARNING
    seconds: float | None = None
    in_file: Callable[[Place], Place] = lambda place: place
    slack: Mapping[Entry, int] = {}
    unread: Sequence[tuple[str, str]] = ()
    hints: bool = True

    @property
    def visible(self) -> list[Finding]:
        """The findings that no comment suppresses."""
        return [finding for finding in self.findings if not finding.suppressed]


def where(place: Place | None) -> str:
    """`path:line:column`, with the cell of a notebook; `<unknown>` for no place."""
    if place is None:
        return "<unknown>"
    cell = "" if place.cell is None else f"cell {place.cell}:"
    return f"{shown_path(place.path)}:{cell}{place.line}:{place.column}"


def header(finding: Finding) -> list[Span]:
    """`path:line:column: CODE [severity] message`."""
    return [
        (where(finding.place), "bold"),
        (": ", ""),
        (finding.code, STYLES[finding.severity]),
        (f" [{finding.severity.label}] {finding.message}", ""),
    ]


def instances(finding: Finding) -> int:
    """How many places a finding accuses."""
    return 1 + sum(evidence.role is Role.INSTANCE for evidence in finding.evidence)


def summary(printout: Printout) -> str:
    """The last line of an output for people."""
    visible = printout.visible
    hidden = _hidden(printout.findings)
    files = counted(printout.files, "file")
    if printout.seconds is not None:
        files += f" in {printout.seconds:.1f} s"
    unread = f"{counted(len(printout.unread), 'file')} could not be read" if printout.unread else ""
    if not printout.files:
        return f"No files were checked: {unread}." if unread else "No files were checked."
    if not visible:
        passed = "Nothing found in" if unread else "All checks passed:"
        return f"{passed} {files}{hidden}{f'; {unread}' if unread else ''}."
    counts = Counter(finding.severity for finding in visible)
    parts = [counted(counts[level], level.label) for level in sorted(counts, reverse=True)]
    return f"Found {', '.join(parts)} in {files}{hidden}{f'; {unread}' if unread else ''}."


def fixable(printout: Printout) -> str:
    """How many of the visible findings have a fix, and which options make them; "" for none."""
    fixes = [f.fix for f in printout.visible if f.fix is not None and f.fix.edits]
    if not fixes or not printout.hints:
        return ""
    safe = sum(fix.safe for fix in fixes)
    unsafe = len(fixes) - safe
    said = [f"{safe} fixable with `--fix`"] if safe else []
    if unsafe:
        said.append(f"{unsafe} {'more' if safe else 'fixable'} with `--fix --unsafe-fixes`")
    them = "it" if len(fixes) == 1 else "them"
    return f"{', '.join(said)} (`--diff` in place of `--fix` shows {them})."


def _hidden(findings: Sequence[Finding]) -> str:
    """How many findings are not shown, and why."""
    baselined = sum(finding.baselined for finding in findings)
    suppressed = sum(finding.suppressed for finding in findings) - baselined
    counts = ((suppressed, "suppressed"), (baselined, "in the baseline"))
    said = ", ".join(f"{number} {word}" for number, word in counts if number)
    return f" ({said})" if said else ""


def paint(lines: Sequence[Sequence[Span]], colour: bool) -> str:
    """The lines as text, with terminal colours when wanted; nothing in them reaches the terminal
    as a command."""
    lines = [[(printable(text), style) for text, style in line] for line in lines]
    if not colour:
        return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    target = StringIO()
    console = Console(file=target, force_terminal=True, highlight=False, soft_wrap=True)
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)
    return target.getvalue()
