"""BNL103 on traces made by hand."""

from __future__ import annotations

import pytest
from hand_made import DROP, NORM, at, built, forward, judged, trace

from bnlint.finding import InsertBefore
from bnlint.records import replace
from bnlint.rules import bnl103
from bnlint.trace import (
    Backward,
    Branch,
    Call,
    Exit,
    ExitKind,
    Freeze,
    Loop,
    Mode,
    Model,
    ModeTrace,
    SetMode,
    Step,
)

ALL = frozenset({NORM})
RUN = forward(grad=True, line=30)
LEARN = (RUN, Backward(frozenset({0}), None), Step(frozenset({0}), None))
EVAL = SetMode(ALL, Mode.EVAL, at(40), "eval()")
TRAIN = SetMode(ALL, Mode.TRAIN, at(25), "train()")
UNKNOWN = SetMode(ALL, Mode.UNKNOWN, at(26))
SCORE = forward(grad=False, output=1, line=41)
SUMMARY = Call(
    "summary",
    at(22),
    (SetMode(ALL, Mode.EVAL, at(23), "eval()"), forward(grad=None, output=2, line=24)),
)
VALIDATE = Call("validate", at(45), (EVAL, SCORE))


def loop(*body: object, line: int = 28) -> Loop:
    return Loop((body,), True, at(line, "test.py"))  # type: ignore[arg-type]


BATCHES = loop(*LEARN, line=29)

WRONG = {
    "validation after each epoch": (built(), loop(BATCHES, VALIDATE)),
    "train() once": (built(), TRAIN, loop(BATCHES, EVAL, SCORE)),
    "validation within an epoch": (built(), loop(TRAIN, loop(*LEARN, Branch(((VALIDATE,), ()))))),
    "validation before the step": (built(), loop(TRAIN, loop(Branch(((VALIDATE,), ())), *LEARN))),
    "sometimes restored": (built(), loop(BATCHES, VALIDATE, Branch(((TRAIN,), ())))),
    "a validation before the training, too": (built(), VALIDATE, loop(BATCHES, VALIDATE)),
    "a summary before the training": (
        built(),
        SUMMARY,
        Call("fit", None, (loop(BATCHES, VALIDATE),)),
    ),
    "an optimizer that cannot be seen": (
        built(),
        loop(*LEARN[:2], Step(frozenset(), None), VALIDATE),
    ),
    "a forward without a grad context scores": (
        built(),
        loop(BATCHES, EVAL, forward(grad=True, output=1, line=41)),
    ),
}
RIGHT = {
    "restored in each epoch": (built(), loop(TRAIN, BATCHES, VALIDATE)),
    "restored after the validation": (built(), loop(BATCHES, VALIDATE, TRAIN)),
    "validation after the loop": (built(), loop(BATCHES), VALIDATE),
    "validation before the loop": (built(), VALIDATE, loop(BATCHES)),
    "a model that is built in evaluation mode": (
        built(mode=Mode.EVAL),
        SUMMARY,
        loop(BATCHES, VALIDATE),
    ),
    "a factory that measures what it builds": (
        Call("build", at(20), (built(), *SUMMARY.body)),
        loop(BATCHES, VALIDATE),
    ),
    "evaluation mode for the training, and a summary": (
        built(),
        SetMode(ALL, Mode.EVAL, at(21), "eval()"),
        SUMMARY,
        loop(BATCHES, VALIDATE),
    ),
    "a function that does nothing but set it": (
        built(),
        Call("freeze", at(20), SUMMARY.body[:1]),
        loop(BATCHES, VALIDATE),
    ),
    "evaluation mode from the beginning": (built(), EVAL, loop(BATCHES, VALIDATE)),
    "a restored flag": (built(), loop(BATCHES, VALIDATE, UNKNOWN)),
    "an unknown call": (built(), loop(UNKNOWN, BATCHES, VALIDATE)),
    "the loop ends with the validation": (
        built(),
        loop(BATCHES, VALIDATE, Exit(ExitKind.BREAK)),
    ),
    "statistics are frozen for training": (built(), loop(BATCHES, Branch(((EVAL,), ())))),
    "a choice at the top of each epoch": (
        built(),
        loop(Branch(((TRAIN,), (SetMode(ALL, Mode.EVAL, at(27), "eval()"),))), BATCHES, VALIDATE),
    ),
    "a choice that leaves a third way": (
        built(),
        loop(
            Branch(((TRAIN,), (SetMode(ALL, Mode.EVAL, at(27), "eval()"),), ())), BATCHES, VALIDATE
        ),
    ),
    "no step": (built(), loop(*LEARN[:2], VALIDATE)),
    "no backward": (built(), loop(RUN, LEARN[2], VALIDATE)),
    "no gradient reaches it": (
        built(),
        loop(RUN, Backward(frozenset({0}), None, 1, frozenset({0})), LEARN[2], VALIDATE),
    ),
    "its parameters are not trained": (
        built(),
        loop(*LEARN[:2], Step(frozenset({1}), None), VALIDATE),
    ),
    "other layers": (
        built(),
        loop(BATCHES, SetMode(frozenset({DROP}), Mode.EVAL, at(40)), SCORE),
    ),
}


def of(body: tuple[object, ...]) -> ModeTrace:
    models = {0: Model(0, "net", at(20, "test.py"), ALL), 1: Model(1, "head", None, frozenset())}
    drawn = trace(*body)
    return ModeTrace(drawn.entry, drawn.body, models, drawn.layers)


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
def test_what_leaks(body: tuple[object, ...]) -> None:
    found = judged(bnl103.RULE, of(body))
    assert [finding.place for finding in found] == [at(30, "test.py")]


@pytest.mark.parametrize("body", RIGHT.values(), ids=RIGHT.keys())
def test_what_does_not_leak_or_is_meant(body: tuple[object, ...]) -> None:
    assert not judged(bnl103.RULE, of(body))


def test_unit_tests_are_left_alone() -> None:
    drawn = of(WRONG["train() once"])
    assert judged(bnl103.RULE, drawn)
    alone = ModeTrace(drawn.entry, drawn.body, drawn.models, drawn.layers, True)
    assert not judged(bnl103.RULE, alone)


def test_the_proof_in_order() -> None:
    (finding,) = judged(bnl103.RULE, of(WRONG["train() once"]))
    lines = [step.place.line for step in finding.evidence]
    assert lines == [3, 20, 25, 40]
    assert "eval()" in finding.message


def test_a_chain_of_calls_is_named() -> None:
    inner = Call("epoch", at(50), (BATCHES, VALIDATE))
    (finding,) = judged(bnl103.RULE, of((built(), Call("main", at(60), (loop(inner),)))))
    assert "called through main > epoch" in finding.message
    assert [step.place.line for step in finding.evidence] == [3, 20, 40, 60, 50]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (WRONG["validation after each epoch"], 29),
        (WRONG["validation within an epoch"], 30),
        ((built(), loop(*LEARN, VALIDATE)), 30),
    ],
)
def test_training_mode_is_set_before_the_loop_over_batches(
    body: tuple[object, ...], line: int
) -> None:
    def named(item: object) -> object:
        match item:
            case Loop(bodies):
                blocks = tuple(tuple(named(inner) for inner in body) for body in bodies)
                return replace(item, bodies=blocks)  # type: ignore[arg-type]
            case _ if item is RUN:
                return replace(RUN, receiver="self.net")
            case _:
                return item

    (finding,) = judged(bnl103.RULE, of(tuple(named(item) for item in body)))
    assert finding.fix is not None
    assert finding.fix.intents == (
        InsertBefore(at(line, "test.py"), "self.net.train()", "self.net"),
    )
    assert not finding.fix.safe
    assert "call self.net.train()" in finding.message


def test_one_finding_for_each_eval() -> None:
    second = forward(grad=True, line=33, output=2)
    body = (RUN, second, Backward(frozenset({0, 2}), None), LEARN[2])
    (finding,) = judged(bnl103.RULE, of((built(), loop(*body, VALIDATE))))
    assert finding.place == at(30, "test.py")
    assert [s.place.line for s in finding.evidence if s.role.value == "instance"] == [33]


def test_without_a_name_for_the_model_there_is_no_fix() -> None:
    (finding,) = judged(bnl103.RULE, of(WRONG["train() once"]))
    assert finding.fix is None


def test_a_loop_of_another_file_is_not_where_the_fix_stands() -> None:
    run = replace(RUN, receiver="net")
    elsewhere = Loop(((run, *LEARN[1:]),), True, at(5, "engine.py"))
    (finding,) = judged(bnl103.RULE, of((built(), loop(elsewhere, VALIDATE))))
    assert finding.fix is not None
    assert finding.fix.intents == (InsertBefore(at(30, "test.py"), "net.train()", "net"),)


@pytest.mark.parametrize(
    ("flags", "wrong"), [((), True), ((True,), False), ((True, False), True), ((False,), True)]
)
def test_what_is_frozen_for_good_is_an_average(flags: tuple[bool, ...], wrong: bool) -> None:
    frozen = [Freeze(ALL, flag, at(22)) for flag in flags]
    body = (built(), *frozen, loop(BATCHES, VALIDATE))
    assert bool(judged(bnl103.RULE, of(body))) is wrong


@pytest.mark.parametrize(("stepped", "wrong"), [(0, True), (1, False), (2, True), (9, False)])
def test_an_optimizer_of_another_model_counts_where_the_layer_is_a_part_of_it(
    stepped: int, wrong: bool
) -> None:
    drawn = of((built(), loop(*LEARN[:2], Step(frozenset({stepped}), None), VALIDATE)))
    models = {**drawn.models, 2: Model(2, "wrapped", None, frozenset({NORM, DROP}))}
    assert bool(judged(bnl103.RULE, replace(drawn, models=models))) is wrong


def test_a_layer_that_is_meant_does_not_hide_one_that_leaks() -> None:
    both = frozenset({NORM, DROP})
    step = (forward(NORM, DROP, grad=True), *LEARN[1:])
    freeze_statistics = Branch(((SetMode(ALL, Mode.EVAL, at(60), "eval()"),), ()))
    leak = SetMode(frozenset({DROP}), Mode.EVAL, at(40), "eval()")
    score = replace(SCORE, layers=frozenset({DROP}))
    body = (built(NORM, DROP), loop(*step, freeze_statistics, leak, score))
    drawn = replace(of(body), models={0: Model(0, "net", at(20, "test.py"), both)})
    (finding,) = judged(bnl103.RULE, drawn)
    assert "drop" in finding.message
