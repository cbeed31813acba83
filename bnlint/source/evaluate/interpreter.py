"""The interpreter: its parts put together, and the calls that draw something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from bnlint.finding import Place
from bnlint.graph import Parameter
from bnlint.records import replace
from bnlint.source import ir
from bnlint.source.evaluate.attributes import Attributes
from bnlint.source.evaluate.cloning import Templates, clone, template, template_key
from bnlint.source.evaluate.configurations import configuration, is_configuration_class
from bnlint.source.evaluate.contexts import gradient_of
from bnlint.source.evaluate.core import Core, Gradient, happens
from bnlint.source.evaluate.domain import Domain, tensors_in
from bnlint.source.evaluate.enums import is_enum, member_with
from bnlint.source.evaluate.expressions import Expressions
from bnlint.source.evaluate.folding import softened, truth_of
from bnlint.source.evaluate.imports import Imports
from bnlint.source.evaluate.launchers import fitted_models
from bnlint.source.evaluate.loops import Loops
from bnlint.source.evaluate.module_classes import (
    descendants,
    entries_of,
    external_base,
    is_module,
    is_module_class,
    is_module_dict,
    reachable_modules,
    torch_layer,
)
from bnlint.source.evaluate.recall import Recall
from bnlint.source.evaluate.statements import Statements
from bnlint.source.evaluate.torch_calls import TorchCalls
from bnlint.source.joining import one_of
from bnlint.source.noticed import Spot
from bnlint.source.passages import Passages
from bnlint.source.project import Project
from bnlint.source.values import (
    ANYTHING,
    ITEMS,
    MODULE_PACKAGES,
    NONE,
    Alternatives,
    Arguments,
    ClassObject,
    External,
    Frame,
    FunctionObject,
    Group,
    HeapObject,
    Instance,
    Known,
    Layer,
    Mapping,
    Method,
    ModeFlag,
    ModuleScope,
    Namespace,
    Parameters,
    Sequence,
    Soft,
    Super,
    Tensor,
    Value,
    alternatives,
    hard,
)
from bnlint.torchnames import CONTAINERS, is_batchnorm
from bnlint.trace import Assume, Mode, Note

LOADS = frozenset(
    {"load_state_dict", "load_weights", "load_darknet_weights", "load_from_checkpoint"}
)

OBJECTS_PER_STEP = 8
"""Objects that are copied in the time of one step."""


class Built(NamedTuple):
    """A Sequential, and whether it was built in the constructor of something larger."""

    layer: Layer
    is_part: bool


class KeptModule(NamedTuple):
    """A Sequential that is there when its file has run. spot: the file, and which of its
    Sequentials; the complement of that for a script's."""

    spot: Spot
    layer: Layer


class Interpreter(Expressions, Loops, Statements, Attributes, Imports, TorchCalls, Core):
    """Runs the intermediate representation on abstract values; `domain` sees data and modes."""

    def __init__(self, project: Project, domain: Domain, budget: int) -> None:
        super().__init__(project, budget)
        self.domain = domain
        self._is_explained = bool(project.explained)
        self.definitions: list[FunctionObject | ClassObject] = []
        self._inner: set[tuple[str, ir.Span]] = set()
        """Where the functions inside functions are that were defined so far."""
        self.handed_out: set[FunctionObject] = set()
        """Functions that were given to calls that cannot be seen."""
        self.templates = Templates()
        self.passages = Passages()
        self.spent = 0
        """Steps that all drawings have taken together."""
        self.sequentials: list[Built] = []
        """Those that were built since the current drawing began."""
        self.kept_modules: list[KeptModule] = []
        """Sequentials that scripts and module bodies have built outside of every constructor."""
        self._kept_of: Counter[tuple[str, bool]] = Counter()
        self.batchnorms: dict[Place, tuple[str, dict[str, Parameter]]] = {}

    def forget(self) -> None:
        """Let go of what was kept for further drawings, when there are none."""
        self.templates, self.passages, self.recall = (
            Templates(),
            Passages(),
            Recall(self.store, self.noticed),
        )

    @contextmanager
    def drawing(
        self, domain: Domain, budget: int, keep: ModuleScope | None = None
    ) -> Iterator[None]:
        """Use another domain and a budget of its own; all writes are taken back in the end.

        keep: the names and classes of this module, and the modules that it has built, stay, to be
        drawn later.
        """
        sequentials, self.sequentials = self.sequentials, []
        before = (self.domain, self.budget, self.invocations, self.loops, self.gradients)
        outside = (self.checkpoints, self.periods, self.passages)
        if domain.is_trace:  # what its program changes may decide what its models do
            self.passages = Passages()
        imported_here, self.imported_here = self.imported_here, set()
        prologue, self.prologue, top = self.prologue, [], self.top
        self.domain, self.budget = domain, budget
        self.invocations, self.loops, self.gradients = [], [], [Gradient()]
        self.checkpoints, self.periods = [], []
        depth = self.store.depth
        self.store.begin()
        self.top = depth + 1
        try:
            with self.recording():
                yield
        finally:
            while self.store.depth > depth + 1:
                self.store.rollback()
            changes = self.store.rollback()
            self.spent += budget - max(0, self.budget)
            for (obj, name), value in changes.items():
                if keep is not None and _belongs(obj, keep):
                    self.store.write(obj, name, value)
            if keep is not None:
                self._keep(self.sequentials, keep)
            self.sequentials = sequentials
            self.imported_here, self.prologue, self.top = imported_here, prologue, top
            self.domain, self.budget, self.invocations, self.loops, self.gradients = before
            self.checkpoints, self.periods, self.passages = outside

    def _keep(self, built: Iterable[Built], scope: ModuleScope) -> None:
        path = scope.facts.path
        is_script = scope is not self.project.scope(path)
        for layer, is_part in built:
            if not is_part:
                number = self._kept_of[path, is_script]
                self._kept_of[path, is_script] += 1
                spot = (path, ~number if is_script else number)
                self.kept_modules.append(KeptModule(spot, layer))

    def truth(self, value: Value) -> bool | None:
        """Whether a value counts as true; None when that is open."""
        return truth_of(hard(value) if self.domain.takes_defaults else value)

    # --- calls -------------------------------------------------------------------------------

    def call(self, function: Value, arguments: Arguments, frame: Frame) -> Value:
        """Call a value; a module's own forward, called by name, is what the module does."""
        if type(function) is FunctionObject and self.domain.is_trace:
            receiver = function.receiver
            if function.name == "forward" and isinstance(receiver, Instance):
                own = self.find(receiver.cls, "forward")
                same = isinstance(own, FunctionObject) and own.definition is function.definition
                if same and is_module(receiver):
                    return self.domain.call_module(self, receiver, arguments, frame)
        if self._is_explained:
            return self._call_explained(function, arguments, frame)
        return super().call(function, arguments, frame)

    def _call_explained(self, function: Value, arguments: Arguments, frame: Frame) -> Value:
        """Call a value that the settings may say something about."""
        explained = self.project.explained
        name = explained.torch_name(function)
        if name is not None:
            is_class = name.rpartition(".")[2][:1].isupper()
            if is_class:
                return self.build_layer(name, arguments)
            return self.operate(name, arguments, frame)
        result = super().call(function, arguments, frame)
        if explained.returns_evaluated(function):
            how = "the settings say that this returns an evaluated model"
            self.emit_mode(tuple(reachable_modules(result)), Mode.EVAL, arguments.place, how)
        if explained.trains(function):
            how = "the settings say that this sets training mode"
            modules = tuple(m for value in arguments.all() for m in reachable_modules(value))
            self.emit_mode(modules, Mode.TRAIN, arguments.place, how)
        return result

    def call_object(self, obj: Value, arguments: Arguments, frame: Frame) -> Value:
        """Call an instance: a module runs forward, others `__call__`."""
        if is_module(obj):
            return self.domain.call_module(self, obj, arguments, frame)
        if isinstance(obj, Instance):
            method = self.find(obj.cls, "__call__")
            if method is not None:
                return self.call(self.bind_method(method, obj), arguments, frame)
        return self.call_unknown(obj, arguments, frame)

    def call_unknown(self, function: Value, arguments: Arguments, frame: Frame) -> Value:
        """Call something that cannot be seen."""
        self.forget_modes(arguments)
        return self.call_opaque("", arguments, frame)

    def call_opaque(self, name: str, arguments: Arguments, frame: Frame) -> Value:
        """Call something whose body cannot be seen; functions given to it may run."""
        for value in arguments.all():
            if type(value) is FunctionObject:
                self.handed_out.add(value)
        return self.domain.unknown_call(self, name, arguments, frame)

    @property
    def point_of_view(self) -> Hashable:
        """What the program is followed for; it may decide what a call gives."""
        return type(self.domain), self.domain.takes_defaults

    def happened(self) -> Hashable:
        """How much has happened so far, besides the calculation of values."""
        built = len(self.sequentials), len(self.batchnorms), len(self.definitions)
        done = len(self.events), len(self.handed_out), self.domain.size
        return done, built, self.truncated

    @property
    def draws_layers(self) -> bool:
        """Whether a layer graph is being drawn, not a trace."""
        return self.domain.draws_layers

    def numbers_read(self, tensors: Iterable[Tensor], place: Place | None) -> None:
        """Plain numbers are made of tensors."""
        self.domain.numbers_read(self, tensors, place)

    def wrote(self, target: Value, result: Value) -> None:
        """A result was calculated in the memory of a target: `x += y`."""
        self.domain.wrote(self, target, result)

    def compare_data(self, operator: str, left: Value, right: Value, place: Place) -> Value:
        """`left < right` for tensors."""
        return self.domain.comparison(self, operator, left, right, place)

    def operate(self, name: str, arguments: Arguments, frame: Frame) -> Value:
        """Apply a tensor operation."""
        return self.domain.operation(self, name, arguments, frame)

    def call_method(self, receiver: Value, name: str, arguments: Arguments, frame: Frame) -> Value:
        """`receiver.name(arguments)` for everything that is not a project function."""
        if receiver is ANYTHING:  # most often; the kinds below take long
            return self._unknown_method(receiver, name, arguments, frame)
        if type(receiver) is Sequence:
            return self.sequence_method(receiver, name, arguments)
        if type(receiver) is Mapping:
            return self.mapping_method(receiver, name, arguments)
        match receiver:
            case Alternatives(values):
                return one_of(
                    self.call_method(v, name, arguments, frame) for v in values if v != NONE
                )
            case Instance() if not is_module_class(receiver.cls) and ITEMS not in receiver.fields:
                return self._unknown_method(receiver, name, arguments, frame)
            case Instance() | Layer():
                return self._method_of_module(receiver, name, arguments, frame)
            case ClassObject() if name == "__getitem__" and is_enum(receiver):
                return member_with(receiver, "name", hard(arguments.positional[0]))
            case External(qualified) if name == "__getitem__" and arguments.positional:
                return self._registered(qualified, hard(arguments.positional[0]))
            case Group():
                return self.group_method(receiver, name, arguments, frame)
            case Super():
                return self.super_method(receiver, name, arguments, frame)
            case Known(str() as text):
                return self.text_method(text, name, arguments)
            case Known() if name in ("item", "tolist"):
                return receiver
            case Soft(inner, place):
                return softened(self.call_method(inner, name, arguments, frame), place)
            case Tensor():
                return self._tensor_method(receiver, name, arguments, frame)
            case Method(Tensor() as tensor, _):
                return self._tensor_method(tensor, name, arguments, frame)
            case Namespace():
                return self.namespace_method(receiver, name, arguments, frame)
            case Parameters():
                return self._parameters_method(receiver, name, arguments)
        return self._unknown_method(receiver, name, arguments, frame)

    def _registered(self, qualified: str, key: Value) -> Value:
        """`models.__dict__[name]` of a package outside the project."""
        package = qualified.removesuffix(".__dict__")
        if package != qualified and isinstance(key, Known) and isinstance(key.value, str):
            return External(f"{package}.{key.value}")
        return ANYTHING

    def _method_of_module(
        self, module: Layer | Instance, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        methods = ("items", "values", "keys", "__getitem__", "update")
        if name in methods and is_module_dict(module):
            target = module if name == "update" else entries_of(module)
            return self.mapping_method(target, name, arguments)
        return self.module_method(module, name, arguments, frame)

    def _tensor_method(
        self, tensor: Tensor, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        if name == "backward":
            self.domain.backward(self, [tensor], arguments.place)
            return NONE
        if name in ("size", "dim", "numel", "item", "tolist", "nelement", "__len__"):
            if name not in ("item", "tolist"):
                return ANYTHING
            self.numbers_read([tensor], arguments.place)
            return replace(tensor, detached=tensor.sources) if name == "item" else ANYTHING
        given = Arguments(
            [tensor, *arguments.positional], arguments.keywords, arguments.unknown, arguments.place
        )
        return self.call_external(f"torch.Tensor.{name}", given, frame)

    def _parameters_method(self, parameters: Parameters, name: str, arguments: Arguments) -> Value:
        if parameters.is_optimizer and name == "step":
            closure = arguments.get(0, "closure")
            if isinstance(closure, FunctionObject):
                self.call_function(closure, Arguments(place=arguments.place))
            self.domain.step(self, parameters, arguments.place)
        if name == "requires_grad_":
            self.freeze(parameters, arguments)
            return parameters
        return ANYTHING if parameters.is_optimizer or parameters.is_one else parameters

    def _unknown_method(
        self, receiver: Value, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        tensors = tensors_in([receiver, *arguments.all()])
        if name == "backward" or name == "manual_backward":
            self.domain.backward(self, tensors, arguments.place)
        elif name == "step" and not tensors:
            self.domain.step(self, None, arguments.place)
        elif name == "step" and arguments.positional:
            optimizer = arguments.positional[0]
            if isinstance(optimizer, Parameters):  # scaler.step(optimizer)
                self.domain.step(self, optimizer, arguments.place)
        elif name == "fit" and (models := fitted_models(arguments)):
            for model in models:
                self.domain.fitted(self, model, arguments.place)
        elif receiver is not ANYTHING or name not in LOOKS_ONLY:
            self.forget_modes(arguments)
        return self.domain.unknown_call(self, name, arguments, frame)

    def unknown_module_method(
        self, module: Layer | Instance, name: str, arguments: Arguments, frame: Frame
    ) -> Value:
        """A method that neither the project nor nn.Module defines."""
        if name in LOADS:
            self.domain.load_state(self, module, arguments.place)
            return ANYTHING
        if self.is_average_taken(module, name, arguments):
            return NONE
        if isinstance(module, Instance) and not _leaves_mode(module, name):
            self.emit_mode(
                (module,), Mode.UNKNOWN, arguments.place, f"{name}(), which cannot be seen"
            )
        self.forget_modes(arguments)
        return self.domain.unknown_call(self, name, arguments, frame)

    def call_torch_forward(
        self, module: Layer | Instance, arguments: Arguments, frame: Frame
    ) -> Value:
        """`forward` where torch's own class answers."""
        return self.domain.call_torch(self, module, arguments, frame)

    def loose_parts(self, value: Value) -> Value:
        """Each part of a tensor-like value depends on the same sources."""
        found = list(tensors_in(alternatives(value)))
        return found[0] if found else ANYTHING

    # --- what the domain is told ---------------------------------------------------------------

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
        self.domain.set_mode(self, modules, mode, place, how, note, apart)

    def read_mode(self, module: Value) -> Note | None:
        """A module's training flag is read; what refers to it later."""
        return self.domain.read_mode(self, module)

    def assume_mode(self, flag: ModeFlag, is_training: bool) -> None:
        """From here on a training flag that was read is known."""
        if flag.note is not None and self.domain.is_trace:
            self.events.append(Assume(flag.note, is_training))

    def set_learning(
        self, parameters: Parameters, learns: bool | None, place: Place | None
    ) -> None:
        """`requires_grad` of parameters is set; None: nobody knows to what."""
        self.domain.freeze(self, parameters, None if learns is None else not learns, place)

    def copy_mode(self, original: Value, copy: Value, place: Place | None) -> None:
        """A module has been copied with its mode."""
        self.domain.copied(self, original, copy, place)

    def domain_load_state(self, module: Value, place: Place | None) -> None:
        """Weights are loaded into a module."""
        self.domain.load_state(self, module, place)

    def domain_pretrained(self, module: Value, place: Place | None) -> None:
        """A module was built with trained weights."""
        self.domain.pretrained(self, module, place)

    def layer_created(self, module: Layer | Instance) -> None:
        """A torch layer has been built."""
        layer = torch_layer(module)
        is_norm = layer is not None and is_batchnorm(layer.name)
        if layer is not None and is_norm and module.place and not self._calculates_itself(module):
            self.batchnorms.setdefault(module.place, (layer.name, layer.parameters))
        self.domain.created(self, module)

    def _calculates_itself(self, module: Layer | Instance) -> bool:
        """Whether a class of the project takes nothing but the parameters from a layer of torch."""
        forward = self.find(module.cls, "forward") if isinstance(module, Instance) else None
        if not isinstance(forward, FunctionObject):
            return False
        return self.relevance.profile(forward.definition).words.isdisjoint({"super", "forward"})

    def holder_created(self, module: Layer | Instance) -> None:
        """A module that only holds others has been built."""
        self.domain.contains(self, module)

    def build_layer(self, name: str, arguments: Arguments) -> Layer:
        """Build a torch layer or container; a Sequential is noted, to be drawn by itself."""
        layer = super().build_layer(name, arguments)
        if name in CONTAINERS:
            self.holder_created(layer)
        if name == "torch.nn.Sequential":
            self.sequentials.append(Built(layer, bool(self.constructing)))
        return layer

    def export_module(self, module: Value, how: str, program: Value, arguments: Arguments) -> None:
        """Export a module; `program` is what comes out."""
        self.domain.export(self, module, how, program, arguments)

    def program_saved(self, program: Value, arguments: Arguments) -> None:
        """An exported program is written away."""
        self.domain.program_saved(self, program, arguments.place)

    def program_drawn(self, arguments: Arguments) -> None:
        """Exported programs among the arguments are drawn, and not used otherwise."""
        for value in arguments.all():
            self.domain.program_dropped(self, value)

    def averaged(self, module: Value, arguments: Arguments) -> None:
        """A module takes the average of the weights of another, but not of its statistics."""
        self.domain.averaged(self, module, arguments.place)

    def recalibrated(self, module: Value, arguments: Arguments) -> None:
        """The running statistics of a module are estimated anew."""
        self.domain.recalibrated(self, module, arguments.place)

    def prepare_training(self, arguments: Arguments) -> None:
        """What was exported or fused is prepared to be trained further."""
        self.domain.prepare_training(self, arguments.place)

    def is_training(self) -> Value:
        """What `module.training`, `x.requires_grad` and `torch.is_grad_enabled()` are."""
        return self.domain.is_training()

    def distribute(self, module: Value, arguments: Arguments) -> None:
        """A module is wrapped for several processes."""
        self.domain.distribute(self, module, arguments.place)

    def sync_norms(self, module: Value, arguments: Arguments) -> None:
        """The BatchNorm layers of a module are converted to synchronised ones."""
        self.domain.sync_norms(self, module, arguments.place)

    def construct(self, cls: ClassObject, arguments: Arguments) -> Value:
        """Build an instance; the domain is told before and after."""
        if is_configuration_class(cls):
            return configuration(arguments.get(0, "init_dict"))
        self.constructing += 1
        try:
            with self.domain.constructing(self, cls, arguments):
                return self._from_template(cls, arguments)
        finally:
            self.constructing -= 1

    def _from_template(self, cls: ClassObject, arguments: Arguments) -> Value:
        """Build a module, or copy one that was built from the same class with the same arguments.

        Only a constructor that has done nothing else is replaced by a copy.
        """
        key = template_key(cls, arguments) if is_module_class(cls) else None
        known = self.templates.get(key) if key is not None else None
        if known is not None:
            self.spend(known.size // OBJECTS_PER_STEP + known.modules)
            self.noticed.reading |= known.texts
            copied = clone(known.module)
            assert isinstance(copied, Instance)
            copied.place = arguments.place
            for _, module in descendants(copied) if self.domain.is_trace else ():
                if isinstance(module, Instance | Layer):
                    self.domain.created(self, module)
            return copied
        outer = self.noticed.listen()
        try:
            with self.recording() as events:
                built = super().construct(cls, arguments)
        finally:
            texts = self.noticed.heard(outer)
        self.events += events
        if key is not None and not happens(events) and isinstance(built, Instance):
            made = template(built, texts)
            if made is not None:
                self.templates.keep(key, made)
                self.spend(made.size // OBJECTS_PER_STEP)
        return built

    def statement_value(self, value: Value, expression: ir.Expression, frame: Frame) -> None:
        """An expression statement: `model.eval` alone, or a result that is dropped."""
        if type(value) is Namespace:
            context = gradient_of(value)
            if context is not None and value.fields["immediate"]:
                self.gradients[-1] = context
        if isinstance(expression, ir.Attribute) and expression.attr in ("eval", "train"):
            receiver = self.evaluate(expression.value, frame)
            place = self.place(frame, expression.span)
            self.domain.mode_not_called(self, receiver, expression, place)
        if type(value) in _STATED:
            self.domain.statement(self, value, self.place(frame, expression.span))

    def output_dropped(self, value: Value, expression: ir.Expression, frame: Frame) -> None:
        """What an expression gives is assigned and never read."""
        if isinstance(value, Tensor):
            self.domain.statement(self, value, self.place(frame, expression.span))

    def set_attribute(
        self, owner: Value, name: str, value: Value, frame: Frame, span: ir.Span
    ) -> None:
        """`owner.name = value`; `module.training = flag` sets the mode of the one module."""
        if name == "requires_grad":
            for single in alternatives(owner):
                if isinstance(single, Parameters):
                    self.set_learning(single, self.truth(value), self.place(frame, span))
        if name == "training":
            for single in self.group_members(owner):
                if is_module(single):
                    mode, _ = self.mode_argument(value)
                    note = value.note if isinstance(value, ModeFlag) else None
                    self.domain.set_training_flag(self, single, mode, self.place(frame, span), note)
            return
        super().set_attribute(owner, name, value, frame, span)

    def defined(self, function: FunctionObject | ClassObject, frame: Frame) -> None:
        """Remember what has been defined, for what nobody calls: of a function in another one the
        first, since each holds all variables around it."""
        if isinstance(function, FunctionObject) and not isinstance(function.frame, ModuleScope):
            place = (frame.module.facts.path, function.definition.span)
            if place in self._inner:
                return
            self._inner.add(place)
        self.definitions.append(function)

    def import_module(self, scope: ModuleScope) -> None:
        """Run a module's body; a layer graph that somebody draws has no part in that."""
        before = len(self.sequentials)
        domain = self.domain
        if domain.draws_layers:
            self.domain = Domain()
        try:
            super().import_module(scope)
        finally:
            self.domain = domain
        self._keep(self.sequentials[before:], scope)
        del self.sequentials[before:]


_STATED = frozenset({Tensor, Layer, Instance, Namespace})


def _leaves_mode(module: Instance, method: str) -> bool:
    """Whether a method that the project does not define leaves the mode of its module alone."""
    base = external_base(module.cls) or ""
    return method in HARMLESS_METHODS or base.startswith(MODULE_PACKAGES)


def _belongs(obj: HeapObject, scope: ModuleScope) -> bool:
    """Whether an object is a module's own: its names, its classes, the modules that it built."""
    if isinstance(obj, ClassObject):
        return obj.frame.module is scope
    return obj is scope or (isinstance(obj, Layer | Instance) and is_module(obj))


LOOKS_ONLY = frozenset(
    "state_dict add_graph watch info debug warning error log write print append format".split()
)
"""Methods of what cannot be seen that leave a module alone: of loggers, writers, lists."""
HARMLESS_METHODS = frozenset(
    (
        "zero_grad state_dict parameters named_parameters register_buffer register_parameter "
        "register_forward_hook register_full_backward_hook register_forward_pre_hook "
        "named_buffers extra_repr __len__ __repr__ log log_dict save_hyperparameters init_weights "
        "_init_weights no_sync save_pretrained load_state_dict_pre_hook print"
    ).split()
)
