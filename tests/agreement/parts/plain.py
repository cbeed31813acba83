"""Constants, functions and small blocks."""

from __future__ import annotations

from files import Part

PARTS = (
    Part("WIDTH", "WIDTH = 4\n"),
    Part("BN", "BN = nn.BatchNorm2d\n"),
    Part("Norm", "Norm = partial(nn.BatchNorm2d, momentum=0.2)\n"),
    Part(
        "conv",
        """\
def conv(i=4, o=4, k=3, bias=True):
    return nn.Conv2d(i, o, k, padding=k // 2, bias=bias)

""",
        ("$conv(k=1)", "$conv(bias=False)"),
    ),
    Part(
        "conv_bn",
        """\
def conv_bn(o, *rest, norm_layer=None, inputs=4):
    norm_layer = norm_layer or nn.BatchNorm2d
    return nn.Sequential($conv(inputs, o, bias=False), norm_layer(o), *rest)

""",
        ("$conv_bn(4)", "$conv_bn(4, nn.ReLU())", "$conv_bn(4, nn.ReLU(), norm_layer=$Norm)"),
    ),
    Part(
        "conv_unit",
        """\
def conv_unit(inp, oup, norm_layer=None, act=nn.ReLU6, use_norm=True, p=0.0):
    if norm_layer is None:
        norm_layer = nn.BatchNorm2d
    layers = [nn.Conv2d(inp, oup, 3, 1, 1, bias=not use_norm)]
    if use_norm:
        layers.append(norm_layer(oup))
    if act is not None:
        layers.append(act(inplace=True))
    if p > 0:
        layers.append(nn.Dropout(p))
    return nn.Sequential(*layers)

""",
        (
            "$conv_unit(4, 4)",
            "$conv_unit(4, 4, act=None)",
            "$conv_unit(4, 4, use_norm=False, p=0.3)",
            "nn.Sequential($conv_unit(4, 6, act=nn.SELU), $conv_unit(6, 4, $Norm))",
        ),
    ),
    Part(
        "make",
        """\
def make(kind, width=4, **options):
    if kind == "bn":
        return nn.BatchNorm2d(width, **options)
    elif kind in ("conv", "convolution"):
        return $conv(width, width, **options)
    elif kind == "none":
        return nn.Identity()
    raise ValueError(kind)

""",
        ("$make('bn')", "$make('bn', eps=1e-3)", "$make('convolution', k=1)", "$make('none')"),
    ),
    Part(
        "NORMS",
        """\
NORMS = {
    "bn": nn.BatchNorm2d,
    "bn_slow": lambda c: nn.BatchNorm2d(c, momentum=0.01),
    "gn": partial(nn.GroupNorm, 2),
    "none": nn.Identity,
}

""",
        ("$NORMS['bn'](4)", "$NORMS['gn'](4)", "$NORMS['bn_slow'](4)", "$NORMS['none'](4)"),
    ),
    Part(
        "get_norm",
        """\
def get_norm(name, **options):
    if name not in $NORMS:
        raise KeyError(name)
    cls = $NORMS.get(name)
    return partial(cls, **options) if options else cls

""",
        ("$get_norm('bn')(4)", "$get_norm('bn', eps=1e-4)(4)", "$get_norm('none')(4)"),
    ),
    Part(
        "ConvNorm",
        """\
class ConvNorm(nn.Sequential):
    def __init__(self, k=1, act=nn.ReLU):
        super().__init__($conv(k=k), nn.BatchNorm2d(4), act())

""",
        ("$ConvNorm()", "$ConvNorm(k=3, act=nn.SiLU)"),
    ),
    Part(
        "NamedUnit",
        """\
class NamedUnit(nn.Sequential):
    def __init__(self, width, drop=None):
        super(NamedUnit, self).__init__()
        self.add_module("norm", nn.BatchNorm2d(width))
        self.add_module("relu", nn.ReLU(inplace=True))
        self.add_module("conv", nn.Conv2d(width, width, 1, bias=False))
        if drop:
            self.add_module("drop", nn.Dropout(drop))

""",
        ("$NamedUnit(4)", "$NamedUnit(4, drop=0.1)", "$NamedUnit(width=4, drop=0)"),
    ),
    Part(
        "OrderedUnit",
        """\
class OrderedUnit(nn.Sequential):
    def __init__(self, inp=4, oup=4, kernel=3, groups=1):
        padding = (kernel - 1) // 2
        super().__init__(
            OrderedDict(
                [
                    ("conv", nn.Conv2d(inp, oup, kernel, padding=padding, groups=groups)),
                    ("bn", nn.BatchNorm2d(oup, eps=1e-3)),
                ]
            )
        )

    def forward(self, x):
        return F.relu(super().forward(x))

""",
        ("$OrderedUnit()", "$OrderedUnit(kernel=1)", "$OrderedUnit(4, 4, groups=2)"),
    ),
    Part(
        "Own",
        """\
class Own(nn.BatchNorm2d):
    def __init__(self):
        super().__init__(4, eps=1e-2)

    def forward(self, x):
        return F.relu(super().forward(x))

""",
        ("$Own()",),
    ),
    Part(
        "SlowNorm",
        """\
class SlowNorm(nn.BatchNorm2d):
    def __init__(self, width, momentum=0.01, **kwargs):
        super().__init__(width, momentum=momentum, **kwargs)

""",
        ("$SlowNorm(4)", "$SlowNorm(4, eps=1e-4)", "$SlowNorm(4, 0.5, affine=True)"),
    ),
    Part(
        "WrappedNorm",
        """\
class WrappedNorm(nn.Module):
    def __init__(self, channels, act=True):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    def forward(self, inputs):
        return self.act(self.norm(inputs))

""",
        ("$WrappedNorm(4)", "$WrappedNorm(4, act=False)", "$conv_bn(4, norm_layer=$WrappedNorm)"),
    ),
    Part(
        "Residual",
        """\
class Residual(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x, *args, **kwargs):
        return self.fn(x, *args, **kwargs) + x

""",
        (
            "$Residual(nn.BatchNorm2d(4))",
            "$Residual($conv_bn(4))",
            "$Residual(nn.Sequential($conv(), nn.BatchNorm2d(4), nn.GELU()))",
        ),
    ),
    Part(
        "Apply",
        """\
class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)

""",
        ("$Apply(F.relu)", "$Apply(lambda t: t.relu() * 2)", "$Apply(torch.tanh)"),
    ),
    Part(
        "SqueezeExcite",
        """\
class SqueezeExcite(nn.Module):
    def __init__(self, channels, reduction=2):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction),
            nn.ReLU(inplace=True),
            nn.Linear(channels // reduction, channels),
            nn.Sigmoid(),
        )

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.pool(x).view(b, c)
        y = self.fc(y).view(b, c, 1, 1)
        return x * y.expand_as(x)

""",
        ("$SqueezeExcite(4)",),
    ),
)
