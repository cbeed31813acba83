"""A batch of one in training mode, where PyTorch raises: the text says so only where it does."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

import bnlint
from bnlint.graph import Kind, LayerGraph, Node, OneValue, runs_for_sure
from bnlint.settings import Settings
from bnlint.source.positions import with_positions

torch = pytest.importorskip("torch")

HEADER = """\
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import Variable


"""
CONVS = "nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()"
POOLED = "nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU()"
IMAGE = "torch.randn(1, 3, 16, 16)"


def module(forward: str, layers: str) -> str:
    """A network of named layers behind a stem of convolutions."""
    lines = "\n".join(f"self.{line}" for line in layers.split("\n"))
    return f"""\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential({CONVS})
{textwrap.indent(lines, " " * 8)}

    def forward(self, x):
{textwrap.indent(forward, " " * 8)}


net = Net()
"""


OWN_NORM = """\
class Norm(nn.modules.batchnorm._BatchNorm):
    def __init__(self, features):
        super().__init__(features)
        self.is_parallel = False

    def forward(self, x):
        if not (self.is_parallel and self.training):
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias,
                self.training, self.momentum, self.eps,
            )
        return synchronised(x)


"""
NORM2, NORM1 = "bn = nn.BatchNorm2d(8)", "bn = nn.BatchNorm1d(8)"
RAISING = {
    "pooled to 1x1": (
        f"net = nn.Sequential({CONVS}, nn.AdaptiveAvgPool2d((1, 1)), {POOLED})\n",
        IMAGE,
    ),
    "pooled to 1": (f"net = nn.Sequential({CONVS}, nn.AdaptiveMaxPool2d(1), {POOLED})\n", IMAGE),
    "pooled by a function": (
        module("return self.bn(F.adaptive_avg_pool2d(self.stem(x), 1))", NORM2),
        IMAGE,
    ),
    "pooled by keyword": (
        module("return self.bn(F.adaptive_avg_pool2d(self.stem(x), output_size=(1, 1)))", NORM2),
        IMAGE,
    ),
    "averaged over the map": (module("return self.bn(self.stem(x).mean([2, 3]))", NORM1), IMAGE),
    "averaged, with the dimensions kept": (
        module("return self.bn(self.stem(x).mean(dim=(2, 3), keepdim=True))", NORM2),
        IMAGE,
    ),
    "averaged twice": (module("return self.bn(self.stem(x).mean(3).mean(2))", NORM1), IMAGE),
    "flattened by size": (
        module(
            "x = F.max_pool2d(self.stem(x), 2)\nreturn self.bn(self.fc(x.view(x.size(0), -1)))",
            f"fc = nn.Linear(512, 8)\n{NORM1}",
        ),
        IMAGE,
    ),
    "flattened": (
        module(
            "return self.bn(self.fc(torch.flatten(self.stem(x), 1)))",
            f"fc = nn.Linear(2048, 8)\n{NORM1}",
        ),
        IMAGE,
    ),
    "one branch of several": (
        module(
            "x = self.stem(x)\ny = F.interpolate(self.pool(x), size=x.shape[2:])\n"
            "return self.conv(torch.cat((x, y), dim=1))",
            f"pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), {POOLED})\nconv = nn.Conv2d(16, 2, 1)",
        ),
        IMAGE,
    ),
    "behind a residual": (
        module("x = self.stem(x)\nx = x + F.relu(x)\nreturn self.bn(self.pool(x))",
               f"pool = nn.AdaptiveAvgPool2d(1)\n{NORM2}"),
        IMAGE,
    ),
    "rows": ("net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())\n",
             "torch.rand((1, 4))"),
    "rows, moved": ("net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 8))\n",
                    "Variable(torch.zeros(1, 4)).to('cpu')"),
    "volumes": (
        "net = nn.Sequential(nn.Conv3d(1, 8, 3), nn.AdaptiveAvgPool3d(1), nn.BatchNorm3d(8))\n",
        "torch.ones(size=(1, 1, 4, 4, 4))",
    ),
    "signals": (
        "net = nn.Sequential(nn.Conv1d(2, 8, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), "
        "nn.BatchNorm1d(8))\n",
        "torch.randn(1, 2, 9)",
    ),
    "normalised by a class of the project": (
        OWN_NORM + "net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), Norm(8))\n",
        IMAGE,
    ),
}  # fmt: skip
RUNNING = {
    "a batch of two": (RAISING["pooled to 1"][0], "torch.randn(2, 3, 16, 16)"),
    "a map": (f"net = nn.Sequential({CONVS})\n", IMAGE),
    "pooled to 2x2": (f"net = nn.Sequential({CONVS}, nn.AdaptiveAvgPool2d(2), {POOLED})\n", IMAGE),
    "frozen": (
        RAISING["pooled to 1"][0] + "for m in net.modules():\n"
        "    if isinstance(m, nn.BatchNorm2d):\n        m.eval()\n",
        IMAGE,
    ),
    "a map for a class of the project": (
        OWN_NORM + "net = nn.Sequential(nn.Conv2d(3, 8, 3), Norm(8), nn.AdaptiveAvgPool2d(1))\n",
        IMAGE,
    ),
    "upsampled again": (
        f"net = nn.Sequential({CONVS}, nn.AdaptiveAvgPool2d(1), nn.Upsample((4, 4)), {POOLED})\n",
        IMAGE,
    ),
    "transposed to a map": (
        "net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.ConvTranspose2d(3, 8, 4), "
        "nn.BatchNorm2d(8))\n",
        IMAGE,
    ),
    "padded to a map": (
        "net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 8, 1, padding=1), "
        "nn.BatchNorm2d(8))\n",
        IMAGE,
    ),
    "many rows of one sample": (
        module("return self.bn(self.fc(x.permute(0, 2, 3, 1).reshape(-1, 3)))",
               f"fc = nn.Linear(3, 8)\n{NORM1}"),
        IMAGE,
    ),
    "crops in the batch": (
        module("return self.bn(self.pool(self.stem(torch.cat([x, x.flip(3)]))))",
               f"pool = nn.AdaptiveAvgPool2d(1)\n{NORM2}"),
        IMAGE,
    ),
    "a sequence of rows": (
        "net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(5))\n", "torch.randn(1, 5, 4)",
    ),
    "a linear layer that makes a map": (
        module("x = self.fc(x).view(-1, 8, 4, 4)\nreturn self.bn(x)",
               f"fc = nn.Linear(4, 128)\n{NORM2}"),
        "torch.randn(1, 4)",
    ),
    "repeated": (RAISING["pooled to 1"][0], "torch.randn(1, 3, 8, 8).repeat(2, 1, 1, 1)"),
    "left out": (
        module("x = self.stem(x)\nif x.shape[-1] > 64:\n    x = self.bn(self.pool(x))\nreturn x",
               f"pool = nn.AdaptiveAvgPool2d(1)\n{NORM2}"),
        IMAGE,
    ),
    "attended": (
        module("x = self.stem(x)\nreturn self.bn(x * self.gate(x))",
               f"gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1))\n{NORM2}"),
        IMAGE,
    ),
    "averaged over the channels": (
        module("return self.bn(self.stem(x).mean(1, keepdim=True))", "bn = nn.BatchNorm2d(1)"),
        IMAGE,
    ),
    "averaged over the samples": (
        module("return self.bn(self.stem(x).mean(0).flatten(1).t())", NORM1),
        IMAGE,
    ),
}  # fmt: skip
USES = (
    "with torch.no_grad():\n    print(net(DATA).shape)\n",
    "out = net(DATA)\nprint(out.size())\n",
    "net(DATA)\n",
)


def lint(text: str) -> list[str]:
    """The messages of BNL101, with the code."""
    settings = Settings(select=("BNL101", "BNL303"))
    found = bnlint.lint_source(text, "demo.py", settings=settings).findings
    return [f"{finding.code} {finding.message}" for finding in found]


def run(text: str) -> str:
    """What PyTorch says when the program runs; "" when it is content."""
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        exec(compile(text, "demo.py", "exec"), names)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", RAISING)
def test_a_batch_of_one_raises(name: str, use: str) -> None:
    build, data = RAISING[name]
    text = HEADER + build + use.replace("DATA", data)
    said = lint(text)
    assert "Expected more than 1 value per channel" in run(text)
    assert len(said) == 1
    assert said[0].startswith("BNL101")
    assert "Expected more than 1 value per channel" in said[0]


@pytest.mark.parametrize("use", USES[:2])
@pytest.mark.parametrize("name", RUNNING)
def test_what_runs_is_a_mere_test_of_shapes(name: str, use: str) -> None:
    build, data = RUNNING[name]
    text = HEADER + build + use.replace("DATA", data)
    assert run(text) == ""
    assert lint(text) == []


@pytest.mark.parametrize("name", RAISING)
def test_evaluation_mode_is_the_remedy(name: str) -> None:
    build, data = RAISING[name]
    text = HEADER + build + "net.eval()\n" + USES[0].replace("DATA", data)
    assert run(text) == ""
    assert lint(text) == []


def test_a_training_step_is_for_the_other_rule() -> None:
    text = (
        HEADER + RAISING["pooled to 1"][0] + "optimizer = torch.optim.SGD(net.parameters(), 0.1)\n"
        "loss = net(torch.randn(1, 3, 16, 16)).sum()\nloss.backward()\noptimizer.step()\n"
    )
    assert "Expected more than 1 value per channel" in run(text)
    assert [said.partition(" ")[0] for said in lint(text)] == ["BNL303"]


def test_a_unit_test_may_expect_it() -> None:
    build, data = RAISING["rows"]
    text = f"import pytest\n{HEADER}{build}\n\ndef test_one():\n" + textwrap.indent(
        f"with pytest.raises(ValueError):\n    net({data})\n", " " * 4
    )
    assert lint(text) == []


def test_an_output_from_outside_the_graph_is_none_of_its_nodes() -> None:
    norm = Node(1, Kind.BATCHNORM, "torch.nn.BatchNorm1d", inputs=(frozenset({0}),))
    nodes = (
        Node(0, Kind.INPUT, "input"),
        norm,
        Node(2, Kind.OUTPUT, "output", inputs=(frozenset({1}), frozenset({7}))),
    )
    assert runs_for_sure(LayerGraph("", nodes)) == {0, 1, 2}
    found = list(with_positions(list(nodes)))
    assert found[1].one_value is OneValue.OF_ROWS
    assert [node.id for node in found] == [0, 1, 2]
