"""The hook, as pre-commit really runs it: installed from a repository, on staged files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ("bnlint", "pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml")
MODELS = """\
import torch.nn as nn


def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
"""
EVALUATE = """\
import torch
from models import build

net = build()
net.load_state_dict(torch.load("net.pt"))
with torch.no_grad():
    for x, y in torch.load("data.pt"):
        print((net(x).argmax(1) == y).float().mean())
"""


def git(*arguments: str, cwd: Path) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    """A repository that offers the hook."""
    repository = tmp_path / "hook"
    repository.mkdir()
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, repository / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, repository / name)
    git("init", "-q", cwd=repository)
    git("add", ".", cwd=repository)
    git("commit", "-q", "-m", "hook", cwd=repository)
    return repository


def try_hook(
    hook: Path, repository: Path, *files: str, name: str = "bnlint"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pre_commit", "try-repo", str(hook), name, "--files", *files],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=600,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PRE_COMMIT_HOME": str(hook.parent / "home")},
    )


@pytest.mark.slow
def test_the_hook_fails_on_a_wrong_file_and_passes_on_the_right_one(
    hook: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "project"
    repository.mkdir()
    git("init", "-q", cwd=repository)
    (repository / "evaluate.py").write_text(EVALUATE)
    (repository / "models.py").write_text(MODELS.replace(" nn.BatchNorm2d(8),", ""))
    git("add", ".", cwd=repository)
    git("commit", "-q", "-m", "right", cwd=repository)
    right = try_hook(hook, repository, "models.py", "evaluate.py")
    assert right.returncode == 0, right.stdout + right.stderr

    (repository / "models.py").write_text(MODELS)
    git("add", ".", cwd=repository)
    wrong = try_hook(hook, repository, "models.py")
    assert wrong.returncode == 1, wrong.stdout + wrong.stderr
    assert "evaluate.py:8:" in wrong.stdout
    assert "BNL101" in wrong.stdout
    assert "models.py:5" in wrong.stdout


@pytest.mark.slow
def test_the_fixing_hook_changes_the_file_and_fails_once(hook: Path, tmp_path: Path) -> None:
    repository = tmp_path / "project"
    repository.mkdir()
    git("init", "-q", cwd=repository)
    (repository / "models.py").write_text(f"{MODELS}\n\nx = 1  # bnlint: ignore[BNL401] old\n")
    git("add", ".", cwd=repository)
    first = try_hook(hook, repository, "models.py", name="bnlint-fix")
    assert first.returncode == 1, first.stdout + first.stderr
    assert "files were modified by this hook" in first.stdout
    assert (repository / "models.py").read_text() == f"{MODELS}\n\nx = 1\n"
    git("add", ".", cwd=repository)
    second = try_hook(hook, repository, "models.py", name="bnlint-fix")
    assert second.returncode == 0, second.stdout + second.stderr
