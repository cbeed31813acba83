"""A block ends at a class, not at a bare container: both halves judge it alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from files import write
from running import importable, read, watch

import bnlint
from bnlint.graph import Kind, LayerGraph, same_block

TEXT = """\
import torch.nn.functional as F
from torch import nn


class BeginsWithNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.conv(self.norm(x))


class NormFirst(nn.Sequential):
    def __init__(self):
        super().__init__(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))


class ConvRelu(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(4, 4, 1), nn.ReLU())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        {build}

    def forward(self, x):
        {forward}
"""
START = "nn.Conv2d(4, 4, 1), nn.ReLU()"
APART = {
    "a class": f"self.m = nn.Sequential({START}, BeginsWithNorm())",
    "a subclass of Sequential": f"self.m = nn.Sequential({START}, NormFirst())",
    "a class in a Sequential": f"self.m = nn.Sequential({START}, nn.Sequential(BeginsWithNorm()))",
    "the producer's class": "self.m = nn.Sequential(ConvRelu(), nn.BatchNorm2d(4))",
    "both are classes": "self.m = nn.Sequential(ConvRelu(), BeginsWithNorm())",
}
TOGETHER = {
    "one Sequential": f"self.m = nn.Sequential({START}, nn.BatchNorm2d(4))",
    "a Sequential behind": f"self.m = nn.Sequential({START}, nn.Sequential(nn.BatchNorm2d(4)))",
    "two bare Sequentials": (
        f"self.m = nn.Sequential(nn.Sequential({START}), nn.Sequential(nn.BatchNorm2d(4)))"
    ),
    "an activation between": "self.m = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Sequential(nn.ReLU(), "
    "nn.BatchNorm2d(4)))",
}


def text_of(build: str, forward: str = "return self.m(x)") -> dict[str, str]:
    text = TEXT.format(build=build, forward=forward)
    return {"pkg/__init__.py": "", "pkg/net.py": text}


def is_together(graph: LayerGraph) -> bool:
    """Whether the first BatchNorm belongs to the block of what feeds it."""
    norm = next(graph.of_kind(Kind.BATCHNORM))
    (producer,) = graph.producers(norm)
    assert producer.kind is Kind.ACTIVATION
    return same_block(norm, producer)


@pytest.mark.parametrize(
    ("build", "together"),
    [*((build, False) for build in APART.values()), *((b, True) for b in TOGETHER.values())],
    ids=[*APART, *TOGETHER],
)
def test_both_halves_end_a_block_at_the_same_place(
    build: str, together: bool, tmp_path: Path
) -> None:
    texts = text_of(build)
    write(texts, tmp_path)
    graph = read(tmp_path, texts)
    assert graph is not None
    assert is_together(graph) is together
    with importable(tmp_path) as module:
        net = module.Net()
        assert is_together(watch(net)) is together
        report = bnlint.check(net, torch.randn(8, 4, 8, 8))
    found = bnlint.lint_source(texts["pkg/net.py"], "net.py").findings
    said = ["BNL201"] if together else []
    assert [finding.code for finding in found if finding.code == "BNL201"] == said
    assert [finding.code for finding in report.findings if finding.code == "BNL201"] == said


def test_the_steps_of_a_forward_are_one_block(tmp_path: Path) -> None:
    build = "self.c = nn.Conv2d(4, 4, 1)\n        self.b = nn.BatchNorm2d(4)"
    texts = text_of(build, "return self.b(F.relu(self.c(x)))")
    write(texts, tmp_path)
    graph = read(tmp_path, texts)
    assert graph is not None
    with importable(tmp_path) as module:
        assert is_together(graph) is is_together(watch(module.Net())) is True
