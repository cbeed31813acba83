"""BNL404: BatchNorm without running statistics."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import and_more, grouped, is_functional, layer_key, layer_name


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each constructor."""
    accused = [
        (graph, norm)
        for graph in pictures.graphs
        for norm in graph.of_kind(Kind.BATCHNORM)
        if norm.params.get("track_running_stats") is False and not is_functional(norm)
    ]
    for same_layer in grouped(accused, lambda a: layer_key(*a)).values():
        yield _finding(same_layer)


def _finding(same_layer: list[tuple[LayerGraph, Node]]) -> Finding:
    graph, norm = same_layer[0]
    binding = f" ({graph.binding})" if graph.binding else ""
    return RULE.finding(
        f"{layer_name(norm)}{and_more(same_layer)} keeps no running statistics{binding}: it "
        "normalises with the batch in evaluation, too, so a sample's output depends on what else "
        "is in its batch",
        norm.place,
        module=norm.path or None,
    )


RULE = Rule(
    code="BNL404",
    name="no-running-stats",
    severity=Severity.NOTE,
    summary="BatchNorm is built with track_running_stats=False: evaluation uses the batch.",
    what="""\
A torch BatchNorm layer is built with `track_running_stats=False`, written out or through a
default or argument. InstanceNorm, whose default it is, and the function `F.batch_norm` without
running statistics are not reported.""",
    why="""\
Without running statistics `eval()` changes nothing: the layer goes on normalising with the mean and
variance of the current batch. The prediction for a sample then depends on the other samples of
its batch and on the batch size, one sample alone of shape (1, C) is normalised to the shift (in
training mode PyTorch raises instead), and an exported model keeps that behaviour. It is a common
first answer to "my model is bad in evaluation mode", and hides the cause: a small batch, a wrong
momentum, shared layers or other data.""",
    fine_when="""\
- The batch is the domain: adaptation at test time, style transfer, meta-learning, where every
  batch is one task.
- All that is ever normalised is a fixed large batch, for example all nodes of one graph.""",
    references=(
        "PyTorch documentation, torch.nn.BatchNorm2d (track_running_stats) "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html>",
        "Ioffe and Szegedy 2015, Batch Normalization, section 3.1 (inference with population "
        "statistics) <https://arxiv.org/abs/1502.03167>",
        "Schneider et al. 2020, Improving robustness against common corruptions by covariate "
        "shift adaptation <https://arxiv.org/abs/2006.16971>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

block = nn.Sequential(
    nn.Conv2d(3, 32, 3, bias=False),
    nn.BatchNorm2d(32, track_running_stats=False),  # expect: BNL404
    nn.ReLU(),
)
""",
            "eval() changes nothing",
        ),
        Example(
            """\
from torch import nn


class Head(nn.Module):
    def __init__(self, width=128, track=False):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.bn = nn.BatchNorm1d(width, track_running_stats=track)  # expect: BNL404

    def forward(self, x):
        return self.bn(self.fc(x)).relu()
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
            "Running statistics for evaluation",
        ),
        Example(
            """\
from torch import nn

block = nn.Sequential(
    nn.Conv2d(3, 32, 3),
    nn.InstanceNorm2d(32, track_running_stats=False),
    nn.ReLU(),
)
""",
            "Nearly wrong: InstanceNorm looks at one sample alone",
        ),
    ),
    check=check,
    default=False,
    live=True,
)
