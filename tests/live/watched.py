"""Models and steps for the tests of `bnlint.watch`."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from bnlint.live.watch import Watch

IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A small classifier with a BatchNorm2d and, on one value per channel, a BatchNorm1d."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 4)
        self.head = nn.BatchNorm1d(4)

    def features(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fc(self.features(x).mean((2, 3))))


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def optimizer(model: nn.Module) -> Optimizer:
    return SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)


def step(model: Callable[[Tensor], Tensor], optimizer: Optimizer, x: Tensor = IMAGES) -> None:
    optimizer.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()


def predict(model: Callable[[Tensor], Tensor], x: Tensor = IMAGES) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(1)


def line_of(function: Callable[..., object], text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if text in line)


def codes(watching: Watch) -> list[str]:
    return [finding.code for finding in watching.findings]


class Maps(nn.Module):
    """On maps a batch of one does not raise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
