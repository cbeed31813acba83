"""Layer graphs of a whole project: of each class and factory that holds a BatchNorm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from bnlint.finding import Place
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.source import ir
from bnlint.source.evaluate.core import OutOfBudget
from bnlint.source.evaluate.domain import Domain
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.evaluate.module_classes import (
    descendants,
    is_module,
    is_module_class,
    kind_of,
    title_of,
    torch_layer,
)
from bnlint.source.graphs import draw_graph
from bnlint.source.project import Project
from bnlint.source.values import (
    Arguments,
    ClassObject,
    FunctionObject,
    Instance,
    Layer,
    Value,
    alternatives,
)

GRAPH_BUDGET = 80_000
"""Steps for one layer graph."""
SIMILAR_FACTORIES = 2
"""Factories drawn of those that mention the same names: resnet18, resnet34, ..., resnet152."""


class GraphArtist:
    """Draws the layer graphs of one project on a machine that has loaded it."""

    def __init__(self, project: Project, machine: Interpreter) -> None:
        self.project = project
        self.machine = machine
        self.graphs: list[LayerGraph] = []
        self.covered: set[Place] = set()
        """Constructor calls whose BatchNorm is in some graph."""

    def draw_graphs(self) -> None:
        """A graph for each function that returns a module and each module class that hold a
        BatchNorm; then for the modules that scripts have built; then lone constructor calls."""
        seen: set[tuple[str, ir.Span]] = set()
        definitions = []
        for definition in self.machine.definitions:
            facts = definition.frame.module.facts
            key = (facts.path, definition.definition.span)
            if key not in seen and facts.mentions_batchnorm:
                seen.add(key)
                definitions.append(definition)
        for definition in self._different_factories(definitions):
            self.draw_definition(definition)
        for definition in reversed(definitions):
            if isinstance(definition, ClassObject):
                self.draw_definition(definition)
        for module in list(self.machine.built_modules):
            self._draw(module, title_of(module), "", only_new=True)
        self.graphs += self._lone_layers()

    def _different_factories(
        self, definitions: list[FunctionObject | ClassObject]
    ) -> Iterator[FunctionObject]:
        """Functions that may build models; of those that mention the same names, the first two."""
        counts: Counter[tuple[str, frozenset[str]]] = Counter()
        for definition in definitions:
            if isinstance(definition, FunctionObject) and definition.owner is None:
                words = self.project.relevance.profile(definition.definition).words
                key = (definition.frame.module.facts.path, words)
                counts[key] += 1
                if counts[key] <= SIMILAR_FACTORIES:
                    yield definition

    def draw_definition(
        self, definition: FunctionObject | ClassObject, *, only_new: bool = True
    ) -> None:
        """Draw what a class or a factory gives with its defaults."""
        machine = self.machine
        if isinstance(definition, ClassObject) and not is_module_class(definition):
            return
        with machine.drawing(Domain(), GRAPH_BUDGET):
            try:
                value = self._build(definition)
            except OutOfBudget:
                return
            for single in alternatives(value):
                if is_module(single):
                    is_factory = isinstance(definition, FunctionObject)
                    binding = f"built by {definition.name}()" if is_factory else ""
                    self._draw(single, title_of(single), binding, only_new)

    def _build(self, definition: FunctionObject | ClassObject) -> Value:
        machine = self.machine
        if isinstance(definition, FunctionObject):
            return machine.call_function(definition, machine.free_arguments(definition))
        initializer = machine.find(definition, "__init__")
        arguments = Arguments(place=_place_of(definition))
        if isinstance(initializer, FunctionObject):
            arguments = machine.free_arguments(initializer)
            arguments.place = _place_of(definition)
        return machine.construct(definition, arguments)

    def _draw(self, module: Value, title: str, binding: str, only_new: bool) -> None:
        places = set(_batchnorm_places(module))
        if only_new and (not places or places <= self.covered):
            return
        try:
            graph = draw_graph(self.machine, module, title, GRAPH_BUDGET)
        except OutOfBudget:
            return
        if graph is None:
            return
        self.graphs.append(replace(graph, binding=binding))
        self.covered |= {
            node.place for node in graph.of_kind(Kind.BATCHNORM) if node.place is not None
        }

    def _lone_layers(self) -> Iterator[LayerGraph]:
        """Constructor calls that no forward leads to: their parameters can still be judged."""
        for place, (name, parameters) in self.machine.batchnorms.items():
            if place in self.covered:
                continue
            unknown = Node(0, Kind.UNKNOWN, "")
            node = Node(1, Kind.BATCHNORM, name, parameters, place, inputs=(frozenset({0}),))
            yield LayerGraph(name.rpartition(".")[2], (unknown, node))


def _place_of(definition: ClassObject) -> Place:
    return definition.frame.module.facts.place(definition.definition.header)


def _batchnorm_places(module: Value) -> Iterator[Place]:
    for _, layer in descendants(module):
        if kind_of(layer) is Kind.BATCHNORM and isinstance(layer, Layer | Instance):
            described = torch_layer(layer)
            if layer.place is not None and described is not None:
                yield layer.place
