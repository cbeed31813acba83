"""BNL302, BNL304 on traces made by hand."""

from __future__ import annotations

import pytest
from hand_made import NORM, at, built, forward, judged, trace

from bnlint.finding import Severity
from bnlint.graph import Kind
from bnlint.rules import bnl302, bnl304
from bnlint.rules.base import Measured
from bnlint.trace import (
    Backward,
    Branch,
    Call,
    Forward,
    Loop,
    Mode,
    ModeTrace,
    Purpose,
    SensitiveLayer,
    SetMode,
    Step,
)

LOADER = at(12, "train.py")
BACKWARD = Backward(frozenset({0}), at(31))
STEP = Step(frozenset({0}), at(32))
EVERY_FOURTH = Step(frozenset({0}), at(33), 4, at(5))
LEARN = (BACKWARD, STEP)


def layers(positions: int | None) -> dict[int, SensitiveLayer]:
    norm = SensitiveLayer(NORM, Kind.BATCHNORM, "torch.nn.BatchNorm1d", "bn", at(3), positions)
    return {NORM: norm}


def epoch(positions: int | None = 1, *before: object, **more: object) -> ModeTrace:
    """One training step on a loader that keeps what is left over."""
    given: dict[str, object] = {"batch": 64, "keeps_rest": True} | more
    run = forward(grad=True, loader=LOADER, **given)
    return trace(built(), *before, run, *LEARN, layers=layers(positions))


@pytest.mark.parametrize(
    ("more", "severity"),
    [
        ({}, Severity.NOTE),
        ({"batch": None}, Severity.NOTE),
        ({"keeps_rest": False}, None),
        ({"keeps_rest": None}, None),
        ({"last_batch": 1}, Severity.ERROR),
        ({"last_batch": 1, "keeps_rest": None}, Severity.ERROR),
        ({"last_batch": 2}, None),
        ({"last_batch": 64}, None),
        ({"batch": 1}, None),
        ({"batch": 1, "last_batch": 1}, None),
    ],
)
def test_the_last_batch(more: dict[str, object], severity: Severity | None) -> None:
    found = judged(bnl302.RULE, epoch(**more))
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    assert all(finding.place == LOADER for finding in found)


@pytest.mark.parametrize(
    ("positions", "raises"), [(1, True), (2, False), (49, False), (None, False)]
)
def test_only_one_value_per_channel_raises(positions: int | None, raises: bool) -> None:
    assert bool(judged(bnl302.RULE, epoch(positions))) is raises


@pytest.mark.parametrize("mode", [Mode.EVAL, Mode.UNKNOWN])
def test_the_last_batch_of_frozen_layers(mode: Mode) -> None:
    assert not judged(bnl302.RULE, epoch(1, SetMode(frozenset({NORM}), mode, None)))


def test_the_last_batch_of_a_test() -> None:
    run = forward(grad=False, batch=64, keeps_rest=True, loader=LOADER)
    assert not judged(bnl302.RULE, trace(built(), run, layers=layers(1)))


@pytest.mark.parametrize(
    ("stated", "wrong"),
    [(Purpose.TRAINING, True), (Purpose.UNSTATED, True), (Purpose.INFERENCE, False)],
)
def test_the_last_batch_of_a_live_run(stated: Purpose, wrong: bool) -> None:
    run = forward(grad=False, batch=64, last_batch=1, stated=stated)
    measured = Measured(layers={0: {"d": 0.0}})
    found = judged(bnl302.RULE, trace(built(), run, layers=layers(1)), measured=measured)
    assert bool(found) is wrong
    for finding in found:
        assert finding.module == "bn"
        assert finding.severity is Severity.ERROR
        assert finding.measurement == {"last_batch": 1, "values_per_channel": 1}


def micro(batch: int | None = 2, **more: object) -> Forward:
    given: dict[str, object] = {"grad": True} | more
    return forward(batch=batch, loader=LOADER, **given)


def loop(*body: object) -> Loop:
    return Loop((body,), True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ((micro(), BACKWARD, Branch(((EVERY_FOURTH,), ()))), True),
        ((micro(1), BACKWARD, Branch(((EVERY_FOURTH,), ()))), True),
        ((micro(8), BACKWARD, Branch(((EVERY_FOURTH,), ()))), True),
        ((micro(9), BACKWARD, Branch(((EVERY_FOURTH,), ()))), False),
        ((micro(None), BACKWARD, Branch(((EVERY_FOURTH,), ()))), False),
        ((micro(), BACKWARD, STEP), False),
        ((micro(), BACKWARD, STEP, Branch(((EVERY_FOURTH,), ()))), False),
        ((micro(), Backward(frozenset({0}), None, 4), EVERY_FOURTH), False),
        ((micro(), Backward(frozenset({0}), None, 1, frozenset({0})), EVERY_FOURTH), False),
        ((micro(grad=False), BACKWARD, EVERY_FOURTH), False),
        ((micro(), BACKWARD, Step(frozenset({1}), None, 4)), False),
        ((micro(), BACKWARD, Step(frozenset(), None, 4)), True),
        ((loop(micro(), BACKWARD), STEP), True),
        ((loop(Call("part", None, (micro(), BACKWARD))), Call("end", None, (STEP,))), True),
        ((loop(micro(), BACKWARD, STEP), STEP), False),
        ((Loop(((micro(), BACKWARD),), False), STEP), False),
        ((Loop(((micro(), BACKWARD), (micro(), BACKWARD)), False), STEP), True),
        ((loop(micro()), BACKWARD, STEP), False),
        ((loop(micro(), BACKWARD), Step(frozenset({1}), None)), False),
    ],
)
def test_accumulation(body: tuple[object, ...], wrong: bool) -> None:
    found = judged(bnl304.RULE, trace(built(), loop(*body)))
    assert bool(found) is wrong
    assert all(finding.place == LOADER for finding in found)


@pytest.mark.parametrize("mode", [Mode.EVAL, Mode.UNKNOWN])
def test_accumulation_over_frozen_layers(mode: Mode) -> None:
    freeze = SetMode(frozenset({NORM}), mode, None)
    assert not judged(bnl304.RULE, trace(built(), freeze, loop(micro(), BACKWARD, EVERY_FOURTH)))


def test_the_numbers_and_places_of_an_accumulation() -> None:
    (finding,) = judged(bnl304.RULE, trace(built(), loop(micro(2), BACKWARD, EVERY_FOURTH)))
    assert "of 4 batches" in finding.message
    assert "batch of 2 samples" in finding.message
    places = {step.place for step in finding.evidence}
    assert places == {at(3), at(5), at(33), at(20, "test.py"), at(30, "test.py")}


def test_unit_tests_are_left_alone() -> None:
    body = (built(), micro(keeps_rest=True), BACKWARD, EVERY_FOURTH)
    assert not judged(bnl304.RULE, trace(*body, is_test=True, layers=layers(1)))
    assert not judged(bnl302.RULE, trace(*body, is_test=True, layers=layers(1)))
