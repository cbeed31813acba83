"""BNL502 on pictures made by hand."""

from __future__ import annotations

import pytest
from hand_made import NORM, Drawing, at, built, findings, forward, judged, trace

from bnlint.graph import Kind, Parameter
from bnlint.records import replace
from bnlint.rules import bnl502
from bnlint.rules.base import Measured, Pictures
from bnlint.trace import Backward, Mode, Purpose, SensitiveLayer, SetMode, Step

HERE = at(50)
LEARN = (Backward(frozenset({0}), None), Step(frozenset(), None))


def drawn(kind: Kind = Kind.BATCHNORM, **params: Parameter) -> Drawing:
    drawing = Drawing()
    first = drawing.add(Kind.INPUT)
    drawing.add(kind, first, path="body.1", **params)
    return drawing


def checkpointed(drawing: Drawing) -> Drawing:
    drawing.nodes = [replace(node, checkpoint=HERE) for node in drawing.nodes]
    return drawing


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({}, True),
        ({"momentum": 0.5}, True),
        ({"momentum": 0}, False),
        ({"momentum": None}, False),
        ({"track_running_stats": False}, False),
        ({"training": False}, False),
    ],
)
def test_layers_that_move_their_statistics(params: dict[str, Parameter], wrong: bool) -> None:
    found = findings(bnl502.RULE, checkpointed(drawn(**params)).graph())
    assert [finding.place for finding in found] == ([HERE] if wrong else [])


def test_other_layers_and_other_calls() -> None:
    assert not findings(bnl502.RULE, drawn().graph())
    assert not findings(bnl502.RULE, checkpointed(drawn(Kind.OTHER_NORM)).graph())


@pytest.mark.parametrize(
    ("momentum", "twice", "once"), [(0.1, "0.19", "0.051"), (0.5, "0.75", "0.29"), (1, "1", "1")]
)
def test_the_momentum_that_makes_up_for_it(momentum: float, twice: str, once: str) -> None:
    (finding,) = findings(bnl502.RULE, checkpointed(drawn(momentum=momentum)).graph())
    assert f"acts like {twice})" in finding.message
    assert finding.message.endswith(f"momentum to {once}")


def test_one_finding_for_each_checkpoint() -> None:
    drawing = drawn()
    drawing.add(Kind.BATCHNORM, 1, path="body.2")
    (finding,) = findings(bnl502.RULE, checkpointed(drawing).graph(), checkpointed(drawn()).graph())
    assert [step.place for step in finding.evidence] == [at(2), at(3)]
    assert "(and 1 more)" in finding.message


@pytest.mark.parametrize(
    ("before", "learn", "wrong"),
    [
        ((), LEARN, True),
        ((), (), False),
        ((), LEARN[:1], False),
        ((SetMode(frozenset({NORM}), Mode.EVAL, None),), LEARN, False),
        ((SetMode(frozenset({NORM}), Mode.UNKNOWN, None),), LEARN, False),
    ],
)
def test_a_training_step_through_a_checkpoint(
    before: tuple[object, ...], learn: tuple[object, ...], wrong: bool
) -> None:
    run = forward(grad=True, checkpoint=HERE)
    found = judged(bnl502.RULE, trace(built(), *before, run, *learn))
    assert [finding.place for finding in found] == ([HERE] if wrong else [])
    assert not judged(bnl502.RULE, trace(built(), *before, forward(grad=True), *learn))


@pytest.mark.parametrize(
    ("mode", "stated", "wrong"),
    [
        (Mode.TRAIN, Purpose.TRAINING, True),
        (Mode.EVAL, Purpose.TRAINING, False),
        (Mode.TRAIN, Purpose.INFERENCE, False),
        (Mode.TRAIN, Purpose.UNSTATED, False),
    ],
)
def test_a_run_knows_which_layers_train(mode: Mode, stated: Purpose, wrong: bool) -> None:
    graph = checkpointed(drawn()).graph()
    (node,) = graph.of_kind(Kind.BATCHNORM)
    layer = SensitiveLayer(node.id, Kind.BATCHNORM, node.name, "body.1", node.place)
    run = trace(built(node.id, mode=mode), forward(node.id, stated=stated), layers={node.id: layer})
    measured = Measured(output={"batch": 8})
    found = list(bnl502.check(Pictures((graph,), (run,), measured=measured)))
    assert [finding.module for finding in found] == (["body.1"] if wrong else [])
    (from_text,) = bnl502.check(Pictures((graph,), (run,)))
    assert from_text.module is None


def test_a_function_has_torch_s_default_momentum() -> None:
    drawing = Drawing()
    drawing.add(Kind.BATCHNORM, drawing.add(Kind.INPUT), name="project.Norm")
    drawing.nodes = [replace(node, params={}) for node in drawing.nodes]
    (finding,) = findings(bnl502.RULE, checkpointed(drawing).graph())
    assert "a momentum of 0.1 acts like 0.19" in finding.message
