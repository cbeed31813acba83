"""The command line as a user meets it: in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bnlint.rules import all_rules

ROOT = Path(__file__).parents[2]
WRONG = "import torch.nn as nn\n\nbn = nn.BatchNorm2d(8, momentum=0.99)\n"
NOTE = """\
import torch.nn as nn

net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
"""


def bnlint(
    *arguments: str, cwd: Path, text: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bnlint", *arguments],
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "right.py").write_text("import torch\n")
    return tmp_path


@pytest.mark.parametrize("arguments", [[], ["lint"], ["."], ["lint", "."], ["wrong.py"], ["-v"]])
def test_lint_is_the_command_when_none_is_named(folder: Path, arguments: list[str]) -> None:
    run = bnlint(*arguments, cwd=folder)
    assert run.returncode == 1
    assert run.stdout.startswith("wrong.py:3:")
    assert run.stderr == ""


def test_a_path_named_like_a_command_needs_a_dot(folder: Path) -> None:
    (folder / "rule").mkdir()
    (folder / "rule/a.py").write_text(WRONG)
    assert "rule/a.py:3" in bnlint("./rule", cwd=folder).stdout
    assert "BNL101" in bnlint("rule", cwd=folder).stdout


def test_exit_codes(folder: Path) -> None:
    assert bnlint("right.py", cwd=folder).returncode == 0
    assert bnlint("--exit-zero", cwd=folder).returncode == 0
    assert bnlint("--ignore", "BNL401", cwd=folder).returncode == 0
    (folder / "wrong.py").write_text(NOTE)
    assert bnlint(cwd=folder).returncode == 0
    assert bnlint("--fail-level", "note", cwd=folder).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no_such.py"], "no_such.py: no such file or folder"),
        (["--no-such-option"], "No such option"),
        (["--select", "E501"], "unknown rule 'E501'"),
        (["--jobs", "many"], "'many'"),
        (["--root", "no_such"], "--root no_such"),
        (["--config", "no_such.toml"], "no_such.toml: cannot be read"),
        (["--output-file", "no/such/folder/x"], "--output-file no/such/folder/x"),
        (["--output-format", "yaml"], "yaml"),
        (["-", "wrong.py"], "`-`"),
        (["rule", "BNL777"], "unknown rule 'BNL777'"),
        (["check"], "TARGET"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    folder: Path, arguments: list[str], words: str
) -> None:
    run = bnlint(*arguments, cwd=folder)
    assert run.returncode == 2
    assert words in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith("Error: ")
    assert run.stdout == ""


def test_a_bad_configuration_is_one_line_and_exit_code_2(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.bnlint]\nselct = []\n")
    run = bnlint(cwd=folder)
    assert run.returncode == 2
    assert "pyproject.toml: tool.bnlint.selct: unknown key" in run.stderr
    assert bnlint("--isolated", cwd=folder).returncode == 1


@pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="needs a file that opens for nobody, root included"
)
def test_an_unreadable_file_is_one_line_and_exit_code_2(folder: Path) -> None:
    (folder / "odd.py").symlink_to("/proc/self/mem")
    run = bnlint("odd.py", "wrong.py", cwd=folder)
    assert run.returncode == 2
    assert run.stderr.startswith("Error: odd.py: cannot be read: ")
    assert len(run.stderr.splitlines()) == 1
    assert "wrong.py:3" in run.stdout


def test_json_is_alone_on_stdout(folder: Path) -> None:
    run = bnlint("--output-format", "json", "--jobs", "2", cwd=folder)
    (finding,) = json.loads(run.stdout)
    assert (finding["code"], finding["path"], finding["line"]) == ("BNL401", "wrong.py", 3)
    assert json.loads(bnlint("right.py", "--output-format", "json", cwd=folder).stdout) == []


def test_paths_are_relative_to_the_working_directory(folder: Path) -> None:
    (folder / "below").mkdir()
    run = bnlint("..", "--output-format", "json", cwd=folder / "below")
    assert [finding["path"] for finding in json.loads(run.stdout)] == ["../wrong.py"]


def test_output_file_and_statistics(folder: Path) -> None:
    run = bnlint("--statistics", "--output-file", "out.txt", cwd=folder)
    assert (run.returncode, run.stdout) == (1, "")
    assert (folder / "out.txt").read_text() == "1  BNL401  keras-momentum\n"


def test_standard_input(folder: Path) -> None:
    run = bnlint("-", cwd=folder, text=WRONG)
    assert run.stdout.startswith("<stdin>:3:")
    named = bnlint(
        "-", "--stdin-filename", "right.py", "--output-format", "json", cwd=folder, text=WRONG
    )
    assert [finding["path"] for finding in json.loads(named.stdout)] == ["right.py"]


def test_exclude_options_are_relative_to_the_working_directory(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.bnlint]\n")
    for name in ("a/gen/x.py", "gen/x.py"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(WRONG)
    run = bnlint(
        "..", "--extend-exclude", "gen/x.py", "--output-format", "concise", cwd=folder / "a"
    )
    assert run.stdout.count("x.py:3") == 1
    assert "../gen/x.py:3" in run.stdout


def test_colour_only_where_it_is_wanted(folder: Path) -> None:
    assert "\x1b[" not in bnlint(cwd=folder).stdout
    assert "\x1b[" in bnlint(cwd=folder, FORCE_COLOR="1").stdout
    assert "\x1b[" not in bnlint(cwd=folder, FORCE_COLOR="1", NO_COLOR="1").stdout


def test_a_closed_pipe_ends_quietly(folder: Path) -> None:
    for number in range(300):
        (folder / f"w{number}.py").write_text(WRONG)
    command = f"{sys.executable} -m bnlint . | head -n 1"
    run = subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.stderr == ""
    assert len(run.stdout.splitlines()) == 1


def test_nothing_to_lint_is_said(tmp_path: Path) -> None:
    run = bnlint(cwd=tmp_path)
    assert run.returncode == 0
    assert "no Python files" in run.stderr


@pytest.mark.parametrize("code", [rule.code for rule in all_rules()])
def test_every_rule_has_a_page_in_the_terminal(code: str) -> None:
    from click.testing import CliRunner

    from bnlint.cli import main

    page = CliRunner().invoke(main, ["rule", code]).output
    assert page.startswith(f"# {code} ")


def test_rules_as_json(tmp_path: Path) -> None:
    rules = json.loads(bnlint("rule", "--all", "--output-format", "json", cwd=tmp_path).stdout)
    assert [rule["code"] for rule in rules] == [rule.code for rule in all_rules()]
    (one,) = json.loads(
        bnlint("rule", "keras-momentum", "--output-format", "json", cwd=tmp_path).stdout
    )
    assert one["code"] == "BNL401"


def test_settings_are_shown(folder: Path) -> None:
    run = bnlint("--show-settings", "--select", "BNL1", cwd=folder)
    assert 'select = ["BNL1"]' in run.stdout


def test_the_graph_of_a_class_is_shown(folder: Path) -> None:
    (folder / "net.py").write_text(
        "import torch.nn as nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.bn = nn.BatchNorm2d(8)\n\n"
        "    def forward(self, x):\n        return self.bn(x)\n"
    )
    run = bnlint("--show-graph", "Net", cwd=folder)
    assert run.returncode == 0
    assert "batchnorm" in run.stdout.lower()
    run = bnlint("--show-graph", "Nett", cwd=folder)
    assert run.returncode == 2
    message = "Error: --show-graph Nett: no class or function named Nett (did you mean Net?)\n"
    assert run.stderr == message


@pytest.mark.parametrize(
    "module", ["bnlint", "bnlint.cli", "bnlint.cli.lint", "bnlint.source.engine"]
)
def test_importing_the_command_line_is_light(module: str) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {module}"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines()}
    assert "bnlint" in names
    assert not names & {"torch", "libcst", "rich", "numpy", "matplotlib", "jinja2"}


def test_version_and_help(tmp_path: Path) -> None:
    import bnlint as package

    assert package.__version__ in bnlint("--version", cwd=tmp_path).stdout
    for arguments in (["--help"], ["lint", "--help"], ["check", "-h"], ["rule", "-h"]):
        run = bnlint(*arguments, cwd=tmp_path)
        assert run.returncode == 0
        assert "Usage:" in run.stdout
