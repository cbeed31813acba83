"""Drawing layer graphs: forward() is run on abstract tensors, every layer call becomes a node."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import ClassVar

from bnlint.finding import Place
from bnlint.graph import Kind, Node, Parameter, Scope
from bnlint.records import replace
from bnlint.source.evaluate.core import OutOfBudget
from bnlint.source.evaluate.domain import Domain, tensors_in
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.evaluate.module_classes import (
    TorchLayer,
    descendants,
    is_bare_container,
    is_container,
    is_module,
    parameter_of,
    title_of,
    torch_layer,
)
from bnlint.source.evaluate.sizes import shape_of
from bnlint.source.evaluate.torch_calls import writes_in_place
from bnlint.source.joining import one_of
from bnlint.source.memory import Memory
from bnlint.source.passages import NODES_PER_STEP, Copy, Passage, Passages, Recorder, given_by
from bnlint.source.store import Store
from bnlint.source.structure import Structures
from bnlint.source.values import (
    ANYTHING,
    NONE,
    Arguments,
    Choice,
    Element,
    External,
    Frame,
    FunctionObject,
    HeapObject,
    Instance,
    Known,
    Layer,
    Partial,
    Repeat,
    Sequence,
    Tensor,
    Value,
    alternatives,
    births,
    items_of,
)
from bnlint.torchnames import lookup

TENSOR_FUNCTION = re.compile(r"^torch\.((Tensor|nn\.functional|fft|linalg|special)\.)?\w+$")
"""Functions of torch that calculate a tensor, whether the table of names knows them or not."""
LARGEST_GRAPH = 4_000
"""Nodes of one graph; the largest published networks have about 2,500."""


class GraphDomain(Domain):
    """Makes a node of every layer call and operation.

    The sources of a tensor are the nodes of which one has produced it. usual: the module is drawn
    as in training with all options at their defaults; else as in any use.
    """

    draws_layers: ClassVar[bool] = True

    def __init__(
        self, root: Value, store: Store, passages: Passages, *, usual: bool = False
    ) -> None:
        self.root = root
        self.store = store
        self.passages = passages
        self.usual = self.takes_defaults = usual
        self.nodes: list[Node] = []
        self.scope: tuple[Scope, ...] = ()
        self.paths = {id(module): path for path, module in descendants(root)}
        self.calls: dict[str, int] = {}
        self.running: list[Value] = []
        self.memory = Memory(store, self.nodes)
        self.structures = Structures(store, passages.number, self.paths)

    @property
    def size(self) -> int:
        """How many nodes have been drawn."""
        return len(self.nodes)

    def is_training(self) -> Value:
        """What `module.training` and the like are."""
        return Known(True) if self.usual else ANYTHING

    def add(
        self,
        kind: Kind,
        name: str,
        inputs: Iterable[frozenset[int]] = (),
        place: Place | None = None,
        parameters: dict[str, Parameter] | None = None,
        **more: object,
    ) -> Tensor:
        """Add a node; the tensor that it produces. Raises OutOfBudget for the one too many."""
        if len(self.nodes) >= LARGEST_GRAPH:
            raise OutOfBudget
        node = Node(
            id=len(self.nodes),
            kind=kind,
            name=name,
            params=parameters or {},
            place=place,
            inputs=tuple(_shared(self.memory.current(operand)) for operand in inputs),
            **{"scope": self.scope, **more},  # type: ignore[arg-type]
        )
        self.nodes.append(node)
        return Tensor(frozenset({node.id}))

    def wrote(self, machine: Interpreter, target: Value, result: Value) -> None:
        """`result` was calculated in the memory of `target`."""
        for made in tensors_in([result]):
            for writer in made.sources:
                for tensor in tensors_in([target]):
                    self.memory.overwritten(tensor.sources, writer)

    # --- modules -----------------------------------------------------------------------------

    def call_module(
        self,
        machine: Interpreter,
        module: Value,
        arguments: Arguments,
        frame: Frame,
        method: str = "forward",
    ) -> Value:
        """`module(arguments)`: run its forward, or add a node for a torch layer."""
        if isinstance(module, Instance):
            forward = machine.find(module.cls, method)
            if isinstance(forward, FunctionObject):
                method_of = replace(forward, receiver=module)
                again = bool(self.running) and self.running[-1] is module  # super().forward(x)
                with self._inside(module):
                    if again:
                        return machine.call_function(method_of, arguments)
                    return self._pass_through(machine, module, method_of, arguments)
        return self.call_torch(machine, module, arguments, frame)

    def _pass_through(
        self, machine: Interpreter, module: Instance, method: FunctionObject, arguments: Arguments
    ) -> Value:
        """Run a method of a module, or copy what a module of the same structure has drawn."""
        given = given_by(arguments)
        number = None if given is None else self.structures.number(module)
        if given is None or number is None or not self._are_current(given.groups):
            return machine.call_function(method, arguments)
        around = (self.usual, machine.checkpoint, self.store.definitions)
        key = (number, method.name, given.content, around)
        passage = self.passages.find(key)
        if passage is not None:
            return self._copy(machine, passage, given.groups)
        if self.structures.counts[number] < 2 and self.passages.is_new(number):
            return machine.call_function(method, arguments)
        run = partial(machine.call_function, method, arguments)
        return self._record(machine, key, given.groups, run)

    def _are_current(self, groups: Iterable[frozenset[int]]) -> bool:
        """Whether nobody has written to what these nodes have made."""
        return all(self.memory.current(group) == group for group in groups)

    def _copy(
        self, machine: Interpreter, passage: Passage, groups: tuple[frozenset[int], ...]
    ) -> Value:
        """Draw a passage that was kept."""
        machine.spend(1 + len(passage.parts) // NODES_PER_STEP)
        machine.noticed.reading |= passage.texts
        if len(self.nodes) + len(passage.parts) > LARGEST_GRAPH:
            raise OutOfBudget
        copy = Copy(passage, len(self.nodes), groups, self.scope, self._holder())
        self.nodes += copy.nodes(self._call_of)
        for written, writers in copy.writers():
            self.memory.write(written, writers)
        return copy.result()

    def _record(
        self,
        machine: Interpreter,
        key: Hashable,
        groups: tuple[frozenset[int], ...],
        run: Callable[[], Value],
    ) -> Value:
        """Draw what a module does, and keep it if it has to do with nothing but its arguments."""
        first, truncated = len(self.nodes), machine.truncated
        start = births()
        recorder = Recorder(first, groups, self.scope, self._holder(), start)
        outer = machine.noticed.listen()
        try:
            with self.store.watched() as written:
                result = run()
        finally:
            texts = machine.noticed.heard(outer)
        others = (obj for obj, field in written if not self._is_own(obj, field, first))
        if machine.truncated == truncated and all(obj.born > start for obj in others):
            writers = self.memory.writers(first)
            passage = recorder.passage(self.nodes[first:], writers, result, texts)
            if passage is not None:
                self.passages.keep(key, passage)
        return result

    def _is_own(self, obj: HeapObject, field: object, first: int) -> bool:
        """Whether a write tells of the memory that the nodes since the first have made."""
        return obj is self.memory and isinstance(field, int) and field >= first

    def _call_of(self, path: str) -> int:
        """The number of the call of a layer that is made now."""
        count = self.calls.get(path, 0)
        self.calls[path] = count + 1
        return count

    def call_torch(
        self, machine: Interpreter, module: Value, arguments: Arguments, frame: Frame
    ) -> Value:
        """The forward of torch's own class: a container runs its elements, a layer is a node."""
        if is_container(module):
            return self._through_container(machine, module, arguments, frame)
        layer = torch_layer(module)
        if layer is not None:
            return self._layer(machine, module, layer, arguments, frame)
        return self._unknown(title_of(module), arguments)

    @contextmanager
    def _inside(self, module: Value) -> Iterator[None]:
        assert isinstance(module, Instance | Layer)
        if self.running and self.running[-1] is module:
            yield  # super().forward(x)
            return
        qualified = module.cls.qualified if isinstance(module, Instance) else module.name
        outer = self.scope
        inner = Scope(self._path(module), qualified, is_bare_container(module))
        self.scope = (*outer, inner)
        self.running.append(module)
        try:
            yield
        finally:
            self.running.pop()
            self.scope = outer

    def _path(self, module: Value) -> str:
        """The qualified name; for a module that is not registered, one below its caller's."""
        known = self.paths.get(id(module))
        if known is not None:
            return known
        above = self.scope[-1].path if self.scope else ""
        return f"{above}.{title_of(module)}".lstrip(".")

    def _through_container(
        self, machine: Interpreter, module: Value, arguments: Arguments, frame: Frame
    ) -> Value:
        """A Sequential: its elements one after the other."""
        name = module.name if isinstance(module, Layer) else ""
        if name in ("torch.nn.ModuleList", "torch.nn.ModuleDict") or not arguments.positional:
            return self._unknown(title_of(module), arguments)
        assert isinstance(module, Layer | Instance)
        with self._inside(module):
            return self._run(machine, items_of(module), arguments.positional[0], arguments, frame)

    def _run(
        self,
        machine: Interpreter,
        elements: tuple[Element, ...],
        value: Value,
        arguments: Arguments,
        frame: Frame,
    ) -> Value:
        for element in elements:
            if isinstance(element, Choice):
                value = one_of(
                    self._run(machine, run, value, arguments, frame) for run in element.runs
                )
            elif isinstance(element, Repeat):
                once = self._run(machine, element.run, value, arguments, frame)
                again = self._run(machine, element.run, once, arguments, frame)
                value = one_of((once, again))
            else:
                given = Arguments([value], place=arguments.place)
                value = self._call_each(machine, element, given, frame)
        return value

    def _call_each(
        self, machine: Interpreter, element: Value, given: Arguments, frame: Frame
    ) -> Value:
        results: list[Value] = []
        for single in alternatives(element):
            if single == NONE:
                continue
            results.append(
                self.call_module(machine, single, given, frame)
                if is_module(single)
                else self._unknown("", given)
            )
        return one_of(results)

    def _layer(
        self,
        machine: Interpreter,
        module: Value,
        layer: TorchLayer,
        arguments: Arguments,
        frame: Frame,
    ) -> Value:
        entry = lookup(layer.name)
        kind = entry.kind if entry is not None else Kind.UNKNOWN
        wrapped = module.fields.get("module") if isinstance(module, Layer) else None
        if entry is None and isinstance(wrapped, Layer | Instance):
            return self.call_module(machine, wrapped, arguments, frame)
        assert isinstance(module, Layer | Instance)
        inside = bool(self.running) and self.running[-1] is module
        path = self.scope[-1].path if inside else self._path(module)
        tensor = self.add(
            kind,
            layer.name,
            self._operands(arguments.positional[:1] or [*arguments.keywords.values()][:1]),
            module.place,
            dict(layer.parameters),
            call_place=arguments.place,
            path=path,
            call_index=self._call_of(path),
            checkpoint=machine.checkpoint,
            scope=self.scope[:-1] if inside else self.scope,
        )
        if layer.parameters.get("inplace") is True:
            self.wrote(machine, arguments.positional[0] if arguments.positional else NONE, tensor)
        if kind is Kind.RECURRENT or kind is Kind.ATTENTION:
            return Sequence("tuple", (tensor, tensor))
        return tensor

    # --- operations --------------------------------------------------------------------------

    def operation(
        self, machine: Interpreter, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        """A torch function or tensor method, or an operator."""
        entry = lookup(name)
        kind = entry.kind if entry is not None else Kind.CALL
        if name == "operator.getitem":
            kind = Kind.SLICE
        given = arguments.all()
        tensors = list(tensors_in(given))
        if not tensors and not name.startswith("torch.nn.functional."):
            return ANYTHING
        match kind:
            case Kind.CONCAT | Kind.ADD | Kind.MUL | Kind.CALL:
                operands = [t.sources for t in tensors if t.sources]
            case _:
                operands = self._operands(given[:1])
        parameters = self._parameters(name, arguments)
        more = {"holder": self._holder()} if kind is Kind.BATCHNORM else {}
        tensor = self.add(kind, name, operands, arguments.place, parameters, **more)
        if writes_in_place(name, arguments):
            self.wrote(machine, given[0], tensor)
        if kind is Kind.SPLIT:
            return self._split(tensor, arguments)
        return tensor

    def _holder(self) -> Place | None:
        """Where the module was constructed whose forward runs now."""
        module = self.running[-1] if self.running else None
        return module.place if isinstance(module, Instance | Layer) else None

    def _split(self, tensor: Tensor, arguments: Arguments) -> Value:
        return Sequence("tuple", (Repeat((tensor,)),))

    def _parameters(self, name: str, arguments: Arguments) -> dict[str, Parameter]:
        if name.rpartition(".")[2] in ("view", "reshape"):
            return {"shape": shape_of(arguments)}
        entry = lookup(name)
        if entry is None or not entry.parameters:
            return {}
        positional = tuple(parameter_of(value) for value in arguments.positional)
        keywords = {key: parameter_of(value) for key, value in arguments.keywords.items()}
        return entry.bind(positional, keywords)

    def _operands(self, values: Iterable[Value]) -> list[frozenset[int]]:
        """One operand for each value; what is no tensor is an UNKNOWN producer."""
        operands = []
        for value in values:
            sources: frozenset[int] = frozenset()
            for single in alternatives(value):
                tensors = list(tensors_in([single]))
                if tensors:
                    sources |= frozenset().union(*(t.sources for t in tensors))
                elif single != NONE:
                    sources |= self.add(Kind.UNKNOWN, "").sources
            operands.append(sources or self.add(Kind.UNKNOWN, "").sources)
        return operands

    def _unknown(self, name: str, arguments: Arguments, kind: Kind = Kind.UNKNOWN) -> Tensor:
        operands = [t.sources for t in tensors_in(arguments.all()) if t.sources]
        return self.add(kind, name, operands, arguments.place)

    def comparison(
        self, machine: Interpreter, operator: str, left: Value, right: Value, place: Place
    ) -> Value:
        """`left < right` for tensors."""
        given = Arguments([left, right], place=place)
        return self._unknown(f"operator.{operator.lower()}", given, Kind.CALL)

    def unknown_call(
        self, machine: Interpreter, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        """A call that cannot be seen; with tensors given it makes an unknown tensor."""
        if not any(t.sources for t in tensors_in(arguments.all())):
            return ANYTHING
        is_plain = TENSOR_FUNCTION.match(name) and not any(map(_may_be_called, arguments.all()))
        return self._unknown(name, arguments, Kind.CALL if is_plain else Kind.UNKNOWN)


@lru_cache(maxsize=10_000)
def _shared(operand: frozenset[int]) -> frozenset[int]:
    """The same set: most operands of all graphs are one of few, and each is larger than a node."""
    return operand


def _may_be_called(value: Value) -> bool:
    """Whether a value is a function or a module, which the callee may run."""
    callables = FunctionObject | External | Partial | Instance | Layer
    return any(isinstance(single, callables) for single in alternatives(value))
