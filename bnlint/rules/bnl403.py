"""BNL403: a momentum of zero, with which the running statistics never move."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    and_more,
    grouped,
    is_functional,
    is_number,
    layer_key,
    layer_name,
)


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each constructor."""
    accused = [
        (graph, norm)
        for graph in pictures.graphs
        for norm in graph.of_kind(Kind.BATCHNORM)
        if never_moves(norm)
    ]
    for same_layer in grouped(accused, lambda a: layer_key(*a)).values():
        yield _finding(same_layer)


def never_moves(norm: Node) -> bool:
    """Whether a BatchNorm layer keeps running statistics and gives a new batch no weight."""
    momentum = norm.params.get("momentum")
    return (
        is_number(momentum)
        and momentum == 0
        and norm.params.get("track_running_stats", True) is True
        and not is_functional(norm)
    )


def _finding(same_layer: list[tuple[LayerGraph, Node]]) -> Finding:
    graph, norm = same_layer[0]
    binding = f" ({graph.binding})" if graph.binding else ""
    return RULE.finding(
        f"{layer_name(norm)}{and_more(same_layer)} has momentum=0{binding}: its running statistics "
        "stay as they were built or loaded, whatever it is trained on; for a plain average over "
        "all batches write momentum=None",
        norm.place,
        module=norm.path or None,
    )


RULE = Rule(
    code="BNL403",
    name="momentum-zero",
    severity=Severity.NOTE,
    summary="BatchNorm's momentum is 0: its running statistics never change.",
    what="""\
The `momentum` of a torch BatchNorm layer that keeps running statistics is known to be exactly 0.
`momentum=None`, `track_running_stats=False` and the function `F.batch_norm` (whose momentum
matters only where it updates anything) are not reported.""",
    why="""\
PyTorch updates `running = (1 - momentum) * running + momentum * batch`, so with 0 nothing is ever
learnt: a layer that was built normalises with mean 0 and variance 1 in evaluation, and so does
nothing but scale and shift, while it normalises with the batch in training. Sometimes 0 is meant
as "no smoothing", which in PyTorch is 1, or as "average over everything", which is None; Keras,
where momentum is the weight of the old value, gives 0 the meaning of PyTorch's 1.""",
    fine_when="""\
- Loaded statistics are to be kept while scale and shift are trained. `layer.eval()` says that
  better: it also normalises with them in training.
- The update is switched on and off by setting `momentum` later, as in recalibration.""",
    references=(
        "PyTorch documentation, torch.nn.BatchNorm2d (note on momentum) "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html>",
        "Keras documentation, BatchNormalization "
        "<https://keras.io/api/layers/normalization_layers/batch_normalization/>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

block = nn.Sequential(
    nn.Conv2d(3, 32, 3, bias=False),
    nn.BatchNorm2d(32, momentum=0.0),  # expect: BNL403
    nn.ReLU(),
)
""",
            "Nothing is ever learnt",
        ),
        Example(
            """\
from torch import nn


class Block(nn.Module):
    def __init__(self, c_in, c_out, bn_momentum=0):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, bias=False)
        self.bn = nn.BatchNorm2d(c_out, momentum=bn_momentum)  # expect: BNL403

    def forward(self, x):
        return self.bn(self.conv(x)).relu()
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
    nn.BatchNorm2d(32, momentum=None),
    nn.ReLU(),
)
""",
            "The plain average over all batches",
        ),
        Example(
            """\
from torch import nn

block = nn.Sequential(
    nn.Conv2d(3, 32, 3, bias=False),
    nn.BatchNorm2d(32, momentum=0.0, track_running_stats=False),
    nn.ReLU(),
)
""",
            "Nearly wrong: there are no running statistics that could move",
        ),
    ),
    check=check,
    default=False,
    live=True,
)
