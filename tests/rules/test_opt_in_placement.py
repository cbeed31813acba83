"""BNL204, BNL205, BNL208, BNL209, BNL403, BNL404, BNL405 on pictures made by hand."""

from __future__ import annotations

import pytest
from hand_made import BLOCK, OTHER, Drawing, at, findings

from bnlint.finding import Role, SetArgument, Severity
from bnlint.graph import UNKNOWN, Kind, LayerGraph, Parameter, Scope
from bnlint.records import replace
from bnlint.rules import bnl204, bnl205, bnl208, bnl209, bnl403, bnl404, bnl405
from bnlint.rules.base import Measured, Rule

INPUT, CONV, LINEAR, NORM, ACT = Kind.INPUT, Kind.CONV, Kind.LINEAR, Kind.BATCHNORM, Kind.ACTIVATION
DROP, ADD, OUTPUT = Kind.DROPOUT, Kind.ADD, Kind.OUTPUT
NORM1D = "torch.nn.BatchNorm1d"


@pytest.mark.parametrize(
    ("order", "wrong"),
    [
        ((DROP, LINEAR, NORM), True),
        ((DROP, CONV, NORM), True),
        ((DROP, Kind.RESHAPE, LINEAR, NORM), True),
        ((DROP, NORM), False),
        ((DROP, LINEAR, ACT, NORM), False),
        ((DROP, LINEAR, LINEAR, NORM), False),
        ((DROP, ACT, LINEAR, NORM), False),
        ((Kind.UNKNOWN, LINEAR, NORM), False),
        ((LINEAR, NORM), False),
    ],
)
def test_dropout_upstream(order: tuple[Kind, ...], wrong: bool) -> None:
    assert bool(findings(bnl204.RULE, Drawing().chain(*order))) is wrong


@pytest.mark.parametrize("rate", [0.0, UNKNOWN])
def test_dropout_upstream_that_may_be_off(rate: Parameter) -> None:
    drawing = Drawing()
    drop = drawing.add(DROP, drawing.add(INPUT), p=rate)
    drawing.add(NORM, drawing.add(LINEAR, drop))
    assert not findings(bnl204.RULE, drawing.graph())


def test_the_shift_through_weights_is_shown() -> None:
    measured = Measured(layers={3: {"variance_ratio": 1.5, "variance_ratio_predicted": 1.47}})
    (finding,) = findings(bnl204.RULE, Drawing().chain(DROP, LINEAR, NORM), measured=measured)
    assert finding.message.endswith("(1.50 times, 1.47 predicted)")


def biased(*between: Kind, bias: Parameter = True, **more: Parameter) -> LayerGraph:
    drawing = Drawing()
    last = drawing.add(CONV, drawing.add(INPUT), bias=bias, line=5, **more)
    for kind in between:
        last = drawing.add(kind, last)
    drawing.add(OUTPUT, drawing.add(NORM, last))
    return drawing.graph()


@pytest.mark.parametrize(
    ("graph", "wrong"),
    [
        (biased(), True),
        (biased(Kind.IDENTITY), True),
        (biased(bias=False), False),
        (biased(bias=UNKNOWN), False),
        (biased(Kind.RESHAPE), False),
        (biased(Kind.SLICE), False),
        (biased(ACT), False),
        (biased(Kind.ADD), False),
    ],
)
def test_redundant_bias(graph: LayerGraph, wrong: bool) -> None:
    assert bool(findings(bnl205.RULE, graph)) is wrong


def test_the_bias_is_switched_off_by_a_fix() -> None:
    (finding,) = findings(bnl205.RULE, biased(out_channels=64))
    assert finding.place == at(5)
    assert "64 parameters without effect" in finding.message
    assert finding.fix is not None
    assert finding.fix.intents == (SetArgument(at(5), "bias", "bias=False"),)
    assert not finding.fix.safe


def test_another_reader_behind_an_identity_needs_the_bias() -> None:
    drawing = Drawing()
    same = drawing.add(Kind.IDENTITY, drawing.add(CONV, drawing.add(INPUT), bias=True))
    drawing.add(OUTPUT, drawing.add(NORM, same))
    assert findings(bnl205.RULE, drawing.graph())
    drawing.add(OUTPUT, drawing.add(ACT, same))
    assert not findings(bnl205.RULE, drawing.graph())


def test_another_reader_needs_the_bias() -> None:
    drawing = Drawing()
    conv = drawing.add(CONV, drawing.add(INPUT), bias=True)
    drawing.add(OUTPUT, drawing.add(ADD, conv, drawing.add(NORM, conv)))
    assert not findings(bnl205.RULE, drawing.graph())


def test_one_binding_without_batchnorm_is_enough() -> None:
    plain = Drawing()
    plain.add(OUTPUT, plain.add(CONV, plain.add(INPUT), bias=True, line=5))
    assert findings(bnl205.RULE, biased())
    assert not findings(bnl205.RULE, biased(), plain.graph())


@pytest.mark.parametrize(("features", "wrong"), [(64, True), (384, False)])
def test_the_bias_of_a_linear_layer(features: int, wrong: bool) -> None:
    drawing = Drawing()
    fc = drawing.add(LINEAR, drawing.add(INPUT), bias=True, out_features=features)
    drawing.add(OUTPUT, drawing.add(NORM, fc, name=NORM1D, num_features=64))
    assert bool(findings(bnl205.RULE, drawing.graph())) is wrong


def shared(first: str, second: str, *, alternatives: bool = False) -> LayerGraph:
    """One BatchNorm behind two convolutions, one after the other or in exclusive branches."""
    drawing = Drawing()
    start = drawing.add(INPUT)
    one = drawing.add(CONV, start, path=first)
    one = _call(drawing, one, 0)
    two = drawing.add(CONV, start if alternatives else one, path=second)
    two = _call(drawing, two, 1)
    drawing.add(OUTPUT, (one, two) if alternatives else two)
    return drawing.graph()


def siamese() -> LayerGraph:
    """The same convolution and BatchNorm on two inputs."""
    drawing = Drawing()
    ends = [
        _call(drawing, drawing.add(CONV, drawing.add(INPUT), path="conv1"), index)
        for index in range(2)
    ]
    drawing.add(OUTPUT, drawing.add(ADD, *ends))
    return drawing.graph()


def _call(drawing: Drawing, source: int, index: int) -> int:
    new = drawing.add(NORM, source, path="bn", line=9)
    node = drawing.nodes[new]
    drawing.nodes[new] = type(node)(
        node.id, node.kind, node.name, node.params, node.place, at(20 + index),
        node.scope, node.path, index, node.inputs,
    )  # fmt: skip
    return new


@pytest.mark.parametrize(
    ("graph", "wrong"),
    [
        (shared("conv1", "conv2"), True),
        (shared("conv1", "conv1"), True),
        (shared("conv1", "conv2", alternatives=True), False),
        (siamese(), False),
    ],
)
def test_shared_batchnorm_in_the_source(graph: LayerGraph, wrong: bool) -> None:
    found = findings(bnl208.RULE, graph)
    assert bool(found) is wrong
    for finding in found:
        assert finding.severity is Severity.NOTE
        assert finding.place == at(9)
        causes = [s.place for s in finding.evidence if s.role is Role.CAUSE]
        assert causes == [at(20), at(21)]


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ({"apart": 1.5, "apart_floor": 0.1}, True),
        ({"apart": 0.1, "apart_floor": 0.01}, False),
        ({"apart": 1.5, "apart_floor": 1.0}, False),
        ({"apart": None}, False),
    ],
)
@pytest.mark.parametrize("second", ["conv1", "conv2"])
def test_shared_batchnorm_in_a_run(numbers: dict[str, float], wrong: bool, second: str) -> None:
    measured = Measured(layers={2: numbers, 4: numbers})
    found = findings(bnl208.RULE, shared("conv1", second), measured=measured)
    assert bool(found) is wrong
    assert all(finding.severity is Severity.WARNING for finding in found)


def test_made_up_data_show_the_structure_only() -> None:
    measured = Measured(layers={2: {"batch": 8}}, synthetic=True)
    assert findings(bnl208.RULE, shared("conv1", "conv2"), measured=measured)
    assert not findings(bnl208.RULE, siamese(), measured=measured)


def encoder(norm: str = NORM1D, before: Kind = ADD, scope: Scope = BLOCK) -> LayerGraph:
    drawing = Drawing()
    start = drawing.add(INPUT)
    attended = drawing.add(Kind.ATTENTION, start, scope=(BLOCK, OTHER))
    last = drawing.add(before, start, attended)
    drawing.add(NORM, drawing.add(Kind.RESHAPE, last), name=norm, scope=(scope,))
    return drawing.graph()


@pytest.mark.parametrize(
    ("graph", "wrong"),
    [
        (encoder(), True),
        (encoder(norm="torch.nn.BatchNorm2d"), False),
        (encoder(before=LINEAR), False),
        (encoder(before=Kind.UNKNOWN), False),
        (encoder(scope=Scope("head", "net.Head")), False),
    ],
)
def test_batchnorm_in_a_transformer(graph: LayerGraph, wrong: bool) -> None:
    assert bool(findings(bnl209.RULE, graph)) is wrong


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        (("torch.matmul",), ("torch.matmul",), True),
        (("torch.einsum", "torch.div"), ("torch.bmm",), True),
        (("torch.matmul", "torch.mul"), ("torch.dropout", "torch.bmm"), True),
        (("torch.mul",), ("torch.matmul",), False),
        (("torch.matmul",), ("torch.mul",), False),
        (("torch.matmul",), ("torch.relu", "torch.matmul"), False),
    ],
)
def test_attention_is_a_softmax_between_two_products(
    before: tuple[str, ...], after: tuple[str, ...], wrong: bool
) -> None:
    kinds = {"torch.dropout": DROP, "torch.relu": ACT}
    drawing = Drawing()
    last = start = drawing.add(INPUT)
    for name in before:
        last = drawing.add(Kind.MUL, last, name=name)
    last = drawing.add(Kind.GATE, last, name="torch.softmax")
    for name in after:
        last = drawing.add(kinds.get(name, Kind.MUL), last, name=name)
    drawing.add(NORM, drawing.add(ADD, start, last), name=NORM1D)
    assert bool(findings(bnl209.RULE, drawing.graph())) is wrong


@pytest.mark.parametrize(("momentum", "wrong"), [(0, True), (0.1, False)])
def test_a_layer_of_the_project_tracks_statistics_unless_it_says_otherwise(
    momentum: float, wrong: bool
) -> None:
    drawing = Drawing(binding="momentum=0")
    drawing.add(NORM, drawing.add(INPUT), name="project.Norm", path="stem.bn")
    drawing.nodes[1] = replace(drawing.nodes[1], params={"momentum": momentum})
    found = findings(bnl403.RULE, drawing.graph())
    assert bool(found) is wrong
    for finding in found:
        assert "(momentum=0)" in finding.message
        assert finding.module == "stem.bn"


def judged(rule: Rule, name: str | None = None, **params: Parameter) -> bool:
    drawing = Drawing()
    norm = drawing.add(NORM, drawing.add(INPUT), name=name, **params)
    drawing.add(OUTPUT, drawing.add(ACT, norm))
    return bool(findings(rule, drawing.graph()))


@pytest.mark.parametrize(
    ("rule", "params", "wrong"),
    [
        (bnl403.RULE, {"momentum": 0}, True),
        (bnl403.RULE, {"momentum": 0.0}, True),
        (bnl403.RULE, {"momentum": None}, False),
        (bnl403.RULE, {"momentum": False}, False),
        (bnl403.RULE, {"momentum": 0.1}, False),
        (bnl403.RULE, {"momentum": 0, "track_running_stats": False}, False),
        (bnl404.RULE, {"track_running_stats": False}, True),
        (bnl404.RULE, {"track_running_stats": UNKNOWN}, False),
        (bnl404.RULE, {}, False),
        (bnl405.RULE, {"affine": False}, True),
        (bnl405.RULE, {"affine": UNKNOWN}, False),
        (bnl405.RULE, {}, False),
    ],
)
def test_constructor_notes(rule: Rule, params: dict[str, Parameter], wrong: bool) -> None:
    assert judged(rule, **params) is wrong
    assert not judged(rule, "torch.nn.functional.batch_norm", **params)


@pytest.mark.parametrize("kind", [LINEAR, OUTPUT, Kind.MUL, Kind.UNKNOWN])
def test_no_affine_is_fine_where_no_activation_follows(kind: Kind) -> None:
    drawing = Drawing()
    drawing.add(kind, drawing.add(NORM, drawing.add(INPUT), affine=False))
    assert not findings(bnl405.RULE, drawing.graph())


@pytest.mark.parametrize(
    ("features", "positions", "live", "wrong"),
    [
        (8, 1, True, True),
        (8, 5, True, False),
        (8, 5, False, True),
        (16, None, False, False),
        (16, 1, False, False),
        (UNKNOWN, 1, False, True),
        (UNKNOWN, None, False, False),
    ],
)
def test_a_run_knows_whether_the_features_are_the_channels(
    features: Parameter, positions: int | None, live: bool, wrong: bool
) -> None:
    drawing = Drawing()
    linear = drawing.add(LINEAR, drawing.add(INPUT), out_features=features, bias=True)
    norm = drawing.add(NORM, linear, name=NORM1D, num_features=8)
    drawing.nodes[norm] = replace(drawing.nodes[norm], positions=positions)
    measured = Measured(output={"batch": 8}) if live else None
    assert bool(findings(bnl205.RULE, drawing.graph(), measured=measured)) is wrong
