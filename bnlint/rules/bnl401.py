"""BNL401: a momentum in the convention of Keras or Darknet."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from bnlint.finding import Finding, Fix, ReplaceArgument, Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import and_more, grouped, is_number, layer_key, layer_name

DELIBERATE = 0.5
"""Up to here a momentum is taken as meant: half old, half new is the last that is common."""


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each constructor."""
    accused = [
        (graph, norm)
        for graph in pictures.graphs
        for norm in graph.of_kind(Kind.BATCHNORM)
        if is_keras_momentum(norm)
    ]
    for same_layer in grouped(accused, lambda a: layer_key(*a)).values():
        yield _finding(same_layer)


def is_keras_momentum(norm: Node) -> bool:
    """Whether a BatchNorm that tracks running statistics weighs the new batch above a half."""
    momentum = norm.params.get("momentum")
    if not is_number(momentum) or momentum <= DELIBERATE:
        return False
    if norm.params.get("track_running_stats", True) is not True:
        return False
    if ".functional." not in norm.name and norm.short_name != "batch_norm":
        return True
    # Few-shot code calls the function with momentum=1 or without statistics on purpose.
    return momentum < 1 and norm.params.get("running_mean") is not None


def _finding(same_layer: list[tuple[LayerGraph, Node]]) -> Finding:
    graph, norm = same_layer[0]
    momentum = norm.params["momentum"]
    binding = f" ({graph.binding})" if graph.binding else ""
    weight = f"{momentum:.10g}" if is_number(momentum) else str(momentum)
    meant = _complement(momentum) if is_number(momentum) else None
    advice = f"write momentum={meant}" if meant else "use PyTorch's default 0.1"
    return RULE.finding(
        f"{layer_name(norm)}{and_more(same_layer)} has momentum={weight}{binding}: in PyTorch that "
        "is the weight of the new batch, so the running statistics are little more than those of "
        f"the last batch; {advice}",
        norm.place,
        fix=_fix(norm, meant),
        module=norm.path or None,
    )


def _complement(momentum: float) -> str | None:
    """1 - momentum as the shortest decimal; None where nothing would be left."""
    left = Decimal(1) - Decimal(repr(momentum))
    return f"{left.normalize():f}" if left > 0 else None


def _fix(norm: Node, meant: str | None) -> Fix | None:
    if norm.place is None or meant is None:
        return None
    text = f"momentum={meant}"
    return Fix(f"write {text}", (ReplaceArgument(norm.place, "momentum", text),))


RULE = Rule(
    code="BNL401",
    name="keras-momentum",
    severity=Severity.ERROR,
    summary="BatchNorm's momentum is above 0.5: probably 1 - momentum was meant.",
    what="""\
The `momentum` of a torch BatchNorm (a class or `F.batch_norm`) is known to be above 0.5, also
when it comes from a constant, a parameter's default or an argument of the model. `1 - 0.99` is
computed first and is right; exactly 0.5 counts as deliberate. Layers that keep no running
statistics, and BatchNorm of Keras, gluon, mlx, flax or paddle in the same file, are not
reported.""",
    why="""\
PyTorch updates `running = (1 - momentum) * running + momentum * batch`. Keras, TensorFlow and
Darknet give the same name to the weight of the *old* value. Their 0.99 makes PyTorch's running
statistics 99 % the last batch: evaluation then normalises with one noisy batch, and accuracy in
evaluation jumps from epoch to epoch while the training loss looks normal. torchvision's MaxViT
had exactly this (0.99 for 0.01), as had PyTorch-YOLOv3, Ludwig, FastEstimator and a Tacotron
port.""",
    fine_when="""\
- The statistics are to be those of the last batch: adaptation at test time, or a layer that is
  re-estimated on one large batch. `momentum=None` (a plain average) usually says that better.
- The layer is only ever used in training mode.""",
    references=(
        "PyTorch documentation, torch.nn.BatchNorm2d (note on momentum) "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html>",
        "Keras documentation, BatchNormalization "
        "<https://keras.io/api/layers/normalization_layers/batch_normalization/>",
        "torchvision, pull request 8312: momentum of MaxViT from 0.99 to 0.01 "
        "<https://github.com/pytorch/vision/pull/8312>",
        "deeplab-pytorch, issue 79: momentum=0.999 should be 0.001 "
        "<https://github.com/kazuto1011/deeplab-pytorch/issues/79>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

block = nn.Sequential(
    nn.Conv2d(3, 32, 3, bias=False),
    nn.BatchNorm2d(32, momentum=0.99),  # expect: BNL401
    nn.ReLU(),
)
""",
            "The Keras default, ported literally",
        ),
        Example(
            """\
from torch import nn

BN_DECAY = 0.9997


class ConvBlock(nn.Module):
    def __init__(self, c_in, c_out, momentum=BN_DECAY):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=1e-3, momentum=momentum)  # expect: BNL401

    def forward(self, x):
        return self.bn(self.conv(x)).relu()
""",
            "Through a constant and a default",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn

block = nn.Sequential(
    nn.Conv2d(3, 32, 3, bias=False),
    nn.BatchNorm2d(32, momentum=0.01),
    nn.ReLU(),
)
""",
            "The Keras default 0.99 in PyTorch's convention",
        ),
        Example(
            """\
from torch import nn

KERAS_MOMENTUM = 0.99

norm = nn.BatchNorm2d(32, momentum=1 - KERAS_MOMENTUM)
slow = nn.BatchNorm2d(32, momentum=0.5)
average = nn.BatchNorm2d(32, momentum=None)
""",
            "Nearly wrong: the conversion is written out, 0.5 is meant, None is the plain average",
        ),
    ),
    check=check,
    live=True,
    fix_safety="Unsafe: the running statistics of a training run change (for the better, when the "
    "momentum was meant in the convention of Keras).",
)
