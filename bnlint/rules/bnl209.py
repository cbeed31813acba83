"""BNL209: BatchNorm over the tokens of a block with attention."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.finding import Finding, Role, Severity
from bnlint.graph import Kind, LayerGraph, Node, spatial_dimensions
from bnlint.rules.base import Example, Pictures, Rule
from bnlint.rules.predicates import (
    block_key,
    directly_after,
    evidence_at,
    grouped,
    has_alternative,
    layer_key,
    layer_name,
)

_PRODUCTS = frozenset({"matmul", "bmm", "einsum"})


def check(pictures: Pictures) -> Iterator[Finding]:
    """One finding for each class or factory."""
    is_live = pictures.measured.is_live
    accused = [
        (graph, norm, attention)
        for graph in pictures.graphs
        for norm in graph.of_kind(Kind.BATCHNORM)
        if (attention := _attention_beside(graph, norm)) is not None
    ]
    by_layer = grouped(accused, lambda a: layer_key(a[0], a[1], is_live=is_live)).values()
    layers = [same_layer[0] for same_layer in by_layer]
    for block in grouped(layers, lambda a: block_key(a[0], a[1])).values():
        yield _finding(block)


def _attention_beside(graph: LayerGraph, norm: Node) -> Node | None:
    """The attention of the block whose tokens a BatchNorm1d normalises.

    It normalises the block's residual stream, or what the attention reads.
    """
    block = norm.block
    if spatial_dimensions(norm) != 1 or block is None:
        return None
    before_attention = any(reader.kind is Kind.ATTENTION for reader in graph.consumers(norm))
    if not before_attention and not directly_after(graph, norm, Kind.ADD):
        return None
    inside = (node for node in graph.nodes if block in node.scope and _attends(graph, node))
    attention = next(inside, None)
    return None if attention is None or has_alternative(graph, norm) else attention


def _attends(graph: LayerGraph, node: Node) -> bool:
    """Whether a node is attention: torch's own, or a softmax between two matrix products."""
    if node.kind is Kind.ATTENTION:
        return True
    if node.kind is not Kind.GATE or "softmax" not in node.short_name.lower():
        return False
    after = list(graph.consumers(node))
    after += [
        reader for other in after if other.kind is Kind.DROPOUT for reader in graph.consumers(other)
    ]
    before = list(graph.producers(node))
    before += [
        source
        for other in before
        if other.kind in (Kind.MUL, Kind.ADD)
        for source in graph.producers(other)
    ]
    return any(map(_multiplies, after)) and any(map(_multiplies, before))


def _multiplies(node: Node) -> bool:
    return node.kind is Kind.MUL and node.short_name in _PRODUCTS


def _finding(block: list[tuple[LayerGraph, Node, Node]]) -> Finding:
    (graph, norm, attention), *others = block
    more = f" ({len(others)} more in the same class)" if others else ""
    binding = f" ({graph.binding})" if graph.binding else ""
    instances = [
        step
        for _, other, _ in others
        for step in evidence_at(
            other.place, f"{layer_name(other)} normalises tokens, too", Role.INSTANCE
        )
    ]
    return RULE.finding(
        f"{layer_name(norm)} normalises the tokens of a block with attention{binding}{more}: its "
        "statistics mix positions, padding and sequence lengths of the whole batch; LayerNorm, "
        "which looks at one token alone, is the usual choice",
        norm.place,
        [
            *evidence_at(attention.place, f"{layer_name(attention)} attends in this block"),
            *instances,
        ],
        module=norm.path or None,
    )


RULE = Rule(
    code="BNL209",
    name="batchnorm-in-transformer",
    severity=Severity.NOTE,
    summary="BatchNorm normalises the tokens of a block with attention.",
    what="""\
A BatchNorm1d normalises the residual stream of a block that holds attention (torch's attention
layers and functions, or a softmax between two matrix products), or what the attention reads.
BatchNorm inside a convolutional stem, in the linear layers of the attention itself (LeViT), in
the convolution module of a conformer and in a classifier's head is not reported.""",
    why="""\
The statistics of a channel are taken over all tokens of all sequences in the batch. Padding counts
like text unless it is masked out, batches of long and of short sequences have other statistics,
and a token's output in training depends on the rest of the batch. Shen et al. measured that
batch statistics of NLP transformers fluctuate far more in training than those of vision networks,
with large outliers, which makes BatchNorm worse than LayerNorm there. With running statistics,
on the other hand, BatchNorm costs nothing in inference, which is why some vision and time-series
models use it on purpose.""",
    fine_when="""\
- The sequences have one length and no padding: patches of images, windows of a time series.
  PatchTST and the time-series transformer of Zerveas et al. chose BatchNorm because it did better
  there, and LeViT for speed.
- The padding is masked out before the statistics are computed.""",
    references=(
        "Shen et al. 2020, PowerNorm: Rethinking Batch Normalization in Transformers "
        "<https://arxiv.org/abs/2003.07845>",
        "Ba, Kiros and Hinton 2016, Layer Normalization <https://arxiv.org/abs/1607.06450>",
        "Zerveas et al. 2021, A Transformer-based Framework for Multivariate Time Series "
        "Representation Learning <https://arxiv.org/abs/2010.02803>",
        "Nie et al. 2023, A Time Series is Worth 64 Words (PatchTST) "
        "<https://arxiv.org/abs/2211.14730>",
    ),
    wrong=(
        Example(
            """\
from torch import nn


class EncoderLayer(nn.Module):
    def __init__(self, width=256, heads=8):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.BatchNorm1d(width)  # expect: BNL209

    def forward(self, x):
        attended, _ = self.attention(x, x, x)
        x = (x + attended).transpose(1, 2)
        return self.norm(x).transpose(1, 2)
""",
            "Behind the residual connection",
        ),
        Example(
            """\
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x):
        weights = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2), dim=-1)
        return weights @ self.v(x)


class Layer(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.attention = Attention(width)
        self.norm = nn.BatchNorm1d(width)  # expect: BNL209

    def forward(self, x):
        x = x + self.attention(x)
        return self.norm(x.transpose(1, 2)).transpose(1, 2)
""",
            "Attention written by hand, in a class of its own",
        ),
    ),
    right=(
        Example(
            """\
from torch import nn


class EncoderLayer(nn.Module):
    def __init__(self, width=256, heads=8):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        attended, _ = self.attention(x, x, x)
        return self.norm(x + attended)
""",
            "LayerNorm looks at one token alone",
        ),
        Example(
            """\
from torch import nn


class Classifier(nn.Module):
    def __init__(self, width=256, heads=8, classes=10):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, classes),
        )

    def forward(self, x):
        attended, _ = self.attention(x, x, x)
        return self.head(attended.mean(dim=1))
""",
            "Nearly wrong: the BatchNorm of the head sees one row for each sequence",
        ),
    ),
    check=check,
    default=False,
    live=True,
)
