"""BNL101, BNL102 on traces made by hand."""

from __future__ import annotations

import pytest
from hand_made import DROP, NORM, at, built, forward, judged, lines, trace

from bnlint.finding import AddCall, Role, Severity
from bnlint.rules import bnl101, bnl102
from bnlint.rules.base import Measured
from bnlint.trace import (
    Backward,
    Branch,
    Call,
    Clock,
    Context,
    Exit,
    ExitKind,
    LoadState,
    Loop,
    Mode,
    ModeNotCalled,
    Pretrained,
    Purpose,
    SetMode,
    Step,
    Usage,
    Use,
)

NO_GRAD = {"grad": False}
BACKWARD = Backward(frozenset({1}), None)
STEP = Step(frozenset(), None)
LOAD = LoadState(0, at(25, "test.py"))
USED = Use(frozenset({0}), Usage.PREDICTION, None)


def set_mode(mode: Mode, *layers: int, line: int = 27, may: bool = False) -> SetMode:
    return SetMode(frozenset(layers or {NORM}), mode, at(line, "test.py"), mode.value, may)


EVAL, TRAIN = set_mode(Mode.EVAL), set_mode(Mode.TRAIN)
SCORED = forward(discarded=True, **NO_GRAD)
NEXT = Branch(((Exit(ExitKind.CONTINUE),), ()))
TRAINING = (forward(output=1, line=28, grad=True), BACKWARD, STEP)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ((built(), forward(**NO_GRAD)), True),
        ((built(), EVAL, forward(**NO_GRAD)), False),
        ((built(), EVAL, TRAIN, forward(**NO_GRAD)), False),
        ((built(), EVAL, forward(**NO_GRAD), TRAIN, forward(**NO_GRAD)), True),
        ((built(), Branch(((EVAL,), ())), forward(**NO_GRAD)), False),
        ((built(), set_mode(Mode.EVAL, may=True), forward(**NO_GRAD)), False),
        ((built(), set_mode(Mode.UNKNOWN), forward(**NO_GRAD)), False),
        ((built(mode=Mode.UNKNOWN), forward(**NO_GRAD)), False),
        ((built(mode=Mode.EVAL), forward(**NO_GRAD)), False),
        ((forward(**NO_GRAD),), False),
        ((built(), forward(**NO_GRAD, discarded=True)), False),
        ((built(), forward(grad=True)), False),
        ((built(), forward(grad=None)), False),
        ((built(), forward(grad=None), USED), True),
        ((built(), forward(grad=True), USED, *TRAINING), False),
        ((built(), LOAD, forward(grad=None)), True),
        ((built(), LOAD, EVAL, forward(grad=None)), False),
        ((built(), LOAD, forward(grad=None), *TRAINING), False),
        ((built(), forward(grad=None), LOAD), False),
        ((built(), forward(**NO_GRAD, synthetic=True)), False),
        ((built(), LOAD, forward(**NO_GRAD, synthetic=True)), True),
        ((built(), LOAD, forward(**NO_GRAD, synthetic=True), *TRAINING), False),
        ((built(), *TRAINING, forward(**NO_GRAD)), True),
        ((built(), Loop(((*TRAINING, Loop(((forward(**NO_GRAD),),), True)),), True)), True),
        ((built(), Exit(ExitKind.RETURN), forward(**NO_GRAD)), False),
    ],
)
def test_inference_in_training_mode(body: tuple[object, ...], wrong: bool) -> None:
    assert bool(judged(bnl101.RULE, trace(*body))) is wrong


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ((forward(**NO_GRAD), *TRAINING), False),
        ((Call("teach", None, (forward(**NO_GRAD),)), *TRAINING), False),
        ((Branch(((forward(**NO_GRAD),), ())), Branch(((BACKWARD,), ())), STEP), False),
        ((Loop(((forward(**NO_GRAD),),), True), *TRAINING), True),
        ((*TRAINING, forward(**NO_GRAD)), True),
        ((forward(**NO_GRAD), STEP, *TRAINING), True),
        ((forward(**NO_GRAD), Loop((TRAINING,), True)), True),
        ((forward(**NO_GRAD), NEXT, Loop((TRAINING,), True)), False),
        ((Context((forward(**NO_GRAD),)), NEXT, Branch(((Loop((TRAINING,), True),), ()))), False),
        ((forward(**NO_GRAD), USED, NEXT, Loop((TRAINING,), True)), True),
        ((forward(**NO_GRAD), NEXT, TRAIN, Loop((TRAINING,), True)), True),
        ((Call("validate", None, (forward(**NO_GRAD),)), NEXT, Loop((TRAINING,), True)), True),
    ],
    ids=[
        "before",
        "in a call",
        "in a branch",
        "own loop",
        "after",
        "step between",
        "loop after",
        "collected",
        "collected in a context",
        "predicted",
        "set anew",
        "validated",
    ],
)
def test_a_teacher_inside_a_training_step_is_no_inference(
    body: tuple[object, ...], wrong: bool
) -> None:
    whole = trace(built(), Loop((body,), True))  # type: ignore[arg-type]
    assert bool(judged(bnl101.RULE, whole)) is wrong


@pytest.mark.parametrize(
    ("stated", "wrong"),
    [(Purpose.INFERENCE, True), (Purpose.TRAINING, False), (Purpose.UNSTATED, False)],
)
@pytest.mark.parametrize("grad", [True, False, None])
def test_what_the_user_says_decides(stated: Purpose, grad: bool | None, wrong: bool) -> None:
    body = (built(), forward(stated=stated, grad=grad, synthetic=True))
    assert bool(judged(bnl101.RULE, trace(*body))) is wrong


def test_unit_tests_are_left_alone() -> None:
    assert not judged(bnl101.RULE, trace(built(), forward(**NO_GRAD), is_test=True))


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ((built(DROP), forward(DROP, **NO_GRAD)), True),
        ((built(NORM, DROP), forward(NORM, DROP, **NO_GRAD)), True),
        (
            (
                built(NORM, DROP),
                set_mode(Mode.EVAL, NORM, DROP),
                set_mode(Mode.TRAIN, DROP),
                forward(NORM, DROP, **NO_GRAD),
            ),
            False,
        ),
        (
            (built(NORM, DROP), set_mode(Mode.EVAL, DROP), forward(NORM, DROP, **NO_GRAD)),
            True,
        ),
        (
            (
                built(DROP),
                set_mode(Mode.EVAL, DROP, line=26),
                set_mode(Mode.TRAIN, DROP, line=27),
                forward(DROP, **NO_GRAD),
            ),
            False,
        ),
        (
            (
                built(DROP),
                set_mode(Mode.EVAL, DROP, line=26),
                forward(DROP, grad=False, line=40),
                set_mode(Mode.TRAIN, DROP, line=27),
                forward(DROP, **NO_GRAD),
            ),
            True,
        ),
    ],
    ids=[
        "dropout only",
        "both",
        "Monte Carlo dropout",
        "BatchNorm only",
        "Monte Carlo dropout without BatchNorm",
        "training after a validation",
    ],
)
def test_dropout(body: tuple[object, ...], wrong: bool) -> None:
    assert bool(judged(bnl101.RULE, trace(*body))) is wrong


def test_the_finding_names_the_proof() -> None:
    test = Call("test", at(29, "test.py"), (forward(**NO_GRAD, context_place=at(2, "lib.py")),))
    (finding,) = judged(bnl101.RULE, trace(built(), LOAD, TRAIN, test))
    assert finding.place == at(30, "test.py")
    assert finding.severity is Severity.ERROR
    assert [(step.place.path, step.place.line, step.role) for step in finding.evidence] == [
        ("test.py", 20, Role.CAUSE),
        ("net.py", 3, Role.CAUSE),
        ("test.py", 27, Role.CAUSE),
        ("test.py", 25, Role.CONTEXT),
        ("test.py", 29, Role.CONTEXT),
        ("lib.py", 2, Role.CONTEXT),
    ]
    assert "BatchNorm2d 'bn'" in finding.message
    assert "called through test" in finding.message
    assert "call model.eval() before" in finding.message
    assert finding.module is None


def test_a_timed_forward_is_proven_by_its_own_warming_up() -> None:
    body = (
        built(),
        TRAIN,
        forward(line=40, discarded=True, **NO_GRAD),
        forward(line=41, discarded=True, model=1, **NO_GRAD),
        forward(line=42, output=3, **NO_GRAD),
        Clock(None),
        forward(line=30, discarded=True, **NO_GRAD),
        Clock(None),
    )
    found = [f for f in judged(bnl101.RULE, trace(*body)) if f.place == at(30, "test.py")]
    (finding,) = found
    assert finding.severity is Severity.WARNING
    warmed = [step.place.line for step in finding.evidence if "warmed up" in step.message]
    assert warmed == [40]
    causes = [step.place.line for step in finding.evidence if step.role is Role.CAUSE]
    assert causes == [20, 3, 27]


@pytest.mark.parametrize(
    ("body", "timed"),
    [
        ((Clock(None), SCORED, Clock(None)), True),
        ((Clock(None), Loop(((SCORED,),), True), Clock(None)), True),
        ((Loop(((Clock(None), SCORED, Clock(None)),), True),), True),
        ((SCORED, Clock(None), Clock(None)), False),
        ((Clock(None), SCORED), False),
        ((Clock(None), Clock(None), SCORED), False),
    ],
)
def test_a_forward_between_two_readings_of_a_clock_is_timed(
    body: tuple[object, ...], timed: bool
) -> None:
    assert bool(judged(bnl101.RULE, trace(built(), *body))) is timed


def test_one_finding_for_each_forward() -> None:
    same = forward(**NO_GRAD)
    calls = [Call("test", at(line, "main.py"), (same,)) for line in (1, 2)]
    other = forward(**NO_GRAD, line=40)
    found = judged(bnl101.RULE, trace(built(), *calls), trace(built(), same, other))
    assert lines(found) == [30, 40]


def test_a_chain_that_is_right_does_not_hide_one_that_is_wrong() -> None:
    body = (forward(**NO_GRAD),)
    first, second = Call("test", at(1), body), Call("test", at(2), body)
    assert judged(bnl101.RULE, trace(built(), first, EVAL, second))
    assert judged(bnl101.RULE, trace(built(), EVAL, first, TRAIN, second))
    assert not judged(bnl101.RULE, trace(built(), EVAL, first, second))


def test_a_prediction_of_an_untrained_model_is_a_warning() -> None:
    (finding,) = judged(bnl101.RULE, trace(built(), forward(), USED))
    assert finding.severity is Severity.WARNING


def test_a_number_counts_where_the_model_has_learned() -> None:
    number = Use(frozenset({0}), Usage.NUMBER, None)
    pretrained = Pretrained(frozenset({NORM}), None)
    (finding,) = judged(bnl101.RULE, trace(built(), pretrained, forward(), number))
    assert finding.severity is Severity.WARNING
    assert not judged(bnl101.RULE, trace(built(), forward(), number))


def test_the_loading_of_another_entry_point_does_not_count() -> None:
    assert not judged(bnl101.RULE, trace(built(), LOAD), trace(built(), forward()))


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"drift": 0.31, "flip_rate": 0.25}, "off by 31%, 25% of the predictions change"),
        ({"drift": 0.31}, "off by 31%)"),
        ({"batch": 8}, "towards this data;"),
    ],
)
def test_measured_drift(output: dict[str, float], words: str) -> None:
    body = (built(), forward(stated=Purpose.INFERENCE))
    (finding,) = judged(bnl101.RULE, trace(*body), measured=Measured(output=output))
    assert words in finding.message
    assert finding.measurement == output
    assert finding.module == "bn"


def test_mode_not_called() -> None:
    event = ModeNotCalled("eval", "model", at(7, "test.py"))
    found = judged(bnl102.RULE, trace(built(), event), trace(Loop(((event,),), True), is_test=True))
    (finding,) = found
    assert finding.place == event.place
    assert "`model.eval()`" in finding.message
    assert finding.fix is not None
    assert finding.fix.intents == (AddCall(event.place),)
    assert not finding.fix.safe
