"""BNL204: Dropout, then a Linear or Conv, then BatchNorm."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Measurement, Role, Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.records import Struct
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    CALCULATES,
    block_key,
    directly_after,
    drops,
    evidence_at,
    grouped,
    is_number,
    layer_key,
    layer_name,
)


class _Accused(Struct, frozen=True):
    """A BatchNorm, the layer with weights before it, and the dropout before that."""

    graph: LayerGraph
    norm: Node
    layer: Node
    dropout: Node


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each class or factory."""
    is_live = pictures.measured.is_live
    accused = [
        found
        for graph in pictures.graphs
        for norm in graph.of_kind(Kind.BATCHNORM)
        if (found := _accuse(graph, norm)) is not None
    ]
    by_layer = grouped(accused, lambda a: layer_key(a.graph, a.norm, is_live=is_live))
    layers = [same_layer[0] for same_layer in by_layer.values()]
    for block in grouped(layers, lambda a: block_key(a.graph, a.norm)).values():
        yield _finding(block, pictures)


def _accuse(graph: LayerGraph, norm: Node) -> _Accused | None:
    if not directly_after(graph, norm, *CALCULATES):
        return None
    layers = graph.producers(norm)
    dropouts = [dropout for layer in layers for dropout in graph.producers(layer)]
    is_behind = all(directly_after(graph, layer, Kind.DROPOUT) for layer in layers)
    if not is_behind or not all(drops(dropout) for dropout in dropouts):
        return None
    return _Accused(graph, norm, layers[0], dropouts[0])


def _finding(block: list[_Accused], pictures: Pictures) -> Finding:
    first, *others = block
    rate = first.dropout.params.get("p")
    shown = f"(p={rate:g})" if is_number(rate) else ""
    more = f" ({len(others)} more in the same class)" if others else ""
    binding = f" ({first.graph.binding})" if first.graph.binding else ""
    measured = pictures.measured.layers.get(first.norm.id, {})
    evidence = [
        *evidence_at(first.layer.place, f"{layer_name(first.layer)} feeds the BatchNorm"),
        *evidence_at(
            first.dropout.place, f"{layer_name(first.dropout)}{shown} feeds it", Role.CAUSE
        ),
        *(
            step
            for other in others
            for step in evidence_at(
                other.norm.place,
                f"{layer_name(other.norm)} has dropout upstream, too",
                Role.INSTANCE,
            )
        ),
    ]
    return RULE.finding(
        f"{layer_name(first.norm)} normalises what {first.layer.short_name} makes of the output of "
        f"{first.dropout.short_name}{shown}{binding}{more}: the variance that it learns in "
        f"training is larger than that of evaluation{_shift(measured)}",
        first.norm.place,
        evidence,
        module=first.norm.path or None,
        measurement={**measured, "layers": [a.norm.path for a in block]} if measured else None,
    )


def _shift(measured: Measurement) -> str:
    ratio = measured.get("variance_ratio")
    predicted = measured.get("variance_ratio_predicted")
    if not isinstance(ratio, float):
        return ""
    expected = f", {predicted:.2f} predicted" if isinstance(predicted, float) else ""
    return f" ({ratio:.2f} times{expected})"


RULE = Rule(
    code="BNL204",
    name="dropout-upstream-of-batchnorm",
    severity=Severity.NOTE,
    summary="Dropout feeds a Linear or Conv whose output a BatchNorm normalises.",
    what="""\
The input of a BatchNorm is, on every path, the output of a Linear or Conv, and that layer's input
is the output of a dropout whose rate is known to be above zero. Dropout directly before BatchNorm
is BNL202.

The live check measures the variance of the BatchNorm's input with all dropout on over that with
dropout off, beside the value that the formula below predicts for the nearest dropout alone.""",
    why="""\
The variance shift of BNL202 goes through the weights. With q the share that dropout keeps, w the
weights of one output and x its inputs, dropout adds (1/q - 1) sum w^2 E[x^2] to the variance V of
that output, since every element is drawn by itself. BatchNorm learns V plus that in training and
divides by it in evaluation, where it is V. For inputs that vary independently the ratio is that
of BNL202; inputs that vary together, as trained features do, make V larger and bring the ratio
nearer to 1. So measure it with `bnlint check` before you change anything. Li et al. advise to use
dropout only behind the last BatchNorm of a network.""",
    fine_when="""\
- The rate is small: at p = 0.1 dropout adds about a tenth to the variance.
- The live check measures a ratio near 1, as it often is behind many features that vary together.
- The order is published with trained weights, as in HardNet and PointNet++.
- The running statistics are re-estimated with dropout off.""",
    references=(
        "Li et al. 2019, Understanding the Disharmony between Dropout and Batch Normalization by "
        "Variance Shift, section 3 <https://arxiv.org/abs/1801.05134>",
        "PyTorch documentation, torch.nn.Dropout "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

head = nn.Sequential(
    nn.Dropout(0.5),
    nn.Linear(512, 128, bias=False),
    nn.BatchNorm1d(128),  # expect: BNL204
    nn.ReLU(),
)
""",
            "Through one Linear layer",
        ),
        Example(
            """\
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.lin1 = nn.Linear(32, width)
        self.lin2 = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)  # expect: BNL204

    def forward(self, x):
        x = F.dropout(F.relu(self.lin1(x)), p=0.5, training=self.training)
        return F.relu(self.norm(self.lin2(x)))
""",
            "The functional form",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn

head = nn.Sequential(
    nn.Linear(512, 128, bias=False),
    nn.BatchNorm1d(128),
    nn.ReLU(),
    nn.Dropout(0.5),
    nn.Linear(128, 10),
)
""",
            "Dropout behind the last BatchNorm",
        ),
        Example(
            """\
from torch import nn


class Block(nn.Module):
    def __init__(self, width=64, rate=0.0):
        super().__init__()
        self.drop = nn.Dropout(rate)
        self.conv = nn.Conv2d(width, width, 3, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x):
        return self.bn(self.conv(self.drop(x)))
""",
            "Nearly wrong: the dropout is off",
        ),
    ),
    check=check,
    default=False,
    live=True,
)
