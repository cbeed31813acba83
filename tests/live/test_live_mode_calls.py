"""Functions that drop or normalise as in training, seen in a run of a model in evaluation mode."""

from __future__ import annotations

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bnlint


class Inner(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.drop = nn.Dropout(0.3)
        self.register_buffer("running_mean", torch.zeros(8))
        self.register_buffer("running_var", torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        match self.kind:
            case "forgotten":
                return F.dropout(x)
            case "following":
                return F.dropout(self.drop(x), 0.2, self.training)
            case "none":
                return F.dropout(x, 0.0)
            case "attention":
                return F.scaled_dot_product_attention(x, x, x, dropout_p=0.2)
            case "attending":
                rate = 0.2 if self.training else 0.0
                return F.scaled_dot_product_attention(x, x, x, dropout_p=rate)
            case "statistics":
                return F.batch_norm(x, self.running_mean, self.running_var, training=True)
            case "batch":
                return F.batch_norm(x, None, None, training=True)
            case _:
                return F.batch_norm(x, self.running_mean, self.running_var, None, None, False)


def found_in(kind: str, *, training: bool = False) -> list[bnlint.Finding]:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), Inner(kind)).train(training)
    report = bnlint.check(model, torch.randn(16, 8))
    return [finding for finding in report.findings if finding.code == "BNL105"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("forgotten", "return F.dropout(x)"),
        ("attention", "x, x, x, dropout_p=0.2"),
        ("statistics", "self.running_var, training=True"),
    ],
)
def test_what_does_not_follow_the_mode(kind: str, text: str) -> None:
    (finding,) = found_in(kind)
    assert finding.module == "2"
    lines, first = inspect.getsourcelines(Inner)
    assert finding.place is not None
    assert text in lines[finding.place.line - first]


@pytest.mark.parametrize("kind", ["following", "none", "attending", "batch", "running"])
def test_what_follows_the_mode(kind: str) -> None:
    assert found_in(kind) == []


@pytest.mark.parametrize("kind", ["forgotten", "attention", "statistics"])
def test_a_model_in_training_mode_tells_nothing(kind: str) -> None:
    assert found_in(kind, training=True) == []


def test_layers_that_somebody_left_in_training_mode_are_no_functions() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)).eval()
    model[2].train()
    report = bnlint.check(model, torch.randn(16, 8))
    assert "BNL105" not in {finding.code for finding in report.findings}
