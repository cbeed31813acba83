"""BNL501: averaged weights are evaluated with statistics that are not theirs."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Evidence, Finding, Role, Severity
from bnlint.graph import Kind
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    evidence_at,
    grouped,
    model_title,
    sensitive_layers,
    sensitive_names,
)
from bnlint.rules.statistics import (
    LEAST_DRIFT,
    averaged_layers,
    names,
    paths,
    settled_layers,
    significant_drift,
    title_of,
)
from bnlint.solver import Observation
from bnlint.trace import (
    Averaged,
    Forward,
    LoadState,
    Mode,
    ModeTrace,
    Recalibrated,
    SetMode,
)


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each place where averaged weights are evaluated; in a live check, one for
    the model."""
    if pictures.measured.is_live:
        yield from _measured(pictures)
        return
    renewed = {id(trace): _renewed(trace, pictures) for trace in pictures.traces}
    averaged = {id(trace): averaged_layers(Pictures(traces=(trace,))) for trace in pictures.traces}
    found = [
        (trace, seen, layers)
        for trace, seen in pictures.observations
        if (layers := _lagging(trace, seen, averaged[id(trace)], renewed[id(trace)]))
    ]
    for same_place in grouped(found, lambda one: one[1].event.place or one[0].entry).values():
        yield _finding(*same_place[0])


def _lagging(
    trace: ModeTrace, seen: Observation, averaged: frozenset[int], renewed: frozenset[int]
) -> list[int]:
    """The layers of an averaged model that an evaluation runs on the statistics of another one."""
    forward = seen.event
    if not isinstance(forward, Forward) or trace.is_test or forward.output in trace.trained_outputs:
        return []
    concerned = averaged & forward.layers
    if not concerned or not concerned.isdisjoint(renewed):
        return []
    norms = sensitive_layers(seen, trace, Kind.BATCHNORM)
    return [layer for layer in norms if layer in concerned and seen.must(layer, Mode.EVAL)]


def _renewed(trace: ModeTrace, pictures: Pictures) -> frozenset[int]:
    """The layers whose statistics may be estimated anew, or loaded, anywhere in a program."""
    found: set[int] = set()
    for event in trace.events():
        match event:
            case Recalibrated(layers) | SetMode(layers, Mode.UNKNOWN):
                found |= layers
            case LoadState(model) if model in trace.models:
                found |= trace.models[model].layers
    for seen in pictures.observed(trace):
        if isinstance(seen.event, Forward):
            found |= {layer for layer in seen.event.layers if Mode.TRAIN in seen.modes(layer)}
    return frozenset(found)


def _finding(trace: ModeTrace, seen: Observation, layers: list[int]) -> Finding:
    event = seen.event
    assert isinstance(event, Forward)
    calls = [call.function for call in seen.chain]
    by = f" (called through {' > '.join(calls)})" if calls else ""
    kept = sensitive_names([trace.layers[each] for each in layers])
    return RULE.finding(
        f"the averaged weights of {model_title(trace, event.model)} are evaluated{by} with running "
        f"statistics that belong to other weights: {kept} "
        "kept those of the last model that was taken in; call "
        "torch.optim.swa_utils.update_bn(loader, model) before, or average the buffers, too "
        "(use_buffers=True)",
        event.place,
        _evidence(trace, seen, layers[0]),
    )


def _evidence(trace: ModeTrace, seen: Observation, layer: int) -> list[Evidence]:
    steps: list[Evidence] = []
    for event in trace.of(Averaged):
        if layer in event.layers:
            steps += evidence_at(event.built, "the averaged copy is made here", Role.CAUSE)
            steps += evidence_at(event.place, "weights are taken into the average here")
    steps += evidence_at(trace.layers[layer].place, "its statistics are not averaged", Role.CAUSE)
    for call in seen.chain:
        steps += evidence_at(call.place, f"{call.function}() is called here")
    return list(dict.fromkeys(steps))


def _measured(pictures: Pictures) -> Iterator[Finding]:
    """The averaged layers that are off, as one finding at the one that is furthest off."""
    averaged = averaged_layers(pictures)
    layers = [layer for layer in settled_layers(pictures) if layer.node.id in averaged]
    lagging = [layer for layer in layers if (significant_drift(layer) or 0.0) > LEAST_DRIFT]
    if not lagging:
        return
    worst = max(lagging, key=lambda layer: significant_drift(layer) or 0.0)
    yield RULE.finding(
        f"the running statistics of {names(lagging)} in {title_of(pictures)} are not those of the "
        f"averaged weights: they move the output of {worst.name} by {significant_drift(worst):.2f} "
        f"of its deviation, where chance explains {worst.number('floor'):.2f}; call "
        "torch.optim.swa_utils.update_bn(loader, model)",
        worst.node.place,
        severity=RULE.severity_for(pictures),
        module=worst.node.path or None,
        measurement={**worst.numbers, "layers": paths(lagging)},
    )


RULE = Rule(
    code="BNL501",
    name="averaged-without-update-bn",
    severity=Severity.WARNING,
    summary="Averaged weights are evaluated with the running statistics of other weights.",
    what="""\
A `torch.optim.swa_utils.AveragedModel` takes in the weights of a model, without
`use_buffers=True`, and is then evaluated, though nowhere in the program are its running statistics
estimated anew: no `update_bn`, no forward of its own in training mode, no `load_state_dict`, no
call out of sight that is given it.

The live check finds such a model by its type and measures: the rule reports where the running
statistics of its layers are off by more than 0.25 of the output's deviation and by more than chance
(see BNL504 for the measure, and for models that were averaged in other ways).

An average that is written by hand is not followed in source.""",
    why="""\
Averaging weights gives a network that never ran: its layers' outputs have other means and variances
than those of any network on the way, often much smaller ones, since weights that point in different
directions cancel out. `AveragedModel` copies the running statistics of the last model that it took
in. With them BatchNorm normalises the averaged network wrongly, in each layer a little more, and
the average seems to be worse than its parts: Izmailov et al. run one more pass over the data before
each evaluation, and PyTorch has `update_bn` for it. With `use_buffers=True` the statistics are
averaged like the weights, which is close for an exponential average with a slow decay.""",
    fine_when="""\
- The weights hardly move between the averages (a decay of 0.9999 and a small learning rate): the
  live check then finds nothing.
- The statistics are copied or averaged by code that the linter cannot see.
- The AveragedModel only holds weights that were averaged and recalibrated before, and loaded.""",
    references=(
        "Izmailov et al. 2018, Averaging Weights Leads to Wider Optima and Better Generalization, "
        "section 3.2 <https://arxiv.org/abs/1803.05407>",
        "PyTorch documentation, Taking care of batch normalization "
        "<https://docs.pytorch.org/docs/stable/optim.html#taking-care-of-batch-normalization>",
    ),
    wrong=(
        Example(
            """\
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

model = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
averaged = AveragedModel(model)
for epoch in range(20):
    for x, y in torch.load("train.pt"):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    averaged.update_parameters(model)
averaged.eval()
with torch.no_grad():
    print(averaged(torch.load("test.pt")).argmax(1))  # expect: BNL501
""",
            "Averaged, and evaluated at once",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def accuracy(net, batches):
    net.eval()
    with torch.no_grad():
        return sum((net(x).argmax(1) == y).float().mean() for x, y in batches)  # expect: BNL501


def train(net, batches, valid):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    ema = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    for epoch in range(20):
        net.train()
        for x, y in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            ema.update_parameters(net)
        print(epoch, accuracy(ema, valid))


train(
    nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3)),
    torch.load("train.pt"),
    torch.load("valid.pt"),
)
""",
            "An exponential average of the parameters only",
        ),
    ),
    right=(
        Example(
            """\
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

model = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
averaged = AveragedModel(model)
for epoch in range(20):
    for x, y in torch.load("train.pt"):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    averaged.update_parameters(model)
update_bn(torch.load("train.pt"), averaged)
averaged.eval()
with torch.no_grad():
    print(averaged(torch.load("test.pt")).argmax(1))
""",
            "The statistics are estimated for the averaged weights",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

model = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3))
averaged = AveragedModel(model)
averaged.load_state_dict(torch.load("averaged.pt"))
averaged.eval()
with torch.no_grad():
    print(averaged(torch.load("test.pt")).argmax(1))
""",
            "Nearly wrong: a shell for weights and statistics that were saved together",
        ),
    ),
    check=check,
    default=False,
    live=True,
    live_default=True,
    needs_data=True,
)
