"""Files in which the code has only moved are not linked again, and are told from all others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as h_settings
from hypothesis import strategies as st

import bnlint.source.engine as engine
import bnlint.source.verdicts as verdicts
from bnlint.settings import Settings
from bnlint.source.cache import contents
from bnlint.source.cache.moved import moves
from bnlint.source.cache.unseen import CodeChangedError
from bnlint.source.reader import read_text
from bnlint.source.result import LintResult

MODEL = '''"""A model."""

import torch.nn as nn


class Net(nn.Module):
    """One block."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.BatchNorm2d(width))
        self.norm = nn.BatchNorm2d(
            8,
            momentum=0.99,
        )

    def forward(self, x):
        return self.norm(self.layers(x))
'''
SCRIPT = """import torch
from model import Net

net = Net()
net.load_state_dict(torch.load("w.pt"))
with torch.no_grad():
    print(net(torch.load("x.pt")).argmax(1))
"""
OTHER = "import torch.nn as nn\n\nnorm = nn.BatchNorm2d(64, eps=10.0)\n"
FILES = {"model.py": MODEL, "infer.py": SCRIPT, "other.py": OTHER}
LAYOUTS: dict[str, Callable[[str], str]] = {
    "a comment above": lambda text: f"# new\n{text}",
    "a comment at the end": lambda text: f"{text}# end\n",
    "blank lines": lambda text: text.replace("\n\n", "\n\n\n\n"),
    "spaces": lambda text: text.replace(" = ", "   =  "),
    "a docstring": lambda text: text.replace("One block.", "A block\n    of layers."),
    "comments on lines": lambda text: text.replace(")\n", ")  # so\n"),
    "a suppression": lambda text: text.replace("momentum=0.99,", "momentum=0.99,  # noqa: BNL401"),
}
CODES: dict[str, Callable[[str], str]] = {
    "a number": lambda text: text.replace("0.99", "0.01").replace("10.0", "1e-5"),
    "its type": lambda text: text.replace("eps=10.0", "eps=10"),
    "a name": lambda text: text.replace("Net", "Model"),
    "a call": lambda text: text.replace("net = Net()", "net = Net().eval()"),
    "an order": lambda text: text.replace("nn.ReLU(), nn.BatchNorm2d(width)", "nn.ReLU()"),
    "an annotation": lambda text: text.replace("width: int", "width: float"),
    "a line broken": lambda text: text.replace("nn.ReLU(), ", "nn.ReLU(),\n            "),
    "a line joined": lambda text: text.replace("net = Net()\n", "net = Net(); "),
    "a statement": lambda text: f"{text}CHANGED = 1\n",
    "no Python": lambda text: f"{text}def (\n",
}


@pytest.fixture(autouse=True, scope="module")
def settled() -> Iterator[None]:
    """Let a file's times count from the moment on in which it was written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "_SETTLED", -1)
        yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return begin(tmp_path)


def begin(root: Path) -> Path:
    (root / "pyproject.toml").write_text("")
    for name, text in FILES.items():
        write(root / name, text)
    return root


def write(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, (1_600_000_000, 1_600_000_000))


def lint(root: Path, *names: str, **settings: Any) -> LintResult:
    chosen = replace(Settings(base=root, root=root, cache=True, jobs=1), **settings)
    return engine.lint_paths([root / name for name in names] or root, settings=chosen)


def fresh(root: Path, *names: str, **settings: Any) -> LintResult:
    return lint(root, *names, cache=False, **settings)


@pytest.fixture
def unlinked(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the project was linked")

    def forbid() -> None:
        monkeypatch.setattr(verdicts, "verdicts_of", refuse)
        monkeypatch.setattr(engine, "verdicts_of", refuse)

    return forbid


@pytest.mark.parametrize("names", [(), ("model.py",), ("infer.py",), ("other.py", "model.py")])
@pytest.mark.parametrize("change", LAYOUTS)
def test_code_that_has_moved_is_not_linked_again(
    project: Path, change: str, names: tuple[str, ...], unlinked: Callable[[], None]
) -> None:
    lint(project)
    for name, text in FILES.items():
        write(project / name, LAYOUTS[change](text))
    expected = fresh(project, *names)
    assert expected.findings
    unlinked()
    assert lint(project, *names) == expected
    assert lint(project, *names) == expected


@pytest.mark.parametrize("change", CODES)
def test_code_that_has_changed_is_linked_again(project: Path, change: str) -> None:
    lint(project)
    texts = {name: CODES[change](text) for name, text in FILES.items()}
    assert texts != FILES
    for name, text in texts.items():
        write(project / name, text)
    assert lint(project) == fresh(project)
    for name in FILES:
        assert lint(project, name) == fresh(project, name)


@pytest.mark.parametrize("change", CODES)
def test_changed_code_is_told_from_moved_code(change: str) -> None:
    changed = {name: CODES[change](text) for name, text in FILES.items()}
    for name in (name for name, text in FILES.items() if changed[name] != text):
        old, new = read_text(name, FILES[name]), read_text(name, changed[name])
        with pytest.raises(CodeChangedError):
            moves(old, new)


def test_a_run_over_everything_serves_runs_over_parts(
    project: Path, unlinked: Callable[[], None]
) -> None:
    lint(project)
    expected = {name: fresh(project, name) for name in FILES}
    unlinked()
    for name, result in expected.items():
        assert lint(project, name) == result
        assert lint(project, name, select=("BNL2",)).files == result.files


def test_what_a_run_over_everything_has_not_read_is_read(project: Path) -> None:
    write(project / "words.py", "print('no model here')\n")
    lint(project)
    write(project / "words.py", "def (\n")
    found = lint(project, "words.py")
    assert [f.code for f in found.findings] == ["BNL901"]
    assert found == fresh(project, "words.py")


def test_many_given_files_have_one_run_in_whatever_order(project: Path) -> None:
    names = tuple(FILES)
    expected = lint(project, *names)
    assert lint(project, *reversed(names)).findings == expected.findings


STEPS = st.lists(
    st.tuples(
        st.sampled_from(sorted(FILES)),
        st.sampled_from(sorted({**LAYOUTS, **CODES})),
        st.sampled_from([(), ("model.py",), ("infer.py",)]),
    ),
    min_size=1,
    max_size=5,
)


@h_settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_any_row_of_changes_finds_what_a_first_run_finds(steps: Any) -> None:
    changes = {**LAYOUTS, **CODES}
    with tempfile.TemporaryDirectory() as name:
        root = begin(Path(name).resolve())
        lint(root)
        for file, change, names in steps:
            write(root / file, changes[change]((root / file).read_text()))
            assert lint(root, *names) == fresh(root, *names)
