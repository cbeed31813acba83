"""The numbers of layers and outputs, and what rules make of them, against independent ones."""

from __future__ import annotations

import math
from dataclasses import replace
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
from bnlint.live.intercept import BatchNormCall, DropoutCall, Plan, Source
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


def test_further_batches_of_a_call_are_pooled() -> None:
    first, second = numbers(8, 2, 3), numbers(5, 2, 3, seed=1) + 1
    drifting = Drifting(batch=8)
    drifting.batchnorm("bn#0", 3, call(first, training=False))
    drifting.batchnorm("bn#0", 3, call(second))
    found = drifting.seen["bn#0"]
    whole = moments(torch.cat((first, second)))
    assert (found.node, found.training, found.rows, found.eps) == (3, False, 13, EPS)
    assert found.moments.samples == 13
    assert found.moments.mean.tolist() == near(whole.mean.tolist())
    assert [part.tolist() for part in found.running] == [[0, 0], [4, 4]]
    assert found.sizes == (2, 4) and found.measured.shape == (2, 2)
    probed = second.transpose(1, 2).flatten(0, 1)
    scaled = (probed - probed.mean(0)) / (probed.var(0, correction=0) + EPS).sqrt()
    assert found.normalised.numpy() == pytest.approx(scaled.numpy())
    assert (found.zeros_share, found.skew) != (0, 0)


@pytest.mark.parametrize(("batch", "samples"), [(4, 4), (None, 12), (12, 12), (5, 12)])
def test_rows_that_belong_to_one_sample_of_the_model(batch: int | None, samples: int) -> None:
    drifting = Drifting(batch=batch)
    drifting.batchnorm("bn#0", 0, call(numbers(12, 2)))
    found = drifting.seen["bn#0"]
    assert (found.rows, found.moments.samples, found.moments.values) == (12, samples, 12)


def test_a_call_that_cannot_be_measured_is_named() -> None:
    drifting = Drifting()
    drifting.batchnorm("bn#0", 0, call(numbers(4, 2).to_sparse()))
    assert not drifting.seen
    assert drifting.failed["bn#0"].startswith("its input cannot be measured (")
    assert "None" not in drifting.failed["bn#0"]


def dropping(p: float, training: bool, function: object = torch.nn.functional.dropout) -> object:
    return DropoutCall(function, numbers(4, 3), p, training, False)


def test_dropout_calls_are_noted_in_order() -> None:
    drifting = Drifting()
    drifting.dropout(4, dropping(0.0, True))
    assert (drifting.has_dropout, drifting.modes, drifting.dropouts) == (False, {4: True}, [4])
    drifting.dropout(None, dropping(0.5, True))
    assert drifting.has_dropout and drifting.modes == {4: True}
    inside = Drifting()
    inside.dropout(7, None)
    assert inside.has_dropout and inside.modes == {} and inside.dropouts == [7]
    inside.dropout(9, dropping(0.5, False))
    assert inside.modes == {9: False}


def test_the_third_dropout_is_the_one_that_is_predicted() -> None:
    layer = nn.Linear(3, 2).double()
    cumulating = Cumulating({}, frozenset(), {2: ("bn#0", layer), 3: ("bn#1", layer)})
    for p in (0.1, 0.2, 0.5):
        cumulating.dropout(0, dropping(p, True))
    cumulating.dropout(0, dropping(0.5, True, torch.nn.functional.dropout1d))
    expected = drift.added_variance(layer, numbers(4, 3), 0.5)
    assert cumulating.added["bn#0"].tolist() == near(expected.tolist())
    assert cumulating.added["bn#1"] is None
    by_torch = Cumulating({}, frozenset(), {0: ("bn#0", layer)})
    by_torch.dropout(0, dropping(0.5, True, torch.dropout_))
    assert by_torch.added["bn#0"].tolist() == near(expected.tolist())
    unknown = Cumulating({}, frozenset(), {0: ("bn#0", layer)})
    unknown.dropout(0, None)
    assert unknown.added == {}


def test_cumulative_distance_from_other_running_statistics() -> None:
    data = numbers(6, 2)
    drifting = Drifting(batch=6)
    drifting.batchnorm("bn#0", 0, call(data))
    moved = replace(call(data), running_mean=torch.tensor([1.0, 2.0]).half())
    Cumulating(drifting.seen).batchnorm("bn#0", 0, moved)
    without = replace(call(data), running_mean=None)
    Cumulating(drifting.seen).batchnorm("bn#0", 0, without)
    on_batch = (data - data.mean(0)) / (data.var(0, correction=0) + EPS).sqrt()
    on_running = (data - exact(1, 2)) / math.sqrt(4 + EPS)
    (found,) = drifting.seen["bn#0"].cumulative
    assert found.tolist() == near((on_batch - on_running).square().mean(0).sqrt().tolist())


def test_two_values_can_be_averaged() -> None:
    averaging = Averaging()
    averaging.batchnorm("bn#0", None, call(exact(1, 2, 3, 6).view(2, 2)))
    mean, variance = averaging.statistics()["bn#0"]
    assert (mean.tolist(), variance.tolist()) == ([2, 4], [2, 8])


def test_channels_that_have_collapsed_vary_in_the_input() -> None:
    data = torch.randn(8, 4) * 1e-2
    data[:, 3] = 1.0
    norm = nn.BatchNorm1d(4).double()
    norm.running_var.copy_(exact(0, 0, 1, 0))
    found = facts(norm.running_mean, norm.running_var, moments(data), norm)
    assert found["collapsed_channels"] == 2 and found["initial"] is False


def test_a_control_without_predictions_or_randomness() -> None:
    scalar = torch.tensor(3.0)
    batch = torch.tensor([[1.0, 0.0]] * 4)

    def attempt(what: str, inputs: Inputs, plan: Plan) -> Outcome:
        return outcome(scalar, torch.ones(2, 3), batch[:2].flip(1))

    control = Control(attempt)
    whole = outcome(scalar, torch.ones(4, 2), batch)
    control.add(Inputs((torch.zeros(4, 3),)), whole, whole, in_halves=True)
    control.at_random(Inputs((torch.zeros(4, 3),)), outcome(scalar), outcome(scalar))
    found = control.numbers(None)
    assert found["drift"] == 0.0 and found["drift_net"] == 0.0
    assert found["drift_control"] == near(math.sqrt(2))  # the scalar and the odd one are left out
    assert found["flip_control"] == 1.0 and found["flip_excess"] == -1.0
    assert "flip_random" not in found
