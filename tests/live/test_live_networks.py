"""Ten published networks: every BatchNorm call is seen, and the model is left as it was."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from live_states import fingerprint
from torch import Tensor, nn

from bnlint.live.check import check

NETWORKS = [
    ("resnet", "resnet18", 64),
    ("preresnet", "preresnet18", 64),
    ("densenet", "densenet121", 64),
    ("mobilenetv2", "mobilenetv2_w1", 64),
    ("efficientnet", "efficientnet_b0", 64),
    ("shufflenetv2", "shufflenetv2_w1", 64),
    ("resnext", "resnext50_32x4d", 64),
    ("seresnet", "seresnet50", 64),
    ("vgg", "bn_vgg16", 224),
    ("inceptionv3", "inceptionv3", 128),
]


def build(module: str, name: str) -> nn.Module:
    torch.manual_seed(0)
    network = getattr(importlib.import_module(f"pytorchcv.models.{module}"), name)
    model: nn.Module = network(pretrained=False, num_classes=10)
    if isinstance(getattr(model.features, "final_pool", None), nn.AvgPool2d):
        model.features.final_pool = nn.AdaptiveAvgPool2d(1)
    return model


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """Counts calls of F.batch_norm, by no means that the check itself uses."""
    with mock.patch.object(F, "batch_norm", wraps=F.batch_norm) as counter:
        yield lambda: counter.call_count


@pytest.mark.parametrize(("module", "name", "size"), NETWORKS)
def test_every_batchnorm_call_is_seen_and_nothing_changes(
    module: str, name: str, size: int
) -> None:
    model = build(module, name).eval()
    images = torch.randn(4 if size < 200 else 2, 3, size, size)
    with torch.no_grad(), counted() as count:
        model(images)
    model.train()
    calls = count()
    before, input_before = fingerprint(model), images.clone()

    report = check(model, images, phase="inference")

    assert calls > 0
    assert len(report.layers) == report.registered == calls
    assert not report.uninspected
    assert all(layer.d is not None and layer.cumulative is not None for layer in report.layers)
    assert [f.code for f in report.findings] == ["BNL101"]
    assert fingerprint(model) == before
    assert torch.equal(images, input_before)


def test_an_exception_in_the_middle_leaves_a_network_as_it_was() -> None:
    model = build("resnet", "resnet18")
    calls = 0

    def explode(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal calls
        calls += 1
        raise ArithmeticError("in the middle")

    model.features.stage3.unit1.register_forward_pre_hook(explode)
    images = torch.randn(4, 3, 64, 64)
    before = fingerprint(model)
    with pytest.raises(ArithmeticError, match="in the middle"):
        check(model, images)
    assert calls == 1
    assert fingerprint(model) == before
