"""Dimensions and channels on pictures made by hand; BNL206, BNL207."""

from __future__ import annotations

import pytest
from hand_made import BLOCK, SEQUENTIAL, Drawing, findings, lines

from bnlint.finding import Role, Severity
from bnlint.graph import UNKNOWN, Kind, LayerGraph, Parameter, Scope
from bnlint.rules import bnl206, bnl207
from bnlint.rules.shapes import Shapes

INPUT, CONV, LINEAR, NORM, ACT = Kind.INPUT, Kind.CONV, Kind.LINEAR, Kind.BATCHNORM, Kind.ACTIVATION
NORM1D, NORM3D = "torch.nn.BatchNorm1d", "torch.nn.BatchNorm3d"
FLATTEN = {"start_dim": 1, "end_dim": -1}


def after(kind: Kind, name: str, size: int = 64, **params: Parameter) -> LayerGraph:
    """A convolution to 64 channels, one operation, BatchNorm."""
    drawing = Drawing()
    conv = drawing.add(CONV, drawing.add(INPUT), out_channels=64)
    operation = drawing.add(kind, conv, name=name, **params)
    drawing.add(Kind.OUTPUT, drawing.add(NORM, operation, num_features=size, line=9))
    return drawing.graph()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ACT, "torch.nn.PReLU"),
        (Kind.GATE, "torch.sigmoid"),
        (Kind.DROPOUT, "torch.nn.Dropout2d"),
        (Kind.POOL, "torch.nn.MaxPool2d"),
        (Kind.POOL, "torch.nn.functional.adaptive_avg_pool2d"),
        (Kind.UPSAMPLE, "torch.nn.functional.interpolate"),
        (Kind.OTHER_NORM, "torch.nn.GroupNorm"),
        (Kind.IDENTITY, "torch.nn.Identity"),
        (Kind.RESHAPE, "torch.nn.ReflectionPad2d"),
        (Kind.RESHAPE, "torch.Tensor.contiguous"),
    ],
)
def test_what_keeps_the_channels(kind: Kind, name: str) -> None:
    assert lines(findings(bnl206.RULE, after(kind, name, size=65))) == [9]
    assert not findings(bnl206.RULE, after(kind, name, size=64))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.GATE, "torch.nn.GLU"),
        (Kind.POOL, "torch.mean"),
        (Kind.UPSAMPLE, "torch.nn.PixelShuffle"),
        (Kind.UPSAMPLE, "torch.nn.functional.pixel_shuffle"),
        (Kind.RESHAPE, "torch.nn.functional.pad"),
        (Kind.RESHAPE, "torch.permute"),
        (Kind.RESHAPE, "torch.nn.Flatten"),
        (Kind.SLICE, "operator.getitem"),
        (Kind.SPLIT, "torch.chunk"),
        (Kind.CONCAT, "torch.cat"),
        (Kind.MUL, "torch.matmul"),
        (Kind.RECURRENT, "torch.nn.LSTM"),
        (Kind.ATTENTION, "torch.nn.MultiheadAttention"),
        (Kind.CALL, "project.Squeeze"),
        (Kind.UNKNOWN, ""),
    ],
)
def test_what_is_a_barrier(kind: Kind, name: str) -> None:
    assert not findings(bnl206.RULE, after(kind, name, size=65))


@pytest.mark.parametrize(
    ("given", "expected", "wrong"),
    [
        (64, 65, True),
        (64, 64, False),
        (UNKNOWN, 64, False),
        (64, UNKNOWN, False),
        ("64", 65, False),
        (True, 65, False),
    ],
)
def test_both_numbers_must_be_known(given: Parameter, expected: Parameter, wrong: bool) -> None:
    drawing = Drawing()
    conv = drawing.add(CONV, drawing.add(INPUT), out_channels=given)
    drawing.add(NORM, conv, num_features=expected)
    assert bool(findings(bnl206.RULE, drawing.graph())) is wrong


@pytest.mark.parametrize(
    ("sizes", "wrong"), [((32, 48), True), ((32, 64), False), ((32, UNKNOWN), False)]
)
def test_every_alternative_must_differ(sizes: tuple[Parameter, ...], wrong: bool) -> None:
    drawing = Drawing()
    first = drawing.add(INPUT)
    options = [drawing.add(CONV, first, out_channels=size) for size in sizes]
    drawing.add(NORM, options, num_features=64)
    found = findings(bnl206.RULE, drawing.graph())
    assert bool(found) is wrong
    assert all("32 or 48" in finding.message for finding in found)


@pytest.mark.parametrize(
    ("sizes", "known"),
    [((64, 64), {64}), ((64, 1), None), ((64, UNKNOWN), None), ((64,), {64}), ((1,), None)],
)
def test_an_addition_has_the_channels_of_all_its_operands(
    sizes: tuple[Parameter, ...], known: set[int] | None
) -> None:
    drawing = Drawing()
    first = drawing.add(INPUT)
    operands = [drawing.add(CONV, first, out_channels=size) for size in sizes]
    norm = drawing.add(NORM, drawing.add(Kind.ADD, *operands, name="torch.add"))
    graph = drawing.graph()
    assert Shapes(graph).channels(graph[norm]) == known


def test_a_batchnorm_gives_its_own_channels() -> None:
    drawing = Drawing()
    first = drawing.add(NORM, drawing.add(INPUT), num_features=32, path="bn1")
    drawing.add(NORM, drawing.add(ACT, first), num_features=64, line=7)
    (finding,) = findings(bnl206.RULE, drawing.graph())
    assert "BatchNorm2d 'bn1' before it gives 32" in finding.message
    assert [step.role for step in finding.evidence] == [Role.CONTEXT, Role.CAUSE]
    assert finding.severity is Severity.ERROR


def rows(*sizes: tuple[int, int], before: dict[str, Parameter] | None = None) -> LayerGraph:
    """INPUT, (an operation,) then Linear layers of a size, each with a BatchNorm1d of a size."""
    drawing = Drawing()
    last = drawing.add(INPUT)
    if before is not None:
        last = drawing.add(Kind.RESHAPE, last, name="torch.Tensor.view", **before)
    for features, channels in sizes:
        last = drawing.add(LINEAR, last, out_features=features)
        last = drawing.add(NORM, last, name=NORM1D, num_features=channels)
        last = drawing.add(ACT, last)
    return drawing.graph()


@pytest.mark.parametrize(
    ("graph", "wrong"),
    [
        (rows((64, 65)), False),
        (rows((64, 65), before={"shape": (UNKNOWN, -1)}), True),
        (rows((64, 64), before={"shape": (UNKNOWN, -1)}), False),
        (rows((64, 65), before={"shape": (2, 3, -1)}), False),
        (rows((64, 65), before={"shape": UNKNOWN}), False),
        (rows((64, 65), before=dict(FLATTEN)), True),
        (rows((32, 32), (64, 65)), True),
        (rows((384, 196), (768, 196)), False),
    ],
)
def test_features_are_channels_of_rows_only(graph: LayerGraph, wrong: bool) -> None:
    assert bool(findings(bnl206.RULE, graph)) is wrong


def test_a_view_sets_the_channels() -> None:
    drawing = Drawing()
    fc = drawing.add(LINEAR, drawing.add(INPUT), out_features=8192)
    view = drawing.add(Kind.RESHAPE, fc, name="torch.Tensor.view", shape=(-1, 128, 8, 8))
    drawing.add(NORM, view, num_features=64)
    (finding,) = findings(bnl206.RULE, drawing.graph())
    assert "its input gives 128" in finding.message


def test_a_long_chain_of_additions_takes_no_time() -> None:
    drawing = Drawing()
    last = drawing.add(INPUT)
    for _ in range(600):
        last = drawing.add(Kind.ADD, last, drawing.add(LINEAR, last), name="torch.add")
    drawing.add(NORM, last, name=NORM1D)
    assert not findings(bnl206.RULE, drawing.graph())


def behind(layer: Kind, name: str, norm: str, *between: tuple[Kind, str]) -> LayerGraph:
    drawing = Drawing()
    last = drawing.add(layer, drawing.add(INPUT), name=name, out_features=32, out_channels=32)
    for kind, operation in between:
        last = drawing.add(kind, last, name=operation)
    drawing.add(NORM, last, name=norm, num_features=8)
    return drawing.graph()


@pytest.mark.parametrize(
    ("layer", "norm", "wrong"),
    [
        ("Conv1d", "BatchNorm1d", False),
        ("Conv2d", "BatchNorm2d", False),
        ("ConvTranspose3d", "BatchNorm3d", False),
        ("Conv2d", "BatchNorm1d", True),
        ("Conv1d", "BatchNorm2d", True),
        ("Conv3d", "BatchNorm2d", True),
        ("ConvTranspose2d", "BatchNorm3d", True),
        ("Conv2d", "LazyBatchNorm1d", True),
        ("Conv2d", "SyncBatchNorm", False),
    ],
)
def test_the_dimensions_of_a_convolution(layer: str, norm: str, wrong: bool) -> None:
    graph = behind(CONV, f"torch.nn.{layer}", f"torch.nn.{norm}")
    assert bool(findings(bnl207.RULE, graph)) is wrong


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        (ACT, "torch.relu", True),
        (Kind.POOL, "torch.nn.MaxPool2d", True),
        (Kind.RESHAPE, "torch.permute", True),
        (Kind.SPLIT, "torch.chunk", True),
        (Kind.RESHAPE, "torch.squeeze", False),
        (Kind.RESHAPE, "torch.nn.Unflatten", False),
        (Kind.SLICE, "operator.getitem", False),
        (Kind.POOL, "torch.mean", False),
        (Kind.UNKNOWN, "", False),
    ],
)
def test_what_keeps_the_dimensions(kind: Kind, name: str, wrong: bool) -> None:
    graph = behind(CONV, "torch.nn.Conv2d", NORM1D, (kind, name))
    assert bool(findings(bnl207.RULE, graph)) is wrong


@pytest.mark.parametrize(
    ("kind", "name", "params", "dimensions"),
    [
        (Kind.RESHAPE, "torch.unsqueeze", {}, 5),
        (Kind.RESHAPE, "torch.flatten", {"start_dim": 1, "end_dim": -1}, 2),
        (Kind.RESHAPE, "torch.flatten", {"start_dim": 2, "end_dim": -1}, 3),
        (Kind.RESHAPE, "torch.flatten", {"start_dim": 0, "end_dim": -1}, 1),
        (Kind.RESHAPE, "torch.flatten", {"start_dim": 1, "end_dim": 2}, None),
        (Kind.RESHAPE, "torch.flatten", {"start_dim": -2, "end_dim": -1}, None),
        (Kind.RESHAPE, "torch.flatten", {"start_dim": 1}, None),
        (Kind.RESHAPE, "torch.flatten", {"end_dim": -1}, None),
        (Kind.RESHAPE, "torch.Tensor.view", {"shape": (2, UNKNOWN)}, 2),
        (Kind.RESHAPE, "torch.Tensor.view", {"shape": UNKNOWN}, None),
        (Kind.RESHAPE, "torch.Tensor.reshape", {}, None),
        (LINEAR, "torch.nn.Linear", {"out_features": 8}, 4),
        (Kind.ADD, "torch.add", {}, None),
    ],
)
def test_the_dimensions_behind_an_operation(
    kind: Kind, name: str, params: dict[str, Parameter], dimensions: int | None
) -> None:
    graph = after(kind, name, **params)
    (norm,) = graph.of_kind(NORM)
    assert Shapes(graph).dimensions(norm) == dimensions


@pytest.mark.parametrize(
    ("convolutions", "kind", "name", "dimensions"),
    [
        (("Conv2d", "Conv2d"), Kind.ADD, "torch.add", 4),
        (("Conv2d", "Conv2d"), Kind.MUL, "torch.mul", 4),
        (("Conv2d", "Conv2d"), Kind.CONCAT, "torch.cat", 4),
        (("Conv2d", "Conv2d"), Kind.MUL, "torch.matmul", None),
        (("Conv2d", "Conv2d"), Kind.CONCAT, "torch.stack", None),
        (("Conv2d", "Conv3d"), Kind.ADD, "torch.add", None),
        (("Conv3d", "Conv3d", "Conv3d"), Kind.ADD, "torch.add", 5),
    ],
)
def test_the_dimensions_behind_several_operands(
    convolutions: tuple[str, ...], kind: Kind, name: str, dimensions: int | None
) -> None:
    drawing = Drawing()
    first = drawing.add(INPUT)
    operands = [drawing.add(CONV, first, name=f"torch.nn.{each}") for each in convolutions]
    norm = drawing.add(NORM, drawing.add(kind, *operands, name=name))
    graph = drawing.graph()
    assert Shapes(graph).dimensions(graph[norm]) == dimensions


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((-1, 8, 4), {8}),
        ((8, 1), {1}),
        ((-1, 0, 4), None),
        ((2, -1), None),
        ((8,), None),
        ((2, UNKNOWN), None),
        ((2, True), None),
    ],
)
def test_the_channels_that_a_view_sets(shape: Parameter, channels: set[int] | None) -> None:
    graph = after(Kind.RESHAPE, "torch.Tensor.view", shape=shape)
    (norm,) = graph.of_kind(NORM)
    assert Shapes(graph).channels(norm) == channels


@pytest.mark.parametrize(
    ("scope", "features", "wrong"),
    [
        ((BLOCK, SEQUENTIAL), 8, True),
        ((BLOCK, SEQUENTIAL), 16, False),
        ((BLOCK, SEQUENTIAL), UNKNOWN, False),
        ((BLOCK,), 8, False),
    ],
)
def test_a_linear_layer_and_batchnorm2d_of_one_container(
    scope: tuple[object, ...], features: Parameter, wrong: bool
) -> None:
    drawing = Drawing()
    fc = drawing.add(LINEAR, drawing.add(INPUT), scope=scope, out_features=features)  # type: ignore[arg-type]
    drawing.add(NORM, fc, scope=scope, num_features=8)  # type: ignore[arg-type]
    assert bool(findings(bnl207.RULE, drawing.graph())) is wrong


@pytest.mark.parametrize(
    ("between", "wrong"),
    [
        ((ACT,), True),
        ((Kind.DROPOUT,), True),
        ((ACT, Kind.DROPOUT), True),
        ((ACT, Kind.DROPOUT, ACT), True),
        ((Kind.POOL,), False),
        ((ACT, Kind.UNKNOWN), False),
    ],
)
def test_what_may_stand_between_them(between: tuple[Kind, ...], wrong: bool) -> None:
    drawing = Drawing()
    last = drawing.add(LINEAR, drawing.add(INPUT), scope=(SEQUENTIAL,), out_features=8)
    for kind in between:
        last = drawing.add(kind, last, scope=(SEQUENTIAL,))
    drawing.add(NORM, last, scope=(SEQUENTIAL,), num_features=8)
    assert bool(findings(bnl207.RULE, drawing.graph())) is wrong


@pytest.mark.parametrize(
    ("between", "wrong"),
    [((), True), ((ACT,), True), ((ACT, Kind.DROPOUT), True), ((Kind.POOL,), False)],
)
def test_what_may_stand_between_rows_and_their_batchnorm(
    between: tuple[Kind, ...], wrong: bool
) -> None:
    drawing = Drawing()
    last = drawing.add(LINEAR, drawing.add(INPUT), out_features=32)
    last = drawing.add(NORM, last, name=NORM1D, num_features=32)
    last = drawing.add(LINEAR, last, out_features=64)
    for kind in between:
        last = drawing.add(kind, last)
    drawing.add(NORM, last, name=NORM1D, num_features=65)
    assert bool(findings(bnl206.RULE, drawing.graph())) is wrong


def test_a_batchnorm_in_order_does_not_hide_the_next() -> None:
    drawing = Drawing()
    conv = drawing.add(CONV, drawing.add(INPUT), name="torch.nn.Conv2d", out_channels=8)
    fits = drawing.add(NORM, conv, num_features=8)
    drawing.add(NORM, fits, name=NORM1D, num_features=8, line=20)
    drawing.add(NORM, fits, name=NORM3D, num_features=9, line=21)
    assert lines(findings(bnl207.RULE, drawing.graph())) == [20, 21]
    assert lines(findings(bnl206.RULE, drawing.graph())) == [21]


def test_the_proof_goes_back_to_the_layer_that_decides() -> None:
    drawing = Drawing()
    first = drawing.add(CONV, drawing.add(INPUT), out_channels=32, path="stem")
    conv = drawing.add(CONV, first, out_channels=64, path="conv")
    pool = drawing.add(Kind.POOL, drawing.add(ACT, conv), name="torch.nn.MaxPool2d")
    drawing.add(NORM, pool, name=NORM1D, num_features=65, path="bn", line=9)
    (dimensions,) = findings(bnl207.RULE, drawing.graph())
    assert [step.place.line for step in dimensions.evidence] == [5, 4, 3]
    assert [step.role for step in dimensions.evidence][-1] is Role.CAUSE
    assert dimensions.evidence[-1].message == "Conv2d 'conv' feeds it"
    (channels,) = findings(bnl206.RULE, drawing.graph())
    assert channels.evidence[-1].message == "Conv2d 'conv' gives 64 channels"
    assert dimensions.module == channels.module == "bn"


def test_a_linear_layer_on_images_is_no_mistake() -> None:
    drawing = Drawing()
    conv = drawing.add(CONV, drawing.add(INPUT), scope=(SEQUENTIAL,), out_channels=8)
    fc = drawing.add(LINEAR, conv, scope=(SEQUENTIAL,), out_features=8)
    drawing.add(NORM, fc, scope=(SEQUENTIAL,), num_features=8)
    assert not findings(bnl207.RULE, drawing.graph())


def test_the_message_names_the_batchnorm_that_fits() -> None:
    (finding,) = findings(bnl207.RULE, behind(CONV, "torch.nn.Conv2d", NORM3D))
    assert "takes 5D input and gets 4D from Conv2d" in finding.message
    assert finding.message.endswith("use BatchNorm2d")


@pytest.mark.parametrize("other", ["norm", "norm.inner"])
def test_one_of_several_choices_may_never_be_chosen(other: str) -> None:
    drawing = Drawing()
    conv = drawing.add(CONV, drawing.add(INPUT), out_channels=64, path="conv")
    drawing.add(NORM, conv, name=NORM1D, num_features=32, path="norm")
    assert findings(bnl206.RULE, drawing.graph())
    assert findings(bnl207.RULE, drawing.graph())
    inside = (BLOCK, Scope("norm", "net.Norm")) if other != "norm" else (BLOCK,)
    drawing.add(Kind.OTHER_NORM, conv, scope=inside, path=other)
    assert not findings(bnl206.RULE, drawing.graph())
    assert not findings(bnl207.RULE, drawing.graph())
