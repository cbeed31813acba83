"""Models of generated programs: rows of 4 numbers to the scores of 2 classes."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from layout import Layout


@dataclass(frozen=True)
class Kind:
    """One way to write and build a model.

    definitions: name -> text, in order. build: the expression that builds it. part: an attribute
    that holds its first layers, "" when there is none. before: statements after the building.
    """

    definitions: tuple[tuple[str, str], ...]
    build: str
    part: str = ""
    after: tuple[str, ...] = ()


def _net(layers: str, forward: str, name: str = "Net", base: str = "nn.Module") -> tuple[str, str]:
    build = "".join(f"        {line}\n" for line in layers.strip().splitlines())
    run = "".join(f"        {line}\n" for line in forward.strip().splitlines())
    return name, (
        f"class {name}({base}):\n    def __init__(self, width=4):\n        super().__init__()\n"
        f"{build}\n    def forward(self, x):\n{run}"
    )


BATCHNORM = _net(
    "self.fc1 = nn.Linear(4, width)\nself.bn = nn.BatchNorm1d(width)\n"
    "self.fc2 = nn.Linear(width, 2)",
    "x = torch.relu(self.bn(self.fc1(x)))\nreturn self.fc2(x)",
)
DROPOUT = _net(
    "self.fc1 = nn.Linear(4, width)\nself.drop = nn.Dropout(0.3)\nself.fc2 = nn.Linear(width, 2)",
    "x = self.drop(F.relu(self.fc1(x)))\nreturn self.fc2(x)",
)
BOTH = _net(
    "self.body = nn.Sequential(\n    nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), "
    "nn.Dropout(p=0.5)\n)\nself.head = nn.Linear(width, 2)",
    "return self.head(self.body(x))",
)
PLAIN = _net(
    "self.fc1 = nn.Linear(4, width)\nself.norm = nn.LayerNorm(width)\n"
    "self.fc2 = nn.Linear(width, 2)",
    "return self.fc2(torch.relu(self.norm(self.fc1(x))))",
)
CONVOLUTION = _net(
    "self.conv = nn.Conv1d(1, width, 3, padding=1)\nself.bn = nn.BatchNorm1d(width)\n"
    "self.fc = nn.Linear(width, 2)",
    "x = F.relu(self.bn(self.conv(x.unsqueeze(1))))\nreturn self.fc(x.mean(dim=2))",
)
BACKBONE = _net(
    "self.fc = nn.Linear(4, width)\nself.bn = nn.BatchNorm1d(width)",
    "return torch.relu(self.bn(self.fc(x)))",
    "Backbone",
)
ON_BACKBONE = _net(
    "self.backbone = $Backbone(width)\nself.head = nn.Linear(width, 2)",
    "features = self.backbone(x)\nreturn self.head(features)",
)
BLOCK = _net(
    "self.fc = nn.Linear(width, width)\nself.bn = nn.BatchNorm1d(width)",
    "return x + self.bn(self.fc(x))",
    "Block",
)
OF_BLOCKS = _net(
    "self.backbone = nn.ModuleList([$Block(width) for _ in range(2)])\n"
    "self.head = nn.Linear(width, 2)",
    "for block in self.backbone:\n    x = block(x)\nreturn self.head(x)",
)
FUNCTIONAL = _net(
    "self.bn = nn.BatchNorm1d(4)\nself.fc = nn.Linear(4, 2)",
    "x = F.dropout(self.bn(x), p=0.2, training=self.training)\nreturn self.fc(x)",
)
TWO_WAYS = _net(
    "self.bn = nn.BatchNorm1d(4)\nself.fc, self.side = nn.Linear(4, 2), nn.Linear(4, 2)",
    "x = self.bn(x)\nif self.training:\n    return self.fc(x) + 0.1 * self.side(x)\n"
    "return self.fc(x)",
)
RETURNING = _net(
    "self.fc = nn.Linear(4, 2)\nself.norms = nn.ModuleDict({'first': nn.BatchNorm1d(4)})",
    "return self.fc(self.norms['first'](x))",
)
BASE = (
    "Base",
    "class Base(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.bn = nn.BatchNorm1d(4)\n\n    def forward(self, x):\n"
    "        return self.classify(self.bn(x))\n\n    def classify(self, x):\n"
    "        raise NotImplementedError\n",
)
DERIVED = (
    "Net",
    "class Net($Base):\n    def __init__(self):\n        super().__init__()\n"
    "        self.fc = nn.Linear(4, 2)\n\n    def classify(self, x):\n        return self.fc(x)\n",
)
FROZEN_METHOD = (
    "Net",
    "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.backbone = $Backbone(4)\n        self.drop = nn.Dropout(0.2)\n"
    "        self.head = nn.Linear(4, 2)\n        for p in self.backbone.parameters():\n"
    "            p.requires_grad = False\n\n    def train(self, mode=True):\n"
    "        super().train(mode)\n        self.backbone.eval()\n        return self\n\n"
    "    def forward(self, x):\n        return self.head(self.drop(self.backbone(x)))\n",
)
FROZEN_BACKBONE = (
    "Net",
    "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.backbone = $Backbone(4)\n        self.head = nn.Linear(4, 2)\n"
    "        for p in self.backbone.parameters():\n            p.requires_grad = False\n\n"
    "    def forward(self, x):\n        return self.head(self.backbone(x))\n",
)


def _with(net: tuple[str, str], method: str) -> tuple[str, str]:
    """A class with one more method."""
    body = "".join(f"    {line}\n" for line in method.splitlines())
    return net[0], f"{net[1]}\n{body}"


LOSES_MODE = _with(BACKBONE, "def train(self, mode=True):\n    self.rounds = 0\n    return self")
FORCES_MODE = _with(BACKBONE, "def train(self, mode=True):\n    return super().train(True)")
RETURNS_NOTHING = _with(BACKBONE, "def train(self, mode=True):\n    super().train(mode)")
HANDS_ON_MODE = _with(BACKBONE, "def train(self, mode=True):\n    return super().train(mode)")
HIDES_METHOD = _with(
    _net(
        "self.bn = nn.BatchNorm1d(4)\nself.fc = nn.Linear(4, 2)\nself.freeze_bn = width > 4",
        "return self.fc(self.bn(x))",
    ),
    "def freeze_bn(self):\n    self.bn.eval()",
)
FACTORY = (
    "make_net",
    "def make_net(width=4, dropout=0.0):\n    layers = [nn.Linear(4, width), "
    "nn.BatchNorm1d(width), nn.ReLU()]\n    if dropout > 0:\n"
    "        layers.append(nn.Dropout(dropout))\n    layers.append(nn.Linear(width, 2))\n"
    "    return nn.Sequential(*layers)\n",
)
REGISTRY = ("NETWORKS", 'NETWORKS = {"small": $Net, "factory": $make_net}\n')
REGISTERED = (
    "build",
    "def build(name, **options):\n    if name not in $NETWORKS:\n        raise ValueError(name)\n"
    "    return $NETWORKS[name](**options)\n",
)
KINDS = (
    Kind((BATCHNORM,), "$Net()"),
    Kind((BATCHNORM,), "$Net(width=8)"),
    Kind((BATCHNORM,), '$Net().to(torch.device("cpu"))'),
    Kind((DROPOUT,), "$Net()"),
    Kind((BOTH,), "$Net()", "body"),
    Kind((PLAIN,), "$Net()"),
    Kind((CONVOLUTION,), "$Net()"),
    Kind((FUNCTIONAL,), "$Net()"),
    Kind((TWO_WAYS,), "$Net()"),
    Kind((RETURNING,), "$Net()", "norms"),
    Kind((BACKBONE, ON_BACKBONE), "$Net()", "backbone"),
    Kind((BLOCK, OF_BLOCKS), "$Net()", "backbone"),
    Kind((BASE, DERIVED), "$Net()"),
    Kind((BACKBONE, FROZEN_METHOD), "$Net()"),
    Kind((HANDS_ON_MODE, ON_BACKBONE), "$Net()", "backbone"),
    Kind((FACTORY,), "$make_net()"),
    Kind((FACTORY,), "$make_net(8, dropout=0.25)"),
    Kind((BATCHNORM, FACTORY, REGISTRY, REGISTERED), '$build("small")'),
    Kind((BATCHNORM, FACTORY, REGISTRY, REGISTERED), '$build("factory", dropout=0.5)'),
    Kind((BATCHNORM,), "nn.DataParallel($Net())"),
    Kind((BOTH,), "copy.deepcopy($Net())", "body"),
    Kind(
        (BACKBONE, ON_BACKBONE),
        "nn.Sequential(*list($Net().children())[:-1], nn.Linear(4, 2))",
    ),
    Kind(
        (),
        "nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))",
    ),
)
MISTAKEN = (
    Kind((BACKBONE, FROZEN_BACKBONE), "$Net()", "backbone"),
    Kind((LOSES_MODE, ON_BACKBONE), "$Net()", "backbone"),
    Kind((FORCES_MODE, ON_BACKBONE), "$Net()"),
    Kind((RETURNS_NOTHING, ON_BACKBONE), "$Net()"),
    Kind((HIDES_METHOD,), "$Net()"),
)
"""Kinds with a mistake in the class itself."""


def choose(random: Random, layout: Layout, *, mistaken: bool = False) -> Kind:
    """One kind, also one with a mistake in it; its definitions are added to the program."""
    kind = random.choice(KINDS + MISTAKEN if mistaken else KINDS)
    for name, text in kind.definitions:
        layout.define(name, text, "networks")
    return kind
