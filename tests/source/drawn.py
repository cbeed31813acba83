"""Small programs as pictures: what the source half sees of a text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import bnlint
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.rules.base import Pictures
from bnlint.settings import Settings
from bnlint.source.draw import draw, draw_definition
from bnlint.source.extract import extract
from bnlint.source.project import Project

HEADER = """\
import copy
from collections import OrderedDict
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

"""


def project_of(**files: str) -> Project:
    """A project of these texts; `__` in a name is a slash."""
    facts = {}
    for name, text in files.items():
        path = f"/p/{name.replace('__', '/')}.py"
        facts[path] = extract(path, text)
    return Project(Path("/p"), facts)


def pictures_of(text: str) -> Pictures:
    """All pictures of one file, after the usual imports."""
    return draw(project_of(main=HEADER + text))


def graphs_of(text: str, name: str) -> list[LayerGraph]:
    """The layer graphs of a class (or of what a factory builds) with its defaults."""
    return draw_definition(project_of(main=HEADER + text), name)


def graph_of(text: str, name: str = "Net") -> LayerGraph:
    """The one layer graph of a class or factory."""
    graphs = graphs_of(text, name)
    assert len(graphs) == 1, f"{len(graphs)} graphs of {name}"
    return graphs[0]


def body_of(build: str, forward: str, before: str = "", parameters: str = "") -> LayerGraph:
    """The layer graph of a module with this constructor and forward."""
    return graph_of(net(build, forward, before, parameters))


def net(build: str, forward: str, before: str = "", parameters: str = "") -> str:
    """The text of a class Net with this constructor body and forward body."""
    signature = f"self, {parameters}" if parameters else "self"
    return (
        f"{before}\n\nclass Net(nn.Module):\n    def __init__({signature}):\n"
        f"        super().__init__()\n{indented(build)}\n"
        f"    def forward(self, x):\n{indented(forward)}\n"
    )


def indented(text: str, width: int = 8) -> str:
    """The lines of a text, further to the right."""
    return "".join(f"{' ' * width}{line}\n" for line in text.strip("\n").splitlines())


def kinds(graph: LayerGraph) -> str:
    """The kinds of all nodes in order, without input and output."""
    ends = (Kind.INPUT, Kind.OUTPUT)
    return " ".join(node.kind.value for node in graph.nodes if node.kind not in ends)


def paths(graph: LayerGraph) -> list[str]:
    """The module paths of the layers in the order of their calls."""
    return [node.path for node in graph.nodes if node.path]


def norms(graph: LayerGraph) -> list[Node]:
    """The BatchNorm nodes in order."""
    return list(graph.of_kind(Kind.BATCHNORM))


def names(nodes: Iterable[Node]) -> str:
    """The kinds of some nodes, each once, sorted."""
    return " ".join(sorted({node.kind.value for node in nodes}))


def feeds(graph: LayerGraph, index: int = 0) -> str:
    """The kinds of what feeds a BatchNorm node."""
    return names(graph.producers(norms(graph)[index]))


def reads(graph: LayerGraph, index: int = 0) -> str:
    """The kinds of what reads a BatchNorm node's output."""
    return names(graph.consumers(norms(graph)[index]))


def codes_of(text: str) -> list[tuple[str, str]]:
    """Code and the accused line's text of each finding in one file, after the usual imports."""
    whole = HEADER + text
    lines = whole.splitlines()
    found = bnlint.lint_source(whole, "main.py", settings=Settings()).findings
    return [(f.code, lines[f.place.line - 1].strip()) for f in found if f.place is not None]
