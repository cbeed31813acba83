"""BNL201: BatchNorm directly after the activation of a Conv or Linear."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Evidence, Finding, Fix, Measurement, Role, Severity, SwapElements
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.records import Struct
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.designs import is_published_design
from bnlint.rules.predicates import (
    activated_layers,
    block_key,
    evidence_at,
    grouped,
    is_preactivation,
    layer_key,
    layer_name,
    listed,
)


class _Accused(Struct, frozen=True):
    """A BatchNorm, the activation that feeds it, and the layer before that."""

    graph: LayerGraph
    norm: Node
    activation: Node
    layer: Node


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each class or factory."""
    calls = [(graph, node) for graph in pictures.graphs for node in graph.of_kind(Kind.BATCHNORM)]
    accused: list[_Accused] = []
    is_live = pictures.measured.is_live
    for same_layer in grouped(calls, lambda call: layer_key(*call, is_live=is_live)).values():
        found = [_accuse(graph, norm) for graph, norm in same_layer]
        # One binding or call with another order makes the order a switch, not a mistake.
        if all(found) and found[0] is not None:
            accused.append(found[0])
    for block in grouped(accused, lambda a: block_key(a.graph, a.norm)).values():
        yield _finding(block, pictures)


def _accuse(graph: LayerGraph, norm: Node) -> _Accused | None:
    layers = activated_layers(graph, norm)
    if not layers or is_preactivation(graph, norm) or is_published_design(graph, norm, layers):
        return None
    return _Accused(graph, norm, graph.producers(norm)[0], layers[0])


def _finding(block: list[_Accused], pictures: Pictures) -> Finding:
    first, *others = block
    name = layer_name(first.norm)
    order = f"{first.layer.short_name}, {first.activation.short_name}, {first.norm.short_name}"
    measured = pictures.measured.layers.get(first.norm.id, {})
    more = f" ({len(others)} more in the same class)" if others else ""
    return RULE.finding(
        f"{name} follows the activation ({order}){more}{_moments(measured)}; "
        f"put BatchNorm between the {first.layer.short_name} and the activation",
        first.norm.place,
        [step for accused in block for step in _evidence(accused, is_first=accused is first)],
        fix=_swap(block),
        module=first.norm.path or None,
        measurement={**measured, "layers": [a.norm.path for a in block]} if measured else None,
    )


def _moments(measured: Measurement) -> str:
    zeros, skew = measured.get("zeros_share"), measured.get("skew")
    parts = []
    if isinstance(zeros, float) and zeros >= 0.01:
        parts.append(f"{zeros:.0%} of its input is exactly zero")
    if isinstance(skew, float):
        parts.append(f"skew {skew:.1f}")
    return f": {listed(parts)}" if parts else ""


def _evidence(accused: _Accused, *, is_first: bool) -> Iterator[Evidence]:
    if not is_first:
        message = f"{layer_name(accused.norm)} follows the activation, too"
        yield from evidence_at(accused.norm.place, message, Role.INSTANCE)
        return
    layer, activation = accused.layer, accused.activation
    yield from evidence_at(layer.place, f"{layer_name(layer)} calculates")
    message = f"{layer_name(activation)} comes before the BatchNorm"
    yield from evidence_at(activation.place, message, Role.CAUSE)


def _swap(block: list[_Accused]) -> Fix | None:
    """Exchange activation and BatchNorm where they are neighbouring elements of one Sequential."""
    first = block[0]
    found = (
        SwapElements(accused.activation.place, accused.norm.place)
        for accused in block
        if accused.norm.place is not None
        and accused.activation.place is not None
        and _neighbours(accused.activation, accused.norm)
    )
    intents = tuple(dict.fromkeys(found))
    if not intents:
        return None
    names = f"swap {first.activation.short_name} and {first.norm.short_name}"
    return Fix(names if len(intents) == 1 else f"{names}, {len(intents)} times", intents)


def _neighbours(first: Node, second: Node) -> bool:
    """Whether two layers are elements n and n+1 of one bare Sequential."""
    container, _, index = first.path.rpartition(".")
    other_container, _, other_index = second.path.rpartition(".")
    return (
        bool(second.scope)
        and second.scope[-1].container
        and container == other_container
        and index.isdecimal()
        and other_index.isdecimal()
        and int(other_index) == int(index) + 1
    )


RULE = Rule(
    code="BNL201",
    name="batchnorm-after-activation",
    severity=Severity.WARNING,
    summary="BatchNorm directly follows the activation of a Conv or Linear.",
    what="""\
The input of a BatchNorm is, on every path through the forward, the output of an activation
(ReLU, GELU, tanh, ...), and the activation's input is the output of a convolution or linear
layer of the same block. All BatchNorm layers of one class or factory are reported once.

Not reported: pre-activation blocks (BatchNorm, activation, convolution), BatchNorm on a block's
own input, after an addition, concatenation, pooling or embedding, sigmoid and softmax gates, a
layer whose order is a switch, and the published designs named below. The live check adds two
moments of the BatchNorm's input: the share of exact zeros and the skew.""",
    why="""\
BatchNorm was made to follow the affine layer: Ioffe and Szegedy normalise x = Wu + b because it
"is more likely to have a symmetric, non-sparse distribution", and normalising it gives
activations with a stable distribution. After a ReLU about half of the values are exactly zero
and the rest is skewed; the BatchNorm's output then is what the next convolution sees, without a
nonlinearity that would have been steered by the learned scale and shift. The convolution cannot
be fused with the BatchNorm before the activation for fast inference either: the pair
Conv-BatchNorm is what `torch.nn.utils.fusion` and quantisation tools look for.

The evidence on accuracy is mixed. Mishkin et al. trained a CaffeNet with BatchNorm before and
after the nonlinearity and found the latter no worse, for ReLU better. So read this finding as
"is this order meant?": in a class that otherwise normalises before the activation it usually is
a slip.""",
    fine_when="""\
- The design is published so, and weights were released for it: TDNN, x-vector and ECAPA-TDNN
  speaker networks, attentive statistics pooling, ConvMixer, XCiT. bnlint recognises them by their
  structure (dilated Conv1d over time, softmax weights that multiply the features, GELU with
  depthwise convolutions) and is silent there.
- Each layer's input is normalised, the first one's included: BatchNorm, Linear, activation,
  BatchNorm, Linear, ... bnlint recognises this, too.
- You tried both orders and this one is better on your data. Say so in a suppression comment:
  `# bnlint: ignore[BNL201] measured: better here`.
- A checkpoint depends on the order.""",
    references=(
        "Ioffe and Szegedy 2015, Batch Normalization, section 3.2 <https://arxiv.org/abs/1502.03167>",
        "Mishkin, Sergievskiy and Matas 2016, Systematic evaluation of CNN advances on the "
        "ImageNet <https://arxiv.org/abs/1606.02228>",
        "He et al. 2016, Identity Mappings in Deep Residual Networks (pre-activation) "
        "<https://arxiv.org/abs/1603.05027>",
        "Trockman and Kolter 2022, Patches Are All You Need? (ConvMixer) "
        "<https://arxiv.org/abs/2201.09792>",
        "Desplanques et al. 2020, ECAPA-TDNN <https://arxiv.org/abs/2005.07143>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

features = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1),
    nn.ReLU(),
    nn.BatchNorm2d(32),  # expect: BNL201
    nn.MaxPool2d(2),
)
""",
            "The activation and BatchNorm changed places",
        ),
        Example(
            """\
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)  # expect: BNL201

    def forward(self, x):
        return x + self.bn(F.relu(self.conv(x)))
""",
            "The order is decided in forward()",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn

features = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1, bias=False),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.MaxPool2d(2),
)
""",
            "BatchNorm between convolution and activation",
        ),
        Example(
            """\
import torch.nn.functional as F
from torch import nn


class PreActivation(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x):
        out = self.conv1(F.relu(self.bn1(x)))
        return x + self.conv2(F.relu(self.bn2(out)))
""",
            "Nearly wrong: BatchNorm on the input of a block, behind the block before",
        ),
        Example(
            """\
from torch import nn


class TimeDelay(nn.Module):
    def __init__(self):
        super().__init__()
        self.frames = nn.Sequential(
            nn.Conv1d(80, 512, 5),
            nn.ReLU(),
            nn.BatchNorm1d(512),
            nn.Conv1d(512, 512, 3, dilation=2),
            nn.ReLU(),
            nn.BatchNorm1d(512),
        )

    def forward(self, x):
        return self.frames(x).mean(dim=2)
""",
            "Nearly wrong: a time-delay network, published in this order",
        ),
    ),
    check=check,
    live=True,
    fix_safety="Unsafe: the function that the network calculates changes, and a checkpoint that "
    "was trained in the old order no longer fits.",
)
