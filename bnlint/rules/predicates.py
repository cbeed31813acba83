"""What several rules ask of the pictures, in the words of the domain.

Every predicate about order holds only when it holds on each alternative, and an unknown producer
or parameter makes it false.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeGuard, TypeVar

from bnlint.finding import Evidence, Place, Role
from bnlint.graph import Kind, LayerGraph, Node, Parameter, same_block
from bnlint.solver import Observation
from bnlint.trace import Export, Forward, ModeTrace, Purpose, SensitiveLayer

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)

CALCULATES = (Kind.CONV, Kind.LINEAR)
"""The layers with weights that BatchNorm was made to follow."""


def is_number(value: Parameter) -> TypeGuard[int | float]:
    """Whether a parameter is a known number; True and False are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_functional(node: Node) -> bool:
    """Whether a node is a call of a function (`F.batch_norm`), not of a layer."""
    return node.short_name[:1].islower()


def directly_after(graph: LayerGraph, node: Node, *kinds: Kind) -> bool:
    """Whether on every alternative the node's input is the output of one of these kinds."""
    producers = graph.producers(node)
    return bool(producers) and all(producer.kind in kinds for producer in producers)


def directly_before(graph: LayerGraph, node: Node, *kinds: Kind) -> bool:
    """Whether everything that may read the node's output is of one of these kinds."""
    consumers = graph.consumers(node)
    return bool(consumers) and all(consumer.kind in kinds for consumer in consumers)


def feeds_only(graph: LayerGraph, node: Node, *kinds: Kind) -> bool:
    """Whether all that reads a node's output, unchanged in shape, is of one of these kinds."""
    readers = graph.readers(node)
    return bool(readers) and all(
        feeds_only(graph, reader, *kinds) if reader.kind is Kind.IDENTITY else reader.kind in kinds
        for reader in readers
    )


def has_alternative(graph: LayerGraph, layer: Node) -> bool:
    """Whether something else may stand in a layer's place: `self.norm = choose(name)`.

    What is true of one choice may never be chosen.
    """
    return bool(layer.path) and any(
        other.place != layer.place
        and (other.path == layer.path or any(s.path == layer.path for s in other.scope))
        for other in graph.nodes
    )


def drops(dropout: Node) -> bool:
    """Whether a dropout surely changes the variance of what it passes on in training.

    Its rate is a known number above zero, and it is not switched off by a constant flag. Alpha
    dropout keeps mean and variance by construction.
    """
    rate = dropout.params.get("p")
    if dropout.kind is not Kind.DROPOUT or "alpha" in dropout.short_name.lower():
        return False
    return is_number(rate) and 0 < rate <= 1 and dropout.params.get("training", True) is not False


def is_preactivation(graph: LayerGraph, norm: Node) -> bool:
    """Whether a BatchNorm opens a pre-activation unit: BatchNorm, activation, convolution.

    He et al. 2016, arXiv:1603.05027, figure 4(e).
    """
    activations = graph.consumers(norm)
    return directly_before(graph, norm, Kind.ACTIVATION) and any(
        reader.kind in CALCULATES
        for activation in activations
        for reader in graph.consumers(activation)
    )


def activated_layers(graph: LayerGraph, norm: Node) -> tuple[Node, ...]:
    """The Conv and Linear layers whose activated output is the BatchNorm's input.

    Empty unless every alternative of the input is an activation of the BatchNorm's own block, and
    every alternative of that activation's input is a Conv or Linear of the same block.
    """
    if not directly_after(graph, norm, Kind.ACTIVATION):
        return ()
    layers: list[Node] = []
    for activation in graph.producers(norm):
        if not same_block(activation, norm) or not directly_after(graph, activation, *CALCULATES):
            return ()
        layers += graph.producers(activation)
    return tuple(layers) if all(same_block(layer, norm) for layer in layers) else ()


def sensitive_layers(observation: Observation, trace: ModeTrace, *kinds: Kind) -> list[int]:
    """The ids of the mode-sensitive layers of these kinds that a forward or an export touches, in
    the order of the model."""
    if not isinstance(observation.event, Forward | Export):
        return []
    ids = sorted(observation.event.layers & trace.layers.keys())
    return [layer for layer in ids if trace.layers[layer].kind in kinds]


def may_train(trace: ModeTrace, forward: Forward) -> bool:
    """Whether a forward trains; or nobody says what a live run is for."""
    purpose = trace.purpose(forward)
    return purpose is Purpose.TRAINING or forward.stated is Purpose.UNSTATED


def is_trained(trace: ModeTrace, model: int) -> bool:
    """Whether some forward of this model is a training step."""
    return any(
        event.model == model and trace.purpose(event) is Purpose.TRAINING
        for event in trace.of(Forward)
    )


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Items by key, both in the order of appearance."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def layer_key(graph: LayerGraph, node: Node, *, is_live: bool = False) -> Hashable:
    """What makes two nodes the same layer of the program: one constructor, else one module.

    A live run knows the module itself, and of its constructor only the statement.
    """
    if node.place is not None and not is_live:
        return node.place
    return (graph.title, node.path) if node.path else (graph.title, node.id)


def block_key(graph: LayerGraph, node: Node) -> Hashable:
    """What makes two layers parts of one class or factory, for one finding about both."""
    path = node.place.path if node.place is not None else None
    return (path, node.block.cls if node.block is not None else graph.title)


def layer_name(node: Node) -> str:
    """How a message names a layer: its type, and its name in the model when it has one."""
    return f"{node.short_name} '{node.path}'" if node.path else node.short_name


def sensitive_name(layer: SensitiveLayer) -> str:
    """How a message names a layer of a trace: its type, and its name in the model."""
    short = layer.name.rpartition(".")[2]
    return f"{short} '{layer.path}'" if layer.path else short


def acts_itself(layer: SensitiveLayer) -> bool:
    """Whether a layer is a module of the program that acts at random in its own code."""
    return layer.kind is Kind.DROPOUT and "." not in layer.name


def model_title(trace: ModeTrace, model: int) -> str:
    """How a message names a model of a trace."""
    known = trace.models.get(model)
    return known.title if known is not None else "the model"


def and_others(count: int) -> str:
    """How a message that names one of `count` layers tells of the others."""
    return f" (and {count - 1} more)" if count > 1 else ""


def sensitive_names(layers: Sequence[SensitiveLayer]) -> str:
    """The first of some layers, one that surely drops if there is any, and how many more of its
    kind there are."""
    first = min(layers, key=lambda layer: (layer.optional, layer.id))
    return sensitive_name(first) + and_others(sum(layer.kind is first.kind for layer in layers))


def wherever(layers: Sequence[SensitiveLayer]) -> str:
    """What a message about dropout adds where each rate is an option of the command line."""
    return ", wherever the option sets its rate" if all(each.optional for each in layers) else ""


def and_more(same_layer: Sequence[tuple[LayerGraph, Node]]) -> str:
    """How many more modules one constructor made, where the names of the modules are known."""
    modules = {node.path for _, node in same_layer} - {""}
    return f" (and {len(modules) - 1} more from this place)" if len(modules) > 1 else ""


def evidence_at(
    place: Place | None, message: str, role: Role = Role.CONTEXT
) -> tuple[Evidence, ...]:
    """One step of the proof; none where its place is unknown."""
    return () if place is None else (Evidence(place, message, role),)


def listed(names: Sequence[str]) -> str:
    """Names for a message: the first three, and how many more."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
