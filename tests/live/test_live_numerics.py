"""Every number against an independent calculation: plain loops or numpy, in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from exact import DOUBLE, EPS, exact, near, numbers
from torch import nn

from bnlint.live import drift
from bnlint.live.curve import (
    DRAWS,
    _picks,
    measurable,
    measured_curve,
    predicted_curve,
    predicted_drift,
)
from bnlint.live.moments import (
    FEWEST_PROBES,
    PROBED_VALUES,
    PROBES,
    Moments,
    by_model_sample,
    by_position,
    by_sample,
    moments,
    moments_of,
    pooled,
    probes,
    skew,
    zeros_share,
)
from bnlint.rules.curves import curve, expected_drift, sufficient_batch

# --- drift -----------------------------------------------------------------------------------

MEAN, VARIANCE = (
    torch.tensor([1.0, -2.0, 0.0], dtype=DOUBLE),
    torch.tensor([4.0, 1.0, 0.5]).double(),
)
RUNNING = torch.tensor([0.5, 1.0, 0.0], dtype=DOUBLE), torch.tensor([1.0, 9.0, 0.5]).double()


def test_channel_drift_and_mean_shift_by_hand() -> None:
    found = drift.channel_drift(MEAN, VARIANCE, *RUNNING, EPS)
    shifts = drift.mean_shift(MEAN, *RUNNING, EPS)
    rows = zip(MEAN.tolist(), VARIANCE.tolist(), RUNNING[0].tolist(), RUNNING[1].tolist())
    for d, shift, (mu_b, v_b, mu_r, v_r) in zip(found.tolist(), shifts.tolist(), rows):
        s_b, s_r = math.sqrt(v_b + EPS), math.sqrt(v_r + EPS)
        assert shift == near(abs(mu_b - mu_r) / s_r)
        assert d == near(math.sqrt(shift**2 + v_b * (1 / s_b - 1 / s_r) ** 2))
    assert found.tolist()[2] == 0.0


def test_dropout_variance_ratio_by_hand() -> None:
    keep = 0.75
    expected = np.mean([(c**2 + v) / keep - c**2 for c, v in [(1, 4), (-2, 1), (0, 0.5)]])
    assert drift.dropout_variance_ratio(MEAN, VARIANCE, 0.25) == near(
        float(expected / VARIANCE.mean())
    )
    assert drift.dropout_variance_ratio(MEAN, VARIANCE, 0.0) == near(1)
    assert drift.dropout_variance_ratio(MEAN, VARIANCE, 1.0) is None
    assert drift.dropout_variance_ratio(MEAN, torch.zeros(3).double(), 0.5) is None
    assert drift.dropout_variance_ratio(MEAN, VARIANCE, 0.999) is not None


LAYERS = {
    "linear": (nn.Linear(3, 2), (4, 3)),
    "linear on tokens": (nn.Linear(3, 2), (4, 5, 3)),
    "conv1d": (nn.Conv1d(2, 3, 2, stride=2), (4, 2, 6)),
    "conv2d": (nn.Conv2d(2, 3, 3, padding=1), (2, 2, 5, 4)),
    "conv3d": (nn.Conv3d(1, 2, 2), (2, 1, 3, 3, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rate", [0.2, 0.9])
def test_added_variance_is_that_of_all_masks_together(name: str, rate: float) -> None:
    """The layer is linear: each input's mask adds (1/p - 1) (w x)^2, found one by one."""
    layer, shape = LAYERS[name]
    layer.double()
    data = numbers(*shape)
    found = drift.added_variance(layer, data, rate)
    total = torch.zeros_like(layer(data))
    flat = data.reshape(-1)
    for index in range(flat.numel()):
        only = torch.zeros_like(flat)
        only[index] = flat[index]
        total += (layer(only.view_as(data)) - layer(torch.zeros_like(data))).detach().square()
    axis = -1 if isinstance(layer, nn.Linear) else 1
    expected = (1 / (1 - rate) - 1) * total.movedim(axis, 0).flatten(1).mean(1)
    assert found is not None and found.tolist() == near(expected.tolist())


def test_added_variance_where_there_is_none() -> None:
    data = numbers(4, 3)
    assert drift.added_variance(nn.Linear(3, 2).double(), data, 1.0) is None
    assert drift.added_variance(nn.ReLU(), data, 0.5) is None
    assert drift.added_variance(nn.Embedding(3, 2), data, 0.5) is None
    assert drift.added_variance(nn.Linear(5, 2).double(), data, 0.5) is None


def test_finite() -> None:
    assert drift.finite(None) is None
    assert drift.finite(float("nan")) is None and drift.finite(float("-inf")) is None
    assert drift.finite(0.0) == 0.0
    assert drift.finite(torch.tensor([1.0, 2.0])) == 1.5
    assert drift.finite(torch.tensor([1.0, float("inf")])) is None


def test_distances_add_up_over_batches_and_tensors() -> None:
    distance = drift.Distance()
    assert distance.value is None
    distance.add([torch.tensor([3.0, 0.0]), torch.tensor([1])], [torch.tensor([0.0, 4.0])] * 2)
    assert distance.value == near(math.sqrt(25 / 16))
    distance.add([torch.tensor([2.0]), torch.zeros(3)], [torch.tensor([1.0]), torch.zeros(2)])
    assert distance.value == near(math.sqrt(26 / 17))
    assert drift.relative_distance([torch.zeros(2)], [torch.zeros(2)]) == 0.0
    assert drift.relative_distance([torch.ones(2)], [torch.zeros(2)]) is None
    assert drift.relative_distance([torch.tensor([1])], [torch.tensor([2])]) is None
    assert drift.relative_distance([torch.ones(2)], [torch.full((2,), float("inf"))]) is None
    assert drift.relative_distance([torch.ones(1)], [torch.tensor([4.0])]) == near(0.75)


def test_predictions_by_the_form_of_the_output() -> None:
    scores = torch.tensor([[0.0, 2.0, 1.0], [5.0, 0.0, 1.0]])
    assert drift.predictions([scores], 2).tolist() == [1, 0]
    maps = torch.zeros(2, 3, 1, 2)
    maps[0, 2, 0, 1] = maps[1, 1] = 1.0
    assert drift.predictions([maps], 2).tolist() == [[[0, 2]], [[1, 1]]]
    tokens = torch.zeros(2, 4, 3)
    tokens[0, 3, 2] = 1.0
    assert drift.predictions([tokens], 2).tolist() == [[0, 0, 0, 2], [0, 0, 0, 0]]
    others = [torch.ones(2), torch.ones(2, 3).long(), torch.ones(5, 3), torch.ones(2, 1)]
    assert drift.predictions(others, 2) is None
    assert drift.predictions([*others, scores], 2).tolist() == [1, 0]
    assert drift.predictions([scores], None) is None


def test_flips_are_shares_of_each_sample() -> None:
    first, second = torch.zeros(2, 4, 3), torch.zeros(2, 4, 3)
    second[0, 1:, 1] = 1.0
    assert drift.flips([first], [second], 2).tolist() == [0.75, 0.0]
    one, other = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert drift.flips([one], [other], 2).tolist() == [0.0, 1.0]
    assert drift.flips([first], [second[:, :2]], 2) is None
    assert drift.flips([torch.ones(2)], [torch.ones(2)], 2) is None
    assert drift.flips([one], [torch.ones(2)], 2) is None


def test_outputs_are_kept_as_copies() -> None:
    tensor = torch.ones(2, requires_grad=True)
    kept = drift.on_cpu(tensor)
    with torch.no_grad():
        tensor.zero_()
    assert kept.tolist() == [1, 1] and not kept.requires_grad


# --- moments ---------------------------------------------------------------------------------


def by_loops(data: np.ndarray) -> dict[str, np.ndarray]:
    """The moments of (N, C, P) data."""
    mean = data.mean((0, 2))
    means, variances = data.mean(2), data.var(2)
    psi = variances + (means - mean) ** 2
    return {
        "mean": mean,
        "variance": data.var((0, 2)),
        "spread": means.var(0, ddof=1),
        "psi": psi.var(0, ddof=1),
    }


@pytest.mark.parametrize("shape", [(5, 3), (4, 2, 6), (3, 2, 4, 5)])
def test_moments_by_numpy(shape: tuple[int, ...]) -> None:
    data = numbers(*shape) * 2 + 1
    found = moments(data)
    expected = by_loops(data.reshape(shape[0], shape[1], -1).numpy())
    for name, value in expected.items():
        assert getattr(found, name).numpy() == pytest.approx(value, rel=1e-6), name
    assert found.samples == shape[0]
    assert found.values == data.numel() // shape[1]


def test_positions_and_precision() -> None:
    assert by_position(torch.ones(2, 3)).shape == (2, 3, 1)
    assert by_position(torch.ones(2, 3, 4)).shape == (2, 3, 4)
    assert by_position(torch.ones(2, 3, 4, 5)).shape == (2, 3, 20)
    for dtype in (torch.float16, torch.bfloat16):
        assert by_position(torch.ones(2, 3, dtype=dtype)).dtype is torch.float32
    assert by_position(numbers(2, 3)).dtype is DOUBLE
    assert not by_position(torch.ones(2, 3, requires_grad=True)).requires_grad


def test_a_single_position_varies_within_no_sample() -> None:
    found = by_sample(numbers(4, 2, 1))
    assert found.variances.tolist() == [[0, 0]] * 4 and found.positions == 1


def test_small_variances_are_not_lost_to_cancellation() -> None:
    data = (1000 + torch.arange(8.0) * 1e-3).view(1, 1, 8).expand(2, 1, 8).contiguous()
    expected = data.double().var(-1, correction=0)
    assert by_sample(data).variances.double().tolist() == [
        [pytest.approx(v, rel=1e-2) for v in row] for row in expected.tolist()
    ]
    assert by_sample(torch.zeros(2, 1, 4)).variances.tolist() == [[0], [0]]


def test_one_sample_has_no_spread() -> None:
    found = moments(numbers(1, 2, 5))
    assert found.spread is None and found.psi is None and (found.samples, found.values) == (1, 5)


@pytest.mark.parametrize("swapped", [False, True])
def test_rows_of_a_sample_are_put_together(swapped: bool) -> None:
    """Six samples of three rows each: next to each other, or one after the other."""
    data = numbers(6, 3, 2, 4) + 5 * numbers(6, 1, 2, 1, seed=1)
    rows = (data.transpose(0, 1) if swapped else data).reshape(18, 2, 4)
    found = by_model_sample(by_sample(rows), 6)
    whole = data.transpose(1, 2).reshape(6, 2, 12)
    assert found.positions == 12
    assert found.means.numpy() == pytest.approx(whole.mean(2).numpy())
    assert found.variances.numpy() == pytest.approx(whole.var(2, correction=0).numpy())


@pytest.mark.parametrize(("rows", "batch", "joined"), [(6, 6, 6), (6, 4, 6), (4, 6, 4), (6, 1, 1)])
def test_when_rows_are_samples_themselves(rows: int, batch: int, joined: int) -> None:
    given = by_sample(numbers(rows, 2, 3))
    found = by_model_sample(given, batch)
    assert len(found.means) == joined
    assert moments_of(found).variance.tolist() == near(moments_of(given).variance.tolist())


@pytest.mark.parametrize("sizes", [(3, 5), (1, 4), (4, 1), (1, 1)])
def test_pooled_moments_by_numpy(sizes: tuple[int, int]) -> None:
    first, second = numbers(sizes[0], 2, 6), numbers(sizes[1], 2, 6, seed=1) * 2 + 1
    found = pooled(moments(first), moments(second))
    expected = by_loops(torch.cat((first, second)).numpy())
    assert found.mean.numpy() == pytest.approx(expected["mean"])
    assert found.variance.numpy() == pytest.approx(expected["variance"])
    assert found.spread.numpy() == pytest.approx(expected["spread"])
    assert (found.samples, found.values) == (sum(sizes), sum(sizes) * 6)


def test_the_pooled_second_moment_by_hand() -> None:
    ones = torch.ones(1, dtype=DOUBLE)
    first = Moments(ones * 0, ones * 2, ones, ones * 3, 4, 40)
    second = Moments(ones * 0, ones * 5, ones, ones * 7, 6, 60)
    expected = (3 * 3 + 7 * 5 + (5 - 2) ** 2 * 24 / 10) / 9
    assert pooled(first, second).psi.tolist() == near([expected])


def test_probes_are_spread_evenly() -> None:
    data = torch.arange(2 * 3 * 400.0).view(2, 3, 400)
    found = probes(data)
    assert found.shape == (PROBES, 3)
    assert found[0].tolist() == data[0, :, 0].tolist()
    assert found[-1].tolist() == data[1, :, -1].tolist()
    steps = found[: PROBES // 2 - 1, 0].diff()
    assert steps.min() >= 3 and steps.max() <= 4
    assert probes(data[:, :, :5]).shape == (10, 3)
    many = torch.zeros(2, 2 * PROBED_VALUES, 50)
    assert probes(many).shape == (FEWEST_PROBES, 2 * PROBED_VALUES)
    assert probes(torch.zeros(10, 128, 100)).shape == (PROBED_VALUES // 128, 128)


def test_zeros_and_skew_by_hand() -> None:
    probed = torch.tensor([[0.0, 1.0], [0.0, 1.0], [3.0, 1.0], [1.0, 1.0]])
    assert zeros_share(probed) == 0.25
    column = np.array([0.0, 0.0, 3.0, 1.0])
    expected = ((column - 1) ** 3).mean() / column.std() ** 3
    assert skew(probed) == pytest.approx(expected / 2)
    assert skew(torch.ones(4, 2)) == 0.0


# --- the batch-size curve --------------------------------------------------------------------


def test_the_predicted_curve_by_hand() -> None:
    found = moments(numbers(7, 2, 5) + 3 * numbers(7, 2, 1, seed=1))
    curves = predicted_curve(found, (1, 4, 9), EPS)
    assert curves.shape == (3, 2)
    for row, n in zip(curves.tolist(), (1, 4, 9)):
        for channel, value in enumerate(row):
            v, s2 = float(found.variance[channel]), float(found.spread[channel])
            psi = float(found.psi[channel])
            w = v + EPS
            expected = s2 / (n * w) + v * psi / (4 * n * w**3) + v / w * (s2 / (2 * n * w)) ** 2
            assert value == near(math.sqrt(expected))
    assert predicted_drift(found, 4, EPS).tolist() == near(curves[1].tolist())
    assert predicted_curve(moments(numbers(1, 2, 5)), (2,), EPS) is None
    assert predicted_drift(moments(numbers(1, 2, 5)), 2, EPS) is None


def test_the_measured_curve_is_that_of_the_picked_samples() -> None:
    data = numbers(9, 2, 4)
    sizes = (2, 4)
    found = measured_curve(by_sample(data), sizes, EPS)
    picks = _picks(9, sizes, DRAWS).reshape(2, DRAWS, 9)
    whole = moments(data)
    for index, size in enumerate(sizes):
        squares = []
        for pick in picks[index]:
            chosen = pick.nonzero().flatten()
            assert len(chosen) == size and pick.sum() == near(1)
            part = moments(data[chosen])
            d = drift.channel_drift(part.mean, part.variance, whole.mean, whole.variance, EPS)
            squares.append(d.square())
        expected = (torch.stack(squares).mean(0) * 8 / (9 - size)).sqrt()
        assert found[index].numpy() == pytest.approx(expected.numpy(), rel=1e-6)
    assert len({tuple(pick.tolist()) for pick in picks[0]}) > 5


def test_sizes_that_can_be_drawn() -> None:
    assert measurable(64) == (2, 4, 8, 16, 32)
    assert measurable(63) == (2, 4, 8, 16)
    assert measurable(4) == (2,) and measurable(3) == ()


def test_rules_read_the_curve() -> None:
    numbers = {"drift_at_2": 0.8, "drift_at_8": 0.4, "drift_at_4": None, "drift_atlas": "x", "d": 1}
    assert curve(numbers) == {2: 0.8, 8: 0.4}
    assert expected_drift(numbers, 1) == near(0.8 * math.sqrt(2))
    assert expected_drift(numbers, 2) == 0.8
    assert expected_drift(numbers, 5) == near(0.4 * math.sqrt(8 / 5))
    assert expected_drift(numbers, 9) is None
    assert sufficient_batch(numbers, 0.4) == 8 and sufficient_batch(numbers, 0.8) == 2
    assert sufficient_batch(numbers, 0.39) is None


# --- what is easily wrong by one, or in another precision ------------------------------------


def test_running_statistics_of_another_precision() -> None:
    mean, variance = MEAN.float(), VARIANCE.float()
    assert drift.channel_drift(mean, variance, *RUNNING, EPS).dtype is torch.float32
    assert drift.mean_shift(mean, *RUNNING, EPS).dtype is torch.float32
    half = [part.half() for part in RUNNING]
    assert drift.channel_drift(mean, variance, *half, EPS).dtype is torch.float32


def test_a_small_variance_is_one_too() -> None:
    small = exact(0.01, 0.02)
    expected = np.mean([v / 0.5 for v in (0.01, 0.02)]) / 0.015
    assert drift.dropout_variance_ratio(exact(0, 0), small, 0.5) == near(expected)


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 3, 5), (3, 1, 2)])
def test_two_samples_and_two_positions_are_enough(shape: tuple[int, ...]) -> None:
    data = numbers(*shape)
    found, expected = moments(data), by_loops(data.numpy())
    for name, value in expected.items():
        assert getattr(found, name).numpy() == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("swapped", [False, True])
def test_two_samples_of_rows(swapped: bool) -> None:
    """Channels that lie far apart, so that only the spread over samples tells the order."""
    data = numbers(2, 3, 2, 4) + exact(0, 100)[:, None] + 9 * numbers(2, 1, 2, 1, seed=1)
    rows = (data.transpose(0, 1) if swapped else data).reshape(6, 2, 4)
    found = by_model_sample(by_sample(rows), 2)
    assert found.means.numpy() == pytest.approx(data.transpose(1, 2).reshape(2, 2, 12).mean(2))
    assert isinstance(found.positions, int)


def test_skew_of_narrow_channels_that_lie_apart() -> None:
    column = np.array([0.0, 0.0, 3.0, 1.0])
    expected = ((column - 1) ** 3).mean() / column.std() ** 3
    probed = torch.tensor(np.stack([column * 1e-3, 100 + column], 1))
    assert skew(probed) == pytest.approx(expected, rel=1e-5)
