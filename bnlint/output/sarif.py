"""SARIF 2.1.0: the standard form for the results of static analysis, one run in one log."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import bnlint
from bnlint.finding import Edit, Evidence, Finding, Fix, Place, Role, Severity
from bnlint.fingerprint import fingerprints
from bnlint.output.base import Printout
from bnlint.output.page import rule_page
from bnlint.paths import shown_path
from bnlint.rules import all_rules
from bnlint.rules.base import Rule

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_BASE: Final = "%SRCROOT%"
_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
_HOME: Final = "https://bnlint.readthedocs.io/"


def render(printout: Printout) -> str:
    """The log; suppressed findings are in it, with their suppressions."""
    codes = {finding.code for finding in printout.findings}
    rules = [rule for rule in all_rules() if rule.code in codes]
    index = {rule.code: number for number, rule in enumerate(rules)}
    marks = fingerprints(printout.findings, printout.lines)
    writer = _Writer(printout)
    results = [
        {**writer.result(finding), "partialFingerprints": {"primaryLocationLineHash": mark}}
        for finding, mark in zip(printout.findings, marks)
    ]
    for result in results:
        result["ruleIndex"] = index.get(result["ruleId"], -1)
    run = {
        "tool": {"driver": _driver(rules)},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(printout)],
        "originalUriBaseIds": {_BASE: {"uri": Path.cwd().as_uri() + "/"}},
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _driver(rules: Sequence[Rule]) -> dict[str, Any]:
    return {
        "name": "bnlint",
        "version": bnlint.__version__,
        "semanticVersion": bnlint.__version__,
        "informationUri": _HOME,
        "rules": [_rule(rule) for rule in rules],
    }


def _invocation(printout: Printout) -> dict[str, Any]:
    """Whether everything could be read, and what could not."""
    notes = [
        {
            "level": "error",
            "message": {"text": f"cannot be read: {reason}"},
            "locations": [{"physicalLocation": {"artifactLocation": _artifact(path)}}],
        }
        for path, reason in printout.unread
    ]
    said = {"toolExecutionNotifications": notes} if notes else {}
    return {"executionSuccessful": not notes, **said}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.what},
        "help": {"text": rule.what, "markdown": rule_page(rule)},
        **({"helpUri": f"{_HOME}rules/{rule.code}/"} if rule.code.startswith("BNL") else {}),
        "defaultConfiguration": {"level": _LEVELS[rule.severity], "enabled": rule.default},
        "properties": {"tags": ["pytorch", "batchnorm"]},
    }


class _Writer:
    """Results of one printout."""

    def __init__(self, printout: Printout) -> None:
        self._in_file = printout.in_file

    def result(self, finding: Finding) -> dict[str, Any]:
        """One finding."""
        result: dict[str, Any] = {
            "ruleId": finding.code,
            "level": _LEVELS[finding.severity],
            "message": {"text": finding.message},
        }
        if finding.place is not None:
            result["locations"] = [self._location(finding.place)]
            related = [e for e in finding.evidence if e.role is Role.INSTANCE]
            if related:
                result["relatedLocations"] = [
                    {"id": number, **self._step(evidence)}
                    for number, evidence in enumerate(related, 1)
                ]
            proof = [e for e in finding.evidence if e.role is not Role.INSTANCE]
            if proof:
                result["codeFlows"] = [self._flow(proof, finding, finding.place)]
            if finding.fix is not None and finding.fix.edits:
                result["fixes"] = [self._fix(finding.fix, finding.place)]
        if finding.suppressed:
            result["suppressions"] = [_suppression(finding)]
        if finding.module is not None:
            result["properties"] = {"module": finding.module}
        return result

    def _location(self, place: Place) -> dict[str, Any]:
        found = self._in_file(place)
        location: dict[str, Any] = {
            "physicalLocation": {
                "artifactLocation": _artifact(place.path),
                "region": _region(
                    found.line,
                    found.column,
                    found.end_line or found.line,
                    found.end_column or found.column,
                ),
            }
        }
        if place.cell is not None:
            name = f"cell {place.cell}, line {place.line}"
            location["logicalLocations"] = [{"name": name, "kind": "cell"}]
            location["properties"] = {"cell": place.cell, "line": place.line}
        return location

    def _step(self, evidence: Evidence) -> dict[str, Any]:
        return {**self._location(evidence.place), "message": {"text": evidence.message}}

    def _flow(self, proof: Sequence[Evidence], finding: Finding, own: Place) -> dict[str, Any]:
        """The proof step by step, and at its end the accused place."""
        steps = [
            {
                "location": self._step(evidence),
                "importance": "essential" if evidence.role is Role.CAUSE else "important",
            }
            for evidence in proof
        ]
        last = {**self._location(own), "message": {"text": finding.message}}
        steps.append({"location": last, "importance": "essential"})
        return {"threadFlows": [{"locations": steps}]}

    def _fix(self, fix: Fix, own: Place) -> dict[str, Any]:
        safety = "" if fix.safe else " (unsafe: read the rule's page)"
        replacements = [self._replacement(edit, own) for edit in fix.edits]
        change = {"artifactLocation": _artifact(own.path), "replacements": replacements}
        return {"description": {"text": fix.message + safety}, "artifactChanges": [change]}

    def _replacement(self, edit: Edit, own: Place) -> dict[str, Any]:
        span = Place(own.path, edit.line, edit.column, edit.end_line, edit.end_column, own.cell)
        found = self._in_file(span)
        text = edit.text
        if own.cell is not None and found.cell is None:
            text = json.dumps(text)[1:-1]  # inside a JSON string
        region = _region(found.line, found.column, found.end_line, found.end_column)
        return {"deletedRegion": region, "insertedContent": {"text": text}}


def _region(line: int, column: int, end_line: int, end_column: int) -> dict[str, int]:
    return {
        "startLine": line,
        "startColumn": column,
        "endLine": end_line,
        "endColumn": end_column,
    }


def _artifact(path: str) -> dict[str, str]:
    """The file as a URI: relative to the working directory where it lies below it."""
    shown = shown_path(path)
    raw = os.fsencode(shown) if not _is_odd(shown) else shown.encode("utf-8", "replace")
    if shown.startswith("../") or os.path.isabs(shown):
        return {"uri": "file://" + quote(os.fsencode(os.path.abspath(path).replace(os.sep, "/")))}
    return {"uri": quote(raw), "uriBaseId": _BASE}


def _is_odd(path: str) -> bool:
    """Whether the path has characters that no file name of this system can have."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return True
    return False


def _suppression(finding: Finding) -> dict[str, Any]:
    kind = "external" if finding.baselined else "inSource"
    reason = finding.reason or ("in the baseline" if finding.baselined else "")
    return {"kind": kind, "status": "accepted", **({"justification": reason} if reason else {})}
