"""BNL603: the conversion to SyncBatchNorm has dropped a fused activation."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Role, Severity
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import CALCULATES, evidence_at, layer_name, listed

SYNCHRONISED = "torch.nn.SyncBatchNorm"

LINEAR = frozenset(
    {
        *CALCULATES,
        Kind.BATCHNORM,
        Kind.POOL,
        Kind.UPSAMPLE,
        Kind.DROPOUT,
        Kind.ADD,
        Kind.CONCAT,
        Kind.RESHAPE,
        Kind.SLICE,
        Kind.SPLIT,
        Kind.IDENTITY,
        Kind.INPUT,
        Kind.OUTPUT,
    }
)
"""Kinds between which no activation can hide."""


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each model: for the layers whose constructor is known, else for the whole."""
    for graph in pictures.graphs:
        norms = [node for node in graph.of_kind(Kind.BATCHNORM) if node.name == SYNCHRONISED]
        replaced = [(node, cls) for node in norms if (cls := _replaced(pictures, node))]
        if replaced:
            yield _replacement(replaced, pictures)
        elif _lost_all_activations(graph, norms):
            yield _without_activation(graph, norms[0])


def _replaced(pictures: Pictures, node: Node) -> str:
    """The class that stood at a layer's place before the conversion, "" when nobody knows."""
    return str(pictures.measured.layers.get(node.id, {}).get("replaced", ""))


def _lost_all_activations(graph: LayerGraph, norms: list[Node]) -> bool:
    """Whether nothing but linear layers follows one another, from the first BatchNorm on."""
    if len(norms) < 2 or any(node.kind not in LINEAR for node in graph.nodes):
        return False
    layers = [node for node in graph.of_kind(*CALCULATES) if node.id > norms[0].id]
    return len(layers) >= 2


def _replacement(replaced: list[tuple[Node, str]], pictures: Pictures) -> Finding:
    (first, cls), *others = replaced
    more = f" (and {len(others)} more layers)" if others else ""
    name = cls.rpartition(".")[2]
    return RULE.finding(
        f"{layer_name(first)}{more} stands where the source constructs {name}, whose forward does "
        "more than BatchNorm's: convert_sync_batchnorm has replaced it by torch's plain layer, and "
        f"the rest is lost; convert with the library's own function, or keep {name} and set its "
        "activation behind it",
        first.place,
        [
            step
            for node, other in others
            for step in evidence_at(
                node.place, f"{layer_name(node)} was a {other.rpartition('.')[2]}", Role.INSTANCE
            )
        ],
        module=first.path or None,
        measurement={"replaced": cls, "layers": [node.path for node, _ in replaced]},
    )


def _without_activation(graph: LayerGraph, norm: Node) -> Finding:
    layers = [node.path or node.short_name for node in graph.of_kind(*CALCULATES)]
    return RULE.finding(
        f"{graph.title} has no activation at all between its layers ({listed(layers)}), and its "
        "BatchNorm layers are torch's SyncBatchNorm: convert_sync_batchnorm has dropped the "
        "activations of BatchNorm layers that fuse one; convert with the library's own function",
        norm.place,
        module=norm.path or None,
        measurement={"layers": layers},
    )


RULE = Rule(
    code="BNL603",
    name="syncbn-drops-activation",
    severity=Severity.WARNING,
    summary="convert_sync_batchnorm has replaced BatchNorm layers that fuse an activation.",
    what="""\
A model holds torch's SyncBatchNorm at a place where the source of its class constructs a subclass
of BatchNorm with a forward of its own, such as timm's `BatchNormAct2d`, in every assignment of that
attribute. The constructor is looked up in the class that holds the layer, also inside a literal
`nn.Sequential(...)`; where it cannot be resolved nothing is said.

The other proof needs no source: every BatchNorm of the model is a SyncBatchNorm, and from the first
of them on the forward consists of convolutions, linear layers, pooling and additions only, without
any activation.""",
    why="""\
`torch.nn.SyncBatchNorm.convert_sync_batchnorm` builds a plain SyncBatchNorm for every instance of
torch's BatchNorm classes, subclasses included, and copies weight, bias, statistics and momentum.
What a subclass does beyond that - an activation, a dropout, a gate in its forward - is gone.
Nothing fails: the state dict still fits, the loss falls, the network is only less than it was, and
it happens in the distributed run alone, not on the machine where the model was tried out. timm has
a `convert_sync_batchnorm` of its own for this reason.""",
    fine_when="""\
- The subclass only changes defaults or adds logging in its forward.
- The model is a chain of linear layers on purpose.""",
    references=(
        "PyTorch documentation, torch.nn.SyncBatchNorm.convert_sync_batchnorm "
        "<https://docs.pytorch.org/docs/stable/generated/torch.nn.SyncBatchNorm.html>",
        "timm, norm_act.py: convert_sync_batchnorm for layers with an activation "
        "<https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/norm_act.py>",
    ),
    wrong=(
        Example(
            """\
import bnlint
import torch
from torch import nn


class BatchNormAct2d(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, bias=False)
        self.bn = BatchNormAct2d(16)  # expect: BNL603

    def forward(self, x):
        return self.bn(self.conv(x))


model = nn.SyncBatchNorm.convert_sync_batchnorm(Net())
bnlint.check(model, torch.load("images.pt"), phase="training")
""",
            "The class that fuses the activation is replaced",
        ),
        Example(
            """\
import bnlint
import timm
import torch
from torch import nn

model = timm.create_model("darknet53")
model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # expect: BNL603
bnlint.check(model, torch.load("images.pt"), phase="training")
""",
            "A network of timm's, converted with torch's function",
        ),
    ),
    right=(
        Example(
            """\
import bnlint
import timm
import torch
from timm.layers import convert_sync_batchnorm

model = convert_sync_batchnorm(timm.create_model("darknet53"))
bnlint.check(model, torch.load("images.pt"), phase="training")
""",
            "timm's own function keeps the activation",
        ),
        Example(
            """\
import bnlint
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
bnlint.check(model, torch.load("images.pt"), phase="training")
""",
            "Nearly wrong: the activation is a layer of its own",
        ),
    ),
    check=check,
    source=False,
    live=True,
)
