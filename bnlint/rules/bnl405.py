"""BNL405: BatchNorm without scale and shift directly before an activation."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Role, Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    block_key,
    directly_before,
    evidence_at,
    grouped,
    is_functional,
    layer_key,
    layer_name,
)


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each class or factory."""
    accused = [
        (graph, norm)
        for graph in pictures.graphs
        for norm in graph.of_kind(Kind.BATCHNORM)
        if norm.params.get("affine") is False
        and not is_functional(norm)
        and directly_before(graph, norm, Kind.ACTIVATION)
    ]
    is_live = pictures.measured.is_live
    by_layer = grouped(accused, lambda a: layer_key(*a, is_live=is_live)).values()
    layers = [same_layer[0] for same_layer in by_layer]
    for block in grouped(layers, lambda a: block_key(*a)).values():
        yield _finding(block)


def _finding(block: list[tuple[LayerGraph, Node]]) -> Finding:
    (graph, norm), *others = block
    activation = graph.consumers(norm)[0]
    more = f" ({len(others)} more in the same class)" if others else ""
    instances = [
        step
        for _, other in others
        for step in evidence_at(other.place, f"{layer_name(other)} has none, too", Role.INSTANCE)
    ]
    binding = f" ({graph.binding})" if graph.binding else ""
    return RULE.finding(
        f"{layer_name(norm)} has no scale and shift{binding}{more}, and "
        f"{layer_name(activation)} follows: every channel meets the activation with mean 0 and "
        "variance 1, and no parameter can change that",
        norm.place,
        [*evidence_at(activation.place, f"{layer_name(activation)} follows it"), *instances],
        module=norm.path or None,
    )


RULE = Rule(
    code="BNL405",
    name="no-affine",
    severity=Severity.NOTE,
    summary="BatchNorm with affine=False directly feeds an activation.",
    what="""\
A torch BatchNorm layer is built with `affine=False`, and all that reads its output is an
activation. Where a convolution, a linear layer or the end of the network follows, the scale and
shift would be redundant or unwanted, and nothing is reported.""",
    why="""\
BatchNorm takes scale and offset away from the layer before it, its bias included, and gives them
back as two learned numbers per channel, "to make sure that the transformation inserted in the
network can represent the identity transform" (Ioffe and Szegedy). Without them every channel
reaches the activation with mean 0 and variance 1: a ReLU passes about half of the values of each
channel, whatever training does, and a channel cannot be made mostly linear or mostly silent.""",
    fine_when="""\
- The design is published so, and released weights have no such parameters: HardNet and SOSNet
  descriptors, GeM-like embedding heads.
- Scale and shift come from elsewhere: conditional BatchNorm, where a class or a style decides them
  and a multiplication follows directly (not reported, since no activation follows).""",
    references=(
        "Ioffe and Szegedy 2015, Batch Normalization, section 3 <https://arxiv.org/abs/1502.03167>",
        "PyTorch documentation, torch.nn.BatchNorm2d (affine) "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html>",
        "Mishchuk et al. 2017, Working hard to know your neighbor's margins (HardNet) "
        "<https://arxiv.org/abs/1705.10872>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

block = nn.Sequential(
    nn.Conv2d(3, 32, 3, bias=False),
    nn.BatchNorm2d(32, affine=False),  # expect: BNL405
    nn.ReLU(),
)
""",
            "Half of every channel is cut off, for good",
        ),
        Example(
            """\
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, c_in, c_out, affine=False):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, bias=False)
        self.bn = nn.BatchNorm2d(c_out, affine=affine)  # expect: BNL405

    def forward(self, x):
        return F.leaky_relu(self.bn(self.conv(x)))
""",
            "Through a default",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn

block = nn.Sequential(
    nn.Conv2d(3, 32, 3, bias=False),
    nn.BatchNorm2d(32),
    nn.ReLU(),
)
""",
            "Scale and shift are learned",
        ),
        Example(
            """\
from torch import nn


class Projector(nn.Module):
    def __init__(self, width=2048):
        super().__init__()
        self.fc = nn.Linear(width, width, bias=False)
        self.bn = nn.BatchNorm1d(width, affine=False)

    def forward(self, x):
        return self.bn(self.fc(x))
""",
            "Nearly wrong: an embedding is normalised, no activation follows",
        ),
    ),
    check=check,
    default=False,
    live=True,
)
