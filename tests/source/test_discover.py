"""Which files a run takes, and where its project begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bnlint.settings import Settings, SettingsError, parse_settings
from bnlint.source.discover import MissingPathError, admission, discover, find_root


@pytest.fixture
def tree(tmp_path: Path):
    def make(*names: str) -> Path:
        for name in names:
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return tmp_path

    return make


def found(root: Path, *paths: str, **settings: object) -> list[str]:
    asked = [root / path for path in paths] or [root]
    result = discover(asked, Settings(**settings), root)
    return [os.path.relpath(file, root) for file in result.files]


def test_python_files_and_notebooks_are_taken(tree) -> None:
    root = tree("a.py", "b/c.ipynb", "b/d.txt", "e.pyi", "b/.hidden.py")
    assert found(root) == ["a.py", "b/.hidden.py", "b/c.ipynb"]


def test_usual_folders_are_left_out_unless_named(tree) -> None:
    root = tree(".venv/a.py", "node_modules/b.py", "build/c.py", "x/__pycache__/d.py")
    assert found(root) == ["build/c.py"]
    assert found(root, ".venv") == [".venv/a.py"]


def test_gitignore_files_are_honoured_nested_and_with_exceptions(tree) -> None:
    root = tree("a.py", "out/b.py", "x/gen_1.py", "x/gen_2.py", "x/y/gen_1.py", "x/keep.py")
    (root / ".gitignore").write_text("/out/\ngen_*.py\n")
    (root / "x/.gitignore").write_text("!gen_1.py\nkeep.py\n")
    assert found(root) == ["a.py", "x/gen_1.py", "x/y/gen_1.py"]


def test_gitignore_files_above_the_start_are_honoured_up_to_the_repository(tree) -> None:
    root = tree("repo/.git/info/exclude", "repo/p/a.py", "repo/p/b.py", "repo/p/c.py")
    (root / ".gitignore").write_text("a.py\n")
    (root / "repo/.gitignore").write_text("b.py\n")
    (root / "repo/.git/info/exclude").write_text("c.py\n")
    assert found(root, "repo/p") == ["repo/p/a.py"]


def test_an_ignored_folder_that_is_named_is_walked(tree) -> None:
    root = tree(".git/HEAD", "out/a.py")
    (root / ".gitignore").write_text("out/\n")
    assert found(root) == []
    assert found(root, "out") == ["out/a.py"]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("tests", ["a.py", "src/b.py"]),
        ("src/*.py", ["a.py", "tests/c.py", "tests/src/d.py"]),
        ("*.py", []),
        ("/tests/", ["a.py", "src/b.py"]),
        ("**/src", ["a.py", "tests/c.py"]),
    ],
)
def test_exclude_patterns_are_those_of_gitignore(tree, pattern: str, left: list[str]) -> None:
    root = tree("a.py", "src/b.py", "tests/c.py", "tests/src/d.py")
    assert found(root, extend_exclude=(pattern,)) == left


def test_a_named_file_is_taken_whatever_patterns_say_unless_forced(tree) -> None:
    root = tree("tests/c.py", "script")
    assert found(root, "tests/c.py", "script", extend_exclude=("tests",)) == [
        "script",
        "tests/c.py",
    ]
    forced = found(root, "tests/c.py", "tests", extend_exclude=("tests",), force_exclude=True)
    assert forced == []


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match="no_such"):
        discover([tmp_path / "no_such.py"], Settings(), tmp_path)


def test_links_are_not_followed(tree, tmp_path_factory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.py").touch()
    root = tree("p/a.py")
    (root / "p/loop").symlink_to(root)
    (root / "p/out").symlink_to(outside)
    (root / "p/secret.py").symlink_to(outside / "secret.py")
    assert found(root) == ["p/a.py"]
    assert [os.path.basename(f) for f in discover([root / "p/secret.py"], Settings(), root).files]


def test_what_may_be_opened_on_demand(tree, tmp_path_factory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "b.py"
    outside.touch()
    root = tree("p/a.py", "p/ignored.py")
    (root / "link.py").symlink_to(root / "p/a.py")
    (root / "out.py").symlink_to(outside)
    admit = admission([f"{root}/p/a.py"], root)
    assert admit(f"{root}/p/a.py") == f"{root}/p/a.py"
    assert admit(f"{root}/link.py") == f"{root}/p/a.py"
    for refused in ("p/ignored.py", "out.py", "missing.py"):
        assert admit(f"{root}/{refused}") is None
    wide = admission(None, root)
    assert wide(f"{root}/p/ignored.py") == f"{root}/p/ignored.py"
    assert wide(f"{root}/out.py") is None


def test_the_root_is_the_nearest_marker_above_all_paths(tree) -> None:
    root = tree("pyproject.toml", "a/setup.py", "a/b/c.py", "a/d.py", "e/f.py")
    assert find_root([root / "a/b/c.py", root / "a/d.py"]) == root / "a"
    assert find_root([root / "a/b/c.py", root / "e/f.py"]) == root


def test_home_is_never_a_project(tree, monkeypatch) -> None:
    root = tree("pyproject.toml", "a/b.py", "c/d.py")
    monkeypatch.setattr(Path, "home", lambda: root)
    assert find_root([root / "a/b.py"]) == root / "a"
    assert find_root([root / "a/b.py", root / "c/d.py"]) == root


@pytest.mark.parametrize("pattern", ["[z-a]", "[(a-8c]", "!", "a\\", "\\"])
def test_a_pattern_that_means_nothing_does_not_take_the_others_with_it(
    tree, pattern: str, recwarn
) -> None:
    root = tree("a.py", "plain.py")
    (root / ".gitignore").write_text(f"[[a]\n{pattern}\nplain.py\n")
    assert found(root) == ["a.py"]
    assert not recwarn.list
    with pytest.raises(SettingsError, match="exclude"):
        found(root, exclude=(pattern,))
    with pytest.raises(SettingsError, match="per-file-ignores"):
        parse_settings({"per-file-ignores": {pattern: ["ALL"]}}, root / "pyproject.toml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
@pytest.mark.parametrize("what", ["pipe", "link", "folder", "device"])
def test_a_gitignore_that_is_no_file_is_not_read(tree, what: str) -> None:
    root = tree("src/a.py", "b.py")
    file = root / "src" / ".gitignore"
    match what:
        case "pipe":
            os.mkfifo(file)
        case "link":
            (root / "patterns").write_text("*.py\n")
            file.symlink_to(root / "patterns")
        case "folder":
            file.mkdir()
        case "device":
            file.symlink_to("/dev/zero")
    assert found(root) == ["b.py", "src/a.py"]
