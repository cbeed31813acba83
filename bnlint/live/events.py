"""The mode trace of a live run: a straight line from the model's flags to one forward."""

from __future__ import annotations

from collections.abc import Mapping

from bnlint.finding import Place
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.live.inputs import Loading
from bnlint.trace import (
    Averaged,
    Backward,
    Built,
    Distribute,
    Event,
    Forward,
    Mode,
    Model,
    ModeTrace,
    Purpose,
    SensitiveLayer,
    SetMode,
    Step,
)

_MODEL = 0
_OUTPUT = 0


def live_trace(
    graph: LayerGraph,
    modes: Mapping[int, bool],
    *,
    purpose: Purpose,
    batch: int | None,
    place: Place | None,
    synthetic: bool,
    loading: Loading | None = None,
    is_shared: bool = False,
    frozen: frozenset[int] = frozenset(),
    averaged: frozenset[int] = frozenset(),
) -> ModeTrace:
    """The trace of one forward of the model that was drawn.

    modes: by node, whether the layer was called in training mode. place: the model's class.
    loading: how the loader that the batch comes from makes batches. is_shared: several processes
    train the model. frozen: nodes of BatchNorm layers whose scale and shift do not learn. averaged:
    nodes inside a model whose weights, but not whose statistics, are averages.
    """
    layers = {node.id: _layer(node, batch) for node in _sensitive(graph)}
    everything = frozenset(layers)
    evaluating = frozenset(layer for layer in layers if not modes.get(layer, True))
    body: list[Event] = [Built(_MODEL, everything, Mode.TRAIN, None)]
    if evaluating:
        body.append(SetMode(evaluating, Mode.EVAL, None, "training flag"))
    if is_shared and purpose is not Purpose.INFERENCE:
        body.append(Distribute(_MODEL, everything, place))
    if averaged:
        body.append(Averaged(averaged & everything, None, None))
    body.append(
        Forward(
            model=_MODEL,
            layers=everything,
            place=place,
            grad={Purpose.INFERENCE: False, Purpose.TRAINING: True}.get(purpose),
            output=_OUTPUT,
            frozen=frozen & everything,
            batch=batch,
            last_batch=loading.last if loading is not None else None,
            keeps_rest=loading.keeps_rest if loading is not None else None,
            synthetic=synthetic,
            stated=purpose,
        )
    )
    if purpose is Purpose.TRAINING:
        body += [Backward(frozenset({_OUTPUT}), None), Step(frozenset({_MODEL}), None)]
    model = Model(_MODEL, graph.title, None, everything)
    return ModeTrace(f"check of {graph.title}", tuple(body), {_MODEL: model}, layers)


def _sensitive(graph: LayerGraph) -> list[Node]:
    """The mode-sensitive layers, each once however often it is called."""
    found: dict[object, Node] = {}
    for node in graph.of_kind(Kind.BATCHNORM, Kind.DROPOUT):
        found.setdefault(node.path or node.id, node)
    return list(found.values())


def _layer(node: Node, batch: int | None) -> SensitiveLayer:
    return SensitiveLayer(
        node.id, node.kind, node.name, node.path, node.place, _positions(node, batch)
    )


def _positions(node: Node, batch: int | None) -> int | None:
    """Values per channel for each sample of the model's batch.

    A layer inside the model may see more rows than there are samples (time steps, patches).
    """
    if node.positions is None or node.batch is None:
        return None
    values = node.positions * node.batch
    if not batch:
        return node.positions
    return values // batch if values % batch == 0 else None
