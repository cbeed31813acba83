"""BNL106 over traces made by hand, and what the solver tells it."""

from __future__ import annotations

import pytest
from hand_made import DROP, NORM, at, built, forward, judged, lines, trace

from bnlint.finding import Place, Severity
from bnlint.rules.bnl106 import RULE
from bnlint.solver import solve
from bnlint.trace import (
    Backward,
    Branch,
    Call,
    Context,
    Forward,
    Freeze,
    Item,
    Loop,
    Mode,
    SetMode,
    Step,
    Within,
)

BOTH = frozenset({NORM, DROP})
ONE = frozenset({NORM})
LEARNS: tuple[Item, ...] = (Backward(frozenset({0}), at(31)), Step(frozenset({0}), at(32)))


def freeze(line: int = 10, *, frozen: bool = True) -> Freeze:
    return Freeze(ONE, frozen, at(line))


def told(mode: Mode, *layers: int, line: int, direct: bool = False, how: str = "eval()") -> SetMode:
    return SetMode(frozenset(layers), mode, at(line), how, direct=direct)


def training(**more: object) -> tuple[Item, ...]:
    return (forward(NORM, DROP, **more), *LEARNS)


TRAINED = told(Mode.TRAIN, NORM, DROP, line=12)


def test_a_frozen_layer_in_training_mode_is_a_note() -> None:
    (finding,) = judged(RULE, trace(built(), freeze(), TRAINED, *training(frozen=ONE)))
    assert finding.severity is Severity.NOTE
    assert [step.place.line for step in finding.evidence] == [10, 3]


@pytest.mark.parametrize(
    "body",
    [
        (built(), TRAINED, *training()),
        (built(), freeze(), told(Mode.EVAL, NORM, line=12), *training(frozen=ONE)),
        (built(), freeze(), told(Mode.UNKNOWN, NORM, line=12), *training(frozen=ONE)),
        (built(), freeze(), TRAINED, forward(NORM, frozen=ONE)),
        (built(), freeze(), TRAINED, forward(NORM, frozen=ONE, grad=False), LEARNS[1]),
    ],
)
def test_silent(body: tuple[Item, ...]) -> None:
    assert judged(RULE, trace(*body)) == []


def test_unit_tests_are_left_alone() -> None:
    assert not judged(RULE, trace(built(), freeze(), *training(frozen=ONE), is_test=True))


def test_layers_that_are_frozen_and_freed_in_each_round() -> None:
    step = (freeze(10), *training(frozen=ONE), freeze(11, frozen=False))
    body = (built(), TRAINED)
    assert not judged(RULE, trace(*body, Loop((step,), repeat=True)))
    assert not judged(RULE, trace(*body, Loop(((Call("step", None, step),),), repeat=True)))
    assert judged(RULE, trace(*body, freeze(), Loop((training(frozen=ONE),), repeat=True)))
    assert judged(RULE, trace(*body, *step))


TURNS = Loop(((freeze(10), *training(frozen=ONE), freeze(11, frozen=False)),), repeat=True)
ANYTHING = told(Mode.TRAIN, DROP, line=50)


@pytest.mark.parametrize(
    "body",
    [
        (TURNS, ANYTHING),
        (Loop(((TURNS,),), repeat=True),),
        (Loop(((ANYTHING,), (TURNS,)), repeat=False),),
        (Branch(((ANYTHING,), (TURNS,))),),
        (Call("fit", None, (TURNS,)),),
        (Context((Within((TURNS,)), ANYTHING)),),
        (TURNS, Branch(((ANYTHING,), ())), Loop(((ANYTHING,),), repeat=True)),
        (TURNS, Call("log", None, (ANYTHING,)), Loop(((ANYTHING,),), repeat=False)),
        (TURNS, Loop(((freeze(12),),), repeat=True)),
    ],
)
def test_rounds_that_freeze_and_free_are_found_wherever_they_stand(body: tuple[Item, ...]) -> None:
    assert not judged(RULE, trace(built(NORM, DROP), TRAINED, *body))


def test_only_what_freezes_this_layer_is_named() -> None:
    others = (
        Freeze(frozenset({DROP}), True, at(9)),
        freeze(11, frozen=False),
        Freeze(ONE, True, None),
    )
    (finding,) = judged(RULE, trace(built(), *others, freeze(), TRAINED, *training(frozen=ONE)))
    assert [step.place.line for step in finding.evidence] == [10, 3]


@pytest.mark.parametrize(
    ("part", "whole", "found"),
    [
        (told(Mode.EVAL, NORM, line=11), TRAINED, True),
        (told(Mode.EVAL, NORM, DROP, line=11, direct=True), TRAINED, True),
        (told(Mode.EVAL, NORM, line=11), told(Mode.TRAIN, NORM, line=12), False),
        (told(Mode.EVAL, NORM, DROP, line=11), TRAINED, False),
        (
            told(Mode.EVAL, NORM, line=11, direct=True),
            told(Mode.TRAIN, NORM, line=12, direct=True),
            False,
        ),
    ],
)
def test_evaluation_mode_of_a_part_that_is_undone(
    part: SetMode, whole: SetMode, found: bool
) -> None:
    body = (built(NORM, DROP), part, Loop(((whole, *training()),), repeat=True))
    findings = judged(RULE, trace(*body))
    assert [finding.severity for finding in findings] == [Severity.WARNING] * found
    if findings:
        assert [step.place.line for step in findings[0].evidence] == [11, 12, 3]


def test_an_evaluation_mode_that_was_for_an_inference() -> None:
    part = told(Mode.EVAL, NORM, line=11)
    body = (part, forward(NORM, output=5, line=40, grad=False), TRAINED, *training())
    assert not judged(RULE, trace(built(NORM, DROP), *body))


def test_what_is_undone_and_frozen_is_said_once_and_as_a_warning() -> None:
    part = told(Mode.EVAL, NORM, line=11)
    body = (built(NORM, DROP), part, freeze(), TRAINED, *training(frozen=ONE))
    (finding,) = judged(RULE, trace(*body), trace(*body))
    assert finding.severity is Severity.WARNING
    assert "which does not learn and had been set to evaluation mode" in finding.message
    assert lines([finding]) == [30]


def undone(*body: Item) -> set[Place | None]:
    (seen,) = (one for one in solve(trace(*body)) if isinstance(one.event, Forward))
    return {fact.undone for fact in seen.state[NORM]}


def test_the_solver_remembers_what_is_undone() -> None:
    part = told(Mode.EVAL, NORM, line=11)
    look = forward(NORM)
    assert undone(built(NORM, DROP), part, TRAINED, look) == {at(11)}
    assert undone(built(NORM, DROP), part, TRAINED, TRAINED, look) == {at(11)}
    assert undone(built(NORM, DROP), part, TRAINED, part, look) == {None}
    assert undone(built(NORM, DROP), TRAINED, look) == {None}
    everything = told(Mode.EVAL, NORM, DROP, line=13)
    assert undone(built(NORM, DROP), part, everything, TRAINED, look) == {None}
    assert undone(part, Loop(((TRAINED,),), repeat=True), TRAINED, look) == {at(11)}
