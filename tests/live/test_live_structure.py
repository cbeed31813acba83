"""What a run measures of structure: the shift through weights, and modules that are shared."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnlint.live import drift
from bnlint.live.check import check


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(12, 6), (4000, 12)),
        (nn.Conv1d(4, 6, 3, padding=1), (800, 4, 9)),
        (nn.Conv2d(4, 6, 3, stride=2, groups=2), (400, 4, 9, 9)),
        (nn.Conv3d(2, 6, 2, bias=False), (200, 2, 5, 5, 5)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_variance_that_dropout_adds(
    layer: nn.Module, shape: tuple[int, ...], rate: float
) -> None:
    data = torch.randn(shape).relu() + 0.5
    with torch.no_grad():
        plain, noisy = layer(data), layer(F.dropout(data, rate))
        noise = (noisy - plain).transpose(0, 1).flatten(1).square().mean(1)
    predicted = drift.added_variance(layer, data, rate)
    assert predicted is not None
    assert torch.allclose(predicted, noise, rtol=0.1)


def test_what_has_no_closed_form() -> None:
    data = torch.randn(8, 4, 5, 5)
    assert drift.added_variance(nn.ConvTranspose2d(4, 4, 2), data, 0.5) is None
    assert drift.added_variance(nn.Linear(100, 4), data, 0.5) is None
    assert drift.added_variance(nn.Conv2d(4, 4, 1), data, 1.0) is None


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_check_measures_the_shift_through_weights(rate: float) -> None:
    model = nn.Sequential(
        nn.Dropout(rate), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.BatchNorm1d(8)
    )
    first, second = check(model, torch.randn(4000, 16).relu()).layers
    predicted = first.numbers["variance_ratio_predicted"]
    assert first.numbers["variance_ratio"] == pytest.approx(predicted, rel=0.03)
    assert "variance_ratio" not in second.numbers


def test_dropout_of_whole_channels_has_no_prediction() -> None:
    model = nn.Sequential(nn.Dropout2d(0.5), nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8))
    (layer,) = check(model, torch.randn(64, 4, 6, 6)).layers
    assert layer.numbers["variance_ratio_predicted"] is None
    assert isinstance(layer.numbers["variance_ratio"], float)


class Twice(nn.Module):
    """One BatchNorm on two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.norm(first) + self.norm(second)


def test_how_far_two_calls_lie_apart() -> None:
    data = torch.randn(4000, 4)
    one, two = check(Twice(), (data, 3 * data + 2)).layers
    # means 0 and 2 about 1; variances 1 and 9 about 5: d^2 = (1/5) + v (1/sqrt(v) - 1/sqrt(5))^2
    expected = max((0.2 + v * (v**-0.5 - 5**-0.5) ** 2) ** 0.5 for v in (1, 9))
    assert one.numbers["apart"] == pytest.approx(expected, rel=0.05)
    assert two.numbers["apart"] == one.numbers["apart"]
    assert one.numbers["calls"] == 2


def test_two_views_of_one_distribution_are_not_reported() -> None:
    same = check(Twice(), (torch.randn(500, 4), torch.randn(500, 4)))
    other = check(Twice(), (torch.randn(500, 4), 3 + torch.randn(500, 4)))
    assert "BNL208" not in {finding.code for finding in same.findings}
    assert "BNL208" in {finding.code for finding in other.findings}


def test_only_layers_behind_dropout_have_a_drift_with_dropout() -> None:
    before, behind = nn.BatchNorm1d(6), nn.BatchNorm1d(6)
    model = nn.Sequential(before, nn.Dropout(0.5), nn.Linear(6, 6), nn.ReLU(), behind).eval()
    first, last = check(model, torch.randn(64, 6)).layers
    assert "d_dropout" not in first.numbers
    assert isinstance(last.numbers["d_dropout"], float)


class Again(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.bn(x) + 1)


def test_calls_of_one_layer_whose_input_is_no_number_lie_at_no_distance() -> None:
    x = torch.full((16, 6), float("nan"))
    for layer in check(Again().eval(), x).layers:
        assert layer.numbers["calls"] == 2
        assert (layer.numbers["apart"], layer.numbers["apart_floor"]) == (None, None)
