"""What the rules about running statistics ask of a live run."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from bnlint.finding import Measurement, Place
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.records import Struct
from bnlint.rules.base import Pictures
from bnlint.rules.predicates import layer_key, listed
from bnlint.trace import Averaged, Forward, ModeTrace, Purpose


class Layer(Struct, frozen=True):
    """One BatchNorm layer of a live run, with the numbers of its first call."""

    graph: LayerGraph
    node: Node
    numbers: Measurement

    def number(self, name: str) -> float | None:
        """A measured number; None where it could not be measured."""
        value = self.numbers.get(name)
        return value if isinstance(value, int | float) else None

    @property
    def trains(self) -> bool:
        """Whether it was called in training mode."""
        return self.numbers.get("training") is True

    @property
    def is_initial(self) -> bool:
        """Whether its running statistics are still those of its construction."""
        return self.numbers.get("initial") is True

    @property
    def name(self) -> str:
        """Its name in the model, else its type."""
        return f"'{self.node.path}'" if self.node.path else self.node.short_name


def tracking_layers(pictures: Pictures) -> list[Layer]:
    """The BatchNorm layers of a live run that keep running statistics, in the forward's order."""
    found: dict[Hashable, Layer] = {}
    for graph in pictures.graphs:
        for node in graph.of_kind(Kind.BATCHNORM):
            numbers = pictures.measured.layers.get(node.id, {})
            if "channels" in numbers:
                found.setdefault(layer_key(graph, node, is_live=True), Layer(graph, node, numbers))
    return list(found.values())


def live_forwards(pictures: Pictures) -> Iterator[tuple[ModeTrace, Forward, Purpose]]:
    """The forwards of a live run, with what each is for."""
    if not pictures.measured.is_live:
        return
    for trace in pictures.traces:
        for event in trace.of(Forward):
            yield trace, event, trace.purpose(event)


def purpose_of(pictures: Pictures) -> Purpose | None:
    """What the one forward of a check is for; None without a live run."""
    return next((purpose for _, _, purpose in live_forwards(pictures)), None)


def averaged_layers(pictures: Pictures) -> frozenset[int]:
    """The layers of averaged models, in whose averages the statistics have no part."""
    events = (event for trace in pictures.traces for event in trace.of(Averaged))
    return frozenset().union(*(event.layers for event in events))


def title_of(pictures: Pictures) -> str:
    """What the checked model is called."""
    return next((graph.title for graph in pictures.graphs), "the model")


def model_place(pictures: Pictures) -> Place | None:
    """The class of the checked model."""
    return next((event.place for _, event, _ in live_forwards(pictures)), None)


def names(layers: Sequence[Layer]) -> str:
    """The layers for a message."""
    return listed([layer.name for layer in layers])


def paths(layers: Sequence[Layer]) -> list[str]:
    """The layers for a measurement."""
    return [layer.node.path for layer in layers]


LEAST_DRIFT = 0.25
"""d from which on statistics are called stale. Networks that were trained well lie below 0.06, one
in the middle of a training with a high learning rate below 0.2, corrupted layers above 0.3."""

SIGNIFICANT = 3.0
"""d over the noise floor from which on it is no chance: of a network's largest ratio over all
layers, 1.8 was the largest in 100 draws of clean data at 16 samples or more."""


def significant_drift(layer: Layer) -> float | None:
    """d of a layer as far as neither chance nor dropout explains it; None where one of them does.

    The floor is itself estimated from the samples, so the bar is higher for a few of them. Behind
    dropout the smaller of d with and without it counts: statistics that fit one of the two are not
    stale (dropout's variance shift is BNL202 and BNL204).
    """
    drift, floor, samples = (layer.number(name) for name in ("d", "floor", "samples"))
    if drift is None or floor is None or not samples:
        return None
    with_dropout = layer.number("d_dropout")
    drift = drift if with_dropout is None else min(drift, with_dropout)
    return drift if drift > SIGNIFICANT * (1 + 2 / samples) * floor else None


def settled_layers(pictures: Pictures) -> list[Layer]:
    """The layers whose statistics may be judged by the data.

    Not those that were never updated (BNL503), and not those that are still being collected: in
    training mode, with more than 1 % of the initial values left.
    """
    inference = purpose_of(pictures) is Purpose.INFERENCE
    return [
        layer
        for layer in tracking_layers(pictures)
        if not layer.is_initial
        and (inference or not layer.trains or (layer.number("warm") or 1.0) > 0.99)
    ]
