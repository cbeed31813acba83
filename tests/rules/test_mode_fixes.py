"""Where a fix sets evaluation mode, and when it must not: on traces made by hand."""

from __future__ import annotations

import pytest
from hand_made import NORM, at, built, forward, judged, trace

from bnlint.finding import InsertBefore, Place
from bnlint.rules import bnl101, bnl103
from bnlint.trace import (
    Backward,
    Branch,
    Call,
    Context,
    Item,
    Loop,
    Mode,
    SetMode,
    Step,
    Within,
)

TRAIN = SetMode(frozenset({NORM}), Mode.TRAIN, at(21, "test.py"), "train()")
EVAL = SetMode(frozenset({NORM}), Mode.EVAL, at(40, "test.py"), "eval()")
TRAINING = (
    forward(output=1, line=28, grad=True),
    Backward(frozenset({1}), None),
    Step(frozenset(), None),
)
SCORE = forward(grad=False, line=35, receiver="model")


def loop(*body: Item, line: int | None = 33) -> Loop:
    return Loop((body,), True, None if line is None else at(line, "test.py"))


SCORES = loop(SCORE)
WRAPPED = {
    "plain": SCORES,
    "with": Context((Within((SCORES,)),)),
    "with, not left early": Context((SCORES,)),
    "if": Branch(((SCORES,), ())),
    "else": Branch(((), (SCORES,))),
    "call": Call("evaluate", at(50), (SCORES,)),
    "call in a call": Call("run", at(51), (Call("evaluate", at(50), (SCORES,)),)),
    "outer loop": loop(SCORES, line=31),
    "second part of a loop": Loop(((), (SCORES,)), True, at(31, "test.py")),
}


def insertion(*body: Item) -> InsertBefore | None:
    (found,) = judged(bnl101.RULE, trace(built(), *body))
    if found.fix is None:
        return None
    (intent,) = found.fix.intents
    assert isinstance(intent, InsertBefore)
    return intent


@pytest.mark.parametrize("item", WRAPPED.values(), ids=WRAPPED.keys())
def test_no_fix_that_a_training_step_would_feel(item: Item) -> None:
    assert insertion(item, *TRAINING) is None
    assert insertion(item, TRAIN, *TRAINING) is not None
    assert insertion(item) is not None


@pytest.mark.parametrize(
    ("body", "above"),
    [
        ((SCORE,), []),
        ((SCORES,), [33]),
        ((loop(SCORES, line=31),), [33, 31]),
        ((loop(SCORES, line=None),), [33]),
        ((loop(TRAIN, *TRAINING, SCORES, line=31),), [33]),
        ((loop(TRAIN, SCORES, line=31),), [33]),
        ((loop(TRAIN, SCORE),), []),
        ((Call("prepare", at(50), ()), SCORES), [33]),
        ((Branch(((), (SCORES,))),), [33]),
        ((loop(Call("evaluate", at(50), (SCORES,)), line=31),), [33]),
    ],
)
def test_it_stands_above_the_loops_that_only_infer(
    body: tuple[Item, ...], above: list[int]
) -> None:
    fix = insertion(*body)
    assert fix is not None
    places: tuple[Place, ...] = fix.above
    assert [place.line for place in places] == above


@pytest.mark.parametrize(
    ("last", "wrong"),
    [
        (EVAL, True),
        (Call("freeze", None, (EVAL,)), True),
        (Call("freeze", None, (TRAIN, EVAL)), True),
        (Branch(((EVAL,), ())), False),
        (SetMode(frozenset({NORM}), Mode.EVAL, at(40, "test.py"), "eval()", True), False),
    ],
    ids=["set", "in a call", "last in a call", "perhaps", "may"],
)
def test_evaluation_mode_at_the_end_of_every_round_was_left_behind(last: Item, wrong: bool) -> None:
    found = judged(bnl103.RULE, trace(built(), TRAIN, loop(*TRAINING, last)))
    assert [f.place for f in found] == ([at(28, "test.py")] if wrong else [])


def test_evaluation_mode_before_the_training_of_every_round_is_meant() -> None:
    assert not judged(bnl103.RULE, trace(built(), TRAIN, loop(EVAL, *TRAINING)))
