"""BNL205: a bias that the BatchNorm behind it takes away again."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Fix, SetArgument, Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.records import Struct
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    CALCULATES,
    and_more,
    evidence_at,
    feeds_only,
    grouped,
    is_functional,
    layer_key,
    layer_name,
)
from bnlint.rules.shapes import count

SIZES = ("out_channels", "out_features")


class _Biased(Struct, frozen=True):
    """A layer with a bias, and the BatchNorm that reads it."""

    graph: LayerGraph
    layer: Node
    norm: Node


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each constructor of a Conv or Linear."""
    is_live = pictures.measured.is_live
    calls = [(graph, node) for graph in pictures.graphs for node in graph.of_kind(*CALCULATES)]
    for same_layer in grouped(calls, lambda call: layer_key(*call, is_live=is_live)).values():
        found = [_redundant(graph, layer, is_live) for graph, layer in same_layer]
        # One use or binding without the BatchNorm is reason enough for the bias.
        if all(found) and found[0] is not None:
            yield _finding(found[0], same_layer)


def _redundant(graph: LayerGraph, layer: Node, is_live: bool) -> _Biased | None:
    if layer.params.get("bias") is not True or is_functional(layer):
        return None
    if not feeds_only(graph, layer, Kind.BATCHNORM):
        return None
    norms = [reader for reader in graph.consumers(layer) if reader.kind is Kind.BATCHNORM]
    if layer.kind is Kind.LINEAR and not all(_is_flat(layer, norm, is_live) for norm in norms):
        return None
    return _Biased(graph, layer, norms[0])


def _is_flat(layer: Node, norm: Node, is_live: bool) -> bool:
    """Whether a Linear layer's features are the channels of the BatchNorm behind it: (N, C).

    On (N, L, C) a BatchNorm1d has L channels, over which the bias varies.
    """
    sizes = (count(layer, "out_features"), count(norm, "num_features"))
    if not is_live and None not in sizes:
        return sizes[0] == sizes[1]
    return norm.positions == 1


def _finding(biased: _Biased, same_layer: list[tuple[LayerGraph, Node]]) -> Finding:
    layer, norm = biased.layer, biased.norm
    size = next((number for name in SIZES if (number := count(layer, name))), None)
    parameters = f"{size} parameters" if size is not None else "its parameters"
    binding = f" ({biased.graph.binding})" if biased.graph.binding else ""
    return RULE.finding(
        f"{layer_name(layer)}{and_more(same_layer)} has a bias{binding} and only "
        f"{layer_name(norm)} reads it, which subtracts the mean: {parameters} without effect; "
        "write bias=False",
        layer.place,
        evidence_at(norm.place, f"{layer_name(norm)} subtracts the mean of every channel"),
        fix=_fix(layer),
        module=layer.path or None,
    )


def _fix(layer: Node) -> Fix | None:
    if layer.place is None:
        return None
    return Fix("write bias=False", (SetArgument(layer.place, "bias", "bias=False"),))


RULE = Rule(
    code="BNL205",
    name="redundant-bias",
    severity=Severity.NOTE,
    summary="A Conv or Linear has a bias that the BatchNorm behind it takes away.",
    what="""\
A convolution or linear layer is built with a bias (the default), and all that reads its output, on
every path and in every use of that constructor, is a BatchNorm. Nothing may stand between: behind
a reshape the bias is no longer one number per channel. A Linear layer whose BatchNorm1d works on
(N, L, C) is not reported for the same reason.""",
    why="""\
BatchNorm subtracts the mean of each channel, and a bias is a constant per channel, so it is gone
behind the BatchNorm; the learned shift of the BatchNorm takes its place. "Thus, z = g(Wu + b) is
replaced with z = g(BN(Wu))" (Ioffe and Szegedy). What is left is a parameter with a gradient of
zero, up to rounding: a little memory, a little time, an entry in every checkpoint and in the
optimizer's state, and weight decay that works on a number that does nothing. It does no harm to
accuracy.""",
    fine_when="""\
- Weights were released with the bias: leaving it out breaks `load_state_dict`.
- The BatchNorm is to be removed or folded into the layer, which then needs a bias.
- The BatchNorm stays in evaluation mode from the start, for example a frozen backbone: then it
  subtracts a stored mean, and the bias is learned in place of its shift.""",
    references=(
        "Ioffe and Szegedy 2015, Batch Normalization, section 3.2 <https://arxiv.org/abs/1502.03167>",
        "PyTorch documentation, Performance Tuning Guide: disable bias for convolutions directly "
        "followed by a batch norm "
        "<https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

block = nn.Sequential(
    nn.Conv2d(3, 64, 3, padding=1),  # expect: BNL205
    nn.BatchNorm2d(64),
    nn.ReLU(),
)
""",
            "The default is a bias",
        ),
        Example(
            """\
from torch import nn


class Head(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.fc = nn.Linear(width, width, bias=True)  # expect: BNL205
        self.bn = nn.BatchNorm1d(width)

    def forward(self, x):
        return self.bn(self.fc(x)).relu()
""",
            "Written out",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn

block = nn.Sequential(
    nn.Conv2d(3, 64, 3, padding=1, bias=False),
    nn.BatchNorm2d(64),
    nn.ReLU(),
)
""",
            "BatchNorm's own shift is enough",
        ),
        Example(
            """\
from torch import nn


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(100, 128 * 8 * 8)
        self.bn = nn.BatchNorm2d(128)

    def forward(self, z):
        return self.bn(self.fc(z).view(-1, 128, 8, 8)).relu()
""",
            "Nearly wrong: the bias differs from pixel to pixel of one channel",
        ),
        Example(
            """\
from torch import nn


class Residual(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x):
        x = self.conv(x)
        return x + self.bn(x).relu()
""",
            "Nearly wrong: the convolution's output is read elsewhere, too",
        ),
    ),
    check=check,
    default=False,
    live=True,
    fix_safety="Unsafe: a checkpoint that holds the bias no longer loads with `strict=True`, and "
    "code that sets `layer.bias` (an initialisation, for instance) finds None.",
)
