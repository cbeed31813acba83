"""BNL305, BNL602 on traces made by hand."""

from __future__ import annotations

import pytest
from hand_made import LAYERS, NORM, at, built, forward, judged, trace

from bnlint.finding import Severity
from bnlint.graph import Kind
from bnlint.rules import bnl305, bnl602
from bnlint.trace import (
    Backward,
    Branch,
    Distribute,
    Mode,
    SensitiveLayer,
    SetMode,
    Step,
    SyncNorms,
)

ALL = frozenset({NORM})
WRAP = Distribute(0, ALL, at(40))
SYNC = SyncNorms(0, ALL, at(41))
FREEZE = SetMode(ALL, Mode.EVAL, None)
LEARN = (forward(grad=True), Backward(frozenset({0}), None), Step(frozenset(), None))


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ((built(), WRAP), True),
        ((built(), WRAP, *LEARN), True),
        ((built(), SYNC, WRAP), False),
        ((built(), Branch(((SYNC,), ())), WRAP), False),
        ((built(), WRAP, SYNC), False),
        ((built(), SyncNorms(1, frozenset({7}), None), WRAP), True),
        ((built(), WRAP, FREEZE, *LEARN), False),
        ((built(), FREEZE, WRAP), True),
        ((built(), SetMode(ALL, Mode.UNKNOWN, None), WRAP), False),
        ((WRAP,), False),
        ((built(), Distribute(0, frozenset(), at(40))), False),
    ],
)
def test_local_statistics(body: tuple[object, ...], wrong: bool) -> None:
    found = judged(bnl305.RULE, trace(*body))
    assert [finding.place for finding in found] == ([at(40)] if wrong else [])


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        (Kind.BATCHNORM, "torch.nn.BatchNorm2d", True),
        (Kind.BATCHNORM, "torch.nn.SyncBatchNorm", False),
        (Kind.DROPOUT, "torch.nn.Dropout", False),
    ],
)
def test_which_layers_are_local(kind: Kind, name: str, wrong: bool) -> None:
    layers = {NORM: SensitiveLayer(NORM, kind, name, "bn", None)}
    assert bool(judged(bnl305.RULE, trace(built(), WRAP, layers=layers))) is wrong


@pytest.mark.parametrize(
    ("event", "severity"),
    [
        (SyncNorms(0, ALL, at(41)), None),
        (SyncNorms(0, ALL, at(41), discarded=True), None),
        (SyncNorms(0, ALL, at(41), is_layer=True), None),
        (SyncNorms(0, ALL, at(41), is_layer=True, discarded=True), Severity.ERROR),
        (SyncNorms(0, ALL, at(41), at(40)), Severity.WARNING),
        (SyncNorms(0, ALL, at(41), at(40), discarded=True), Severity.WARNING),
    ],
)
def test_conversions(event: SyncNorms, severity: Severity | None) -> None:
    found = judged(bnl602.RULE, trace(built(), event), trace(built(), event))
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    assert all(finding.place == at(41) for finding in found)


def test_unit_tests_are_left_alone() -> None:
    lost = SyncNorms(0, ALL, at(41), is_layer=True, discarded=True)
    assert not judged(bnl602.RULE, trace(built(), lost, is_test=True))
    assert not judged(bnl305.RULE, trace(built(), WRAP, is_test=True, layers=LAYERS))
