"""BNL201, BNL202, BNL203 on pictures made by hand."""

from __future__ import annotations

import pytest
from hand_made import BLOCK, OTHER, SEQUENTIAL, Drawing, at, findings, lines

from bnlint.finding import Role, Severity, SwapElements
from bnlint.graph import UNKNOWN, Kind, LayerGraph, Scope
from bnlint.rules import bnl201, bnl202, bnl203
from bnlint.rules.base import Measured

INPUT, CONV, NORM, ACT = Kind.INPUT, Kind.CONV, Kind.BATCHNORM, Kind.ACTIVATION
DROP, LINEAR = Kind.DROPOUT, Kind.LINEAR


@pytest.mark.parametrize(
    ("order", "wrong"),
    [
        ((CONV, ACT, NORM), True),
        ((LINEAR, ACT, NORM), True),
        ((CONV, ACT, Kind.RESHAPE, NORM), True),
        ((CONV, Kind.IDENTITY, ACT, NORM), True),
        ((CONV, NORM, ACT), False),
        ((CONV, NORM, ACT, CONV), False),
        ((CONV, Kind.GATE, NORM), False),
        ((CONV, ACT, DROP, NORM), False),
        ((CONV, ACT, Kind.POOL, NORM), False),
        ((CONV, ACT, Kind.ADD, NORM), False),
        ((CONV, ACT, Kind.CONCAT, NORM), False),
        ((CONV, Kind.ADD, ACT, NORM), False),
        ((CONV, ACT, Kind.UNKNOWN, NORM), False),
        ((CONV, Kind.UNKNOWN, ACT, NORM), False),
        ((Kind.CALL, ACT, NORM), False),
        ((Kind.EMBEDDING, ACT, NORM), False),
        ((ACT, NORM), False),
        ((NORM,), False),
        ((CONV, NORM, ACT, NORM), False),
        ((CONV, ACT, NORM, ACT, CONV), False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_batchnorm_after_activation(order: tuple[Kind, ...], wrong: bool) -> None:
    assert bool(findings(bnl201.RULE, Drawing().chain(*order))) is wrong


def alternatives(*kinds: Kind) -> LayerGraph:
    """A convolution, the given kinds as alternatives, BatchNorm."""
    drawing = Drawing()
    conv = drawing.add(CONV, drawing.add(INPUT))
    options = [drawing.add(kind, conv) for kind in kinds]
    drawing.add(Kind.OUTPUT, drawing.add(NORM, options))
    return drawing.graph()


@pytest.mark.parametrize(
    ("kinds", "wrong"),
    [
        ((ACT, ACT), True),
        ((ACT, Kind.UNKNOWN), False),
        ((ACT, CONV), False),
        ((ACT, Kind.GATE), False),
    ],
)
def test_order_must_hold_on_every_alternative(kinds: tuple[Kind, ...], wrong: bool) -> None:
    assert bool(findings(bnl201.RULE, alternatives(*kinds))) is wrong


@pytest.mark.parametrize(("act", "conv"), [(OTHER, BLOCK), (BLOCK, OTHER)])
def test_layers_of_another_block_are_not_accused(act: Scope, conv: Scope) -> None:
    drawing = Drawing()
    layer = drawing.add(CONV, drawing.add(INPUT), scope=(conv,))
    drawing.add(NORM, drawing.add(ACT, layer, scope=(act,)), scope=(BLOCK,))
    assert not findings(bnl201.RULE, drawing.graph())


def test_bare_containers_bound_no_block() -> None:
    drawing = Drawing()
    layer = drawing.add(CONV, drawing.add(INPUT), scope=(BLOCK, SEQUENTIAL))
    drawing.add(NORM, drawing.add(ACT, layer, scope=(BLOCK, SEQUENTIAL)), scope=(BLOCK,))
    assert findings(bnl201.RULE, drawing.graph())


def test_a_switch_is_not_a_mistake() -> None:
    wrong, right = Drawing(binding="relu_first=True"), Drawing(binding="relu_first=False")
    conv = wrong.add(CONV, wrong.add(INPUT))
    wrong.add(NORM, wrong.add(ACT, conv), line=9)
    conv = right.add(CONV, right.add(INPUT))
    right.add(ACT, right.add(NORM, conv, line=9))
    assert findings(bnl201.RULE, wrong.graph())
    assert not findings(bnl201.RULE, wrong.graph(), right.graph())


def test_one_finding_for_each_class() -> None:
    drawing = Drawing()
    last = drawing.add(INPUT)
    for _ in range(3):
        last = drawing.add(NORM, drawing.add(ACT, drawing.add(CONV, last)))
    drawing.add(CONV, last, scope=(OTHER,))
    last = drawing.add(ACT, drawing.add(CONV, last, scope=(OTHER,)), scope=(OTHER,))
    drawing.add(NORM, last, scope=(OTHER,))
    first, second = findings(bnl201.RULE, drawing.graph())
    assert lines([first, second]) == [4, 14]
    roles = [(step.place.line, step.role) for step in first.evidence]
    assert roles == [
        (2, Role.CONTEXT),
        (3, Role.CAUSE),
        (7, Role.INSTANCE),
        (10, Role.INSTANCE),
    ]
    assert first.severity is Severity.WARNING
    assert "2 more in the same class" in first.message


def time_delay(dilation: object, conv: str = "torch.nn.Conv1d") -> LayerGraph:
    drawing = Drawing()
    first = drawing.add(CONV, drawing.add(INPUT), name=conv)
    norm = drawing.add(NORM, drawing.add(ACT, first), name="torch.nn.BatchNorm1d")
    drawing.add(CONV, norm, name=conv, dilation=dilation)  # type: ignore[arg-type]
    return drawing.graph()


@pytest.mark.parametrize(
    ("graph", "wrong"),
    [
        (time_delay(1), True),
        (time_delay((1,)), True),
        (time_delay(2), False),
        (time_delay((3,)), False),
        (time_delay(UNKNOWN), False),
        (time_delay(2, "torch.nn.Conv2d"), True),
    ],
)
def test_time_delay_networks_are_published_so(graph: LayerGraph, wrong: bool) -> None:
    assert bool(findings(bnl201.RULE, graph)) is wrong


def mixer(groups: object, act: str = "torch.nn.GELU") -> LayerGraph:
    drawing = Drawing()
    conv = drawing.add(CONV, drawing.add(INPUT), groups=groups)  # type: ignore[arg-type]
    drawing.add(NORM, drawing.add(ACT, conv, name=act))
    return drawing.graph()


@pytest.mark.parametrize(
    ("graph", "wrong"),
    [
        (mixer(1), True),
        (mixer(256), False),
        (mixer(UNKNOWN), False),
        (mixer(256, "torch.nn.ReLU"), True),
        (mixer(256, "torch.nn.functional.gelu"), False),
    ],
)
def test_mixers_are_published_so(graph: LayerGraph, wrong: bool) -> None:
    assert bool(findings(bnl201.RULE, graph)) is wrong


def lone_scorer(layer: Kind) -> LayerGraph:
    """A Sequential by itself that ends in a softmax."""
    drawing = Drawing()
    last = drawing.add(INPUT, scope=(SEQUENTIAL,))
    for kind in (CONV, ACT, NORM, layer, Kind.GATE):
        name = "torch.nn.Softmax" if kind is Kind.GATE else None
        last = drawing.add(kind, last, scope=(SEQUENTIAL,), name=name)
    drawing.add(Kind.OUTPUT, last)
    return drawing.graph()


def scorer(gate: str, product: str | None) -> LayerGraph:
    drawing = Drawing()
    x = drawing.add(INPUT)
    norm = drawing.add(NORM, drawing.add(ACT, drawing.add(CONV, x)))
    weights = drawing.add(Kind.GATE, drawing.add(CONV, norm), name=gate)
    if product is not None:
        weights = drawing.add(Kind.MUL, x, weights, name=product)
    drawing.add(Kind.OUTPUT, weights)
    return drawing.graph()


@pytest.mark.parametrize(
    ("graph", "wrong"),
    [
        (scorer("torch.nn.Softmax", "torch.mul"), False),
        (scorer("torch.nn.functional.softmax", "torch.Tensor.mul"), False),
        (scorer("torch.nn.Softmax", None), True),
        (scorer("torch.nn.Softmax", "torch.matmul"), True),
        (scorer("torch.nn.Sigmoid", "torch.mul"), True),
        (lone_scorer(CONV), False),
        (lone_scorer(LINEAR), True),
    ],
)
def test_attention_scorers_are_published_so(graph: LayerGraph, wrong: bool) -> None:
    assert bool(findings(bnl201.RULE, graph)) is wrong


def test_an_attention_scorer_may_be_part_of_a_class_of_the_usual_order() -> None:
    drawing = Drawing()
    x = drawing.add(ACT, drawing.add(NORM, drawing.add(CONV, drawing.add(INPUT))))
    norm = drawing.add(NORM, drawing.add(ACT, drawing.add(CONV, x)))
    weights = drawing.add(Kind.GATE, drawing.add(CONV, norm), name="torch.nn.Softmax")
    drawing.add(Kind.OUTPUT, drawing.add(Kind.MUL, x, weights, name="torch.mul"))
    assert not findings(bnl201.RULE, drawing.graph())


def test_a_network_that_pools_by_attention_is_published_so() -> None:
    drawing = Drawing()
    x = drawing.add(NORM, drawing.add(ACT, drawing.add(CONV, drawing.add(INPUT))))
    x = drawing.add(CONV, drawing.add(Kind.ADD, x, x))
    weights = drawing.add(Kind.GATE, drawing.add(CONV, x), name="torch.nn.Softmax")
    pooled = drawing.add(Kind.POOL, drawing.add(Kind.MUL, x, weights, name="torch.mul"))
    drawing.add(Kind.OUTPUT, pooled)
    assert not findings(bnl201.RULE, drawing.graph())


@pytest.mark.parametrize(
    ("order", "wrong"),
    [
        ((NORM, LINEAR, ACT, NORM, LINEAR), False),
        ((NORM, DROP, LINEAR, ACT, NORM, DROP, LINEAR), False),
        ((NORM, LINEAR, ACT, NORM, LINEAR, ACT, NORM), False),
        ((NORM, LINEAR, ACT, NORM, LINEAR, NORM, ACT), True),
        ((LINEAR, NORM, LINEAR, ACT, NORM), True),
        ((LINEAR, ACT, NORM, LINEAR, ACT, NORM), True),
        ((NORM, ACT, CONV, ACT, NORM, CONV), True),
    ],
)
def test_norms_on_the_input_of_every_layer_are_a_design(
    order: tuple[Kind, ...], wrong: bool
) -> None:
    assert bool(findings(bnl201.RULE, Drawing().chain(*order))) is wrong


def mixed(design: Kind, order: tuple[Kind, ...], other: Scope = BLOCK) -> LayerGraph:
    """A unit of a published design, then layers in some order, perhaps of another class."""
    drawing = Drawing()
    time = {"name": "torch.nn.Conv1d", "dilation": 2}
    depth = {"groups": 8}
    conv = drawing.add(CONV, drawing.add(INPUT), **(time if design is CONV else depth))  # type: ignore[arg-type]
    last = drawing.add(NORM, drawing.add(ACT, conv, name="torch.nn.GELU"))
    for kind in order:
        last = drawing.add(kind, last, scope=(other,))
    drawing.add(Kind.OUTPUT, last)
    return drawing.graph()


@pytest.mark.parametrize("design", [CONV, ACT])
@pytest.mark.parametrize(
    ("order", "other", "wrong"),
    [
        ((CONV, NORM, ACT), BLOCK, True),
        ((LINEAR, NORM, ACT), BLOCK, True),
        ((CONV, NORM, ACT), OTHER, False),
        ((CONV, NORM), BLOCK, False),
        ((CONV, NORM, Kind.ADD, ACT), BLOCK, False),
        ((CONV, NORM, Kind.GATE), BLOCK, False),
        ((NORM, ACT, CONV), BLOCK, False),
    ],
)
def test_a_class_of_both_orders_is_no_design(
    design: Kind, order: tuple[Kind, ...], other: Scope, wrong: bool
) -> None:
    assert bool(findings(bnl201.RULE, mixed(design, order, other))) is wrong


def elsewhere(*orders: tuple[Kind, ...], **params: object) -> LayerGraph:
    """A convolution with GELU and BatchNorm; then layers of another class, the first with these
    parameters."""
    drawing = Drawing()
    conv = drawing.add(CONV, drawing.add(INPUT), name="torch.nn.Conv1d")
    last = drawing.add(NORM, drawing.add(ACT, conv, name="torch.nn.GELU"))
    for first, *others in orders:
        last = drawing.add(first, last, scope=(OTHER,), **params)  # type: ignore[arg-type]
        for kind in others:
            name = "torch.nn.GELU" if kind is ACT else None
            last = drawing.add(kind, last, scope=(OTHER,), name=name)
    drawing.add(Kind.OUTPUT, last)
    return drawing.graph()


@pytest.mark.parametrize(
    ("graph", "wrong"),
    [
        (elsewhere((CONV, ACT, NORM), groups=8), False),
        (elsewhere((CONV, NORM, ACT), groups=8), True),
        (elsewhere((CONV, ACT), groups=8), True),
        (elsewhere((CONV, ACT, NORM), name="torch.nn.Conv1d", dilation=2), False),
        (elsewhere((CONV, NORM, ACT), name="torch.nn.Conv1d", dilation=2), True),
        (elsewhere((CONV,), name="torch.nn.Conv1d", dilation=2), False),
    ],
)
def test_the_typical_layer_has_the_order_of_the_design(graph: LayerGraph, wrong: bool) -> None:
    assert bool(findings(bnl201.RULE, graph)) is wrong


def test_neighbours_in_a_sequential_can_be_swapped() -> None:
    drawing = Drawing()
    scope = (BLOCK, SEQUENTIAL)
    conv = drawing.add(CONV, drawing.add(INPUT), scope=scope, path="features.0")
    act = drawing.add(ACT, conv, scope=scope, path="features.1")
    norm = drawing.add(NORM, act, scope=scope, path="features.2")
    (finding,) = findings(bnl201.RULE, drawing.graph())
    assert finding.fix is not None
    assert not finding.fix.safe
    assert finding.fix.intents == (SwapElements(at(act + 1), at(norm + 1)),)


@pytest.mark.parametrize(
    ("act", "norm", "swapped"),
    [
        ("net.features.1", "net.features.2", True),
        ("net.features.9", "net.features.10", True),
        ("net.features.1", "net.features.3", False),
        ("net.features.2", "net.features.1", False),
        ("net.features.1", "net.head.2", False),
        ("features.1", "features.bn", False),
        ("features.relu", "features.2", False),
    ],
)
def test_only_neighbours_are_swapped(act: str, norm: str, swapped: bool) -> None:
    drawing = Drawing()
    scope = (BLOCK, SEQUENTIAL)
    conv = drawing.add(CONV, drawing.add(INPUT), scope=scope, path="net.features.0")
    drawing.add(NORM, drawing.add(ACT, conv, scope=scope, path=act), scope=scope, path=norm)
    (finding,) = findings(bnl201.RULE, drawing.graph())
    assert (finding.fix is not None) is swapped


@pytest.mark.parametrize(("act", "norm"), [("relu", "bn"), ("features.0", "features.1"), ("", "")])
def test_others_cannot_be_swapped(act: str, norm: str) -> None:
    drawing = Drawing()
    conv = drawing.add(CONV, drawing.add(INPUT))
    drawing.add(NORM, drawing.add(ACT, conv, path=act), path=norm)
    (finding,) = findings(bnl201.RULE, drawing.graph())
    assert finding.fix is None


def test_the_live_half_adds_moments() -> None:
    measured = Measured(layers={3: {"zeros_share": 0.52, "skew": 1.25, "d": 0.1}})
    (finding,) = findings(bnl201.RULE, Drawing().chain(CONV, ACT, NORM), measured=measured)
    assert "52% of its input is exactly zero" in finding.message
    assert finding.measurement["zeros_share"] == 0.52


def test_live_layers_of_one_statement_are_told_apart() -> None:
    drawing = Drawing()
    norm = drawing.add(NORM, drawing.add(CONV, drawing.add(INPUT)), line=5, path="seq.1")
    act = drawing.add(ACT, drawing.add(CONV, drawing.add(ACT, norm)))
    drawing.add(NORM, act, line=5, path="seq.5")
    assert not findings(bnl201.RULE, drawing.graph())
    (finding,) = findings(bnl201.RULE, drawing.graph(), measured=Measured(layers={6: {"d": 0.0}}))
    assert finding.module == "seq.5"


@pytest.mark.parametrize(
    ("name", "params", "wrong"),
    [
        ("torch.nn.Dropout", {}, True),
        ("torch.nn.Dropout2d", {"p": 0.1}, True),
        ("torch.nn.functional.dropout", {"p": 0.3, "training": UNKNOWN}, True),
        ("torch.nn.functional.dropout", {"p": 0.3, "training": False}, False),
        ("torch.nn.Dropout", {"p": 0.0}, False),
        ("torch.nn.Dropout", {"p": 0}, False),
        ("torch.nn.Dropout", {"p": 1}, True),
        ("torch.nn.Dropout", {"p": 1.5}, False),
        ("torch.nn.Dropout", {"p": UNKNOWN}, False),
        ("torch.nn.Dropout", {"p": True}, False),
        ("torch.nn.Dropout", {"p": "0.5"}, False),
        ("torch.nn.AlphaDropout", {"p": 0.5}, False),
        ("torch.nn.FeatureAlphaDropout", {"p": 0.5}, False),
        ("torch.nn.functional.alpha_dropout", {"p": 0.5}, False),
    ],
)
def test_which_dropout_counts(name: str, params: dict[str, object], wrong: bool) -> None:
    drawing = Drawing()
    drop = drawing.add(DROP, drawing.add(CONV, drawing.add(INPUT)), name=name, **params)  # type: ignore[arg-type]
    norm = drawing.add(NORM, drop)
    after = drawing.add(DROP, norm, name=name, **params)  # type: ignore[arg-type]
    drawing.add(Kind.OUTPUT, after)
    assert bool(findings(bnl202.RULE, drawing.graph())) is wrong
    assert bool(findings(bnl203.RULE, drawing.graph())) is wrong


@pytest.mark.parametrize(
    ("order", "wrong"),
    [
        ((DROP, NORM), True),
        ((DROP, Kind.RESHAPE, Kind.SLICE, NORM), True),
        ((DROP, LINEAR, NORM), False),
        ((DROP, ACT, NORM), False),
        ((DROP, Kind.UNKNOWN, NORM), False),
        ((NORM, DROP), False),
    ],
)
def test_dropout_before_batchnorm(order: tuple[Kind, ...], wrong: bool) -> None:
    assert bool(findings(bnl202.RULE, Drawing().chain(LINEAR, *order))) is wrong


@pytest.mark.parametrize(
    ("kinds", "wrong"),
    [((DROP, DROP), True), ((DROP, CONV), False), ((DROP, Kind.UNKNOWN), False)],
)
def test_dropout_on_every_alternative(kinds: tuple[Kind, ...], wrong: bool) -> None:
    assert bool(findings(bnl202.RULE, alternatives(*kinds))) is wrong


def test_a_binding_that_drops_is_enough_and_named() -> None:
    graphs = []
    for rate in (0.0, 0.4):
        drawing = Drawing(binding=f"drop={rate}")
        drop = drawing.add(DROP, drawing.add(INPUT), p=rate)
        drawing.add(NORM, drop)
        graphs.append(drawing.graph())
    (finding,) = findings(bnl202.RULE, *graphs)
    assert "(drop=0.4)" in finding.message


def test_the_variance_shift_is_shown() -> None:
    numbers = {"variance_ratio": 2.0112, "variance_ratio_predicted": 2.0}
    measured = Measured(layers={3: numbers})
    (finding,) = findings(bnl202.RULE, Drawing().chain(LINEAR, DROP, NORM), measured=measured)
    assert "2.01 times the variance of evaluation, 2.00 predicted" in finding.message
    assert finding.measurement["variance_ratio"] == 2.0112


@pytest.mark.parametrize(
    ("order", "wrong"),
    [
        ((NORM, DROP), True),
        ((NORM, Kind.RESHAPE, DROP), True),
        ((NORM, ACT, DROP), False),
        ((NORM,), False),
        ((NORM, Kind.UNKNOWN, DROP), False),
    ],
)
def test_batchnorm_before_dropout(order: tuple[Kind, ...], wrong: bool) -> None:
    found = findings(bnl203.RULE, Drawing().chain(LINEAR, *order))
    assert bool(found) is wrong
    assert all(finding.severity is Severity.NOTE for finding in found)


@pytest.mark.parametrize("other", [Kind.ADD, Kind.OUTPUT, Kind.UNKNOWN, ACT])
def test_another_reader_of_the_batchnorm_makes_it_fine(other: Kind) -> None:
    drawing = Drawing()
    norm = drawing.add(NORM, drawing.add(LINEAR, drawing.add(INPUT)))
    drawing.add(Kind.OUTPUT, drawing.add(DROP, norm))
    drawing.add(other, norm)
    assert not findings(bnl203.RULE, drawing.graph())
