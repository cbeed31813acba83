"""The rules about running statistics, which only a run knows, on pictures made by hand."""

from __future__ import annotations

import pytest
from hand_made import NORM, Drawing, built, forward, trace

from bnlint.finding import Finding, Measurement, Number, Role
from bnlint.graph import Kind
from bnlint.rules import bnl501, bnl503, bnl504, bnl505, bnl506
from bnlint.rules.base import Measured, Pictures, Rule
from bnlint.trace import Averaged, Purpose

STALE: dict[str, Number] = {"channels": 8, "d": 1.0, "floor": 0.1, "samples": 100.0}


def judged(
    rule: Rule,
    purpose: Purpose,
    *layers: tuple[str, Measurement],
    output: Measurement | None = None,
    averaged: frozenset[int] = frozenset(),
) -> list[Finding]:
    """What a rule says of a live run through these BatchNorm calls: module paths and numbers.

    The first call is node 1 in line 2, the second node 2 in line 3. averaged: nodes of an average.
    """
    drawing = Drawing("Net")
    last = drawing.add(Kind.INPUT)
    measured: dict[int, Measurement] = {}
    for path, numbers in layers:
        last = drawing.add(Kind.BATCHNORM, last, path=path)
        measured[last] = numbers
    drawing.add(Kind.OUTPUT, last)
    events = (Averaged(averaged, None, None),) if averaged else ()
    run = trace(built(NORM), *events, forward(stated=purpose))
    given = Measured(layers=measured, output=output or {"batch": 8})
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


BROKEN: Measurement = {"channels": 8, "nonfinite_channels": 3, "negative_channels": 0}
NEW: Measurement = {"channels": 8, "initial": True, "training": False}
OFF: Measurement = {**STALE, "training": False}


@pytest.mark.parametrize(
    ("rule", "numbers", "words"),
    [
        (bnl503.RULE, NEW, "'{}', too"),
        (bnl504.RULE, OFF, "'{}' is off by 1.00"),
        (bnl505.RULE, BROKEN, "'{}': infinite or not a number in 3"),
    ],
    ids=["never updated", "stale", "broken"],
)
def test_every_layer_that_is_accused_is_listed(
    rule: Rule, numbers: Measurement, words: str
) -> None:
    layers = [(name, numbers) for name in ("a", "b", "c")]
    (finding,) = judged(rule, Purpose.INFERENCE, *layers)
    assert finding.module == "a"
    assert finding.place is not None and finding.place.line == 2
    assert finding.measurement == {**numbers, "layers": ["a", "b", "c"]}
    told = [(step.place.line, step.role, step.message) for step in finding.evidence]
    assert told == [
        (line, Role.INSTANCE, words.format(name)) for line, name in ((3, "b"), (4, "c"))
    ]
    (alone,) = judged(rule, Purpose.INFERENCE, layers[0])
    assert not alone.evidence
    assert alone.measurement["layers"] == ["a"]


def test_the_layer_that_is_furthest_off_is_named() -> None:
    layers = [(name, {**OFF, "d": d}) for name, d in (("a", 0.5), ("b", 2.0), ("c", 0.7))]
    (finding,) = judged(bnl504.RULE, Purpose.INFERENCE, *layers)
    assert finding.module == "b"
    assert "3 of 3 layers are off, 'a' is the first" in finding.message
    assert [step.message for step in finding.evidence] == [
        "'a' is off by 0.50",
        "'c' is off by 0.70",
    ]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nonfinite_channels", "infinite or not a number in 2 of 8 channels"),
        ("negative_channels", "a variance below zero in 2 of 8 channels"),
        ("collapsed_channels", "a variance of zero although the input varies in 2 of 8 channels"),
    ],
)
@pytest.mark.parametrize("purpose", list(Purpose))
def test_broken_statistics_are_broken_whatever_the_run_is_for(
    fault: str, words: str, purpose: Purpose
) -> None:
    (finding,) = judged(bnl505.RULE, purpose, ("bn", {"channels": 8, fault: 2}))
    assert words in finding.message
    assert "more layers" not in finding.message
    assert not judged(bnl505.RULE, purpose, ("bn", {"channels": 8, fault: 0}))


CLASSES: Measurement = {
    "batch": 64, "drift": 0.5, "flip_rate": 0.4, "flip_control": 0.1,
    "flip_excess": 0.3, "flip_excess_error": 0.05,
}  # fmt: skip
NUMBERS: Measurement = {"batch": 64, "drift": 0.5, "drift_net": 0.5, "drift_control": 0.05}


@pytest.mark.parametrize(
    ("output", "wrong"),
    [
        (CLASSES, True),
        ({**CLASSES, "flip_excess": 0.25}, False),
        ({**CLASSES, "flip_excess_error": 0.07}, True),
        ({**CLASSES, "flip_excess_error": 0.075}, False),
        ({**CLASSES, "flip_excess_error": 0.08}, False),
        ({**CLASSES, "batch": 8}, True),
        ({**CLASSES, "batch": 7}, False),
        ({**CLASSES, "drift": None}, False),
        (NUMBERS, True),
        ({**NUMBERS, "drift_net": 0.3}, False),
        ({**NUMBERS, "drift_net": 0.31}, True),
        ({**NUMBERS, "drift_control": 0.1}, False),
        ({**NUMBERS, "drift_control": 0.099}, True),
        ({**NUMBERS, "drift_control": None}, False),
    ],
)
def test_outputs_disagree_beyond_the_noise_of_the_batch(output: Measurement, wrong: bool) -> None:
    found = judged(bnl506.RULE, Purpose.INFERENCE, ("bn", OFF), output=output)
    assert bool(found) is wrong
    for finding in found:
        assert (finding.module, finding.measurement) == ("Net", output)


@pytest.mark.parametrize(
    ("layer", "purpose", "wrong"),
    [
        (OFF, Purpose.INFERENCE, True),
        (OFF, Purpose.UNSTATED, False),
        ({**OFF, "training": True}, Purpose.TRAINING, True),
        ({**OFF, "training": True}, Purpose.INFERENCE, False),
        ({**OFF, "training": True, "warm": 0.5}, Purpose.TRAINING, False),
        ({**OFF, "d": 0.2, "floor": 0.01}, Purpose.INFERENCE, False),
        ({**OFF, "d": 0.21, "floor": 0.01}, Purpose.INFERENCE, True),
    ],
)
def test_outputs_are_accused_only_where_a_settled_layer_is_the_cause(
    layer: Measurement, purpose: Purpose, wrong: bool
) -> None:
    assert bool(judged(bnl506.RULE, purpose, ("bn", layer), output=CLASSES)) is wrong


def test_the_cause_is_the_layer_that_is_furthest_off() -> None:
    layers = [(name, {**OFF, "d": d}) for name, d in (("a", 0.5), ("b", 2.0), ("c", 0.7))]
    (finding,) = judged(bnl506.RULE, Purpose.INFERENCE, *layers, output=CLASSES)
    assert "of 'b' are furthest off (2.00" in finding.message


def test_of_averaged_weights_another_rule_tells() -> None:
    layers = [(name, {**OFF, "d": d}) for name, d in (("a", 0.5), ("b", 2.0), ("c", 9.0))]
    averaged = frozenset({1, 2})
    (finding,) = judged(bnl501.RULE, Purpose.INFERENCE, *layers, averaged=averaged)
    assert (finding.module, finding.severity) == ("b", bnl501.RULE.severity)
    assert finding.measurement == {**OFF, "d": 2.0, "layers": ["a", "b"]}
    assert not judged(bnl504.RULE, Purpose.INFERENCE, *layers, averaged=averaged)
    fits = [(name, {**OFF, "d": 0.1}) for name in ("a", "b")]
    assert not judged(bnl501.RULE, Purpose.INFERENCE, *fits, averaged=averaged)
    assert not judged(bnl501.RULE, Purpose.INFERENCE, *layers)
