"""Loops whose rounds are numbered by constants: in which mode they leave a model behind.

Each program is run, too: what the text says must be what the run shows.
"""

from __future__ import annotations

from typing import Any

import pytest

import bnlint
from bnlint.settings import Settings

torch = pytest.importorskip("torch")

PROGRAM = """\
import torch
import torch.nn.functional as F
from torch import nn


def fit(net, optimizer, data):
{start}
    {head}
        net.train()
        F.cross_entropy(net(data), torch.zeros(4, dtype=torch.long)).backward()
        optimizer.step()
{rest}


net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
data = torch.tensor([[float(i + j) for j in range(4)] for i in range(4)])
fit(net, torch.optim.SGD(net.parameters(), 0.1), data)
with torch.no_grad():
    print(net(data).argmax(1))
"""
VALIDATES = """\
        if {test}:
            net.eval()
            with torch.no_grad():
                print(net(data).argmax(1))
"""
ENDS = "        if step {test}:\n            break\n"
STEP = "        step += {by}\n"
STEP1 = STEP.format(by=1)
WHILE = {
    "counted before": ("while True:", [STEP, VALIDATES, ENDS], 0),
    "counted behind": ("while True:", [VALIDATES, ENDS, STEP], 0),
    "counted between": ("while 1:", [VALIDATES, STEP, ENDS], 0),
    "left at the top": ("while True:", [ENDS, VALIDATES, STEP], 1),
    "by its own test": ("while step {test}:", [STEP, VALIDATES], 0),
    "by its own test, counted last": ("while step {test}:", [VALIDATES, STEP], 2),
}
LEAVING = [">= 8", "> 8", "== 8"]
STAYING = ["< 8", "<= 8", "!= 8"]


def program(form: str, test: str, modulo: int, by: int = 1) -> str:
    head, parts, start = WHILE[form]
    rest = "".join(
        part.format(test=f"step % {modulo} == 0" if part is VALIDATES else test, by=by)
        for part in parts
    )
    return PROGRAM.format(start=f"    step = {start}", head=head.format(test=test), rest=rest)


def is_training(text: str) -> bool:
    """Whether the model is in training mode when the program has run."""
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "program.py", "exec"), names)
    return bool(names["net"].training)


def lint(text: str) -> list[tuple[str, int]]:
    found = bnlint.lint_source(text, settings=Settings(select=("BNL101", "BNL103"))).findings
    return [(f.code, f.place.line) for f in found if f.place is not None]


def check(text: str) -> None:
    """The finding is at the last forward, or there is none."""
    expected = [("BNL101", text.count("\n"))] if is_training(text) else []
    assert lint(text) == expected


@pytest.mark.parametrize("modulo", [1, 2, 3, 4, 7, 8, 9])
@pytest.mark.parametrize("form", WHILE)
def test_the_last_round_of_a_while_loop(form: str, modulo: int) -> None:
    for test in STAYING if form.startswith("by its own") else LEAVING:
        check(program(form, test, modulo))


@pytest.mark.parametrize("by", [2, 4])
def test_steps_of_another_size(by: int) -> None:
    for form in WHILE:
        if WHILE[form][2] % by == 0:
            check(program(form, "< 8" if form.startswith("by its own") else ">= 8", 8, by))


@pytest.mark.parametrize("numbers", ["10", "1, 10", "1, 11", "0, 10, 3", "10, 0, -1", "2, 3"])
@pytest.mark.parametrize("modulo", [1, 2, 3, 5])
def test_the_last_round_of_a_range(numbers: str, modulo: int) -> None:
    rest = VALIDATES.format(test=f"epoch % {modulo} == 0")
    head = f"for epoch in range({numbers}):"
    check(PROGRAM.format(start="    pass", head=head, rest=rest))


@pytest.mark.parametrize(
    "change",
    [
        ("step = 0", "step = len(data)"),
        ("step = 0", "step = int(input())"),
        (STEP1, "        step += len(data)\n"),
        (STEP1, STEP1 + "        if step == 3:\n            step = 5\n"),
        (STEP1, "        if data.sum() > 0:\n            step += 1\n"),
        (STEP1, STEP1 + "        if data is None:\n            break\n"),
        (STEP1, "        if data is None:\n            continue\n" + STEP1),
        (">= 8", ">= len(data)"),
        (">= 8", ">= 8 and data.sum() > 0"),
    ],
)  # fmt: skip
def test_rounds_without_a_certain_number(change: tuple[str, str]) -> None:
    sure = program("counted before", ">= 8", 3)
    assert lint(sure)
    text = sure.replace(*change)
    assert text != sure
    assert lint(text) == []


def test_an_option_is_no_certain_number() -> None:
    text = PROGRAM.format(
        start="    pass",
        head="for epoch in range(EPOCHS):",
        rest=VALIDATES.format(test="epoch % 3 == 0"),
    )
    parser = "import argparse\nparser = argparse.ArgumentParser()\n"
    option = f"{parser}parser.add_argument('-n', type=int, default=9)\nargs = parser.parse_args()\n"
    assert lint("EPOCHS = 9\n" + text)
    assert lint(option + text.replace("EPOCHS", "args.n")) == []
