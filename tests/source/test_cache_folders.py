"""The cache and folders: made, removed, emptied, excluded, linked, a warm run finds what a cold one
finds, also in folders that discovery does not enter."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as h_settings
from hypothesis import strategies as st
from test_cache import BATCHNORM, MODEL, SCRIPT

from bnlint.settings import Settings
from bnlint.source.cache import contents
from bnlint.source.engine import lint_paths
from bnlint.source.result import LintResult

ADDS = "import sys\n\nsys.path.insert(0, 'lib')\nsys.path.insert(0, 'lib/deep')\n"
FOLDERS = ("lib", "lib/torch", "lib/deep", "lib/deep/torch", "model", "pkg/model", "torch")
FILES = ("lib/deep/model.py", "lib/model.py", "pkg/model/__init__.py", "pkg/net.py", "lib/x.txt")
EXCLUDED = ((), ("lib",), ("lib/deep",), ("deep", "pkg"), ("model",))
IGNORED = ("", "lib/\n", "deep\n", "lib/*\n!lib/deep\n")


@pytest.fixture(autouse=True, scope="module")
def settled() -> Iterator[None]:
    """Let a file's times count from the moment on in which it was written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "_SETTLED", -1)
        yield


def lint(root: Path, exclude: tuple[str, ...], *, cache: bool) -> LintResult:
    settings = Settings(base=root, cache=cache, jobs=1, select=("ALL",))
    return lint_paths(root, settings=replace(settings, extend_exclude=exclude))


def make_project(root: Path) -> None:
    (root / "pyproject.toml").write_text("")
    (root / "infer.py").write_text(ADDS + SCRIPT)
    (root / "model.py").write_text(MODEL)
    (root / "pkg").mkdir()
    (root / "pkg" / "use.py").write_text("import deep.torch\nimport lib.deep.torch\n" + SCRIPT)


def change(root: Path, what: str, name: str) -> None:
    """Make or remove a folder, a file or a link; what is impossible changes nothing."""
    path = root / name
    match what:
        case "remove" if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        case "remove":
            path.unlink(missing_ok=True)
        case "make" if name in FILES:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(MODEL if "model" in name else BATCHNORM)
        case "make":
            path.mkdir(parents=True, exist_ok=True)
        case "link" if not path.exists() and path.parent.is_dir():
            path.symlink_to(root / "pkg")


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["make", "make", "remove", "link"]),
        st.sampled_from(FOLDERS + FILES),
        st.sampled_from(EXCLUDED),
        st.sampled_from(IGNORED),
    ),
    min_size=1,
    max_size=6,
)


@h_settings(max_examples=100, deadline=None)
@given(changes=CHANGES)
def test_whatever_becomes_of_folders_a_warm_run_finds_what_a_cold_one_finds(
    changes: list[tuple[str, str, tuple[str, ...], str]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_project(root)
        (root / ".git").mkdir()
        for what, path, exclude, ignore in changes:
            lint(root, exclude, cache=True)
            with suppress(OSError):  # a folder where a file is to be made
                change(root, what, path)
            (root / ".gitignore").write_text(ignore)
            assert lint(root, exclude, cache=True) == lint(root, exclude, cache=False)


@pytest.mark.parametrize("exclude", [("lib",), ("deep",), ()])
def test_a_folder_below_an_excluded_one_comes_and_goes(
    tmp_path: Path, exclude: tuple[str, ...]
) -> None:
    make_project(tmp_path)
    (tmp_path / "lib" / "deep").mkdir(parents=True)
    shadow = tmp_path / "lib" / "deep" / "torch"
    for _ in range(2):
        assert lint(tmp_path, exclude, cache=True) == lint(tmp_path, exclude, cache=False)
        shadow.mkdir()
        assert lint(tmp_path, exclude, cache=True) == lint(tmp_path, exclude, cache=False)
        shadow.rmdir()
