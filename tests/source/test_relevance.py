"""Which functions are followed: those that build layers under whatever name."""

from __future__ import annotations

import pytest
from drawn import project_of

import bnlint
from bnlint.graph import Kind
from bnlint.settings import Settings
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
