"""BNL106: frozen layers whose running statistics go on moving."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from bnlint.finding import Evidence, Finding, Place, Role, Severity
from bnlint.graph import Kind
from bnlint.records import Struct
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    evidence_at,
    grouped,
    listed,
    model_title,
    sensitive_layers,
    sensitive_name,
    sensitive_names,
)
from bnlint.solver import Observation
from bnlint.trace import (
    Block,
    Call,
    Forward,
    Freeze,
    Item,
    Loop,
    Mode,
    ModeTrace,
    Purpose,
    SensitiveLayer,
    SetMode,
    blocks_of,
)


class _Moving(Struct, frozen=True):
    """A training forward that moves the running statistics of layers that somebody has frozen.

    frozen: layers that do not learn. undone: layers that had been set to evaluation mode, with the
    place; a layer may be both.
    """

    trace: ModeTrace
    forward: Forward
    calls: tuple[Call, ...]
    frozen: tuple[SensitiveLayer, ...]
    undone: tuple[tuple[SensitiveLayer, Place], ...]

    @property
    def layers(self) -> list[SensitiveLayer]:
        """All of them, those that were in evaluation mode first."""
        return list(dict.fromkeys([*(layer for layer, _ in self.undone), *self.frozen]))

    @property
    def place(self) -> Place | None:
        """The forward; where it has no place, the first of the layers."""
        return self.forward.place or self.layers[0].place


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each place of a training forward."""
    found = [moving for trace in pictures.traces for moving in _movings(trace, pictures)]
    for same_place in grouped(found, lambda moving: moving.place or moving.trace.entry).values():
        yield _finding(same_place, is_live=pictures.measured.is_live)


def _movings(trace: ModeTrace, pictures: Pictures) -> Iterator[_Moving]:
    if trace.is_test:
        return
    observed = pictures.observed(trace)
    momentary = _learn_in_turns(trace.body)
    used = _used_for_inference(trace, observed)
    for seen in observed:
        forward = seen.event
        if isinstance(forward, Forward) and trace.purpose(forward) is Purpose.TRAINING:
            moving = _moving(trace, seen, forward, momentary, used)
            if moving.layers:
                yield moving


def _moving(
    trace: ModeTrace,
    seen: Observation,
    forward: Forward,
    momentary: frozenset[int],
    used: frozenset[tuple[int, Place]],
) -> _Moving:
    training = [
        layer
        for layer in sensitive_layers(seen, trace, Kind.BATCHNORM)
        if seen.must(layer, Mode.TRAIN)
    ]
    # Where the flag of the model itself was set back by the same, no part was meant but the whole.
    flags = seen.state.get(forward.flag, ()) if forward.flag is not None else ()
    whole = {fact.undone for fact in flags}
    undone = [
        (trace.layers[layer], fact.undone)
        for layer in training
        for fact in sorted(seen.state[layer], key=lambda fact: str(fact.place))
        if fact.undone is not None and fact.undone not in whole
        if (layer, fact.undone) not in used
    ]
    frozen = [trace.layers[layer] for layer in training if layer in forward.frozen - momentary]
    return _Moving(trace, forward, seen.chain, tuple(frozen), tuple(undone))


def _used_for_inference(
    trace: ModeTrace, observed: list[Observation]
) -> frozenset[tuple[int, Place]]:
    """The layers that run for anything but training in an evaluation mode, and who set it: that
    mode is a validation's, and setting it back is right."""
    return frozenset(
        (layer, fact.place)
        for seen in observed
        if isinstance(seen.event, Forward) and trace.purpose(seen.event) is not Purpose.TRAINING
        for layer in seen.event.layers
        for fact in seen.state.get(layer, ())
        if fact.mode is Mode.EVAL and fact.place is not None
    )


def _learn_in_turns(body: Block) -> frozenset[int]:
    """The layers that one round of a loop both freezes and frees, as a GAN does with its critic."""
    found: set[int] = set()
    pending: list[Item] = list(body)
    while pending:
        item = pending.pop()
        pending += chain(*blocks_of(item))
        if isinstance(item, Loop) and item.repeat:
            freezes = list(ModeTrace("", (item,), {}, {}).of(Freeze))
            frozen = frozenset[int]().union(*(f.layers for f in freezes if f.frozen))
            freed = frozenset[int]().union(*(f.layers for f in freezes if not f.frozen))
            found |= frozen & freed
    return frozenset(found)


def _finding(same_place: list[_Moving], *, is_live: bool) -> Finding:
    moving = next((each for each in same_place if each.undone), same_place[0])
    first = moving.layers[0]
    title, name = model_title(moving.trace, moving.forward.model), sensitive_names(moving.layers)
    is_frozen = first in moving.frozen
    if moving.undone:
        state = ", which does not learn and" if is_frozen else ", which"
        said = f"{name}{state} had been set to evaluation mode, but is in training mode again"
    else:
        said = f"{name} frozen by requires_grad, but in training mode"
    return RULE.finding(
        f"{title} is trained with {said}: the layer normalises with each batch and its running "
        "statistics go on moving; call .eval() on the frozen layers after every .train()",
        moving.place,
        _evidence(same_place, moving),
        severity=Severity.WARNING if moving.undone else None,
        module=(first.path or None) if is_live else None,
        measurement={"layers": listed([layer.path for layer in moving.layers])},
    )


def _evidence(same_place: list[_Moving], moving: _Moving) -> list[Evidence]:
    steps: list[Evidence] = []
    for part, where in moving.undone[:1]:
        steps += evidence_at(where, "evaluation mode of the frozen part is set here", Role.CAUSE)
        facts = {f.place for f in _setters(moving, part.id)}
        for setter in sorted(place for place in facts if place is not None):
            steps += evidence_at(setter, "training mode is set again here", Role.CAUSE)
    for each in same_place:
        for place in _freezing(each):
            steps += evidence_at(place, "the layer's parameters are frozen here", Role.CAUSE)
    for call in moving.calls:
        steps += evidence_at(call.place, f"{call.function}() is called here")
    constructors = grouped(moving.layers, lambda layer: layer.place)
    for constructor, (layer, *_) in constructors.items():
        steps += evidence_at(constructor, f"{sensitive_name(layer)} is built here", Role.CAUSE)
    return [step for step in dict.fromkeys(steps) if step.place != moving.place]


def _freezing(moving: _Moving) -> list[Place]:
    """Where the frozen layers of a forward are frozen."""
    layers = {layer.id for layer in moving.frozen}
    events = moving.trace.of(Freeze)
    places = [e.place for e in events if e.frozen and e.place is not None and e.layers & layers]
    return list(dict.fromkeys(places))


def _setters(moving: _Moving, layer: int) -> list[SetMode]:
    """The events that set training mode for a layer and more."""
    events = moving.trace.of(SetMode)
    return [e for e in events if e.mode is Mode.TRAIN and layer in e.layers and not e.direct]


RULE = Rule(
    code="BNL106",
    name="frozen-but-updating",
    severity=Severity.NOTE,
    summary="Frozen BatchNorm layers stay in training mode, so their running statistics move.",
    what="""\
In a training step a BatchNorm layer is in training mode - it normalises with the statistics of each
batch, and its running statistics follow the new data - although somebody has frozen it:

- as a note: neither its scale nor its shift learns (`requires_grad = False`), while other layers of
  the model do. `requires_grad` and the mode are independent: freezing parameters freezes neither.
  Loops over `parameters()`, over `named_parameters()` with a test of the name, over submodules,
  and `requires_grad_()` are followed; Lightning's `trainer.fit(model)` is a training step;
- as a warning: it, or a part of the model that holds it, had been set to evaluation mode (by
  `bn.eval()`, by a `freeze()`), and a later `train()` of more than that part has undone it.

Nothing is said where the whole model is frozen (a teacher, or a critic while its generator learns),
where a frozen part is the double of one that learns (a target network), where layers are frozen and
freed in each round of a loop, or where the evaluation mode of the part was for an inference.
`bnlint.watch` sees the first form in your own loop, at the second optimizer step;
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
- The layers are frozen for a moment only, within one training step.
- `train()` is overridden so that it puts the frozen layers back in evaluation mode: then nothing is
  reported.""",
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
import torch
from torch import nn
from torchvision import models

model = models.resnet18(weights="DEFAULT")
for parameter in model.parameters():
    parameter.requires_grad = False
model.fc = nn.Linear(512, 2)
optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.1)
for epoch in range(10):
    model.train()
    for x, y in torch.load("train.pt"):
        loss = nn.functional.cross_entropy(model(x), y)  # expect: BNL106
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
            "A frozen backbone in training mode",
        ),
        Example(
            """\
import torch
from torch import nn

backbone = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
model = nn.Sequential(backbone, nn.Conv2d(16, 2, 1))
optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
backbone.eval()
for epoch in range(10):
    model.train()
    for x, y in torch.load("batches.pt"):
        loss = nn.functional.cross_entropy(model(x), y)  # expect: BNL106
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
            "Evaluation mode that the train() of each epoch undoes",
        ),
    ),
    right=(
        Example(
            """\
import torch
from torch import nn

backbone = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
backbone.requires_grad_(False)
model = nn.Sequential(backbone, nn.Conv2d(16, 2, 1))
optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
for epoch in range(10):
    model.train()
    backbone.eval()
    for x, y in torch.load("batches.pt"):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
            "Frozen in both ways, in each epoch",
        ),
        Example(
            """\
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 2, 1))
model[0].requires_grad_(False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in torch.load("batches.pt"):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
            "Nearly wrong: the convolution alone is frozen",
        ),
    ),
    check=check,
    live=True,
)
