"""BNL301, BNL303 on traces made by hand."""

from __future__ import annotations

import pytest
from hand_made import LAYERS, NORM, at, built, forward, judged, trace

from bnlint.finding import Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.rules import bnl301, bnl303
from bnlint.rules.base import Measured, Pictures
from bnlint.trace import Backward, Mode, ModeTrace, Purpose, SensitiveLayer, SetMode, Step

LOADER = at(12, "train.py")
LEARN = (Backward(frozenset({0}), None), Step(frozenset(), None))


def training(batch: int | None, positions: int | None = None, *before: object) -> ModeTrace:
    layers = {
        NORM: SensitiveLayer(NORM, Kind.BATCHNORM, "torch.nn.BatchNorm2d", "bn", at(3), positions)
    }
    step = forward(grad=True, batch=batch, loader=LOADER)
    return trace(built(), *before, step, *LEARN, layers=layers)


@pytest.mark.parametrize(
    ("batch", "severity"),
    [
        (1, Severity.ERROR),
        (2, Severity.NOTE),
        (7, Severity.NOTE),
        (8, None),
        (64, None),
        (None, None),
        (0, None),
        (-1, None),
    ],
)
def test_small_batch(batch: int | None, severity: Severity | None) -> None:
    found = judged(bnl301.RULE, training(batch))
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    assert all(finding.place == LOADER for finding in found)


@pytest.mark.parametrize(
    ("batch", "positions", "small", "raises"),
    [
        (1, None, True, False),
        (1, 49, True, False),
        (1, 1, False, True),
        (2, 1, True, False),
        (None, 1, False, False),
        (64, 1, False, False),
    ],
)
def test_one_value_per_channel(
    batch: int | None, positions: int | None, small: bool, raises: bool
) -> None:
    picture = training(batch, positions)
    assert bool(judged(bnl301.RULE, picture)) is small
    assert bool(judged(bnl303.RULE, picture)) is raises


@pytest.mark.parametrize("mode", [Mode.EVAL, Mode.UNKNOWN])
@pytest.mark.parametrize("may", [True, False])
def test_frozen_layers_are_fine(mode: Mode, may: bool) -> None:
    freeze = SetMode(frozenset({NORM}), mode, None, "", may)
    assert not judged(bnl301.RULE, training(1, None, freeze))
    assert not judged(bnl303.RULE, training(1, 1, freeze))


@pytest.mark.parametrize(
    "body",
    [
        (built(), forward(grad=False, batch=1, loader=LOADER)),
        (built(), forward(grad=True, batch=1, loader=LOADER), LEARN[0]),
        (built(), forward(grad=True, batch=1, loader=LOADER)),
        (forward(grad=True, batch=1, loader=LOADER), *LEARN),
    ],
    ids=["validation", "no step", "no backward", "not built"],
)
def test_only_training_steps_count(body: tuple[object, ...]) -> None:
    assert not judged(bnl301.RULE, trace(*body))
    assert not judged(bnl303.RULE, trace(*body))


def test_dropout_does_not_mind() -> None:
    layers = {NORM: SensitiveLayer(NORM, Kind.DROPOUT, "torch.nn.Dropout", "drop", None, 1)}
    body = (built(), forward(grad=True, batch=1), *LEARN)
    assert not judged(bnl301.RULE, trace(*body, layers=layers))
    assert not judged(bnl303.RULE, trace(*body, layers=layers))


def test_unit_tests_are_left_alone() -> None:
    body = (built(), forward(grad=True, batch=1), *LEARN)
    assert not judged(bnl301.RULE, trace(*body, is_test=True))


def test_one_finding_for_each_loader() -> None:
    found = judged(bnl301.RULE, training(1), training(1))
    assert len(found) == 1
    assert {step.place for step in found[0].evidence} == {
        at(3),
        at(20, "test.py"),
        at(30, "test.py"),
    }


def live(batch: int, stated: Purpose, numbers: dict[str, float] | None) -> Pictures:
    body = (built(), forward(grad=False, batch=batch, stated=stated))
    graph = LayerGraph("Net", (Node(0, Kind.BATCHNORM, "torch.nn.BatchNorm2d", path="stem.bn"),))
    layers = {0: numbers} if numbers is not None else {}
    measured = Measured(layers, {"batch": batch})
    return Pictures((graph,), (trace(*body, layers=LAYERS),), measured=measured)


@pytest.mark.parametrize(
    ("batch", "stated", "numbers", "severity"),
    [
        (2, Purpose.TRAINING, {"drift_at_2": 0.9}, Severity.WARNING),
        (2, Purpose.UNSTATED, {"drift_at_2": 0.9}, Severity.WARNING),
        (2, Purpose.TRAINING, {"drift_at_2": 0.1}, None),
        (2, Purpose.INFERENCE, {"drift_at_2": 0.9}, None),
        (3, Purpose.TRAINING, {"drift_at_2": 0.9, "drift_at_4": 0.1}, None),
        (3, Purpose.TRAINING, {"drift_at_2": 0.9, "drift_at_4": 0.3}, Severity.WARNING),
        (8, Purpose.TRAINING, {"drift_at_8": 0.9}, None),
        (1, Purpose.TRAINING, {"drift_at_1": 0.1}, Severity.ERROR),
        (1, Purpose.UNSTATED, {"drift_at_1": 0.1}, None),
        (1, Purpose.TRAINING, None, Severity.ERROR),
        (2, Purpose.TRAINING, {"d": 0.3}, Severity.NOTE),
        (2, Purpose.UNSTATED, {"d": 0.3}, None),
    ],
)
def test_the_live_half_goes_by_what_was_measured(
    batch: int, stated: Purpose, numbers: dict[str, float] | None, severity: Severity | None
) -> None:
    found = list(bnl301.check(live(batch, stated, numbers)))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_the_worst_layer_is_named() -> None:
    (finding,) = bnl301.check(live(2, Purpose.TRAINING, {"drift_at_2": 0.9}))
    assert finding.module == "stem.bn"
    assert "0.90" in finding.message
    assert finding.measurement["drift_at_2"] == 0.9


@pytest.mark.parametrize(
    ("stated", "raises"),
    [(Purpose.TRAINING, True), (Purpose.UNSTATED, False), (Purpose.INFERENCE, False)],
)
def test_a_live_batch_of_one(stated: Purpose, raises: bool) -> None:
    layers = {NORM: SensitiveLayer(NORM, Kind.BATCHNORM, "torch.nn.BatchNorm1d", "bn", None, 1)}
    picture = trace(built(), forward(grad=False, batch=1, stated=stated), layers=layers)
    measured = Measured(layers={0: {"d": 0.0}})
    found = judged(bnl303.RULE, picture, measured=measured)
    assert bool(found) is raises
    assert all(finding.module == "bn" for finding in found)


@pytest.mark.parametrize(("trains", "worst"), [((True, True), "a"), ((False, True), "b")])
def test_the_worst_layer_is_one_that_trains(trains: tuple[bool, bool], worst: str) -> None:
    nodes = [Node(i, Kind.BATCHNORM, "torch.nn.BatchNorm2d", path="ab"[i]) for i in range(2)]
    drifts = {"drift_at_2": 0.9}, {"drift_at_2": 0.8}
    layers = {i: {**drifts[i], "training": trains[i]} for i in range(2)}
    run = trace(built(), forward(grad=False, batch=2, stated=Purpose.TRAINING), layers=LAYERS)
    pictures = Pictures((LayerGraph("Net", tuple(nodes)),), (run,), measured=Measured(layers))
    (finding,) = bnl301.check(pictures)
    assert finding.module == worst
