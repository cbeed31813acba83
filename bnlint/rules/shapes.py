"""What a layer graph says of shapes: how many dimensions and channels the data have.

A fact holds on every alternative or is not known at all. The channels are dimension 1 of
(N, C, ...). Whatever may rearrange dimensions is a barrier.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, TypeAlias

from bnlint.graph import UNKNOWN, Kind, LayerGraph, Node, spatial_dimensions

Counts: TypeAlias = frozenset[int] | None
"""What a number may be, one value for each alternative; None when an alternative is unknown."""

_PADDING: Final = re.compile(r"^[A-Z]\w*Pad[123]d$")
_KEEPS_SHAPE: Final = frozenset(
    {Kind.ACTIVATION, Kind.GATE, Kind.DROPOUT, Kind.IDENTITY, Kind.OTHER_NORM, Kind.UPSAMPLE}
)
"""Kinds that keep the number of dimensions and the channels, but for `_REARRANGES`."""
_REARRANGES: Final = frozenset(
    {"glu", "pixelshuffle", "pixel_shuffle", "grid_sample", "multi_head_attention_forward"}
)
_KEEPS_DIMENSIONS: Final = frozenset(
    {"pad", "permute", "transpose", "transpose_", "contiguous", "movedim", "moveaxis", "swapaxes"}
    | {"swapdims", "roll", "chunk", "split", "tensor_split", "narrow", "cat", "concat"}
)
_ELEMENTWISE: Final = frozenset(
    {"add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "multiply"}
)
_ROWS: Final = frozenset(
    {Kind.LINEAR, Kind.ACTIVATION, Kind.DROPOUT, Kind.BATCHNORM, Kind.IDENTITY, Kind.GATE}
)
_SPATIAL: Final = frozenset({Kind.CONV, Kind.BATCHNORM, Kind.POOL})
SETS_CHANNELS: Final = frozenset({Kind.CONV, Kind.LINEAR, Kind.BATCHNORM})
"""Kinds whose output has channels of its own, whatever the input has."""


def count(node: Node, parameter: str) -> int | None:
    """A parameter that is a known positive integer."""
    value = node.params.get(parameter, UNKNOWN)
    return value if type(value) is int and value > 0 else None


class Shapes:
    """The dimensions and channels of every node's output in one graph."""

    def __init__(self, graph: LayerGraph) -> None:
        self.graph = graph
        self._dimensions: list[Counts] = []
        for node in graph.nodes:  # in the order of execution: producers come first
            self._dimensions.append(self._dimensions_of(node))

    @cached_property
    def _channels(self) -> list[Counts]:
        """Where no BatchNorm's size is known, nobody asks for them."""
        found: list[Counts] = []
        for node in self.graph.nodes:
            found.append(self._channels_of(node, found))
        return found

    @classmethod
    def of(cls, graph: LayerGraph) -> Shapes:
        """Those of a graph, which several rules ask for."""
        known = graph.derived.get(cls)
        if known is None:
            known = graph.derived[cls] = cls(graph)
        assert isinstance(known, Shapes)
        return known

    def dimensions(self, node: Node) -> int | None:
        """The number of dimensions of a node's input, the batch included."""
        known = self._input(node, self._dimensions)
        return next(iter(known)) if known is not None and len(known) == 1 else None

    def channels(self, node: Node) -> Counts:
        """What the number of channels of a node's input may be."""
        return self._input(node, self._channels)

    def sources_of_channels(self, node: Node) -> list[Node]:
        """The layers that decide the channels of a node's input, and those passed on the way.

        In the order in which a walk backwards meets them; for an input whose channels are known.
        """
        found: dict[int, Node] = {}
        pending = [node]
        while pending:
            current = pending.pop(0)
            for source in sorted(frozenset().union(*current.inputs), reverse=True):
                before = self.graph[source]
                if before.id not in found:
                    found[before.id] = before
                    if before.kind not in SETS_CHANNELS and "shape" not in before.params:
                        pending.append(before)
        return list(found.values())

    def _input(self, node: Node, facts: Sequence[Counts], operand: int = 0) -> Counts:
        """The facts of all alternatives of an operand."""
        found: Counts = None
        for source in node.inputs[operand] if operand < len(node.inputs) else ():
            known = facts[source] if source < len(facts) else None  # a loop's end is not known yet
            if known is None:
                return None
            found = known if found is None else found | known
        return found

    def _agreed(self, node: Node, facts: Sequence[Counts]) -> Counts:
        """What all operands have in common; None when they differ or one is unknown."""
        found = [self._input(node, facts, operand) for operand in range(len(node.inputs))]
        return found[0] if found and all(other == found[0] for other in found) else None

    def _dimensions_of(self, node: Node) -> Counts:
        if node.kind in _KEEPS_SHAPE:
            return self._input(node, self._dimensions) if _keeps_shape(node) else None
        name = node.short_name
        spatial = spatial_dimensions(node) if node.kind in _SPATIAL else None
        match node.kind:
            case Kind.CONV:
                return None if spatial is None else frozenset({spatial + 2})
            case Kind.BATCHNORM if spatial == 2 or spatial == 3:
                return frozenset({spatial + 2})
            case Kind.RESHAPE:
                return self._reshaped(node)
            case Kind.ADD | Kind.MUL if name in _ELEMENTWISE and len(node.inputs) > 1:
                return self._agreed(node, self._dimensions)
            case Kind.CONCAT if name in _KEEPS_DIMENSIONS:
                return self._agreed(node, self._dimensions)
            case Kind.POOL if spatial is not None:
                return self._input(node, self._dimensions)
            case Kind.SLICE | Kind.SPLIT if name in _KEEPS_DIMENSIONS:
                return self._input(node, self._dimensions)
            case Kind.LINEAR | Kind.BATCHNORM:
                return self._input(node, self._dimensions)
        return None

    def _reshaped(self, node: Node) -> Counts:
        shape = node.params.get("shape", UNKNOWN)
        if isinstance(shape, tuple):
            return frozenset({len(shape)})
        start, end = node.params.get("start_dim", UNKNOWN), node.params.get("end_dim", UNKNOWN)
        if type(start) is int and start >= 0 and end == -1:
            return frozenset({start + 1})
        known = self._input(node, self._dimensions)
        if node.short_name == "unsqueeze" and known is not None:
            return frozenset(number + 1 for number in known)
        if node.short_name in _KEEPS_DIMENSIONS or _PADDING.match(node.short_name):
            return known
        return None

    def _channels_of(self, node: Node, before: Sequence[Counts]) -> Counts:
        if node.kind in _KEEPS_SHAPE:
            return self._input(node, before) if _keeps_shape(node) else None
        own = self._own_channels(node)
        if own is not None:
            return frozenset({own})
        match node.kind:
            case Kind.CONV | Kind.LINEAR | Kind.BATCHNORM:
                return None
            case Kind.ADD | Kind.MUL if node.short_name in _ELEMENTWISE:
                known = self._agreed(node, before)
                # A single channel is spread over those of an operand that cannot be seen.
                is_sure = len(node.inputs) > 1 or known != frozenset({1})
                return known if is_sure else None
            case Kind.POOL if spatial_dimensions(node) is not None:
                return self._input(node, before)
            case Kind.RESHAPE if node.short_name == "contiguous" or _PADDING.match(node.short_name):
                return self._input(node, before)
        return None

    def _own_channels(self, node: Node) -> int | None:
        """The channels that a node's own parameters give its output."""
        match node.kind:
            case Kind.CONV:
                return count(node, "out_channels")
            case Kind.BATCHNORM:
                return count(node, "num_features")
            case Kind.LINEAR:
                return count(node, "out_features") if self.dimensions(node) == 2 else None
            case Kind.RESHAPE:
                shape = node.params.get("shape", UNKNOWN)
                second = shape[1] if isinstance(shape, tuple) and len(shape) > 1 else None
                return second if type(second) is int and second > 0 else None
        return None


def _keeps_shape(node: Node) -> bool:
    """Whether a node of a kind that keeps the shape is none of those that do not."""
    return node.short_name.lower() not in _REARRANGES


def rows_of_features(graph: LayerGraph, start: Node) -> Iterator[Node]:
    """A node, and all that is joined to it by layers that work on each row of features alone.

    Linear layers, activations, dropout and BatchNorm keep all dimensions but the last one, so that
    dimension 1 of a three-dimensional input is the same for all of them.
    """
    pending, seen = [start], {start.id}
    while pending:
        current = pending.pop()
        yield current
        before = [graph[source] for operand in current.inputs for source in operand]
        for other in (*before, *graph.readers(current)):
            if other.id not in seen and other.kind in _ROWS and _has_one_input(other):
                seen.add(other.id)
                pending.append(other)


def _has_one_input(node: Node) -> bool:
    return len(node.inputs) == 1 and len(node.inputs[0]) == 1
