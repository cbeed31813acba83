"""Rules of other packages: the example in docs/, really installed, and packages that are wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "example_rules"
CODE = "from torch import nn\n\nnet = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))\n"


def bnlint(*arguments: str, cwd: Path, packages: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, (packages, ROOT)))
    return subprocess.run(
        [sys.executable, "-m", "bnlint", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


@pytest.mark.slow
def test_the_example_package_adds_its_rule(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    install = ["-m", "pip", "install", "-q", "--no-deps", "--target", str(packages), str(EXAMPLE)]
    subprocess.run([sys.executable, *install], check=True, timeout=300, capture_output=True)
    project = tmp_path / "project"
    project.mkdir()
    file = project / "net.py"
    file.write_text(CODE)
    run = bnlint("--output-format", "json", cwd=project, packages=packages)
    (finding,) = json.loads(run.stdout)
    assert (finding["code"], finding["name"], finding["line"]) == ("EX101", "house-eps", 3)
    assert run.returncode == 1
    for arguments in (["--ignore", "EX101"], ["--ignore", "house-eps"], ["--select", "BNL"]):
        assert bnlint(*arguments, cwd=project, packages=packages).returncode == 0
    assert bnlint("--select", "EX1", cwd=project, packages=packages).returncode == 1
    page = bnlint("rule", "EX101", cwd=project, packages=packages).stdout
    assert page.startswith("# EX101 house-eps\n")
    sarif = bnlint("--output-format", "sarif", cwd=project, packages=packages)
    assert json.loads(sarif.stdout)["runs"][0]["results"][0]["ruleId"] == "EX101"
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")],
        cwd=project, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (packages, ROOT)))},
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout
    bnlint("--fix", "--unsafe-fixes", cwd=project, packages=packages)
    assert file.read_text() == CODE.replace("2d(8)", "2d(8, eps=0.001)")
    file.write_text(CODE.replace("))\n", "))  # bnlint: ignore[EX101] never exported\n"))
    assert bnlint(cwd=project, packages=packages).returncode == 0


def offer(packages: Path, value: str, module: str) -> None:
    """A made-up installed package with one entry point."""
    (packages / "other.py").write_text(module)
    metadata = packages / "other-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[bnlint.rules]\nEX1 = {value}\n")


@pytest.mark.parametrize(
    ("value", "module", "words"),
    [
        ("other:RULE", "raise RuntimeError('broken')", "EX1 = other:RULE: RuntimeError: broken"),
        ("other:NONE", "", "EX1 = other:NONE: AttributeError"),
        ("other:RULE", "RULE = 1", "is no bnlint.rules.base.Rule, but 1"),
        (
            "other:RULE",
            "from bnlint.rules.bnl101 import RULE",
            "BNL101 inference-without-eval: there is already a rule of this code or name",
        ),
    ],
)
def test_a_package_that_is_wrong_is_named(
    tmp_path: Path, value: str, module: str, words: str
) -> None:
    offer(tmp_path, value, module)
    (tmp_path / "project").mkdir()
    run = bnlint(cwd=tmp_path / "project", packages=tmp_path)
    assert run.returncode == 2
    assert words in run.stderr
    assert "package 'other' (mend it, or: pip uninstall other)" in run.stderr
    assert len(run.stderr.splitlines()) == 1


CRASHING = """\
from dataclasses import replace

from bnlint.rules.bnl401 import RULE as KNOWN


def check(pictures):
    yield 1 / 0


RULE = replace(KNOWN, code="EX1", name="own-rule", check=check)
"""
TWO = """\
from torch import nn

one = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
two = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
"""


def test_a_rule_that_crashes_is_a_mistake_of_its_package_and_said_once(tmp_path: Path) -> None:
    offer(tmp_path, "other:RULE", CRASHING)
    project = tmp_path / "project"
    project.mkdir()
    (project / "net.py").write_text(TWO)
    run = bnlint("--output-format", "json", "--select", "EX1", cwd=project, packages=tmp_path)
    (finding,) = json.loads(run.stdout)
    assert finding["code"] == "BNL903"
    assert finding["message"].startswith("rule EX1 crashed: ZeroDivisionError")
    assert "a mistake in the package 'other', not in bnlint" in finding["message"]
    assert {step["role"] for step in finding["evidence"]} == {"instance"}
