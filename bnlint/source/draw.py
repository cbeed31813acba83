"""From a linked project to pictures: every entry point a trace, every module a layer graph."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from bnlint.finding import Place
from bnlint.graph import Kind, LayerGraph, Node
from bnlint.rules.base import Pictures
from bnlint.source import ir
from bnlint.source.evaluate.core import OutOfBudget
from bnlint.source.evaluate.domain import Domain
from bnlint.source.evaluate.functions import ir_name
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.evaluate.module_classes import (
    descendants,
    is_module,
    is_module_class,
    kind_of,
    title_of,
    torch_layer,
)
from bnlint.source.facts import FileFacts
from bnlint.source.graphs import draw_graph
from bnlint.source.project import Project
from bnlint.source.traces import TraceDomain
from bnlint.source.values import (
    Arguments,
    ClassObject,
    FunctionObject,
    Instance,
    Known,
    Layer,
    ModuleScope,
    Value,
    alternatives,
)
from bnlint.source.walk import walk
from bnlint.trace import ModeNotCalled, ModeTrace

ENTRY_BUDGET = 80_000
"""Steps for one script: a second or two."""
STEPS_AT_LEAST = 200_000
STEPS_PER_NODE = 20
FUNCTION_BUDGET = 40_000
"""Steps for one function that nobody calls."""
GRAPH_BUDGET = 80_000
"""Steps for one layer graph."""
SIMILAR_FACTORIES = 2
"""Factories drawn of those that mention the same names: resnet18, resnet34, ..., resnet152."""
_TEST_FILE = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|conftest)\.py$")
_TEST_PACKAGES = frozenset({"pytest", "unittest", "absl.testing"})


def draw(project: Project) -> Pictures:
    """The pictures of a whole project."""
    artist = _Artist(project)
    artist.draw_traces()
    artist.draw_graphs()
    return Pictures(tuple(artist.graphs), tuple(artist.finished_traces()))


def show_graph(project: Project, name: str) -> str:
    """The layer graph that the analysis sees for a class (or a function that builds a module).

    Raises LookupError when the project defines no such name, or when there is nothing to draw.
    """
    artist = _Artist(project)
    artist.load_all()
    wanted = [d for d in artist.machine.definitions if d.name == name]
    if not wanted:
        raise LookupError(f"no class or function named {name}")
    for definition in wanted:
        artist.draw_definition(definition, only_new=False)
    if not artist.graphs:
        raise LookupError(f"{name} has no forward() that can be followed")
    return "\n\n".join(_listing(graph) for graph in artist.graphs)


def _listing(graph: LayerGraph) -> str:
    lines = [f"{graph.title}{f' ({graph.binding})' if graph.binding else ''}"]
    for node in graph.nodes:
        operands = " | ".join(",".join(f"%{i}" for i in sorted(op)) for op in node.inputs)
        where = f"{node.place.path}:{node.place.line}" if node.place is not None else ""
        block = node.block.path or "." if node.block is not None else ""
        lines.append(
            f"  %{node.id:<4} {node.kind:<11} {node.path or node.short_name:<28}"
            f" <- {operands or '-':<16} in {block:<14} {where}".rstrip()
        )
    return "\n".join(lines)


class _Artist:
    """Draws one project; the machine keeps what it has learnt of imported modules."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.domain = TraceDomain()
        self.machine = Interpreter(project, self.domain, ENTRY_BUDGET)
        self.traces: list[ModeTrace] = []
        self.graphs: list[LayerGraph] = []
        self.covered: set[Place] = set()
        self.ran: set[str] = set()
        """Paths of the scripts that were run to their end."""
        self.allowance = STEPS_AT_LEAST + STEPS_PER_NODE * project.relevance.size
        """Steps left for all traces together: linear in the size of the project."""

    # --- traces ------------------------------------------------------------------------------

    def draw_traces(self) -> None:
        """A trace for each script, then for each function that none of them has called."""
        for path in self.project.given:
            facts = self.project.facts(path)
            if facts is not None and is_script(facts):
                self._trace_script(facts)
        self.load_all()
        for definition in list(self.machine.definitions):
            if isinstance(definition, FunctionObject) and self._is_uncalled(definition):
                self._trace_function(definition)
        for path in self.project.given:
            facts = self.project.facts(path)
            if facts is not None:
                self._note_statements(facts)

    def load_all(self) -> None:
        """Run the body of every module that no script has run or imported."""
        for path in self.project.given:
            scope = self.project.scope(path)
            if scope is None or scope.executed or path in self.ran:
                continue
            try:
                with self.machine.drawing(self.domain, ENTRY_BUDGET):
                    self.machine.import_module(scope)
            except OutOfBudget:
                continue

    def _note_statements(self, facts: FileFacts) -> None:
        """`model.eval` as a statement is a mistake in code that nothing reaches, too."""
        found = tuple(
            ModeNotCalled(expression.attr, ir_name(expression.value), place)
            for expression in _mode_statements(facts.body)
            if (place := facts.place(expression.span)) not in self.domain.judged
        )
        if found:
            self.traces.append(ModeTrace(facts.path, found, {}, {}, _is_unit_test(facts)))

    def _trace_script(self, facts: FileFacts) -> None:
        scope = ModuleScope(self.project.module_name(facts.path), facts)
        scope.fields["__name__"] = Known("__main__")
        scope.executed = True
        self._trace(facts.path, lambda: self.machine.execute(facts.body, scope), facts, keep=scope)

    def _trace_function(self, function: FunctionObject) -> None:
        facts = function.frame.module.facts
        arguments = self.machine.free_arguments(function)

        def run() -> bool:
            self.machine.call_function(function, arguments)
            return True

        name = f"{function.name}() in {facts.path.rpartition('/')[2]}"
        self._trace(name, run, facts, is_test=function.name.startswith("test"))

    def _trace(
        self,
        entry: str,
        run: Callable[[], bool],
        facts: FileFacts,
        *,
        is_test: bool = False,
        keep: ModuleScope | None = None,
    ) -> None:
        machine = self.machine
        budget = min(FUNCTION_BUDGET if keep is None else ENTRY_BUDGET, self.allowance)
        with machine.drawing(self.domain, budget, keep):
            try:
                run()
            except OutOfBudget:
                return
            finally:
                self.allowance -= budget - max(0, machine.budget)
            body = tuple(machine.events)
        if keep is not None:
            self.ran.add(facts.path)
        test = is_test or _is_unit_test(facts)
        trace = ModeTrace(entry, body, self.domain.models, self.domain.layers, test)
        if any(True for _ in trace.events()):
            self.traces.append(trace)

    def _is_uncalled(self, function: FunctionObject) -> bool:
        definition = function.definition
        if not isinstance(definition, ir.Function) or function.owner is not None:
            return False
        if not isinstance(function.frame, ModuleScope):
            return False
        if not self.project.relevance.acts(definition.body):
            return False  # it sets no mode and runs no model
        return (function.frame.facts.path, definition.span) not in self.machine.called

    def finished_traces(self) -> Iterator[ModeTrace]:
        """The traces, with what the graphs tell of each layer's input."""
        positions: dict[Place, set[int | None]] = {}
        for graph in self.graphs:
            for node in graph.of_kind(Kind.BATCHNORM):
                if node.place is not None:
                    positions.setdefault(node.place, set()).add(node.positions)
        layers = {}
        for number, layer in self.domain.layers.items():
            known = positions.get(layer.place, set()) if layer.place is not None else set()
            single = next(iter(known)) if len(known) == 1 else None
            layers[number] = replace(layer, positions=single)
        for trace in self.traces:
            yield replace(trace, layers=layers)

    # --- graphs ------------------------------------------------------------------------------

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


def _mode_statements(body: ir.Body) -> Iterator[ir.Attribute]:
    for statement in walk(body):
        match statement:
            case ir.Evaluate(ir.Attribute(_, "eval" | "train") as expression):
                yield expression


def _is_unit_test(facts: FileFacts) -> bool:
    """Whether a file belongs to a test suite: by its name and by what it imports."""
    imported: set[str] = set()
    for statement in facts.body:
        if isinstance(statement, ir.Import):
            imported |= {name for name, _ in statement.names}
        elif isinstance(statement, ir.ImportFrom):
            imported.add(statement.module)
    return bool(imported & _TEST_PACKAGES) or (
        _TEST_FILE.search(facts.path) is not None and not is_script(facts)
    )


def is_script(facts: FileFacts) -> bool:
    """Whether running the file does something: a notebook, a `__main__` block, or top-level calls
    other than definitions, imports and assignments of constants."""
    return bool(facts.cells) or any(map(_acts, facts.body)) or _calls_its_own(facts.body)


def _calls_its_own(body: ir.Body) -> bool:
    """Whether something that the file has built is called: `model = Net()`, then `y = model(x)`."""
    built: set[str] = set()
    for statement in body:
        match statement:
            case ir.Assign(_, ir.Call(ir.Name(name))) if name in built:
                return True
            case ir.Assign((ir.Name(name),), ir.Call()):
                built.add(name)
    return False


def _acts(statement: ir.Statement) -> bool:
    match statement:
        case ir.Evaluate(ir.Call(function)):
            return not ir_name(function).startswith(("sys.path", "warnings.", "logging."))
        case ir.Evaluate(ir.Attribute(_, "eval" | "train")):
            return True
        case ir.For() | ir.While() | ir.With():
            return True
        case ir.If(test, body, orelse):
            return _is_main(test) or any(map(_acts, body)) or any(map(_acts, orelse))
        case ir.Try(body):
            return any(map(_acts, body))
        case ir.Assign(_, ir.Call(function)):
            name = ir_name(function).rpartition(".")[2]
            return name.startswith("parse_args") or name in (
                "eval",
                "to",
                "cuda",
                "load",
                "forward",
            )
    return False


def _is_main(test: ir.Expression) -> bool:
    match test:
        case ir.Compare(ir.Name("__name__"), _):
            return True
        case ir.Compare(_, ((_, ir.Name("__name__")),)):
            return True
    return False


def _place_of(definition: ClassObject) -> Place:
    return definition.frame.module.facts.place(definition.definition.header)


def _batchnorm_places(module: Value) -> Iterator[Place]:
    for _, layer in descendants(module):
        if kind_of(layer) is Kind.BATCHNORM and isinstance(layer, Layer | Instance):
            described = torch_layer(layer)
            if layer.place is not None and described is not None:
                yield layer.place
