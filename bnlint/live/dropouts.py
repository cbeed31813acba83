"""Which BatchNorm calls lie behind dropout, and what dropout does to their input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from torch import Tensor, nn

from bnlint.graph import Kind, LayerGraph, Node
from bnlint.live import drift
from bnlint.live.modules import Names
from bnlint.live.moments import Moments
from bnlint.live.observe import Numbers, Seen

Fed: TypeAlias = Mapping[str, tuple[Node, ...]]
"""By the key of a BatchNorm call, the dropout nodes whose output is its input."""

Upstream: TypeAlias = Mapping[int, tuple[str, nn.Module]]
"""By the number of a dropout call, the layer that reads it and the BatchNorm call behind that."""


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


def upstream_dropouts(
    graph: LayerGraph, calls: Iterable[Seen], dropouts: Sequence[int | None], names: Names
) -> Upstream:
    """The dropout calls whose output a Conv or Linear turns into the input of a BatchNorm.

    dropouts: the nodes of all dropout calls, in the order of the forward.
    """
    modules = {names.path(module): module for module in names.root.modules()}
    found: dict[int, tuple[str, nn.Module]] = {}
    for seen in calls:
        layers = graph.producers(graph[seen.node]) if seen.node is not None else ()
        if len(layers) != 1 or layers[0].kind not in (Kind.CONV, Kind.LINEAR):
            continue
        number = _dropout_before(graph, layers[0], dropouts)
        if number is not None and layers[0].path in modules:
            found[number] = (seen.key, modules[layers[0].path])
    return found


def _dropout_before(graph: LayerGraph, layer: Node, dropouts: Sequence[int | None]) -> int | None:
    sources = [graph[source] for operand in layer.inputs for source in operand]
    if len(sources) != 1 or sources[0].kind is not Kind.DROPOUT:
        return None
    return dropouts.index(sources[0].id) if sources[0].id in dropouts else None


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


def shift_through_weights(without: Moments, dropping: Moments, added: Tensor | None) -> Numbers:
    """The same behind a layer with weights; added: the variance that dropout adds, by channel."""
    total = float(without.variance.mean())
    if total <= 0:
        return {}
    predicted = None if added is None else 1 + float(added.mean()) / total
    return {
        "variance_ratio": drift.finite(float(dropping.variance.mean()) / total),
        "variance_ratio_predicted": drift.finite(predicted),
    }
