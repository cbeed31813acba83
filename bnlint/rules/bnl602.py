"""BNL602: BatchNorm is converted to SyncBatchNorm too late, or to no effect."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Evidence, Finding, Role, Severity
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import evidence_at, grouped, model_title
from bnlint.trace import ModeTrace, SyncNorms


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each call of the conversion."""
    found = [
        (trace, event)
        for trace in pictures.traces
        if not trace.is_test
        for event in trace.events()
        if isinstance(event, SyncNorms) and (_is_lost(event) or event.distributed is not None)
    ]
    for same_place in grouped(found, lambda one: one[1].place or one[0].entry).values():
        yield _finding(*same_place[0])


def _is_lost(event: SyncNorms) -> bool:
    """Whether the new layer is thrown away; of any other model the layers change in place."""
    return event.is_layer and event.discarded


def _finding(trace: ModeTrace, event: SyncNorms) -> Finding:
    if _is_lost(event):
        return RULE.finding(
            "the converted layer is thrown away: of a single BatchNorm layer "
            "convert_sync_batchnorm returns a new one and leaves the old one as it is; assign the "
            "result",
            event.place,
            _evidence(trace, event),
        )
    return RULE.finding(
        f"{model_title(trace, event.model)} is converted to SyncBatchNorm after it was wrapped in "
        "DistributedDataParallel: PyTorch documents the conversion before the wrapping only, and "
        "before version 1.9 the layers raise in training; convert first, then wrap",
        event.place,
        _evidence(trace, event),
        severity=Severity.WARNING,
    )


def _evidence(trace: ModeTrace, event: SyncNorms) -> list[Evidence]:
    model = trace.models.get(event.model)
    steps = [*evidence_at(event.distributed, "it is wrapped here", Role.CAUSE)]
    if model is not None and event.distributed is None:
        steps += evidence_at(model.built, f"{model.title} is built here", Role.CAUSE)
    return steps


RULE = Rule(
    code="BNL602",
    name="syncbn-after-ddp",
    severity=Severity.ERROR,
    summary="convert_sync_batchnorm comes after DistributedDataParallel, or its result is lost.",
    what="""\
- `convert_sync_batchnorm` is called on a model that is already wrapped in
  `DistributedDataParallel` (a warning);
- or it is called on a single BatchNorm layer and the result is thrown away.

Of every other module the function replaces the BatchNorm layers below it in place and returns the
module itself, so there a result that is not used is no mistake, and bnlint is silent.""",
    why="""\
The documentation of SyncBatchNorm asks for the conversion before the wrapping. Up to version 1.8
the wrapper told each SyncBatchNorm layer that it was being distributed, in its constructor: a layer
that came later raised "SyncBatchNorm is only supported within
torch.nn.parallel.DistributedDataParallel" in its first training step. Since 1.9 the layers find the
processes by themselves, and a late conversion takes effect, because it keeps the parameters and
buffers; but what the constructor does with the modules themselves has been done with the old ones:
the check that they are not on the CPU, and the hooks of its mixed precision.

A BatchNorm layer that is itself the root cannot be replaced in place. The function returns a new
layer with the same parameters; who drops it goes on with the old one, which is not
synchronised.""",
    fine_when="""\
- PyTorch is 1.9 or newer and you know that the late conversion works for you.
- `nn.SyncBatchNorm.convert_sync_batchnorm(model)` as a statement on a whole model.""",
    references=(
        "PyTorch documentation, torch.nn.SyncBatchNorm "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.SyncBatchNorm.html>",
        "PyTorch 1.8, the source of torch.nn.SyncBatchNorm.forward "
        "<https://github.com/pytorch/pytorch/blob/v1.8.0/torch/nn/modules/batchnorm.py>",
        "HRNet, issue 183: SyncBatchNorm is only supported within DistributedDataParallel "
        "<https://github.com/HRNet/HRNet-Semantic-Segmentation/issues/183>",
    ),
    wrong=(
        Example(
            """\
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

torch.distributed.init_process_group("nccl")
model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU()).cuda()
model = DistributedDataParallel(model)
model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # expect: BNL602
""",
            "Wrapped first",
        ),
        Example(
            """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.bn = nn.BatchNorm2d(16)

    def forward(self, x):
        return self.bn(self.conv(x))


net = Net()
nn.SyncBatchNorm.convert_sync_batchnorm(net.bn)  # expect: BNL602
""",
            "The new layer is thrown away",
        ),
    ),
    right=(
        Example(
            """\
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

torch.distributed.init_process_group("nccl")
model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU()).cuda()
model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
model = DistributedDataParallel(model)
""",
            "Converted, then wrapped",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

torch.distributed.init_process_group("nccl")
model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU()).cuda()
nn.SyncBatchNorm.convert_sync_batchnorm(model)
model = DistributedDataParallel(model)
""",
            "Nearly wrong: the layers of a whole model are replaced in place",
        ),
    ),
    check=check,
)
