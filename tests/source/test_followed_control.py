"""Where control goes in real programs: contexts, generators, last rounds, restored modes."""

from __future__ import annotations

import pytest

import bnlint
from bnlint.settings import Settings

HEADER = """\
import contextlib
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.bn = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.bn(self.fc(x))


@contextlib.contextmanager
def evaluating(model):
    was_training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(was_training)


@contextlib.contextmanager
def unprotected(model):
    model.eval()
    yield
    model.train()


@contextlib.contextmanager
def evaluating_in_turn(model):
    with evaluating(model), torch.no_grad():
        yield model


class Evaluating:
    def __init__(self, model):
        self.model = model

    def __enter__(self):
        self.was = self.model.training
        self.model.eval()

    def __exit__(self, *error):
        self.model.train(self.was)


def fit(net, data):
    for x, y in data:
        F.mse_loss(net(x), y).backward()
        optimizer.step()


def score(net, data):
    with torch.no_grad():
        return sum((net(x).argmax(1) == y).sum() for x, y in data)


def score_in_evaluation(net, data):
    with evaluating(net):
        return score(net, data)


net = Net()
optimizer = torch.optim.SGD(net.parameters(), 0.1)
data = torch.load("data.pt")
"""
LOOP = "for epoch in range(9):\n    fit(net, data)\n    {}\n"
CASES = {
    "a generator as context": (LOOP.format("with evaluating(net):\n        score(net, data)"), []),
    "its value": (LOOP.format("with evaluating(net) as m:\n        score(m, data)"), []),
    "a context that enters another": (
        LOOP.format("with evaluating_in_turn(net) as m:\n        score(m, data)"), []),
    "behind a context that enters another": (
        LOOP.format("with evaluating_in_turn(net):\n        pass\n    score(net, data)"),
        ["BNL101"],
    ),
    "a generator without finally": (
        LOOP.format("with unprotected(net):\n        score(net, data)"),
        [],
    ),
    "an object as context": (LOOP.format("with Evaluating(net):\n        score(net, data)"), []),
    "a return out of a context": (LOOP.format("score_in_evaluation(net, data)"), []),
    "behind a context": (LOOP.format("with evaluating(net):\n        pass\n    score(net, data)"),
                         ["BNL101"]),
    "a context for another model": (
        LOOP.format("with evaluating(Net()):\n        score(net, data)"),
        ["BNL101"],
    ),
    "a context that something else enters": (
        LOOP.format("with contextlib.ExitStack() as stack:\n"
                    "        stack.enter_context(evaluating(net))\n        score(net, data)"),
        [],
    ),
    "finally, behind a return": (
        "def check(net):\n    net.eval()\n    try:\n        return score(net, data)\n"
        "    finally:\n        net.train()\n" + LOOP.format("check(net)"),
        [],
    ),
    "no finally behind a return": (
        "def check(net):\n    net.eval()\n    return score(net, data)\n    net.train()\n"
        + LOOP.format("check(net)"),
        ["BNL103"],
    ),
    "a test of the flag": (
        LOOP.format("if net.training:\n        net.eval()\n    score(net, data)\n"
                    "    if not net.training:\n        net.train()"),
        [],
    ),
    "a test of the flag that nothing follows": (
        "net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))\n"
        "for epoch in range(9):\n    if net.training:\n        net.eval()\n"
        "    score(net, data)\n    fit(net, data)\n",
        [],
    ),
    "the wrong test of the flag": (
        LOOP.format("if not net.training:\n        net.eval()\n    score(net, data)"),
        ["BNL101"],
    ),
    "the flag is restored": (
        LOOP.format("was = net.training\n    net.eval()\n    score(net, data)\n    net.train(was)"),
        [],
    ),
    "each module's own flag": (
        LOOP.format("was = net.training\n    for m in net.modules():\n        m.training = False\n"
                    "    score(net, data)\n    net.train(was)"),
        [],
    ),
    "training mode was not read": (
        LOOP.format("net.eval()\n    was = net.training\n    score(net, data)\n    net.train(was)"),
        ["BNL103"],
    ),
    "the last round": (
        LOOP.format("if epoch == 9 - 1:\n        net.eval()\n        score(net, data)"),
        [],
    ),
    "the last but one": (
        LOOP.format("if epoch == 9 - 2:\n        net.eval()\n        score(net, data)"),
        ["BNL103"],
    ),
    "the last round of an unknown number": (
        "count = len(data)\nfor epoch in range(1, count + 1):\n    fit(net, data)\n"
        "    if epoch >= count:\n        net.eval()\n        score(net, data)\n",
        [],
    ),
    "the last batch": (
        "for epoch in range(9):\n    for i, (x, y) in enumerate(data):\n"
        "        F.mse_loss(net(x), y).backward()\n        optimizer.step()\n"
        "        if i == len(data) - 1:\n            net.eval()\n            score(net, data)\n",
        ["BNL103"],
    ),
    "the last batch, in training mode again": (
        "for epoch in range(9):\n    net.train()\n    for i, (x, y) in enumerate(data):\n"
        "        F.mse_loss(net(x), y).backward()\n        optimizer.step()\n"
        "        if i == len(data) - 1:\n            net.eval()\n            score(net, data)\n",
        [],
    ),
    "a loop over a generator": (
        "def epochs(net):\n    for epoch in range(9):\n        net.train()\n"
        "        fit(net, data)\n        yield epoch\nfor epoch in epochs(net):\n    net.eval()\n"
        "    score(net, data)\n",
        [],
    ),
    "a generator that trains once": (
        "def epochs(net):\n    net.train()\n    for epoch in range(9):\n        fit(net, data)\n"
        "        yield epoch\nfor epoch in epochs(net):\n    net.eval()\n    score(net, data)\n",
        ["BNL103"],
    ),
    "a closure that the optimizer calls": (
        "lbfgs = torch.optim.LBFGS(net.parameters())\nfor epoch in range(9):\n    def closure():\n"
        "        loss = F.mse_loss(net(data[0]), data[1])\n        loss.backward()\n"
        "        return loss\n    lbfgs.step(closure)\n    net.eval()\n    score(net, data)\n",
        ["BNL103"],
    ),
    "an output that is never read": (
        "def recalibrate(net):\n    with torch.no_grad():\n        for x, y in data:\n"
        "            out = net(x)\nnet.load_state_dict(torch.load('a'))\nrecalibrate(net)\n",
        [],
    ),
    "an output that is read": (
        "def use(net):\n    with torch.no_grad():\n        for x, y in data:\n"
        "            out = net(x)\n            print(out)\nnet.load_state_dict(torch.load('a'))\n"
        "use(net)\n",
        ["BNL101"],
    ),
    "an output that the script never reads, though a function has a variable of that name": (
        "def use(net):\n    out = net(data)\n    print(out)\n"
        "net.load_state_dict(torch.load('a'))\nwith torch.no_grad():\n    out = net(data)\n",
        [],
    ),
    "an output of the script that a function reads": (
        "def show():\n    print(out)\n"
        "net.load_state_dict(torch.load('a'))\nwith torch.no_grad():\n    out = net(data)\n",
        ["BNL101"],
    ),
    "an output that is called nothing": (
        "net.load_state_dict(torch.load('a'))\nwith torch.no_grad():\n    _ = net(data)\n",
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_modes_along_the_way(name: str) -> None:
    text, wanted = CASES[name]
    settings = Settings(select=("BNL101", "BNL103"))
    found = bnlint.lint_source(HEADER + text, settings=settings).findings
    assert [finding.code for finding in found] == wanted, [str(f.message) for f in found]


@pytest.mark.parametrize(
    ("statement", "wanted"),
    [("net.train()", []), ("net.apply(lambda m: m.train())", []), ("", ["BNL103"])],
)
def test_a_part_that_train_keeps_in_evaluation_mode(statement: str, wanted: list[str]) -> None:
    text = f"""\
class Tuned(Net):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.2)
    def forward(self, x):
        return self.drop(super().forward(x))
    def train(self, mode=True):
        super().train(mode)
        self.bn.eval()
        return self
net = Tuned()
optimizer = torch.optim.SGD(net.parameters(), 0.1)
for epoch in range(9):
    {statement or "pass"}
    fit(net, data)
    net.eval()
    score(net, data)
"""
    settings = Settings(select=("BNL101", "BNL103"))
    found = bnlint.lint_source(HEADER + text, settings=settings).findings
    assert [finding.code for finding in found] == wanted


OVERRIDES = """\
class Deaf(Net):
    def train(self, mode=True):
        self.rounds = 0
        return self
class Fixed(Net):
    def train(self, mode=True):
        return super().train(False)
class Heard(Net):
    def train(self, mode=True):
        self.rounds = 0
        return super().train(mode)
class Trainer(Net):
    def train(self, batches, epochs=1):
        return len(batches) * epochs
class Holder(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part
    def forward(self, x):
        return self.part(x)
"""


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        ("net = Deaf()\nnet.eval()", ["BNL101"]),
        ("net = Deaf()\nnet.train(False)", ["BNL101"]),
        ("net = Deaf()\nnn.Module.eval(net)", ["BNL101"]),
        ("net = Deaf()\nnn.Module.train(net, False)", []),
        ("net = Deaf()\nfor m in net.modules():\n    m.eval()", []),
        ("net = Holder(Deaf())\nnet.part.eval()", ["BNL101"]),
        ("net = Holder(Deaf())\nfor part in net.children():\n    part.eval()", ["BNL101"]),
        ("net = Holder(Deaf())\nnet.apply(lambda m: m.eval())", []),
        ("net = Heard()\nnet.eval()", []),
        ("net = Fixed()\nnet.eval()\nnet.train()", []),
        ("net = Trainer()\nnet.eval()", []),
    ],
)
def test_eval_calls_the_train_of_the_class(build: str, wanted: list[str]) -> None:
    text = f"{OVERRIDES}{build}\nscore(net, data)\n"
    settings = Settings(select=("BNL101", "BNL103"))
    found = bnlint.lint_source(HEADER + text, settings=settings).findings
    assert [finding.code for finding in found] == wanted


def test_eval_is_what_is_named_where_the_class_has_a_train_of_its_own() -> None:
    text = f"""\
{OVERRIDES}net = Holder(Heard()).part
optimizer = torch.optim.SGD(net.parameters(), 0.1)
net.train()
for epoch in range(9):
    fit(net, data)
    net.eval()
    score(net, data)
"""
    found = bnlint.lint_source(HEADER + text, settings=Settings(select=("BNL103",))).findings
    line = (HEADER + text).split("\n").index("    net.eval()") + 1
    assert [finding.code for finding in found] == ["BNL103"]
    assert "eval() has left behind" in found[0].message
    assert line in [step.place.line for step in found[0].evidence]
