"""`--fix`, `--unsafe-fixes` and `--diff`: on the fixtures, on odd files, on standard input."""

from __future__ import annotations

import ast
import io
import json
import os
import shutil
import stat
import sys
import tokenize
from pathlib import Path

import pytest
from commands import contents, git, lint

from bnlint.rules import all_rules

FIXTURES = Path(__file__).parents[2] / "fixtures"
WRONG = "import torch.nn as nn\n\nbn = nn.BatchNorm2d(8, momentum=0.99)  # why\n"
RIGHT = WRONG.replace("0.99", "0.01")
FIX = ("--fix", "--unsafe-fixes")
DIFF = ("--diff", "--unsafe-fixes")


def comments(data: bytes) -> list[str]:
    tokens = tokenize.tokenize(io.BytesIO(data).readline)
    return sorted(token.string for token in tokens if token.type == tokenize.COMMENT)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the fixtures that parse, as a repository."""
    folder = tmp_path / "project"
    leave_out = shutil.ignore_patterns("bnl901*", "__pycache__")
    shutil.copytree(FIXTURES, folder, ignore=leave_out)
    for number, rule in enumerate(rule for rule in all_rules() if rule.code != "BNL901"):
        for index, example in enumerate(rule.wrong):
            (folder / f"example_{number}_{index}.py").write_text(example.code)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "all")
    return folder


def test_the_fixtures_are_fixed_for_good_and_the_patch_is_the_same(project: Path) -> None:
    before = contents(project)
    shown = lint(project, *DIFF, "--select", "ALL")
    assert contents(project) == before
    git(project, "apply", "--check", text=shown.stdout_bytes)
    git(project, "apply", text=shown.stdout_bytes)
    patched = contents(project)
    git(project, "checkout", "-q", ".")

    done = lint(project, *FIX, "--select", "ALL", "--output-format", "json")
    fixed = contents(project)
    assert fixed == patched
    changed = [name for name in before if before[name] != fixed[name]]
    assert len(changed) > 20
    for name in changed:
        if name.endswith(".py"):
            ast.parse(fixed[name])
        if name.endswith(".py") and b"BNL902" not in before[name]:
            assert comments(fixed[name]) == comments(before[name])
    left = json.loads(done.stdout)
    assert not [f for f in left if f["fix"] and f["fix"]["edits"] and not f["suppressed"]]
    assert "Fixed" in done.stderr

    again = lint(project, *FIX, "--select", "ALL")
    assert contents(project) == fixed
    assert "Fixed" not in again.stderr


@pytest.mark.parametrize(
    "data",
    [
        WRONG.encode(),
        WRONG.replace("\n", "\r\n").encode(),
        WRONG.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + WRONG.encode(),
        ("# -*- coding: latin-1 -*-\n# \xe9\n" + WRONG).encode("latin-1"),
        ("# coding: shift-jis\n# \u65e5\n" + WRONG).encode("shift-jis"),
        ("# \u65e5\U0001f600\n" + WRONG).encode(),
        ("if 1:\n\tpass\n\x0c\n" + WRONG).encode(),
        WRONG.rstrip().encode(),
        (WRONG + "\n\n\n   \n").encode(),
    ],
)
def test_all_but_the_fix_stays_as_it_was(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(data)
    git(tmp_path, "init", "-q")
    git(tmp_path, "apply", text=lint(tmp_path, *DIFF).stdout_bytes)
    wanted = data.replace(b"0.99", b"0.01")
    assert file.read_bytes() == wanted
    file.write_bytes(data)
    assert lint(tmp_path, *FIX).exit_code == 0
    assert file.read_bytes() == wanted


@pytest.mark.skipif(sys.platform == "win32", reason="no such file names there")
@pytest.mark.parametrize(
    "name", ["a b.py", "d\u00e9j\u00e0.py", 'q"uote.py', "tab\t.py", "new\nline.py", "b\\s.py"]
)
def test_git_takes_patches_of_oddly_named_files(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub" / name
    file.write_text(WRONG)
    git(tmp_path, "init", "-q")
    git(tmp_path, "apply", text=lint(tmp_path, *DIFF).stdout_bytes)
    assert file.read_text() == RIGHT


def test_unsafe_fixes_are_asked_for_by_name(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(WRONG)
    done = lint(tmp_path, "--fix")
    assert (done.exit_code, file.read_text()) == (1, WRONG)
    assert "1 finding has a fix that --unsafe-fixes makes." in done.stderr
    shown = lint(tmp_path, "--diff")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert lint(tmp_path, "--unsafe-fixes").exit_code == 2


def test_a_line_that_another_fix_makes_needless_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    text = (
        "import torch\nfrom torch import nn\n\nnet = nn.Sequential(nn.BatchNorm2d(8))\n"
        'net.load_state_dict(torch.load("a.pt"))\nnet.eval\n'
        'with torch.no_grad():\n    print(net(torch.load("x.pt")).argmax())\n'
    )
    file.write_text(text)
    lint(tmp_path, "--fix", "--unsafe-fixes")
    assert file.read_text() == text.replace("net.eval\n", "net.eval()\n")


def test_a_patch_says_by_its_exit_code_that_there_is_something_to_fix(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(WRONG)
    shown = lint(tmp_path, *DIFF)
    assert shown.exit_code == 1
    assert shown.stdout.startswith("diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1,3 ")
    assert "Would fix 1 BNL401 in 1 file." in shown.stderr
    (tmp_path / "a.py").write_text(RIGHT)
    shown = lint(tmp_path, *DIFF)
    assert (shown.exit_code, shown.stdout) == (0, "")


def test_what_is_suppressed_or_not_given_is_not_fixed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(WRONG.replace("# why", "# bnlint: ignore[BNL401] measured"))
    (tmp_path / "b.py").write_text(WRONG)
    before = contents(tmp_path)
    assert lint(tmp_path, *FIX, "a.py").exit_code == 0
    assert contents(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_the_mode_stays(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(WRONG)
    file.chmod(0o751)
    lint(tmp_path, *FIX)
    assert file.read_text() == RIGHT
    assert stat.S_IMODE(file.stat().st_mode) == 0o751
    assert list(contents(tmp_path)) == ["a.py"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_a_read_only_file_is_left_alone_and_said_so(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(WRONG)
    file.chmod(0o444)
    done = lint(tmp_path, *FIX)
    assert (done.exit_code, file.read_text()) == (1, WRONG)
    assert "a.py is read-only: it was left alone" in done.stderr
    assert "BNL401" in done.stdout


def test_a_file_that_changes_meanwhile_is_left_alone_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bnlint.source.writing as writing

    file = tmp_path / "a.py"
    other = WRONG + "# somebody else's line\n"
    actual = writing._beside

    def meanwhile(path: str, content: bytes, before: os.stat_result) -> str:
        temporary = actual(path, content, before)
        file.write_text(other)
        return temporary

    file.write_text(WRONG)
    monkeypatch.setattr(writing, "_beside", meanwhile)
    done = lint(tmp_path, *FIX)
    assert file.read_text() == other
    assert "a.py has changed since it was read: it was left alone" in done.stderr
    assert done.exit_code == 1
    assert list(contents(tmp_path)) == ["a.py"]


def test_a_file_that_changes_before_it_is_edited_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bnlint.source.engine import Workspace

    file = tmp_path / "a.py"
    other = "\n" + WRONG
    actual = Workspace.lint

    def then_change(workspace: Workspace) -> object:
        result = actual(workspace)
        file.write_text(other)
        return result

    file.write_text(WRONG)
    monkeypatch.setattr(Workspace, "lint", then_change)
    done = lint(tmp_path, *FIX)
    assert file.read_text() == other
    assert "has changed since it was read" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_is_followed_only_inside_the_project(tmp_path: Path) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside.py"
    project.mkdir()
    (project / "pyproject.toml").write_text("")
    outside.write_text(WRONG)
    (project / "real.py").write_text(WRONG)
    (project / "out.py").symlink_to(outside)
    (project / "in.py").symlink_to("real.py")
    done = lint(project, *FIX, "out.py", "in.py")
    assert outside.read_text() == WRONG
    assert "out.py is a link that leads out of the project" in done.stderr
    assert (project / "in.py").is_symlink()
    assert (project / "real.py").read_text() == RIGHT


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.py"
    file.write_text(WRONG)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = lint(tmp_path, *FIX)
    assert "cannot be written: No space left on device" in done.stderr
    assert file.read_text() == WRONG
    assert list(contents(tmp_path)) == ["a.py"]


def test_standard_input_is_fixed_on_standard_output(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + WRONG.replace("\n", "\r\n").encode() + b"# \xc3\xa9\r\n"
    done = lint(tmp_path, "-", *FIX, text=data)
    assert done.exit_code == 0
    assert done.stdout_bytes == data.replace(b"0.99", b"0.01")
    left = lint(tmp_path, "-", "--fix", text=data)
    assert left.exit_code == 1
    assert left.stdout_bytes == data
    assert "BNL401" in left.stderr
    shown = lint(tmp_path, "-", *DIFF, "--stdin-filename", "sub/x.py", text=data)
    assert b"+++ b/sub/x.py\n" in shown.stdout_bytes
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/x.py").write_bytes(data)
    git(tmp_path, "init", "-q")
    git(tmp_path, "apply", text=shown.stdout_bytes)
    assert (tmp_path / "sub/x.py").read_bytes() == done.stdout_bytes


NOTEBOOK = """{
   "cells": [
     {"cell_type": "markdown", "source": ["# \\u00e9 momentum=0.99"], "metadata": {}},
     {
       "cell_type": "code", "execution_count": 3, "metadata": {"x": 1.50, "collapsed":false},
       "outputs": [{"output_type": "stream", "text": ["nn.BatchNorm2d(8, momentum=0.99)\\n"]}],
       "source": [
          "%matplotlib inline\\n",
          "import torch.nn as nn\\n",
          "a = nn.BatchNorm2d(8, momentum=0.99)  # \\u00e9 \\ud83d\\ude00\\n",
          "b = [nn.BatchNorm2d(8, momentum=0.98), nn.BatchNorm2d(8, 0.8)]"
       ]
     },
     {"cell_type": "code", "source": "c = nn.BatchNorm2d(8,\\n    momentum=0.97)\\n", "outputs": []}
   ],
   "metadata": { "language_info" : {"name":"python"} }, "nbformat": 4, "nbformat_minor": 5
}"""


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_notebook_keeps_its_layout_and_outputs(tmp_path: Path, end: str) -> None:
    file = tmp_path / "n.ipynb"
    text = NOTEBOOK.replace("\n", end) + end if end else NOTEBOOK
    file.write_bytes(text.encode())
    git(tmp_path, "init", "-q")
    shown = lint(tmp_path, *DIFF)
    done = lint(tmp_path, *FIX)
    assert done.exit_code == 0, done.output
    wanted = text
    for old, new in (
        ('"a = nn.BatchNorm2d(8, momentum=0.99)', '"a = nn.BatchNorm2d(8, momentum=0.01)'),
        ("momentum=0.98", "momentum=0.02"),
        ("(8, 0.8)", "(8, momentum=0.2)"),
        ("momentum=0.97", "momentum=0.03"),
    ):
        assert wanted.count(old) == 1
        wanted = wanted.replace(old, new)
    assert file.read_bytes().decode() == wanted
    file.write_bytes(text.encode())
    git(tmp_path, "apply", text=shown.stdout_bytes)
    assert file.read_bytes().decode() == wanted


def test_notebooks_get_new_lines_as_lines(tmp_path: Path) -> None:
    source = FIXTURES / "bnl103-train-not-restored"
    text = next(source.glob("bad*.py")).read_text().splitlines(keepends=True)
    cells = [{"cell_type": "code", "source": text, "outputs": [], "metadata": {}}]
    file = tmp_path / "n.ipynb"
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    file.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}, indent=1))
    lint(tmp_path, "n.ipynb", *FIX, "--select", "BNL103")
    fixed = json.loads(file.read_text())["cells"][0]["source"]
    assert len(fixed) == len(text) + 1
    assert all(line.count("\n") == 1 for line in fixed[:-1])
    assert not [line for line in text if line not in fixed]


def test_a_notebook_on_standard_input(tmp_path: Path) -> None:
    done = lint(tmp_path, "-", *FIX, "--stdin-filename", "n.ipynb", text=NOTEBOOK)
    assert done.exit_code == 0
    assert done.stdout.count("momentum=0.0") == 3
    assert json.loads(done.stdout).keys() == json.loads(NOTEBOOK).keys()
    shown = lint(tmp_path, "-", *DIFF, "--stdin-filename", "n.ipynb", text=NOTEBOOK)
    (tmp_path / "n.ipynb").write_text(NOTEBOOK)
    git(tmp_path, "init", "-q")
    git(tmp_path, "apply", text=shown.stdout_bytes)
    assert (tmp_path / "n.ipynb").read_text() == done.stdout


def test_a_broken_cell_keeps_no_fix_of_another(tmp_path: Path) -> None:
    wrong = "import torch.nn as nn\nbn = nn.BatchNorm2d(8, momentum=0.99)"
    sources = (wrong, "def f(:\n    ...", "print 'Python 2'", wrong.replace("bn =", "other ="))
    cells = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": source} for source in sources
    ]
    text = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    file = tmp_path / "n.ipynb"
    file.write_text(text)
    lint(tmp_path, "n.ipynb", *FIX)
    assert file.read_text() == text.replace("momentum=0.99", "momentum=0.01")
