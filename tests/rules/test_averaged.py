"""BNL501 on traces made by hand, on programs, and measured."""

from __future__ import annotations

import pytest
from hand_made import LAYERS as ALL_LAYERS
from hand_made import NORM, at, built, forward, judged, lines, trace

import bnlint
from bnlint.graph import Kind
from bnlint.rules import bnl501
from bnlint.settings import Settings
from bnlint.trace import (
    Averaged,
    Backward,
    Branch,
    Call,
    LoadState,
    Mode,
    Recalibrated,
    SensitiveLayer,
    SetMode,
    Step,
)

LAYERS = frozenset({NORM})
AVERAGED = Averaged(LAYERS, at(21, "test.py"), at(24, "test.py"))
EVAL = SetMode(LAYERS, Mode.EVAL, at(27, "test.py"), "eval()")
TRAIN = SetMode(LAYERS, Mode.TRAIN, at(28, "test.py"), "train()")
UNKNOWN = SetMode(LAYERS, Mode.UNKNOWN, at(28, "test.py"), "a call that cannot be seen")
NO_GRAD = {"grad": False}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ((built(), AVERAGED, EVAL, forward(**NO_GRAD)), True),
        ((built(), AVERAGED, EVAL, forward()), True),
        ((built(), EVAL, forward(**NO_GRAD), TRAIN, AVERAGED), True),
        ((built(), EVAL, forward(**NO_GRAD)), False),
        ((built(), AVERAGED, forward(**NO_GRAD)), False),
        ((built(), AVERAGED, Recalibrated(LAYERS, None), EVAL, forward(**NO_GRAD)), False),
        ((built(), AVERAGED, Branch(((EVAL,), (UNKNOWN,))), forward(**NO_GRAD)), False),
        ((built(), AVERAGED, UNKNOWN, EVAL, forward(**NO_GRAD)), False),
        ((built(), AVERAGED, LoadState(0, None), EVAL, forward(**NO_GRAD)), False),
        (
            (
                built(),
                AVERAGED,
                forward(**NO_GRAD, line=29, discarded=True),
                EVAL,
                forward(**NO_GRAD),
            ),
            False,
        ),
        (
            (
                built(),
                AVERAGED,
                EVAL,
                forward(output=1, grad=True),
                Backward(frozenset({1}), None),
                Step(frozenset(), None),
            ),
            False,
        ),
    ],
)
def test_which_evaluations_are_mistakes(body: tuple, wrong: bool) -> None:
    assert lines(judged(bnl501.RULE, trace(*body))) == ([30] if wrong else [])


def test_the_evidence_names_the_copy_and_the_average() -> None:
    (found,) = judged(bnl501.RULE, trace(built(), AVERAGED, EVAL, forward(**NO_GRAD)))
    assert [step.place.line for step in found.evidence] == [21, 24, 3]
    assert not judged(bnl501.RULE, trace(built(), AVERAGED, EVAL, forward(), is_test=True))


def test_two_evaluations_are_two_findings_and_the_same_place_is_one() -> None:
    first, second = forward(**NO_GRAD), forward(**NO_GRAD, line=31, output=1)
    body = (built(), AVERAGED, EVAL)
    assert lines(judged(bnl501.RULE, trace(*body, first, second))) == [30, 31]
    assert lines(judged(bnl501.RULE, trace(*body, first), trace(*body, first))) == [30]


def test_only_averaged_layers_are_named() -> None:
    other = SensitiveLayer(5, Kind.BATCHNORM, "torch.nn.BatchNorm1d", "other", at(6))
    modes = SetMode(frozenset({NORM, 5}), Mode.EVAL, at(27, "test.py"), "eval()")
    body = (built(NORM, 5), AVERAGED, modes, forward(NORM, 5, **NO_GRAD))
    (found,) = judged(bnl501.RULE, trace(*body, layers={**ALL_LAYERS, 5: other}))
    assert "'bn' kept those" in found.message
    inside = Call("evaluate", at(40), body[-2:])
    (found,) = judged(bnl501.RULE, trace(*body[:2], inside, layers={**ALL_LAYERS, 5: other}))
    assert "evaluated (called through evaluate) with" in found.message


PROGRAM = """\
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, SWALR, get_ema_multi_avg_fn, update_bn

model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
averaged = AveragedModel({})
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in torch.load("batches.pt"):
    nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
    averaged.update_parameters(model)
{}
averaged.eval()
with torch.no_grad():
    print(averaged(torch.load("x.pt")))
"""


@pytest.mark.parametrize(
    ("arguments", "between", "wrong"),
    [
        ("model", "", True),
        ("model, avg_fn=torch.lerp", "", True),
        ("model, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=False", "", True),
        ("model, use_buffers=True", "", False),
        ("model, None, None, None, True", "", False),
        ("model, **options", "", False),
        ("model", "update_bn(torch.load('batches.pt'), averaged)", False),
        ("model", "update_bn(loader=torch.load('batches.pt'), model=averaged)", False),
        ("model", "update_bn(torch.load('batches.pt'), averaged.module)", False),
        ("model", "refresh(averaged)", False),
        ("model", "averaged.load_state_dict(torch.load('a.pt'))", False),
        ("model", "averaged.module.train()\nfor x in torch.load('xs.pt'): averaged(x)", False),
        ("model", "print(averaged.n_averaged)", True),
    ],
)
def test_programs(arguments: str, between: str, wrong: bool) -> None:
    text = PROGRAM.format(arguments, between)
    assert not bnlint.lint_source(text, "swa.py").findings
    settings = Settings(select=("BNL501",))
    assert bool(bnlint.lint_source(text, "swa.py", settings=settings).findings) is wrong


def test_the_weights_of_the_model_itself_may_be_evaluated() -> None:
    text = PROGRAM.format("model", "").replace("averaged.eval()", "model.eval()")
    text = text.replace("print(averaged(", "print(model(")
    settings = Settings(select=("BNL501",))
    assert not bnlint.lint_source(text, "swa.py", settings=settings).findings


@pytest.mark.parametrize("times", [1, 8])
def test_a_first_average_is_the_model_itself(times: int) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
    averaged = torch.optim.swa_utils.AveragedModel(model)
    x = torch.randn(256, 8)
    for _ in range(times):
        model[0].reset_parameters()
        torch.optim.swa_utils.update_bn([x], model)
        averaged.update_parameters(model)
    report = bnlint.check(averaged.eval(), x, phase="inference")
    codes = [finding.code for finding in report.findings]
    assert ("BNL501" in codes) is (times > 1)
    assert "BNL504" not in codes
