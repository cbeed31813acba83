"""Findings as JSON, with the keys that scripts outside the project rely on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from bnlint.finding import Edit, Evidence, Finding, Fix
from bnlint.output.base import Printout
from bnlint.paths import shown_path


def render(printout: Printout) -> str:
    """One array; the suppressed findings are in it, and marked."""
    return json.dumps([finding_to_dict(f) for f in printout.findings], indent=2) + "\n"


def finding_to_dict(finding: Finding) -> dict[str, Any]:
    """The public form of a finding: positions 1-based, columns in code points.

    path and positions are null for a live finding on a class without source.
    """
    place = finding.place
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.label,
        "message": finding.message,
        "path": None if place is None else shown_path(place.path),
        "line": None if place is None else place.line,
        "column": None if place is None else place.column,
        "end_line": None if place is None else place.end_line or place.line,
        "end_column": None if place is None else place.end_column or place.column,
        "cell": None if place is None else place.cell,
        "evidence": [_evidence(evidence) for evidence in finding.evidence],
        "fix": None if finding.fix is None else _fix(finding.fix),
        "suppressed": finding.suppressed,
        "suppression": _suppression(finding),
        "url": finding.url,
        "module": finding.module,
        "measurement": _plain(finding.measurement),
    }


def _suppression(finding: Finding) -> dict[str, str] | None:
    if not finding.suppressed:
        return None
    kind = "baseline" if finding.baselined else "comment"
    return {"kind": kind, "reason": finding.reason}


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "path": shown_path(evidence.place.path),
        "line": evidence.place.line,
        "column": evidence.place.column,
        "cell": evidence.place.cell,
        "role": evidence.role.value,
        "message": evidence.message,
    }


def _fix(fix: Fix) -> dict[str, Any]:
    return {
        "message": fix.message,
        "applicability": "safe" if fix.safe else "unsafe",
        "edits": [_edit(edit) for edit in fix.edits],
    }


def _edit(edit: Edit) -> dict[str, Any]:
    return {
        "line": edit.line,
        "column": edit.column,
        "end_line": edit.end_line,
        "end_column": edit.end_column,
        "text": edit.text,
    }


def _plain(value: Any) -> Any:
    """Numbers that JSON can say: a value that is not finite becomes null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
