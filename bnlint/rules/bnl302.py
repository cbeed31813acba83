"""BNL302: the last batch of an epoch may hold one sample."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Evidence, Finding, Place, Role, Severity
from bnlint.graph import Kind
from bnlint.records import Struct
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    evidence_at,
    grouped,
    may_train,
    model_title,
    sensitive_layers,
    sensitive_name,
)
from bnlint.solver import Observation
from bnlint.trace import Forward, Mode, ModeTrace


class _Rest(Struct, frozen=True):
    """A training forward whose loader ends with a smaller batch, and a layer that needs two."""

    trace: ModeTrace
    forward: Forward
    layer: int

    @property
    def place(self) -> Place | None:
        """What decides the batches."""
        return self.forward.loader or self.forward.place


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each loader; of a live model, one for the forward."""
    found = [rest for trace, seen in pictures.observations if (rest := _rest(trace, seen))]
    for same_loader in grouped(found, lambda rest: rest.place or rest.trace.entry).values():
        yield _finding(same_loader[0], pictures)


def _rest(trace: ModeTrace, seen: Observation) -> _Rest | None:
    """The first layer in training mode that has one value per channel for each sample."""
    forward = seen.event
    if not isinstance(forward, Forward) or trace.is_test or not may_train(trace, forward):
        return None
    if not _may_end_with_one(forward):
        return None
    for layer in sensitive_layers(seen, trace, Kind.BATCHNORM):
        if trace.layers[layer].positions == 1 and seen.must(layer, Mode.TRAIN):
            return _Rest(trace, forward, layer)
    return None


def _may_end_with_one(forward: Forward) -> bool:
    """Whether the last batch is, or for all that is known may be, a single sample.

    A loader of single samples is another mistake (BNL303).
    """
    if forward.batch == 1:
        return False
    if forward.last_batch is not None:
        return forward.last_batch == 1
    return forward.keeps_rest is True


def _finding(rest: _Rest, pictures: Pictures) -> Finding:
    forward = rest.forward
    layer = rest.trace.layers[rest.layer]
    is_live = pictures.measured.is_live
    certain = forward.last_batch == 1
    says = "holds" if certain else "may hold"
    size = f" of {forward.batch}" if forward.batch is not None else ""
    return RULE.finding(
        f"the last batch of this loader{size} {says} a single sample, for which "
        f"{sensitive_name(layer)} raises in training "
        '("Expected more than 1 value per channel when training"); pass drop_last=True',
        rest.place,
        _evidence(rest),
        severity=Severity.ERROR if certain else None,
        module=(layer.path or model_title(rest.trace, forward.model)) if is_live else None,
        measurement={"last_batch": 1, "values_per_channel": 1} if is_live and certain else None,
    )


def _evidence(rest: _Rest) -> list[Evidence]:
    layer = rest.trace.layers[rest.layer]
    model = rest.trace.models.get(rest.forward.model)
    message = "this layer has one value per channel and sample"
    steps = [*evidence_at(layer.place, message, Role.CAUSE)]
    if model is not None:
        steps += evidence_at(model.built, f"{model.title} is built here", Role.CAUSE)
    if rest.forward.loader is not None:
        steps += evidence_at(rest.forward.place, "a training step runs it here", Role.CAUSE)
    return steps


RULE = Rule(
    code="BNL302",
    name="last-batch-of-one",
    severity=Severity.NOTE,
    live_severity=Severity.ERROR,
    live_default=True,
    summary="The last batch of a training loader may hold one sample, for which BatchNorm raises.",
    what="""\
A `DataLoader` without `drop_last=True` hands out what is left over as a last, smaller batch, and a
training step runs it through a BatchNorm layer that has one value per channel and sample:
BatchNorm1d on (N, C) input, or any BatchNorm on a 1x1 map, as after global pooling. Whenever
`len(dataset) % batch_size` is 1 that layer gets a single value per channel. The text does not
tell how long a dataset is, so the source half only notes that it can happen, and only when it is
asked to. `bnlint.check(model, loader)` counts, and reports an error when the last batch is one
sample.""",
    why="""\
PyTorch refuses a single value per channel in training: "ValueError: Expected more than 1 value per
channel when training". Training dies at the end of its first epoch, and it does so for one length
of the dataset in `batch_size`: after a new split, a filter, another number of processes. fastai and
NNCF drop the last batch of training for this reason.

A last batch of two or three does not raise, but its statistics enter the running statistics with
the same weight as those of a full batch.""",
    fine_when="""\
- The length of the dataset is known and leaves no remainder of one: then nothing is wrong, and the
  live check is silent.
- The loader is for evaluation: `model.eval()` takes batches of one, and bnlint is silent.
- The loop skips short batches.""",
    references=(
        "fastai, issue 1352: the error after one epoch, and drop_last as the answer "
        "<https://github.com/fastai/fastai/issues/1352>",
        "NNCF, pull request 379: the last data point dropped in all loaders "
        "<https://github.com/openvinotoolkit/nncf/pull/379>",
        "PyTorch, issue 4534: BatchNorm1d fails with batch size 1 "
        "<https://github.com/pytorch/pytorch/issues/4534>",
        "PyTorch documentation, torch.utils.data.DataLoader "
        "<https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader>",
    ),
    wrong=(
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader

model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)  # expect: BNL302
for x, y in loader:
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
            "BatchNorm1d on rows",
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


def train(model, data, epochs=10):
    optimizer = torch.optim.Adam(model.parameters())
    loader = DataLoader(data, 32, shuffle=True, drop_last=False)  # expect: BNL302
    for _ in range(epochs):
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


train(Pooled(), torch.load("train.pt"))
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
loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True, drop_last=True)
for x, y in loader:
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
            "The rest is dropped",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 1, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
for x, y in loader:
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
            "Nearly wrong: on a map even one sample has many values per channel",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader

model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
model.load_state_dict(torch.load("model.pt"))
model.eval()
with torch.no_grad():
    for x in DataLoader(torch.load("test.pt"), batch_size=64):
        print(model(x).argmax(dim=1))
""",
            "Nearly wrong: the loader is for the test, in evaluation mode",
        ),
    ),
    check=check,
    default=False,
    live=True,
)
