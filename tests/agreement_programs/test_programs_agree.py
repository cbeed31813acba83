"""Both halves say the same: generated programs, read as text and run under `bnlint.watch`.

`BNLINT_NIGHTLY=1` compares ten times as many; `BNLINT_SEED="17 23"` compares these only.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from executing import execute
from generated_programs import Program, generate
from judging import EXEMPT, Tally, compare, read
from program_files import write_program

PROGRAMS = 2000 if os.environ.get("BNLINT_NIGHTLY") == "1" else 200
SEEDS = [int(seed) for seed in os.environ.get("BNLINT_SEED", "").split()] or range(PROGRAMS)
MOST_UNKNOWN = 0.05
LISTINGS = 3
"""Programs of which the whole text is shown when they fail."""


def compared(program: Program, folder: Path) -> Tally:
    """What both halves say of one program."""
    root = folder / program.name
    write_program(program.texts, root)
    try:
        seen = execute(root, program.script)
    except Exception:
        pytest.fail(f"{program.name} does not run:\n{traceback.format_exc()}\n{program}")
    return compare(program.name, seen, read(root, program.texts))


@pytest.fixture(scope="module")
def tally(tmp_path_factory: pytest.TempPathFactory) -> Tally:
    folder = tmp_path_factory.mktemp("programs")
    total = Tally()
    begin = time.process_time()
    for seed in SEEDS:
        total.add(compared(generate(seed), folder))
    print(f"{total} in {time.process_time() - begin:.0f} s")
    return total


def listing(said: list[str]) -> str:
    """What was said, how to see it again, and the texts of the first programs."""
    seeds = list(dict.fromkeys(line.partition(":")[0].removeprefix("seed") for line in said))
    again = f'BNLINT_SEED="{" ".join(seeds)}" pytest {Path(__file__).name}'
    texts = (str(generate(int(seed))) for seed in seeds[:LISTINGS])
    return "\n".join([*said[:50], again, *texts])


def test_text_and_run_accuse_the_same_lines(tally: Tally) -> None:
    assert not tally.wrong, listing(tally.wrong)


@pytest.mark.skipif("BNLINT_SEED" in os.environ, reason="single programs need not show anything")
def test_the_programs_show_mistakes_and_are_right(tally: Tally) -> None:
    assert tally.forwards > 10 * tally.programs
    assert 0.2 * tally.programs < tally.found < tally.programs


def test_the_text_knows_the_mode_of_nearly_all_forwards(tally: Tally) -> None:
    assert len(tally.unknown) <= MOST_UNKNOWN * tally.forwards, listing(tally.unknown)


def test_exemptions_are_few(tally: Tally) -> None:
    assert tally.exempt.keys() <= EXEMPT.keys()
    assert sum(map(len, tally.exempt.values())) <= 0.1 * max(10, tally.programs), tally.exempt


RIGHT = """\
import torch
import torch.nn.functional as F
from torch import nn

model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
train, valid = torch.load("train.pt"), torch.load("valid.pt")
for epoch in range(3):
    model.train()
    for x, y in zip(train["x"].split(4), train["y"].split(4)):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print((model(valid["x"]).argmax(1) == valid["y"]).sum())
"""
CHANGES: dict[str, tuple[Callable[[str], str], str]] = {
    "the text sets no evaluation mode": (
        lambda text: text.replace("    model.eval()\n", "    pass\n"),
        "BNL101 in only the text",
    ),
    "the text sets training mode once": (
        lambda text: text.replace("    model.train()\n", "    pass\n"),
        "BNL103 in only the text",
    ),
    "the text has no such forward": (
        lambda text: text.replace("model(valid", "abs(valid"),
        "not in the trace",
    ),
    "the text records gradients": (
        lambda text: text.replace("with torch.no_grad():", "if True:"),
        "runs",
    ),
}


def test_what_is_right_is_right_in_both(tmp_path: Path) -> None:
    found = compared(Program("right", {"run.py": RIGHT}, "run.py"), tmp_path)
    assert found.forwards == 18
    assert not found.wrong + found.unknown


@pytest.mark.parametrize("name", CHANGES)
def test_the_comparison_tells_texts_apart(name: str, tmp_path: Path) -> None:
    change, said = CHANGES[name]
    write_program({"run.py": RIGHT}, tmp_path)
    changed = change(RIGHT)
    assert changed != RIGHT
    found = compare(name, execute(tmp_path, "run.py"), read(tmp_path, {"run.py": changed}))
    assert any(said in line for line in found.wrong + found.unknown), found
    back = compare(name, execute(tmp_path, "run.py"), read(tmp_path, {"run.py": RIGHT}))
    assert not back.wrong + back.unknown


def test_a_run_that_errs_where_the_text_does_not(tmp_path: Path) -> None:
    wrong = RIGHT.replace("    model.eval()\n", "    pass\n")
    write_program({"run.py": wrong}, tmp_path)
    found = compare("wrong", execute(tmp_path, "run.py"), read(tmp_path, {"run.py": RIGHT}))
    assert any("BNL101 in only the run" in line for line in found.wrong)
