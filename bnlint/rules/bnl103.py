"""BNL103: evaluation mode leaks into training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bnlint.finding import Evidence, Finding, Fix, InsertBefore, Role, Severity
from bnlint.graph import Kind
from bnlint.records import Struct
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.left_behind import (
    event_of,
    is_left_behind,
    is_left_by_calls,
    uses_for_inference,
)
from bnlint.rules.mode_fixes import loops_around
from bnlint.rules.predicates import (
    acts_itself,
    evidence_at,
    grouped,
    model_title,
    sensitive_layers,
    sensitive_name,
    sensitive_names,
    wherever,
)
from bnlint.solver import ModeFact, Observation
from bnlint.trace import (
    Backward,
    Forward,
    Freeze,
    Loop,
    Mode,
    ModeTrace,
    Purpose,
    SensitiveLayer,
    SetMode,
    Step,
)


class _Leak(Struct, frozen=True):
    """A training forward some of whose rounds run in the mode that a validation has left behind.

    layers: ids of the layers that it reaches; fact: the evaluation mode, and who set it.
    """

    trace: ModeTrace
    seen: Observation
    forward: Forward
    layers: tuple[int, ...]
    fact: ModeFact


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each event that sets evaluation mode and is not undone."""
    found = [leak for trace in pictures.traces for leak in _leaks(trace, pictures)]
    for same_event in grouped(found, lambda leak: leak.fact.place or leak.trace.entry).values():
        yield _finding(same_event, is_live=pictures.measured.is_live)


def _leaks(trace: ModeTrace, pictures: Pictures) -> Iterator[_Leak]:
    if trace.is_test or not trace.has_step:
        return
    observed = pictures.observed(trace)
    flowed = frozenset().union(*(back.outputs - back.detached for back in trace.of(Backward)))
    uses = uses_for_inference(trace, observed)
    for seen in observed:
        forward = seen.event
        if isinstance(forward, Forward) and _is_step(trace, forward, flowed):
            leak = _leak(trace, seen, forward, uses)
            if leak is not None:
                yield leak


def _is_step(trace: ModeTrace, forward: Forward, flowed: frozenset[int]) -> bool:
    """Whether a forward is a training step: gradients surely flow into it.

    flowed: the outputs into which gradients flow from some backward.
    """
    is_reached = forward.output in flowed and forward.grad is not False
    return is_reached and trace.purpose(forward) is Purpose.TRAINING


def _leak(
    trace: ModeTrace,
    seen: Observation,
    forward: Forward,
    uses: Mapping[int, frozenset[ModeFact]],
) -> _Leak | None:
    """The evaluation mode that comes round a loop to a step that was in training mode before, or to
    which another function has set the model for something else before the first step."""
    found: dict[ModeFact, list[int]] = {}
    for layer in sensitive_layers(seen, trace, Kind.BATCHNORM, Kind.DROPOUT):
        modes = seen.modes(layer)
        if Mode.EVAL not in modes or Mode.UNKNOWN in modes or not _learns(trace, forward, layer):
            continue
        if layer in forward.frozen:
            continue  # it learns nothing, in whatever mode
        if forward.flag is not None and seen.must(forward.flag, Mode.TRAIN):
            continue  # the model itself is in training mode: somebody froze just this layer
        evaluating = [fact for fact in seen.state[layer] if fact.mode is Mode.EVAL]
        used = uses.get(layer, frozenset())
        if not all(is_left_behind(trace, forward, fact, used) for fact in evaluating):
            continue  # somebody sets evaluation mode for training: the statistics are frozen
        if Mode.TRAIN not in modes and not is_left_by_calls(trace, forward, layer):
            continue  # somebody set evaluation mode before the training, perhaps for it
        for fact in evaluating:
            if fact.carried:
                found.setdefault(event_of(fact), []).append(layer)
    if not found:
        return None
    fact = min(found, key=_order)
    return _Leak(trace, seen, forward, tuple(found[fact]), fact)


def _order(fact: ModeFact) -> tuple[str, int]:
    return (fact.place.path, fact.place.line) if fact.place is not None else ("", 0)


def _learns(trace: ModeTrace, forward: Forward, layer: int) -> bool:
    """Whether an optimizer steps a model that the layer is a part of; an optimizer that cannot be
    seen may step any. A layer that somebody has frozen for good is a part of what does not learn:
    of an average of what does."""
    flags = {event.frozen for event in trace.of(Freeze) if layer in event.layers}
    if flags == {True}:
        return False
    stepped = [event.models for event in trace.of(Step)]
    if any(not models or forward.model in models for models in stepped):
        return True
    known = [trace.models[m] for models in stepped for m in models if m in trace.models]
    return any(layer in model.layers for model in known)


def _finding(leaks: list[_Leak], *, is_live: bool) -> Finding:
    first = leaks[0]
    trace, forward = first.trace, first.forward
    layers = [trace.layers[each] for each in first.layers]
    layer = layers[0]
    title = model_title(trace, forward.model)
    setter = _live_setter(trace) if is_live else first.fact.how
    where = f" (called through {' > '.join(c.function for c in first.seen.chain)})"
    return RULE.finding(
        f"{title} is trained here{where if first.seen.chain else ''}, {_rounds(first)}in the "
        f"evaluation mode that {setter} has left behind: "
        f"{_consequence(layers)}; call "
        f"{_receiver(forward, title)}.train() before each epoch",
        forward.place,
        _evidence(leaks),
        severity=Severity.WARNING if wherever(layers) else None,
        fix=None if is_live else _fix(first),
        module=(layer.path or title) if is_live else None,
    )


def _rounds(leak: _Leak) -> str:
    is_later = any(leak.seen.modes(layer) != {Mode.EVAL} for layer in leak.layers)
    return "in the first round in training mode and later " if is_later else ""


def _live_setter(trace: ModeTrace) -> str:
    """What a run knows of the evaluation mode: whether something was evaluated in it."""
    forwards = trace.of(Forward)
    evaluates = any(trace.purpose(forward) is not Purpose.TRAINING for forward in forwards)
    return "a validation" if evaluates else "an earlier eval()"


def _receiver(forward: Forward, title: str) -> str:
    if forward.receiver:
        return forward.receiver
    return title if title.isidentifier() and title[0].islower() else "model"


def _consequence(layers: Sequence[SensitiveLayer]) -> str:
    names = sensitive_names(layers)
    if layers[0].kind is Kind.DROPOUT:
        does = "is switched off" if acts_itself(layers[0]) else "drops nothing any more"
        return f"{names} {does}{wherever(layers)}"
    return f"{names} learns with statistics that are frozen from then on"


def _evidence(leaks: list[_Leak]) -> list[Evidence]:
    first = leaks[0]
    trace, layer = first.trace, first.trace.layers[first.layers[0]]
    model = trace.models.get(first.forward.model)
    steps = [*evidence_at(layer.place, f"{sensitive_name(layer)} is set by it", Role.CAUSE)]
    if model is not None:
        steps += evidence_at(model.built, f"{model.title} is built here", Role.CAUSE)
    for fact in sorted(first.seen.state[layer.id], key=_order):
        if fact.mode is Mode.TRAIN and fact.how != "built":
            message = "training mode is set here, and not again in each round"
            steps += evidence_at(fact.place, message, Role.CAUSE)
    stays = "the next round" if _rounds(first) else "the training"
    message = f"evaluation mode is set here, and stays for {stays}"
    steps += evidence_at(first.fact.place, message, Role.CAUSE)
    for call in first.seen.chain:
        steps += evidence_at(call.place, f"{call.function}() is called here")
    for leak in leaks[1:]:
        if leak.forward.place != first.forward.place:
            message = f"{model_title(leak.trace, leak.forward.model)} is trained here, too"
            steps += evidence_at(leak.forward.place, message, Role.INSTANCE)
    return list(dict.fromkeys(steps))


def _fix(leak: _Leak) -> Fix | None:
    """Set training mode before the innermost loop that does not set evaluation mode itself, in the
    file of the forward."""
    forward = leak.forward
    if not forward.receiver or forward.place is None:
        return None
    place = forward.place
    for loop in reversed(loops_around(leak.trace.body, leak.seen)):
        if loop.place is None or loop.place.path != place.path or _sets_evaluation(loop, leak):
            break
        place = loop.place
    text = f"{forward.receiver}.train()"
    insertion = InsertBefore(place, text, forward.receiver)
    return Fix(f"Set training mode again: {text}", (insertion,))


def _sets_evaluation(loop: Loop, leak: _Leak) -> bool:
    events = ModeTrace("", (loop,), {}, {}).events()
    return any(isinstance(e, SetMode) and e.place == leak.fact.place for e in events)


RULE = Rule(
    code="BNL103",
    name="train-not-restored",
    severity=Severity.ERROR,
    summary="Evaluation mode, set for a validation, leaks into the training that follows.",
    what="""\
A training step - a forward whose loss goes backward and into an optimizer step - runs in the first
round of a loop in training mode, and in later rounds in the evaluation mode that an `eval()` has
left behind: over the back edge of the loop, with no `train()` between. The `eval()` was for
inference: the model runs in that mode without being trained. The model holds BatchNorm or Dropout.
The first round may be in evaluation mode, too, when a function that ran the model for something
else, a summary or a first validation, has left it so.

The usual form is `model.train()` once before the loop over epochs, and `model.eval()` in the
validation of each epoch; the functions and files in which the two stand do not matter, the chain of
calls is followed and named. Nothing is said when some path is unknown: a mode that depends on a
flag, a call that cannot be seen. `bnlint.watch(model)` sees the same happen in a run.""",
    why="""\
In evaluation mode BatchNorm normalises with its running statistics and no longer updates them.
After the first validation the statistics stand still, while the weights go on learning: gradients
are those of another function, as the normalisation is taken for a constant, and training with
frozen, early statistics often diverges or stalls. Dropout is off, so a model that relied on it
overfits. Nothing fails, the loss even looks better.

The mistake was fixed, among others, in Pytorch-UNet's train.py (twice), in pytorch-fcn's trainer
and in Optuna's PyTorch example.""",
    fine_when="""\
- BatchNorm is frozen for fine-tuning from some point on: then set `eval()` on the layers that are
  meant, at the top of each epoch; bnlint is silent when no validation stands between.
- The model has no BatchNorm and no Dropout: then it is not reported.""",
    fix_safety="Unsafe: training changes, as it should.",
    references=(
        "PyTorch documentation, torch.nn.Module.train "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train>",
        "Pytorch-UNet, the fix of train.py <https://github.com/milesial/Pytorch-UNet/commit/"
        "773ef215d41c1f36dc0ed4159c12df89d792fbc3>",
        "pytorch-fcn, the fix of trainer.py <https://github.com/wkentaro/pytorch-fcn/commit/"
        "d10dd3062824195fe5cc9d196b4af4081247bb3f>",
        "small-text, issue 40: the model stays in evaluation mode after a validation "
        "<https://github.com/webis-de/small-text/issues/40>",
    ),
    wrong=(
        Example(
            """\
import torch
import torch.nn.functional as F
from torch import nn

model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
training, validation = torch.load("train.pt"), torch.load("valid.pt")
model.train()
for epoch in range(10):
    for x, y in training:
        loss = F.cross_entropy(model(x), y)  # expect: BNL103
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(sum((model(x).argmax(1) == y).sum() for x, y in validation))
""",
            "Training mode is set once, evaluation mode in each epoch",
        ),
        Example(
            """\
import torch
import torch.nn.functional as F
from torch import nn


def validate(net, loader):
    net.eval()
    with torch.no_grad():
        return sum(F.mse_loss(net(x), y).item() for x, y in loader)


def train(net, training, validation, every=100):
    optimizer = torch.optim.Adam(net.parameters())
    for epoch in range(10):
        net.train()
        for step, (x, y) in enumerate(training):
            loss = F.mse_loss(net(x), y)  # expect: BNL103
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % every == 0:
                print(validate(net, validation))


train(
    nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)),
    torch.load("train.pt"),
    torch.load("valid.pt"),
)
""",
            "Validation in the middle of an epoch",
        ),
    ),
    right=(
        Example(
            """\
import torch
import torch.nn.functional as F
from torch import nn

model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
training, validation = torch.load("train.pt"), torch.load("valid.pt")
for epoch in range(10):
    model.train()
    for x, y in training:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(sum((model(x).argmax(1) == y).sum() for x, y in validation))
""",
            "Each epoch begins with train()",
        ),
        Example(
            """\
import torch
import torch.nn.functional as F
from torch import nn

model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model.train()
for epoch in range(10):
    for x, y in torch.load("train.pt"):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    print(model(torch.load("test.pt")).argmax(1))
""",
            "Nearly wrong: train() once, but eval() comes after the last epoch",
        ),
        Example(
            """\
import torch
import torch.nn.functional as F
from torch import nn

backbone = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
head = nn.Linear(800, 10)
backbone.load_state_dict(torch.load("backbone.pt"))
optimizer = torch.optim.SGD([*backbone.parameters(), *head.parameters()], lr=0.1)
for epoch in range(10):
    if epoch == 3:
        backbone.eval()
    for x, y in torch.load("train.pt"):
        loss = F.cross_entropy(head(backbone(x)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
            "Nearly wrong: the statistics are frozen from the third epoch on, for training",
        ),
    ),
    check=check,
    live=True,
)
