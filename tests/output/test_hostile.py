"""Names and lines that a terminal, a CI log or a reader would take for something else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from readers import read_github, read_gitlab, read_junit, read_sarif

from bnlint.cli import main
from bnlint.finding import Evidence, Finding, Place, Severity
from bnlint.output import renderer
from bnlint.output.base import Printout
from bnlint.printable import printable
from bnlint.settings import OUTPUT_FORMATS

NAMES = (
    "esc\x1b[31m.py",
    "line\n::error::owned.py",
    "comma,colon:percent%0A::stop.py",
    "[bold red]markup[red].py",
    "<script><b>&'\".py",
    "turned\u202egnp.py",
    "c1\x9b31m.py",
    "half\udc80.py",
    "bell\x07\r.py",
)
CODE = "import torch.nn as nn\nbn = nn.BatchNorm2d(8, momentum=0.99)  # \x1b]0;title\x07 [red]é\n"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such file names there")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hostile")
    for name in NAMES:
        (made / name).write_text(CODE, encoding="utf-8")
    return made


def run(folder: Path, *arguments: str, colour: str = "") -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("FORCE_COLOR", colour)
        patch.delenv("NO_COLOR", raising=False)
        result = CliRunner().invoke(main, ["lint", *arguments])
    assert result.exit_code == 1, result.output
    return result.stdout


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_nothing_reaches_the_terminal_as_a_command(folder: Path, output_format: str) -> None:
    text = run(folder, "--output-format", output_format)
    assert not CONTROL.search(text)
    assert text.count("BNL401") >= len(NAMES)


@pytest.mark.parametrize("output_format", ["full", "concise"])
def test_colours_are_ours_alone(folder: Path, output_format: str) -> None:
    text = run(folder, "--output-format", output_format, colour="1")
    assert "\x1b[1m" in text
    assert not CONTROL.search(re.sub(r"\x1b\[[0-9;]*m", "", text))
    assert "[bold red]markup[red].py" in text
    assert r"esc\x1b[31m.py" in text


def test_machines_read_the_names_back(folder: Path) -> None:
    exact = {f["path"] for f in json.loads(run(folder, "--output-format", "json"))}
    assert exact == set(NAMES)
    gitlab = {row.path for row in read_gitlab(run(folder, "--output-format", "gitlab"))}
    assert gitlab == set(NAMES)
    sarif = {row.path for row in read_sarif(run(folder, "--output-format", "sarif"))[0]}
    assert {name for name in NAMES if name.isascii()} <= sarif
    github = read_github(run(folder, "--output-format", "github"))
    assert len(github) == len(NAMES)
    assert {row.path for row in github} == {printable(name, keep="\n\r") for name in NAMES}
    junit = read_junit(run(folder, "--output-format", "junit"))
    assert {row.path for row in junit} == {printable(name, keep="\n\t") for name in NAMES}


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_messages_are_not_trusted_either(output_format: str) -> None:
    hostile = "a\x1b[2J </failure> ]]> ::warning::x\n%0A [b] \udcff"
    step = Evidence(Place("b\x1b.py", 1), hostile)
    finding = Finding("BNL101", "n", Severity.ERROR, hostile, Place("a.py", 1, 1, 1, 2), (step,))
    text = renderer(output_format)(Printout([finding], 1, lambda _: [hostile]))
    assert not CONTROL.search(text)
    if output_format == "junit":
        assert len(read_junit(text)) == 1
    if output_format == "github":
        assert len(read_github(text)) == 1


def test_errors_are_not_trusted_either(folder: Path) -> None:
    result = CliRunner().invoke(main, ["lint", "no\x1b[31m\nsuch.py"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert not CONTROL.search(result.stderr)


def test_a_stream_that_does_not_know_every_letter(folder: Path) -> None:
    for output_format in OUTPUT_FORMATS:
        done = subprocess.run(
            [sys.executable, "-m", "bnlint", ".", "--output-format", output_format],
            cwd=folder,
            capture_output=True,
            timeout=120,
            env={
                **os.environ,
                "PYTHONIOENCODING": "latin-1",
                "PYTHONPATH": str(Path(__file__).parents[2]),
            },
        )
        assert done.returncode == 1, done.stderr
        assert done.stdout.decode("latin-1").count("BNL401") >= len(NAMES)
