"""Of which layers a run may judge the statistics: BNL503 and BNL504 on pictures made by hand."""

from __future__ import annotations

import pytest
from hand_made import NORM, Drawing, built, forward, trace

from bnlint.finding import Finding, Measurement, Number
from bnlint.graph import Kind
from bnlint.rules import bnl503, bnl504
from bnlint.rules.base import Measured, Pictures, Rule
from bnlint.trace import Purpose

STALE: dict[str, Number] = {"channels": 8, "d": 1.0, "floor": 0.1, "samples": 100.0}


def judged(rule: Rule, purpose: Purpose, *layers: tuple[str, Measurement]) -> list[Finding]:
    """What a rule says of a live run through these BatchNorm calls: module paths and numbers."""
    drawing = Drawing("Net")
    last = drawing.add(Kind.INPUT)
    measured: dict[int, Measurement] = {}
    for path, numbers in layers:
        last = drawing.add(Kind.BATCHNORM, last, path=path)
        measured[last] = numbers
    drawing.add(Kind.OUTPUT, last)
    run = trace(built(NORM), forward(stated=purpose))
    given = Measured(layers=measured, output={"batch": 8})
    assert rule.check is not None
    return list(rule.check(Pictures((drawing.graph(),), (run,), measured=given)))


@pytest.mark.parametrize(
    ("state", "purpose", "wrong"),
    [
        ({"training": False}, Purpose.UNSTATED, True),
        ({"training": False, "warm": 0.5}, Purpose.UNSTATED, True),
        ({"training": True}, Purpose.UNSTATED, True),
        ({"training": True, "warm": 0.991}, Purpose.UNSTATED, True),
        ({"training": True, "warm": 0.99}, Purpose.UNSTATED, False),
        ({"training": True, "warm": 0.5}, Purpose.TRAINING, False),
        ({"training": True, "warm": 0.5}, Purpose.INFERENCE, True),
        ({"training": False, "initial": True}, Purpose.UNSTATED, False),
        ({"training": True, "initial": True}, Purpose.INFERENCE, False),
    ],
)
def test_statistics_that_are_still_being_collected_are_not_stale(
    state: Measurement, purpose: Purpose, wrong: bool
) -> None:
    assert bool(judged(bnl504.RULE, purpose, ("bn", {**STALE, **state}))) is wrong


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ({}, True),
        ({"d": 0.25}, False),
        ({"d": 0.26, "floor": 0.01}, True),
        ({"d": None}, False),
        ({"floor": None}, False),
        ({"samples": None}, False),
        ({"d_dropout": 0.2}, False),
        ({"d_dropout": 2.0}, True),
        ({"d": 1.0, "floor": 0.32}, True),
        ({"d": 1.0, "floor": 0.33}, False),
        ({"d": 1.0, "floor": 0.25, "samples": 6.0}, False),
        ({"d": 1.0, "floor": 0.249, "samples": 6.0}, True),
        ({"d": 1.0, "floor": 0.249, "samples": 5.0}, False),
    ],
)
def test_what_chance_and_dropout_explain_is_not_stale(numbers: Measurement, wrong: bool) -> None:
    layer = {**STALE, "training": False, **numbers}
    assert bool(judged(bnl504.RULE, Purpose.INFERENCE, ("bn", layer))) is wrong


def test_of_a_layer_that_is_called_twice_the_first_call_counts() -> None:
    fits = {**STALE, "d": 0.1, "training": False}
    off = {**STALE, "d": 2.0, "training": False}
    assert not judged(bnl504.RULE, Purpose.INFERENCE, ("bn", fits), ("bn", off))
    (finding,) = judged(bnl504.RULE, Purpose.INFERENCE, ("bn", off), ("bn", fits))
    assert finding.measurement["layers"] == ["bn"]


@pytest.mark.parametrize(
    ("offs", "words"),
    [
        ((9, 0, 0), "only the first layer is off"),
        ((0, 0, 9), "only the last layer is off"),
        ((0, 9, 0), "re-estimate them on training data"),
        ((9, 8, 9), "nearly all layers are off"),
        ((9, 9, 0), "re-estimate them on training data"),
        ((9, 9, 9, 9, 0), "nearly all layers are off"),
        ((9,), "only the first layer is off"),
    ],
)
def test_the_advice_follows_from_the_layers_that_are_off(offs: tuple[int, ...], words: str) -> None:
    layers = [(f"bn{i}", {**STALE, "d": float(d), "training": False}) for i, d in enumerate(offs)]
    (finding,) = judged(bnl504.RULE, Purpose.INFERENCE, *layers)
    assert words in finding.message
    assert finding.module == f"bn{offs.index(9)}"
    stale = [f"bn{i}" for i, d in enumerate(offs) if d]
    assert sorted(finding.measurement["layers"]) == stale  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "purpose", "wrong"),
    [
        ({"initial": True, "training": False}, Purpose.INFERENCE, True),
        ({"initial": True, "training": True}, Purpose.INFERENCE, False),
        ({"initial": False, "training": False}, Purpose.INFERENCE, False),
        ({"initial": True, "training": False}, Purpose.TRAINING, False),
        ({"initial": True, "training": False}, Purpose.UNSTATED, True),
    ],
)
def test_only_a_layer_in_evaluation_mode_lacks_statistics(
    state: Measurement, purpose: Purpose, wrong: bool
) -> None:
    assert bool(judged(bnl503.RULE, purpose, ("bn", {"channels": 8, **state}))) is wrong


def test_a_layer_without_running_statistics_is_not_counted() -> None:
    new: Measurement = {"channels": 8, "initial": True, "training": False}
    (finding,) = judged(bnl503.RULE, Purpose.INFERENCE, ("a", new), ("b", {}), ("c", new))
    assert "of all 2 BatchNorm layers" in finding.message
