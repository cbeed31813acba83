"""Which mode-sensitive layers the modules of a program hold, and which of them a forward runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bnlint.graph import Kind
from bnlint.records import Struct, field
from bnlint.source.drawing import draw_graph
from bnlint.source.evaluate.core import GIVEN_UP
from bnlint.source.evaluate.domain import Domain
from bnlint.source.evaluate.freezing import parts_of
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.evaluate.known_models import shown_path
from bnlint.source.evaluate.module_classes import (
    children,
    descendants,
    is_container,
    kind_of,
    title_of,
    torch_layer,
)
from bnlint.source.evaluate.stochastic_depth import drops_paths
from bnlint.source.functional_dropout import FunctionalDropout, dropout_calls, functional_dropout
from bnlint.source.values import OPTIONAL, Instance, Layer, Value
from bnlint.trace import Model, SensitiveLayer

REACH_BUDGET = 60_000
"""Steps to find out which layers a forward runs."""


SENSITIVE = (Kind.BATCHNORM, Kind.DROPOUT)
"""Kinds of layers that the mode changes."""


class Held(NamedTuple):
    """The mode-sensitive layers (ids) in a module, and the modules whose own flag is followed."""

    layers: frozenset[int]
    flags: frozenset[int]


class Members(Struct, Domain):
    """Numbers the layers and models of a trace, the same each time they are met.

    first_number: the first that is free.
    """

    first_number: int = 0
    layers: dict[int, SensitiveLayer] = field(default_factory=dict)
    models: dict[int, Model] = field(default_factory=dict)
    _ids: dict[int, int] = field(default_factory=dict)
    _alive: list[object] = field(default_factory=list)
    _reached: dict[object, tuple[frozenset[str], frozenset[int]]] = field(default_factory=dict)
    _listed: dict[int, tuple[int, Value, list[tuple[str, Value]]]] = field(default_factory=dict)
    _running: dict[int, tuple[int, Value, frozenset[int]]] = field(default_factory=dict)
    _held: dict[int, tuple[int, Held]] = field(default_factory=dict)
    _functional: dict[object, bool] = field(default_factory=dict)
    _sizes: dict[int, tuple[int, int]] = field(default_factory=dict)

    def _id(self, obj: object) -> int:
        """A number for an object, the same each time; the object is kept alive."""
        key = id(obj)
        if key not in self._ids:
            self._ids[key] = self.next_number
            self._alive.append(obj)
        return self._ids[key]

    @property
    def next_number(self) -> int:
        """The next number that is free."""
        return self.first_number + len(self._ids)

    def _is(self, obj: object, number: int) -> bool:
        return self._ids.get(id(obj)) == number

    def _below(self, machine: Interpreter, module: Value) -> list[tuple[str, Value]]:
        """The module and all modules below it with their paths, listed once for each state."""
        version = machine.store.version
        known = self._listed.get(id(module))
        if known is None or known[0] != version:
            known = self._listed[id(module)] = (version, module, list(descendants(module)))
        return known[2]

    def sensitive(self, machine: Interpreter, module: Value) -> frozenset[int]:
        """The ids of the mode-sensitive layers that a module is or holds."""
        return self._hold(machine, module).layers

    def _hold(self, machine: Interpreter, module: Value) -> Held:
        version = machine.store.version
        cached = self._held.get(id(module))
        if cached is not None and cached[0] == version:
            return cached[1]
        below = self._below(machine, module)
        layers = self._find_sensitive(below)
        flags = (self._id(part) for _, part in below if has_flag(part))
        found = Held(layers, frozenset(flags) if layers else frozenset())
        self._id(module)
        self._held[id(module)] = (version, found)
        return found

    def reached(self, machine: Interpreter, module: Value) -> frozenset[int]:
        """The sensitive layers that the module's forward runs; all of them where it cannot be
        followed to its end."""
        version = machine.store.version
        known = self._running.get(id(module))
        if known is None or known[0] != version:
            known = self._running[id(module)] = (version, module, self._runs(machine, module))
        return known[2]

    def _runs(self, machine: Interpreter, module: Value) -> frozenset[int]:
        layers = self.sensitive(machine, module)
        wrapped = module.fields.get("module") if isinstance(module, Layer) else None
        if isinstance(wrapped, Instance):
            return self.reached(machine, wrapped)
        if not layers or not isinstance(module, Instance):
            return layers
        by_path = {path: self._ids.get(id(layer)) for path, layer in self._below(machine, module)}
        held = frozenset(path for path, number in by_path.items() if number in layers)
        key = (module.cls.frame.module.facts.path, module.cls.definition.span, held)
        if key not in self._reached:
            own = frozenset(path for path in held if self._acts_itself(by_path[path]))
            outer = machine.noticed.listen()
            try:
                reached = _reached_paths(machine, module, held, own)
            finally:
                texts = machine.noticed.heard(outer)
            self._reached[key] = (reached, texts)
        reached, known = self._reached[key]
        machine.noticed.reading |= known
        return layers & {by_path[path] for path in reached}

    def _find_sensitive(self, below: list[tuple[str, Value]]) -> frozenset[int]:
        found = set()
        for path, layer in below:
            kind = sensitive_kind(layer)
            if kind is not None:
                found.add(self._note_layer(layer, path, kind))
            elif isinstance(layer, Instance) and self._drops(layer) is not None:
                found.add(self._note_functional(layer, path))
        return frozenset(found)

    def _drops(self, module: Instance) -> FunctionalDropout | None:
        """How a module drops values in its own methods in training mode."""
        key = (module.cls.frame.module.facts.path, module.cls.definition.span)
        if key not in self._functional:
            self._functional[key] = any(True for _ in dropout_calls(module.cls))
        return functional_dropout(module) if self._functional[key] else None

    def _acts_itself(self, number: int | None) -> bool:
        """Whether a noted layer is no layer of torch and calls none of its functions."""
        layer = self.layers.get(number) if number is not None else None
        return layer is not None and "." not in layer.name

    def _note_functional(self, module: Instance, path: str) -> int:
        number = self._id(module)
        known = self.layers.get(number)
        found = self._drops(module)
        if found is not None and (known is None or (path and not known.path)):
            self.layers[number] = SensitiveLayer(
                number,
                Kind.DROPOUT,
                found.name,
                shown_path(path),
                found.place,
                optional=found.optional,
            )
        return number

    def _note_layer(self, layer: Value, path: str, kind: Kind) -> int:
        number = self._id(layer)
        known = self.layers.get(number)
        if known is None or (path and not known.path):
            described = torch_layer(layer)
            name = described.name if described is not None else ""
            place = layer.place if isinstance(layer, Layer | Instance) else None
            optional = isinstance(layer, Layer) and OPTIONAL in layer.fields
            self.layers[number] = SensitiveLayer(
                number, kind, name, shown_path(path), place, optional=optional
            )
        return number

    def model(self, machine: Interpreter, module: Layer | Instance) -> int:
        """The id of a model object."""
        number = self._id(module)
        layers = self.sensitive(machine, module)
        self.models[number] = Model(number, title_of(module), module.place, layers)
        return number

    def _size(self, machine: Interpreter, modules: Sequence[Value]) -> int:
        """How many layers with parameters some modules hold."""
        single = modules[0] if len(modules) == 1 else None
        version = machine.store.version
        known = self._sizes.get(id(single)) if single is not None else None
        if known is not None and known[0] == version:
            return known[1]
        found = {id(m) for mod in modules for _, m in self._below(machine, mod) if parts_of(m)}
        if single is not None:
            self._id(single)
            self._sizes[id(single)] = (version, len(found))
        return len(found)


def _reached_paths(
    machine: Interpreter, module: Instance, held: frozenset[str], own: frozenset[str]
) -> frozenset[str]:
    """Which of the layers `held` (by path) a forward of the module calls; `own`: those whose own
    code, not a function of torch, makes them one."""
    try:
        graph = draw_graph(machine, module, "", REACH_BUDGET)
    except GIVEN_UP:
        return held
    if graph is None or any(True for _ in graph.of_kind(Kind.UNKNOWN)):
        return held
    called = {node.path for node in graph.nodes if node.path}
    dropping = graph.of_kind(Kind.DROPOUT, Kind.ATTENTION)
    functions = (n for n in dropping if not n.path and n.scope)
    called |= {node.scope[-1].path for node in functions}
    derived = {
        path
        for path, layer in descendants(module)
        if isinstance(layer, Instance) and kind_of(layer)
    }
    inside = {scope.path for node in graph.nodes for scope in node.scope}
    return held & (called | (inside & (own | derived)))


def sensitive_kind(layer: Value) -> Kind | None:
    """Whether a layer is a BatchNorm, or drops; None for everything else."""
    kind = kind_of(layer)
    if kind is Kind.BATCHNORM or (kind is Kind.DROPOUT and is_active(layer)):
        return kind
    drops = isinstance(layer, Layer) and drops_paths(layer.name)
    return Kind.DROPOUT if drops else None


def is_active(layer: Value) -> bool:
    """Whether a dropout ever drops: p is 0 only when the text says so, and no option of the
    command line changes it."""
    if isinstance(layer, Layer) and OPTIONAL in layer.fields:
        return True
    described = torch_layer(layer)
    return described is None or described.parameters.get("p") != 0


def has_flag(module: Value) -> bool:
    """Whether the training flag of a module is followed that is no layer itself."""
    if kind_of(module) is not None and not is_container(module):
        return False
    return isinstance(module, Instance) or any(True for _ in children(module))
