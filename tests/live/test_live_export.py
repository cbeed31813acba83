"""What torch makes of a model in training mode, and what a watch says of it."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao.quantization import fuse_modules, get_default_qconfig_mapping, quantize_fx
from torch.fx.experimental.optimization import fuse
from torch.nn.utils.fusion import fuse_conv_bn_eval

import bnlint
from bnlint.live.errors import BatchNormWarning
from bnlint.rules.bnl601 import EXPORTERS
from bnlint.source.evaluate.exports import EXPORTS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:.*is not supported in Python 3.14"),
]
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.bn(self.conv(x)))


def net(dropout: float = 0.0) -> Net:
    torch.manual_seed(0)
    return Net(dropout)


def depends_on_its_batch(model: Callable[[Tensor], Tensor]) -> bool:
    with torch.no_grad():
        return not torch.allclose(model(IMAGES)[0], model(IMAGES[:2])[0], atol=1e-5)


def traced(model: nn.Module) -> Any:
    return torch.jit.trace(model, IMAGES, check_trace=False).eval()


def traced_module(model: nn.Module) -> Any:
    return torch.jit.trace_module(model, {"forward": IMAGES}, check_trace=False).eval()


def exported(model: nn.Module) -> Any:
    batch = torch.export.Dim("batch", min=1, max=8)
    return torch.export.export(model, (IMAGES,), dynamic_shapes=({0: batch},)).module()


BAKES = {"torch.jit.trace": traced, "torch.jit.trace_module": traced_module,
         "torch.export.export": exported}  # fmt: skip
RAISES = {
    "torch.jit.freeze": lambda model: torch.jit.freeze(torch.jit.script(model)),
    "torch.quantization.fuse_modules": lambda model: fuse_modules(model, [["conv", "bn"]]),
    "torch.quantization.quantize_fx.fuse_fx": quantize_fx.fuse_fx,
    "torch.quantization.quantize_fx.prepare_fx": lambda model: quantize_fx.prepare_fx(
        model, get_default_qconfig_mapping(), (IMAGES,)
    ),
    "torch.nn.utils.fusion.fuse_conv_bn_eval": lambda m: fuse_conv_bn_eval(m.conv, m.bn),
    "torch.nn.utils.fuse_conv_bn_eval": lambda m: nn.utils.fuse_conv_bn_eval(m.conv, m.bn),
    "torch.fx.experimental.optimization.fuse": fuse,
}


@pytest.mark.parametrize("how", BAKES)
def test_the_mode_is_part_of_the_program(how: str) -> None:
    assert not EXPORTERS[how].raises
    assert depends_on_its_batch(BAKES[how](net().train()))
    assert not depends_on_its_batch(BAKES[how](net().eval()))


@pytest.mark.parametrize("how", RAISES)
def test_what_refuses_a_model_in_training_mode(how: str) -> None:
    assert EXPORTERS[how].raises
    with pytest.raises((AssertionError, RuntimeError), match=r"eval"):
        RAISES[how](net().train())
    RAISES[how](net().eval())


def test_every_function_in_the_table_is_known_to_both_halves() -> None:
    assert {how.partition("(")[0] for how in EXPORTERS} == set(EXPORTS)
    untested = {"torch.export.draft_export", "torch.onnx.dynamo_export"}
    onnx = {how for how in EXPORTERS if how.startswith("torch.onnx.")}
    assert set(EXPORTERS) - untested - onnx == {*BAKES, *RAISES}


def test_a_scripted_model_keeps_its_modes() -> None:
    scripted = torch.jit.script(net().train())
    assert depends_on_its_batch(scripted)
    assert not depends_on_its_batch(scripted.eval())
    assert not depends_on_its_batch(torch.jit.optimize_for_inference(torch.jit.script(net())))


def to_onnx(model: nn.Module, **options: Any) -> list[tuple[str, int]]:
    """The operators of the exported graph, with their `training_mode`."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    target = io.BytesIO()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (IMAGES,), target, **options)
    nodes = onnx.load_from_string(target.getvalue()).graph.node
    flags = ({a.name: a.i for a in node.attribute} for node in nodes)
    return [(n.op_type, f.get("training_mode", 0)) for n, f in zip(nodes, flags)]


def test_the_dynamo_exporter_to_onnx_keeps_dropout_and_not_batchnorm() -> None:
    operators = to_onnx(net(0.5).train(), dynamo=True, optimize=False)
    assert ("BatchNormalization", 0) in operators
    assert "Dropout" in dict(operators)
    assert "Dropout" not in dict(to_onnx(net(0.5).eval(), dynamo=True, optimize=False))


def test_the_old_exporter_to_onnx_evaluates_unless_it_is_told_not_to() -> None:
    assert "Dropout" not in dict(to_onnx(net(0.5).train(), dynamo=False))
    keep = torch.onnx.TrainingMode.PRESERVE
    operators = dict(to_onnx(net(0.5).train(), dynamo=False, training=keep))
    assert operators["BatchNormalization"] == 1
    assert "Dropout" in operators


# -- under a watch


@pytest.fixture
def silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BatchNormWarning)
        yield


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("how", BAKES)
def test_a_watch_sees_an_export_in_training_mode(how: str) -> None:
    model = net()
    with bnlint.watch(model) as watching:
        kept = BAKES[how](model.eval())
        assert not watching.findings
        kept = BAKES[how](model.train())
    assert kept is not None
    (found,) = watching.findings
    assert found.code == "BNL601"
    assert found.place is not None
    assert found.place.path.endswith("test_live_export.py")
    assert f"by {how}, but" in found.message
    assert watching.uninspected == ()


@pytest.mark.usefixtures("silent")
def test_a_trace_after_dynamo_has_wrapped_the_function() -> None:
    model = torch.compile(net(), backend="eager")
    model(IMAGES)
    with bnlint.watch(model._orig_mod) as watching:
        kept = torch.jit.trace(model._orig_mod, IMAGES)
    assert kept is not None
    assert [found.code for found in watching.findings] == ["BNL601"]


@pytest.mark.usefixtures("silent")
def test_what_is_only_drawn_or_dropped_is_no_export() -> None:
    def add_graph(model: nn.Module) -> Any:
        return torch.jit.trace(model, IMAGES, check_trace=False)

    model = net()
    with bnlint.watch(model) as watching:
        torch.jit.trace(model, IMAGES)
        drawn = add_graph(model)
    assert drawn is not None
    assert watching.findings == ()


@pytest.mark.usefixtures("silent")
def test_checks_of_a_trace_are_not_the_users_forwards() -> None:
    model, unwatched = net(), net()
    with bnlint.watch(model) as watching:
        result = torch.jit.trace(model, IMAGES), torch.jit.trace(unwatched, IMAGES)
    assert result is not None
    assert [found.code for found in watching.findings] == ["BNL601"]
    assert model.bn.num_batches_tracked == unwatched.bn.num_batches_tracked > 2


@pytest.mark.usefixtures("silent")
def test_a_trace_holds_nothing_of_a_watch() -> None:
    plain = torch.jit.trace(net(), IMAGES, check_trace=False)
    model = net()
    with bnlint.watch(model):
        watched = torch.jit.trace(model, IMAGES, check_trace=False)
    for one, other in ((watched, plain), (watched.bn, plain.bn)):
        assert _MANGLED.sub("", str(one.graph)) == _MANGLED.sub("", str(other.graph))


_MANGLED = re.compile(r"___torch_mangle_\d+\.")
