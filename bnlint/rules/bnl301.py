"""BNL301: training with few samples in a batch."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Evidence, Finding, Measurement, Place, Role, Severity
from bnlint.graph import Kind, Node
from bnlint.records import Struct
from bnlint.rules.base import Example, Option, Pictures, Rule
from bnlint.rules.curves import expected_drift, sufficient_batch
from bnlint.rules.predicates import (
    evidence_at,
    grouped,
    layer_name,
    may_train,
    sensitive_layers,
)
from bnlint.solver import Observation
from bnlint.trace import Forward, Mode, ModeTrace, Purpose

SMALL_BATCH = Option(
    "small-batch", 8, 1, "The source half reports batches with fewer samples than this."
)
"""8 is the smallest batch that is usual with BatchNorm."""

LARGEST_DRIFT = 0.2
"""Measured noise of a layer's statistics, in units of its output's deviation, from which on a small
batch is reported: clean networks stay below 0.06, broken statistics lie above 0.2."""

LARGEST_STEP = 8
"""How many times the batch somebody may be asked for, or devices to synchronise over."""


class _Small(Struct, frozen=True):
    """A training forward with a small batch, and its BatchNorm layers that train."""

    trace: ModeTrace
    forward: Forward
    batch: int
    layers: tuple[int, ...]

    @property
    def place(self) -> Place | None:
        """What decides the batch size."""
        return self.forward.loader or self.forward.place


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each loader; of a live model, one for the whole forward."""
    largest = pictures.option(RULE, SMALL_BATCH.name) - 1
    found = [
        small
        for trace, seen in pictures.observations
        if (small := _small(trace, seen, largest)) is not None
    ]
    for same_loader in grouped(found, lambda small: small.place or small.trace.entry).values():
        finding = (
            _measured_finding(same_loader[0], pictures)
            if pictures.measured.is_live
            else _finding(same_loader)
        )
        if finding is not None:
            yield finding


def _small(trace: ModeTrace, seen: Observation, largest: int) -> _Small | None:
    forward = seen.event
    if not isinstance(forward, Forward) or trace.is_test or forward.batch is None:
        return None
    if not 1 <= forward.batch <= largest or not may_train(trace, forward):
        return None
    layers = tuple(
        layer
        for layer in sensitive_layers(seen, trace, Kind.BATCHNORM)
        if seen.must(layer, Mode.TRAIN)
        # One value per channel raises an exception: that is BNL303.
        and forward.batch * (trace.layers[layer].positions or 2) > 1
    )
    return _Small(trace, forward, forward.batch, layers) if layers else None


def _finding(same_loader: list[_Small]) -> Finding:
    small = same_loader[0]
    layer = small.trace.layers[small.layers[0]]
    name = f"{layer.name.rpartition('.')[2]}" + (f" '{layer.path}'" if layer.path else "")
    if small.batch == 1:
        size, effect = "one sample at a time", "its statistics are those of a single sample"
    else:
        size = f"{small.batch} samples at a time"
        effect = f"its statistics come from {small.batch} samples only"
    return RULE.finding(
        f"{_title(small)} is trained with {size}, but {name} normalises over the batch: {effect}; "
        f"{_advice(small.batch)}",
        small.place,
        _evidence(same_loader),
        severity=Severity.ERROR if small.batch == 1 else Severity.NOTE,
        module=layer.path or None,
    )


def _measured_finding(small: _Small, pictures: Pictures) -> Finding | None:
    """Judged by the noise of the statistics at this batch size; None where it is small."""
    trains = small.trace.purpose(small.forward) is Purpose.TRAINING
    worst = _worst_layer(small, pictures)
    if worst is None:
        return _finding([small]) if trains else None
    drift, node, measured = worst
    if drift <= LARGEST_DRIFT and not (trains and small.batch == 1):
        return None
    enough = sufficient_batch(measured, LARGEST_DRIFT)
    until = f"from {enough} samples on" if enough else "not even at 256 samples"
    return RULE.finding(
        f"{_title(small)} runs in training mode on {small.batch} samples: with that many, chance "
        f"alone moves the output of {layer_name(node)} by {drift:.2f} of its deviation (below "
        f"{LARGEST_DRIFT:g} {until}); {_measured_advice(small.batch, enough, node)}",
        small.place,
        severity=Severity.ERROR if small.batch == 1 else Severity.WARNING,
        module=node.path or None,
        measurement={
            **measured,
            "path": node.path,
            "expected_drift": drift,
            "sufficient_batch": enough,
        },
    )


def _worst_layer(small: _Small, pictures: Pictures) -> tuple[float, Node, Measurement] | None:
    """The training layer with the largest drift that is expected at this batch size."""
    found = [
        (drift, node, numbers)
        for graph in pictures.graphs
        for node in graph.of_kind(Kind.BATCHNORM)
        if (numbers := pictures.measured.layers.get(node.id, {})).get("training") is not False
        and (drift := expected_drift(numbers, small.batch)) is not None
    ]
    return max(found, key=lambda entry: entry[0], default=None)


def _measured_advice(batch: int, enough: int | None, node: Node) -> str:
    """What to do, by how far the batch is from enough, and by what is normalised."""
    norm = "LayerNorm" if node.positions == 1 else "GroupNorm"
    frozen = "freeze the BatchNorm layers with their pretrained statistics"
    if enough is not None and enough <= LARGEST_STEP * batch:
        devices = -(-enough // batch)
        return (
            f"use a batch of {enough}, SyncBatchNorm over {devices} devices, or {norm} in its "
            f"place; in fine-tuning, {frozen}"
        )
    return f"use {norm} in its place; in fine-tuning, {frozen}"


def _title(small: _Small) -> str:
    model = small.trace.models.get(small.forward.model)
    return model.title if model is not None else "the model"


def _advice(batch: int) -> str:
    if batch == 1:
        return (
            "use a larger batch, GroupNorm or InstanceNorm, or freeze the BatchNorm layers with "
            "their pretrained statistics"
        )
    return (
        "consider a larger batch, GroupNorm, SyncBatchNorm over several devices, or frozen layers"
    )


def _evidence(same_loader: list[_Small]) -> list[Evidence]:
    steps: list[Evidence] = []
    for small in same_loader:
        model = small.trace.models.get(small.forward.model)
        layer = small.trace.layers[small.layers[0]]
        message = f"{layer.name.rpartition('.')[2]} normalises over the batch"
        steps += evidence_at(layer.place, message, Role.CAUSE)
        if model is not None:
            steps += evidence_at(model.built, f"{model.title} is built here", Role.CAUSE)
        message = "the batch size is decided here"
        steps += evidence_at(small.forward.batch_place, message, Role.CAUSE)
        if small.forward.loader is not None:
            message = "a training step runs it on this batch"
            steps += evidence_at(small.forward.place, message, Role.CAUSE)
    return list(dict.fromkeys(steps))


RULE = Rule(
    code="BNL301",
    name="small-batch",
    severity=Severity.ERROR,
    summary="A model with BatchNorm is trained with fewer than 8 samples in a batch.",
    what="""\
A training step - a forward whose loss goes backward and into an optimizer step - runs on a
loader whose batch size is known (a literal, a constant, the default of argparse, click or a
config) and below 8, and the model has BatchNorm layers in training mode. A batch size of 1 is an
error, 2 to 7 a note. Loaders for validation and test, helpers that compute mean and deviation,
and models without BatchNorm are not reported; nor are frozen (evaluated) BatchNorm layers.

The live check does not go by the number alone. From one batch of fewer than 8 samples it predicts
how far the statistics of each layer scatter at batch sizes 1, 2, 4, ... 256, because a layer on a
56x56 map sees thousands of values per channel and one on a 1x1 map only as many as there are
samples. A sample counts as a cluster: with S^2 the variance of the samples' means, v the variance
and psi the samples' second moments,

    d(n)^2 = S^2 / (n v) + Var(psi) / (4 n v^2) + (S^2 / (2 n v))^2

Layers above 0.2 of their output's deviation are a warning, which says from which batch size on they
fall below it. The same curve is measured on random parts of a larger batch, for comparison.""",
    why="""\
BatchNorm estimates mean and variance from the batch. The error of that estimate reaches the
output in training, and evaluation with running statistics then is a different function. Wu and
He report the ImageNet error of ResNet-50 with BatchNorm growing from 23.6 % at 32 images per
device to 34.7 % at 2, where GroupNorm stays at 24.1 %. Measured here at 2, 8 and 32 samples: 28
%, 7 % and 1 % of a network's predictions differ from those with the full statistics. Spatial
positions help less than their number says: of 256 positions of a map only 104 to 120 counted as
independent.""",
    fine_when="""\
- One item of the loader holds many rows: all nodes of a graph, all points of a cloud, all crops of
  an image. Then the rows are the samples.
- BatchNorm is frozen: `bn.eval()` in every epoch, or `FrozenBatchNorm2d`, with pretrained
  statistics. bnlint sees the former.
- SyncBatchNorm over enough devices.
- A dry run or a debugging configuration.""",
    references=(
        "Wu and He 2018, Group Normalization <https://arxiv.org/abs/1803.08494>",
        'Wu and Johnson 2021, Rethinking "Batch" in BatchNorm <https://arxiv.org/abs/2105.07576>',
        "PyTorch documentation, torch.nn.SyncBatchNorm "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.SyncBatchNorm.html>",
    ),
    wrong=(
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 1, 1))
optimizer = torch.optim.Adam(model.parameters())
loader = DataLoader(torch.load("train.pt"), batch_size=1, shuffle=True)  # expect: BNL301
for images, masks in loader:
    loss = nn.functional.binary_cross_entropy_with_logits(model(images), masks)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
            "Segmentation with one image at a time",
        ),
        Example(
            """\
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=4)
    args = parser.parse_args()
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = torch.load("train.pt")
    loader = DataLoader(data, batch_size=args.batch_size, shuffle=True)  # expect: BNL301
    for x, y in loader:
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


main()
""",
            "The default of an argument (a note)",
        ),
    ),
    right=(
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader

model = nn.Sequential(
    nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 1, 1)
)
optimizer = torch.optim.Adam(model.parameters())
loader = DataLoader(torch.load("train.pt"), batch_size=1, shuffle=True)
for images, masks in loader:
    loss = nn.functional.binary_cross_entropy_with_logits(model(images), masks)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
            "GroupNorm does not look at the batch",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader

model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True, drop_last=True)
test_loader = DataLoader(torch.load("test.pt"), batch_size=1)
for x, y in loader:
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    right = sum((model(x).argmax(dim=1) == y).item() for x, y in test_loader)
print(right)
""",
            "Nearly wrong: one sample at a time, but for the test, in evaluation mode",
        ),
    ),
    check=check,
    options=(SMALL_BATCH,),
    live=True,
    needs_data=True,
)
