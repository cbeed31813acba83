"""BNL206: BatchNorm for another number of channels than the layer before it gives."""

from __future__ import annotations

from collections.abc import Iterator

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
from bnlint.rules.shapes import SETS_CHANNELS, Shapes, count, rows_of_features

MOST_STEPS = 6
"""Layers between the BatchNorm and the deciding layer that the evidence names."""


class _Mismatch(Struct, frozen=True):
    """A BatchNorm, the channels that reach it, and the walk back to the layers that say so."""

    graph: LayerGraph
    norm: Node
    given: frozenset[int]
    walk: tuple[Node, ...]


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each constructor."""
    accused = [found for graph in pictures.graphs for found in _mismatches(graph)]
    for same_layer in grouped(accused, lambda a: layer_key(a.graph, a.norm)).values():
        yield _finding(same_layer)


def _mismatches(graph: LayerGraph) -> Iterator[_Mismatch]:
    shapes = Shapes.of(graph)
    for norm in graph.of_kind(Kind.BATCHNORM):
        expected = count(norm, "num_features")
        if expected is None:
            continue
        given = shapes.channels(norm) or _features_of_rows(graph, norm, expected)
        if given is None or expected in given:
            continue
        if not has_alternative(graph, norm):
            yield _Mismatch(graph, norm, given, tuple(shapes.sources_of_channels(norm)))


def _features_of_rows(graph: LayerGraph, norm: Node, expected: int) -> frozenset[int] | None:
    """The features of the Linear layer before a BatchNorm1d, where these must be the channels.

    BatchNorm1d takes (N, C) and (N, C, L), and a Linear layer's features are the channels in the
    first only. In (N, C, L) all BatchNorm layers of the same rows would have the same channels:
    another BatchNorm of another size shows that the rows are (N, C).
    """
    if spatial_dimensions(norm) != 1 or len(norm.inputs) != 1:
        return None
    sizes: set[int | None] = set()
    for producer in graph.producers(norm):
        while producer.kind in (Kind.ACTIVATION, Kind.DROPOUT):
            before = graph.producers(producer)
            if len(before) != 1:
                return None
            producer = before[0]
        sizes.add(count(producer, "out_features") if producer.kind is Kind.LINEAR else None)
    others = {
        count(other, "num_features")
        for other in rows_of_features(graph, norm)
        if other.kind is Kind.BATCHNORM and spatial_dimensions(other) == 1
    }
    is_flat = bool(others - {expected, None})
    return frozenset(size for size in sizes if size) if is_flat and None not in sizes else None


def _finding(same_layer: list[_Mismatch]) -> Finding:
    first = same_layer[0]
    norm = first.norm
    binding = f" ({first.graph.binding})" if first.graph.binding else ""
    given = " or ".join(str(size) for size in sorted(first.given))
    deciding = next((node for node in first.walk if node.kind in SETS_CHANNELS), None)
    source = f"{layer_name(deciding)} before it" if deciding is not None else "its input"
    nodes = [(mismatch.graph, mismatch.norm) for mismatch in same_layer]
    return RULE.finding(
        f"{layer_name(norm)}{and_more(nodes)} is built for {norm.params['num_features']} channels "
        f"and {source} gives {given}{binding}: the forward raises an error; make the two numbers "
        "equal",
        norm.place,
        [step for node in first.walk[:MOST_STEPS] for step in _step(node)],
        module=norm.path or None,
    )


def _step(node: Node) -> tuple[Evidence, ...]:
    match node.kind:
        case Kind.CONV:
            message = f"{layer_name(node)} gives {node.params.get('out_channels')} channels"
        case Kind.LINEAR:
            message = f"{layer_name(node)} gives {node.params.get('out_features')} features"
        case Kind.BATCHNORM:
            message = f"{layer_name(node)} gives {node.params.get('num_features')} channels"
        case Kind.RESHAPE if "shape" in node.params:
            return evidence_at(node.place, f"{layer_name(node)} sets the channels", Role.CAUSE)
        case _:
            return evidence_at(node.place, f"{layer_name(node)} keeps the number of channels")
    return evidence_at(node.place, message, Role.CAUSE)


RULE = Rule(
    code="BNL206",
    name="channel-mismatch",
    severity=Severity.ERROR,
    summary="BatchNorm's num_features is not the number of channels that the layer before gives.",
    what="""\
The `num_features` of a BatchNorm and the output channels of what feeds it are both known numbers,
and on every path through the forward they differ. Activations, dropout, pooling, upsampling,
padding and other norms are looked through, an addition when all its operands have the same
channels; another BatchNorm before it counts as a layer that gives `num_features` channels.

A reshape with unknown sizes, a slice, a split, a concatenation, and every call that bnlint cannot
see end the search, and the rule is silent. A Linear layer's features are channels only where its
input is surely (N, C): behind `flatten(1)` or `view(n, -1)`, or where a second BatchNorm of the
same rows has another size. Numbers that come from constants, defaults and the arguments of a
factory or class count; a lazy BatchNorm has none.""",
    why="""\
The forward raises `running_mean should contain 64 elements not 65`, as soon as it is run: this is
not a matter of quality, the layer has never worked with this input. It is found here without
building the model, in the branch, configuration or rarely used class that no test runs. Usually
one of two numbers was changed and the other one forgotten, or a BatchNorm was copied from the
block before.""",
    fine_when="""\
- The layer is never called, and only kept so that an old checkpoint loads.
- The number of channels is changed behind bnlint's back, for example by a pruning tool that
  replaces the convolution after construction.""",
    references=(
        "PyTorch documentation, torch.nn.BatchNorm2d (num_features: C of an input (N, C, H, W)) "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html>",
        "PyTorch documentation, torch.nn.BatchNorm1d (input (N, C) or (N, C, L)) "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

features = nn.Sequential(
    nn.Conv2d(3, 64, 3, padding=1, bias=False),
    nn.BatchNorm2d(32),  # expect: BNL206
    nn.ReLU(),
)
""",
            "The convolution was widened, the BatchNorm was not",
        ),
        Example(
            """\
import torch.nn.functional as F
from torch import nn


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(32)  # expect: BNL206

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.bn2(F.max_pool2d(self.conv2(x), 2))
""",
            "Copied from the layer before; the pooling between keeps the channels",
        ),
        Example(
            """\
from torch import nn


def conv_bn(c_in, c_out, c_norm=64):
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, bias=False),
        nn.BatchNorm2d(c_norm),  # expect: BNL206
    )


model = nn.Sequential(conv_bn(3, 64), nn.ReLU(), conv_bn(64, 128))
""",
            "Right in one call of the factory, wrong in the other",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn

features = nn.Sequential(
    nn.Conv2d(3, 64, 3, padding=1, bias=False),
    nn.BatchNorm2d(64),
    nn.ReLU(),
)
""",
            "The two numbers are equal",
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
        return self.blocks(self.fc(z).view(-1, 128, 8, 8))
""",
            "Nearly wrong: a reshape makes 128 channels of 8192 features",
        ),
        Example(
            """\
from torch import nn


class TokenNorm(nn.Module):
    def __init__(self, tokens=196, width=384):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(tokens)

    def forward(self, x):
        return self.norm(self.fc(x))
""",
            "Nearly wrong: on (N, tokens, width) the channels are the tokens, not the features",
        ),
    ),
    check=check,
)
