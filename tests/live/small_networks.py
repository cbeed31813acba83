"""Three small networks that are really trained, on images that are made up, and their corruption.

The data is a stream: every draw is new, so a clean network sees the distribution that it learnt.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES, SIDE = 10, 16
STEPS, BATCH = 300, 64


def images(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Smooth patterns of ten classes with random contrast, brightness, offset and noise."""
    fixed = torch.Generator().manual_seed(7)
    coarse = torch.randn(CLASSES, 3, 4, 4, generator=fixed)
    templates = F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")
    labels = torch.randint(CLASSES, (count,), generator=generator)
    contrast = 0.5 + torch.rand(count, 1, 1, 1, generator=generator)
    brightness = 0.5 * torch.randn(count, 1, 1, 1, generator=generator)
    shifts = torch.randint(-2, 3, (count,), generator=generator).tolist()
    moved = torch.stack(
        [templates[label].roll(shift, -1) for label, shift in zip(labels.tolist(), shifts)]
    )
    noise = torch.randn(count, 3, SIDE, SIDE, generator=generator)
    return contrast * moved + brightness + noise, labels


class Residual(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        stride = 1 if width == out else 2
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.down: nn.Module = nn.Identity()
        if width != out:
            self.down = nn.Sequential(
                nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.down(x))


def perceptron() -> nn.Sequential:
    widths = [3 * SIDE * SIDE, 96, 96, 64, 64]
    layers: list[nn.Module] = [nn.Flatten()]
    for width, out in pairwise(widths):
        layers += [nn.Linear(width, out), nn.BatchNorm1d(out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, CLASSES))


def convolutional() -> nn.Sequential:
    widths = [3, 16, 16, 32, 32, 48, 48]
    layers: list[nn.Module] = []
    for index, (width, out) in enumerate(pairwise(widths)):
        layers += [nn.Conv2d(width, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
        if index % 2:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, CLASSES))


def residual() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Residual(16, 16),
        Residual(16, 32),
        Residual(32, 48),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, CLASSES),
    )


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "perceptron": perceptron,
    "convolutional": convolutional,
    "residual": residual,
}


def trained(name: str, seed: int = 0, steps: int = STEPS) -> nn.Sequential:
    """The network after a short training, in evaluation mode."""
    torch.manual_seed(seed)
    model = NETWORKS[name]()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x, y = images(BATCH, generator)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


CORRUPTIONS = ("shift", "scale", "shrink", "both")


def corrupt(model: nn.Module, kind: str, generator: torch.Generator) -> str:
    """Corrupt the running statistics of one BatchNorm layer at random; its name.

    shift: the mean by one to two deviations, in a random direction for each channel; scale: the
    variance by 4 to 9; shrink: by 1/9 to 1/4; both: shift, and scale or shrink.
    """
    layers = [
        (n, m) for n, m in model.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    name, layer = layers[int(torch.randint(len(layers), (), generator=generator))]
    assert layer.running_mean is not None
    assert layer.running_var is not None

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    if kind in ("shift", "both"):
        channels = layer.num_features
        sign = torch.randint(2, (channels,), generator=generator) * 2 - 1
        layer.running_mean += between(1, 2, channels) * sign * layer.running_var.sqrt()
    factor = between(4, 9)
    if kind == "shrink" or (kind == "both" and torch.rand((), generator=generator) < 0.5):
        factor = 1 / factor
    if kind != "shift":
        layer.running_var *= factor
    return name
