"""Factories, norm_layer arguments, flags, inheritance -> the layer graph."""

from __future__ import annotations

import pytest
from drawn import body_of, codes_of, feeds, graph_of, graphs_of, kinds, net, norms, paths, reads

from bnlint.graph import UNKNOWN

CONV = "self.c = nn.Conv2d(3, 8, 1)\n"
USE = "return self.b(self.c(x))"


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        ("self.b = (norm_layer or nn.BatchNorm2d)(8)", "norm_layer=None"),
        (
            "if norm_layer is None:\n    norm_layer = nn.BatchNorm2d\nself.b = norm_layer(8)",
            "norm_layer=None",
        ),
        ("self.b = norm_layer(8)", "norm_layer=nn.BatchNorm2d"),
        ("self.b = norm_layer(8)", "norm_layer=partial(nn.BatchNorm2d, eps=1e-3)"),
        ("self.b = getattr(nn, kind)(8)", "kind='BatchNorm2d'"),
        ("self.b = getattr(nn, f'BatchNorm{n}d')(8)", "n=2"),
        ("self.b = {'batch': nn.BatchNorm2d, 'none': nn.Identity}[kind](8)", "kind='batch'"),
        ("self.b = dict(batch=lambda: nn.BatchNorm2d(8))[kind]()", "kind='batch'"),
        ("norm = True\nself.b = nn.BatchNorm2d(8) if norm else nn.Identity()", ""),
        (
            "if kind == 'bn':\n    self.b = nn.BatchNorm2d(8)\n"
            "elif kind == 'in':\n    self.b = None",
            "kind='bn'",
        ),
        ("options = dict(num_features=8)\nself.b = nn.BatchNorm2d(**options)", ""),
        ("self.b = nn.BatchNorm2d(*(8,))", ""),
    ],
)
def test_the_norm_that_an_argument_stands_for(build: str, parameters: str) -> None:
    graph = body_of(CONV + build, USE, parameters=parameters)
    assert kinds(graph) == "conv batchnorm"
    assert norms(graph)[0].params["num_features"] == 8


@pytest.mark.parametrize("parameters", ["norm_layer", "norm_layer=None", "**kw"])
def test_a_norm_layer_that_is_not_known_is_no_batchnorm(parameters: str) -> None:
    name = "kw['norm']" if parameters == "**kw" else "norm_layer"
    assert norms(body_of(f"{CONV}self.b = {name}(8)", USE, parameters=parameters)) == []


@pytest.mark.parametrize(
    ("width", "parameters", "wanted"),
    [
        ("2 * 4", "", 8),
        ("w // 2", "w=17", 8),
        ("int(w * 0.5)", "w=16", 8),
        ("max(4, w)", "w=8", 8),
        ("sizes[-1]", "sizes=(4, 8)", 8),
        ("sum([4, 4])", "", 8),
        ("2 ** 3", "", 8),
        ("len('abcdefgh')", "", 8),
        ("8 if len('ab') > 1 else 4", "", 8),
        ("{'a': 8}['a']", "", 8),
        ("w", "w", UNKNOWN),
        ("w * 2", "w", UNKNOWN),
    ],
)
def test_numbers_are_folded(width: str, parameters: str, wanted: object) -> None:
    graph = body_of(f"{CONV}self.b = nn.BatchNorm2d({width})", USE, parameters=parameters)
    assert norms(graph)[0].params["num_features"] == wanted


def test_all_parameters_have_torchs_names_and_defaults() -> None:
    (norm,) = norms(body_of(f"{CONV}self.b = nn.BatchNorm2d(8, 1e-3, affine=False)", USE))
    assert dict(norm.params) == {
        "num_features": 8,
        "eps": 1e-3,
        "momentum": 0.1,
        "affine": False,
        "track_running_stats": True,
    }


FACTORY = """\
def conv_bn(i, o, *rest, act=None, norm=nn.BatchNorm2d):
    layers = [nn.Conv2d(i, o, 1, bias=False), norm(o)]
    if act is not None:
        layers.append(act(inplace=True))
    return nn.Sequential(*layers, *rest)
"""


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        ("conv_bn(3, 8)", "conv batchnorm"),
        ("conv_bn(3, 8, act=nn.ReLU)", "conv batchnorm activation"),
        ("conv_bn(3, 8, nn.MaxPool2d(2))", "conv batchnorm pool"),
        ("conv_bn(3, 8, norm=lambda n: nn.GroupNorm(2, n))", "conv other_norm"),
        ("nn.Sequential(conv_bn(3, 8), conv_bn(8, 8))", "conv batchnorm conv batchnorm"),
    ],
)
def test_factories(call: str, wanted: str) -> None:
    assert kinds(body_of(f"self.f = {call}", "return self.f(x)", FACTORY)) == wanted


RESNET = """\
class Block(nn.Module):
    expansion = 2

    def __init__(self, i, o, stride=1, downsample=None):
        super().__init__()
        self.conv = nn.Conv2d(i, o * self.expansion, 3, stride, 1)
        self.bn = nn.BatchNorm2d(o * Block.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x):
        y = x
        out = self.bn(self.conv(x))
        if self.downsample is not None:
            y = self.downsample(x)
        out += y
        return self.relu(out)


class Net(nn.Module):
    def __init__(self, block=Block, counts=(2, 1)):
        super().__init__()
        self.inplanes = 4
        self.stages = nn.Sequential(self._make_layer(block, 4, counts[0]),
                                    self._make_layer(block, 8, counts[1], stride=2))

    def _make_layer(self, block, planes, count, stride=1):
        downsample = None
        if stride != 1 or self.inplanes != planes * block.expansion:
            downsample = nn.Sequential(
                nn.Conv2d(self.inplanes, planes * block.expansion, 1, stride),
                nn.BatchNorm2d(planes * block.expansion),
            )
        layers = [block(self.inplanes, planes, stride, downsample)]
        self.inplanes = planes * block.expansion
        for _ in range(1, count):
            layers.append(block(self.inplanes, planes))
        return nn.Sequential(*layers)

    def forward(self, x):
        return self.stages(x)
"""


def test_a_residual_network() -> None:
    graph = graph_of(RESNET)
    found = [(node.path, node.params["num_features"]) for node in norms(graph)]
    assert found == [
        ("stages.0.0.bn", 8),
        ("stages.0.0.downsample.1", 8),
        ("stages.0.1.bn", 8),
        ("stages.1.0.bn", 16),
        ("stages.1.0.downsample.1", 16),
    ]
    assert [(feeds(graph, i), reads(graph, i)) for i in range(5)] == [("conv", "add")] * 5


def test_inheritance() -> None:
    before = (
        "class Base(nn.Module):\n    norm = nn.BatchNorm2d\n    def __init__(self, *args, **kw):\n"
        "        super().__init__()\n        self.build(*args, **kw)\n"
        "    def forward(self, x):\n        return self.tail(self.bn(x))\n\n"
        "class Middle(Base):\n    def build(self, n):\n        self.bn = self.norm(n)\n"
        "    def tail(self, x):\n        return F.relu(x)\n\n"
        "class Mixin:\n    def tail(self, x):\n        return torch.sigmoid(super().tail(x))\n\n"
        "class Leaf(Mixin, Middle):\n    def forward(self, x):\n"
        "        return super().forward(x) + x\n"
    )
    graph = body_of("self.m = Leaf(8)", "return self.m(x)", before)
    assert kinds(graph) == "batchnorm activation gate add"
    assert paths(graph) == ["m.bn"]


def test_a_flag_that_is_not_known_gives_alternatives() -> None:
    build = f"{CONV}self.b = nn.BatchNorm2d(8)\nself.last = last"
    forward = "x = self.c(x)\nif self.last:\n    return F.relu(self.b(x))\nreturn self.b(F.relu(x))"
    graph = body_of(build, forward, parameters="last")
    assert sorted(feeds(graph, index) for index in range(2)) == ["activation", "conv"]
    assert [node.call_index for node in norms(graph)] == [0, 1]
    graph = body_of(build, forward, parameters="last='yes'")
    assert [feeds(graph), reads(graph)] == ["conv", "activation"]


def test_the_default_of_a_flag_may_be_changed_by_a_caller() -> None:
    build = f"{CONV}self.b = nn.BatchNorm2d(8) if norm else nn.Identity()"
    assert kinds(body_of(build, USE, parameters="norm=True")) == "conv batchnorm identity"


@pytest.mark.parametrize(
    ("forward", "fed", "read"),
    [
        ("y = self.c(x)\nreturn F.relu(self.b(y) + x)", "conv", "add"),
        ("y = self.b(self.c(x))\ny += x\nreturn y", "conv", "add"),
        ("return self.b(torch.cat([x, self.c(x)], 1))", "concat", "output"),
        ("return self.b(self.c(x).view(1, 8, 1, 1))", "conv", "output"),
        ("a, b = self.c(x).chunk(2, 1)\nreturn self.b(a)", "conv", "output"),
        ("return self.b(self.c(x)[:, :4])", "conv", "output"),
        ("x = self.c(x)\nx.relu_()\nreturn self.b(x)", "activation", "output"),
        ("x = self.c(x)\nF.relu(x, inplace=True)\nreturn self.b(x)", "activation", "output"),
        ("x = self.c(x)\nF.relu_(x)\nreturn self.b(x)", "activation", "output"),
        ("x = self.b(self.c(x))\nx.add_(x)\nreturn x", "conv", "add"),
        (
            "x = self.c(x) if x.sum() > 0 else F.relu(x)\nreturn self.b(x)",
            "activation conv",
            "output",
        ),
        ("return self.b(self.c(x)).mean((2, 3))", "conv", "pool"),
        ("x = unknown(x)\nreturn self.b(x)", "unknown", "output"),
        ("return self.b(self.missing(x))", "unknown", "output"),
        ("return {'out': self.b(self.c(x))}", "conv", "output"),
        (
            "i = 0\nwhile i < 2:\n    x = self.c(x)\n    i += 1\nreturn self.b(x)",
            "conv",
            "output",
        ),
        ("with torch.no_grad():\n    x = self.c(x)\nreturn self.b(x)", "conv", "output"),
    ],
)
def test_the_flow_of_data(forward: str, fed: str, read: str) -> None:
    graph = graph_of(net(f"{CONV}self.b = nn.BatchNorm2d(8)", forward))
    assert (feeds(graph), reads(graph)) == (fed, read)


@pytest.mark.parametrize(
    "imports",
    [
        "from tensorflow.keras import layers as nn",
        "import mlx.nn as nn",
        "from flax import linen as nn",
        "import paddle.nn as nn",
        "from mxnet.gluon import nn",
        "from jittor import nn",
    ],
)
def test_layers_of_other_frameworks_never_count(imports: str) -> None:
    text = (
        f"{imports}\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.b = nn.BatchNorm2d(3, momentum=0.99)\n"
        "        self.c = nn.BatchNorm(3)\n    def forward(self, x):\n"
        "        return self.b(F.relu(x))\n"
    )
    assert [node for graph in graphs_of(text, "Net") for node in norms(graph)] == []
    assert codes_of(text) == []
