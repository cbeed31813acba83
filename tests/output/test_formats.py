"""Every format from the fixtures: parsed by an independent reader, and equal to the JSON."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from readers import Row, read_github, read_gitlab, read_junit, read_sarif

import bnlint
from bnlint.cli import main
from bnlint.output import renderer
from bnlint.output.base import Printout
from bnlint.settings import OUTPUT_FORMATS, Settings
from bnlint.source.engine import LintResult
from bnlint.source.excerpt import Sources

ROOT = Path(__file__).parents[2]


@cache
def linted() -> LintResult:
    """All fixtures, once."""
    return bnlint.lint_paths(ROOT / "fixtures", settings=Settings())


@cache
def printed(output_format: str) -> str:
    result = linted()
    sources = Sources(result.texts)
    page = Printout(result.findings, len(result.files), sources.lines, in_file=sources.in_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return renderer(output_format)(page)


def findings(*, suppressed: bool = False) -> list[dict[str, Any]]:
    """The findings of the JSON; suppressed: also those that a comment excuses."""
    found: list[dict[str, Any]] = json.loads(printed("json"))
    assert len(found) > 60
    assert any(finding["suppressed"] for finding in found)
    return [finding for finding in found if suppressed or not finding["suppressed"]]


def line_in_file(finding: dict[str, Any]) -> int:
    """The line in the file; in a notebook the line of the JSON that holds the line of the cell,
    found by the line's text."""
    if finding["cell"] is None:
        return int(finding["line"])
    text = (ROOT / finding["path"]).read_text(encoding="utf-8")
    source = "".join(json.loads(text)["cells"][finding["cell"]]["source"])
    wanted = json.dumps(source.splitlines()[finding["line"] - 1])[1:-1]
    (line,) = [n for n, raw in enumerate(text.splitlines(), 1) if wanted in raw]
    return line


def rows(*, suppressed: bool = False) -> list[Row]:
    return [
        Row(f["code"], f["severity"], f["path"], line_in_file(f), f["message"])
        for f in findings(suppressed=suppressed)
    ]


def test_sarif_says_what_the_json_says() -> None:
    found, log = read_sarif(printed("sarif"))
    assert found == rows(suppressed=True)
    (run,) = log["runs"]
    for rule in run["tool"]["driver"]["rules"]:
        assert rule["help"]["markdown"].startswith(f"# {rule['id']} ")
        assert rule["helpUri"].endswith(f"/{rule['id']}/")
    for result, finding in zip(run["results"], findings(suppressed=True)):
        proof = [e["message"] for e in finding["evidence"] if e["role"] != "instance"]
        steps = [
            step["location"]["message"]["text"]
            for flow in result.get("codeFlows", [])
            for step in flow["threadFlows"][0]["locations"]
        ]
        assert steps == ([*proof, finding["message"]] if proof else [])
        also = [step["message"]["text"] for step in result.get("relatedLocations", [])]
        assert also == [e["message"] for e in finding["evidence"] if e["role"] == "instance"]
        edits = [
            (r["insertedContent"]["text"], r["deletedRegion"]["startColumn"])
            for fix in result.get("fixes", [])
            for r in fix["artifactChanges"][0]["replacements"]
        ]
        if finding["cell"] is None:
            wanted = (finding["fix"] or {"edits": []})["edits"]
            assert edits == [(edit["text"], edit["column"]) for edit in wanted]
        reason = (finding["suppression"] or {}).get("reason")
        wanted = {"justification": reason} if reason else {}
        assert result.get("suppressions", []) == (
            [{"kind": "inSource", "status": "accepted", **wanted}] if finding["suppressed"] else []
        )


def test_sarif_fixes_of_a_notebook_are_good_for_its_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = ["import torch.nn as nn\n", 'é = nn.BatchNorm2d(8, momentum=0.99)  # "é"']
    cells = [{"cell_type": "markdown", "source": "#"}, {"cell_type": "code", "source": source}]
    text = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}, indent=1)
    (tmp_path / "n.ipynb").write_text(text)
    run = CliRunner().invoke(main, ["lint", "n.ipynb", "--output-format", "sarif"])
    (result,) = read_sarif(run.stdout)[1]["runs"][0]["results"]
    (replacement,) = result["fixes"][0]["artifactChanges"][0]["replacements"]
    region = replacement["deletedRegion"]
    lines = text.splitlines()
    line = lines[region["startLine"] - 1]
    assert region["startLine"] == region["endLine"]
    before, after = line[: region["startColumn"] - 1], line[region["endColumn"] - 1 :]
    lines[region["startLine"] - 1] = before + replacement["insertedContent"]["text"] + after
    fixed = json.loads("\n".join(lines))["cells"][1]["source"]
    assert fixed == [source[0], source[1].replace("0.99", "0.01")]


@pytest.mark.parametrize(
    ("output_format", "reader"),
    [("gitlab", read_gitlab), ("github", read_github), ("junit", read_junit)],
)
def test_the_other_formats_say_what_the_json_says(output_format: str, reader: Any) -> None:
    assert sorted(reader(printed(output_format))) == sorted(rows())


@pytest.mark.parametrize("output_format", ["concise", "full"])
def test_the_formats_for_people_name_every_finding(output_format: str) -> None:
    said = " ".join(printed(output_format).split())
    for finding in findings():
        cell = "" if finding["cell"] is None else f"cell {finding['cell']}:"
        at = f"{finding['path']}:{cell}{finding['line']}:{finding['column']}"
        message = " ".join(finding["message"].split())
        assert f"{at}: {finding['code']} [{finding['severity']}] {message}" in said


def test_every_format_is_tested_here() -> None:
    assert {"json", "full", "concise", "sarif", "gitlab", "github", "junit"} == set(OUTPUT_FORMATS)


def test_fingerprints_survive_moved_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        "import torch.nn as nn\n\n"
        "a = nn.BatchNorm2d(8, momentum=0.99)\nb = nn.BatchNorm2d(8, momentum=0.99)\n"
    )

    def marks() -> list[str]:
        run = CliRunner().invoke(main, ["lint", "a.py", "--output-format", "sarif"])
        results = read_sarif(run.stdout)[1]["runs"][0]["results"]
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in results]

    file = tmp_path / "a.py"
    file.write_text(text)
    before = marks()
    file.write_text(text.replace("\n\n", "\n\nimport os\n\n\nprint(os)\n"))
    assert marks() == before
    assert len(set(before)) == 2
    file.write_text(text.replace("a = nn", "c = nn"))
    assert marks()[1:] == before[1:]
    assert marks()[0] != before[0]
    file.write_text(text.replace("a = nn", "b = nn"))
    assert [mark.partition(":")[2] for mark in marks()] == ["1", "2"]
    assert re.fullmatch(r"[0-9a-f]{16}:1", marks()[0])
