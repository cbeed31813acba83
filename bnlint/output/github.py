"""Workflow commands of GitHub Actions: the findings appear in the pull request's diff."""

from __future__ import annotations

from typing import Final

from bnlint.finding import Finding, Place, Severity
from bnlint.output.base import Printout, where
from bnlint.paths import shown_path
from bnlint.printable import printable

_COMMANDS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render(printout: Printout) -> str:
    """One command for each visible finding, and for each file that could not be read."""
    commands = [_command(finding, printout) for finding in printout.visible]
    commands += [
        f"::error file={_property(shown_path(path))}::{_data(f'cannot be read: {reason}')}"
        for path, reason in printout.unread
    ]
    return "".join(f"{command}\n" for command in commands)


def _command(finding: Finding, printout: Printout) -> str:
    properties = {"title": f"{finding.code} {finding.name}"}
    if finding.place is not None:
        properties = {**_position(printout.in_file(finding.place)), **properties}
    said = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{_COMMANDS[finding.severity]} {said}::{_data(_text(finding))}"


def _position(place: Place) -> dict[str, str]:
    """GitHub takes columns only where the first line is also the last."""
    end = place.end_line or place.line
    found = {"file": shown_path(place.path), "line": str(place.line), "endLine": str(end)}
    if end > place.line:
        return found
    last = max(place.end_column - 1, place.column)
    return {**found, "col": str(place.column), "endColumn": str(last)}


def _text(finding: Finding) -> str:
    steps = (f"{where(step.place)}: {step.message}" for step in finding.evidence)
    return "\n".join([f"{where(finding.place)}: {finding.code} {finding.message}", *steps])


def _data(text: str) -> str:
    """As the runner reads it: no line may end early, and no escape code may reach the log."""
    escaped = printable(text, keep="\n\r").replace("%", "%25")
    return escaped.replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
