"""BNL305: several processes train a model, each with statistics of its own."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Evidence, Finding, Measurement, Role, Severity
from bnlint.graph import Kind
from bnlint.rules.base import Example, Measured, Pictures, Rule
from bnlint.rules.predicates import evidence_at, grouped, model_title, sensitive_name
from bnlint.solver import Observation
from bnlint.trace import Distribute, Forward, Mode, ModeTrace, Purpose, SyncNorms


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each place where a model is wrapped."""
    found = [
        (trace, seen.event, layer)
        for trace, seen in pictures.observations
        if isinstance(seen.event, Distribute)
        and (layer := _local_layer(trace, seen, pictures)) is not None
    ]
    for same_place in grouped(found, lambda one: one[1].place or one[0].entry).values():
        yield _finding(*same_place[0], pictures.measured)


def _local_layer(trace: ModeTrace, seen: Observation, pictures: Pictures) -> int | None:
    """A BatchNorm layer of the wrapped model that nothing converts and that may train.

    None when something that cannot be seen had the model before: it may have converted it.
    """
    event = seen.event
    if not isinstance(event, Distribute) or trace.is_test:
        return None
    converted = trace.of(SyncNorms)
    synchronised = frozenset[int]().union(*(e.layers for e in converted))
    norms = [
        layer
        for layer in sorted(event.layers & trace.layers.keys())
        if trace.layers[layer].kind is Kind.BATCHNORM
        and not trace.layers[layer].name.endswith("SyncBatchNorm")
    ]
    if any(layer in synchronised or _is_unseen(seen, layer) for layer in norms):
        return None
    frozen = _frozen_layers(trace, pictures)
    return next((layer for layer in norms if layer not in frozen), None)


def _is_unseen(seen: Observation, layer: int) -> bool:
    modes = seen.modes(layer)
    return not modes or Mode.UNKNOWN in modes


def _frozen_layers(trace: ModeTrace, pictures: Pictures) -> frozenset[int]:
    """The layers that are in evaluation mode in every training step that can be seen."""
    trained: set[int] = set()
    frozen: set[int] = set()
    for other, seen in pictures.observations:
        event = seen.event
        if other is not trace or not isinstance(event, Forward):
            continue
        if trace.purpose(event) is not Purpose.TRAINING:
            continue
        for layer in event.layers:
            (frozen if seen.must(layer, Mode.EVAL) else trained).add(layer)
    return frozenset(frozen - trained)


def _finding(trace: ModeTrace, event: Distribute, layer: int, measured: Measured) -> Finding:
    name = sensitive_name(trace.layers[layer])
    return RULE.finding(
        f"{model_title(trace, event.model)} is trained by several processes, and {name} normalises "
        f"the batch of each process by itself{_sizes(measured.output)}; with small batches convert "
        "it first: nn.SyncBatchNorm.convert_sync_batchnorm(model)",
        event.place,
        _evidence(trace, event, layer),
        module=(trace.layers[layer].path or None) if measured.is_live else None,
        measurement=measured.output,
    )


def _sizes(output: Measurement) -> str:
    """What a run knows of the processes: their batches, and how far their statistics differ."""
    batch, together = output.get("batch"), output.get("batch_global")
    divergence, layer = output.get("rank_divergence"), output.get("rank_divergence_layer")
    sizes = f" ({batch} of {together} samples)" if together is not None else ""
    if not isinstance(divergence, float):
        return sizes
    return f"{sizes}, their running statistics differ by up to d = {divergence:.2g} ('{layer}')"


def _evidence(trace: ModeTrace, event: Distribute, layer: int) -> list[Evidence]:
    model = trace.models.get(event.model)
    steps = [*evidence_at(trace.layers[layer].place, "it holds this BatchNorm", Role.CAUSE)]
    if model is not None:
        steps += evidence_at(model.built, f"{model.title} is built here", Role.CAUSE)
    return steps


RULE = Rule(
    code="BNL305",
    name="ddp-without-syncbn",
    severity=Severity.NOTE,
    summary="DistributedDataParallel over BatchNorm that is not converted to SyncBatchNorm.",
    what="""\
A model is wrapped in `DistributedDataParallel`, holds BatchNorm layers, and no
`convert_sync_batchnorm` is called on it. The rule is off unless it is selected, and silent when the
project offers the conversion as an option, when the layers are frozen in evaluation mode, or when
code that cannot be seen had the model before.

The live check sees a model that is wrapped, or a run of several processes. Under torchrun it also
compares the processes: their batches, and how far their running statistics lie apart, with d as in
BNL504 (0.002 when buffers are broadcast, 0.30 was measured without that on skewed data).""",
    why="""\
Gradients are averaged over all processes, so people think of the global batch. BatchNorm does not
follow: each process takes mean and variance from its own share. With 8 processes and a global batch
of 32, a layer normalises over 4 samples. The running statistics are those of process 0, which are
broadcast before each forward; with `broadcast_buffers=False`, and in apex, each process keeps its
own and the copies drift apart. Object detection and segmentation, with 1 to 4 images per device,
gain most from synchronisation.""",
    fine_when="""\
- Each process has a large batch: from 16 images per device on there is little to gain, and
  synchronisation costs time in every layer.
- The statistics are to differ between devices: MoCo shuffles the samples between them instead.
- BatchNorm is frozen.""",
    references=(
        "Peng et al. 2017, MegDet: A Large Mini-Batch Object Detector "
        "<https://arxiv.org/abs/1711.07240>",
        "PyTorch documentation, torch.nn.SyncBatchNorm "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.SyncBatchNorm.html>",
        "MoCo, issue 41: BatchNorm within DistributedDataParallel "
        "<https://github.com/facebookresearch/moco/issues/41>",
        "timm, issue 110: running statistics under torch's and apex's wrapper "
        "<https://github.com/huggingface/pytorch-image-models/issues/110>",
    ),
    wrong=(
        Example(
            """\
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

torch.distributed.init_process_group("nccl")
model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU()).cuda()
model = DistributedDataParallel(model)  # expect: BNL305
""",
            "Wrapped as it is",
        ),
        Example(
            """\
import torch
import torchvision
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP


def main(rank):
    torch.distributed.init_process_group("nccl", rank=rank, world_size=8)
    model = torchvision.models.resnet50().to(rank)
    model = DDP(model, device_ids=[rank])  # expect: BNL305
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for images, labels in torch.load(f"part{rank}.pt"):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    torch.multiprocessing.spawn(main, nprocs=8)
""",
            "A known model",
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
model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16), nn.ReLU()).cuda()
model = DistributedDataParallel(model)
""",
            "No layer looks at the batch",
        ),
        Example(
            """\
import argparse

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

parser = argparse.ArgumentParser()
parser.add_argument("--sync-bn", action="store_true")
options = parser.parse_args()
torch.distributed.init_process_group("nccl")
model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU()).cuda()
if options.sync_bn:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
model = DistributedDataParallel(model)
""",
            "Nearly wrong: the user has the choice",
        ),
    ),
    check=check,
    default=False,
    live=True,
)
