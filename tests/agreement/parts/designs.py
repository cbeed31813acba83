"""Published designs in small: U-Net, Inception, hourglass, MobileNet, VGG."""

from __future__ import annotations

from files import Part

PARTS = (
    Part(
        "UNet",
        """\
class UNet(nn.Module):
    def __init__(self, width=4, depth=2):
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        features = [width * 2 ** i for i in range(depth)]
        inputs = width
        for feature in features:
            self.downs.append(self.double(inputs, feature))
            inputs = feature
        for feature in reversed(features):
            self.ups.append(nn.ConvTranspose2d(feature * 2, feature, 2, 2))
            self.ups.append(self.double(feature * 2, feature))
        self.middle = self.double(features[-1], features[-1] * 2)

    def double(self, inputs, outputs):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        skips = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
            x = self.pool(x)
        x = self.middle(x)
        skips = skips[::-1]
        for i in range(0, len(self.ups), 2):
            x = self.ups[i](x)
            x = self.ups[i + 1](torch.cat((skips[i // 2], x), dim=1))
        return x

""",
        ("$UNet()", "$UNet(depth=1)"),
    ),
    Part(
        "PoppingUNet",
        """\
class PoppingUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleList([$conv_unit(4, 4) for _ in range(2)])
        self.decoder = nn.ModuleList([$conv_unit(8, 4, use_norm=i > 0) for i in range(2)])
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        for stage in self.decoder:
            x = F.interpolate(x, scale_factor=2)
            x = stage(torch.cat([x, skips.pop()], dim=1))
        return self.norm(x)

""",
        ("$PoppingUNet()",),
    ),
    Part(
        "Hourglass",
        """\
class Hourglass(nn.Module):
    def __init__(self, depth, width=4):
        super().__init__()
        self.up = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))
        if depth > 1:
            self.inner = Hourglass(depth - 1, width)
        else:
            self.inner = nn.BatchNorm2d(width)
        self.low = $conv(width, width)

    def forward(self, x):
        low = F.max_pool2d(x, 2)
        low = self.low(self.inner(low))
        return self.up(x) + F.interpolate(low, scale_factor=2)

""",
        ("$Hourglass(1)", "$Hourglass(2)", "$Hourglass(depth=2, width=4)"),
    ),
    Part(
        "Recursive",
        """\
class Recursive(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.depth = depth
        self.norms = nn.ModuleList(self._build(depth))

    def _build(self, n):
        if n == 0:
            return []
        return [nn.BatchNorm2d(4), *self._build(n - 1)]

    def _run(self, n, x):
        x = self.norms[n - 1](x)
        if n > 1:
            x = self._run(n - 1, F.relu(x))
        return x

    def forward(self, x):
        return self._run(self.depth, x)

""",
        ("$Recursive()", "$Recursive(2)", "$Recursive(4)"),
    ),
    Part(
        "Inception",
        """\
class Inception(nn.Module):
    def __init__(self, in_channels, pool_features, conv_block=None):
        super().__init__()
        if conv_block is None:
            conv_block = BasicConv
        self.branch1x1 = conv_block(in_channels, 1, kernel_size=1)
        self.branch3x3_1 = conv_block(in_channels, 2, kernel_size=1)
        self.branch3x3_2 = conv_block(2, 2, kernel_size=3, padding=1)
        self.branch_pool = conv_block(in_channels, pool_features, kernel_size=1)

    def _forward(self, x):
        branch1x1 = self.branch1x1(x)
        branch3x3 = self.branch3x3_2(self.branch3x3_1(x))
        branch_pool = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        branch_pool = self.branch_pool(branch_pool)
        outputs = [branch1x1, branch3x3, branch_pool]
        return outputs

    def forward(self, x):
        outputs = self._forward(x)
        return torch.cat(outputs, 1)


class BasicConv(nn.Module):
    def __init__(self, in_channels, out_channels, **kwargs):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x):
        x = self.conv(x)
        x = self.bn(x)
        return F.relu(x, inplace=True)

""",
        ("$Inception(4, 1)", "$Inception(4, pool_features=1)"),
    ),
    Part(
        "InvertedResidual",
        """\
class InvertedResidual(nn.Module):
    def __init__(self, inp, oup, stride=1, expand_ratio=2, norm_layer=None):
        super().__init__()
        hidden_dim = int(round(inp * expand_ratio))
        self.use_res_connect = stride == 1 and inp == oup
        if norm_layer is None:
            norm_layer = nn.BatchNorm2d
        layers = []
        if expand_ratio != 1:
            layers.append($conv_unit(inp, hidden_dim, norm_layer=norm_layer))
        layers.extend([
            nn.Conv2d(hidden_dim, oup, 1, bias=False),
            norm_layer(oup),
        ])
        self.conv = nn.Sequential(*layers)

    def forward(self, x):
        if self.use_res_connect:
            return x + self.conv(x)
        else:
            return self.conv(x)

""",
        (
            "$InvertedResidual(4, 4)",
            "$InvertedResidual(4, 4, expand_ratio=1)",
            "nn.Sequential($InvertedResidual(4, 6), $InvertedResidual(6, 4, 1, 1.5))",
        ),
    ),
    Part(
        "Vgg",
        """\
CFGS = {"A": [4, "M", 8], "B": [8, 4, "M"]}


def make_layers(cfg, batch_norm=False):
    layers = []
    in_channels = 4
    for v in cfg:
        if v == "M":
            layers += [nn.MaxPool2d(kernel_size=3, stride=1, padding=1)]
        else:
            conv2d = nn.Conv2d(in_channels, v, kernel_size=3, padding=1)
            if batch_norm:
                layers += [conv2d, nn.BatchNorm2d(v), nn.ReLU(inplace=True)]
            else:
                layers += [conv2d, nn.ReLU(inplace=True)]
            in_channels = v
    return nn.Sequential(*layers)


class Vgg(nn.Module):
    def __init__(self, cfg="A", batch_norm=True):
        super().__init__()
        self.features = make_layers(CFGS[cfg], batch_norm)
        self.head = nn.LazyConv2d(4, 1) if cfg not in CFGS else nn.Conv2d(CFGS[cfg][-1], 4, 1)

    def forward(self, x):
        return self.head(self.features(x))

""",
        ("$Vgg()", "$Vgg(batch_norm=False)"),
    ),
)
