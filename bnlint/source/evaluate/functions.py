"""Calls of project functions and construction of project classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bnlint.records import replace
from bnlint.source import ir
from bnlint.source.evaluate.cloning import content_of
from bnlint.source.evaluate.contexts import gradient_of, is_manager
from bnlint.source.evaluate.core import Core, Gradient, Invocation, OutOfBudget, happens
from bnlint.source.evaluate.domain import PREDICTIONS, tensors_in
from bnlint.source.evaluate.enums import is_enum, member_with
from bnlint.source.evaluate.folding import soft
from bnlint.source.evaluate.module_classes import (
    builds_modules,
    is_module,
    reachable_modules,
)
from bnlint.source.evaluate.recall import CallKey, constants_of
from bnlint.source.joining import one_of
from bnlint.source.values import (
    ANYTHING,
    NONE,
    RUNS,
    Alternatives,
    Arguments,
    ClassObject,
    External,
    Frame,
    FunctionObject,
    Instance,
    Known,
    Layer,
    Mapping,
    ModuleScope,
    Namespace,
    PendingImport,
    Sequence,
    Soft,
    Tensor,
    Value,
    alternatives,
    flat,
    is_exact,
    items_of,
)
from bnlint.source.walk import ir_name as ir_name
from bnlint.trace import Call, Item

DEEPEST_CALL = 28
"""Nested calls that are followed; below that a call's result is unknown."""
RECORDS = frozenset({"dataclass", "NamedTuple", "BaseModel", "define"})
"""Decorators and bases of classes whose fields are their constructor's parameters."""
DEEPEST_RECURSION = 8
"""Nested calls of one function with other arguments each time."""
DECORATION_BUDGET = 5_000
"""Steps for what a decorator does with one definition."""


class Functions(Core):
    """Calls of functions and constructors of the project, followed into their bodies."""

    def call_function(self, function: FunctionObject, arguments: Arguments) -> Value:
        """Call a function: its body is run with the arguments bound."""
        self.spend()
        definition = function.definition
        self.noticed.read(function)
        given = given_to(function, arguments)
        if len(self.invocations) >= DEEPEST_CALL or self._is_endless(definition, given):
            self.truncated += 1
            self.not_followed(arguments)
            return ANYTHING
        if self.on_yield is None and is_manager(function):  # entered by something else than `with`
            receiver = [function.receiver] if function.receiver is not None else []
            self.not_followed(Arguments([*receiver, *arguments.all()], place=arguments.place))
            return ANYTHING
        if not self._is_followed(function, arguments):
            return self._summarised(function, arguments)
        if self.explored is None and function.is_of_file:
            view = self.point_of_view
            if self.recall.is_worthwhile(function, view):
                constants = constants_of(function, arguments)
                if constants is not None:
                    follow = partial(self._follow, function, arguments, given)
                    return self._recalled(CallKey(function, view, constants), follow)
        return self._follow(function, arguments, given)

    def _recalled(self, key: CallKey, follow: Callable[[], Value]) -> Value:
        """What a call gives that was made before, or else is followed now."""
        known = self.recall.value(key, self.called)
        return self.recall.record(key, follow, self.happened) if known is None else known

    def _follow(self, function: FunctionObject, arguments: Arguments, given: object) -> Value:
        """Run a function's body with the arguments bound."""
        definition = function.definition
        place = function.frame.module.facts.path, definition.span
        self.called[place] = None
        if self.recall.running:
            self.recall.running[-1].called[place] = None
        frame = Frame(function.frame.module, function.frame, function.owner, function.receiver)
        self._bind_parameters(function, arguments, frame)
        entered = self._enter_decorators(function)
        events: list[Item] = []
        outer, self.events = self.events, events
        try:
            result = self._run(definition, frame, given)
        finally:
            self.events = outer
            del self.gradients[len(self.gradients) - entered :]
        self.wrap_call(function, arguments, events)
        return result

    def explore(self, function: FunctionObject, arguments: Arguments) -> None:
        """Call a function, and see both branches of its tests."""
        definition = function.definition
        self.explored = definition if isinstance(definition, ir.Function) else None
        try:
            self.call_function(function, arguments)
        finally:
            self.explored = None

    def _is_followed(self, function: FunctionObject, arguments: Arguments) -> bool:
        """Whether a call can matter: for what it does, is given, or hands back."""
        definition = function.definition
        if self.relevance.matters(definition) or self._touches_models(function, arguments):
            return True
        configured = any(isinstance(value, Namespace) for value in arguments.all())
        return configured and self.relevance.hands_back(definition)

    def _touches_models(self, function: FunctionObject, arguments: Arguments) -> bool:
        """Whether a call is given modules, or data that layers have made in a graph."""
        values = [function.receiver, *arguments.all()] if function.receiver else arguments.all()
        if self.draws_layers and any(tensor.sources for tensor in tensors_in(values)):
            return True
        for value in values:
            if any(map(builds_modules, alternatives(value))):
                return True
            for _ in reachable_modules(value):
                return True
        return not self.draws_layers and self._names_a_module(function)

    def _names_a_module(self, function: FunctionObject) -> bool:
        """Whether a function mentions a variable around it that is a module, or one of the function
        around it that holds modules: `self` of an object with a model."""
        words = self.relevance.profile(function.definition).words
        scope: Frame | None = function.frame
        while scope is not None:
            is_local = not isinstance(scope, ModuleScope)
            for name in words & scope.fields.keys():
                pending = scope.fields[name]
                if isinstance(pending, PendingImport) and self.is_definition(pending):
                    continue
                found = scope.value(name)
                if found is not None and any(map(is_module, alternatives(found))):
                    return True
                if is_local and any(True for _ in reachable_modules(found)):
                    return True
            scope = scope.outer
        return False

    def _summarised(self, function: FunctionObject, arguments: Arguments) -> Value:
        """A call that only reckons with data, told by its words: a metric in NumPy."""
        if not any(tensor.sources for tensor in tensors_in(arguments.all())):
            return ANYTHING
        words = self.relevance.profile(function.definition).words & PREDICTIONS
        return self.call_opaque(min(words, default=""), arguments, function.frame)

    def not_followed(self, arguments: Arguments) -> None:
        """A call is not followed: what it does to its arguments is unknown."""

    def wrap_call(self, function: FunctionObject, arguments: Arguments, events: list[Item]) -> None:
        """Add a call's events to the caller's."""
        if events and happens(events):
            self.events.append(Call(function.name, arguments.place, tuple(events)))

    def _enter_decorators(self, function: FunctionObject) -> int:
        entered = 0
        for decorator in function.decorators:
            gradient: Gradient | None = gradient_of(decorator)
            if isinstance(decorator, External):
                gradient = gradient_of(self._plain_context(decorator, function))
            if gradient is not None:
                self.gradients.append(gradient)
                entered += 1
        return entered

    def _plain_context(self, decorator: External, function: FunctionObject) -> Value:
        """`@torch.no_grad` without parentheses."""
        if not decorator.name.startswith("torch."):
            return ANYTHING
        definition = function.definition
        place = function.frame.module.facts.place(definition.span)
        return self.call_external(decorator.name, Arguments(place=place), function.frame)

    def _is_endless(self, definition: ir.Function | ir.Lambda, given: object) -> bool:
        """Whether a recursion need not end: a third round with the same constant arguments."""
        active = [run.given for run in self.invocations if run.definition is definition]
        return len(active) > 1 and (given in active or len(active) >= DEEPEST_RECURSION)

    def _run(self, definition: ir.Function | ir.Lambda, frame: Frame, given: object) -> Value:
        if isinstance(definition, ir.Lambda):
            return self.evaluate(definition.body, frame)
        invocation = Invocation(definition, self.store.depth, given)
        if self.on_yield is not None and self.on_yield[0] is definition:
            invocation.body, self.on_yield = self.on_yield[1], None
        self.invocations.append(invocation)
        loops, self.loops = self.loops, []
        self.store.begin()
        try:
            falls = self.execute(definition.body, frame)
        except BaseException:
            self.store.commit()
            raise
        finally:
            self.invocations.pop()
            self.loops = loops
        self._join_exits(invocation, falls or invocation.is_at_end, frame)
        if invocation.yields is not None:
            return invocation.yields
        values = invocation.returns + ([NONE] if falls else [])
        return one_of(values) if values else External("never returns")

    def _join_exits(self, invocation: Invocation, falls: bool, frame: Frame) -> None:
        """The state after a call: its normal end joined with its early returns.

        Nobody asks for the local variables any more, unless a function was defined among them.
        """
        gone = None if frame.is_kept else frame
        if not invocation.exits:
            self.store.commit(gone)
            return
        changes = self.store.rollback()
        self.store.merge([*invocation.exits, changes] if falls else invocation.exits, gone)

    # --- parameters --------------------------------------------------------------------------

    def _bind_parameters(
        self, function: FunctionObject, arguments: Arguments, frame: Frame
    ) -> None:
        parameters = function.definition.parameters
        given = list(arguments.positional)
        if function.receiver is not None:
            given.insert(0, function.receiver)
        keywords = dict(arguments.keywords)
        unknown = arguments.unknown or not is_exact(given)
        for parameter, default in zip(parameters, function.defaults):
            frame.fields[parameter.name] = self._argument(
                parameter, default, given, keywords, unknown
            )

    def _argument(
        self,
        parameter: ir.Parameter,
        default: Value | None,
        given: list[Value],
        keywords: dict[str, Value],
        unknown: bool,
    ) -> Value:
        if parameter.star == "*":
            rest, given[:] = tuple(given), []
            return Sequence("tuple", rest)
        if parameter.star == "**":
            rest_mapping = Mapping()
            rest_mapping.fields.update(keywords)
            return rest_mapping
        if given and not parameter.keyword_only:
            if type(given[0]) not in RUNS:
                return given.pop(0)
            return one_of(flat(given))
        if parameter.name in keywords:
            return keywords.pop(parameter.name)
        if unknown or default is None:
            return self.unbound_parameter(parameter) if default is None else ANYTHING
        return default

    def unbound_parameter(self, parameter: ir.Parameter) -> Value:
        """The value of a parameter that the caller does not give."""
        return ANYTHING

    def decorated(self, function: FunctionObject, frame: Frame) -> Value:
        """What the project's own decorators make of a function; it stays itself where they cannot
        be followed."""
        result = function
        for decorator in reversed(function.decorators):
            if isinstance(decorator, FunctionObject):
                made = self.made_by(decorator, result, frame)
                result = made if isinstance(made, FunctionObject) else result
        if result is function:
            return function
        return replace(result, owner=function.owner, is_static=function.is_static)

    def made_by(self, decorator: FunctionObject, decorated: Value, frame: Frame) -> Value:
        """What a decorator of the project makes of a definition; ANYTHING where that is long work:
        of one that writes documentation, say. Such a decorator is followed once only."""
        key = (decorator.frame.module.facts.path, decorator.definition.span)
        if key in self.long_decorators:
            return ANYTHING
        outer, self.budget = self.budget, min(self.budget, DECORATION_BUDGET)
        given = self.budget
        try:
            return self.call(decorator, Arguments([decorated]), frame)
        except OutOfBudget:
            if given < DECORATION_BUDGET:
                raise
            self.long_decorators.add(key)
            return ANYTHING
        finally:
            self.budget += outer - given

    def free_arguments(self, function: FunctionObject, *, given: bool = False) -> Arguments:
        """Arguments for a function that nobody visible calls: defaults that a caller may change.

        given: what is None by default is given something, nobody knows what.
        """
        keywords: dict[str, Value] = {}
        for parameter, default in zip(function.definition.parameters, function.defaults):
            if default is not None and isinstance(default, Known) and not parameter.star:
                none = ANYTHING if given else default
                keywords[parameter.name] = none if default == NONE else soft(default)
        return Arguments(keywords=keywords)

    # --- classes -----------------------------------------------------------------------------

    def find(self, cls: ClassObject, name: str, after: ClassObject | None = None) -> Value | None:
        """A class attribute by method resolution order; None when a project class does not have it.

        after: start behind this class, as `super()` does.
        """
        found_start = after is None
        for base in cls.linearization():
            if not found_start:
                found_start = base is after
                continue
            if isinstance(base, ClassObject) and name in base.fields:
                found = base.value(name)
                if self.recall.listening is not None:
                    self.recall.read(found, base)
                return found
        return None

    def bind_method(self, value: Value, receiver: Value) -> Value:
        """A class attribute as seen through an instance or class."""
        if isinstance(value, Alternatives):
            return one_of(self.bind_method(single, receiver) for single in value.values)
        if not isinstance(value, FunctionObject) or value.is_static:
            return value
        decorators = (
            {d.name for d in value.decorators if isinstance(d, External)}
            if value.decorators
            else _NO_NAMES
        )
        if "builtins.classmethod" in decorators and isinstance(receiver, Instance):
            receiver = receiver.cls
        elif isinstance(receiver, ClassObject) and "builtins.classmethod" not in decorators:
            return value
        bound = replace(value, receiver=receiver)
        if value.is_property:
            return self.call_function(bound, Arguments())
        return bound

    def construct(self, cls: ClassObject, arguments: Arguments) -> Value:
        """Build an instance and run its constructor."""
        if is_enum(cls):
            return member_with(cls, "value", arguments.get(0, "value"))
        self.built[cls.frame.module.facts.path, cls.definition.span] = None
        self.noticed.build(cls)
        self.recall.taint()
        instance = Instance(cls, arguments.place)
        if self._is_under_construction(cls):
            self.not_followed(arguments)
            return ANYTHING
        initializer = self.find(cls, "__init__")
        if isinstance(initializer, FunctionObject):
            self.call_function(replace(initializer, receiver=instance), arguments)
        elif self._is_dataclass(cls):
            self._fill_dataclass(instance, arguments)
        else:
            self.initialize_external(instance, arguments)
        return instance

    def initialize_external(self, instance: Instance, arguments: Arguments) -> None:
        """Run the constructor of the class outside the project that an instance derives from."""

    def _is_under_construction(self, cls: ClassObject) -> bool:
        initializer = self.find(cls, "__init__")
        if not isinstance(initializer, FunctionObject):
            return False
        active = [r for r in self.invocations if r.definition is initializer.definition]
        return len(active) > 6

    def _is_dataclass(self, cls: ClassObject) -> bool:
        names = [ir_name(decorator) for decorator in cls.definition.decorators]
        names += [base.name for base in cls.linearization() if isinstance(base, External)]
        return any(name.rpartition(".")[2] in RECORDS for name in names)

    def _fill_dataclass(self, instance: Instance, arguments: Arguments) -> None:
        positional = list(arguments.positional)
        for statement in instance.cls.definition.body:
            match statement:
                case ir.Declare(ir.Name(name)) | ir.Assign((ir.Name(name),), _):
                    value: object = ANYTHING
                    default = instance.cls.fields.get(name)
                    if positional:
                        value = positional.pop(0)
                    elif name in arguments.keywords:
                        value = arguments.keywords[name]
                    elif isinstance(default, Known | Soft):
                        value = default
                    instance.fields[name] = value


_NO_CONSTANTS = frozenset({Instance, Layer, Tensor, Mapping, Namespace})
_NO_NAMES: frozenset[str] = frozenset()


def given_to(function: FunctionObject, arguments: Arguments) -> object:
    """The receiver and the constant arguments of a call, by content."""
    return (
        id(function.receiver) if function.receiver is not None else None,
        tuple(_constant(value) for value in arguments.positional),
        tuple((name, _constant(value)) for name, value in arguments.keywords.items()),
    )


def _constant(value: Value) -> object | None:
    """The content of a constant; a list of unknown things is none, however many there are."""
    kind = type(value)
    if kind is Known or kind is External:
        return value
    if value is ANYTHING or kind in _NO_CONSTANTS:
        return None
    if isinstance(value, Sequence) and ANYTHING in items_of(value):
        return None
    return content_of(value)
