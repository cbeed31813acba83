"""What generated modules are made of: helpers, layers, blocks, and ways to write a step."""

from __future__ import annotations

BEFORE = """\
BN = nn.BatchNorm2d
Norm = partial(nn.BatchNorm2d, momentum=0.2)


def conv(i=4, o=4, k=3, bias=True):
    return nn.Conv2d(i, o, k, padding=k // 2, bias=bias)


def conv_bn(o, *rest, norm_layer=None):
    norm_layer = norm_layer or nn.BatchNorm2d
    return nn.Sequential(conv(4, o, bias=False), norm_layer(o), *rest)


class ConvNorm(nn.Sequential):
    def __init__(self, k=1, act=nn.ReLU):
        super().__init__(conv(k=k), nn.BatchNorm2d(4), act())


class Pre(nn.Module):
    def __init__(self, norm_layer=nn.BatchNorm2d, relu_first=False):
        super().__init__()
        self.norm = norm_layer(4, eps=1e-4)
        self.conv = conv()
        self.relu_first = relu_first

    def forward(self, x):
        if self.relu_first:
            return self.conv(self.norm(F.relu(x)))
        return self.conv(F.relu(self.norm(x)))


class Post(Pre):
    def forward(self, x):
        return super().forward(x) + x


class Own(nn.BatchNorm2d):
    def __init__(self):
        super().__init__(4, eps=1e-2)

    def forward(self, x):
        return F.relu(super().forward(x))


class Pair(nn.Module):
    norm_layer = nn.BatchNorm2d

    def __init__(self):
        nn.Module.__init__(self)
        self.norm = self.norm_layer(4)
        self.conv = conv()

    def forward(self, x):
        y = self.norm(x)
        return y, self.conv(y)


class Dense(nn.ModuleDict):
    def __init__(self, count=2):
        super().__init__()
        for i in range(count):
            self.add_module(f"norm{i + 1}", nn.BatchNorm2d(4 * (i + 1)))
            self[f"conv{i + 1}"] = conv(4 * (i + 1), 4)

    def forward(self, x):
        features = [x]
        for i in range(2):
            x = self[f"norm{i + 1}"](torch.cat(features, 1))
            features.append(self[f"conv{i + 1}"](F.relu(x)))
        return features[-1]


class Base(nn.Module):
    def __init__(self, *args, **kwargs):
        super().__init__()
        self.build(*args, **kwargs)

    def forward(self, x):
        x = self.stem(x)
        return self.tail(x)


class Child(Base):
    def build(self, n=4, norm=nn.BatchNorm2d, **more):
        self.bn = norm(n, **more)
        self.c = conv()

    def stem(self, x):
        return self.c(x)

    def tail(self, x):
        return self.bn(x)


def stage(block, count, **options):
    return nn.Sequential(*(block(**options) for _ in range(count)))


def make(kind):
    if kind == "norm":
        return nn.BatchNorm2d(4)
    elif kind == "conv":
        return conv()
    raise ValueError(kind)


"""
FLAT = "x = self.NAME_bn(self.NAME(x.mean((2, 3)))).view(-1, 4, 1, 1) + x"
ATOMS = (
    "conv()",
    "conv(k=1)",
    "nn.Conv2d(4, 4, 3, 1, 1, bias=False)",
    "nn.BatchNorm2d(4)",
    "nn.BatchNorm2d(num_features=4, eps=1e-3)",
    "BN(4)",
    "Norm(4)",
    "nn.BatchNorm2d(4, affine=False)",
    "nn.ReLU()",
    "nn.ReLU(inplace=False)",
    "nn.GELU()",
    "nn.Sigmoid()",
    "nn.Dropout(0.2)",
    "nn.Dropout2d()",
    "nn.Identity()",
    "nn.AvgPool2d(3, 1, 1)",
    "nn.GroupNorm(2, 4)",
)
PARTS = (
    "conv_bn(4)",
    "conv_bn(4, nn.ReLU())",
    "conv_bn(4, nn.ReLU(), norm_layer=Norm)",
    "ConvNorm()",
    "ConvNorm(k=3, act=nn.SiLU)",
    "Pre()",
    "Pre(Norm)",
    "Pre(relu_first=True)",
    "Post()",
)
IDIOMS = (
    ("self.NAME = F.relu\nself.NAME_bn = BN(4)", "x = self.NAME(self.NAME_bn(x))"),
    ("self.NAME = torch.relu\nself.NAME_bn = BN(4)", "x = self.NAME_bn(self.NAME(x))"),
    ("self.NAME = getattr(nn, 'BatchNorm2d')(4)", "x = self.NAME(x)"),
    ("self.NAME = {'bn': BN, 'gn': nn.GroupNorm}['bn'](4)", "x = self.NAME(x)"),
    ("options = {'eps': 1e-4, 'momentum': None}\nself.NAME = BN(4, **options)", "x = self.NAME(x)"),
    ("sizes = (4,)\nself.NAME = BN(*sizes)", "x = self.NAME(x)"),
    ("self.NAME = partial(BN, eps=1e-4)(4)", "x = self.NAME(x)"),
    ("self.NAME = (lambda n: BN(n, momentum=0.3))(2 * 2)", "x = self.NAME(x)"),
    ("self.NAME = stage(Pre, 2)", "x = self.NAME(x)"),
    ("self.NAME = stage(ConvNorm, 2, k=3)", "x = self.NAME(x)"),
    ("self.NAME = make('norm')\nself.NAME_c = make('conv')", "x = self.NAME(self.NAME_c(x))"),
    ("self.NAME = LAYER\nself.NAME_d = copy.deepcopy(self.NAME)", "x = self.NAME_d(self.NAME(x))"),
    (
        "self.NAME = nn.ModuleList([LAYER])\nself.NAME += [OTHER]",
        "for f in self.NAME:\n    x = f(x)",
    ),
    (
        "self.NAME = nn.ModuleList()\nself.NAME.extend([LAYER, OTHER])",
        "for f in self.NAME:\n    x = f(x)",
    ),
    (
        "self.NAME_a = nn.ModuleList([LAYER, LAYER])\nself.NAME_b = nn.ModuleList([OTHER, BN(4)])",
        "for a, b in zip(self.NAME_a, self.NAME_b):\n    x = b(a(x))",
    ),
    ("self.NAME = nn.Sequential(LAYER, OTHER, BN(4))", "x = self.NAME[1:](self.NAME[0](x))"),
    ("self.NAME = nn.Sequential(LAYER, OTHER)", "for f in self.NAME.children():\n    x = f(x)"),
    (
        "self.NAME = nn.Sequential(LAYER, OTHER)",
        "for k, f in self.NAME.named_children():\n    x = f(x)",
    ),
    (
        "self.NAME = nn.Sequential(LAYER, OTHER)",
        "for f in self.NAME._modules.values():\n    x = f(x)",
    ),
    ("self.NAME = nn.Sequential(*[f(4) for f in (BN, Norm)])", "x = self.NAME(x)"),
    ("self.NAME = LAYER", "found = [x]\nfound.append(self.NAME(found[-1]))\nx = found[-1]"),
    ("self.NAME = LAYER", "parts = [x, self.NAME(x)]\nx = parts[0] + parts[1]"),
    ("self.NAME = LAYER", "x = sum([x, self.NAME(x)])"),
    ("self.NAME = LAYER", "seen = {'x': self.NAME(x)}\nx = seen['x']"),
    ("self.NAME = LAYER", "x, z = self.NAME(x), x\nx = x + z"),
    ("self.NAME = LAYER", "x = (z := self.NAME(x)) + z"),
    ("self.NAME = LAYER", "def inner(t):\n    return self.NAME(t)\nx = inner(x)"),
    ("self.NAME = LAYER", "x = (lambda t: self.NAME(t))(x)"),
    ("self.NAME = LAYER", "i = 0\nwhile i < 2:\n    x = self.NAME(x)\n    i += 1"),
    ("self.NAME = LAYER", "with torch.no_grad():\n    x = self.NAME(x)"),
    ("self.NAME = LAYER", "try:\n    x = self.NAME(x)\nfinally:\n    pass"),
    ("self.NAME = LAYER", "assert x.dim() == 4, 'images'\nx = self.NAME(x)"),
    ("self.NAME = LAYER", "x = self.NAME(x.contiguous().to(x.device))"),
    (
        "self.NAME = LAYER\nself.NAME_n = 3",
        "for _ in range(self.NAME_n - 1):\n    x = self.NAME(x)",
    ),
    ("self.NAME = BN(4)", "x = self.NAME(input=F.gelu(x))"),
    ("self.NAME = BN(4)", "x = torch.sigmoid(self.NAME(x)) * x"),
    ("self.NAME = nn.Linear(4, 4)\nself.NAME_bn = nn.BatchNorm1d(4)", FLAT),
    ("self.NAME = nn.BatchNorm1d(8)", "x = self.NAME(x.mean(1)).unsqueeze(1) + x"),
    ("self.add_module('NAME', LAYER)", "x = self.NAME(x)"),
    ("self.NAME = nn.ParameterList()\nself.NAME_bn = BN(4)", "x = self.NAME_bn(x)"),
    ("self.NAME = Own()", "x = self.NAME(x)"),
    ("self.NAME = Pair()", "x, _ = self.NAME(x)"),
    ("self.NAME = Pair()", "x = self.NAME(x)[1]"),
    ("self.NAME = Dense()", "x = self.NAME(x)"),
    ("self.NAME = Child()", "x = self.NAME(x)"),
    (
        "self.NAME = nn.Sequential(nn.Conv2d(4, 4, 1), BN(4))\nself.NAME[1] = OTHER",
        "x = self.NAME(x)",
    ),
    ("self.NAME = nn.Sequential(LAYER, BN(4))\nself.NAME.insert(1, OTHER)", "x = self.NAME(x)"),
)
FUNCTIONAL = (
    "x = F.relu(x)",
    "x = torch.relu(x)",
    "x = x.relu()",
    "x = F.dropout(x, 0.1, self.training)",
    "x = torch.sigmoid(x)",
    "x = F.relu(x, inplace=True)",
    "x = F.leaky_relu(x, 0.1)",
    "x = x.clone()\nx.relu_()",
    "x = x.clone()\nF.relu(x, inplace=True)",
    "x = x.view(x.size(0), 4, 8, 8)",
    "x = x.flatten(2).reshape(-1, 4, 8, 8)",
    "x = x * 2",
    "x = F.avg_pool2d(x, 3, 1, 1)",
)
