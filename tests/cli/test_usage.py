"""Wrong usage: what is said helps whoever made the mistake."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from commands import lint

from bnlint.cli import COMMANDS, main
from bnlint.rules import all_rules

WRONG = "import torch.nn as nn\n\nbn = nn.BatchNorm2d(8, momentum=0.99)\n"


def bnlint(folder: Path, *arguments: str) -> Result:
    """`bnlint ...` in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(main, list(arguments))


def completed(*words: str) -> list[str]:
    """What a shell offers for the last word; `<file>` stands for files."""
    shell = ShellComplete(main, {}, "bnlint", "_BNLINT_COMPLETE")
    *before, last = words
    return [
        "<file>" if item.type == "file" else item.value
        for item in shell.get_completions(before, last)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "train.py").write_text(WRONG)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], ["<file>", *COMMANDS]),
        (["ch"], ["<file>", "check"]),
        (["train.py", ""], ["<file>"]),
        (["lint", "tr"], ["<file>"]),
        (["rule", "BNL40"], ["BNL401", "BNL402", "BNL403", "BNL404", "BNL405"]),
        (["rule", "keras"], ["keras-momentum"]),
        (["--select", "bnl60"], ["BNL601", "BNL602", "BNL603"]),
        (["lint", "--ignore", "BNL101,keras"], ["BNL101,keras-momentum"]),
        (["--extend-sel"], ["--extend-select"]),
        (["--vers"], ["--version"]),
    ],
)
def test_the_shell_completes_commands_rules_and_options(
    words: list[str], offered: list[str]
) -> None:
    found = completed(*words)
    assert [word for word in found if word in offered] == offered
    assert set(found) <= {*offered, "<file>"}


@pytest.mark.parametrize(
    ("arguments", "guess"),
    [
        (["lnt", "train.py"], "bnlint lint"),
        (["chekc"], "bnlint check"),
        (["rules"], "bnlint rule"),
        (["help"], "bnlint --help"),
        (["version"], "bnlint --version"),
        (["trian.py"], "train.py"),
        (["./trian.py"], "train.py"),
        (["lint", "Train.py"], "train.py"),
    ],
)
def test_a_mistyped_command_or_file_gets_a_guess(
    folder: Path, arguments: list[str], guess: str
) -> None:
    run = bnlint(folder, *arguments)
    assert run.exit_code == 2
    assert f"did you mean `{guess}`?" in run.stderr or f"did you mean {guess}?" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_what_exists_is_no_mistyped_command(folder: Path) -> None:
    (folder / "lnt").mkdir()
    (folder / "lnt/a.py").write_text(WRONG)
    assert "lnt/a.py:3" in bnlint(folder, "lnt").stdout
    run = bnlint(folder, "nothing-like-it")
    assert "did you mean" not in run.stderr
    assert "nothing-like-it: no such file or folder" in run.stderr


def test_the_beginning_of_codes_lists_its_rules(folder: Path) -> None:
    rows = bnlint(folder, "rule", "bnl4").stdout.splitlines()
    assert [row[:6] for row in rows] == ["BNL401", "BNL402", "BNL403", "BNL404", "BNL405"]
    table = json.loads(bnlint(folder, "rule", "BNL4", "--output-format", "json").stdout)
    assert [row["code"] for row in table] == [row[:6] for row in rows]
    everything = bnlint(folder, "rule", "ALL").stdout.splitlines()
    assert len(everything) == len(all_rules())


@pytest.mark.parametrize(
    ("word", "guess"),
    [
        ("BNL999", None),
        ("BNL77", None),
        ("E501", None),
        ("BLN101", "BNL101"),
        ("BNL1O1", "BNL101"),
        ("keras-momentun", "keras-momentum"),
        ("inference_without_eval", "inference-without-eval"),
    ],
)
def test_only_what_is_like_a_rule_is_guessed(folder: Path, word: str, guess: str | None) -> None:
    for arguments in (["rule", word], ["--select", word]):
        said = bnlint(folder, *arguments).stderr
        assert f"unknown rule {word!r}" in said
        assert ("did you mean" in said) is (guess is not None)
        assert guess is None or f"did you mean {guess}?" in said


def test_a_file_that_may_not_be_read_is_named_with_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = str(folder / "train.py")
    monkeypatch.setattr(os, "access", lambda path, mode, **_: path != "train.py")
    real_open = os.open

    def refuse(file: object, *arguments: Any, **options: Any) -> object:
        if str(file) == locked:
            raise PermissionError(13, "Permission denied")
        return real_open(file, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    run = lint(folder, "train.py", "--no-cache")
    assert run.exit_code == 2
    assert "Invalid value" not in run.stderr
    assert run.stderr.startswith("Error: train.py: cannot be read: Permission denied (make it")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('root = "nope"', "pyproject.toml: tool.bnlint.root: no such folder: "),
        ('exclude = ["[z-a]"]', "tool.bnlint.exclude: '[z-a]' is no pattern: "),
        ('extend-exclude = ["a[bc"]', "tool.bnlint.extend-exclude: 'a[bc' is no pattern: "),
        ("selct = []", "tool.bnlint.selct: unknown key (did you mean select?)\n"),
        ("zzzzzz = []", "tool.bnlint.zzzzzz: unknown key: known are baseline, "),
    ],
)
def test_a_mistake_in_the_settings_is_named(folder: Path, text: str, words: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.bnlint]\n{text}\n")
    run = lint(folder)
    assert run.exit_code == 2
    assert words in run.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "nope.toml"], "--config nope.toml: cannot be read: No such file"),
        (["--select", ""], "--select"),
        (["--ignore", ","], "--ignore"),
        (["--extend-exclude", ""], "--extend-exclude"),
        (["--exclude", "[z-a]"], "--exclude: '[z-a]' is no pattern: "),
        (["--stdin-filename", "x.py", "train.py"], "--stdin-filename"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    folder: Path, arguments: list[str], words: str
) -> None:
    run = lint(folder, *arguments)
    assert (run.exit_code, run.stdout) == (2, "")
    assert words in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_patterns_that_git_takes_are_taken(folder: Path) -> None:
    patterns = ("[!a-c]x.py", r"\[odd", "[]a].py", "[a-]*.py", "*.[ch]", "[^z]q")
    for pattern in patterns:
        assert lint(folder, "--extend-exclude", pattern).exit_code == 1


def test_a_notebook_on_standard_input_needs_its_name(folder: Path) -> None:
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "source": WRONG}
    text = json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    run = lint(folder, "-", text=text)
    assert run.exit_code == 2
    assert "--stdin-filename" in run.stderr
    assert lint(folder, "-", "--stdin-filename", "n.ipynb", text=text).exit_code == 1
    assert lint(folder, "-", text='{"cells": 1}\n').exit_code == 0
