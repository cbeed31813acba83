"""Published designs in small: ResNet and DenseNet."""

from __future__ import annotations

from files import Part

PARTS = (
    Part(
        "BasicBlock",
        """\
class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inplanes, planes, stride=1, downsample=None, norm_layer=None):
        super().__init__()
        if norm_layer is None:
            norm_layer = nn.BatchNorm2d
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x):
        identity = x
        out = self.conv1(x)
        out = self.bn1(out)
        out = self.relu(out)
        out = self.conv2(out)
        out = self.bn2(out)
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        out = self.relu(out)
        return out

""",
        ("$BasicBlock(4, 4)", "$BasicBlock(4, 4, norm_layer=$Norm)"),
    ),
    Part(
        "Bottleneck",
        """\
class Bottleneck(nn.Module):
    expansion = 2

    def __init__(self, inplanes, planes, stride=1, downsample=None, norm_layer=nn.BatchNorm2d):
        super(Bottleneck, self).__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inplanes, planes, 1, bias=False),
            norm_layer(planes),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes * self.expansion, 1, bias=False),
            norm_layer(planes * self.expansion),
        )
        self.downsample = downsample

    def forward(self, x):
        residual = self.downsample(x) if self.downsample is not None else x
        return F.relu(self.body(x) + residual)

""",
    ),
    Part(
        "Stages",
        """\
class Stages(nn.Module):
    def __init__(self, block, layers, norm_layer=None, zero_init=True):
        super().__init__()
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self.inplanes = 4
        self.layer1 = self._make_layer(block, 4, layers[0])
        self.layer2 = self._make_layer(block, 2, layers[1], stride=1)
        self.head = nn.Conv2d(2 * block.expansion, 4, 1)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
                nn.init.constant_(m.weight, 1)
        if zero_init:
            for m in self.modules():
                if isinstance(m, $BasicBlock):
                    nn.init.constant_(m.bn2.weight, 0)

    def _make_layer(self, block, planes, blocks, stride=1):
        norm_layer = self._norm_layer
        downsample = None
        if stride != 1 or self.inplanes != planes * block.expansion:
            downsample = nn.Sequential(
                nn.Conv2d(self.inplanes, planes * block.expansion, 1, stride, bias=False),
                norm_layer(planes * block.expansion),
            )
        layers = [block(self.inplanes, planes, stride, downsample, norm_layer=norm_layer)]
        self.inplanes = planes * block.expansion
        for _ in range(1, blocks):
            layers.append(block(self.inplanes, planes, norm_layer=norm_layer))
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.layer1(x)
        x = self.layer2(x)
        return self.head(x)

""",
        (
            "$Stages($BasicBlock, [1, 1])",
            "$Stages($Bottleneck, [2, 1])",
            "$Stages($Bottleneck, (1, 2), norm_layer=$Norm)",
        ),
    ),
    Part(
        "resnet",
        """\
def _resnet(block, layers, **kwargs):
    model = $Stages(block, layers, **kwargs)
    return model


def resnet(depth, **kwargs):
    spec = {10: ($BasicBlock, [1, 1]), 14: ($Bottleneck, [2, 1])}
    block, layers = spec[depth]
    return _resnet(block, layers, **kwargs)

""",
        ("$resnet(10)", "$resnet(14, zero_init=False)"),
    ),
    Part(
        "Dense",
        """\
class Dense(nn.ModuleDict):
    def __init__(self, count=2):
        super().__init__()
        for i in range(count):
            self.add_module(f"norm{i + 1}", nn.BatchNorm2d(4 * (i + 1)))
            self[f"conv{i + 1}"] = $conv(4 * (i + 1), 4)

    def forward(self, x):
        features = [x]
        for i in range(2):
            x = self[f"norm{i + 1}"](torch.cat(features, 1))
            features.append(self[f"conv{i + 1}"](F.relu(x)))
        return features[-1]

""",
        ("$Dense()",),
    ),
    Part(
        "dense",
        """\
class DenseLayer(nn.Module):
    def __init__(self, inputs, growth, bn_size, drop_rate):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, bn_size * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth)
        self.conv2 = nn.Conv2d(bn_size * growth, growth, 3, padding=1, bias=False)
        self.drop_rate = float(drop_rate)

    def bn_function(self, inputs):
        concatenated = torch.cat(inputs, 1)
        return self.conv1(self.relu1(self.norm1(concatenated)))

    def forward(self, input):
        if isinstance(input, torch.Tensor):
            previous = [input]
        else:
            previous = input
        new = self.conv2(F.relu(self.norm2(self.bn_function(previous))))
        if self.drop_rate > 0:
            new = F.dropout(new, p=self.drop_rate, training=self.training)
        return new


class DenseBlock(nn.ModuleDict):
    def __init__(self, layers, inputs, bn_size=2, growth=2, drop_rate=0):
        super().__init__()
        for i in range(layers):
            layer = DenseLayer(inputs + i * growth, growth, bn_size, drop_rate)
            self.add_module("denselayer%d" % (i + 1), layer)

    def forward(self, init_features):
        features = [init_features]
        for name, layer in self.items():
            new_features = layer(features)
            features.append(new_features)
        return torch.cat(features, 1)


def dense(layers=2, **options):
    block = DenseBlock(layers, 4, **options)
    width = 4 + layers * options.get("growth", 2)
    return nn.Sequential(block, nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 4, 1))

""",
        ("$dense()", "$dense(1, drop_rate=0.2)", "$dense(layers=2, growth=1, bn_size=1)"),
    ),
)
