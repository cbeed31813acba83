"""Blocks that are drawn once and copied: the graph is the one that running them all would give."""

from __future__ import annotations

import pytest
from drawn import graphs_of, indented

from bnlint.graph import Kind, Node
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.passages import Passages

BLOCK = """\
class Block(nn.Module):
    def __init__(self, a, b, bn=None):
        super().__init__()
        self.conv = nn.Conv2d(a, b, 3, padding=1)
        self.bn = nn.BatchNorm2d(b) if bn is None else bn
        self.relu = nn.ReLU(inplace=True)
        self.seen = 0
    def forward(self, x, y=None):
{forward}


class Net(nn.Module):
    def __init__(self, flag=False):
        super().__init__()
{build}
    def forward(self, x):
{use}
"""
PLAIN = "return self.relu(self.bn(self.conv(x)))"
THREE = """\
self.a = Block(8, 8)
self.b = Block(8, 8)
self.c = nn.Sequential(Block(8, 8), Block(8, 8))
"""
IN_A_ROW = "return self.c(self.b(self.a(x)))"

NETWORKS = {
    "rows": (PLAIN, THREE, IN_A_ROW),
    "the same block twice": (PLAIN, THREE, "return self.a(self.a(self.b(x)))"),
    "another width": (
        PLAIN,
        "self.a = Block(8, 16)\nself.b = Block(16, 8)",
        "return self.b(self.a(x))",
    ),
    "repeated": (
        PLAIN,
        "self.a = nn.Sequential(*[Block(8, 8) for _ in range(flag)])",
        "return self.a(x)",
    ),
    "a layer of its caller": (
        PLAIN,
        "bn = nn.BatchNorm2d(8)\nself.a = Block(8, 8, bn)\nself.b = Block(8, 8, bn)",
        "return self.b(self.a(x))",
    ),
    "in place on what it is given": (
        "x = F.relu(x, inplace=True)\nreturn self.bn(self.conv(x))",
        THREE,
        "y = self.a(x)\nz = self.b(y)\nreturn z + y",
    ),
    "writes into itself": ("self.seen = x\nreturn self.bn(self.conv(x))", THREE, IN_A_ROW),
    "counts": ("self.seen += 1\nreturn self.bn(self.conv(x))", THREE, IN_A_ROW),
    "asks what it is": (
        "if self.seen:\n    x = self.relu(x)\nreturn self.bn(self.conv(x))",
        THREE + "self.b.seen = 1",
        IN_A_ROW,
    ),
    "two tensors": (
        "return self.bn(self.conv(x)) if y is None else self.bn(self.conv(x) + y)",
        THREE,
        "y = self.a(x)\ny = self.b(y, x)\nreturn self.c[0](y, y)",
    ),
    "alternatives go in": (
        PLAIN,
        THREE,
        "y = self.a(x) if self.training else self.b(x)\nz = self.b(y)\nreturn self.c(z)",
    ),
    "a list goes in and out": (
        "x[0] = self.bn(self.conv(x[0]))\nx.append(self.relu(x[0]))\nreturn x",
        THREE,
        "y = [x]\ny = self.a(y)\ny = self.b(y)\nreturn y[0] + y[-1]",
    ),
    "a dictionary comes out": (
        "y = self.bn(self.conv(x))\nreturn {'y': y, 'all': [x, y]}",
        THREE,
        "d = self.a(x)\ne = self.b(d['y'])\nreturn e['y'] + e['all'][0] + d['all'][0]",
    ),
    "a view of what it is given": (
        "y = x.view(x.size(0), -1)\ny.mul_(2)\nreturn self.bn(self.conv(x))",
        THREE,
        IN_A_ROW,
    ),
    "inner modules of one block": (
        "for part in (self.conv, self.bn):\n    x = part(x)\nreturn x",
        "self.a = nn.ModuleList([Block(8, 8) for _ in range(3)])",
        "for block in self.a:\n    x = block(x)\nreturn x",
    ),
    "none or a layer": (
        "y = x if self.relu is None else self.relu(x)\nreturn self.bn(self.conv(y))",
        THREE + "self.b.relu = None\nif flag:\n    self.c[0].relu = None",
        IN_A_ROW,
    ),
    "a function that is given statistics": (
        "return F.batch_norm(self.conv(x), self.bn.running_mean, self.bn.running_var)",
        THREE,
        IN_A_ROW,
    ),
    "a part that is not registered": (
        "return self.bn(nn.Conv2d(8, 8, 1)(x))",
        THREE,
        IN_A_ROW,
    ),
}


def network(forward: str, build: str, use: str) -> list[Node]:
    """The nodes of all graphs that are drawn for Net."""
    text = BLOCK.format(forward=indented(forward), build=indented(build), use=indented(use))
    return [node for graph in graphs_of(text, "Net") for node in graph.nodes]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_copied_block_is_what_running_it_gives(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = network(*NETWORKS[name])
    assert any(node.kind is Kind.BATCHNORM for node in copied)
    monkeypatch.setattr(Passages, "find", lambda self, key: None)
    run = network(*NETWORKS[name])
    assert copied == run


def test_a_block_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    follow = Interpreter._follow

    def noted(self: Interpreter, function: object, *rest: object) -> object:
        ran.append(function.name)  # type: ignore[attr-defined]
        return follow(self, function, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Interpreter, "_follow", noted)
    build = "self.a = nn.Sequential(Block(8, 8), Block(8, 8), Block(8, 8), Block(8, 8))"
    network(PLAIN, build, "return self.a(x)")
    assert ran.count("forward") == 2, ran  # of Net, and of one Block


SWITCHED = """\
NORM = True
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)
        self.bn = nn.BatchNorm2d(8)
    def forward(self, x):
        x = self.conv(x)
        return self.bn(x) if NORM else x
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(Block(), Block(), Block())
    def forward(self, x):
        global NORM
        x = self.a(x)
        NORM = False
        return self.a(x)
"""


def test_a_block_is_run_again_where_a_variable_of_the_file_has_changed() -> None:
    nodes = graphs_of(SWITCHED, "Net")[0].nodes
    assert sum(node.kind is Kind.BATCHNORM for node in nodes) == 3
    assert sum(node.kind is Kind.CONV for node in nodes) == 6


def test_kept_nodes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bnlint.source.passages.MOST_NODES", 4)
    assert sum(node.kind is Kind.BATCHNORM for node in network(*NETWORKS["rows"])) == 4
