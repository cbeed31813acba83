"""BNL402: an eps that is no epsilon."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from bnlint.finding import Finding, Fix, Intent, RemoveArgument, ReplaceArgument, Severity
from bnlint.graph import UNKNOWN, Kind, LayerGraph, Node
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import and_more, grouped, is_number, layer_key, layer_name
from bnlint.torchnames import EXTRA_BATCHNORM

LARGEST = 0.1
"""From here on an eps is no guard against division by zero: 1e-3 is usual in TensorFlow ports."""

DEFAULT_MOMENTUM = 0.1

REFUSED = "with which PyTorch refuses to train: it must be positive"

_FUNCTIONS = "torch.nn.functional."


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each constructor."""
    accused = [
        (graph, norm)
        for graph in pictures.graphs
        for norm in graph.of_kind(Kind.BATCHNORM)
        if misuse(norm) is not None
    ]
    for same_layer in grouped(accused, lambda a: layer_key(*a)).values():
        yield _finding(same_layer)


def misuse(norm: Node) -> str | None:
    """What is wrong with a BatchNorm's eps, as a clause; None when nothing is known to be."""
    eps = norm.params.get("eps", UNKNOWN)
    if eps is UNKNOWN:
        return None
    if not is_number(eps):
        return "which is no number"
    if eps < 0 or (eps == 0 and _trains(norm)):
        return REFUSED
    if eps < LARGEST:
        return None
    if eps == norm.params.get("num_features"):
        return "the number of features"
    return "which flattens every channel whose variance is not far above it"


def _trains(norm: Node) -> bool:
    """Whether the layer begins in training mode, as torch's own classes do: others, and functions,
    may be meant for evaluation alone, where an eps of 0 divides by the running variance."""
    is_own = not norm.name.startswith((_FUNCTIONS, EXTRA_BATCHNORM))
    return is_own and norm.name.startswith("torch.nn.")


def _finding(same_layer: list[tuple[LayerGraph, Node]]) -> Finding:
    graph, norm = same_layer[0]
    eps = norm.params["eps"]
    shown = f"{eps:g}" if is_number(eps) else repr(eps)
    binding = f" ({graph.binding})" if graph.binding else ""
    fix = _fix(norm)
    advice = fix.message if fix is not None else "leave eps at its default, 1e-5"
    what = misuse(norm)
    said = "" if what == REFUSED else ": the second argument of BatchNorm is eps, not momentum"
    return RULE.finding(
        f"{layer_name(norm)}{and_more(same_layer)} has eps={shown}{binding}, {what}{said}; "
        f"{advice}",
        norm.place,
        fix=fix,
        module=norm.path or None,
    )


def _fix(norm: Node) -> Fix | None:
    """The momentum that was probably meant, else the default eps."""
    eps = norm.params["eps"]
    if norm.place is None:
        return None
    if is_number(eps) and 0.5 < eps < 1 and norm.params.get("momentum") == DEFAULT_MOMENTUM:
        text = f"momentum={(Decimal(1) - Decimal(repr(eps))).normalize():f}"
        intent: Intent = ReplaceArgument(norm.place, "eps", text)
        return Fix(f"write {text}", (intent,))
    if is_number(eps) and norm.params.get("momentum") == DEFAULT_MOMENTUM:
        return Fix("remove the argument", (RemoveArgument(norm.place, "eps"),))
    return None


RULE = Rule(
    code="BNL402",
    name="eps-misuse",
    severity=Severity.ERROR,
    summary="BatchNorm's eps is 0.1 or more, not positive, or no number.",
    what="""\
The `eps` of a torch BatchNorm is known to be at least 0.1, or the number of features once more,
or not a number, or 0 or less. Most often it stands in the second position: `BatchNorm2d(64, 0.8)`.
An eps of 1e-3, which TensorFlow ports use, is not reported, nor is one that is not known.""",
    why="""\
The signature is `BatchNorm2d(num_features, eps=1e-05, momentum=0.1, ...)`; in Keras-like code
the second position is read as momentum. BatchNorm divides by sqrt(variance + eps), so a channel
of variance v leaves with variance v / (v + eps) instead of 1: with eps = 0.8 a channel of
variance 0.1 keeps a standard deviation of 0.33, one of 0.01 keeps 0.11. Quiet channels are
flattened, training and evaluation alike, and nothing fails. With an eps of 0 or less PyTorch
raises in training mode ("batch_norm eps must be positive during training"), with a negative one in
evaluation mode, too. PyTorch-GAN carries the 0.8 of its
Keras original as eps in dozens of places, and `BatchNorm2d(n5x5, n5x5)` stood in the GoogLeNet
of pytorch-cifar100.""",
    fine_when="""\
- Weights were trained with this eps: then it belongs to the model. Pass it by name, `eps=0.8`, and
  suppress the finding with that reason.
- A deliberately soft normalisation.
- An eps of 0 in a layer that never trains, as in weights that were converted for inference.""",
    references=(
        "PyTorch documentation, torch.nn.BatchNorm2d "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html>",
        "PyTorch-GAN, issue 116: batchnorm2d layers have eps=0.8 "
        "<https://github.com/eriklindernoren/PyTorch-GAN/issues/116>",
        "pytorch-cifar100, pull request 57: the number of features passed as eps "
        "<https://github.com/weiaicunzai/pytorch-cifar100/pull/57>",
        "Ioffe and Szegedy 2015, Batch Normalization, algorithm 1 "
        "<https://arxiv.org/abs/1502.03167>",
    ),
    wrong=(
        Example(
            """\
from torch import nn

generator = nn.Sequential(
    nn.Conv2d(128, 64, 3, padding=1),
    nn.BatchNorm2d(64, 0.8),  # expect: BNL402
    nn.LeakyReLU(0.2),
)
""",
            "A Keras momentum in the place of eps",
        ),
        Example(
            """\
from torch import nn


class Reduce(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(192, 32, 1)
        self.bn = nn.BatchNorm2d(32, 32)  # expect: BNL402

    def forward(self, x):
        return self.bn(self.conv(x)).relu()
""",
            "The number of channels given twice, as for a convolution",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn

generator = nn.Sequential(
    nn.Conv2d(128, 64, 3, padding=1),
    nn.BatchNorm2d(64, momentum=0.2),
    nn.LeakyReLU(0.2),
)
""",
            "What the Keras code meant",
        ),
        Example(
            """\
from torch import nn

block = nn.Sequential(
    nn.Conv2d(3, 32, 3, bias=False),
    nn.BatchNorm2d(32, 1e-3, 0.01),
    nn.ReLU6(),
)
""",
            "Nearly wrong: eps and momentum of a TensorFlow model, both converted",
        ),
    ),
    check=check,
    live=True,
    fix_safety="Unsafe: the function that the network calculates changes; weights that were "
    "trained with the old eps no longer fit.",
)
