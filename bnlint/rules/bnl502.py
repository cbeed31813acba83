"""BNL502: checkpointed BatchNorm updates its statistics twice a step."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Evidence, Finding, Place, Role, Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.records import Struct
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    and_others,
    evidence_at,
    grouped,
    is_number,
    layer_name,
    sensitive_name,
)
from bnlint.solver import Observation
from bnlint.trace import Forward, Mode, ModeTrace, Purpose

DEFAULT_MOMENTUM = 0.1


class _Layer(Struct, frozen=True):
    """A BatchNorm layer that is checkpointed at a place."""

    name: str
    path: str
    place: Place | None
    checkpoint: Place
    momentum: float = DEFAULT_MOMENTUM


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each checkpoint, with all its layers as evidence."""
    found = [*_in_graphs(pictures), *_in_traces(pictures)]
    for same_place in grouped(found, lambda layer: layer.checkpoint).values():
        yield _finding(same_place, is_live=pictures.measured.is_live)


def _in_graphs(pictures: Pictures) -> Iterator[_Layer]:
    trained = _trained_in_run(pictures) if pictures.measured.is_live else None
    for graph in pictures.graphs:
        for node in graph.of_kind(Kind.BATCHNORM):
            if node.checkpoint is None or not _moves_statistics(node):
                continue
            if trained is None or node.id in trained:
                yield _layer(graph, node, node.checkpoint)


def _trained_in_run(pictures: Pictures) -> frozenset[int]:
    """The layers that a live run, said to be training, has in training mode."""
    return frozenset(
        layer
        for _, seen in pictures.observations
        if isinstance(seen.event, Forward) and seen.event.stated is Purpose.TRAINING
        for layer in seen.event.layers
        if seen.must(layer, Mode.TRAIN)
    )


def _layer(graph: LayerGraph, node: Node, checkpoint: Place) -> _Layer:
    momentum = node.params.get("momentum", DEFAULT_MOMENTUM)
    known = float(momentum) if is_number(momentum) else DEFAULT_MOMENTUM
    return _Layer(layer_name(node), node.path or graph.title, node.place, checkpoint, known)


def _moves_statistics(node: Node) -> bool:
    """Whether a forward in training mode changes the layer's running statistics.

    A momentum of None is a plain average, in which a batch counted twice changes little.
    """
    momentum = node.params.get("momentum", DEFAULT_MOMENTUM)
    if momentum is None or momentum == 0 or node.params.get("training", True) is False:
        return False
    return node.params.get("track_running_stats", True) is not False


def _in_traces(pictures: Pictures) -> Iterator[_Layer]:
    for trace, seen in pictures.observations:
        event = seen.event
        if isinstance(event, Forward) and event.checkpoint is not None and not trace.is_test:
            yield from _trained_layers(trace, seen, event, event.checkpoint)


def _trained_layers(
    trace: ModeTrace, seen: Observation, forward: Forward, checkpoint: Place
) -> Iterator[_Layer]:
    """The BatchNorm layers of a checkpointed forward that are in training mode in a step."""
    if trace.purpose(forward) is not Purpose.TRAINING:
        return
    for number in sorted(forward.layers & trace.layers.keys()):
        layer = trace.layers[number]
        if layer.kind is Kind.BATCHNORM and seen.must(number, Mode.TRAIN):
            yield _Layer(sensitive_name(layer), layer.path, layer.place, checkpoint)


def _finding(layers: list[_Layer], *, is_live: bool) -> Finding:
    first = layers[0]
    places = {layer.place for layer in layers}
    more = and_others(len(places))
    twice = 1 - (1 - first.momentum) ** 2
    return RULE.finding(
        f"{first.name}{more} is checkpointed: the backward pass runs it once more, so its running "
        f"statistics take in every batch twice (a momentum of {first.momentum:g} acts like "
        f"{twice:.2g}); leave BatchNorm out of the checkpoint, or set its momentum to "
        f"{1 - (1 - first.momentum) ** 0.5:.2g}",
        first.checkpoint,
        _evidence(layers),
        module=first.path if is_live else None,
    )


def _evidence(layers: list[_Layer]) -> list[Evidence]:
    first = {layer.place: layer for layer in reversed(layers)}
    steps: list[Evidence] = []
    for place in dict.fromkeys(layer.place for layer in layers):
        steps += evidence_at(place, f"{first[place].name} is inside", Role.CAUSE)
    return steps


RULE = Rule(
    code="BNL502",
    name="checkpointed-batchnorm",
    severity=Severity.NOTE,
    summary="Activation checkpointing over BatchNorm updates its running statistics twice a step.",
    what="""\
A module, function or lambda that is given to `torch.utils.checkpoint.checkpoint`, or to
`checkpoint_sequential` (its last segment is not checkpointed), runs a BatchNorm layer that tracks
running statistics. bnlint looks at what happens in training: a call under `if self.training:` or
`if x.requires_grad:` counts, one that an option switches on does not unless the option is on by
default. `bnlint.check(model, inputs, phase="training")` sees the calls as they happen.""",
    why="""\
Checkpointing keeps no activations and runs the function once more in the backward pass. The output
and the gradients are the same, but the second run moves the running statistics again, with the same
batch: `num_batches_tracked` grows by 2 in each step, and a momentum of 0.1 acts like 1 - 0.9 * 0.9
= 0.19. The statistics follow the last batches more closely than those of layers outside of the
checkpoint, and differ from those of the same training without it. Both variants do so,
`use_reentrant=True` and `use_reentrant=False`.""",
    fine_when="""\
- The difference is small: a momentum of 0.19 is rarely harmful. It matters when batches are small,
  or when two runs are to be compared.
- The momentum was lowered to 1 - sqrt(1 - momentum), 0.051 for 0.1, so that two updates make one.
- BatchNorm is frozen in evaluation mode.""",
    references=(
        "PyTorch, issue 96136: checkpoint should avoid updating BatchNorm statistics twice "
        "<https://github.com/pytorch/pytorch/issues/96136>",
        "pytorch-pfn-extras, pull request 117: checkpointing that lowers the momentum "
        "<https://github.com/pfnet/pytorch-pfn-extras/pull/117>",
        "fairscale, pull request 457: checkpointing and normalisation "
        "<https://github.com/facebookresearch/fairscale/pull/457>",
        "PyTorch documentation, torch.utils.checkpoint "
        "<https://docs.pytorch.org/docs/stable/checkpoint.html>",
    ),
    wrong=(
        Example(
            """\
from torch import nn
from torch.utils.checkpoint import checkpoint


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU())

    def forward(self, x):
        x = self.stem(x)
        if self.training:
            return checkpoint(self.body, x, use_reentrant=False)  # expect: BNL502
        return self.body(x)
""",
            "A block is checkpointed in training",
        ),
        Example(
            """\
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint_sequential

model = nn.Sequential(
    nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(),
    nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 1, 1),
)
optimizer = torch.optim.Adam(model.parameters())
for images, targets in torch.load("batches.pt"):
    output = checkpoint_sequential(model, 2, images, use_reentrant=False)  # expect: BNL502
    loss = nn.functional.mse_loss(output, targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
            "BatchNorm in the first of two segments",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.body = nn.Sequential(nn.ReLU(), nn.Conv2d(16, 64, 1), nn.ReLU())

    def forward(self, x):
        return checkpoint(self.body, self.bn(self.conv(x)), use_reentrant=False)
""",
            "BatchNorm stands outside",
        ),
        Example(
            """\
from torch import nn
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self, with_checkpoint=False):
        super().__init__()
        self.with_checkpoint = with_checkpoint
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU())

    def forward(self, x):
        if self.with_checkpoint:
            return checkpoint(self.body, x, use_reentrant=False)
        return self.body(x)
""",
            "Nearly wrong: the option is off",
        ),
        Example(
            """\
from torch import nn
from torch.utils.checkpoint import checkpoint_sequential


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16)
        )

    def forward(self, x):
        return checkpoint_sequential(self.layers, 2, x, use_reentrant=False)
""",
            "Nearly wrong: the last segment is not checkpointed",
        ),
    ),
    check=check,
    live=True,
)
