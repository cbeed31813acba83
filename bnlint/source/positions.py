"""Values per channel and sample, as far as the layers before a BatchNorm decide them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from bnlint.graph import (
    UNKNOWN,
    Kind,
    LayerGraph,
    Node,
    OneValue,
    Parameter,
    runs_for_sure,
    spatial_dimensions,
)
from bnlint.records import Struct, replace

AS_GIVEN: Final = -1
"""In place of a number of dimensions: as many as the model's input has."""
_ELEMENTWISE: Final = frozenset({"add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_"})
_KEEPS: Final = frozenset(
    {Kind.ACTIVATION, Kind.DROPOUT, Kind.GATE, Kind.IDENTITY, Kind.OTHER_NORM}
)
"""Kinds that change no size."""


def with_positions(nodes: list[Node]) -> Iterator[Node]:
    """Values per channel and sample, where the layers before decide them: one behind a Linear layer
    or a pooling to 1x1."""
    if all(node.kind is not Kind.BATCHNORM for node in nodes):
        yield from nodes
        return
    graph = LayerGraph("", tuple(nodes))
    sizes = Sizes(graph)
    for node in nodes:
        if node.kind is not Kind.BATCHNORM:
            yield node
            continue
        one_value = sizes.one_value(node)
        is_map = (spatial_dimensions(node) or 0) > 1
        producers = graph.producers(node)
        is_single = producers and all(_is_single(graph, p, is_map=is_map) for p in producers)
        positions = 1 if is_single or one_value is OneValue.OF_ALL else None
        yield replace(node, positions=positions, one_value=one_value)


def _is_single(graph: LayerGraph, node: Node, *, is_map: bool) -> bool:
    """Whether a node's output, or the map that is made of it, has one value per channel."""
    match node.kind:
        case Kind.LINEAR if not is_map:
            producers = graph.producers(node)
            return all(p.kind is not Kind.UNKNOWN for p in producers)
        case Kind.POOL:
            return _pools_to_one(node)
        case Kind.ACTIVATION | Kind.DROPOUT | Kind.CONV if "ranspose" not in node.short_name:
            producers = graph.producers(node)
            return bool(producers) and all(_is_single(graph, p, is_map=is_map) for p in producers)
    return False


def _pools_to_one(node: Node) -> bool:
    size = node.params.get("output_size", UNKNOWN)
    return (type(size) is int and size == 1) or size in ((1,), (1, 1), (1, 1, 1))


class Size(Struct, frozen=True):
    """What is sure of a node's output: its number of dimensions, and whether all behind the
    channels are of size one. The first dimension is that of the model's input."""

    dimensions: int
    single: bool


Known: TypeAlias = Size | None


class Sizes:
    """The sizes in a graph, as far as they are sure; its input may be of any size."""

    def __init__(self, graph: LayerGraph) -> None:
        self.graph = graph
        self._sizes: list[Known] = []
        self._sure = runs_for_sure(graph)
        self._inputs = sum(1 for _ in graph.of_kind(Kind.INPUT))
        for node in graph.nodes:  # in the order of execution: producers come first
            self._sizes.append(self._size_of(node))

    def one_value(self, node: Node) -> OneValue | None:
        """Whether each sample of the model's input surely gives a BatchNorm one value per channel;
        None where it is not sure, or where the layer may be left out."""
        size = self._input(node)
        if size is None or node.id not in self._sure:
            return None
        if size.dimensions == AS_GIVEN:
            return OneValue.OF_ROWS
        return OneValue.OF_ALL if size.single or size.dimensions == 2 else None

    def _input(self, node: Node, operand: int = 0) -> Known:
        """What all alternatives of an operand have in common."""
        given = node.inputs[operand] if operand < len(node.inputs) else frozenset()
        # a loop's end is not known yet
        return _common([self._sizes[i] if i < len(self._sizes) else None for i in given])

    def _size_of(self, node: Node) -> Known:
        if node.kind is Kind.INPUT:
            return Size(AS_GIVEN, single=False) if self._inputs == 1 else None
        rule = _RULES.get(node.kind)
        if rule is None or not node.inputs:
            return None
        if node.kind in (Kind.ADD, Kind.MUL, Kind.CONCAT):
            operands = [self._input(node, operand) for operand in range(len(node.inputs))]
            size = _common(operands) if len(operands) > 1 else None
        else:
            size = self._input(node)
        return None if size is None else rule(node, size)


def _common(sizes: Sequence[Known]) -> Known:
    known = [size for size in sizes if size is not None]
    if not known or len(known) < len(sizes) or len({size.dimensions for size in known}) > 1:
        return None
    return Size(known[0].dimensions, all(size.single for size in known))


def _convolved(node: Node, size: Size) -> Known:
    spatial = spatial_dimensions(node)
    if spatial is None:
        return None
    params = node.params
    keeps = "ranspose" not in node.short_name and all(
        _keeps_one(*numbers)
        for numbers in zip(
            *(_numbers(params.get(p), spatial) for p in ("kernel_size", "padding", "dilation"))
        )
    )
    return Size(spatial + 2, size.single and keeps)


def _numbers(value: Parameter, count: int) -> tuple[Parameter, ...]:
    return value if isinstance(value, tuple) and len(value) == count else (value,) * count


def _keeps_one(kernel: Parameter, padding: Parameter, dilation: Parameter) -> bool:
    """Whether a convolution makes one value of one: for all other numbers it makes none or more."""
    if padding == "same":
        return True
    if type(kernel) is not int or type(padding) is not int or type(dilation) is not int:
        return False
    return 2 * padding == dilation * (kernel - 1)


def _normalised(node: Node, size: Size) -> Known:
    spatial = spatial_dimensions(node)
    return size if spatial in (None, 1) else Size(spatial + 2, size.single)


def _pooled(node: Node, size: Size) -> Known:
    spatial = spatial_dimensions(node)
    if spatial is not None:
        return Size(spatial + 2, _pools_to_one(node))
    given, keeps = node.params.get("dim"), node.params.get("keepdim")
    dims = given if isinstance(given, tuple) else (given,)
    if size.dimensions == AS_GIVEN or any(type(d) is not int for d in dims):
        return None
    reduced = {d % size.dimensions for d in dims if type(d) is int}
    if reduced & {0, 1} or keeps not in (True, False):
        return None
    single = len(reduced) == size.dimensions - 2
    left = size.dimensions if keeps else size.dimensions - len(reduced)
    return Size(left, single or size.single or left == 2)


def _reshaped(node: Node, size: Size) -> Known:
    if node.short_name == "contiguous":
        return size
    start, end = node.params.get("start_dim"), node.params.get("end_dim")
    if type(start) is int and start > 0 and end == -1:
        return Size(start + 1, size.single)
    shape = node.params.get("shape")
    # `x.view(x.size(0), -1)`: behind a convolution, what is not flattened is the batch
    is_flat = isinstance(shape, tuple) and len(shape) == 2 and shape[1] == -1
    if is_flat and size.dimensions > 2:
        return Size(2, single=True)
    if node.short_name == "pad" or "Pad" in node.short_name:
        return Size(size.dimensions, single=False)
    return None


def _joined(node: Node, size: Size) -> Known:
    return size if node.short_name in ("cat", "concat") and node.params.get("dim") == 1 else None


_RULES: Final[Mapping[Kind, Callable[[Node, Size], Known]]] = {
    **dict.fromkeys(_KEEPS, lambda _, size: size),
    **dict.fromkeys((Kind.ADD, Kind.MUL), lambda n, s: s if n.short_name in _ELEMENTWISE else None),
    Kind.CONV: _convolved,
    Kind.LINEAR: lambda _, size: Size(size.dimensions, single=False),
    Kind.BATCHNORM: _normalised,
    Kind.POOL: _pooled,
    Kind.UPSAMPLE: lambda _, size: Size(size.dimensions, single=False),
    Kind.RESHAPE: _reshaped,
    Kind.CONCAT: _joined,
}
"""The size of a node's output by that of its input; a kind that is missing hides it."""
