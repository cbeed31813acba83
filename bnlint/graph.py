"""The layer graph: layers and operations, their parameters and scope, and who feeds whom.

Both front ends draw it: `source` from text, with unknowns; `live` from a run, exactly. Rules see
nothing else. "Unknown" (a node of kind UNKNOWN, a parameter that is UNKNOWN) and "none" (the
INPUT node) are kept apart everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum, StrEnum
from functools import cache, cached_property
from typing import Final, TypeAlias

from bnlint.finding import Place
from bnlint.records import Record, Struct, field


class Kind(StrEnum):
    """What a node does to its input, as far as the rules care."""

    BATCHNORM = "batchnorm"
    OTHER_NORM = "other_norm"
    CONV = "conv"
    LINEAR = "linear"
    RECURRENT = "recurrent"
    ATTENTION = "attention"
    EMBEDDING = "embedding"
    ACTIVATION = "activation"
    GATE = "gate"
    DROPOUT = "dropout"
    POOL = "pool"
    UPSAMPLE = "upsample"
    RESHAPE = "reshape"
    SLICE = "slice"
    SPLIT = "split"
    ADD = "add"
    MUL = "mul"
    CONCAT = "concat"
    IDENTITY = "identity"
    CALL = "call"
    INPUT = "input"
    OUTPUT = "output"
    UNKNOWN = "unknown"

    __hash__ = str.__hash__  # that of an Enum is written in Python


TRANSPARENT: Final = frozenset({Kind.IDENTITY, Kind.RESHAPE, Kind.SLICE, Kind.SPLIT})
"""Kinds that change no value: transparent for the order of layers, a barrier for channel counts."""


_SPATIAL: Final = re.compile(r"([123])d$")


class OneValue(Enum):
    """For which inputs each sample of a model gives a BatchNorm one value per channel: any, or
    rows of features (N, C) only."""

    OF_ALL = "any input"
    OF_ROWS = "rows"


class Unknown(Enum):
    """The type of the one value that says "the front end cannot see this"."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN

Parameter: TypeAlias = int | float | bool | str | tuple["Parameter", ...] | Unknown | None


class Scope(Struct, frozen=True):
    """One module on the way from the root to a node.

    `path` is the qualified module name ("" for the root, "layer1.0" below it), `cls` the qualified
    class name. Bare Sequential, ModuleList and ModuleDict are scopes with `container` set: they
    group layers but bound no block.
    """

    path: str
    cls: str
    container: bool = False


class Node(Struct, frozen=True):
    """One call of a layer, or one operation.

    id: index in the graph's `nodes`, in the order of execution.
    name: qualified torch name ("torch.nn.BatchNorm2d", "torch.nn.functional.relu"), or the name of
        a project class.
    params: constructor parameters by torch's names, folded to constants where possible; the
        defaults of torch are filled in where the front end knows them.
    place: where the layer is constructed (for an operation: where it is called).
    call_place: where it is called, when that is somewhere else.
    scope: the modules that hold it, outermost first.
    path: its qualified module name ("layer1.0.bn1"), "" for an operation.
    call_index: 0 for the first call of this module in a forward, 1 for the second, ...
    inputs: one entry per operand; each is the set of alternative producers (ids), of which exactly
        one feeds the node in any one run.
    positions: values per channel and sample (H*W for images, 1 for (N, C)); None when unknown.
    one_value: whether positions are surely one, for the samples of the model's own input; None when
        that is not sure, or when the layer may be left out.
    batch: samples in the input; None when unknown.
    checkpoint: where the call is checkpointed, which repeats it in the backward pass; None when in
        training, with all options at their defaults, some call of the layer is not.
    holder: where the module was constructed whose own code calls the function `batch_norm`.
    """

    id: int
    kind: Kind
    name: str
    params: Mapping[str, Parameter] = field(default_factory=dict)
    place: Place | None = None
    call_place: Place | None = None
    scope: tuple[Scope, ...] = ()
    path: str = ""
    call_index: int = 0
    inputs: tuple[frozenset[int], ...] = ()
    positions: int | None = None
    one_value: OneValue | None = None
    batch: int | None = None
    checkpoint: Place | None = None
    holder: Place | None = None

    @property
    def block(self) -> Scope | None:
        """The innermost scope that is not a bare container; None at top level."""
        return next((scope for scope in reversed(self.scope) if not scope.container), None)

    @property
    def short_name(self) -> str:
        """The last part of the name, for messages."""
        return self.name.rpartition(".")[2]


class LayerGraph(Record, frozen=True, dict=True):
    """All nodes of one forward of one module (or of one Sequential), in the order of execution.

    title: the class or variable it was drawn for; binding: the constructor arguments that were
    assumed, "" when there are none.
    """

    title: str
    nodes: tuple[Node, ...]
    binding: str = ""

    def __getitem__(self, node_id: int) -> Node:
        return self.nodes[node_id]

    def of_kind(self, *kinds: Kind) -> Iterator[Node]:
        """The nodes of these kinds, in the order of execution."""
        return (node for node in self.nodes if node.kind in kinds)

    def producers(self, node: Node, operand: int = 0) -> tuple[Node, ...]:
        """The alternative producers of one operand, looking through transparent nodes.

        Empty only when the node has no such operand. A cycle-free walk: inputs always have
        smaller ids, except for the back edge of a repeat region, which is followed once.
        """
        if operand >= len(node.inputs):
            return ()
        found: dict[int, Node] = {}
        seen: set[int] = set()
        pending = sorted(node.inputs[operand], reverse=True)
        while pending:
            current = self.nodes[pending.pop()]
            if current.id in seen:
                continue
            seen.add(current.id)
            if current.kind in TRANSPARENT and current.inputs:
                pending += sorted(current.inputs[0], reverse=True)
            else:
                found[current.id] = current
        return tuple(found.values())

    def consumers(self, node: Node) -> tuple[Node, ...]:
        """The nodes that may read this node's output, looking through transparent nodes."""
        found: dict[int, Node] = {}
        pending = [node.id]
        seen: set[int] = set()
        while pending:
            current = pending.pop()
            if current in seen:
                continue
            seen.add(current)
            for reader in self._readers.get(current, ()):
                if reader.kind in TRANSPARENT:
                    pending.append(reader.id)
                else:
                    found[reader.id] = reader
        return tuple(found[key] for key in sorted(found))

    def readers(self, node: Node) -> tuple[Node, ...]:
        """The nodes that may read this node's output, transparent ones included."""
        return tuple(self._readers.get(node.id, ()))

    @cached_property
    def derived(self) -> dict[type, object]:
        """What has been worked out about the graph, by its class, so that it is done once."""
        return {}

    @cached_property
    def _readers(self) -> dict[int, list[Node]]:
        readers: dict[int, list[Node]] = {}
        for node in self.nodes:
            for source in frozenset().union(*node.inputs):
                readers.setdefault(source, []).append(node)
        return readers


def same_block(first: Node, second: Node) -> bool:
    """Whether two nodes belong to one block: the same innermost scope but for bare containers."""
    return first.block == second.block


def runs_for_sure(graph: LayerGraph) -> frozenset[int]:
    """The nodes (ids) without which there is no output: no alternative lies before them.

    An operand from outside the graph (a tensor that was kept from another drawing) is none of them.
    """
    within = frozenset(range(len(graph.nodes)))
    pending = [node.id for node in graph.of_kind(Kind.OUTPUT)]
    found: set[int] = set(pending)
    while pending:
        for operand in graph[pending.pop()].inputs:
            if len(operand) == 1 and operand <= within and not operand <= found:
                found |= operand
                pending += operand
    return frozenset(found)


def spatial_dimensions(node: Node) -> int | None:
    """The d of Conv-d, BatchNorm-d and the like, by the layer's name."""
    return _dimensions_in(node.short_name)


@cache
def _dimensions_in(name: str) -> int | None:
    """There are few names of layers, and many layers of each."""
    found = _SPATIAL.search(name)
    return int(found[1]) if found is not None else None
