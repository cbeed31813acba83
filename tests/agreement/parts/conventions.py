"""Conventions of detection and mobile networks, enumerations, mixed inheritance."""

from __future__ import annotations

from files import Part

PARTS = (
    Part(
        "divisible",
        """\
def make_divisible(v, divisor=2, min_value=None):
    min_value = min_value or divisor
    new_v = max(min_value, int(v + divisor / 2) // divisor * divisor)
    if new_v < 0.9 * v:
        new_v += divisor
    return new_v


def to_pair(value):
    if isinstance(value, (tuple, list)):
        return tuple(value)
    return (value, value)


class Divisible(nn.Module):
    def __init__(self, width=4, ratio=1.3, kernel_size=3):
        super().__init__()
        kernel_size = to_pair(kernel_size)
        hidden = make_divisible(width * ratio)
        padding = (kernel_size[0] // 2, kernel_size[1] // 2)
        self.conv = nn.Conv2d(width, hidden, kernel_size, padding=padding)
        self.bn = nn.BatchNorm2d(hidden)
        self.out = nn.Conv2d(hidden, width, 1)

    def forward(self, x):
        return self.out(self.bn(self.conv(x)).relu())


def divisible(**kwargs):
    return Divisible(**dict(ratio=1.5, **kwargs))

""",
        ("$divisible()", "$divisible(kernel_size=1)", "$divisible(width=4, kernel_size=(3, 1))"),
    ),
    Part(
        "Autopad",
        """\
def autopad(k, p=None, d=1):
    if d > 1:
        k = d * (k - 1) + 1 if isinstance(k, int) else [d * (x - 1) + 1 for x in k]
    if p is None:
        p = k // 2 if isinstance(k, int) else [x // 2 for x in k]
    return p


class Autopad(nn.Module):
    default_act = nn.SiLU()

    def __init__(self, c1, c2, k=1, s=1, p=None, g=1, d=1, act=True):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, autopad(k, p, d), groups=g, dilation=d, bias=False)
        self.bn = nn.BatchNorm2d(c2)
        given = act if isinstance(act, nn.Module) else nn.Identity()
        self.act = self.default_act if act is True else given

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))

    def forward_fuse(self, x):
        return self.act(self.conv(x))

""",
        ("$Autopad(4, 4)", "$Autopad(4, 4, 3, act=False)", "$Autopad(4, 4, (1, 3), act=nn.ReLU())"),
    ),
    Part(
        "CSP",
        """\
class CSP(nn.Module):
    def __init__(self, c1, c2, n=1, shortcut=True, e=0.5):
        super().__init__()
        self.c = int(c2 * e)
        self.cv1 = $Autopad(c1, 2 * self.c, 1, 1)
        self.cv2 = $Autopad((2 + n) * self.c, c2, 1)
        self.m = nn.ModuleList($Autopad(self.c, self.c, 3, act=nn.ReLU()) for _ in range(n))

    def forward(self, x):
        y = list(self.cv1(x).chunk(2, 1))
        y.extend(m(y[-1]) for m in self.m)
        return self.cv2(torch.cat(y, 1))

""",
        ("$CSP(4, 4)", "$CSP(4, 4, n=2)"),
    ),
    Part(
        "Backbone",
        """\
class Backbone(nn.Module):
    arch_settings = {2: (4, (1, 1)), 3: (6, (1, 2, 1))}

    def __init__(self, depth, out_indices=(1,), frozen_stages=-1, norm_eval=False):
        super().__init__()
        if depth not in self.arch_settings:
            raise KeyError(f"invalid depth {depth}")
        width, blocks = self.arch_settings[depth]
        self.stem = nn.Conv2d(4, width, 1)
        self.out_indices = out_indices
        self.names = []
        for i, count in enumerate(blocks):
            layers = [$conv_bn(width, inputs=width) for _ in range(count)]
            name = f"layer{i + 1}"
            self.add_module(name, nn.Sequential(*layers))
            self.names.append(name)
        self.head = nn.Conv2d(width, 4, 1)
        self._freeze_stages(frozen_stages)

    def _freeze_stages(self, frozen_stages):
        for i in range(1, frozen_stages + 1):
            m = getattr(self, f"layer{i}")
            m.eval()
            for param in m.parameters():
                param.requires_grad = False

    def features(self, x):
        x = self.stem(x)
        outs = []
        for i, name in enumerate(self.names):
            layer = getattr(self, name)
            x = layer(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def forward(self, x):
        outs = self.features(x)
        if len(outs) == 1:
            return self.head(outs[0])
        return self.head(sum(outs))

""",
        ("$Backbone(2)", "$Backbone(3, out_indices=(0, 2))", "$Backbone(2, frozen_stages=1)"),
    ),
    Part(
        "by_kind",
        """\
class Kind(enum.Enum):
    BATCH = "batch"
    GROUP = "group"
    NONE = "none"


def norm_of(kind, width):
    if kind is Kind.BATCH:
        return nn.BatchNorm2d(width)
    if kind == Kind.GROUP:
        return nn.GroupNorm(2, width)
    return nn.Identity()


class ByKind(nn.Module):
    def __init__(self, kind=Kind.BATCH, width=4):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 1)
        self.norm = norm_of(kind, width)

    def forward(self, x):
        return self.norm(self.conv(x))


def by_kind(name):
    return ByKind(Kind[name])

""",
        ("$by_kind('BATCH')", "$by_kind('NONE')", "$by_kind('GROUP')"),
    ),
    Part(
        "split",
        """\
class SplitConfig(NamedTuple):
    width: int = 4
    eps: float = 1e-3
    act: str = "relu"


class Defaults:
    width = 4
    momentum = 0.3


class Split(nn.Module):
    def __init__(self, cfg=SplitConfig()):
        super().__init__()
        self.norm = nn.BatchNorm2d(cfg.width, cfg.eps, Defaults.momentum)
        self.act = nn.ReLU() if cfg.act.lower() == "relu" else nn.Tanh()
        self.conv = nn.Conv2d(Defaults.width, cfg.width, 1)

    def forward(self, x, skip=None):
        x = self.conv(self.act(self.norm(x)))
        if skip is not None:
            x = x + skip
        return x


def split(act):
    return Split(SplitConfig(act=act))

""",
        ("$split('ReLU')", "$split('tanh')"),
    ),
    Part(
        "RepBlock",
        """\
class RepBlock(nn.Module):
    def __init__(self, width=4, deploy=False):
        super().__init__()
        self.deploy = deploy
        self.nonlinearity = nn.ReLU()
        if deploy:
            self.rbr_reparam = nn.Conv2d(width, width, 3, padding=1)
        else:
            self.rbr_identity = nn.BatchNorm2d(width)
            self.rbr_dense = $conv_bn(width)
            self.rbr_1x1 = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))

    def forward(self, inputs):
        if hasattr(self, "rbr_reparam"):
            return self.nonlinearity(self.rbr_reparam(inputs))
        if self.rbr_identity is None:
            id_out = 0
        else:
            id_out = self.rbr_identity(inputs)
        return self.nonlinearity(self.rbr_dense(inputs) + self.rbr_1x1(inputs) + id_out)

""",
        ("$RepBlock()", "$RepBlock(deploy=True)"),
    ),
    Part(
        "Diamond",
        """\
class NormFirst(nn.Module):
    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.norm = nn.BatchNorm2d(width)

    def before(self, x):
        return self.norm(x)

    def after(self, x):
        return x

    def forward(self, x):
        return self.after(self.conv(self.before(x)))


class ConvHolder(nn.Module):
    def __init__(self, kernel=1):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, kernel)

    def after(self, x):
        return F.relu(x)


class Diamond(NormFirst, ConvHolder):
    def before(self, x):
        return F.gelu(super().before(x))

""",
        ("$Diamond()", "$Diamond(kernel=1)"),
    ),
    Part(
        "Attend",
        """\
class Attend(nn.Module):
    def __init__(self, width=4, heads=2):
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        b, c, h, w = x.shape
        tokens = self.norm(x.flatten(2)).transpose(1, 2)
        tokens, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return x + tokens.transpose(1, 2).reshape(b, c, h, w)

""",
        ("$Attend()",),
    ),
    Part(
        "OwnStatistics",
        """\
class OwnStatistics(nn.Module):
    def __init__(self, width=4, eps=1e-4):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))

    def forward(self, x):
        return F.batch_norm(
            x, self.mean, self.var, self.weight, self.bias, self.training, 0.1, self.eps
        )

""",
        ("$OwnStatistics()", "nn.Sequential($conv(), $OwnStatistics(), nn.ReLU())"),
    ),
)
