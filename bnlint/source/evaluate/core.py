"""The core of the abstract interpreter: its state, and what its parts ask of each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from bnlint.finding import Place
from bnlint.graph import Parameter
from bnlint.records import Struct, field
from bnlint.source import ir
from bnlint.source.evaluate.recall import Recall
from bnlint.source.import_effects import ImportEffects
from bnlint.source.project import Project
from bnlint.source.store import Changes, Store
from bnlint.source.values import (
    Arguments,
    ClassObject,
    Element,
    Frame,
    FunctionObject,
    HeapObject,
    Instance,
    Layer,
    ModeFlag,
    ModuleScope,
    Parameters,
    PendingImport,
    Tensor,
    Value,
)
from bnlint.source.values import Sequence as SequenceValue
from bnlint.trace import (
    Branch,
    Call,
    Context,
    Exit,
    ExitKind,
    Item,
    Loop,
    Mode,
    Note,
    Within,
    blocks_of,
)


def happens(items: Iterable[Item]) -> bool:
    """Whether anything but jumps happens in a block."""
    pending = list(items)
    while pending:
        match pending.pop():
            case Exit():
                continue
            case Branch() | Loop() | Call() | Context() | Within() as item:
                pending += [inner for block in blocks_of(item) for inner in block]
            case _:
                return True
    return False


class OutOfBudget(Exception):
    """The analysis of one entry point took too many steps: the rest of it stays unknown."""


GIVEN_UP: Final = (OutOfBudget, RecursionError)
"""What ends the analysis of one entry point: too many steps, or calls nested too deeply."""


class Invocation(Struct):
    """One running call: the values and states with which it returns early.

    given: the receiver and the constant arguments, which tell rounds of a recursion apart.
    yields: what a generator has given; None where nothing is yielded.
    body: what happens where the generator yields, when it manages the context of a `with`.
    is_at_end: whether the last statement of all has returned, which is no early return.
    """

    definition: ir.Function | ir.Lambda | ir.Class | None
    depth: int
    given: object = None
    yields: SequenceValue | None = None
    body: Callable[[Value], None] | None = None
    is_at_end: bool = False
    returns: list[Value] = field(default_factory=list)
    exits: list[Changes] = field(default_factory=list)


class LoopRun(Struct):
    """One running loop: the states in which its rounds end early.

    rounds: how many are told apart, with those of the loops around it.
    """

    depth: int
    round_depth: int
    rounds: int = 1
    breaks: list[Changes] = field(default_factory=list)
    continues: list[Changes] = field(default_factory=list)


class Gradient(Struct, frozen=True):
    """Whether gradients are recorded (None: unknown), and where that was decided."""

    enabled: bool | None = True
    place: Place | None = None


class Period(Struct, frozen=True):
    """A branch that is taken in each `every`-th round of a loop, and where that is written."""

    every: int
    place: Place


class Core(ABC):
    """State and interface of the interpreter; the parts are mixed into one class.

    Statements return whether control falls through to the next one.
    """

    def __init__(self, project: Project, budget: int) -> None:
        self.project = project
        self.relevance = project.relevance
        self.noticed = project.noticed
        self.constructing = 0
        self.store = Store(self.spend)
        self.recall = Recall(self.store, self.noticed)
        self.budget = budget
        self.events: list[Item] = []
        self.invocations: list[Invocation] = []
        self.loops: list[LoopRun] = []
        self.gradients: list[Gradient] = [Gradient()]
        self.checkpoints: list[Place | None] = []
        self.periods: list[Period | None] = []
        self.explored: ir.Function | None = None
        """A function of which both branches of every `if` are run, however its test turns out."""
        self.rehearsing = False
        """Whether what happens is not noted: it shows only what a round of a loop changes."""
        self.decided: dict[ir.Compare, bool] = {}
        """Tests whose outcome the running round of a loop decides."""
        self.evaluated: tuple[Value, Place | None] | None = None
        """The module whose own `train` runs because `eval()` was called, and where that was."""
        self.on_yield: tuple[object, Callable[[Value], None]] | None = None
        """The generator function that is about to be called by a `with`, and the body of that."""
        self.truncated = 0
        """Calls that were not followed, for they are nested too deeply."""
        self.called: dict[tuple[str, ir.Span], None] = {}
        """Functions that were called, by file and place, in order."""
        self.tested: dict[tuple[str, ir.Span], None] = {}
        """Those that only unit tests have called."""
        self.long_decorators: set[tuple[str, ir.Span]] = set()
        """Those whose work was not followed to its end, by file and place."""
        self.effects = ImportEffects(project)
        self.top = 0
        """How many logs are open while the top level of a file runs, outside of its branches."""
        self.for_types = False
        """Whether what runs is there for type checkers only."""
        self.running: set[ModuleScope] = set()
        """The modules whose bodies are being run."""
        self.binding: set[PendingImport] = set()
        """Names whose meaning is being looked for."""
        self.import_events: dict[ModuleScope, tuple[Item, ...]] = {}
        self.public: dict[ModuleScope, frozenset[str]] = {}
        """The names of modules that stand behind a star, as far as they were looked for."""
        self.imported_here: set[ModuleScope] = set()
        """Modules whose events are part of what is being drawn."""
        self.prologue: list[Item] = []
        """What the imports do, which happens before all else."""
        self.built: dict[tuple[str, ir.Span], None] = {}
        """Classes of which an object was built, by file and place, in order."""
        self.loads: list[ModuleScope] = []
        """The modules that were imported, in the order in which they began to run."""

    def spend(self, steps: int = 1) -> None:
        """Count steps; raises OutOfBudget when there are none left."""
        self.budget -= steps
        if self.budget < 0:
            raise OutOfBudget

    def place(self, frame: Frame, span: ir.Span) -> Place:
        """The place of a span in the frame's file."""
        module = frame.module
        place = module.places.get(span)
        if place is None:
            place = module.places[span] = module.facts.place(span)
        return place

    @property
    def checkpoint(self) -> Place | None:
        """Where the code that runs now is checkpointed; None when it is not."""
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def period(self) -> Period | None:
        """How seldom the code that runs now is reached in the rounds of its loop."""
        return self.periods[-1] if self.periods else None

    @contextmanager
    def checkpointed(self, place: Place | None) -> Iterator[None]:
        """Run code that is checkpointed at a place; None leaves it as it is."""
        self.checkpoints.append(place or self.checkpoint)
        try:
            yield
        finally:
            self.checkpoints.pop()

    @contextmanager
    def periodic(self, period: Period | None) -> Iterator[None]:
        """Run code that is reached in some rounds of a loop only; None: nothing is known."""
        self.periods.append(period or self.period)
        try:
            yield
        finally:
            self.periods.pop()

    @contextmanager
    def deciding(self, tests: dict[ir.Compare, bool]) -> Iterator[None]:
        """Run code in which these tests turn out so."""
        outer, self.decided = self.decided, {**self.decided, **tests}
        try:
            yield
        finally:
            self.decided = outer

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Run code of which only the changes are of interest."""
        outer, self.rehearsing = self.rehearsing, True
        try:
            yield
        finally:
            self.rehearsing = outer

    @contextmanager
    def recording(self) -> Iterator[list[Item]]:
        """Collect the events of a part of the program apart."""
        outer, self.events = self.events, []
        try:
            yield self.events
        finally:
            self.events = outer

    def branch(self, runs: Sequence[Callable[[], bool]]) -> bool:
        """Run alternatives from the same state and join what they leave; False when none falls
        through."""
        outcomes: list[Changes] = []
        blocks: list[tuple[Item, ...]] = []
        for run in runs:
            self.store.begin()
            events: list[Item] = []
            completed = False
            outer, self.events = self.events, events
            try:
                falls = run()
                completed = True
            finally:
                self.events = outer
                changes = self.store.rollback()
                if not completed:
                    self.store.merge([changes])
            blocks.append(tuple(events))
            if falls:
                outcomes.append(changes)
        if any(blocks):
            self.events.append(Branch(tuple(blocks)))
        self.store.merge(outcomes)
        return bool(outcomes)

    def decide(self, test: Value) -> bool | None:
        """Which branch a test takes; None when it may be either, or both are to be seen."""
        running = self.invocations[-1].definition if self.invocations else None
        if running is not None and running is self.explored:
            return None
        return self.truth(test)

    def leave(self, kind: ExitKind) -> bool:
        """Control leaves the current block; always False."""
        self.events.append(Exit(kind))
        return False

    # --- what the parts offer each other ---------------------------------------------------

    @abstractmethod
    def read_mode(self, module: Value) -> Note | None:
        """A module's training flag is read; what refers to it later."""

    @abstractmethod
    def assume_mode(self, flag: ModeFlag, is_training: bool) -> None:
        """From here on a training flag that was read is known."""

    @abstractmethod
    def holder_created(self, module: Layer | Instance) -> None:
        """A module that only holds others has been built."""

    @abstractmethod
    def arguments(self, given: tuple[ir.Argument, ...], frame: Frame) -> Arguments:
        """The evaluated arguments of a call."""

    @abstractmethod
    def find(self, cls: ClassObject, name: str, after: ClassObject | None = None) -> Value | None:
        """A class attribute by method resolution order; None when a project class has none."""

    @abstractmethod
    def bind_method(self, value: Value, receiver: Value) -> Value:
        """A class attribute as seen through an instance or class."""

    @property
    @abstractmethod
    def point_of_view(self) -> Hashable:
        """What the program is followed for; it may decide what a call gives."""

    @abstractmethod
    def happened(self) -> Hashable:
        """How much has happened so far, besides the calculation of values."""

    @property
    @abstractmethod
    def draws_layers(self) -> bool:
        """Whether a layer graph is being drawn, not a trace."""

    @abstractmethod
    def evaluate(self, expression: ir.Expression, frame: Frame) -> Value:
        """The value of an expression."""

    @abstractmethod
    def truth(self, value: Value) -> bool | None:
        """Whether a value counts as true; None when that is open."""

    @abstractmethod
    def assign(self, target: ir.Expression, value: Value, frame: Frame) -> None:
        """Bind a target (name, attribute, element, tuple of targets) to a value."""

    @abstractmethod
    def execute(self, body: ir.Body, frame: Frame) -> bool:
        """Run statements in order."""

    @abstractmethod
    def call(self, function: Value, arguments: Arguments, frame: Frame) -> Value:
        """Call a value."""

    @abstractmethod
    def call_function(self, function: FunctionObject, arguments: Arguments) -> Value:
        """Call a function of the project."""

    @abstractmethod
    def join_container(self, obj: HeapObject, name: str, child: Value) -> None:
        """A module becomes an attribute: of a Sequential it is then an element too."""

    @abstractmethod
    def decorated(self, function: FunctionObject, frame: Frame) -> Value:
        """What the project's own decorators make of a function."""

    @abstractmethod
    def made_by(self, decorator: FunctionObject, decorated: Value, frame: Frame) -> Value:
        """What a decorator of the project makes of a definition."""

    @abstractmethod
    def construct(self, cls: ClassObject, arguments: Arguments) -> Value:
        """Build an instance of a class of the project."""

    @abstractmethod
    def attribute(self, value: Value, name: str, frame: Frame) -> Value:
        """`value.name`."""

    @abstractmethod
    def group_members(self, value: Value) -> tuple[Value, ...]:
        """The single objects behind a value."""

    @abstractmethod
    def call_method(self, receiver: Value, name: str, arguments: Arguments, frame: Frame) -> Value:
        """`receiver.name(arguments)`."""

    @abstractmethod
    def call_external(self, name: str, arguments: Arguments, frame: Frame) -> Value:
        """Call something outside the project by its qualified name."""

    @abstractmethod
    def elements(self, value: Value) -> tuple[Element, ...] | None:
        """The elements that iterating over a value gives (Element); None when unknown."""

    @abstractmethod
    def starred(self, scope: ModuleScope, name: str) -> Value | None:
        """What a module has under a name by a star for type checkers; None for nothing."""

    @abstractmethod
    def is_definition(self, pending: PendingImport) -> bool:
        """Whether a name means a function, a class or a module of the project, by the text."""

    @abstractmethod
    def import_module(self, scope: ModuleScope) -> None:
        """Run a module's body, once."""

    @abstractmethod
    def loop(self, statement: ir.For | ir.While, frame: Frame) -> bool:
        """Run a loop."""

    @abstractmethod
    def import_names(self, statement: ir.Import | ir.ImportFrom, frame: Frame) -> None:
        """Bind the names of an import statement."""

    @abstractmethod
    def binary(
        self, operator: str, left: Value, right: Value, frame: Frame, span: ir.Span
    ) -> Value:
        """`left operator right`."""

    @abstractmethod
    def call_object(self, obj: Value, arguments: Arguments, frame: Frame) -> Value:
        """Call an instance: a module runs forward, others `__call__`."""

    @abstractmethod
    def call_unknown(self, function: Value, arguments: Arguments, frame: Frame) -> Value:
        """Call something that cannot be seen."""

    @abstractmethod
    def unknown_module_method(
        self, module: Layer | Instance, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        """A method that neither the project nor nn.Module defines."""

    @abstractmethod
    def call_torch_forward(
        self, module: Layer | Instance, arguments: Arguments, frame: Frame
    ) -> Value:
        """`forward` of torch's own class."""

    @abstractmethod
    def domain_load_state(self, module: Value, place: Place | None) -> None:
        """Weights are loaded into a module."""

    @abstractmethod
    def domain_pretrained(self, module: Value, place: Place | None) -> None:
        """A module was built with trained weights."""

    @abstractmethod
    def emit_mode(
        self,
        modules: tuple[Value, ...],
        mode: Mode,
        place: Place | None,
        how: str,
        note: Note | None = None,
        apart: tuple[Value, ...] = (),
    ) -> None:
        """These modules, and all below them but what stands apart, are set to a mode, or to one
        that was noted."""

    @abstractmethod
    def set_learning(
        self, parameters: Parameters, learns: bool | None, place: Place | None
    ) -> None:
        """`requires_grad` of parameters is set; None: nobody knows to what."""

    @abstractmethod
    def copy_mode(self, original: Value, copy: Value, place: Place | None) -> None:
        """A module has been copied with its mode."""

    @abstractmethod
    def layer_created(self, module: Layer | Instance) -> None:
        """A torch layer has been built."""

    @abstractmethod
    def layer_parameters(self, name: str, arguments: Arguments) -> dict[str, Parameter]:
        """The constructor parameters of a torch layer."""

    @abstractmethod
    def numbers_read(self, tensors: Iterable[Tensor], place: Place | None) -> None:
        """Plain numbers are made of tensors."""

    @abstractmethod
    def wrote(self, target: Value, result: Value) -> None:
        """A result was calculated in the memory of a target: `x += y`."""

    @abstractmethod
    def compare_data(self, operator: str, left: Value, right: Value, place: Place) -> Value:
        """`left < right` for tensors."""

    @abstractmethod
    def operate(self, name: str, arguments: Arguments, frame: Frame) -> Value:
        """Apply a tensor operation."""

    @abstractmethod
    def call_opaque(self, name: str, arguments: Arguments, frame: Frame) -> Value:
        """Call something whose body cannot be seen."""

    @abstractmethod
    def is_training(self) -> Value:
        """What `module.training`, `x.requires_grad` and `torch.is_grad_enabled()` are."""

    @abstractmethod
    def call_checkpointed(self, name: str, arguments: Arguments, frame: Frame) -> Value:
        """A call through torch.utils.checkpoint."""

    @abstractmethod
    def distribute(self, module: Value, arguments: Arguments) -> None:
        """A module is wrapped for several processes."""

    @abstractmethod
    def sync_norms(self, module: Value, arguments: Arguments) -> None:
        """The BatchNorm layers of a module are converted to synchronised ones."""

    @abstractmethod
    def export_module(self, module: Value, how: str, program: Value, arguments: Arguments) -> None:
        """Export a module; `program` is what comes out."""

    @abstractmethod
    def program_saved(self, program: Value, arguments: Arguments) -> None:
        """An exported program is written away."""

    @abstractmethod
    def program_drawn(self, arguments: Arguments) -> None:
        """Exported programs among the arguments are drawn, and not used otherwise."""

    @abstractmethod
    def averaged(self, module: Value, arguments: Arguments) -> None:
        """A module takes the average of the weights of another, but not of its statistics."""

    @abstractmethod
    def recalibrated(self, module: Value, arguments: Arguments) -> None:
        """The running statistics of a module are estimated anew."""

    @abstractmethod
    def prepare_training(self, arguments: Arguments) -> None:
        """What was exported or fused is prepared to be trained further."""
