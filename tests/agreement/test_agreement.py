"""Both halves draw the same picture: generated modules, read as text and run on a batch.

`BNLINT_NIGHTLY=1` compares ten times as many; `BNLINT_SEED="17 23"` compares these only.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import idioms
import parts
import pytest
import torch
from comparing import Tally, compare
from files import write
from generated import Generated, alone, generate
from running import read, run

MODULES = 2000 if os.environ.get("BNLINT_NIGHTLY") == "1" else 200
SEEDS = [int(seed) for seed in os.environ.get("BNLINT_SEED", "").split()] or range(MODULES)
MOST_UNKNOWN = 0.03
LISTINGS = 3
"""Projects of which the whole text is shown when they fail."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def compared(project: Generated, folder: Path) -> Tally:
    """What both halves say of one generated project."""
    root = folder / project.name
    write(project.texts, root)
    try:
        seen = run(root)
    except Exception:
        pytest.fail(f"{project.name} does not run:\n{traceback.format_exc()}\n{project}")
    found = compare(seen, read(root, project.texts), is_open=project.is_open)
    found.unknown = [f"{project.name}: {said}" for said in found.unknown]
    found.wrong = [f"{project.name}: {said}" for said in found.wrong]
    return found


@pytest.fixture(scope="module")
def tally(tmp_path_factory: pytest.TempPathFactory) -> Tally:
    folder = tmp_path_factory.mktemp("modules")
    total = Tally()
    begin = time.process_time()
    for seed in SEEDS:
        total.add(compared(generate(seed), folder))
    print(f"{total} in {time.process_time() - begin:.0f} s")
    return total


def listing(said: list[str]) -> str:
    """What was said, and the texts of the first projects that it was said of."""
    seeds = list(dict.fromkeys(line.partition(":")[0].removeprefix("seed") for line in said))
    return "\n".join([*said[:50], *(str(generate(int(seed))) for seed in seeds[:LISTINGS])])


def test_the_text_says_nothing_that_the_run_denies(tally: Tally) -> None:
    assert tally.calls > 5 * tally.modules
    assert not tally.wrong, listing(tally.wrong)


def test_the_text_says_nearly_all_that_the_run_shows(tally: Tally) -> None:
    assert len(tally.unknown) <= MOST_UNKNOWN * tally.calls, listing(tally.unknown)


@pytest.mark.parametrize("idiom", [*idioms.CLOSED, *idioms.OPEN], ids=lambda idiom: idiom.__name__)
def test_an_idiom_alone(idiom: idioms.Idiom, tmp_path: Path) -> None:
    for seed in range(2):
        project = alone(seed, idiom, is_open=idiom in idioms.OPEN)
        found = compared(project, tmp_path)
        assert found.calls > 1, project
        assert not found.wrong + found.unknown, f"{found.wrong + found.unknown}\n{project}"


@pytest.mark.parametrize("use", parts.USES)
def test_a_part_alone(use: str, tmp_path: Path) -> None:
    project = alone(0, lambda writer: writer.forward(f"x = {writer.attach(use)}(x)"))
    found = compared(project, tmp_path)
    assert not found.wrong + found.unknown, f"{found.wrong + found.unknown}\n{project}"


SAID = {
    "fed by": ("nn.Conv2d(4, 4, 1)", "nn.ReLU()"),
    "read by": ("nn.Tanh()", "nn.Dropout()"),
    "parameters": ("nn.BatchNorm2d(4)", "nn.BatchNorm2d(4, eps=1e-2)"),
    "scope": ("nn.Sequential(nn.S", "Own(nn.S"),
    "not drawn": ("self.f(x)", "x"),
    "name": ("nn.BatchNorm2d(4)", "nn.SyncBatchNorm(4)"),
}


@pytest.mark.parametrize("said", SAID)
def test_the_comparison_tells_pictures_apart(said: str, tmp_path: Path) -> None:
    text = """\
from torch import nn


class Own(nn.Sequential):
    pass


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Tanh()))

    def forward(self, x):
        return self.f(x)
"""
    write({"pkg/net.py": text}, tmp_path)
    old, new = SAID[said]
    changed = text.replace(old, new)
    assert changed != text
    found = compare(run(tmp_path), read(tmp_path, {"pkg/net.py": changed}), is_open=False)
    assert found.calls == 1
    assert any(said in line for line in found.wrong + found.unknown), found
