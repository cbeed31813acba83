"""The JSON that outside scripts rely on: every key, with its type, over the fixtures."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bnlint.cli import main
from bnlint.rules import all_rules, find_rule

ROOT = Path(__file__).parents[2]
NONE = type(None)
FINDING = {
    "code": (str,),
    "name": (str,),
    "severity": (str,),
    "message": (str,),
    "path": (str, NONE),
    "line": (int, NONE),
    "column": (int, NONE),
    "end_line": (int, NONE),
    "end_column": (int, NONE),
    "cell": (int, NONE),
    "evidence": (list,),
    "fix": (dict, NONE),
    "suppressed": (bool,),
    "suppression": (dict, NONE),
    "url": (str,),
    "module": (str, NONE),
    "measurement": (dict,),
}
EVIDENCE = {
    "path": (str,),
    "line": (int,),
    "column": (int,),
    "cell": (int, NONE),
    "role": (str,),
    "message": (str,),
}
FIX = {"message": (str,), "applicability": (str,), "edits": (list,)}
EDIT = {
    "line": (int,),
    "column": (int,),
    "end_line": (int,),
    "end_column": (int,),
    "text": (str,),
}


def conforms(value: dict[str, Any], schema: dict[str, tuple[type, ...]]) -> None:
    assert value.keys() >= schema.keys()
    for key, types in schema.items():
        assert type(value[key]) in types, f"{key}: {value[key]!r}"
    for key in ("line", "column", "end_line", "end_column"):
        assert value.get(key) is None or value[key] >= 1
    path = value.get("path")
    assert path is None or ("\\" not in path and (ROOT / path).is_file())
    if value.get("cell") is not None:
        cells = json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]
        assert cells[value["cell"]]["cell_type"] == "code"


def finding_conforms(finding: dict[str, Any]) -> None:
    conforms(finding, FINDING)
    rule = find_rule(finding["code"])
    assert rule is not None and rule.name == finding["name"]
    assert finding["severity"] in ("error", "warning", "note")
    assert re.fullmatch(r"https://\S+/", finding["url"])
    if finding["path"] is not None:
        start, end = (
            (finding["line"], finding["column"]),
            (
                finding["end_line"],
                finding["end_column"],
            ),
        )
        assert start <= end
    for evidence in finding["evidence"]:
        conforms(evidence, EVIDENCE)
        assert evidence["role"] in ("instance", "cause", "context")
    if finding["fix"] is not None:
        conforms(finding["fix"], FIX)
        assert finding["fix"]["applicability"] in ("safe", "unsafe")
        for edit in finding["fix"]["edits"]:
            conforms(edit, EDIT)


@pytest.fixture(scope="module")
def linted() -> list[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        result = CliRunner().invoke(main, ["lint", "fixtures", "--output-format", "json"])
    assert result.exit_code == 1
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_every_finding_of_the_linter_conforms(linted: list[dict[str, Any]]) -> None:
    for finding in linted:
        finding_conforms(finding)
        assert finding["path"].startswith("fixtures/")
        assert not finding["suppressed"] or "bnl902" in finding["path"]
        assert finding["fix"] is None or finding["fix"]["edits"]


def test_the_fixtures_show_every_kind_of_value(linted: list[dict[str, Any]]) -> None:
    roles = {evidence["role"] for finding in linted for evidence in finding["evidence"]}
    assert roles == {"instance", "cause", "context"}
    assert {finding["severity"] for finding in linted} == {"error", "warning", "note"}
    assert any(finding["cell"] is not None for finding in linted)
    assert any(finding["fix"] for finding in linted)


def live_fixtures() -> list[str]:
    """Runnable fixtures of rules that a check asks without being told."""
    on = [rule.code.lower() for rule in all_rules() if rule.is_default(live=True)]
    found = sorted(path for code in on for path in (ROOT / "fixtures").glob(f"{code}*/bad*.py"))
    return [p.relative_to(ROOT).as_posix() for p in found if "def build()" in p.read_text()]


@pytest.mark.parametrize("file", live_fixtures())
def test_every_finding_of_the_live_check_conforms(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs torch")
    monkeypatch.chdir(ROOT)
    phase = "inference" if 'PHASE = "inference"' in Path(file).read_text() else "training"
    arguments = ["check", f"{file}:build", "--phase", phase, "--output-format", "json"]
    result = CliRunner().invoke(main, arguments)
    report = json.loads(result.stdout)
    assert {"findings", "layers", "output", "uninspected", "synthetic"} <= report.keys()
    rule = find_rule(Path(file).parent.name[:6])
    assert rule is not None
    assert report["findings"] or not rule.is_default(live=True)
    assert result.exit_code in (0, 1)
    for finding in report["findings"]:
        finding_conforms(finding)
        assert finding["module"] is not None, finding["code"]
