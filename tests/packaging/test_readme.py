"""What the README shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from bnlint.settings import parse_settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_terminal_excerpt_is_real() -> None:
    command, _, shown = block("console").partition("\n")
    folder, file = re.fullmatch(r"\$ cd (\S+) && bnlint (\S+)", command).groups()
    run = subprocess.run(
        [sys.executable, "-m", "bnlint", file],
        cwd=ROOT / folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
    )
    assert run.stdout == shown, "the README's excerpt is out of date: paste the real output"


def test_there_are_exactly_two_set_up_commands() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2
    assert "bnlint fixtures" in commands[0]
    assert "pytest" in commands[1]


def test_the_example_settings_are_valid() -> None:
    table = tomllib.loads(block("toml"))["tool"]["bnlint"]
    assert parse_settings(table, ROOT / "pyproject.toml").extend_exclude == ("third_party",)


def test_the_live_check_does_what_its_comments_say() -> None:
    import pytest

    from bnlint.live.errors import CheckError

    names: dict[str, object] = {}
    with pytest.raises(Exception, match="BNL101") as caught:
        exec(block("python"), names)
    assert not isinstance(caught.value, CheckError)
    assert len(str(names["report"]).splitlines()) > 3
