"""The plugin, as flake8 really runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

pytest.importorskip("flake8")

ROOT = Path(__file__).parents[1]
MODELS = "import torch.nn as nn\n\nnet = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))\n"
EVALUATE = """\
import torch
from models import net

with torch.no_grad():
    print(net(torch.load("x.pt")).argmax())
    print(net(torch.load("y.pt")).argmax())  # noqa: BNL101
    print(net(torch.load("z.pt")).argmax())  # bnlint: ignore[BNL101] shown in the paper
"""


def flake8(folder: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    known = {point.name for point in metadata.entry_points(group="flake8.extension")}
    plugin = (
        f"\n[flake8:local-plugins]\nextension =\n  BNL = bnlint.flake8:Plugin\npaths = {ROOT}\n"
    )
    (folder / ".flake8").write_text(f"[flake8]\nselect = BNL\n{'' if 'BNL' in known else plugin}")
    return subprocess.run(
        [sys.executable, "-m", "flake8", *arguments],
        cwd=folder, input=text, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "evaluate.py").write_text(EVALUATE)
    return tmp_path


def test_flake8_shows_findings_across_files(folder: Path) -> None:
    run = flake8(folder, "--jobs", "1", "evaluate.py", "models.py")
    assert run.returncode == 1
    (line,) = run.stdout.splitlines()
    assert line.startswith("evaluate.py:5:11: BNL101 Sequential runs for inference")
    assert flake8(folder, "models.py").returncode == 0


def test_the_project_is_read_once_for_each_process_and_that_is_said(folder: Path) -> None:
    run = flake8(folder, "--jobs", "1", "-v", "evaluate.py", "models.py")
    assert (run.stdout + run.stderr).count("bnlint: reading the project in") == 1


def test_standard_input(folder: Path) -> None:
    wrong = "import torch.nn as nn\nbn = nn.BatchNorm2d(8, momentum=0.99)\n"
    run = flake8(folder, "-", text=wrong)
    assert run.stdout.startswith("stdin:2:6: BNL401 ")


def test_settings_of_the_project_hold(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.bnlint]\nignore = ["BNL1"]\n')
    assert flake8(folder, ".").returncode == 0


def test_the_entry_point_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["flake8.extension"] == {"BNL": "bnlint.flake8:Plugin"}


def test_a_finding_in_a_notebook_is_at_its_line_of_the_json(folder: Path) -> None:
    wrong = ["import torch.nn as nn\n", "bn = nn.BatchNorm2d(8, momentum=0.99)"]
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Title"]},
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": wrong},
    ]
    text = json.dumps(
        {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1
    )
    (folder / "demo.ipynb").write_text(text)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "momentum" in row)
    column = text.splitlines()[line - 1].index("nn.") + 1
    (found,) = flake8(folder, "demo.ipynb").stdout.splitlines()
    assert found.startswith(f"demo.ipynb:{line}:{column}: BNL401 ")
    assert found.endswith(" (cell 1, line 2)")
