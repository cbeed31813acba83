"""Both halves draw the same picture: generated modules, read as text and run on a batch.

`BNLINT_NIGHTLY=1` compares ten times as many; `BNLINT_SEED=17` compares one and prints its text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from comparing import Tally, compare
from files import write
from generated import generate
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


def compared(seed: int, folder: Path) -> Tally:
    """What both halves say of one generated project."""
    project = generate(seed)
    root = folder / f"seed{seed}"
    write(project.texts, root)
    found = compare(run(root), read(root, project.texts), is_open=project.is_open)
    found.unknown = [f"seed {seed}: {said}" for said in found.unknown]
    found.wrong = [f"seed {seed}: {said}" for said in found.wrong]
    return found


@pytest.fixture(scope="module")
def tally(tmp_path_factory: pytest.TempPathFactory) -> Tally:
    folder = tmp_path_factory.mktemp("modules")
    total = Tally()
    for seed in SEEDS:
        total.add(compared(seed, folder))
    print(
        f"{total.modules} modules, {total.calls} BatchNorm calls, {len(total.wrong)} wrong, "
        f"{len(total.unknown)} unknown"
    )
    return total


def listing(said: list[str]) -> str:
    """What was said, and the texts of the first projects that it was said of."""
    seeds = list(dict.fromkeys(int(line.split()[1].rstrip(":")) for line in said))
    return "\n".join([*said[:50], *(str(generate(seed)) for seed in seeds[:LISTINGS])])


def test_the_text_says_nothing_that_the_run_denies(tally: Tally) -> None:
    assert tally.calls > 5 * tally.modules
    assert not tally.wrong, listing(tally.wrong)


def test_the_text_says_nearly_all_that_the_run_shows(tally: Tally) -> None:
    assert len(tally.unknown) <= MOST_UNKNOWN * tally.calls, listing(tally.unknown)
