"""Names of strangers in everything that the command prints besides findings."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bnlint.cli import main

EVIL = "a\x1b[31m\u202eb\x9b"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")
NET = """\
import torch.nn as nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=0.99))
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such file names there")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / EVIL
    made.mkdir()
    (made / f"{EVIL}.py").write_text(NET)
    monkeypatch.chdir(made)
    return made


def run(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(main, [*arguments], input=text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("lint", "--statistics"),
        ("lint", "--statistics", "--output-format", "json"),
        ("lint", "--diff", "--unsafe-fixes"),
        ("lint", "--show-graph", "Net"),
        ("lint", "--show-graph", EVIL),
        ("lint", "--show-settings"),
        ("lint", "--select", EVIL),
        ("lint", "--output-format", EVIL),
        ("lint", "--root", EVIL),
        ("lint", "--config", EVIL),
        ("lint", "--baseline", EVIL),
        ("lint", "--output-file", f"{EVIL}/{EVIL}"),
        ("lint", "--write-baseline", f"{EVIL}/{EVIL}"),
        ("lint", "--exclude", EVIL),
        ("lint", f"{EVIL}.py", EVIL),
        ("lint", "--fix", "--unsafe-fixes", "--verbose"),
        ("lint", "--add-ignores"),
        ("lint", f"--{EVIL}"),
        ("lint", "-", "--stdin-filename", f"{EVIL}.py"),
        ("rule", EVIL),
        ("check", EVIL),
        ("check", f"{EVIL}.py:Net"),
        (EVIL,),
    ],
    ids=lambda arguments: " ".join(arguments).replace(EVIL, "EVIL"),
)
def test_nothing_that_is_printed_commands_a_terminal(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    done = run(*arguments, text=NET)
    said = done.stdout + done.stderr
    assert said
    assert "Traceback" not in said
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert not CONTROL.search(said), said


@pytest.mark.parametrize(
    "settings",
    [
        f'[tool.bnlint]\nselect = ["{EVIL}"]\n',
        f'[tool.bnlint]\n"{EVIL}" = 1\n',
        f'[tool.bnlint]\n"{EVIL}',
        f'[tool.bnlint.rules]\n"{EVIL}" = 1\n',
        f'[tool.bnlint]\nexclude = ["{EVIL}"]\noutput-format = "{EVIL}"\n',
    ],
)
def test_settings_of_strangers_are_quoted_harmlessly(folder: Path, settings: str) -> None:
    text = settings.replace("\x1b", "\\u001b").replace("\x9b", "\\u009b")
    (folder / "pyproject.toml").write_text(text)
    done = run("lint")
    assert done.exit_code == 2, done.stdout
    assert not CONTROL.search(done.stdout + done.stderr), done.stderr


def test_sources_of_strangers_are_quoted_harmlessly(folder: Path) -> None:
    for name, text in {
        "wrong.py": "x = = '\x1b[31m'\n",
        "coded.py": "# coding: evil-\u202e\n",
        "book.ipynb": '{"cells": [{"cell_type": "code", "source": "x = = \\u001b[31m\\u202e"}]}',
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    for output_format in ("full", "concise", "github", "junit", "gitlab", "sarif", "json"):
        done = run("lint", "--no-prefilter", "--output-format", output_format)
        assert done.stdout.count("BNL901") >= 3
        assert not CONTROL.search(done.stdout + done.stderr), done.stdout
