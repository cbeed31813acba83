"""BNL202: Dropout directly before BatchNorm."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Measurement, Role, Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    block_key,
    directly_after,
    drops,
    evidence_at,
    grouped,
    is_number,
    layer_key,
    layer_name,
)


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each class or factory."""
    accused = [
        (graph, norm)
        for graph in pictures.graphs
        for norm in graph.of_kind(Kind.BATCHNORM)
        if directly_after(graph, norm, Kind.DROPOUT)
        and all(drops(dropout) for dropout in graph.producers(norm))
    ]
    is_live = pictures.measured.is_live
    by_layer = grouped(accused, lambda a: layer_key(*a, is_live=is_live))
    layers = [same_layer[0] for same_layer in by_layer.values()]
    for block in grouped(layers, lambda a: block_key(*a)).values():
        yield _finding(block, pictures)


def _finding(block: list[tuple[LayerGraph, Node]], pictures: Pictures) -> Finding:
    (graph, norm), *others = block
    dropout = graph.producers(norm)[0]
    rate = dropout.params.get("p")
    shown = f"(p={rate:g})" if is_number(rate) else ""
    more = f" ({len(others)} more in the same class)" if others else ""
    binding = f" ({graph.binding})" if graph.binding else ""
    measured = pictures.measured.layers.get(norm.id, {})
    evidence = [
        *evidence_at(dropout.place, f"{layer_name(dropout)}{shown} drops its input", Role.CAUSE),
        *(
            step
            for _, other in others
            for step in evidence_at(
                other.place, f"{layer_name(other)} is fed by dropout, too", Role.INSTANCE
            )
        ),
    ]
    return RULE.finding(
        f"{layer_name(norm)} is fed by {dropout.short_name}{shown}{binding}{more}, so it learns a "
        f"variance that evaluation does not have{_shift(measured)}; move the dropout behind the "
        "last BatchNorm, or after this layer's activation",
        norm.place,
        evidence,
        module=norm.path or None,
        measurement={**measured, "layers": [other.path for _, other in block]}
        if measured
        else None,
    )


def _shift(measured: Measurement) -> str:
    ratio = measured.get("variance_ratio")
    predicted = measured.get("variance_ratio_predicted")
    if not isinstance(ratio, float):
        return ""
    expected = f", {predicted:.2f} predicted" if isinstance(predicted, float) else ""
    return f" (training has {ratio:.2f} times the variance of evaluation{expected})"


RULE = Rule(
    code="BNL202",
    name="dropout-before-batchnorm",
    severity=Severity.WARNING,
    summary="Dropout with a rate above zero directly feeds a BatchNorm.",
    what="""\
The input of a BatchNorm is, on every path through the forward, the output of a dropout layer or
of `F.dropout` whose rate is known to be above zero. Reshapes and permutations between the two do
not matter. A rate that is not known, a rate of 0, `training=False` and alpha dropout are not
reported.

The live check measures the shift: the variance of the BatchNorm's input with dropout on over
that with dropout off, beside the value that the closed form below predicts.""",
    why="""\
Dropout scales what it keeps by 1 / q (q = 1 - p, the share kept), so the mean stays and the
variance does not: an input with mean c and variance v leaves with (c^2 + v) / q - c^2. BatchNorm
collects that inflated variance in `running_var` and divides by it in evaluation, where dropout is
off. The ratio is ((c^2 + v) / q - c^2) / v: at p = 0.5 training has 2.0 times the variance of
evaluation for a standard normal input, and 2.5 times after a ReLU. Measured on a real BatchNorm
the formula was right to 0.002 in 12 of 12 cases. Li et al. call this the variance shift and trace
accuracy losses of DenseNet, ResNet, ResNeXt and Wide ResNet to it.""",
    fine_when="""\
- The rate is really 0 wherever the model is used and the layer is only there as an option; a rate
  that bnlint can fold to 0 is not reported.
- The running statistics are re-estimated with dropout off before evaluation
  (`torch.optim.swa_utils.update_bn` on a model whose dropout layers are in evaluation mode).
- The model is only ever used in training mode, e.g. for Monte Carlo dropout.""",
    references=(
        "Li et al. 2019, Understanding the Disharmony between Dropout and Batch Normalization by "
        "Variance Shift <https://arxiv.org/abs/1801.05134>",
        "Ioffe and Szegedy 2015, Batch Normalization <https://arxiv.org/abs/1502.03167>",
        "PyTorch documentation, torch.nn.Dropout "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

head = nn.Sequential(
    nn.Linear(512, 128),
    nn.Dropout(0.5),
    nn.BatchNorm1d(128),  # expect: BNL202
    nn.ReLU(),
    nn.Linear(128, 10),
)
""",
            "Dropout between the layer and its BatchNorm",
        ),
        Example(
            """\
import torch.nn.functional as F
from torch import nn


class Head(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.hidden = nn.Linear(512, 128)
        self.bn = nn.BatchNorm1d(128)  # expect: BNL202
        self.out = nn.Linear(128, classes)

    def forward(self, x):
        x = F.dropout(self.hidden(x), p=0.3, training=self.training)
        return self.out(F.relu(self.bn(x)))
""",
            "The functional form",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn

head = nn.Sequential(
    nn.Linear(512, 128),
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
    def __init__(self, width, drop=0.0):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.drop = nn.Dropout2d(drop)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x):
        return self.bn(self.drop(self.conv(x))).relu()


network = Block(64)
""",
            "Nearly wrong: the rate is 0, so nothing is dropped",
        ),
        Example(
            """\
from torch import nn

network = nn.Sequential(
    nn.Linear(64, 64),
    nn.SELU(),
    nn.AlphaDropout(0.1),
    nn.BatchNorm1d(64),
    nn.Linear(64, 2),
)
""",
            "Nearly wrong: alpha dropout keeps mean and variance",
        ),
    ),
    check=check,
    live=True,
)
