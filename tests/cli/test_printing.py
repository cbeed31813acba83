"""What a run prints: for people on a terminal, for pipes and logs, and when it failed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commands import lint

LONG = (
    "import torch.nn as nn\n\nmodel = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), "
    "nn.BatchNorm2d(8, momentum=0.99), nn.ReLU(inplace=True))  # a line that is longer\n"
)
UNSAFE = "from torch import nn\n\nbn = nn.BatchNorm2d(8, 0.8)\n"
NO_FIX = "from torch import nn\n\nbn = nn.BatchNorm2d(8, momentum=0)\n"
SAFE = "import torch  # bnlint: ignore[BNL401]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


def test_a_pipe_gets_whole_lines(folder: Path) -> None:
    name = "a" * 100 + ".py"
    (folder / name).write_text(LONG)
    rows = lint(folder).stdout.splitlines()
    assert rows[0].startswith(f"{name}:3:66: BNL401 [error] BatchNorm2d")
    assert rows[0].endswith("momentum=0.01")
    assert f"3 | {LONG.splitlines()[2]}" in rows
    assert not any("…" in row for row in rows)
    carets = next(row for row in rows if "^" in row)
    assert carets.index("^") == len("3 | ") + 65
    assert max(map(len, rows)) > 200


def test_columns_are_honoured_where_they_are_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.py").write_text(LONG)
    for columns in (60, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        rows = lint(folder).stdout.splitlines()
        assert columns - 20 < max(len(row) for row in rows[:-2]) <= columns
        lint(folder, "--output-file", "out.txt")
        assert max(map(len, (folder / "out.txt").read_text().splitlines())) > 150
    for nonsense in ("", "wide", "0", "-3"):
        monkeypatch.setenv("COLUMNS", nonsense)
        assert max(map(len, lint(folder).stdout.splitlines())) > 150


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        ({"u.py": UNSAFE}, "1 fixable with `--fix --unsafe-fixes`"),
        ({"s.py": SAFE}, "1 fixable with `--fix`"),
        (
            {"s.py": SAFE, "u.py": UNSAFE, "v.py": UNSAFE},
            "1 fixable with `--fix`, 2 more with `--fix --unsafe-fixes`",
        ),
    ],
)
def test_what_can_be_fixed_and_how_is_said(folder: Path, files: dict[str, str], hint: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    for style in ("full", "concise"):
        rows = lint(folder, "--output-format", style).stdout.splitlines()
        said = rows[-1 if style == "concise" else -2]
        assert said.startswith(f"{hint} (`--diff` in place of `--fix` shows ")


def test_what_cannot_be_fixed_gets_no_hint_and_what_is_fixed_none_either(folder: Path) -> None:
    (folder / "n.py").write_text(NO_FIX)
    run = lint(folder, "--select", "BNL403")
    assert "fixable" not in run.stdout
    assert run.stdout.splitlines()[-1] == "`bnlint rule CODE` explains a rule."
    (folder / "u.py").write_text(UNSAFE)
    assert "fixable" not in lint(folder, "--fix", "u.py").stdout


def test_a_clean_run_says_so_and_nothing_else(folder: Path) -> None:
    (folder / "a.py").write_text("import torch\n")
    assert lint(folder).stdout == "All checks passed: 1 file.\n"
    assert lint(folder, "--statistics").stdout == "All checks passed: 1 file.\n"
    assert json.loads(lint(folder, "--statistics", "--output-format", "json").stdout) == []
    report = lint(folder, "--output-format", "junit").stdout
    assert 'name="1 file"' in report


def test_a_run_without_files_did_not_pass(folder: Path) -> None:
    run = lint(folder)
    assert (run.exit_code, run.stdout) == (0, "No files were checked.\n")
    assert "no Python files" in run.stderr


def test_a_run_that_could_not_read_did_not_pass(folder: Path) -> None:
    os.mkfifo(folder / "pipe.py")
    for style in ("full", "concise"):
        run = lint(folder, "pipe.py", "--output-format", style)
        assert run.exit_code == 2
        assert run.stdout == "No files were checked: 1 file could not be read.\n"
        assert run.stderr.startswith("Error: pipe.py: cannot be read: ")
        assert "no Python files" not in run.stderr
    (folder / "a.py").write_text("import torch\n")
    run = lint(folder, "pipe.py", "a.py")
    assert run.stdout == "Nothing found in 1 file; 1 file could not be read.\n"
    (folder / "a.py").write_text(UNSAFE)
    run = lint(folder, "pipe.py", "a.py", "--output-format", "concise")
    assert "\nFound 1 error in 1 file; 1 file could not be read.\n" in run.stdout


def test_a_file_that_cannot_be_read_is_an_error_for_other_tools(folder: Path) -> None:
    os.mkfifo(folder / "pipe.py")
    suites = ElementTree.fromstring(lint(folder, "pipe.py", "--output-format", "junit").stdout)
    assert suites.get("errors") == "1"
    (case,) = suites.iter("testcase")
    assert case.get("name") == "pipe.py"
    error = case.find("error")
    assert error is not None
    assert "not a regular file" in error.get("message", "")
    (issue,) = json.loads(lint(folder, "pipe.py", "--output-format", "gitlab").stdout)
    assert issue["location"]["path"] == "pipe.py"
    assert "not a regular file" in issue["description"]
    (run,) = json.loads(lint(folder, "pipe.py", "--output-format", "sarif").stdout)["runs"]
    (invocation,) = run["invocations"]
    assert not invocation["executionSuccessful"]
    (note,) = invocation["toolExecutionNotifications"]
    assert note["level"] == "error"
    assert "not a regular file" in note["message"]["text"]
