"""Registries, configurations and conventions of large frameworks."""

from __future__ import annotations

from files import Part

PARTS = (
    Part(
        "build_registered",
        """\
REGISTRY = {}


def register(name):
    def wrap(cls):
        REGISTRY[name] = cls
        return cls

    return wrap


@register("plain")
class PlainUnit(nn.Module):
    def __init__(self, width, **kwargs):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 1)
        self.norm = nn.BatchNorm2d(width, **kwargs)

    def forward(self, x):
        return self.norm(self.conv(x))


@register("pre")
class PreUnit(PlainUnit):
    def forward(self, x):
        return self.conv(F.relu(self.norm(x)))


def build_registered(kind, *args, **kwargs):
    cls = REGISTRY[kind]
    return cls(*args, **kwargs)

""",
        ("$build_registered('plain', 4)", "$build_registered('pre', 4, eps=1e-3)"),
    ),
    Part(
        "build_norm_layer",
        """\
NORM_TYPES = {"BN": ("bn", nn.BatchNorm2d), "GN": ("gn", nn.GroupNorm)}


def build_norm_layer(cfg, num_features, postfix=""):
    cfg_ = cfg.copy()
    layer_type = cfg_.pop("type")
    if layer_type not in NORM_TYPES:
        raise KeyError(f"unknown norm {layer_type}")
    abbr, norm_layer = NORM_TYPES[layer_type]
    name = abbr + str(postfix)
    requires_grad = cfg_.pop("requires_grad", True)
    cfg_.setdefault("eps", 1e-5)
    if layer_type != "GN":
        layer = norm_layer(num_features, **cfg_)
    else:
        layer = norm_layer(num_channels=num_features, **cfg_)
    for param in layer.parameters():
        param.requires_grad = requires_grad
    return name, layer

""",
        (
            "$build_norm_layer({'type': 'BN'}, 4)[1]",
            "$build_norm_layer(dict(type='BN', eps=1e-3), 4)[-1]",
        ),
    ),
    Part(
        "NormByName",
        """\
class NormByName(nn.Module):
    def __init__(self, width=4, norm_cfg=dict(type="BN", momentum=0.2), act_cfg=None):
        super().__init__()
        self.norm1_name, norm1 = $build_norm_layer(norm_cfg, width, postfix=1)
        self.norm2_name, norm2 = $build_norm_layer(norm_cfg, width, postfix=2)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.add_module(self.norm1_name, norm1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.add_module(self.norm2_name, norm2)
        self.relu = nn.ReLU(inplace=True)

    @property
    def norm1(self):
        return getattr(self, self.norm1_name)

    @property
    def norm2(self):
        return getattr(self, self.norm2_name)

    def forward(self, x):
        def _inner_forward(x):
            identity = x
            out = self.relu(self.norm1(self.conv1(x)))
            out = self.norm2(self.conv2(out))
            out += identity
            return out

        return self.relu(_inner_forward(x))

""",
        ("$NormByName()", "$NormByName(norm_cfg={'type': 'BN', 'eps': 1e-3})"),
    ),
    Part(
        "ConvModule",
        """\
class ConvModule(nn.Module):
    def __init__(
        self,
        inp,
        out,
        k=1,
        norm_cfg=None,
        act_cfg=dict(type="ReLU"),
        order=("conv", "norm", "act"),
    ):
        super().__init__()
        assert norm_cfg is None or isinstance(norm_cfg, dict)
        assert isinstance(order, tuple) and len(order) == 3
        self.order = order
        self.with_norm = norm_cfg is not None
        self.with_activation = act_cfg is not None
        self.conv = nn.Conv2d(inp, out, k, padding=k // 2, bias=not self.with_norm)
        if self.with_norm:
            if order.index("norm") > order.index("conv"):
                norm_channels = out
            else:
                norm_channels = inp
            self.norm_name, norm = $build_norm_layer(norm_cfg, norm_channels)
            self.add_module(self.norm_name, norm)
        if self.with_activation:
            act_cfg_ = act_cfg.copy()
            self.activate = getattr(nn, act_cfg_.pop("type"))(**act_cfg_)

    @property
    def norm(self):
        if self.with_norm:
            return getattr(self, self.norm_name)
        else:
            return None

    def forward(self, x, activate=True, norm=True):
        for layer in self.order:
            if layer == "conv":
                x = self.conv(x)
            elif layer == "norm" and norm and self.with_norm:
                x = self.norm(x)
            elif layer == "act" and activate and self.with_activation:
                x = self.activate(x)
        return x

""",
        (
            "$ConvModule(4, 4)",
            "$ConvModule(4, 4, 3, norm_cfg=dict(type='BN'))",
            "$ConvModule(4, 4, norm_cfg={'type': 'BN', 'eps': 1e-3}, act_cfg=None)",
            "$ConvModule(4, 4, norm_cfg=dict(type='BN'), order=('norm', 'act', 'conv'))",
        ),
    ),
)
