"""BNL304: gradients are accumulated, but BatchNorm still sees small batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bnlint.finding import Evidence, Finding, Place, Role, Severity
from bnlint.graph import Kind
from bnlint.records import Struct
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    evidence_at,
    grouped,
    model_title,
    sensitive_layers,
    sensitive_name,
)
from bnlint.solver import Observation
from bnlint.trace import (
    Backward,
    Block,
    Event,
    Forward,
    Item,
    Loop,
    Mode,
    ModeTrace,
    Purpose,
    Step,
    blocks_of,
)

LARGEST = 8
"""The largest micro-batch that is worth a note. Wu and He 2018 (table 2, ResNet-50 on ImageNet):
BatchNorm's error is 23.6 % at 32 and 23.7 % at 16 images per device, 24.8 % at 8, 27.3 % at 4."""


class _Accumulation(Struct, frozen=True):
    """A small training forward whose gradients are added up before `step`."""

    trace: ModeTrace
    forward: Forward
    batch: int
    layer: int
    step: Step

    @property
    def place(self) -> Place | None:
        """What decides the size of the micro-batch."""
        return self.forward.loader or self.forward.place


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each loader."""
    found = [one for trace, seen in pictures.observations if (one := _accumulation(trace, seen))]
    for same_loader in grouped(found, lambda one: one.place or one.trace.entry).values():
        yield _finding(same_loader[0])


def _accumulation(trace: ModeTrace, seen: Observation) -> _Accumulation | None:
    forward = seen.event
    if not isinstance(forward, Forward) or trace.is_test or forward.batch is None:
        return None
    if not 1 <= forward.batch <= LARGEST or trace.purpose(forward) is not Purpose.TRAINING:
        return None
    norms = sensitive_layers(seen, trace, Kind.BATCHNORM)
    training = next((layer for layer in norms if seen.must(layer, Mode.TRAIN)), None)
    if training is None:
        return None
    step = _seldom_step(trace, forward) or _step_after_loop(trace.body, forward)
    if step is None:
        return None
    return _Accumulation(trace, forward, forward.batch, training, step)


def _steps_of(trace: ModeTrace, model: int) -> list[Step]:
    """The optimizer steps of a model; of an optimizer that cannot be seen, all."""
    steps = trace.of(Step)
    return [step for step in steps if model in step.models] or [s for s in steps if not s.models]


def _seldom_step(trace: ModeTrace, forward: Forward) -> Step | None:
    """The step that is taken in every k-th round, while the backward pass runs in each of them."""
    steps = _steps_of(trace, forward.model)
    backward = [event for event in trace.of(Backward) if event.reaches(forward)]
    if not steps or any(step.every == 1 for step in steps):
        return None
    if not backward or any(b.every > 1 for b in backward):
        return None
    return steps[0]


def _step_after_loop(body: Block, forward: Forward) -> Step | None:
    """The step that follows a loop of forward and backward passes without a step of their own."""
    waiting = False
    for item in body:
        if waiting and (step := _first_step(item)) is not None:
            return step if _may_step(step, forward) else None
        if isinstance(item, Loop) and _accumulates(item, forward):
            waiting = True
        elif (step := _step_inside(item, forward)) is not None:
            return step
    return None


def _step_inside(item: Item, forward: Forward) -> Step | None:
    blocks = blocks_of(item)
    return next((s for block in blocks if (s := _step_after_loop(block, forward))), None)


def _accumulates(loop: Loop, forward: Forward) -> bool:
    if not loop.repeat and len(loop.bodies) < 2:
        return False
    events = list(_events(loop))
    return (
        forward in events
        and any(isinstance(e, Backward) and e.reaches(forward) for e in events)
        and not any(isinstance(e, Step) for e in events)
    )


def _first_step(item: Item) -> Step | None:
    return next((event for event in _events(item) if isinstance(event, Step)), None)


def _may_step(step: Step, forward: Forward) -> bool:
    return not step.models or forward.model in step.models


def _events(item: Item) -> Iterable[Event]:
    return ModeTrace("", (item,), {}, {}).events()


def _finding(one: _Accumulation) -> Finding:
    layer = one.trace.layers[one.layer]
    rounds = f"of {one.step.every} batches" if one.step.every > 1 else "of several batches"
    samples = "one sample" if one.batch == 1 else f"{one.batch} samples"
    return RULE.finding(
        f"the gradients {rounds} are added up before a step, but {sensitive_name(layer)} of "
        f"{model_title(one.trace, one.forward.model)} normalises each batch of {samples} by "
        "itself: accumulation does not enlarge the batch of BatchNorm; use GroupNorm, frozen "
        "statistics, or SyncBatchNorm over several devices",
        one.place,
        _evidence(one),
    )


def _evidence(one: _Accumulation) -> list[Evidence]:
    layer = one.trace.layers[one.layer]
    model = one.trace.models.get(one.forward.model)
    steps = [*evidence_at(layer.place, "this layer normalises over the batch", Role.CAUSE)]
    if model is not None:
        steps += evidence_at(model.built, f"{model.title} is built here", Role.CAUSE)
    steps += evidence_at(one.forward.batch_place, "the batch size is decided here", Role.CAUSE)
    if one.forward.loader is not None:
        steps += evidence_at(one.forward.place, "it runs on one micro-batch here", Role.CAUSE)
    steps += evidence_at(one.step.every_place, "the number of rounds is decided here")
    steps += evidence_at(one.step.place, "the step for all of them is taken here", Role.CAUSE)
    return list(dict.fromkeys(steps))


RULE = Rule(
    code="BNL304",
    name="accumulation-does-not-help",
    severity=Severity.NOTE,
    summary="Gradient accumulation over small batches does not give BatchNorm a larger batch.",
    what="""\
A training loop runs the backward pass in each round and the optimizer step in every k-th one
(`if (i + 1) % 4 == 0`), or after a loop of its own; the batch size is known and at most 8; and the
model has BatchNorm layers in training mode. The rule is off unless it is selected.""",
    why="""\
Gradient accumulation adds up the gradients of k micro-batches, so that for a network whose samples
do not see each other the step is that of a batch k times as large. BatchNorm is the exception: it
takes mean and variance from each micro-batch, and moves its running statistics k times a step. Who
trains with 4 samples and accumulates to 64 gets BatchNorm at 4. In Wu and He the ImageNet error of
ResNet-50 with BatchNorm is 23.6 % at 32 images per device, 24.8 % at 8, 27.3 % at 4 and 34.7 % at
2; that of GroupNorm stays at 24.1 %.""",
    fine_when="""\
- The small batch is meant and works well enough: the step is still less noisy.
- BatchNorm is frozen in evaluation mode: bnlint is silent when it can see that.
- One item of the loader holds many rows: all crops of an image, all points of a cloud.""",
    references=(
        "Wu and He 2018, Group Normalization, table 2 <https://arxiv.org/abs/1803.08494>",
        "PyTorch, issue 46516: BatchNorm and gradient accumulation "
        "<https://github.com/pytorch/pytorch/issues/46516>",
        "giotto-deep, issue 75: accumulated gradients are not compatible with BatchNorm "
        "<https://github.com/giotto-ai/giotto-deep/issues/75>",
        "YOLOv5, issue 1630: accumulation is not identical, for BatchNorm "
        "<https://github.com/ultralytics/yolov5/issues/1630>",
    ),
    wrong=(
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader

ACCUMULATE = 16

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 1, 1))
optimizer = torch.optim.Adam(model.parameters())
loader = DataLoader(torch.load("train.pt"), batch_size=4, shuffle=True)  # expect: BNL304, BNL301
for i, (images, masks) in enumerate(loader):
    loss = nn.functional.binary_cross_entropy_with_logits(model(images), masks)
    (loss / ACCUMULATE).backward()
    if (i + 1) % ACCUMULATE == 0:
        optimizer.step()
        optimizer.zero_grad()
""",
            "Sixteen batches of four are not a batch of sixty-four",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader


def train(model, data, epochs=10):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = iter(DataLoader(data, batch_size=8, shuffle=True))  # expect: BNL304
    for _ in range(epochs):
        optimizer.zero_grad()
        for _ in range(4):
            x, y = next(batches)
            loss = nn.functional.cross_entropy(model(x), y) / 4
            loss.backward()
        optimizer.step()


train(
    nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten()),
    torch.load("train.pt"),
)
""",
            "A loop of micro-batches before each step",
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
loader = DataLoader(torch.load("train.pt"), batch_size=4, shuffle=True)
for i, (images, masks) in enumerate(loader):
    loss = nn.functional.binary_cross_entropy_with_logits(model(images), masks)
    (loss / 16).backward()
    if (i + 1) % 16 == 0:
        optimizer.step()
        optimizer.zero_grad()
""",
            "GroupNorm does not look at the batch",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 1, 1))
optimizer = torch.optim.Adam(model.parameters())
loader = DataLoader(torch.load("train.pt"), batch_size=64, shuffle=True)
for i, (images, masks) in enumerate(loader):
    loss = nn.functional.binary_cross_entropy_with_logits(model(images), masks)
    (loss / 4).backward()
    if (i + 1) % 4 == 0:
        optimizer.step()
        optimizer.zero_grad()
""",
            "Large batches, accumulated to still larger ones",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.utils.data import DataLoader

generator = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 64))
critic = nn.Sequential(nn.Linear(64, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
first = torch.optim.RMSprop(generator.parameters())
second = torch.optim.RMSprop(critic.parameters())
for i, real in enumerate(DataLoader(torch.load("train.pt"), batch_size=64)):
    noise = torch.randn(8, 8)
    second.zero_grad()
    (critic(generator(noise).detach()).mean() - critic(real).mean()).backward()
    second.step()
    if (i + 1) % 5 == 0:
        first.zero_grad()
        (-critic(generator(noise)).mean()).backward()
        first.step()
""",
            "Nearly wrong: in every fifth round both passes run, so nothing is accumulated",
        ),
    ),
    check=check,
    default=False,
)
