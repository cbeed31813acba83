"""The numbers of layers and outputs, and what rules make of them, against independent ones."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from exact import DOUBLE, EPS, exact, near, numbers
from torch import Tensor, nn

from bnlint.graph import Kind, LayerGraph, Node
from bnlint.live import drift
from bnlint.live.control import Control
from bnlint.live.curve import (
    BATCH_SIZES,
    predicted_curve,
    predicted_drift,
)
from bnlint.live.dropouts import shift_through_weights, variance_shift
from bnlint.live.inputs import Inputs
from bnlint.live.intercept import BatchNormCall, Plan, Source
from bnlint.live.moments import (
    moments,
)
from bnlint.live.numbers import layer_numbers
from bnlint.live.observe import Averaging, Cumulating, Drifting, Seen
from bnlint.live.passes import Outcome
from bnlint.live.sharing import sharing
from bnlint.live.statistics import facts
from bnlint.rules.statistics import SIGNIFICANT, Layer, significant_drift

# --- the numbers of a layer ------------------------------------------------------------------


def seen(data: Tensor, running: tuple[Tensor, Tensor] | None, key: str = "bn#0") -> Seen:
    found = moments(data)
    return Seen(
        key=key,
        node=0,
        training=True,
        running=running,
        eps=EPS,
        moments=found,
        rows=len(data),
        normalised=data[:, :, 0],
        sizes=(2,),
        measured=torch.tensor([[1.0, 3.0]], dtype=DOUBLE),
        zeros_share=0.5,
        skew=float("nan"),
    )


def test_the_numbers_of_a_layer_by_hand() -> None:
    data = numbers(6, 2, 4)
    running = (torch.zeros(2, dtype=DOUBLE), torch.ones(2, dtype=DOUBLE))
    call = seen(data, running)
    call.cumulative = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])]
    call.numbers["d_dropout"] = 9.0
    found = layer_numbers(call, nn.BatchNorm1d(2))
    whole = call.moments
    d = drift.channel_drift(whole.mean, whole.variance, *running, EPS)
    assert found["d"] == near(float(d.mean()))
    assert found["floor"] == near(float(predicted_drift(whole, 6, EPS).mean()))
    shift = drift.mean_shift(whole.mean, *running, EPS)
    assert found["batch_mean_shift"] == near(float(shift.mean()))
    assert found["cumulative"] == 2.5
    assert (found["batch"], found["samples"], found["values_per_channel"]) == (6, 6, 24)
    assert (found["training"], found["zeros_share"], found["skew"]) == (True, 0.5, None)
    assert found["measured_at_2"] == 2.0 and found["d_dropout"] == 9.0
    curves = predicted_curve(whole, BATCH_SIZES, EPS)
    assert [found[f"drift_at_{n}"] for n in BATCH_SIZES] == near(curves.mean(1).tolist())
    without = layer_numbers(seen(data, None), None)
    assert not {"d", "floor", "channels", "cumulative"} & without.keys()


def test_a_single_value_has_no_statistics() -> None:
    found = layer_numbers(seen(numbers(6, 2, 1), None), None)
    assert found["drift_at_1"] is None and found["drift_at_2"] is not None
    alone = seen(numbers(1, 2, 1), (torch.zeros(2), torch.ones(2)))
    assert not alone.possible
    numbers_ = layer_numbers(alone, None)
    assert "d" not in numbers_ and numbers_["channels"] == 2
    assert [numbers_[f"drift_at_{n}"] for n in BATCH_SIZES] == [None] * len(BATCH_SIZES)


def test_facts_of_running_statistics() -> None:
    nan = float("nan")
    mean = torch.tensor([0.0, nan, 0.0, 0.0, 0.0, float("inf")])
    variance = torch.tensor([1.0, 1.0, -1.0, 0.0, 0.0, 0.0])
    data = torch.randn(8, 6)
    data[:, 4] = 3.0
    norm = nn.BatchNorm1d(6, momentum=0.25)
    norm.num_batches_tracked.fill_(2)
    found = facts(mean, variance, moments(data), norm)
    assert found == {
        "channels": 6,
        "tracked": 2,
        "initial": False,
        "warm": near(1 - 0.75**2),
        "nonfinite_channels": 2,
        "negative_channels": 1,
        "collapsed_channels": 1,
    }


@pytest.mark.parametrize(
    ("mean", "variance", "initial"),
    [(0.0, 1.0, True), (0.1, 1.0, False), (0.0, 1.1, False)],
)
def test_statistics_as_constructed(mean: float, variance: float, initial: bool) -> None:
    found = facts(torch.full((2,), mean), torch.full((2,), variance), moments(numbers(4, 2)), None)
    assert found["initial"] is initial
    assert found["tracked"] is None and found["warm"] is None


@pytest.mark.parametrize(
    ("momentum", "tracked", "warm"),
    [(None, 3, 1.0), (0.1, 0, None), (0.1, 1, 0.1), (1, 1, 1.0), ("x", 3, None)],
)
def test_how_much_of_the_statistics_comes_from_data(
    momentum: object, tracked: int, warm: float | None
) -> None:
    norm = nn.BatchNorm1d(2)
    norm.momentum = momentum
    norm.num_batches_tracked.fill_(tracked)
    found = facts(norm.running_mean, norm.running_var, moments(numbers(4, 2)), norm)
    assert found["warm"] == (None if warm is None else near(warm))
    assert found["tracked"] == tracked
    norm.num_batches_tracked = None
    assert facts(exact(1, 2), exact(3, 4), moments(numbers(4, 2)), norm)["tracked"] is None


def test_calls_of_one_module_by_hand() -> None:
    calls = [seen(numbers(6, 2, 4, seed=i) * (i + 1) + i, None, f"bn#{i}") for i in range(3)]
    other = seen(numbers(6, 2, 4), None, "other#0")
    found = sharing([*calls, other])
    assert set(found) == {"bn#0", "bn#1", "bn#2"}
    mean = sum(call.moments.mean for call in calls) / 3
    variance = sum(call.moments.variance for call in calls) / 3
    distances = [
        float(drift.channel_drift(c.moments.mean, c.moments.variance, mean, variance, EPS).mean())
        for c in calls
    ]
    floors = [float(predicted_drift(c.moments, 6, EPS).mean()) for c in calls]
    for numbers_ in found.values():
        assert numbers_ == {
            "calls": 3,
            "apart": near(max(distances)),
            "apart_floor": near(max(floors)),
        }


# --- dropout ---------------------------------------------------------------------------------


def dropout(rate: object, name: str = "torch.nn.Dropout") -> tuple[Node, ...]:
    return (Node(0, Kind.DROPOUT, name, params={"p": rate}),)


def test_variance_shift_by_hand() -> None:
    without, dropping = moments(numbers(8, 2)), moments(numbers(8, 2, seed=1) * 2)
    measured = float(dropping.variance.mean() / without.variance.mean())
    expected = drift.dropout_variance_ratio(without.mean, without.variance, 0.3)
    found = variance_shift(without, dropping, dropout(0.3))
    assert found == {"variance_ratio": near(measured), "variance_ratio_predicted": near(expected)}
    for producers in (dropout(0.3, "torch.nn.AlphaDropout"), dropout("x"), dropout(None)):
        assert variance_shift(without, dropping, producers)["variance_ratio_predicted"] is None
    dead = moments(torch.ones(8, 2))
    assert set(variance_shift(dead, dropping, dropout(0.3)).values()) == {None}


def test_shift_through_weights_by_hand() -> None:
    without, dropping = moments(numbers(8, 2)), moments(numbers(8, 2, seed=1) * 2)
    total = float(without.variance.mean())
    found = shift_through_weights(without, dropping, torch.tensor([1.0, 3.0]))
    assert found == {
        "variance_ratio": near(float(dropping.variance.mean()) / total),
        "variance_ratio_predicted": near(1 + 2 / total),
    }
    assert shift_through_weights(without, dropping, None)["variance_ratio_predicted"] is None
    assert shift_through_weights(moments(torch.ones(8, 2)), dropping, torch.ones(2)) == {}


# --- the control -----------------------------------------------------------------------------


def outcome(*tensors: Tensor) -> Outcome:
    return Outcome(list(tensors), False, {}, ())


def test_the_control_by_hand() -> None:
    """Halves of which the model makes something else than of the whole batch."""
    batch = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    running = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 2.0]])
    halves = {0: torch.tensor([[1.0, 0.0], [0.0, 3.0]]), 1: batch[2:]}
    asked: list[tuple[str, int, Plan]] = []

    def attempt(what: str, inputs: Inputs, plan: Plan) -> Outcome:
        asked.append((what, inputs.batch, plan))
        return outcome(halves[len(asked) - 1], torch.tensor(1.0))

    control = Control(attempt)
    whole = outcome(batch, torch.tensor(2.0))
    control.add(Inputs((torch.zeros(4, 3),)), whole, outcome(running), in_halves=True)
    control.at_random(Inputs((torch.zeros(4, 3),)), outcome(batch), outcome(batch.flip(0)))
    found = control.numbers(0.5)
    assert asked == [("flip control", 2, Plan(Source.BATCH))] * 2
    assert found["drift"] == near(math.sqrt(5 / 7))
    assert found["drift_net"] == near(math.sqrt(5 / 7 - 0.25))
    assert found["drift_control"] == near(math.sqrt((1 + 9) / 4))
    assert found["flip_rate"] == 0.5 and found["flip_control"] == 0.25
    assert found["flip_random"] == 1.0
    assert found["flip_excess"] == near(0.25 - 1.0)
    assert found["flip_excess_error"] == near(np.std([1, 0, 0, 0], ddof=1) / 2)


def test_without_halves_there_is_no_control() -> None:
    control = Control(lambda what, inputs, plan: None)
    batch = torch.ones(3, 2)
    control.add(Inputs((torch.zeros(3, 3),)), outcome(batch), outcome(batch), in_halves=True)
    assert control.numbers(None) == {"drift": 0.0, "drift_net": 0.0, "flip_rate": 0.0}
    control = Control(lambda what, inputs, plan: None)
    control.add(Inputs((torch.zeros(8, 3),)), outcome(batch), outcome(batch), in_halves=True)
    assert "drift_control" not in control.numbers(9.0)
    assert control.numbers(9.0)["drift_net"] == 0.0
    silent = Control(lambda what, inputs, plan: pytest.fail("not asked for"))
    silent.add(Inputs((torch.zeros(8, 3),)), outcome(batch), outcome(batch), in_halves=False)
    assert Control(silent.attempt).numbers(None) == {"drift": None, "flip_rate": None}


# --- rules -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "dropping", "factor", "significant"),
    [
        (10, None, 1.01, True),
        (10, None, 0.99, False),
        (10, 0.1, 1.01, False),
        (10, 99.0, 1.01, True),
        (1, None, 1.01, True),
        (0, None, 9.0, False),
        (None, None, 9.0, False),
    ],
)
def test_drift_that_is_no_chance(
    samples: int | None, dropping: float | None, factor: float, significant: bool
) -> None:
    floor = 0.2
    d = factor * SIGNIFICANT * (1 + 2 / (samples or 1)) * floor
    node = Node(0, Kind.BATCHNORM, "torch.nn.BatchNorm1d")
    given = {"d": d, "floor": floor, "samples": samples, "d_dropout": dropping}
    layer = Layer(LayerGraph("net", (node,)), node, given)
    assert significant_drift(layer) == (d if significant else None)
    for name, value in product(("d", "floor"), (None, "x")):
        assert significant_drift(Layer(layer.graph, node, {**given, name: value})) is None


def test_the_smaller_drift_counts_behind_dropout() -> None:
    node = Node(0, Kind.BATCHNORM, "torch.nn.BatchNorm1d")
    given = {"d": 5.0, "d_dropout": 4.0, "floor": 0.1, "samples": 8}
    assert significant_drift(Layer(LayerGraph("net", (node,)), node, given)) == 4.0


# --- observers -------------------------------------------------------------------------------


def call(data: Tensor, training: bool = True) -> BatchNormCall:
    return BatchNormCall(
        data,
        torch.zeros(2).double(),
        torch.full((2,), 4.0).double(),
        None,
        None,
        training,
        0.1,
        EPS,
    )


def test_averaging_is_the_mean_of_unbiased_batches() -> None:
    first, second = numbers(4, 2, 3), numbers(5, 2, 3, seed=1)
    averaging = Averaging()
    for data in (first, second):
        averaging.batchnorm("bn#0", None, call(data))
    averaging.batchnorm("one#0", None, call(numbers(1, 2)))
    found = averaging.statistics()
    assert set(found) == {"bn#0"}
    mean, variance = found["bn#0"]
    parts = [data.transpose(0, 1).flatten(1) for data in (first, second)]
    assert mean.tolist() == near(((parts[0].mean(1) + parts[1].mean(1)) / 2).tolist())
    assert variance.tolist() == near(((parts[0].var(1) + parts[1].var(1)) / 2).tolist())


def test_cumulative_distance_by_hand() -> None:
    data, other = numbers(6, 2), numbers(6, 2, seed=1)
    drifting = Drifting(batch=6)
    drifting.batchnorm("bn#0", 0, call(data))
    cumulating = Cumulating(drifting.seen, frozenset({"bn#0"}))
    cumulating.batchnorm("bn#0", 0, call(other, training=False))
    cumulating.batchnorm("unknown#0", 1, call(other))
    on_batch = (data - data.mean(0)) / (data.var(0, correction=0) + EPS).sqrt()
    on_running = other / math.sqrt(4 + EPS)
    (found,) = drifting.seen["bn#0"].cumulative
    assert found.tolist() == near((on_batch - on_running).square().mean(0).sqrt().tolist())
    assert set(cumulating.inputs) == {"bn#0"}
    assert cumulating.inputs["bn#0"].mean.tolist() == near(other.mean(0).tolist())
    assert drifting.modes == {0: True}
