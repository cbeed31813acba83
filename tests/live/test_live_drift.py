"""The formulas of drift against real BatchNorm passes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bnlint.live import curve, drift
from bnlint.live.check import check
from bnlint.live.moments import by_position, moments, probes, skew, zeros_share

EPS = 1e-5
LARGE = torch.randn(20000, 8, generator=torch.Generator().manual_seed(0))


@st.composite
def inputs(draw: st.DrawFn) -> Tensor:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = [draw(st.integers(2, 9)), draw(st.integers(1, 5))]
    shape += [draw(st.integers(1, 5)) for _ in range(draw(st.integers(0, 3)))]
    data = torch.randn(shape, generator=generator, dtype=torch.float64)
    return data * draw(st.floats(0.01, 50)) + draw(st.floats(-20, 20))


@settings(deadline=None, max_examples=80)
@given(data=inputs(), mean=st.floats(-5, 5), var=st.floats(0.01, 30), seed=st.integers(0, 99))
def test_d_squared_is_what_a_second_pass_measures(
    data: Tensor, mean: float, var: float, seed: int
) -> None:
    channels = data.shape[1]
    generator = torch.Generator().manual_seed(seed)
    gamma = torch.rand(channels, generator=generator, dtype=torch.float64) + 0.5
    beta = torch.randn(channels, generator=generator, dtype=torch.float64)
    running_mean = torch.full((channels,), mean, dtype=torch.float64)
    running_var = torch.full((channels,), var, dtype=torch.float64)
    train = F.batch_norm(data, None, None, gamma, beta, True, 0.0, EPS)
    evaluated = F.batch_norm(data, running_mean, running_var, gamma, beta, False, 0.0, EPS)
    dims = [dim for dim in range(data.dim()) if dim != 1]
    expected = (train - evaluated).square().mean(dims) / gamma.square()

    found = moments(data)
    d = drift.channel_drift(found.mean, found.variance, running_mean, running_var, EPS)

    assert torch.allclose(d.square(), expected, rtol=1e-7, atol=1e-9)


@settings(deadline=None, max_examples=80)
@given(data=inputs())
def test_moments_agree_with_torch(data: Tensor) -> None:
    found = moments(data)
    dims = [dim for dim in range(data.dim()) if dim != 1]
    assert torch.allclose(found.mean, data.mean(dims))
    assert torch.allclose(found.variance, data.var(dims, correction=0), rtol=1e-6, atol=1e-12)
    assert found.values == data.numel() // data.shape[1]


def test_moments_where_the_difference_would_cancel() -> None:
    data = torch.randn(8, 3, 6, 6) * 1e-3 + 100
    expected = data.double().var((0, 2, 3), correction=0)
    assert torch.allclose(moments(data).variance.double(), expected, rtol=1e-2)


def correlated(samples: int, generator: torch.Generator) -> Tensor:
    """Images whose positions are far from independent: a common shift and smooth noise."""
    shift = torch.randn(samples, 6, 1, 1, generator=generator)
    noise = torch.randn(samples, 6, 4, 4, generator=generator)
    return 0.5 * shift + F.interpolate(noise, size=(16, 16), mode="bilinear")


@pytest.mark.parametrize("size", [2, 4, 8, 16, 32])
def test_cluster_formula_predicts_the_drift_of_small_batches(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    pool = correlated(4096, generator)
    population = moments(pool)
    predicted = curve.predicted_drift(population, size, EPS)
    assert predicted is not None
    squares = []
    for _ in range(300):
        picked = torch.randint(len(pool), (size,), generator=generator)
        batch = moments(pool[picked])
        d = drift.channel_drift(
            batch.mean, batch.variance, population.mean, population.variance, EPS
        )
        squares.append(d.square())
    measured = torch.stack(squares).mean(0).sqrt()
    assert float((predicted / measured).mean()) == pytest.approx(1, abs=0.12)
    independent = math.sqrt(1.5 / (size * 256))
    assert independent < 0.5 * float(measured.mean())


def test_floor_is_the_drift_of_clean_statistics() -> None:
    generator = torch.Generator().manual_seed(0)
    population = moments(correlated(4096, generator))
    batch = moments(correlated(32, generator))
    d = drift.channel_drift(batch.mean, batch.variance, population.mean, population.variance, EPS)
    floor = curve.predicted_drift(batch, 32, EPS)
    assert floor is not None
    assert 0.3 < float(d.mean() / floor.mean()) < 1.5


def test_a_single_sample_has_no_noise_floor() -> None:
    assert curve.predicted_drift(moments(torch.randn(1, 4, 8, 8)), 1, EPS) is None


@pytest.mark.parametrize(
    ("name", "data", "ratio"),
    [("normal", LARGE, 0.50), ("relu", LARGE.relu(), 0.405)],
)
def test_dropout_variance_ratio_in_closed_form(name: str, data: Tensor, ratio: float) -> None:
    found = moments(data)
    predicted = drift.dropout_variance_ratio(found.mean, found.variance, 0.5)
    measured = moments(F.dropout(data, 0.5)).variance.mean() / found.variance.mean()
    assert predicted == pytest.approx(float(measured), rel=0.01)
    assert 1 / float(predicted or 1) == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.8])
def test_check_measures_the_variance_shift(rate: float) -> None:
    model = nn.Sequential(nn.ReLU(), nn.Dropout(rate), nn.BatchNorm1d(16))
    (layer,) = check(model, torch.randn(4000, 16)).layers
    assert layer.numbers["variance_ratio"] == pytest.approx(
        layer.numbers["variance_ratio_predicted"], rel=0.05
    )


def test_alpha_dropout_has_no_prediction() -> None:
    model = nn.Sequential(nn.SELU(), nn.AlphaDropout(0.3), nn.BatchNorm1d(16))
    (layer,) = check(model, torch.randn(2000, 16)).layers
    assert layer.numbers["variance_ratio_predicted"] is None
    assert layer.numbers["variance_ratio"] == pytest.approx(1, abs=0.1)


def test_zeros_and_skew() -> None:
    data = by_position(torch.randn(400, 6, 4).relu())
    probed = probes(data)
    assert probed.shape == (256, 6)
    assert zeros_share(probed) == pytest.approx(0.5, abs=0.06)
    assert skew(probed) > 1
    assert skew(torch.ones(9, 2)) == 0


def test_relative_distance_and_predictions() -> None:
    first, second = torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([[3.0, 0.0], [4.0, 0.0]])
    assert drift.relative_distance([first], [first]) == 0.0
    assert drift.relative_distance([first], [second]) == pytest.approx(math.sqrt(32) / 5)
    assert drift.relative_distance([torch.tensor([1])], [torch.tensor([1])]) is None
    assert drift.flips([first], [second], 2).tolist() == [0.0, 1.0]
    assert drift.predictions([torch.randn(2, 1)], 2) is None
    assert drift.predictions([torch.randn(3, 5)], 2) is None


def test_d_names_the_corrupted_layer() -> None:
    """One layer's statistics are wrong; the layers behind it must not take the blame."""
    torch.manual_seed(0)
    blocks = [
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()) for _ in range(6)
    ]
    model = nn.Sequential(*blocks)
    data = torch.randn(64, 8, 8, 8)
    with torch.no_grad():
        for _ in range(60):
            model(data)
    clean = check(model.eval(), data)
    assert max(layer.d or 0 for layer in clean.layers) < 0.06
    model[2][1].running_var.mul_(9)
    report = check(model, data)
    ranked = sorted(report.layers, key=lambda layer: -(layer.d or 0))
    assert ranked[0].name == "2.1"
    assert (ranked[1].d or 0) < 0.06
    behind = [layer.cumulative or 0 for layer in report.layers if layer.name > "2.1"]
    assert min(behind) > 0.1
