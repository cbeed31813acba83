"""Published designs that put BatchNorm after the activation on purpose, by their structure.

Released weights depend on the order in these families, so reversing it is no advice at all.
Anything that may be one of them (an unknown dilation, unknown groups) counts as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bnlint.graph import Kind, LayerGraph, Node, same_block
from bnlint.rules.predicates import (
    CALCULATES,
    activated_layers,
    directly_after,
    directly_before,
)

_MATRIX_PRODUCTS: Final = frozenset({"matmul", "bmm", "mm", "einsum"})


def is_published_design(graph: LayerGraph, norm: Node, layers: Sequence[Node]) -> bool:
    """Whether a BatchNorm after activation(layers) belongs to a design that is published so."""
    if scores_attention(graph, norm):
        return True
    return not has_both_orders(graph, norm) and (
        is_time_delay_network(graph, layers)
        or is_mixer(graph, norm)
        or pools_by_attention(graph)
        or normalises_inputs(graph, layers)
    )


def has_both_orders(graph: LayerGraph, norm: Node) -> bool:
    """Whether another BatchNorm of the same block stands between a layer and its activation.

    The published designs keep to one order within a class, but for the small network that scores
    attention, which may be part of any class.
    """
    return any(
        same_block(other, norm)
        and directly_after(graph, other, *CALCULATES)
        and directly_before(graph, other, Kind.ACTIVATION)
        for other in graph.of_kind(Kind.BATCHNORM)
        if other.id != norm.id
    )


def is_time_delay_network(graph: LayerGraph, layers: Sequence[Node]) -> bool:
    """Conv1d over time in a network with dilated Conv1d: TDNN, x-vector, ECAPA-TDNN.

    A dilated convolution that feeds a BatchNorm itself is none of theirs. Snyder et al. 2018;
    Desplanques et al. 2020, arXiv:2005.07143.
    """
    return all(_is_conv1d(layer) for layer in layers) and any(
        _is_conv1d(node)
        and node.params.get("dilation", 1) not in (1, (1,))
        and not directly_before(graph, node, Kind.BATCHNORM)
        for node in graph.of_kind(Kind.CONV)
    )


def is_mixer(graph: LayerGraph, norm: Node) -> bool:
    """GELU, then BatchNorm, in a network where depthwise convolutions are followed so.

    ConvMixer (Trockman and Kolter 2022, arXiv:2201.09792), XCiT's local patch interaction.
    """
    return _follows_gelu(graph, norm) and any(
        layer.params.get("groups", 1) not in (1, None)
        for other in graph.of_kind(Kind.BATCHNORM)
        if _follows_gelu(graph, other)
        for layer in activated_layers(graph, other)
    )


def _follows_gelu(graph: LayerGraph, norm: Node) -> bool:
    producers = graph.producers(norm)
    return bool(producers) and all(act.short_name.lower() == "gelu" for act in producers)


def scores_attention(graph: LayerGraph, norm: Node) -> bool:
    """The BatchNorm lies inside a small network whose softmax weighs something by multiplication.

    Attentive statistics pooling (Okabe et al. 2018, arXiv:1803.10963) in its released form.
    """
    pending, seen = [norm], {norm.id}
    while pending:
        for reader in graph.consumers(pending.pop()):
            if _is_softmax(reader) and (_weighs(graph, reader) or _may_weigh(graph, norm, reader)):
                return True
            if reader.kind in (*CALCULATES, Kind.ACTIVATION) and reader.id not in seen:
                seen.add(reader.id)
                pending.append(reader)
    return False


def pools_by_attention(graph: LayerGraph) -> bool:
    """The network pools by learned softmax weights: speaker embeddings (ResNetSE34V2, RawNet3)."""
    return any(
        _is_softmax(gate)
        and any(source.kind in CALCULATES for source in graph.producers(gate))
        and any(
            reader.kind is Kind.POOL
            for product in graph.consumers(gate)
            if _is_product(product)
            for reader in graph.consumers(product)
        )
        for gate in graph.of_kind(Kind.GATE)
    )


def normalises_inputs(graph: LayerGraph, layers: Sequence[Node]) -> bool:
    """Every layer of the block has a BatchNorm on its input, the first one included.

    Units of BatchNorm, (Dropout,) Linear, activation: GRAND (Feng et al. 2020, arXiv:2005.11079).
    """
    pending, seen = list(layers), {layer.id for layer in layers}
    while pending:
        for source in _behind_dropout(graph, pending.pop()):
            if source.kind is not Kind.BATCHNORM or source.id in seen:
                continue
            seen.add(source.id)
            if not any(same_block(source, layer) for layer in layers):
                continue
            earlier = activated_layers(graph, source)
            if not earlier and not directly_after(graph, source, *CALCULATES):
                return True
            pending += earlier
    return False


def _behind_dropout(graph: LayerGraph, node: Node) -> Iterator[Node]:
    for producer in graph.producers(node):
        if producer.kind is Kind.DROPOUT:
            yield from graph.producers(producer)
        else:
            yield producer


def _weighs(graph: LayerGraph, gate: Node) -> bool:
    return any(_is_product(reader) for reader in graph.consumers(gate))


def _may_weigh(graph: LayerGraph, norm: Node, gate: Node) -> bool:
    """Whether softmax over what a convolution gives is all that is seen of a lone container."""
    return (
        norm.block is None
        and directly_after(graph, gate, Kind.CONV)
        and directly_before(graph, gate, Kind.OUTPUT)
    )


def _is_product(node: Node) -> bool:
    return node.kind is Kind.MUL and node.short_name not in _MATRIX_PRODUCTS


def _is_softmax(node: Node) -> bool:
    return node.kind is Kind.GATE and "softmax" in node.short_name.lower()


def _is_conv1d(node: Node) -> bool:
    return node.kind is Kind.CONV and node.short_name.lower() in ("conv1d", "lazyconv1d")
