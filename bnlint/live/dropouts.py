"""Which BatchNorm calls lie behind dropout, and what dropout does to their input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from bnlint.graph import Kind, LayerGraph, Node
from bnlint.live import drift
from bnlint.live.moments import Moments
from bnlint.live.observe import Numbers, Seen

Fed: TypeAlias = Mapping[str, tuple[Node, ...]]
"""By the key of a BatchNorm call, the dropout nodes whose output is its input."""


def fed_by_dropout(graph: LayerGraph, calls: Iterable[Seen]) -> Fed:
    """The calls whose input is directly the output of dropout, with those dropout nodes."""
    found: dict[str, tuple[Node, ...]] = {}
    for seen in calls:
        if seen.node is None:
            continue
        producers = graph.producers(graph[seen.node])
        if producers and all(node.kind is Kind.DROPOUT for node in producers):
            found[seen.key] = producers
    return found


def behind_dropout(graph: LayerGraph, calls: Iterable[Seen]) -> frozenset[str]:
    """The calls that dropout reaches over any path.

    Dropout inside attention and recurrent layers counts, whatever its rate.
    """
    sources = (Kind.DROPOUT, Kind.ATTENTION, Kind.RECURRENT)
    reached: set[int] = set()
    for node in graph.nodes:  # inputs have smaller ids than their readers
        if node.kind in sources or any(not operand.isdisjoint(reached) for operand in node.inputs):
            reached.add(node.id)
    return frozenset(seen.key for seen in calls if seen.node in reached)


def variance_shift(without: Moments, dropping: Moments, producers: tuple[Node, ...]) -> Numbers:
    """The variance of a BatchNorm's input with dropout on over off, measured and predicted."""
    total = float(without.variance.mean())
    measured = float(dropping.variance.mean()) / total if total > 0 else None
    rate = producers[0].params.get("p")
    alpha = "lpha" in producers[0].name
    predicted = None
    if isinstance(rate, int | float) and not alpha:
        predicted = drift.dropout_variance_ratio(without.mean, without.variance, float(rate))
    return {
        "variance_ratio": drift.finite(measured),
        "variance_ratio_predicted": drift.finite(predicted),
    }
