"""BNL303: one value per channel in training mode, where PyTorch raises."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Evidence, Finding, Place, Role, Severity
from bnlint.graph import Kind
from bnlint.records import Struct
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import evidence_at, grouped, sensitive_layers
from bnlint.solver import Observation
from bnlint.trace import Forward, Mode, ModeTrace, Purpose


class _Single(Struct, frozen=True):
    """A training forward that gives a BatchNorm layer one value per channel."""

    trace: ModeTrace
    forward: Forward
    layer: int

    @property
    def place(self) -> Place | None:
        """What decides the batch size."""
        return self.forward.loader or self.forward.place


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each loader; of a live model, one for the forward."""
    found = [single for trace, seen in pictures.observations if (single := _single(trace, seen))]
    for same_loader in grouped(found, lambda s: s.place or s.trace.entry).values():
        yield _finding(same_loader[0], is_live=pictures.measured.is_live)


def _single(trace: ModeTrace, seen: Observation) -> _Single | None:
    """The first layer that raises: training, in training mode, batch times positions is one."""
    forward = seen.event
    if not isinstance(forward, Forward) or trace.is_test or forward.batch != 1:
        return None
    if trace.purpose(forward) is not Purpose.TRAINING:
        return None
    for layer in sensitive_layers(seen, trace, Kind.BATCHNORM):
        if trace.layers[layer].positions == 1 and seen.must(layer, Mode.TRAIN):
            return _Single(trace, forward, layer)
    return None


def _finding(single: _Single, *, is_live: bool) -> Finding:
    layer = single.trace.layers[single.layer]
    model = single.trace.models.get(single.forward.model)
    kind = layer.name.rpartition(".")[2]
    name = f"{kind} '{layer.path}'" if layer.path else kind
    return RULE.finding(
        f"{name} is trained on a batch of one with one value per channel: PyTorch raises "
        '"Expected more than 1 value per channel when training"; use a larger batch, or '
        "LayerNorm",
        single.place,
        _evidence(single),
        module=(layer.path or (model.title if model is not None else None)) if is_live else None,
        measurement={"values_per_channel": 1, "batch": 1} if is_live else None,
    )


def _evidence(single: _Single) -> list[Evidence]:
    layer = single.trace.layers[single.layer]
    model = single.trace.models.get(single.forward.model)
    steps = [*evidence_at(layer.place, "this layer has one value per channel", Role.CAUSE)]
    if model is not None:
        steps += evidence_at(model.built, f"{model.title} is built here", Role.CAUSE)
    if single.forward.loader is not None:
        steps += evidence_at(single.forward.place, "a training step runs it here", Role.CAUSE)
    return steps


RULE = Rule(
    code="BNL303",
    name="train-on-one-sample",
    severity=Severity.ERROR,
    summary="BatchNorm is trained on one value per channel, where PyTorch raises.",
    what="""\
A training step runs with a batch size of 1, and a BatchNorm layer in training mode gets one
value per channel: BatchNorm1d on (N, C) input, or any BatchNorm on a 1x1 map, as after global
pooling. A batch of one on larger maps does not raise and is reported by BNL301. The live check
sees the exact shapes.""",
    why="""\
The variance of one value is zero, so the layer's output would be its bias for every input.
PyTorch refuses: "ValueError: Expected more than 1 value per channel when training" (since 0.3,
issue 4534). The usual places are a classifier head with BatchNorm1d and the image-pooling branch
of DeepLab and PSPNet; it also strikes at the end of an epoch, when the last batch holds a single
sample.""",
    fine_when="""\
- No gradient comes back from the forward: then evaluation mode is missing, and BNL101 says so.
- The layer is frozen: in evaluation mode a batch of one is fine, and bnlint is silent then.
- One item of the loader holds many rows (graphs, point clouds): then the batch is not one.""",
    references=(
        "PyTorch, issue 4534: BatchNorm1d fails with batch size 1 "
        "<https://github.com/pytorch/pytorch/issues/4534>",
        "pytorch-semseg, issue 214: the same in PSPNet "
        "<https://github.com/meetps/pytorch-semseg/issues/214>",
        "PyTorch documentation, torch.nn.BatchNorm1d "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html>",
    ),
    wrong=(
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader

model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(torch.load("train.pt"), batch_size=1, shuffle=True)  # expect: BNL303
for x, y in loader:
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
            "BatchNorm1d on one row",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv2d(3, 16, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.bn(self.conv(self.pool(x))).relu()
        return self.fc(x.flatten(1))


model = Pooled()
optimizer = torch.optim.Adam(model.parameters())
loader = DataLoader(torch.load("train.pt"), batch_size=1, shuffle=True)  # expect: BNL303
for x, y in loader:
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
            "A 1x1 map after global pooling",
        ),
    ),
    right=(
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader

model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(torch.load("train.pt"), batch_size=32, shuffle=True, drop_last=True)
for x, y in loader:
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
            "A batch, and no last batch of one",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader

model = nn.Sequential(nn.Linear(64, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(torch.load("train.pt"), batch_size=1, shuffle=True)
for x, y in loader:
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
            "Nearly wrong: LayerNorm needs one sample only",
        ),
    ),
    check=check,
    live=True,
)
