"""The renderers, on hand-made findings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bnlint.finding import (
    Edit,
    Evidence,
    Finding,
    Fix,
    Place,
    RemoveArgument,
    Role,
    Severity,
)
from bnlint.output import renderer
from bnlint.output.base import Printout
from bnlint.output.json import finding_to_dict
from bnlint.output.statistics import render as render_statistics

SOURCE = """\
import torch
from models import Net

net = Net()
with torch.no_grad():

\ty = net(x)  # 批 normalised
"""
CALL = Place("a.py", 7, 6, 7, 12)
FINDING = Finding(
    "BNL101",
    "inference-without-eval",
    Severity.ERROR,
    "Net is used for inference while its BatchNorm layers are in training mode",
    CALL,
    (
        Evidence(Place("a.py", 4, 7), "built here; new modules start in training mode", Role.CAUSE),
        Evidence(Place("a.py", 5, 6), "no_grad() does not set evaluation mode"),
        Evidence(Place("b.py", 1), "another one", Role.INSTANCE),
    ),
    Fix("call net.eval() first", (RemoveArgument(CALL, "x"),), edits=(Edit(7, 1, 7, 1, "z"),)),
)
NOTE = Finding(
    "BNL203", "batchnorm-before-dropout", Severity.NOTE, "short", Place("n.ipynb", 1, 1, cell=3)
)
HIDDEN = Finding("BNL203", "batchnorm-before-dropout", Severity.NOTE, "s", CALL, suppressed=True)

FULL = """\
a.py:7:6: BNL101 [error] Net is used for inference while its BatchNorm layers
    are in training mode
  |
5 | with torch.no_grad():
6 |
7 |     y = net(x)  # 批 normalised
  |         ^^^^^^
  |
  = because: line 4: built here; new modules start in training mode
  = note: line 5: no_grad() does not set evaluation mode
  = also: b.py:1:1: another one
  = fix (unsafe): call net.eval() first

n.ipynb:cell 3:1:1: BNL203 [note] short

Found 1 error, 1 note in 2 files (1 suppressed).
1 fixable with `--fix --unsafe-fixes` (`--diff` in place of `--fix` shows it).
`bnlint rule CODE` explains a rule.
"""


def lines_of(place: Place) -> list[str]:
    return SOURCE.split("\n") if place.path == "a.py" else []


def printout(*findings: Finding, **options: object) -> Printout:
    return Printout(findings, 2, lines_of, **options)  # type: ignore[arg-type]


def test_full() -> None:
    assert renderer("full")(printout(FINDING, NOTE, HIDDEN)) == FULL


def test_full_stays_within_eighty_columns() -> None:
    long = "x = [" + "1, " * 200 + "nn.BatchNorm2d(8), " + "1, " * 200 + "]"
    place = Place("a.py", 1, long.index("nn.") + 1, 1, long.index("nn.") + 18)
    finding = Finding("BNL401", "n", Severity.ERROR, "words " * 60, place)
    text = renderer("full")(Printout([finding], 1, lambda _: [long]))
    assert max(map(len, text.splitlines())) <= 80
    shown, carets = text.splitlines()[-6:-4]
    assert shown[carets.index("^") :].startswith("nn.BatchNorm2d(8)")
    assert carets.count("^") == len("nn.BatchNorm2d(8)")


def test_full_without_source_still_names_the_place() -> None:
    text = renderer("full")(Printout([FINDING], 1, lambda _: []))
    assert text.startswith("a.py:7:6: BNL101 [error]")
    assert "^" not in text


@pytest.mark.parametrize(
    ("line", "place", "carets"),
    [
        ("批 = f(x)", Place("a.py", 1, 5, 1, 9), "  |      ^^^^"),
        ("f(", Place("a.py", 1, 1, 3, 2), "  | ^^"),
        ("abc", Place("a.py", 1, 2, 1, 2), "  |  ^"),
        ("abc", Place("a.py", 1, 99, 1, 99), "  |    ^"),
    ],
)
def test_carets_stand_under_the_accused_text(line: str, place: Place, carets: str) -> None:
    finding = Finding("BNL401", "n", Severity.ERROR, "m", place)
    text = renderer("full")(Printout([finding], 1, lambda _: [line]))
    assert next(row for row in text.splitlines() if "^" in row) == carets


def test_concise_is_one_line_each() -> None:
    assert renderer("concise")(printout(FINDING, NOTE, HIDDEN)).splitlines() == [
        "a.py:7:6: BNL101 [error] Net is used for inference while its BatchNorm layers are in "
        "training mode (and 1 more place)",
        "n.ipynb:cell 3:1:1: BNL203 [note] short",
        "Found 1 error, 1 note in 2 files (1 suppressed).",
        "1 fixable with `--fix --unsafe-fixes` (`--diff` in place of `--fix` shows it).",
    ]


def test_nothing_found() -> None:
    assert renderer("full")(printout()) == "All checks passed: 2 files.\n"


def test_colour_changes_nothing_but_colour() -> None:
    import re

    painted = renderer("full")(printout(FINDING, NOTE, HIDDEN, colour=True))
    assert "\x1b[" in painted
    plain = re.sub(r"\x1b\[[0-9;]*m", "", painted)
    assert [row.rstrip() for row in plain.splitlines()] == FULL.splitlines()


def test_json_has_the_public_keys(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    absolute = Finding("BNL401", "n", Severity.WARNING, "m", Place(f"{tmp_path}/s/a.py", 3, 1))
    first, second, hidden = json.loads(renderer("json")(printout(FINDING, absolute, HIDDEN)))
    assert first == {
        "code": "BNL101",
        "name": "inference-without-eval",
        "severity": "error",
        "message": FINDING.message,
        "path": "a.py",
        "line": 7,
        "column": 6,
        "end_line": 7,
        "end_column": 12,
        "cell": None,
        "evidence": [
            {
                "path": evidence.place.path,
                "line": evidence.place.line,
                "column": evidence.place.column,
                "cell": None,
                "role": evidence.role.value,
                "message": evidence.message,
            }
            for evidence in FINDING.evidence
        ],
        "fix": {
            "message": "call net.eval() first",
            "applicability": "unsafe",
            "edits": [{"line": 7, "column": 1, "end_line": 7, "end_column": 1, "text": "z"}],
        },
        "suppressed": False,
        "suppression": None,
        "url": FINDING.url,
        "module": None,
        "measurement": {},
    }
    assert (second["path"], second["end_line"], second["end_column"]) == ("s/a.py", 3, 1)
    assert hidden["suppressed"]
    assert hidden["suppression"] == {"kind": "comment", "reason": ""}


def test_json_of_a_live_finding() -> None:
    measurement = {"drift": float("nan"), "batch": (1, 2.5), "flips": 0.5}
    live = Finding("BNL101", "n", Severity.ERROR, "m", None, module="bn1", measurement=measurement)
    plain = finding_to_dict(live)
    assert (plain["path"], plain["line"], plain["module"]) == (None, None, "bn1")
    assert plain["measurement"] == {"drift": None, "batch": [1, 2.5], "flips": 0.5}


def test_statistics() -> None:
    page = printout(NOTE, FINDING, NOTE, HIDDEN)
    assert render_statistics(page, as_json=False) == (
        "2  BNL203  batchnorm-before-dropout\n1  BNL101  inference-without-eval\n"
    )
    counts = json.loads(render_statistics(page, as_json=True))
    assert [(row["code"], row["count"]) for row in counts] == [("BNL203", 2), ("BNL101", 1)]


GITHUB = """\
::error file=a.py,line=7,endLine=7,col=6,endColumn=11,title=BNL101 inference-without-eval::\
a.py:7:6: BNL101 Net is used for inference while its BatchNorm layers are in training mode%0A\
a.py:4:7: built here; new modules start in training mode%0A\
a.py:5:6: no_grad() does not set evaluation mode%0Ab.py:1:1: another one
::notice file=n.ipynb,line=1,endLine=1,col=1,endColumn=1,title=BNL203 batchnorm-before-dropout::\
n.ipynb:cell 3:1:1: BNL203 short
"""

JUNIT = """\
<testsuites name="bnlint" tests="3" failures="1" skipped="1" errors="0">
  <testsuite name="a.py" tests="2" failures="1" skipped="1" errors="0">
    <testcase name="BNL101 inference-without-eval at 7:6" classname="a.py" file="a.py" line="7">
      <failure message="Net is used for inference while its BatchNorm layers are in training mode" \
type="error BNL101">a.py:7:6: BNL101 [error] Net is used for inference while its BatchNorm layers \
are in training mode
a.py:4:7: built here; new modules start in training mode
a.py:5:6: no_grad() does not set evaluation mode
b.py:1:1: another one
https://bnlint.readthedocs.io/rules/BNL101/</failure>
    </testcase>
    <testcase name="BNL203 batchnorm-before-dropout at 7:6" classname="a.py" file="a.py" line="7">
      <skipped message="suppressed" />
    </testcase>
  </testsuite>
  <testsuite name="n.ipynb" tests="1" failures="0" skipped="0" errors="0">
    <testcase name="BNL203 batchnorm-before-dropout at cell 3:1:1" classname="n.ipynb" \
file="n.ipynb" line="1">
      <system-out>n.ipynb:cell 3:1:1: BNL203 [note] short
https://bnlint.readthedocs.io/rules/BNL203/</system-out>
    </testcase>
  </testsuite>
</testsuites>
"""


def test_github() -> None:
    assert renderer("github")(printout(FINDING, NOTE, HIDDEN)) == GITHUB


def test_junit() -> None:
    assert renderer("junit")(printout(FINDING, HIDDEN, NOTE)) == JUNIT
    clean = renderer("junit")(printout())
    assert 'tests="1" failures="0"' in clean
    strict = renderer("junit")(printout(NOTE, fail_level=Severity.NOTE))
    assert 'failures="1"' in strict


def test_gitlab() -> None:
    first, second = json.loads(renderer("gitlab")(printout(FINDING, NOTE, HIDDEN)))
    assert first == {
        "description": FINDING.message,
        "check_name": "BNL101",
        "categories": ["Bug Risk"],
        "severity": "critical",
        "fingerprint": first["fingerprint"],
        "location": {
            "path": "a.py",
            "positions": {"begin": {"line": 7, "column": 6}, "end": {"line": 7, "column": 12}},
        },
        "content": {
            "body": "[BNL101 inference-without-eval](https://bnlint.readthedocs.io/rules/BNL101/)\n"
            "\n- a.py:4:7: built here; new modules start in training mode"
            "\n- a.py:5:6: no_grad() does not set evaluation mode\n- b.py:1:1: another one"
        },
    }
    assert second["description"] == "short (cell 3, line 1)"


def test_sarif(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    reasoned = replace(HIDDEN, reason="as published")
    known = replace(HIDDEN, baselined=True)
    (run,) = json.loads(renderer("sarif")(printout(FINDING, reasoned, known)))["runs"]
    region = {"startLine": 7, "startColumn": 6, "endLine": 7, "endColumn": 12}
    base = {"uri": "a.py", "uriBaseId": "%SRCROOT%"}
    first, second, third = run["results"]
    assert first["locations"] == [
        {"physicalLocation": {"artifactLocation": base, "region": region}}
    ]
    steps = first["codeFlows"][0]["threadFlows"][0]["locations"]
    assert [step["importance"] for step in steps] == ["essential", "important", "essential"]
    assert first["relatedLocations"][0]["message"] == {"text": "another one"}
    assert first["fixes"] == [
        {
            "description": {"text": "call net.eval() first (unsafe: read the rule's page)"},
            "artifactChanges": [
                {
                    "artifactLocation": base,
                    "replacements": [
                        {
                            "deletedRegion": {
                                "startLine": 7, "startColumn": 1, "endLine": 7, "endColumn": 1
                            },
                            "insertedContent": {"text": "z"},
                        }
                    ],
                }
            ],
        }
    ]  # fmt: skip
    assert second["suppressions"] == [
        {"kind": "inSource", "status": "accepted", "justification": "as published"}
    ]
    assert third["suppressions"] == [
        {"kind": "external", "status": "accepted", "justification": "in the baseline"}
    ]
    assert run["originalUriBaseIds"] == {"%SRCROOT%": {"uri": tmp_path.as_uri() + "/"}}
    outside = Finding("BNL203", "n", Severity.NOTE, "m", Place("../b c.py", 1))
    (run,) = json.loads(renderer("sarif")(printout(outside)))["runs"]
    artifact = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert artifact == {"uri": (tmp_path.parent / "b c.py").as_uri()}


def test_the_summary_says_how_long_it_took_and_what_is_hidden() -> None:
    known = replace(HIDDEN, baselined=True)
    text = renderer("concise")(printout(NOTE, HIDDEN, known, seconds=1.25))
    last = "Found 1 note in 2 files in 1.2 s (1 suppressed, 1 in the baseline).\n"
    assert text.endswith(last)
