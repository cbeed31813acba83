"""Mode traces of a whole project: one for each script, one for each function that none calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import TypeVar

from bnlint.finding import Place
from bnlint.graph import Kind, LayerGraph, OneValue
from bnlint.records import replace
from bnlint.source import ir
from bnlint.source.evaluate.core import GIVEN_UP
from bnlint.source.evaluate.functions import ir_name
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.evaluate.module_classes import is_module
from bnlint.source.facts import FileFacts
from bnlint.source.isolation import Isolation, exposed
from bnlint.source.noticed import Spot
from bnlint.source.objects import (
    caller_arguments,
    is_candidate,
    is_unbuilt,
    run_object,
    switched_attributes,
)
from bnlint.source.project import Project
from bnlint.source.scripts import is_script, is_unit_test
from bnlint.source.traces import TraceDomain
from bnlint.source.units import (
    ALL_IMPORTS,
    WHOLE,
    Earlier,
    Ledger,
    Stage,
    Unit,
    norms_since,
    restore,
    slot_of,
    tail,
)
from bnlint.source.values import (
    ANYTHING,
    ClassObject,
    FunctionObject,
    Known,
    ModuleScope,
    Value,
    alternatives,
)
from bnlint.trace import Built, Clock, Forward, ModeNotCalled, ModeTrace

T = TypeVar("T")

ENTRY_BUDGET = 250_000
"""Steps for one script: a few seconds."""
STEPS_AT_LEAST = 500_000
STEPS_PER_NODE = 20
FUNCTION_BUDGET = 40_000
"""Steps for one function that nobody calls."""
OBJECT_BUDGET = 10_000
"""Steps for one object that nobody builds."""
SMALLEST_SHARE = 16
"""The part of these that is left in a file that has taken too many a few times."""


class TraceArtist:
    """Draws the traces of one project; the machine keeps what it has learnt of imported modules."""

    def __init__(
        self,
        project: Project,
        isolated: Isolation | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.project = project
        self.isolated = isolated or exposed()
        self.ledger = ledger or Ledger()
        earlier = self.ledger.earlier
        self.domain = TraceDomain(first_number=0 if earlier is None else earlier.first_number)
        self.machine = Interpreter(project, self.domain, ENTRY_BUDGET)
        self.traces: list[ModeTrace] = []
        self.ran: set[str] = set()
        """Paths of the scripts that were run to their end."""
        self.silent: dict[Hashable, tuple[bool, frozenset[int]]] = {}
        """What functions that nobody calls look like of which one was run, and nothing happened;
        whether that one gave a module, and on which definitions it depended."""
        self.fruitless: set[FunctionObject] = set()
        """Functions that nobody calls and that gave no module when they were run to their end."""
        self.given_up: Counter[str] = Counter()
        """How often an entry point of a file was given up."""
        self.objects_given_up = 0
        """How many objects that nobody builds took too many steps."""
        self.allowance = STEPS_AT_LEAST + STEPS_PER_NODE * project.relevance.size
        """Steps left for all traces together: linear in the size of the project."""

    def draw_traces(self) -> None:
        """A trace for each script, then for each function that none of them has called."""
        if self.ledger.earlier is not None:
            self._load_touched(self.ledger.earlier)
        self._trace_scripts()
        if self.ledger.earlier is None:
            self.load_all()
        self._trace_functions()
        self._trace_objects()
        found = (facts for facts in self._facts() if self._mentions_modes(facts))
        for spot, slot in self.ledger.slots(Stage.STATEMENTS, map(_whole, found)):
            if isinstance(slot, Unit):
                self._replay(slot)
            else:
                with self._unit(Stage.STATEMENTS, spot):
                    self._note_statements(slot)

    def _facts(self) -> Iterator[FileFacts]:
        """The files that are to be looked at."""
        wanted = self.ledger.wanted
        for path in self.project.given:
            facts = None if wanted is not None and path not in wanted else self.project.facts(path)
            if facts is not None:
                yield facts

    def _mentions_modes(self, facts: FileFacts) -> bool:
        return not _MODES.isdisjoint(self.project.relevance.profile(facts.body).spelled)

    def _trace_scripts(self) -> None:
        scripts = filter(is_script, self._facts())
        for spot, slot in self.ledger.slots(Stage.SCRIPT, map(_whole, scripts)):
            if isinstance(slot, Unit):
                self._replay(slot)
                continue
            with (
                self._unit(Stage.SCRIPT, spot),
                self.isolated("tracing a script", Place(slot.path, 1)),
            ):
                self._trace_script(slot)

    def _trace_functions(self) -> None:
        functions = [
            (slot_of(found, self.project), found)
            for found in self.machine.definitions
            if isinstance(found, FunctionObject) and _is_plain(found)
        ]
        for spot, slot in self.ledger.slots(Stage.FUNCTION, functions):
            if isinstance(slot, Unit):
                self._replay(slot)
            elif self._is_uncalled(slot):
                with (
                    self._unit(Stage.FUNCTION, spot),
                    self.isolated("tracing a function", place_of(slot)),
                ):
                    self._trace_function(slot)

    def _trace_objects(self) -> None:
        """Trace the objects of classes that nobody builds or derives from."""
        project = self.project
        classes = [d for d in self.machine.definitions if isinstance(d, ClassObject)]
        bases = {id(b): b for cls in classes for b in cls.bases if isinstance(b, ClassObject)}
        self.ledger.bases |= {slot_of(base, project) for base in bases.values()}
        candidates = [(slot_of(cls, project), cls) for cls in classes if is_candidate(cls)]
        for spot, slot in self.ledger.slots(Stage.OBJECT, candidates):
            if isinstance(slot, Unit):
                self._replay(slot)
            elif spot not in self.ledger.bases and is_unbuilt(self.machine, slot):
                with (
                    self._unit(Stage.OBJECT, spot),
                    self.isolated("tracing an object", place_of(slot)),
                ):
                    self._trace_object(slot)

    @contextmanager
    def _unit(self, stage: Stage, spot: Spot) -> Iterator[None]:
        """Note what is drawn here, what later drawings see of it, and on what it depends."""
        machine, domain, noticed = self.machine, self.domain, self.project.noticed
        called, built, tested = len(machine.called), len(machine.built), len(machine.tested)
        judged = len(domain.judged)
        norms, traces = len(machine.batchnorms), len(self.traces)
        steps, gave_up = machine.spent, self.given_up.total()
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
                called=tail(machine.called, called),
                built=tail(machine.built, built),
                tested=tail(machine.tested, tested),
                norms=norms_since(machine, norms),
                judged=tail(domain.judged, judged),
                traces=tuple(self.traces[traces:]),
            )
            self.ledger.close(unit)

    def _replay(self, unit: Unit) -> None:
        """Put a unit that was kept in the place of its drawing."""
        path = unit.spot[0]
        restore(self.machine, unit)
        self.domain.judged |= dict.fromkeys(unit.judged)
        self.given_up[path] += unit.gave_up
        self.allowance -= unit.steps
        if unit.stage is Stage.SCRIPT and not unit.gave_up:
            self.ran.add(path)
        if unit.stage is Stage.OBJECT:
            self.objects_given_up += unit.gave_up
        for trace in unit.traces:
            self.domain.models |= trace.models
            self.domain.layers |= trace.layers
            around = (self.domain.models, self.domain.layers)
            self.traces.append(ModeTrace(trace.entry, trace.body, *around, trace.is_test))

    def load_all(self) -> None:
        """Run the body of every module that no script has run or imported, in the order in which
        Python would import them: what others are made of comes first."""
        left = frozenset(self.project.given) - self.ran
        for path in self.project.given:
            first = self.project.scope(path)
            if first is not None:
                for scope in self.machine.effects.in_order(first):
                    if scope.facts.path in left and not scope.executed:
                        self._load(scope)

    def _load_touched(self, earlier: Earlier) -> None:
        """Run what must run for what is drawn again."""
        self.machine.long_decorators |= earlier.long_decorators
        imports = earlier.kept(*ALL_IMPORTS)
        if imports is not None:
            self.ledger.units.append(imports)
            restore(self.machine, imports)
        for path in (*earlier.eager, *sorted(earlier.touched)):
            scope = self.project.scope(path)
            if scope is not None and not scope.executed:
                self._load(scope)

    def _load(self, scope: ModuleScope) -> None:
        with (
            self.isolated("importing a module", Place(scope.facts.path, 1)),
            suppress(*GIVEN_UP),
            self.machine.drawing(self.domain, ENTRY_BUDGET),
        ):
            self.machine.import_module(scope)

    def _note_statements(self, facts: FileFacts) -> None:
        """`model.eval` as a statement is a mistake in code that nothing reaches, too."""
        nodes = self.project.relevance.nodes_with(facts.body, _MODES)
        found = tuple(
            ModeNotCalled(expression.attr, ir_name(expression.value), place)
            for expression in _mode_statements(nodes)
            if (place := facts.place(expression.span)) not in self.domain.judged
        )
        if found:
            self.traces.append(ModeTrace(facts.path, found, {}, {}, is_unit_test(facts)))

    def _trace_script(self, facts: FileFacts) -> None:
        scope = ModuleScope(self.project.module_name(facts.path), facts)
        scope.fields["__name__"] = Known("__main__")
        scope.executed = True

        def run() -> bool:
            self.machine.handed_out.clear()
            self.machine.execute(facts.body, scope)
            self._run_handlers(scope)
            return True

        self._trace(facts.path, run, facts, keep=scope, whole=ENTRY_BUDGET)

    def _run_handlers(self, scope: ModuleScope) -> None:
        """Call the functions that a script hands to a framework and never calls itself: routes of
        a web server, callbacks. They run when its body has been run."""
        own = [f for f in scope.fields.values() if isinstance(f, FunctionObject)]
        handlers = [f for f in own if f in self.machine.handed_out or _is_registered(f)]
        uncalled = [function for function in handlers if self._is_left(function)]

        def run(function: FunctionObject) -> bool:
            self.machine.call_function(function, self.machine.free_arguments(function))
            return True

        if uncalled:
            self.machine.branch([partial(run, function) for function in uncalled])

    def _trace_function(self, function: FunctionObject) -> None:
        """The trace of a function that nobody calls.

        Factories come in rows, resnet18 to resnet152, that differ in numbers and strings only: when
        nothing happens in one, nothing does in the others.
        """
        facts = function.frame.module.facts
        profile = self.project.relevance.profile(function.definition)
        likeness = (facts.path, profile.words, profile.told)
        known = self.silent.get(likeness)
        if known is not None:
            gives_module = known[0]
            self.project.noticed.reading |= known[1]
        else:
            results: list[Value] = []

            def run() -> bool:
                arguments = caller_arguments(self.machine, function)
                results.append(self.machine.call_function(function, arguments))
                return True

            name = f"{function.name}() in {facts.path.rpartition('/')[2]}"
            events = self._trace(name, run, facts, is_test=function.name.startswith("test"))
            gives_module = events is None or any(map(_may_be_module, results))
            if events == 0:
                self.silent[likeness] = (gives_module, frozenset(self.project.noticed.reading))
        if not gives_module:
            self.fruitless.add(function)

    def _trace_object(self, cls: ClassObject) -> None:
        """The trace of an object that nobody builds; none where others switch a model of it."""
        facts = cls.frame.module.facts
        before = len(self.traces)
        name = f"{cls.name} in {facts.path.rpartition('/')[2]}"
        whole = share_of(OBJECT_BUDGET, self.objects_given_up)
        run = partial(run_object, self.machine, cls)
        if self._trace(name, run, facts, whole=whole) is None:
            self.objects_given_up += 1
        for trace in self.traces[before:]:
            models = {forward.receiver.rpartition(".")[2] for forward in trace.of(Forward)}
            if not models or not models.isdisjoint(self.switched):
                self.traces.remove(trace)

    @cached_property
    def switched(self) -> frozenset[str]:
        """The attributes of other objects that some code of the project switches."""
        if self.ledger.switched is None:
            self.ledger.switched = switched_attributes(self.project)
        return self.ledger.switched

    def _trace(
        self,
        entry: str,
        run: Callable[[], bool],
        facts: FileFacts,
        *,
        is_test: bool = False,
        keep: ModuleScope | None = None,
        whole: int = FUNCTION_BUDGET,
    ) -> int | None:
        """Draw a trace, in so many steps at most.

        How many events it has besides clocks and new modules; None where it could not be followed
        to its end.
        """
        machine = self.machine
        test = is_test or is_unit_test(facts)
        built, called = machine.built, machine.called
        if test:  # what tests build and call, they build and call for others
            machine.built, machine.called = {}, {}
        budget = min(self._budget(facts.path, whole), self.allowance)
        with machine.drawing(self.domain, budget, keep):
            try:
                run()
            except GIVEN_UP:
                self.given_up[facts.path] += 1
                return None
            finally:
                self.allowance -= budget - max(0, machine.budget)
                if keep is not None:
                    self.project.noticed.spent(facts.path, machine.budget)
                if test:
                    machine.tested |= dict.fromkeys(k for k in machine.called if k not in called)
                    called |= machine.called
                    machine.built, machine.called = built, called
            body = (*machine.prologue, *machine.events)
        if keep is not None:
            self.ran.add(facts.path)
        trace = ModeTrace(entry, body, self.domain.models, self.domain.layers, test)
        if any(not isinstance(event, Clock) for event in trace.events()):
            self.traces.append(trace)
        return sum(not isinstance(event, Built | Clock) for event in trace.events())

    def _budget(self, path: str, whole: int) -> int:
        """Steps for the next entry point of a file: the fewer, the more often it was too much."""
        return share_of(whole, self.given_up[path])

    def _is_uncalled(self, function: FunctionObject) -> bool:
        """Whether nobody calls a function of a file that sets a mode or runs a model."""
        definition = function.definition
        if not self._is_left(function) or not isinstance(definition, ir.Function):
            return False
        acts = self.project.relevance.acts_inside(definition)
        if acts:
            self.project.noticed.read(function)
        return acts

    def _is_left(self, function: FunctionObject) -> bool:
        """Whether nobody has called a function of a file."""
        place = function.frame.module.facts.path, function.definition.span
        return _is_plain(function) and place not in self.machine.called

    def finished_traces(self, graphs: Iterable[LayerGraph]) -> Iterator[ModeTrace]:
        """The traces, with what the graphs tell of each layer's input."""
        positions: dict[Place, set[int | None]] = {}
        surely: dict[tuple[Place, str], set[OneValue | None]] = {}
        for graph in graphs:
            for node in graph.of_kind(Kind.BATCHNORM):
                place = node.holder or node.place
                if place is not None:
                    positions.setdefault(place, set()).add(node.positions)
                    path = node.path or (node.scope[-1].path if node.scope else "")
                    surely.setdefault((place, path), set()).add(node.one_value)
        layers = {}
        for number, layer in self.domain.layers.items():
            if layer.place is not None:
                single = _only(positions.get(layer.place, set()))
                sure = _only(surely.get((layer.place, layer.path), set()))
                layer = replace(layer, positions=single, one_value=sure)
            layers[number] = layer
        for trace in self.traces:
            yield replace(trace, layers=layers)


def _whole(facts: FileFacts) -> tuple[Spot, FileFacts]:
    return (facts.path, WHOLE), facts


def _is_plain(function: FunctionObject) -> bool:
    """Whether a function is a file's own, and no method."""
    is_def = isinstance(function.definition, ir.Function)
    return is_def and function.owner is None and isinstance(function.frame, ModuleScope)


def _may_be_module(value: Value) -> bool:
    return any(map(is_module, alternatives(value)))


def _only(found: set[T]) -> T | None:
    return next(iter(found)) if len(found) == 1 else None


def share_of(budget: int, given_up: int) -> int:
    """The part of a budget that is left in a file of which so many drawings were given up.

    It falls to a sixteenth with the first few, and slowly to nothing with hundreds, so that a file
    of nothing but endless functions costs little more than a few of them.
    """
    return max(budget >> given_up, budget // max(SMALLEST_SHARE, given_up // 2))


def place_of(definition: FunctionObject | ClassObject) -> Place:
    """Where a function or class is defined."""
    return definition.frame.module.facts.place(definition.definition.span)


def _is_registered(function: FunctionObject) -> bool:
    """Whether an object that cannot be seen decorates a function: `@app.route("/predict")`."""
    definition = function.definition
    if not isinstance(definition, ir.Function):
        return False
    return any(
        decorator is ANYTHING and isinstance(expression, ir.Call)
        for decorator, expression in zip(function.decorators, definition.decorators)
    )


def _mode_statements(nodes: Iterable[ir.Node]) -> Iterator[ir.Attribute]:
    """The statements `model.eval` and `model.train`."""
    for node in nodes:
        match node:
            case ir.Evaluate(ir.Attribute(_, "eval" | "train") as expression):
                yield expression


_MODES = frozenset({"eval", "train"})
