"""BNL203: BatchNorm directly before Dropout."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Role, Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    block_key,
    directly_before,
    drops,
    evidence_at,
    grouped,
    layer_key,
    layer_name,
)


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each class or factory."""
    found = [
        (graph, norm)
        for graph in pictures.graphs
        for norm in graph.of_kind(Kind.BATCHNORM)
        if directly_before(graph, norm, Kind.DROPOUT)
        and all(drops(dropout) for dropout in graph.consumers(norm))
    ]
    is_live = pictures.measured.is_live
    by_layer = grouped(found, lambda a: layer_key(*a, is_live=is_live))
    layers = [same_layer[0] for same_layer in by_layer.values()]
    for block in grouped(layers, lambda a: block_key(*a)).values():
        yield _finding(block)


def _finding(block: list[tuple[LayerGraph, Node]]) -> Finding:
    (graph, norm), *others = block
    dropout = graph.consumers(norm)[0]
    more = f" ({len(others)} more in the same class)" if others else ""
    evidence = [
        *evidence_at(dropout.place, f"{layer_name(dropout)} drops its output", Role.CAUSE),
        *(
            step
            for _, other in others
            for step in evidence_at(
                other.place, f"{layer_name(other)} feeds dropout, too", Role.INSTANCE
            )
        ),
    ]
    return RULE.finding(
        f"{layer_name(norm)} feeds {dropout.short_name} with no activation between{more}; this is "
        "harmless by itself, but check that no BatchNorm follows the dropout",
        norm.place,
        evidence,
        module=norm.path or None,
    )


RULE = Rule(
    code="BNL203",
    name="batchnorm-before-dropout",
    severity=Severity.NOTE,
    summary="A BatchNorm's output goes straight into Dropout.",
    what="""\
Everything that reads the output of a BatchNorm is a dropout layer, or `F.dropout`, whose rate is
known to be above zero. A BatchNorm whose output also goes elsewhere is not reported.""",
    why="""\
This is a note, not a mistake: in a field study of 12 libraries and about 130 projects no place
was found where this order did harm. The variance shift of dropout (BNL202) acts on what comes
after the dropout, and here no BatchNorm has seen dropped values yet.

Two things are worth a look. An activation may have been forgotten between the two. And the next
BatchNorm behind the dropout, even behind a further Linear or Conv, collects the inflated
variance of training: Li et al. advise to apply dropout only behind the last BatchNorm of a
network.""",
    fine_when="""\
- Nearly always: before a classifier's last Linear, or in a residual branch, it is a usual order.
- An activation follows the dropout: ReLU and dropout can change places without any effect.""",
    references=(
        "Li et al. 2019, Understanding the Disharmony between Dropout and Batch Normalization by "
        "Variance Shift, section 5.1 <https://arxiv.org/abs/1801.05134>",
        "PyTorch documentation, torch.nn.Dropout "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

head = nn.Sequential(
    nn.Linear(512, 128),
    nn.BatchNorm1d(128),  # expect: BNL203
    nn.Dropout(0.5),
    nn.Linear(128, 10),
)
""",
            "Was an activation forgotten?",
        ),
        Example(
            """\
import torch.nn.functional as F
from torch import nn


class Embedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2048, 256)
        self.bn = nn.BatchNorm1d(256)  # expect: BNL203

    def forward(self, x):
        x = self.bn(self.fc(x))
        return F.dropout(x, 0.2, self.training)
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
            "An activation between them",
        ),
        Example(
            """\
import torch
from torch import nn


class TwoReaders(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(512, 128)
        self.bn = nn.BatchNorm1d(128)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(256, 10)

    def forward(self, x):
        x = self.bn(self.fc(x))
        return self.out(torch.cat([x, self.drop(x)], dim=1))
""",
            "Nearly wrong: the output is also read elsewhere",
        ),
    ),
    check=check,
    live=True,
)
