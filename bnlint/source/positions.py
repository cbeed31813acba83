"""Values per channel and sample, as far as the layers before a BatchNorm decide them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bnlint.graph import UNKNOWN, Kind, LayerGraph, Node


def with_positions(nodes: list[Node]) -> Iterator[Node]:
    """Values per channel and sample, where the producer decides them: one behind a Linear layer or
    a pooling to 1x1."""
    graph = LayerGraph("", tuple(nodes))
    for node in nodes:
        if node.kind is Kind.BATCHNORM and node.inputs:
            producers = graph.producers(node)
            if producers and all(_is_single(graph, producer) for producer in producers):
                yield replace(node, positions=1)
                continue
        yield node


def _is_single(graph: LayerGraph, node: Node) -> bool:
    """Whether a node's output has one value per channel and sample."""
    match node.kind:
        case Kind.LINEAR:
            producers = graph.producers(node)
            return all(p.kind is not Kind.UNKNOWN for p in producers)
        case Kind.POOL:
            size = node.params.get("output_size", UNKNOWN)
            return size == 1 or size == (1, 1) or size == (1, 1, 1)
        case Kind.ACTIVATION | Kind.DROPOUT | Kind.CONV:
            producers = graph.producers(node)
            return bool(producers) and all(_is_single(graph, p) for p in producers)
    return False
