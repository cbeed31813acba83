"""The layer graph of hand-made models whose true structure is known; the traps of one forward."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bnlint.graph import Kind, LayerGraph, Node
from bnlint.live.check import check
from bnlint.live.inputs import Inputs
from bnlint.live.measure import Measuring, measure
from bnlint.live.modules import Names
from bnlint.live.passes import Session
from bnlint.live.places import Places
from bnlint.live.preserve import Preserve
from bnlint.live.report import Report


def measured(model: nn.Module, *args: object) -> Measuring:
    with Preserve(model) as preserve:
        session = Session(model, preserve, Names(model), 0)
        return measure(session, [Inputs(args)], recalibrate=False, places=Places())


def graph_of(model: nn.Module, *args: object) -> LayerGraph:
    return measured(model, *args).graph


def kinds(graph: LayerGraph) -> str:
    return " ".join(node.kind.value for node in graph.nodes)


def norm(graph: LayerGraph, index: int = 0) -> Node:
    return list(graph.of_kind(Kind.BATCHNORM))[index]


def producers(graph: LayerGraph, index: int = 0) -> list[str]:
    return [node.kind.value for node in graph.producers(norm(graph, index))]


def consumers(graph: LayerGraph, index: int = 0) -> list[str]:
    return [node.kind.value for node in graph.consumers(norm(graph, index))]


IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """conv, then what `body` does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4, eps=1e-3, momentum=0.2)
        self.act = nn.ReLU(inplace=True)
        self.other = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.conv(x))

    def body(self, x: Tensor) -> Tensor:
        return self.act(self.bn(x))


def test_nodes_of_a_plain_block() -> None:
    graph = graph_of(nn.Sequential(OrderedDict(block=Block())), IMAGES)
    assert kinds(graph) == "input conv batchnorm activation output"
    node = norm(graph)
    assert (node.name, node.path, node.call_index) == ("torch.nn.BatchNorm2d", "block.bn", 0)
    assert node.params == {
        "num_features": 4,
        "eps": 1e-3,
        "momentum": 0.2,
        "affine": True,
        "track_running_stats": True,
    }
    assert (node.batch, node.positions) == (4, 64)
    assert [(scope.path, scope.container) for scope in node.scope] == [("", True), ("block", False)]
    assert node.scope[0].cls == "torch.nn.Sequential"
    assert node.block is not None and node.block.cls.endswith("Block")
    conv = graph.producers(node)[0]
    assert conv.params["bias"] is False and conv.params["kernel_size"] == (3, 3)


def test_places_point_at_construction_and_call() -> None:
    node = norm(graph_of(Block(), IMAGES))
    assert node.place is not None and node.call_place is not None
    lines = Path(__file__).read_text().splitlines()
    assert "self.bn = nn.BatchNorm2d" in lines[node.place.line - 1]
    built = lines[node.place.line - 1]
    assert built[node.place.column - 1 : node.place.end_column - 1].startswith("nn.BatchNorm2d(4")
    called = lines[node.call_place.line - 1]
    assert called[node.call_place.column - 1 : node.call_place.end_column - 1] == "self.bn(x)"


class InPlaceThroughView(Block):
    def body(self, x: Tensor) -> Tensor:
        x[:, :2].relu_()
        return self.bn(x)


class InPlaceThroughFlatView(Block):
    def body(self, x: Tensor) -> Tensor:
        x.view(-1).clamp_(min=0)
        return self.bn(x)


class HalfUntouched(Block):
    """One half is written in place; the other half still comes from the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(2)

    def body(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        left.relu_()
        return self.bn(right)


class HalfTouched(HalfUntouched):
    def body(self, x: Tensor) -> Tensor:
        left, _ = x.chunk(2, dim=1)
        again = x[:, :2]
        left.relu_()
        return self.bn(again)


class MemoryReused(Block):
    """The freed activation's memory goes to the next one."""

    def body(self, x: Tensor) -> Tensor:
        for _ in range(4):
            y = torch.relu(x)
            del y
        z = self.other(x)
        return self.bn(z)


class FunctionalDropoutInEval(Block):
    def body(self, x: Tensor) -> Tensor:
        return self.bn(F.dropout(x, 0.3, training=self.training))


class ResidualPastDropout(Block):
    """Switched off, dropout returns its input; the shortcut must not be taken for dropout."""

    def body(self, x: Tensor) -> Tensor:
        F.dropout(x, 0.3, training=False)
        return self.bn(x)


class Residual(Block):
    def body(self, x: Tensor) -> Tensor:
        y = self.other(x)
        y += x
        return self.bn(y)


class Concatenated(Block):
    def body(self, x: Tensor) -> Tensor:
        a, b = torch.split(x, 2, dim=1)
        return self.bn(torch.cat([b, a], 1))


class Shuffled(Block):
    def body(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return self.bn(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))


class Functional(Block):
    def body(self, x: Tensor) -> Tensor:
        bn = self.bn
        y = F.relu(x)
        return F.batch_norm(y, bn.running_mean, bn.running_var, bn.weight, bn.bias, False)


class TorchBatchNorm(Block):
    def body(self, x: Tensor) -> Tensor:
        bn = self.bn
        return torch.batch_norm(
            x, bn.weight, bn.bias, bn.running_mean, bn.running_var, True, 0.1, 1e-5, False
        )


class ByKeyword(Block):
    def body(self, x: Tensor) -> Tensor:
        return self.bn(input=self.act(input=x))


class Exponential(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.sigmoid()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad


class CustomFunction(Block):
    def body(self, x: Tensor) -> Tensor:
        return self.bn(Exponential.apply(x))


class Checkpointed(Block):
    reentrant = False

    def body(self, x: Tensor) -> Tensor:
        return checkpoint(lambda y: self.bn(self.act(y)), x, use_reentrant=self.reentrant)


class ForwardCalledDirectly(Block):
    """Past every hook."""

    def body(self, x: Tensor) -> Tensor:
        return self.bn.forward(self.act.forward(self.other.forward(x)))


class CheckpointedReentrant(Checkpointed):
    reentrant = True


class Subclassed(Block):
    class Fused(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).relu()

    def __init__(self) -> None:
        super().__init__()
        self.bn = self.Fused(4)


class InferenceMode(Block):
    def body(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            y = self.other(x)
            y.relu_()
            return self.bn(y)


class Vmapped(Block):
    def body(self, x: Tensor) -> Tensor:
        return self.bn(torch.vmap(lambda image: F.relu(image))(x))


class Swallowing(Block):
    """An exception inside a submodule that the forward catches."""

    def body(self, x: Tensor) -> Tensor:
        with contextlib.suppress(RuntimeError):
            self.other(x[:, :1])
        return self.bn(x)


class Autocast(Block):
    def body(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.bn(self.other(x))


class NoiseInside(Block):
    def body(self, x: Tensor) -> Tensor:
        return self.bn(self.other(torch.randn(4, 4, 8, 8)))


class FromNowhere(Block):
    outside = torch.randn(4, 4, 8, 8)

    def body(self, x: Tensor) -> Tensor:
        return self.bn(FromNowhere.outside)


class Scaled(Block):
    """A parameter is no producer: the product has one operand of data."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def body(self, x: Tensor) -> Tensor:
        return self.bn(self.scale * x)


TRAPS = {
    InPlaceThroughView: "activation",
    InPlaceThroughFlatView: "call",
    HalfUntouched: "conv",
    HalfTouched: "activation",
    MemoryReused: "conv",
    FunctionalDropoutInEval: "dropout",
    ResidualPastDropout: "conv",
    Residual: "add",
    Concatenated: "concat",
    Shuffled: "conv",
    Functional: "activation",
    TorchBatchNorm: "conv",
    ByKeyword: "activation",
    CustomFunction: "gate",
    ForwardCalledDirectly: "activation",
    Checkpointed: "activation",
    CheckpointedReentrant: "activation",
    Subclassed: "conv",
    InferenceMode: "activation",
    Vmapped: "activation",
    Swallowing: "conv",
    Autocast: "conv",
    NoiseInside: "conv",
    FromNowhere: "unknown",
    Scaled: "mul",
}
"""What feeds the BatchNorm of each model."""


@pytest.mark.parametrize(("network", "producer"), TRAPS.items())
@pytest.mark.parametrize("training", [True, False])
def test_what_feeds_the_batchnorm(network: type[Block], producer: str, training: bool) -> None:
    found = measured(network().train(training), IMAGES)
    assert producers(found.graph) == [producer]
    assert len(found.layers) == 1
    (numbers,) = found.layers.values()
    assert numbers["d"] is not None
    assert not [part for part in found.uninspected if "not called" not in part.reason]


CONSUMERS = {Subclassed: "activation"}
"""Where something of the model's own follows its BatchNorm; else what comes after the model."""


@pytest.mark.parametrize("network", TRAPS)
@pytest.mark.parametrize("training", [True, False])
def test_what_the_batchnorm_feeds(network: type[Block], training: bool) -> None:
    graph = graph_of(nn.Sequential(network(), nn.AvgPool2d(2)).train(training), IMAGES)
    assert consumers(graph) == [CONSUMERS.get(network, "pool")]
    assert producers(graph) == [TRAPS[network]]


def test_a_forward_that_is_called_directly_has_the_names_of_the_modules() -> None:
    graph = graph_of(nn.Sequential(OrderedDict(block=ForwardCalledDirectly())), IMAGES)
    assert [node.path for node in graph.of_kind(Kind.CONV)] == ["block.conv", "block.other"]
    node = norm(graph)
    assert (node.path, node.name) == ("block.bn", "torch.nn.BatchNorm2d")
    assert node.params["eps"] == 1e-3
    assert [scope.path for scope in node.scope] == ["", "block"]
    assert node.place is not None and node.call_place is not None
    lines = Path(__file__).read_text().splitlines()
    assert "self.bn = nn.BatchNorm2d" in lines[node.place.line - 1]
    assert "self.bn.forward" in lines[node.call_place.line - 1]


def test_operands_are_kept_apart() -> None:
    graph = graph_of(Residual(), IMAGES)
    (add,) = graph.of_kind(Kind.ADD)
    assert [[graph[n].kind.value for n in operand] for operand in add.inputs] == [
        "conv",
        "conv",
    ] or [graph[next(iter(operand))].path for operand in add.inputs] == ["other", "conv"]


def test_subclass_keeps_its_name_and_parameters() -> None:
    graph = graph_of(Subclassed(), IMAGES)
    assert (norm(graph).name, norm(graph).path) == ("torch.nn.BatchNorm2d", "bn")
    assert consumers(graph) == ["activation"]


def test_consumers_include_the_output() -> None:
    assert consumers(graph_of(Block(), IMAGES)) == ["activation"]
    assert consumers(graph_of(Residual(), IMAGES)) == ["output"]


def test_a_shared_batchnorm_has_two_calls() -> None:
    class Shared(Block):
        def body(self, x: Tensor) -> Tensor:
            return self.bn(self.other(self.bn(x)))

    report = check(Shared(), IMAGES)
    assert [(layer.name, layer.call) for layer in report.layers] == [("bn", 0), ("bn", 1)]


def test_instance_norm_is_not_batchnorm() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, track_running_stats=True))
    graph = graph_of(model, IMAGES)
    assert kinds(graph) == "input conv other_norm output"
    assert not check(model, IMAGES).layers


@dataclass
class Result:
    scores: Tensor
    extra: dict[str, Tensor]


class Structured(Block):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def body(self, x: Tensor) -> object:
        scores = self.bn(x).mean((2, 3))
        match self.form:
            case "dict":
                return {"scores": scores}
            case "tuple":
                return scores, x
            case "nested":
                return [{"a": (scores,)}]
            case _:
                return Result(scores, {"x": x})


@pytest.mark.parametrize("form", ["dict", "tuple", "nested", "dataclass"])
def test_output_structures(form: str) -> None:
    report = check(Structured(form), IMAGES + 3)
    assert isinstance(report.output["drift"], float) and report.output["drift"] > 0.01
    assert report.output["flip_rate"] is not None


class Siamese(Block):
    def forward(self, x: Tensor, y: Tensor, *, scale: float = 1.0) -> Tensor:
        return self.bn(self.conv(x)) - self.bn(self.conv(y)) * scale


def test_several_inputs() -> None:
    graph = graph_of(Siamese(), IMAGES, IMAGES + 1)
    assert kinds(graph).startswith("input input conv batchnorm conv batchnorm")
    assert len(check(Siamese(), (IMAGES, IMAGES + 1)).layers) == 2
    assert len(check(Siamese(), {"x": IMAGES, "y": IMAGES, "scale": 2.0}).layers) == 2


class Overriding(Block):
    """A train() of its own, in every way that breaks callers of it."""

    def train(self, mode: bool = True) -> Block:
        raise RuntimeError("train() must not be called")


def test_overridden_train_is_never_called() -> None:
    report = check(Overriding(), IMAGES, phase="inference")
    assert [finding.code for finding in report.findings] == ["BNL101"]


def test_frozen_batchnorm_under_a_training_root() -> None:
    model = Block()
    model.bn.eval()
    report = check(model, IMAGES, phase="inference")
    assert [finding.code for finding in report.findings] == ["BNL503"]  # not in training mode


class DropPath(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * torch.rand(len(x), 1, 1, 1).round() * 2


class Stochastic(Block):
    def __init__(self) -> None:
        super().__init__()
        self.path = DropPath()

    def body(self, x: Tensor) -> Tensor:
        return x + self.path(self.bn(x))


def test_drop_path_is_randomness_and_not_drift() -> None:
    model = Stochastic()
    for _ in range(60):
        model(IMAGES)
    report = check(model, IMAGES)
    drift, random = report.output["drift"], report.output["random_share"]
    assert isinstance(drift, float) and isinstance(random, float)
    assert random > 0.1 > 3 * drift
    assert check(model.eval(), IMAGES).output["random_share"] == 0.0


def statuses(report: Report) -> dict[str, str]:
    return {part.name: part.reason for part in report.uninspected}


def test_scripted_parts_are_reported() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
            self.bn = nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.bn(self.scripted(x))

    model = Net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = check(model, IMAGES)
    assert "1 BatchNorm inside" in statuses(report)["scripted"]
    assert [layer.name for layer in report.layers] == ["bn"]
    assert {str(kind) for kind in report.layers[0].producers} == {"call"}
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_wholly_scripted_model_never_reads_as_clean() -> None:
    model = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    report = check(model, IMAGES)
    assert not report.layers and report.uninspected
    assert "NOT INSPECTED" in str(report)


def test_compiled_models() -> None:
    whole = torch.compile(Block(), backend="eager")
    whole(IMAGES)
    inner = nn.Sequential(torch.compile(Block(), backend="eager"))
    inner(IMAGES)
    in_place = Block()
    in_place.compile(backend="eager")
    in_place(IMAGES)
    names = [[layer.name for layer in check(m, IMAGES).layers] for m in (whole, inner, in_place)]
    assert names == [["bn"], ["0.bn"], ["bn"]]


def test_data_parallel_is_unwrapped() -> None:
    assert [layer.name for layer in check(nn.DataParallel(Block()), IMAGES).layers] == ["bn"]


def test_users_hooks_run_and_are_followed() -> None:
    model = Block()
    calls: list[str] = []

    def relu(module: nn.Module, args: object, output: Tensor) -> Tensor:
        calls.append("hook")
        return output.relu()

    model.conv.register_forward_hook(relu)
    found = measured(model, IMAGES)
    assert calls and producers(found.graph) == ["activation"]


def test_a_forward_on_another_thread_is_reported() -> None:
    class Threaded(Block):
        def body(self, x: Tensor) -> Tensor:
            result: list[Tensor] = []
            thread = threading.Thread(target=lambda: result.append(self.bn(x)))
            thread.start()
            thread.join()
            return result[0]

    report = check(Threaded(), IMAGES)
    assert not report.layers
    assert any("thread" in part.reason for part in report.uninspected)
    assert "NOT INSPECTED" in str(report)


def test_batchnorm_inside_vmap_is_reported_where_it_cannot_be_measured() -> None:
    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            mean, var = self.bn.running_mean, self.bn.running_var
            return torch.vmap(lambda rows: F.batch_norm(rows, mean, var))(x)

    report = check(Mapped(), torch.randn(3, 8, 4))
    assert "cannot be measured" in statuses(report)["bn"]
    assert "NOT INSPECTED" in str(report)


def test_functional_call_is_followed() -> None:
    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

        def forward(self, x: Tensor) -> Tensor:
            state = {k: v * 1.0 for k, v in self.net.named_parameters()}
            return torch.func.functional_call(self.net, state, (x,))

    report = check(Called(), torch.randn(8, 4))
    assert [layer.name for layer in report.layers] == ["net.1"]
    assert {str(kind) for kind in report.layers[0].producers} == {"linear"}


def test_uncalled_batchnorm_is_reported() -> None:
    class Unused(Block):
        def body(self, x: Tensor) -> Tensor:
            return self.act(x)

    report = check(Unused(), IMAGES)
    assert statuses(report) == {"bn": "it was not called in this forward"}
    assert "NOT INSPECTED" in str(report)


class Frozen(nn.Module):
    """Like torchvision's FrozenBatchNorm2d."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(4))
        self.register_buffer("running_var", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.running_mean[:, None, None]) * self.running_var.rsqrt()[:, None, None]


def test_hand_written_batchnorm_is_reported() -> None:
    report = check(nn.Sequential(nn.Conv2d(3, 4, 3), Frozen()), IMAGES)
    assert "of its own making" in statuses(report)["1"]


def test_no_batchnorm_at_all_is_said() -> None:
    report = check(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), IMAGES)
    assert "NOTHING TO INSPECT" in str(report)


def test_transformer_layers_show_their_dropout() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True)
    report = check(layer, torch.randn(4, 5, 8))
    share = report.output["dropout_share"]
    assert isinstance(share, float) and share > 0.1


def test_recurrent_dropout_is_off_in_the_reference() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(6, 6, num_layers=2, dropout=0.5, batch_first=True)
            self.bn = nn.BatchNorm1d(6)

        def forward(self, x: Tensor) -> Tensor:
            return self.bn(self.rnn(x)[0][:, -1])

    report = check(Recurrent(), torch.randn(8, 5, 6))
    assert report.output["random_share"] == 0.0
    share = report.output["dropout_share"]
    assert isinstance(share, float) and share > 0.0
    assert {str(kind) for kind in report.layers[0].producers} == {"recurrent"}
