"""Layer graphs of a whole project: of each class and factory that holds a BatchNorm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Set
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, TypeVar

from bnlint.finding import Place
from bnlint.graph import UNKNOWN, Kind, LayerGraph, Node
from bnlint.records import Struct, field, replace
from bnlint.source import ir
from bnlint.source.constructors import constructor_calls, may_hold_calls
from bnlint.source.drawing import draw_graph
from bnlint.source.evaluate.core import GIVEN_UP
from bnlint.source.evaluate.domain import Domain
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.evaluate.module_classes import (
    children,
    descendants,
    is_module,
    is_module_class,
    kind_of,
    title_of,
    torch_layer,
)
from bnlint.source.isolation import Isolation, exposed
from bnlint.source.noticed import Spot
from bnlint.source.project import Project
from bnlint.source.trace_artist import STEPS_AT_LEAST, STEPS_PER_NODE, share_of
from bnlint.source.units import Ledger, Stage, Unit, norms_since, restore, slot_of
from bnlint.source.values import (
    Arguments,
    ClassObject,
    FunctionObject,
    Instance,
    Known,
    Layer,
    Value,
    alternatives,
)

T = TypeVar("T")
D = TypeVar("D", bound=FunctionObject | ClassObject)

GRAPH_BUDGET = 80_000
"""Steps for one layer graph."""
DEEPEST = 50
"""Modules inside each other that are drawn one by one."""
EXPLORING_BUDGET = 20_000
"""Steps for one function that nothing runs."""
SIMILAR_FACTORIES = 2
"""Factories drawn of those that mention the same names: resnet18, resnet34, ..., resnet152."""
MOST_DRAWN = 3
"""Graphs that show one constructor call, in the hope of one that knows its arguments."""


class Situation(NamedTuple):
    """One constructor call of a BatchNorm, and the shape of the block that it was made for."""

    place: Place
    block: Hashable


class Noted(Struct):
    """What one drawing has added to what is covered, reached and settled, new or not."""

    covered: set[Situation] = field(default_factory=set)
    reached: set[Place] = field(default_factory=set)
    counted: set[Place] = field(default_factory=set)


class GraphArtist:
    """Draws the layer graphs of one project on a machine that has loaded it.

    fruitless: functions that are known to give no module.
    """

    def __init__(
        self,
        project: Project,
        machine: Interpreter,
        isolated: Isolation | None = None,
        fruitless: Set[FunctionObject] = frozenset(),
        ledger: Ledger | None = None,
    ) -> None:
        self.ledger = ledger or Ledger()
        self.fruitless = fruitless
        self.project = project
        self.isolated = isolated or exposed()
        self.machine = machine
        self.graphs: list[LayerGraph] = []
        self.most = machine.spent + 2 * (STEPS_AT_LEAST + STEPS_PER_NODE * project.relevance.size)
        """Steps of the machine after which nothing more is drawn: linear in the project's size."""
        self.given_up: Counter[str] = Counter()
        """How often a drawing of a file was given up."""
        self._divided: set[int] = set()
        """The modules whose parts are being drawn, by id."""
        self.covered: set[Situation] = set()
        """What is in some graph already."""
        self.reached: set[Place] = set()
        """Constructor calls whose BatchNorm is in some graph."""
        self._called: dict[tuple[str, ir.Span], frozenset[Place]] = {}
        self.unsettled: Counter[Place] = Counter()
        """How many graphs show a constructor call, none of them with its channels."""
        self._noted = Noted()

    def draw_graphs(self) -> None:
        """A graph for each function that returns a module and each module class that hold a
        BatchNorm; then for the modules that scripts have built; then for what the defaults leave
        out; then lone constructor calls."""
        definitions = list(self._definitions())
        factories = self._factories(definitions)
        for spot, function in self._slots(Stage.FACTORY, self._spotted(factories)):
            with self._unit(Stage.FACTORY, spot), self._apart("a factory", function):
                self.draw_definition(function)
        classes = self._spotted(d for d in reversed(definitions) if isinstance(d, ClassObject))
        for spot, cls in self._slots(Stage.CLASS, classes):
            with self._unit(Stage.CLASS, spot), self._apart("a class", cls):
                self.draw_definition(cls)
        modules = reversed(self.machine.kept_modules)  # outer ones are built last
        for spot, module in self._slots(Stage.MODULE, modules):
            with (
                self._unit(Stage.MODULE, spot),
                self.isolated("drawing a module", module.place),
            ):
                self._draw(module, title_of(module), "", only_new=True)
        for spot, cls in self._slots(Stage.GIVEN, classes):
            if not self._constructors(cls) <= self.reached:
                with self._unit(Stage.GIVEN, spot), self._apart("a class", cls):
                    self.draw_definition(cls, given=True)
        self._draw_unrun()
        self.graphs += self._lone_layers()

    def _spotted(self, definitions: Iterable[D]) -> list[tuple[Spot, D]]:
        return [(slot_of(definition, self.project), definition) for definition in definitions]

    def _slots(self, stage: Stage, found: Iterable[tuple[Spot, T]]) -> Iterator[tuple[Spot, T]]:
        """What is to be drawn; units that were kept are put in its place."""
        for spot, slot in self.ledger.slots(stage, found):
            if isinstance(slot, Unit):
                self._replay(slot)
            else:
                yield spot, slot

    @contextmanager
    def _unit(self, stage: Stage, spot: Spot) -> Iterator[None]:
        """Note what is drawn here, what later drawings see of it, and on what it depends."""
        machine, noticed = self.machine, self.project.noticed
        norms, graphs = len(machine.batchnorms), len(self.graphs)
        steps, gave_up = machine.spent, self.given_up.total()
        self._noted = noted = Noted()
        outer = noticed.listen()
        try:
            yield
        finally:
            unit = Unit(
                stage,
                spot,
                noticed.heard(outer),
                machine.spent - steps,
                self.given_up.total() - gave_up,
                norms=norms_since(machine, norms),
                covered=tuple(noted.covered),
                reached=tuple(noted.reached),
                unsettled=[(place, self.unsettled.get(place, -1)) for place in noted.counted],
                graphs=tuple(self.graphs[graphs:]),
            )
            self.ledger.close(unit)

    def _replay(self, unit: Unit) -> None:
        """Put a unit that was kept in the place of its drawing."""
        restore(self.machine, unit)
        self.given_up[unit.spot[0]] += unit.gave_up
        self.covered.update(Situation(*situated) for situated in unit.covered)
        self.reached.update(unit.reached)
        for place, tries in unit.unsettled:
            if tries < 0:
                self.unsettled.pop(place, None)
            else:
                self.unsettled[place] = tries
        self.graphs += unit.graphs

    def _apart(
        self, what: str, definition: FunctionObject | ClassObject
    ) -> AbstractContextManager[None]:
        place = definition.frame.module.facts.place(definition.definition.span)
        return self.isolated(f"drawing {what}", place)

    def _definitions(self) -> Iterator[FunctionObject | ClassObject]:
        """What the files define that mention BatchNorm, each once."""
        seen: set[tuple[str, ir.Span]] = set()
        for definition in list(self.machine.definitions):
            facts = definition.frame.module.facts
            key = (facts.path, definition.definition.span)
            extra = bool(self.project.explained.batchnorm)
            if key in seen or not (facts.mentions_batchnorm or extra):
                continue
            if not self.ledger.is_twin(Stage.UNRUN, slot_of(definition, self.project)):
                seen.add(key)
                yield definition

    def _factories(
        self, definitions: list[FunctionObject | ClassObject]
    ) -> Iterator[FunctionObject]:
        """Functions that may build models; of those that mention the same names, the first two."""
        counts: Counter[tuple[str, frozenset[str]]] = Counter()
        for definition in definitions:
            if not isinstance(definition, FunctionObject) or definition in self.fruitless:
                continue
            if self._may_build(definition):
                self.project.noticed.read(definition)
                words = self.project.relevance.profile(definition.definition).words
                key = (definition.frame.module.facts.path, words)
                counts[key] += 1
                if counts[key] <= SIMILAR_FACTORIES:
                    yield definition

    def _may_build(self, function: FunctionObject) -> bool:
        """Whether a function that is no method gives its caller anything."""
        return function.owner is None and self.project.relevance.gives(function.definition)

    def draw_definition(
        self,
        definition: FunctionObject | ClassObject,
        *,
        only_new: bool = True,
        given: bool = False,
    ) -> None:
        """Draw what a class or a factory gives with its defaults.

        given: arguments that are None by default are given something.
        """
        machine = self.machine
        if isinstance(definition, ClassObject) and not is_module_class(definition):
            return
        binding = "its optional arguments given" if given else ""
        if isinstance(definition, FunctionObject):
            binding = f"built by {definition.name}()"
        path = definition.frame.module.facts.path
        with machine.drawing(Domain(), self._budget(path)):
            try:
                value = self._build(definition, given)
            except GIVEN_UP:
                self.given_up[path] += 1
                return
            for single in filter(is_module, alternatives(value)):
                if only_new and isinstance(definition, ClassObject):
                    self._draw_left(single, title_of(single), binding)
                else:
                    self._draw(single, title_of(single), binding, only_new)

    def _draw_unrun(self) -> None:
        """Sequentials that no forward leads to: of methods nobody calls, of branches not taken, or
        handed to what cannot be seen. Such a Sequential says its order itself, whoever runs it."""
        tried: set[tuple[str, ir.Span]] = set()
        for stage in (Stage.UNRUN, Stage.NESTED):
            for spot, function in self._slots(stage, self._spotted(self._definitions())):
                definition, scope = function.definition, function.frame.module
                key = (scope.facts.path, definition.span)
                if not isinstance(definition, ir.Function) or key in tried:
                    continue
                if not self._constructors(function) <= self.reached:
                    tried.add(key)
                    assert isinstance(function, FunctionObject)
                    with self._unit(stage, spot), self._apart("a function", function):
                        self._explore(function)

    def _constructors(self, definition: FunctionObject | ClassObject) -> frozenset[Place]:
        """See `constructor_calls`; read once."""
        scope = definition.frame.module
        key = (scope.facts.path, definition.definition.span)
        if key not in self._called:
            code = definition.definition
            words = self.project.relevance.profile(code).words
            calls = constructor_calls(code.body, scope) if may_hold_calls(words, scope) else ()
            self._called[key] = frozenset(calls)
        return self._called[key]

    def _explore(self, function: FunctionObject) -> None:
        """Run a function, both branches of each `if`, and draw what only this has built."""
        machine = self.machine
        arguments = machine.free_arguments(function, given=True)
        if function.owner is not None and not function.is_static:
            owner = Instance(function.owner, _place_of(function.owner))
            function = replace(function, receiver=owner)
        before = frozenset(self.reached)
        with machine.drawing(Domain(), EXPLORING_BUDGET):
            try:
                machine.explore(function, arguments)
            except GIVEN_UP:
                return
            for layer, _ in reversed(machine.sequentials):
                places = {situation.place for situation in _situations(layer)}
                if places.isdisjoint(before):  # what is run elsewhere has its order from there
                    self._draw_left(layer, title_of(layer), "by itself")

    def _build(self, definition: FunctionObject | ClassObject, given: bool) -> Value:
        machine = self.machine
        if isinstance(definition, FunctionObject):
            return machine.call_function(definition, machine.free_arguments(definition))
        initializer = machine.find(definition, "__init__")
        arguments = Arguments()
        if isinstance(initializer, FunctionObject):
            arguments = machine.free_arguments(initializer, given=given)
        arguments.place = _place_of(definition)
        return machine.construct(definition, arguments)

    def _draw(self, module: Value, title: str, binding: str, only_new: bool) -> None:
        self._draw_in(module, title, binding, set(_situations(module)), only_new)

    def _draw_in(
        self,
        module: Value,
        title: str,
        binding: str,
        situations: set[Situation],
        only_new: bool = True,
    ) -> None:
        settled = all(self._is_settled(situation.place) for situation in situations)
        if only_new and settled and situations <= self.covered:
            return
        self._add(module, title, binding, situations)
        left = {situation.place for situation in situations} - self.reached
        if left:
            self._draw_apart(module, title, binding, situations)

    def _add(
        self,
        module: Value,
        title: str,
        binding: str,
        situations: set[Situation],
        method: str = "forward",
    ) -> None:
        """Draw one forward (or another method), and note what is in it."""
        path = module.cls.frame.module.facts.path if isinstance(module, Instance) else ""
        try:
            graph = draw_graph(self.machine, module, title, self._budget(path), method)
        except GIVEN_UP:
            self.given_up[path] += 1
            return
        if graph is None:
            return
        self.graphs.append(replace(graph, binding=binding))
        inside = {place for norm in graph.of_kind(Kind.BATCHNORM) for place in _origins(norm)}
        covered = {situation for situation in situations if situation.place in inside}
        self.covered |= covered
        self._note_channels(graph)
        self.reached |= inside
        self._noted.covered |= covered
        self._noted.reached |= inside

    def _budget(self, path: str) -> int:
        """Steps for the next drawing of a file: the fewer, the more often it was too much."""
        share = share_of(GRAPH_BUDGET, self.given_up[path])
        return max(0, min(share, self.most - self.machine.spent))

    def _is_settled(self, place: Place) -> bool:
        """Whether another graph of a constructor call would say nothing new."""
        tries = self.unsettled[place]
        return place in self.reached and (tries == 0 or tries >= MOST_DRAWN)

    def _note_channels(self, graph: LayerGraph) -> None:
        """Note whether a graph knows the arguments of the constructor calls that it shows."""
        known: dict[Place, bool] = {}
        for node in graph.of_kind(Kind.BATCHNORM):
            for place in _origins(node):
                known[place] = known.get(place, False) or _knows_channels(graph, node)
        self._noted.counted |= known.keys()
        for place, is_known in known.items():
            if is_known:
                del self.unsettled[place]
            elif place not in self.reached or self.unsettled[place]:
                self.unsettled[place] += 1

    def _draw_apart(
        self, module: Value, title: str, binding: str, situations: set[Situation]
    ) -> None:
        """What forward leaves out: run by other methods, or from outside through a submodule."""
        if id(module) in self._divided or len(self._divided) >= DEEPEST:
            return  # a module that holds itself
        self._divided.add(id(module))
        try:
            self._draw_parts(module, title, binding, situations)
        finally:
            self._divided.discard(id(module))

    def _draw_parts(
        self, module: Value, title: str, binding: str, situations: set[Situation]
    ) -> None:
        parts = [(n, m, set(_situations(m))) for n, m in children(module)]
        parts = [part for part in parts if not {s.place for s in part[2]} <= self.reached]
        if isinstance(module, Instance):
            names = frozenset(name for name, _, _ in parts)
            for method in self._methods_with(module, names):
                self._add(module, f"{title}.{method}", binding, situations, method)
        for name, part, _ in parts:
            if kind_of(part) is not Kind.BATCHNORM:
                self._draw_left(part, f"{title}.{name}", binding)

    def _draw_left(self, module: Value, title: str, binding: str) -> None:
        """Draw a module if it holds what no graph has."""
        situations = set(_situations(module))
        if not all(self._is_settled(situation.place) for situation in situations):
            self._draw_in(module, title, binding, situations)

    def _methods_with(self, module: Instance, names: frozenset[str]) -> Iterator[str]:
        """The public methods that mention one of these attributes."""
        for cls in module.cls.linearization():
            if not isinstance(cls, ClassObject):
                continue
            self.project.noticed.searched(cls.frame.module.facts.path, names)
            for name in list(cls.fields):
                method = cls.value(str(name))
                if not isinstance(method, FunctionObject) or method.is_static or method.is_property:
                    continue
                words = self.project.relevance.profile(method.definition).words
                if method.name != "forward" and method.name[:2] != "__" and words & names:
                    yield method.name

    def _lone_layers(self) -> Iterator[LayerGraph]:
        """Constructor calls that no forward leads to: their parameters can still be judged."""
        norms = (norm for graph in self.graphs for norm in graph.of_kind(Kind.BATCHNORM))
        shown = {norm.place for norm in norms}
        for place, (name, parameters) in self.machine.batchnorms.items():
            if place in shown:
                continue
            unknown = Node(0, Kind.UNKNOWN, "")
            node = Node(1, Kind.BATCHNORM, name, parameters, place, inputs=(frozenset({0}),))
            yield LayerGraph(name.rpartition(".")[2], (unknown, node))


def _origins(norm: Node) -> Iterator[Place]:
    """The constructor call of a BatchNorm; for one that a forward calls by name, that of the module
    which does so, too."""
    for place in (norm.place, norm.holder):
        if place is not None:
            yield place


def _knows_channels(graph: LayerGraph, norm: Node) -> bool:
    """Whether a BatchNorm's size is known, and those of the layers with weights before it."""
    layers = (norm, *graph.producers(norm))
    sizes = [
        node.params[name]
        for node in layers
        for name in ("num_features", "out_channels", "out_features")
        if name in node.params
    ]
    return UNKNOWN not in sizes


def _place_of(definition: ClassObject) -> Place:
    return definition.frame.module.facts.place(definition.definition.header)


def _situations(module: Value) -> Iterator[Situation]:
    """The BatchNorm layers that a module holds, each with the shape of the block around it."""
    blocks: dict[str, Hashable] = {"": None}
    for path, layer in descendants(module):
        if isinstance(layer, Instance):
            blocks[path] = _shape(layer)
        if kind_of(layer) is not Kind.BATCHNORM or torch_layer(layer) is None:
            continue
        if isinstance(layer, Layer | Instance) and layer.place is not None:
            yield Situation(layer.place, blocks[_block_path(path, blocks)])


def _block_path(path: str, blocks: Mapping[str, Hashable]) -> str:
    path = path.rpartition(".")[0]
    while path not in blocks:
        path = path.rpartition(".")[0]
    return path


def _shape(block: Instance) -> Hashable:
    """What decides the order of layers in a block: its flags, and the kinds of its parts."""
    flags = frozenset(
        (name, value.value)
        for name, value in block.fields.items()
        if isinstance(value, Known) and isinstance(value.value, bool | str | None)
    )
    parts = tuple((name, kind_of(part), title_of(part)) for name, part in children(block))
    return (block.cls.qualified, flags, parts)
