"""BNL207: BatchNorm of another dimensionality than its input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bnlint.finding import Evidence, Finding, Role, Severity
from bnlint.graph import Kind, LayerGraph, Node, spatial_dimensions
from bnlint.records import Struct
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    and_more,
    evidence_at,
    grouped,
    has_alternative,
    layer_key,
    layer_name,
)
from bnlint.rules.shapes import Shapes, count

ACCEPTED: Final = {1: (2, 3), 2: (4,), 3: (5,)}
"""The numbers of dimensions that BatchNorm1d, 2d and 3d take, the batch included."""
MOST_STEPS = 6
"""Layers before the BatchNorm that the evidence names."""


class _Wrong(Struct, frozen=True):
    """A BatchNorm and the number of dimensions of its input; 2 stands for rows of features."""

    graph: LayerGraph
    norm: Node
    given: int
    walk: tuple[Node, ...]


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each constructor."""
    accused = [found for graph in pictures.graphs for found in _wrong(graph)]
    for same_layer in grouped(accused, lambda a: layer_key(a.graph, a.norm)).values():
        yield _finding(same_layer)


def _wrong(graph: LayerGraph) -> Iterator[_Wrong]:
    shapes = Shapes.of(graph)
    for norm in graph.of_kind(Kind.BATCHNORM):
        accepted = ACCEPTED.get(spatial_dimensions(norm) or 0)
        if accepted is None or not norm.inputs:
            continue
        given = shapes.dimensions(norm)
        if given is None and 2 not in accepted and _normalises_features(graph, norm):
            given = 2
        if given is None or given in accepted:
            continue
        if not has_alternative(graph, norm):
            yield _Wrong(graph, norm, given, tuple(_walk(graph, norm)))


def _normalises_features(graph: LayerGraph, norm: Node) -> bool:
    """Whether a BatchNorm2d or 3d is meant for the features of a Linear layer.

    Both stand in one container with at most an activation or dropout between, and the BatchNorm
    has as many channels as the Linear layer has features. On (N, C, H, W), which Linear takes as
    well, dimension 1 would have to be as long as the last one.
    """
    size = count(norm, "num_features")
    producers = [graph[source] for source in norm.inputs[0]]
    while len(producers) == 1 and producers[0].kind in (Kind.ACTIVATION, Kind.DROPOUT):
        producers = [graph[source] for operand in producers[0].inputs[:1] for source in operand]
    return size not in (None, 1) and all(
        producer.kind is Kind.LINEAR
        and count(producer, "out_features") == size
        and bool(norm.scope)
        and norm.scope[-1].container
        and producer.scope == norm.scope
        for producer in producers
    )


def _walk(graph: LayerGraph, norm: Node) -> Iterator[Node]:
    """From the BatchNorm's input back to the layers that say how many dimensions it has."""
    pending, seen = [norm], {norm.id}
    while pending:
        current = pending.pop(0)
        for source in sorted(frozenset().union(*current.inputs), reverse=True):
            node = graph[source]
            if node.id in seen:
                continue
            seen.add(node.id)
            yield node
            is_deciding = node.kind in (Kind.CONV, Kind.RESHAPE, Kind.BATCHNORM, Kind.INPUT)
            if not is_deciding:
                pending.append(node)


def _finding(same_layer: list[_Wrong]) -> Finding:
    first = same_layer[0]
    norm = first.norm
    binding = f" ({first.graph.binding})" if first.graph.binding else ""
    accepted = ACCEPTED[spatial_dimensions(norm) or 0]
    taken = " or ".join(f"{number}D" for number in accepted)
    nodes = [(wrong.graph, wrong.norm) for wrong in same_layer]
    fitting = next((d for d, counts in ACCEPTED.items() if first.given in counts), None)
    advice = f"; use BatchNorm{fitting}d" if fitting is not None else ""
    return RULE.finding(
        f"{layer_name(norm)}{and_more(nodes)} takes {taken} input and gets {first.given}D"
        f"{_from(first)}{binding}: the forward raises an error{advice}",
        norm.place,
        [step for node in first.walk[:MOST_STEPS] for step in _step(node)],
        module=norm.path or None,
    )


def _from(wrong: _Wrong) -> str:
    layer = next((node for node in wrong.walk if node.kind is not Kind.INPUT), None)
    return f" from {layer_name(layer)}" if layer is not None else ""


def _step(node: Node) -> tuple[Evidence, ...]:
    match node.kind:
        case Kind.INPUT:
            return ()
        case Kind.CONV | Kind.LINEAR | Kind.RESHAPE:
            return evidence_at(node.place, f"{layer_name(node)} feeds it", Role.CAUSE)
        case _:
            return evidence_at(node.place, f"{layer_name(node)} keeps the dimensions")


RULE = Rule(
    code="BNL207",
    name="wrong-dimensionality",
    severity=Severity.ERROR,
    summary="BatchNorm1d, 2d or 3d gets an input with another number of dimensions.",
    what="""\
A BatchNorm2d is fed by a Linear layer, a BatchNorm1d by a Conv2d, a BatchNorm3d by a Conv2d, and so
on: the number of dimensions of its input is known on every path and is not one that it takes.
Convolutions say it, and so do `flatten(1)` and `view` with sizes written out; activations,
dropout, pooling, padding, permutations and additions keep it.

A Linear layer works on inputs of any number of dimensions, so it says nothing by itself. Where
the input of both is not known, BatchNorm2d after Linear is reported only inside one Sequential
and when `num_features` equals the Linear layer's `out_features`. An index, a squeeze, and every
call that bnlint cannot see end the search, and the rule is silent.""",
    why="""\
The forward raises `expected 4D input (got 2D input)` as soon as it is run: BatchNorm1d takes
(N, C) or (N, C, L), BatchNorm2d takes (N, C, H, W), BatchNorm3d takes (N, C, D, H, W). Such a
layer has never worked with this input; it is found here in branches and classes that no test
runs. Usually a block was copied from a convolutional network to a fully connected one, or the
flatten was moved.""",
    fine_when="""\
- The layer is never called.
- A single sample without a batch dimension is passed on purpose: Conv2d takes (C, H, W), and
  BatchNorm1d would read that as (N, C, L). The statistics are then those of the rows, which is
  hardly ever meant.""",
    references=(
        "PyTorch documentation, torch.nn.BatchNorm1d "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html>",
        "PyTorch documentation, torch.nn.BatchNorm2d "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html>",
        "PyTorch documentation, torch.nn.Linear (any number of leading dimensions) "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

head = nn.Sequential(
    nn.Linear(512, 128),
    nn.BatchNorm2d(128),  # expect: BNL207
    nn.ReLU(),
    nn.Linear(128, 10),
)
""",
            "Copied from a convolutional block",
        ),
        Example(
            """\
from torch import nn


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 3, bias=False)
        self.bn = nn.BatchNorm1d(64)  # expect: BNL207
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.bn(self.conv(x))).flatten(1)
""",
            "The flatten comes too late",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn

head = nn.Sequential(
    nn.Flatten(),
    nn.Linear(512, 128),
    nn.BatchNorm1d(128),
    nn.ReLU(),
    nn.Linear(128, 10),
)
""",
            "BatchNorm1d for rows of features",
        ),
        Example(
            """\
from torch import nn


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(100, 128 * 8 * 8)
        self.blocks = nn.Sequential(nn.BatchNorm2d(128), nn.Upsample(scale_factor=2))

    def forward(self, z):
        return self.blocks(self.fc(z).view(z.shape[0], 128, 8, 8))
""",
            "Nearly wrong: a view makes images of the features",
        ),
        Example(
            """\
from torch import nn


class Tracks(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 32, (7, 1), bias=False)
        self.bn = nn.BatchNorm1d(32)

    def forward(self, x):
        x = self.conv(x)
        return self.bn(x[:, :, :, 0])
""",
            "Nearly wrong: an index takes the last dimension away",
        ),
    ),
    check=check,
)
