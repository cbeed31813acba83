"""The renderers, on hand-made findings."""

from __future__ import annotations

import json
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
    shown, carets = text.splitlines()[-5:-3]
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
