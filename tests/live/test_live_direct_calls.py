"""Calls that go past the hooks, and operands that are no data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import bnlint
from bnlint.graph import Kind


class Direct(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.bn.forward(x)).relu()


class Shaped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(x)
        return torch.tanh(x.flatten(1).view_as(y)) * 2


def test_a_forward_called_without_hooks_has_its_layers_name() -> None:
    layers = bnlint.check(Direct(), torch.randn(4, 4, 8, 8)).layers
    assert [(layer.name, layer.call) for layer in layers] == [("bn", 0), ("bn", 1)]


def test_a_tensor_that_only_says_the_shape_feeds_nothing() -> None:
    layers = bnlint.check(Shaped(), torch.randn(4, 4, 8, 8)).layers
    assert Kind.ACTIVATION not in layers[0].consumers


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(x)
        return x + torch.zeros_like(x) + x.new_ones(1)


def test_a_tensor_made_in_the_shape_of_another_is_not_fed_by_it() -> None:
    layers = bnlint.check(Noisy(), torch.randn(4, 4, 8, 8)).layers
    assert set(layers[0].consumers) == {Kind.ADD}
