"""`--write-baseline`, `--baseline` and `--add-ignores`: living with what is there already."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import contents, lint

FIXTURES = Path(__file__).parents[2] / "fixtures"
HEAD = "import torch.nn as nn\n\n"
A = "a = nn.BatchNorm2d(8, momentum=0.99)\n"
B = "b = nn.BatchNorm2d(8,   momentum = 0.98)\n"
GROUP = """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(), nn.BatchNorm2d(3))
        self.b = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))

    def forward(self, x):
        return self.b(self.a(x))
"""


def found(folder: Path, *arguments: str) -> list[tuple[str, int, bool]]:
    run = lint(folder, *arguments, "--output-format", "json")
    return [(f["code"], f["line"], f["suppressed"]) for f in json.loads(run.stdout)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.py").write_text(HEAD + A + B)
    written = lint(tmp_path, "--write-baseline", "known.json")
    assert (written.exit_code, written.stdout) == (0, "")
    assert "Wrote 2 places to known.json." in written.stderr
    return tmp_path


def test_a_baseline_is_readable_and_sorted(folder: Path) -> None:
    assert json.loads((folder / "known.json").read_text()) == {
        "version": 1,
        "findings": {
            "sub/a.py": {
                "BNL401": {
                    "a = nn.BatchNorm2d(8, momentum=0.99)": 1,
                    "b = nn.BatchNorm2d(8, momentum = 0.98)": 1,
                }
            }
        },
    }


def test_what_is_known_is_not_shown(folder: Path) -> None:
    run = lint(folder, "--baseline", "known.json")
    assert run.exit_code == 0
    assert run.stdout == "All checks passed: 1 file (2 in the baseline).\n"
    (first, _) = json.loads(
        lint(folder, "--baseline", "known.json", "--output-format", "json").stdout
    )
    assert first["suppressed"]
    assert first["suppression"] == {"kind": "baseline", "reason": ""}


def test_moved_and_reformatted_code_does_not_resurface(folder: Path) -> None:
    moved = f"{HEAD}x = 1\n\n\nif x:\n    {B.replace('   ', ' ')}    {A}"
    (folder / "sub/a.py").write_text(moved)
    assert lint(folder, "--baseline", "known.json").exit_code == 0


def test_new_findings_are_shown_also_when_they_look_the_same(folder: Path) -> None:
    (folder / "sub/a.py").write_text(HEAD + A + A + B)
    found_now = found(folder, "--baseline", "known.json")
    assert [suppressed for _, _, suppressed in found_now] == [True, False, True]
    (folder / "sub/b.py").write_text(HEAD + A)
    assert lint(folder, "--baseline", "known.json", "sub/b.py").exit_code == 1


def test_what_is_gone_is_slack(folder: Path) -> None:
    (folder / "sub/a.py").write_text(HEAD + A)
    run = lint(folder, "--baseline", "known.json", "--statistics")
    assert run.exit_code == 0
    assert run.stdout == (
        "In the baseline and no longer found (--write-baseline makes it smaller):\n"
        "1  BNL401  keras-momentum\n"
    )
    arguments = ("--baseline", "known.json", "--statistics", "--output-format", "json")
    assert json.loads(lint(folder, *arguments).stdout) == [
        {"code": "BNL401", "name": "keras-momentum", "count": 0, "slack": 1}
    ]
    (folder / "other.py").write_text(HEAD)
    assert lint(folder, "--baseline", "known.json", "--statistics", "other.py").stdout == (
        "All checks passed: 1 file.\n"
    )
    lint(folder, "--baseline", "known.json", "--write-baseline", "known.json")
    assert (folder / "known.json").read_text().count("BatchNorm2d") == 1


def test_the_places_of_a_group_count_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(HEAD + GROUP)
    lint(tmp_path, "--write-baseline", "known.json")
    assert [s for *_, s in found(tmp_path, "--baseline", "known.json")] == [True]
    third = GROUP.replace("\n    def forward", "        self.c = nn.Sequential(nn.Linear(4, 5), "
                          "nn.ReLU(), nn.BatchNorm1d(5))\n\n    def forward")  # fmt: skip
    file.write_text(HEAD + third)
    shown = [row for row in found(tmp_path, "--baseline", "known.json") if not row[2]]
    assert shown == [("BNL201", 8, False)]


def test_a_baseline_in_the_settings_is_relative_to_them(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.bnlint]\nbaseline = "known.json"\n')
    assert lint(folder / "sub").exit_code == 0
    assert lint(folder / "sub", "--isolated").exit_code == 1


def test_suppressed_findings_are_not_written(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(HEAD + A.rstrip() + "  # bnlint: ignore[BNL401] because\n" + B)
    lint(tmp_path, "--write-baseline", "known.json")
    assert (tmp_path / "known.json").read_text().count("BatchNorm2d") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "known.json: the baseline cannot be read"),
        ("[", "known.json: the baseline is not valid JSON"),
        ("[]", "known.json: is not a baseline of version 1"),
        ('{"version": 2}', "known.json: is not a baseline of version 1"),
        ('{"version": 1, "findings": []}', "known.json: the baseline must hold counts"),
        ('{"version": 1, "findings": {"a": {"b": {"c": "x"}}}}', "must hold counts"),
    ],
)
def test_a_baseline_that_cannot_be_used(tmp_path: Path, content: str | None, words: str) -> None:
    (tmp_path / "a.py").write_text(HEAD)
    if content is not None:
        (tmp_path / "known.json").write_text(content)
    run = lint(tmp_path, "--baseline", "known.json")
    assert run.exit_code == 2
    assert words in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_one_thing_at_a_time(tmp_path: Path) -> None:
    run = lint(tmp_path, "--fix", "--add-ignores")
    assert (run.exit_code, run.stderr.splitlines()) == (
        2, ["Error: --fix or --diff and --add-ignores: give one at a time"]
    )  # fmt: skip


def test_every_finding_of_the_fixtures_can_be_excused(tmp_path: Path) -> None:
    leave_out = shutil.ignore_patterns("bnl901*", "bnl902*", "__pycache__")
    shutil.copytree(FIXTURES, tmp_path / "all", ignore=leave_out)
    project = tmp_path / "all"
    before = found(project)
    assert len(before) > 40
    done = lint(project, "--add-ignores")
    assert done.exit_code == 0, done.stdout
    after = found(project)
    assert all(suppressed for *_, suppressed in after)
    assert {code for code, *_ in after} == {code for code, *_ in before}
    fixed = contents(project)
    assert lint(project, "--add-ignores").exit_code == 0
    assert contents(project) == fixed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (A, f"{A.rstrip()}  # bnlint: ignore[BNL401] TODO: say why this is fine\n"),
        (
            "a = nn.BatchNorm2d(8, 0.8, 0.99)  # why\n",
            "a = nn.BatchNorm2d(8, 0.8, 0.99)  # why"
            "  # bnlint: ignore[BNL401, BNL402] TODO: say why this is fine\n",
        ),
        (
            "a = nn.BatchNorm2d(8, 0.8, 0.99)  # bnlint: ignore[BNL401] mine\n",
            "a = nn.BatchNorm2d(8, 0.8, 0.99)  # bnlint: ignore[BNL401, BNL402] mine\n",
        ),
        (
            "a = [nn.BatchNorm2d(8, momentum=0.99), \\\n     1]\n",
            None,
        ),
        (
            "a = [\n    nn.BatchNorm2d(8, momentum=0.99), '''\n'''\n]\n",
            "a = [  # bnlint: ignore[BNL401] TODO: say why this is fine\n"
            "    nn.BatchNorm2d(8, momentum=0.99), '''\n'''\n]\n",
        ),
    ],
)
def test_where_the_comment_goes(tmp_path: Path, before: str, after: str | None) -> None:
    file = tmp_path / "a.py"
    file.write_bytes((HEAD + before).replace("\n", "\r\n").encode())
    run = lint(tmp_path, "--add-ignores")
    assert run.exit_code == (after is None)
    assert file.read_bytes().decode() == (HEAD + (after or before)).replace("\n", "\r\n")
    if after is None:
        assert "a.py:3:6: no comment can stand in this statement" in run.stderr


def test_comments_in_a_notebook(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": ["%time\n", HEAD.rstrip() + "\n", A.rstrip()]}]
    file = tmp_path / "n.ipynb"
    file.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}, indent=1))
    assert lint(tmp_path, "--add-ignores").exit_code == 0
    source = json.loads(file.read_text())["cells"][0]["source"]
    assert source[2] == f"{A.rstrip()}  # bnlint: ignore[BNL401] TODO: say why this is fine"
