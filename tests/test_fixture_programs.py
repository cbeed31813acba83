"""Whole programs among the fixtures run as they are, every model of theirs under a watch.

What is changed of a program is only how long it runs, and where its data comes from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

import bnlint
from bnlint.finding import Finding

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from bnlint.live.watch import WATCHED, Watch  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::bnlint.live.errors.BatchNormWarning")

FOLDER = Path(__file__).parents[1] / "fixtures" / "bnl101-inference-without-eval"
SHORTER: Mapping[str, Mapping[str, str]] = {
    "bad_mode_by_mistake.py": {"epochs=25": "epochs=2", "512": "64"},
    "bad_predict.py": {},
    "bad_two_networks.py": {"range(1, 201)": "range(1, 4)"},
    "bad_validation.py": {"range(1, 15)": "range(1, 3)", "digits(6000)": "digits(256)"},
    "bad_validation.ipynb": {"range(20)": "range(2)"},
    "good_forms.py": {"range(5)": "range(2)", "2048": "256"},
    "good_gan_samples.py": {"range(20)": "range(2)", "6400": "256"},
    "good_predict.py": {},
    "good_smoke.py": {},
    "good_validation.py": {"range(1, 15)": "range(1, 3)", "digits(6000)": "digits(256)"},
}
BEYOND_A_WATCH = {"good_gan_samples.py": {45}, "good_smoke.py": {30}}
"""Lines of which a watch cannot know what the text shows: that the input is noise or zeros."""

BY_LOADING = {"bad_segmentation.ipynb", "good_segmentation.ipynb"}
"""There the forward is inference because weights were loaded before it: a watch cannot know."""

CALL = """
def call(module, *args, **kwargs):
    before_call(module)
    return plain_call(module, *args, **kwargs)
"""


@pytest.fixture
def watches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Watch]]:
    """A watch over every model from its first call on."""
    started: list[Watch] = []
    watched: set[int] = set()

    def before_call(module: nn.Module) -> None:
        if id(module) not in watched:
            watched.update(id(part) for part in module.modules())
            started.append(bnlint.watch(module).start())

    # Code without a file, as of torch or of the user: no frame of it counts as the caller.
    names: dict[str, Any] = {"before_call": before_call, "plain_call": nn.Module.__call__}
    exec(compile(CALL, "<a test>", "exec"), names)
    monkeypatch.setattr(nn.Module, "__call__", names["call"])
    yield started
    for watch in started:
        watch.stop()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files and arguments that the programs ask for."""
    numpy = pytest.importorskip("numpy")
    numpy.save(tmp_path / "image.npy", numpy.random.default_rng(0).random((3, 32, 32)))
    edges = torch.randint(40, (2, 20))
    graph = {"x": torch.rand(40, 8), "adj": torch.eye(40), "train": edges, "valid": edges}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["program", "--input", "image.npy"])
    monkeypatch.setattr(torch, "load", lambda *_, **__: graph)
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.syspath_prepend(str(FOLDER))
    torch.manual_seed(0)


def code_of(name: str) -> list[CodeType]:
    """The program, or the cells of the notebook, each as a file of its own."""
    path = FOLDER / name
    text = path.read_text(encoding="utf-8")
    cells = {str(path): text}
    if path.suffix == ".ipynb":
        sources = ("".join(cell["source"]) for cell in json.loads(text)["cells"])
        cells = {f"{path}:{number}": source for number, source in enumerate(sources)}
    for long, short in SHORTER[name].items():
        assert sum(source.count(long) for source in cells.values()) >= 1
        cells = {file: source.replace(long, short) for file, source in cells.items()}
    return [compile(source, file, "exec") for file, source in cells.items()]


def marks(findings: list[Finding]) -> set[tuple[str, int, str]]:
    """Cell, line and code of what a watch can judge."""
    found = set()
    for finding in findings:
        assert finding.place is not None
        path, place = Path(finding.place.path), finding.place
        cell = str(place.cell) if place.cell is not None else path.suffix.partition(":")[2]
        if finding.code in WATCHED:
            found.add((cell, place.line, finding.code))
    return found


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("name", SHORTER)
def test_a_program_that_is_watched_says_what_its_text_says(name: str, watches: list[Watch]) -> None:
    linted = bnlint.lint_paths([FOLDER]).findings
    from_source = [f for f in linted if f.place is not None and f.place.path.endswith(name)]
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(FOLDER / name)}
    for code in code_of(name):
        exec(code, names)
    from_run = [finding for watch in watches for finding in watch.findings]
    beyond = {("", line, "BNL101") for line in BEYOND_A_WATCH.get(name, ())}
    assert watches
    assert marks(from_run) - beyond == marks(from_source), from_run
    assert beyond <= marks(from_run)
    assert bool(from_source) is name.startswith("bad")


def test_no_program_is_left_out() -> None:
    programs = {path.name for path in FOLDER.iterdir() if path.name.startswith(("bad", "good"))}
    assert programs == SHORTER.keys() | BY_LOADING
