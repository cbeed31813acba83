"""Which functions are followed: those that build layers under whatever name."""

from __future__ import annotations

import pytest
from drawn import project_of

import bnlint
from bnlint.graph import Kind
from bnlint.settings import Settings
from bnlint.source import ir
from bnlint.source.draw import draw

STACK = """
def stack(widths):
    layers = []
    for first, second in zip(widths, widths[1:]):
        layers += [Lin(first, second), Act(), BN(second)]
    return Seq(*layers)
"""


@pytest.mark.parametrize(
    "header",
    [
        "from torch.nn import BatchNorm1d as BN, Linear as Lin, ReLU as Act, Sequential as Seq",
        "from torch.nn.modules.batchnorm import BatchNorm1d as BN\n"
        "from torch.nn import Linear as Lin, ReLU as Act, Sequential as Seq",
        "try:\n    from torch.nn import BatchNorm1d as BN, Linear as Lin, ReLU as Act\n"
        "except ImportError:\n    raise\nfrom torch.nn import Sequential as Seq",
        "import torch.nn as tnn\nBN, Lin = tnn.BatchNorm1d, tnn.Linear\n"
        "Act = tnn.ReLU\nSeq = tnn.Sequential",
    ],
)
def test_a_factory_is_followed_under_any_names(header: str) -> None:
    found = bnlint.lint_source(f"{header}\n\n{STACK}", "main.py", settings=Settings()).findings
    assert [finding.code for finding in found] == ["BNL201"]


def test_a_factory_is_followed_through_names_of_another_file() -> None:
    project = project_of(
        parts="from torch import nn\nBN = nn.BatchNorm1d\nLin = nn.Linear\nAct = nn.ReLU\n"
        "Seq = nn.Sequential\n",
        main=f"from parts import *\n{STACK}\n# BatchNorm\n",
    )
    [graph] = draw(project).graphs
    producers = [p.kind for norm in graph.of_kind(Kind.BATCHNORM) for p in graph.producers(norm)]
    assert set(producers) == {Kind.ACTIVATION}


def test_a_factory_is_followed_after_a_star_import() -> None:
    text = "from torch.nn import *\n" + STACK.replace("Lin", "Linear").replace("Act", "ReLU")
    text = text.replace("BN", "BatchNorm1d").replace("Seq", "Sequential")
    found = bnlint.lint_source(text, "main.py", settings=Settings()).findings
    assert [finding.code for finding in found] == ["BNL201"]


TRAINS = "def train_step(model, loss):\n    loss.backward()\n"
LONG = "    for part in parts:\n        print(part)\n"


@pytest.mark.parametrize(
    ("function", "matters"),
    [
        ("def f(parts):\n    train_step(parts)\n", True),
        ("def f(parts):\n    steps.train_step(parts)\n", True),
        ("def f(parts):\n    run = train_step\n", True),
        ("def f(parts, train_step):\n    train_step(parts)\n", True),
        ("def f(parts, train_step):\n    print(train_step)\n", False),
        ("def f(parts):\n    train_step = 3\n    print(train_step)\n", False),
        ("def f(parts):\n    for train_step in parts: print(train_step)\n", False),
        ("def f(parts):\n    with parts as (train_step, x): print(train_step)\n", False),
        ("def f(parts):\n    self.store(parts)\n", True),
        ("def f(parts):\n    store = 3\n    store(parts)\n", False),
        ("def f(parts):\n    torch.store(parts)\n", False),
        ("def f(parts):\n    torch.load(parts)\n", True),
        ("def f(parts):\n    parts.to(device)\n", False),
        ("def f(parts):\n    kept = {}\n    kept.store(parts)\n", False),
        ("def f(parts):\n    kept = [p for p in parts]\n    kept.store(parts)\n", False),
        ("def f(parts, kept):\n    kept = {}\n    kept.store(parts)\n", True),
        ("def f(parts):\n    kept = {}\n    kept = parts\n    kept.store(parts)\n", True),
        ("def f(parts):\n    kept, one = [parts, 1]\n    kept.store(parts)\n", True),
        ("def f(parts):\n    global kept\n    kept = {}\n    kept.store(parts)\n", True),
        ("def f(parts):\n    kept = {}\n    kept.train()\n", True),
        ("def f(parts):\n    kept = {}\n    def g(): kept.store(parts)\n", True),
    ],
)
def test_a_name_counts_where_it_may_mean_a_definition(function: str, matters: bool) -> None:
    methods = (
        "class Keeper:\n"
        "    def store(self, model):\n        model.eval()\n"
        "    def to(self, device):\n        self.model.eval()\n"
    )
    project = project_of(main=f"import torch\n{TRAINS}{methods}{function}{LONG}")
    facts = project.facts(project.given[0])
    assert facts is not None
    last = facts.body[-1]
    assert isinstance(last, ir.Function)
    assert project.relevance.matters(last) is matters


@pytest.mark.parametrize(
    ("body", "gives"),
    [
        ("return x", True),
        ("yield x", True),
        ("return", False),
        ("print(x)", False),
        ("def g():\n        return x", False),
        ("if x:\n        return None\n    print(x)", True),
    ],
)
def test_functions_that_give_nothing_back_are_told(body: str, gives: bool) -> None:
    project = project_of(main=f"def f(x):\n    {body}\n")
    facts = project.facts(project.given[0])
    assert facts is not None
    function = facts.body[0]
    assert isinstance(function, ir.Function)
    assert project.relevance.gives(function) is gives
