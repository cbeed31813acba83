"""BNL106: frozen layers whose running statistics go on moving."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bnlint.finding import Evidence, Finding, Place, Role, Severity
from bnlint.graph import Kind
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    evidence_at,
    grouped,
    listed,
    model_title,
    sensitive_layers,
    sensitive_name,
)
from bnlint.solver import Observation
from bnlint.trace import Forward, Mode, ModeTrace, Purpose, SensitiveLayer


@dataclass(frozen=True, slots=True)
class _Moving:
    """A training forward that moves the running statistics of layers that do not learn."""

    trace: ModeTrace
    forward: Forward
    layers: tuple[SensitiveLayer, ...]

    @property
    def place(self) -> Place | None:
        """The forward; where it has no place, the first of the layers."""
        return self.forward.place or self.layers[0].place


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each place of a training forward."""
    found = [moving for trace, seen in pictures.observations if (moving := _moving(trace, seen))]
    for same_place in grouped(found, lambda moving: moving.place or moving.trace.entry).values():
        yield _finding(same_place[0], is_live=pictures.measured.is_live)


def _moving(trace: ModeTrace, seen: Observation) -> _Moving | None:
    forward = seen.event
    if not isinstance(forward, Forward) or trace.is_test:
        return None
    if trace.purpose(forward) is not Purpose.TRAINING:
        return None
    layers = tuple(
        trace.layers[layer]
        for layer in sensitive_layers(seen, trace, Kind.BATCHNORM)
        if layer in forward.frozen and seen.must(layer, Mode.TRAIN)
    )
    return _Moving(trace, forward, layers) if layers else None


def _finding(moving: _Moving, *, is_live: bool) -> Finding:
    first, *others = moving.layers
    more = f" (as {len(others)} more)" if others else ""
    return RULE.finding(
        f"{model_title(moving.trace, moving.forward.model)} is trained with {sensitive_name(first)}"
        f"{more} frozen by requires_grad, but in training mode: the layer normalises with each "
        "batch and its running statistics go on moving; call .eval() on the frozen layers after "
        "every .train()",
        moving.place,
        _evidence(moving),
        module=(first.path or None) if is_live else None,
        measurement={"layers": listed([layer.path for layer in moving.layers])},
    )


def _evidence(moving: _Moving) -> list[Evidence]:
    steps: list[Evidence] = []
    for layer in moving.layers:
        steps += evidence_at(layer.place, f"{sensitive_name(layer)} does not learn", Role.CAUSE)
    return [step for step in dict.fromkeys(steps) if step.place != moving.place]


RULE = Rule(
    code="BNL106",
    name="frozen-but-updating",
    severity=Severity.NOTE,
    summary="Frozen BatchNorm layers stay in training mode, so their running statistics move.",
    what="""\
In a training step a BatchNorm layer has a scale and a shift of which neither learns
(`requires_grad = False`), and is in training mode: it normalises with the statistics of each batch,
and its running statistics follow the new data. `requires_grad` and the mode are independent:
freezing parameters freezes neither.

`bnlint.watch` sees it in your own loop, at the second optimizer step: layers that are frozen for
one step only, as a GAN's critic is while the generator learns, are not reported.
`bnlint.check(model, inputs, phase="training")` reports the state of the model.""",
    why="""\
A backbone is frozen so that it stays what it was when it was trained. With its BatchNorm layers in
training mode it does not: its output depends on the batch, and after some hundred steps the running
statistics are those of the new data, while the weights around them are those of the old. Evaluation
then runs yet another network. With a small data set, or batches of a few images as in detection,
the new statistics are also worse than the old ones. torchvision's detection models use
FrozenBatchNorm2d for that reason, and the guide to transfer learning of Keras warns of it.""",
    fine_when="""\
- The statistics are to be adapted to the new data while the weights stay (adaptive batch
  normalisation, Li et al. 2016).
- The layers are frozen for a moment only, within one training step.""",
    references=(
        "PyTorch documentation, torch.nn.Module.requires_grad_ "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html>",
        "Keras, Transfer learning and fine-tuning: BatchNormalization "
        "<https://keras.io/guides/transfer_learning/>",
        "Li et al. 2016, Revisiting Batch Normalization For Practical Domain Adaptation "
        "<https://arxiv.org/abs/1603.04779>",
    ),
    wrong=(
        Example(
            """\
import bnlint
import torch
from torch import nn

backbone = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
backbone.requires_grad_(False)
head = nn.Conv2d(16, 2, 1)
model = nn.Sequential(backbone, head)
report = bnlint.check(model, torch.load("images.pt"), phase="training")  # expect: BNL106
""",
            "A frozen backbone in training mode",
        ),
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
model[0].requires_grad_(False)
model[1].requires_grad_(False)
optimizer = torch.optim.SGD(model[3].parameters(), lr=0.1)
with bnlint.watch(model):
    for x, y in torch.load("batches.pt"):
        loss = nn.functional.cross_entropy(model(x), y)  # expect: BNL106
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
            "In a loop of one's own",
        ),
    ),
    right=(
        Example(
            """\
import bnlint
import torch
from torch import nn

backbone = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
backbone.requires_grad_(False).eval()
model = nn.Sequential(backbone, nn.Conv2d(16, 2, 1))
report = bnlint.check(model, torch.load("images.pt"), phase="training")
""",
            "Frozen in both ways",
        ),
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
model[0].requires_grad_(False)
report = bnlint.check(model, torch.load("images.pt"), phase="training")
""",
            "Nearly wrong: the convolution alone is frozen",
        ),
    ),
    check=check,
    source=False,
    live=True,
)
