"""The formulas of small batches and of dropout, against what is measured."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from small_networks import NETWORKS, images, trained
from torch import Tensor, nn

from bnlint.live import drift
from bnlint.live.check import check
from bnlint.live.curve import BATCH_SIZES, measurable, measured_curve, predicted_curve
from bnlint.live.moments import (
    Samples,
    by_model_sample,
    by_position,
    by_sample,
    moments,
    moments_of,
    pooled,
)
from bnlint.rules.curves import curve, expected_drift, sufficient_batch

EPS = 1e-5


def test_batch_norm_is_the_textbook_form() -> None:
    """F.batch_norm is gamma (x - mean) / sqrt(var + eps) + beta, in both modes."""
    data = torch.randn(16, 5, 4, 3, dtype=torch.float64) * 3 + 2
    gamma, beta, mean = (torch.randn(5, dtype=torch.float64) for _ in range(3))
    variance = torch.rand(5, dtype=torch.float64) + 0.1

    def textbook(mean: Tensor, variance: Tensor) -> Tensor:
        shape = (1, -1, 1, 1)
        scaled = (data - mean.view(shape)) / torch.sqrt(variance.view(shape) + EPS)
        return gamma.view(shape) * scaled + beta.view(shape)

    in_eval = F.batch_norm(data, mean, variance, gamma, beta, False, 0.0, EPS)
    assert torch.allclose(in_eval, textbook(mean, variance), atol=1e-12)
    of_batch = data.mean((0, 2, 3)), data.var((0, 2, 3), correction=0)
    in_training = F.batch_norm(data, None, None, gamma, beta, True, 0.0, EPS)
    assert torch.allclose(in_training, textbook(*of_batch), atol=1e-12)


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> nn.Sequential:
    return trained(request.param, steps=60)


def inputs_of(model: nn.Module, data: Tensor) -> list[Samples]:
    """The samples' moments at every BatchNorm of a model in evaluation mode."""
    found: list[Samples] = []
    handles = [
        module.register_forward_pre_hook(
            lambda _, args: found.append(by_sample(by_position(args[0])))
        )
        for module in model.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
    ]
    with torch.no_grad():
        model(data)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.slow
def test_the_prediction_of_each_layer_is_within_9_percent(network: nn.Sequential) -> None:
    sizes = (2, 4, 8, 16, 32)
    data = images(768, torch.Generator().manual_seed(5))[0]
    layers = inputs_of(network, data)
    assert len(layers) >= 4
    predicted = torch.stack([_rms(predicted_curve(moments_of(s), sizes, EPS)) for s in layers])
    measured = torch.stack([_rms(measured_curve(s, sizes, EPS, draws=400)) for s in layers])
    assert float((predicted / measured - 1).abs().max()) < 0.09, predicted / measured
    # the few draws of a check add their own error, which falls when layers are taken together
    measured = torch.stack([_rms(measured_curve(s, sizes, EPS)) for s in layers])
    ratio = (predicted.square().mean(0) / measured.square().mean(0)).sqrt()
    assert float((ratio - 1).abs().max()) < 0.12, ratio


def _rms(by_channel: Tensor | None) -> Tensor:
    assert by_channel is not None
    return by_channel.square().mean(1).sqrt()


def test_sub_sampling_agrees_with_real_batches() -> None:
    """Against batches that are really put together from the samples."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(200, 6, 5, generator=generator) + torch.randn(200, 6, 1, generator=generator)
    whole = moments(data)
    (measured,) = measured_curve(by_sample(data), (8,), EPS)
    squares = []
    for _ in range(200):
        batch = moments(data[torch.randperm(200, generator=generator)[:8]])
        d = drift.channel_drift(batch.mean, batch.variance, whole.mean, whole.variance, EPS)
        squares.append(d.square())
    expected = (torch.stack(squares).mean() * (199 / 192)).sqrt()
    assert float(measured.square().mean().sqrt()) == pytest.approx(float(expected), rel=0.1)


def test_which_sizes_can_be_drawn() -> None:
    assert measurable(3) == ()
    assert measurable(4) == (2,)
    assert measurable(64) == (2, 4, 8, 16, 32)


@pytest.mark.parametrize("sizes", [(1, 1), (5, 9), (1, 6)])
def test_pooled_moments_are_those_of_the_whole(sizes: tuple[int, int]) -> None:
    parts = [torch.randn(size, 4, 7) + index for index, size in enumerate(sizes)]
    found, whole = pooled(*map(moments, parts)), moments(torch.cat(parts))
    assert torch.allclose(found.mean, whole.mean, atol=1e-5)
    assert torch.allclose(found.variance, whole.variance, rtol=1e-4)
    assert found.spread is not None and whole.spread is not None
    assert torch.allclose(found.spread, whole.spread, rtol=1e-3)
    assert (found.samples, found.values) == (whole.samples, whole.values)


@pytest.mark.parametrize("neighbours", [True, False])
def test_rows_of_one_sample_are_one_cluster(neighbours: bool) -> None:
    steps = torch.randn(32, 1, 8) + 0.1 * torch.randn(32, 10, 8)
    order = steps if neighbours else steps.transpose(0, 1)
    rows = by_sample(by_position(order.reshape(320, 8)))
    grouped = by_model_sample(rows, 32)
    assert grouped.positions == 10
    assert torch.allclose(grouped.means, steps.mean(1), atol=1e-5)
    assert torch.allclose(grouped.variances, steps.var(1, correction=0), atol=1e-5)
    assert by_model_sample(rows, 33) is rows


def test_recurrent_rows_have_a_floor_of_their_samples() -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm1d(8)

        def forward(self, x: Tensor) -> Tensor:
            return self.bn(x.flatten(0, 1))

    data = torch.randn(64, 1, 8).expand(64, 20, 8)
    (layer,) = check(Steps(), data).layers
    assert layer.batch == 64 * 20 and layer.numbers["samples"] == 64
    assert layer.floor == pytest.approx(math.sqrt(1.5 / 64), rel=0.15)


def test_the_check_reports_the_curve() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 6))
    model.append(nn.BatchNorm1d(6))
    report = check(model, torch.randn(64, 3, 8, 8))
    on_map, on_rows = (curve(layer.numbers) for layer in report.layers)
    assert tuple(on_map) == BATCH_SIZES
    assert 1 not in on_rows  # one value per channel has no statistics
    assert all(on_map[size] < on_rows[size] for size in on_rows)
    assert sorted(on_map.values(), reverse=True) == list(on_map.values())
    for layer in report.layers:
        for size in (2, 4, 8, 16, 32):
            predicted, found = (layer.numbers[f"{n}_at_{size}"] for n in ("drift", "measured"))
            assert predicted == pytest.approx(found, rel=0.35)


def test_rules_read_the_curve() -> None:
    numbers = {"drift_at_2": 0.8, "drift_at_4": 0.4, "drift_at_8": 0.2, "d": 9.0}
    assert expected_drift(numbers, 4) == 0.4
    assert expected_drift(numbers, 3) == pytest.approx(0.4 * math.sqrt(4 / 3))
    assert expected_drift(numbers, 9) is None
    assert sufficient_batch(numbers, 0.4) == 4
    assert sufficient_batch(numbers, 0.1) is None


@pytest.mark.parametrize(("positions", "speaks"), [(1, True), (256, False)])
def test_a_small_batch_is_judged_by_the_size_of_the_map(positions: int, speaks: bool) -> None:
    side = int(math.sqrt(positions))
    model = nn.Sequential(nn.BatchNorm2d(16))
    report = check(model, torch.randn(4, 16, side, side), phase="training")
    found = [finding for finding in report.findings if finding.code == "BNL301"]
    assert bool(found) is speaks
    for finding in found:
        assert "on 4 samples" in finding.message
        assert "'0'" in finding.message
        assert finding.measurement["sufficient_batch"] in (16, 32, 64, 128)
        assert f"from {finding.measurement['sufficient_batch']} samples on" in finding.message


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("activation", [nn.Identity, nn.ReLU])
def test_the_variance_shift_of_dropout_to_a_hundredth(
    rate: float, activation: type[nn.Module]
) -> None:
    """Evaluation over training, as Li et al. give it, for a large sample."""
    torch.manual_seed(1)
    model = nn.Sequential(activation(), nn.Dropout(rate), nn.BatchNorm1d(64))
    (layer,) = check(model, torch.randn(20000, 64)).layers
    measured, predicted = (
        layer.numbers[name] for name in ("variance_ratio", "variance_ratio_predicted")
    )
    assert isinstance(measured, float) and isinstance(predicted, float)
    assert 1 / measured == pytest.approx(1 / predicted, abs=0.01)
