"""Draws the layer graph while a forward runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn

from bnlint.finding import Place
from bnlint.graph import TRANSPARENT, UNKNOWN, Kind, LayerGraph, Node, Parameter
from bnlint.live.callers import checkpointing
from bnlint.live.intercept import BatchNormCall, DropoutCall, Sensitive
from bnlint.live.modules import Names, is_scripted, parameters_of, qualified, torch_entry
from bnlint.live.operations import describe, may_write, takes_shape_only
from bnlint.live.places import Places, calling_place, computing_module, place_of_frame
from bnlint.live.stack import Running, Stack
from bnlint.live.tensors import tensors_in
from bnlint.live.writers import CONSTANT, Writers
from bnlint.torchnames import TorchName

LAYERS: Final = frozenset(
    {Kind.BATCHNORM, Kind.CONV, Kind.LINEAR, Kind.DROPOUT, Kind.EMBEDDING, Kind.RECURRENT}
)
"""Kinds that are nodes whatever feeds them, even noise made inside the forward."""


@dataclass(slots=True)
class Operation:
    """A function call between its beginning and its end."""

    entry: TorchName
    operands: list[frozenset[int]]
    first: Tensor | None
    versions: list[tuple[Tensor, int | None]]
    writes: bool
    sensitive: Sensitive | None
    rate: object = None
    """What is given as `dropout_p`."""


class Drawing:
    """The growing layer graph: hears of layers from the stack, of functions from the mode."""

    def __init__(self, names: Names, title: str, places: Places) -> None:
        self.names = names
        self.title = title
        self.stack = Stack(names, self)
        self.places = places
        self.nodes: list[Node] = []
        self._writers = Writers()
        self._mark_constants()

    def graph(self) -> LayerGraph:
        """The graph as far as it is drawn."""
        return LayerGraph(self.title, tuple(self.nodes))

    def inputs(self, values: object) -> None:
        """The model's inputs, each an INPUT node."""
        for tensor in tensors_in(values):
            node = self._add(Kind.INPUT, "input", batch=len(tensor) if tensor.dim() else None)
            self._writers.made(tensor, node)

    def outputs(self, values: object) -> None:
        """The model's outputs, together one OUTPUT node."""
        operands = self._operands(list(tensors_in(values)))
        self._add(Kind.OUTPUT, "output", inputs=tuple(operands))

    # -- layers, told by the stack

    def layer_begins(self, running: Running, inputs: list[Tensor]) -> None:
        """Note what feeds the layer, before it can change its input in place."""
        running.operands = self._operands(inputs, unknown=True)
        running.inputs = [(tensor, self._writers.writes(tensor)) for tensor in inputs]
        if inputs:
            self._draw_layer(running, inputs[0])

    def layer_ends(self, running: Running, outputs: list[Tensor]) -> None:
        """The layer's outputs are its node's."""
        if running.node is None:
            self._draw_layer(running, None)
        assert running.node is not None
        transparent = self.nodes[running.node].kind in TRANSPARENT
        for tensor in outputs:
            if transparent or not self._passed_through(running, tensor):
                self._writers.made(tensor, running.node)

    def _passed_through(self, running: Running, output: Tensor) -> bool:
        """Whether an output is an input that nobody wrote to."""
        return any(
            output is tensor and self._writers.writes(tensor) == writes
            for tensor, writes in running.inputs
        )

    def _draw_called_by_keyword(self, running: Running, tensors: list[Tensor]) -> None:
        """A layer whose inputs the hook could not see: its first operation shows them."""
        data = [tensor for tensor in tensors if self._source(tensor) != CONSTANT]
        if data:
            running.operands = self._operands(data)
            self._draw_layer(running, data[0])

    def _draw_layer(self, running: Running, first: Tensor | None) -> None:
        entry = torch_entry(running.module)
        if is_scripted(running.module) or entry is None:
            entry = TorchName(qualified(type(running.module)), Kind.CALL)
        running.node = self._add_module(running, entry, tuple(running.operands), first)

    # -- functions, told by the mode

    def begin(
        self,
        function: Callable[..., Any],
        tensors: list[Tensor],
        kwargs: dict[str, Any],
        sensitive: Sensitive | None,
    ) -> Operation:
        """A function is about to run: what feeds it, before it can write."""
        layer = self.stack.layer
        if layer is not None and layer.node is None:
            self._draw_called_by_keyword(layer, tensors)
        entry = describe(function)
        watched = [sensitive.input] if sensitive is not None else tensors
        if entry.kind in TRANSPARENT:
            watched = tensors[:1]  # view_as(other), x[mask]: the others only say which values
        elif takes_shape_only(entry.name):
            watched = []
        operands = [] if layer else self._operands(watched, unknown=entry.kind in LAYERS)
        versions = [(tensor, _version(tensor)) for tensor in tensors]
        first = watched[0] if watched else None
        writes = may_write(function, kwargs)
        rate = kwargs.get("dropout_p")
        return Operation(entry, operands, first, versions, writes, sensitive, rate)

    def end(self, operation: Operation, result: Any) -> int | None:
        """The function has returned: draw it, and note what it made and wrote. Its node, if any."""
        outputs = list(tensors_in(result))
        written = [
            t for t, version in operation.versions if _changed(t, version, operation, outputs)
        ]
        if not outputs and not written:
            return None
        node = self._node_of(operation)
        for tensor in written:
            self._writers.wrote(tensor, node)
        for tensor in outputs:
            if not any(tensor is other for other in written):
                self._label_output(operation, tensor, node)
        return None if node == CONSTANT else node

    def _label_output(self, operation: Operation, tensor: Tensor, node: int) -> None:
        handed_on = any(tensor is operand for operand, _ in operation.versions)
        if handed_on and (node == CONSTANT or self.nodes[node].kind not in TRANSPARENT):
            return
        self._writers.made(tensor, node)

    def _node_of(self, operation: Operation) -> int:
        layer = self.stack.layer
        if layer is not None and layer.node is not None:
            return layer.node
        if not operation.operands:
            return CONSTANT
        return self._add_function(operation)

    def _add_function(self, operation: Operation) -> int:
        holder = self._module_behind(operation)
        if holder is not None:
            entry = torch_entry(holder.module)
            assert entry is not None
            return self._add_module(holder, entry, tuple(operation.operands), operation.first)
        return self._add(
            operation.entry.kind,
            operation.entry.name,
            params=_functional_parameters(operation),
            place=calling_place(),
            scope=self.stack.scope(),
            inputs=tuple(operation.operands),
            **_extent(operation.first),
        )

    def _module_behind(self, operation: Operation) -> Running | None:
        """The module whose own computation this function is, such as a subclass of BatchNorm2d."""
        kind = operation.entry.kind
        if kind not in LAYERS:
            return None
        running = self.stack.innermost
        if running is not None and _is_of_kind(running.module, kind):
            return running
        module = computing_module()
        if module is None or module not in self.names or not _is_of_kind(module, kind):
            return None
        return self.stack.called_directly(module)

    # -- nodes

    def _add_module(
        self,
        running: Running,
        entry: TorchName,
        inputs: tuple[frozenset[int], ...],
        first: Tensor | None,
    ) -> int:
        return self._add(
            entry.kind,
            entry.name,
            params=parameters_of(running.module),
            place=self.places.of_layer(self.stack.holders(running), running.path),
            call_place=calling_place(),
            scope=self.stack.scope(running),
            path=running.path,
            call_index=running.call_index,
            inputs=inputs,
            checkpoint=_checkpoint() if entry.kind is Kind.BATCHNORM else None,
            **_extent(first),
        )

    def _add(self, kind: Kind, name: str, **known: Any) -> int:
        node = Node(id=len(self.nodes), kind=kind, name=name, **known)
        self.nodes.append(node)
        return node.id

    def _operands(self, tensors: Sequence[Tensor], unknown: bool = False) -> list[frozenset[int]]:
        """One operand for each tensor that carries data; constants are none.

        unknown: a constant counts as data from nowhere when it is the only thing that there is.
        """
        found = [self._source(tensor) for tensor in tensors]
        operands = [frozenset({node}) for node in found if node != CONSTANT]
        if operands or not unknown or not tensors:
            return operands
        return [frozenset({self._add(Kind.UNKNOWN, "unknown")})]

    def _source(self, tensor: Tensor) -> int:
        known = self._writers.producer(tensor)
        if known is not None:
            return known
        node = self._add(Kind.UNKNOWN, "unknown")
        self._writers.made(tensor, node)
        return node

    def _mark_constants(self) -> None:
        for module in self.names.root.modules():
            held = (
                *module.parameters(recurse=False),
                *module.buffers(recurse=False),
                *tensors_in(list(vars(module).values())),
            )
            for tensor in held:
                self._writers.made(tensor, CONSTANT)


def _is_of_kind(module: nn.Module, kind: Kind) -> bool:
    entry = torch_entry(module)
    return entry is not None and entry.kind is kind


def _version(tensor: Tensor) -> int | None:
    """The counter of writes in place; None for tensors of inference mode, which have none."""
    return None if tensor.is_inference() else int(tensor._version)


def _changed(
    tensor: Tensor, version: int | None, operation: Operation, outputs: list[Tensor]
) -> bool:
    """Whether the operand was written: by its version, or for tensors without one by the name."""
    if version is not None:
        return tensor._version != version
    returned = any(tensor is output for output in outputs)
    return operation.writes and (returned or not outputs)


def _extent(tensor: Tensor | None) -> dict[str, int | None]:
    """Batch and values per channel and sample of a tensor (N, C, ...)."""
    if tensor is None or tensor.dim() < 2:
        return {"batch": None, "positions": None}
    batch, channels = tensor.shape[:2]
    positions = tensor.numel() // (batch * channels) if batch and channels else None
    return {"batch": int(batch), "positions": positions}


def _functional_parameters(operation: Operation) -> dict[str, Parameter]:
    sensitive = operation.sensitive
    match sensitive:
        case BatchNormCall():
            channels = sensitive.input.shape[1] if sensitive.input.dim() > 1 else UNKNOWN
            return {
                "num_features": channels,
                "eps": sensitive.eps,
                "momentum": sensitive.momentum,
                "affine": sensitive.weight is not None,
                "track_running_stats": sensitive.has_running,
            }
        case DropoutCall():
            return {"p": sensitive.p, "inplace": sensitive.inplace}
        case None:
            rate = operation.rate
            return {"dropout_p": float(rate)} if isinstance(rate, int | float) else {}


def _checkpoint() -> Place | None:
    """Where the current call is checkpointed, if it is."""
    frame = checkpointing()
    return None if frame is None else place_of_frame(frame)
