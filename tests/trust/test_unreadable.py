"""Files and folders that vanish, change their kind or cannot be read: each is named, and the rest
of the run is what it would be without them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import bnlint
from bnlint.cli import main
from bnlint.settings import Settings
from bnlint.source import discover as discovering
from bnlint.source import engine

WRONG = "import torch.nn as nn\n\nbn = nn.BatchNorm2d(8, momentum=0.99)\n"
POSIX = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    for name in ("good.py", "victim.py"):
        (tmp_path / name).write_text(WRONG)
    return tmp_path


def vanish(file: Path) -> str:
    file.unlink()
    return "No such file or directory"


def turn_into_a_folder(file: Path) -> str:
    file.unlink()
    file.mkdir()
    return "s a directory|not a regular file"


def turn_into_a_pipe(file: Path) -> str:
    file.unlink()
    os.mkfifo(file)
    return "not a regular file"


def turn_into_a_device(file: Path) -> str:
    file.unlink()
    file.symlink_to("/dev/zero")
    return "not a regular file"


def turn_into_a_loop(file: Path) -> str:
    file.unlink()
    file.symlink_to(file)
    return "Too many levels|symbolic"


def turn_into_memory(file: Path) -> str:
    """Regular by its kind, and still nobody can read it from its beginning."""
    file.unlink()
    file.symlink_to("/proc/self/mem")
    return "Input/output error|Permission denied"


CHANGES: tuple[Callable[[Path], str], ...] = (
    vanish,
    turn_into_a_folder,
    turn_into_a_pipe,
    turn_into_a_device,
    turn_into_a_loop,
    turn_into_memory,
)


@POSIX
@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_changes_after_it_was_found(
    project: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], str], cache: bool
) -> None:
    expected: list[str] = []
    actual = engine.start_run

    def find_then_change(*arguments: Any) -> Any:
        start = actual(*arguments)
        expected.append(change(project / "victim.py"))
        return start

    monkeypatch.setattr(engine, "start_run", find_then_change)
    settings = Settings(base=project, cache=cache, jobs=1)
    result = bnlint.lint_paths(project, settings=settings)
    found = {(f.code, Path(f.place.path).name) for f in result.findings if f.place is not None}
    assert found == {("BNL401", "good.py")}
    (error,) = result.errors
    assert error.path == (project / "victim.py").as_posix()
    assert any(words in error.message for words in expected[0].split("|")), error
    assert not result.crashes


@POSIX
def test_a_folder_that_vanishes_or_is_closed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "inner").mkdir()
    (project / "inner" / "hidden.py").write_text(WRONG)
    actual = discovering.os.scandir

    def closed(path: str) -> Any:
        if path.endswith("inner"):
            raise PermissionError(13, "Permission denied")
        return actual(path)

    monkeypatch.setattr(discovering.os, "scandir", closed)
    done = CliRunner().invoke(main, ["lint", "--no-cache", str(project)])
    assert done.exit_code == 2
    assert "inner: cannot be read: Permission denied" in done.output.replace("\n", " ")
    assert done.output.count("BNL401") == 2


@POSIX
def test_what_is_named_and_is_no_file(project: Path) -> None:
    (project / "dangling.py").symlink_to(project / "gone.py")
    (project / "memory.py").symlink_to("/proc/self/mem")
    os.mkfifo(project / "pipe.py")
    for name, words in (
        ("dangling.py", "no such file or folder"),
        ("memory.py", "cannot be read"),
        ("pipe.py", "not a regular file"),
    ):
        done = CliRunner().invoke(main, ["lint", "--no-cache", str(project / name)])
        assert done.exit_code == 2
        assert words in " ".join(done.output.split())
        assert "Traceback" not in done.output
    done = CliRunner().invoke(main, ["lint", "--no-cache", str(project)])
    assert done.exit_code == 1  # below a folder none of them is looked at
    assert done.output.count("BNL401") == 2
