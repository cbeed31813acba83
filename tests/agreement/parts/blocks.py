"""Blocks with flags, inheritance, helper methods and classes as arguments."""

from __future__ import annotations

from files import Part

PARTS = (
    Part(
        "Pre",
        """\
class Pre(nn.Module):
    def __init__(self, norm_layer=nn.BatchNorm2d, relu_first=False):
        super().__init__()
        self.norm = norm_layer(4, eps=1e-4)
        self.conv = $conv()
        self.relu_first = relu_first

    def forward(self, x):
        if self.relu_first:
            return self.conv(self.norm(F.relu(x)))
        return self.conv(F.relu(self.norm(x)))

""",
        ("$Pre()", "$Pre($Norm)", "$Pre(relu_first=True)"),
    ),
    Part(
        "Post",
        """\
class Post($Pre):
    def forward(self, x):
        return super().forward(x) + x

""",
        ("$Post()", "$Post(relu_first=True)"),
    ),
    Part(
        "Base",
        """\
class Base(nn.Module):
    activation = F.relu
    expansion = 1

    def __init__(self, *args, **kwargs):
        super().__init__()
        self.build(*args, **kwargs)

    def forward(self, x):
        x = self.stem(x)
        return self.tail(x)

    def stem(self, x):
        return x

    def tail(self, x):
        return F.relu(x)

""",
    ),
    Part(
        "Child",
        """\
class Child($Base):
    def build(self, n=4, norm=nn.BatchNorm2d, **more):
        self.bn = norm(n * self.expansion, **more)
        self.c = $conv()

    def stem(self, x):
        return self.c(x)

    def tail(self, x):
        return self.bn(x)

""",
        ("$Child()", "$Child(norm=$Norm, eps=1e-3)", "$Child(4, momentum=None)"),
    ),
    Part(
        "HalfChild",
        """\
class HalfChild($Child):
    def __init__(self, *args, first=True, **kwargs):
        super().__init__(*args, **kwargs)
        self.first = nn.BatchNorm2d(4) if first else None

    def stem(self, x):
        if self.first is not None:
            x = self.first(x)
        return super(HalfChild, self).stem(x)

""",
        ("$HalfChild()", "$HalfChild(first=False)", "$HalfChild(4, first=True, eps=1e-3)"),
    ),
    Part(
        "NormMixin",
        """\
class NormMixin:
    eps = 1e-3

    def norm(self, width):
        return nn.BatchNorm2d(width, eps=self.eps)

    @staticmethod
    def join(first, second):
        return F.relu(first + second)

    @classmethod
    def standard(cls):
        return cls(4)

    @property
    def layers(self):
        return [self.conv, self.bn]

""",
    ),
    Part(
        "Mixed",
        """\
class Mixed($NormMixin, nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 1)
        self.bn = self.norm(width)

    def forward(self, x):
        y = x
        for layer in self.layers:
            y = layer(y)
        return self.join(x, y)

""",
        ("$Mixed(4)", "$Mixed.standard()"),
    ),
    Part(
        "Sandwich",
        """\
class Sandwich(nn.Module):
    def __init__(self, block, norm_layer, act_layer=nn.ReLU, *, order="cna", **kwargs):
        super().__init__()
        self.order = order
        self.c = block(**kwargs)
        self.n = norm_layer(4)
        self.a = act_layer()

    def forward(self, x):
        for letter in self.order:
            if letter == "c":
                x = self.c(x)
            elif letter == "n":
                x = self.n(x)
            else:
                x = self.a(x)
        return x

""",
        (
            "$Sandwich($conv, nn.BatchNorm2d)",
            "$Sandwich($conv, $Norm, nn.GELU, order='nac', k=1)",
            "$Sandwich(block=$Pre, norm_layer=$BN, order='acn', relu_first=True)",
            "$Sandwich(partial($conv, k=1), partial(nn.BatchNorm2d, eps=1e-3))",
        ),
    ),
    Part(
        "Pair",
        """\
class Pair(nn.Module):
    norm_layer = nn.BatchNorm2d

    def __init__(self):
        nn.Module.__init__(self)
        self.norm = self.norm_layer(4)
        self.conv = $conv()

    def forward(self, x):
        y = self.norm(x)
        return y, self.conv(y)

""",
    ),
    Part(
        "WithDict",
        """\
class WithDict(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        norm = cfg.get("norm", "bn")
        self.norm = nn.BatchNorm2d(cfg["width"], eps=cfg.get("eps", 1e-5)) if norm == "bn" else None
        self.conv = nn.Conv2d(cfg["width"], cfg["width"], cfg["kernels"][0])

    def forward(self, x):
        out = {"conv": self.conv(x)}
        if self.norm is not None:
            out["norm"] = self.norm(out["conv"])
            return out["norm"]
        return out["conv"]

""",
        (
            "$WithDict({'width': 4, 'kernels': [1, 3], 'eps': 1e-4})",
            "$WithDict(dict(width=4, kernels=(1,), norm='none'))",
        ),
    ),
    Part(
        "configured",
        """\
@dataclass
class Config:
    width: int = 4
    eps: float = 1e-3
    use_norm: bool = True
    dropout: float = 0.0
    sizes: list = field(default_factory=lambda: [4, 6, 4])

    @property
    def double(self):
        return self.width * 2


class Configured(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.up = nn.Conv2d(config.width, config.double, 1)
        self.norm = nn.BatchNorm2d(config.double, config.eps) if config.use_norm else nn.Identity()
        self.drop = nn.Dropout(config.dropout)
        self.down = nn.Conv2d(config.double, config.width, 1)

    def forward(self, x):
        return self.down(self.drop(F.gelu(self.norm(self.up(x)))))


def configured(**changes):
    return Configured(Config(**changes))

""",
        ("$configured()", "$configured(eps=1e-4, dropout=0.2)", "$configured(use_norm=False)"),
    ),
    Part(
        "stage",
        """\
def stage(block, count, **options):
    return nn.Sequential(*(block(**options) for _ in range(count)))

""",
        ("$stage($Pre, 2)", "$stage($ConvNorm, 2, k=3)", "$stage(block=$Pre, count=1)"),
    ),
)
