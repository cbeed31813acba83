"""GitLab's code quality report: an array of issues in the form of Code Climate."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from bnlint.finding import Finding, Place, Severity
from bnlint.fingerprint import fingerprints
from bnlint.output.base import Printout, where
from bnlint.paths import shown_path

_SEVERITIES: Final = {
    Severity.ERROR: "critical",
    Severity.WARNING: "major",
    Severity.NOTE: "info",
}
_NOWHERE: Final = Place("<unknown>", 1)


def render(printout: Printout) -> str:
    """The visible findings; GitLab compares fingerprints to tell new ones from old ones."""
    marks = fingerprints(printout.visible, printout.lines)
    issues = [_issue(f, mark, printout) for f, mark in zip(printout.visible, marks)]
    issues += [_unread(path, reason) for path, reason in printout.unread]
    return json.dumps(issues, indent=2) + "\n"


def _unread(path: str, reason: str) -> dict[str, Any]:
    """A file that kept the run from being complete, as an issue in its first line."""
    name = shown_path(path)
    return {
        "description": f"cannot be read: {reason}",
        "check_name": "unreadable",
        "categories": ["Bug Risk"],
        "severity": "critical",
        "fingerprint": hashlib.sha256(f"unreadable {name}".encode("utf-8", "replace")).hexdigest(),
        "location": {"path": name, "positions": {"begin": {"line": 1}, "end": {"line": 1}}},
    }


def _issue(finding: Finding, fingerprint: str, printout: Printout) -> dict[str, Any]:
    own = finding.place or _NOWHERE
    place = printout.in_file(own)
    cell = "" if own.cell is None else f" (cell {own.cell}, line {own.line})"
    return {
        "description": f"{finding.message}{cell}",
        "check_name": finding.code,
        "categories": ["Bug Risk"],
        "severity": _SEVERITIES[finding.severity],
        "fingerprint": fingerprint,
        "location": {
            "path": shown_path(place.path),
            "positions": {
                "begin": {"line": place.line, "column": place.column},
                "end": {
                    "line": place.end_line or place.line,
                    "column": place.end_column or place.column,
                },
            },
        },
        "content": {"body": _body(finding)},
    }


def _body(finding: Finding) -> str:
    steps = "".join(f"\n- {where(step.place)}: {step.message}" for step in finding.evidence)
    return f"[{finding.code} {finding.name}]({finding.url})\n{steps}".rstrip()
