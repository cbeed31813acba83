"""Objects that nobody in the project builds: of a library's classes, whose users do.

A user builds the object, by its constructor or by a method of its class, and then calls its public
methods in an order of his own. So the methods are run as alternatives, twice, for what the first
has built the second may run; and each time any of them may have come before. A model that he gives
them, or whose method he calls, is in whatever mode he has set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from bnlint.source import ir
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.evaluate.module_classes import is_module
from bnlint.source.project import Project
from bnlint.source.values import (
    NONE,
    Arguments,
    ClassObject,
    External,
    FunctionObject,
    Instance,
    Value,
    alternatives,
)
from bnlint.trace import Item, Loop, Mode

ROUNDS = 2
"""How often the methods of one object are run."""


def is_candidate(cls: ClassObject) -> bool:
    """Whether a class may be looked at for itself: a file's own, all of whose bases are known or
    that is a module."""
    return cls.derives_from_module is not None and cls.frame is cls.frame.module


def is_unbuilt(machine: Interpreter, cls: ClassObject) -> bool:
    """Whether nobody builds a class from which nobody derives, though it runs models."""
    return (
        definition_of(cls) not in machine.built
        and _runs_models(machine, cls)
        and _is_new(machine, cls)
    )


def _is_new(machine: Interpreter, cls: ClassObject) -> bool:
    """Whether a method of a class, or of its bases, that runs models was not run so far: not as a
    method of another class of the same family either."""
    own = [base for base in cls.linearization() if isinstance(base, ClassObject)]
    methods = (value for base in own for value in base.values().values())
    return any(_is_unrun(machine, m) for m in methods if isinstance(m, FunctionObject))


def _is_unrun(machine: Interpreter, method: FunctionObject) -> bool:
    definition = method.definition
    if not isinstance(definition, ir.Function) or definition.name in _OF_MODULES:
        return False
    if machine.relevance.profile(definition).references.isdisjoint(machine.relevance.judging):
        return False
    place = method.frame.module.facts.path, definition.span
    return place not in machine.called or place in machine.tested


def _runs_models(machine: Interpreter, cls: ClassObject) -> bool:
    """Whether a class mentions what builds models, and what is done with them; a module, that it
    trains itself."""
    own = [base for base in cls.linearization() if isinstance(base, ClassObject)]
    relevance = machine.relevance
    profiles = [relevance.profile(base.definition) for base in own]
    if cls.derives_from_module:
        return frozenset[str]().union(*(p.words for p in profiles)) >= TRAINS_ITSELF
    references = frozenset[str]().union(*(profile.references for profile in profiles))
    return not (
        references.isdisjoint(relevance.modelling) or references.isdisjoint(relevance.judging)
    )


_OF_MODULES = frozenset({"forward", "train", "eval", "__call__"})
TRAINS_ITSELF = frozenset({"train", "backward", "step"})


def definition_of(cls: ClassObject) -> tuple[str, ir.Span]:
    """What tells the class from all others."""
    return cls.frame.module.facts.path, cls.definition.span


def run_object(machine: Interpreter, cls: ClassObject) -> bool:
    """Build an object and call its public methods in any order; always True."""
    instance = _built(machine, cls)
    if instance is None:
        return True
    methods = list(_public_methods(machine, instance))
    for _ in range(ROUNDS if methods else 0):
        with machine.recording() as events:
            machine.branch([partial(_call, machine, instance, method) for method in methods])
        # One and the same item twice: what one method does holds when the others run.
        once: Item = Loop((tuple(events),), repeat=False, place=None)
        machine.events += [once, once]
    return True


def _built(machine: Interpreter, cls: ClassObject) -> Instance | None:
    """An object of a class: what its own builders give, else what its constructor makes."""
    for name, function in list(cls.values().items()):
        if _builds(function) and not name.startswith("_"):
            bound = machine.bind_method(function, cls)
            if isinstance(bound, FunctionObject):
                made = machine.call_function(bound, caller_arguments(machine, bound))
                own = [m for m in alternatives(made) if isinstance(m, Instance) and m.cls is cls]
                if own:
                    return own[0]
    made = _make(machine, cls, partial(caller_arguments, machine))
    return made if isinstance(made, Instance) else None


def _make(
    machine: Interpreter, cls: ClassObject, given: Callable[[FunctionObject], Arguments]
) -> Value:
    """An object of a class; `given`: the arguments for its constructor."""
    initializer = machine.find(cls, "__init__")
    if isinstance(initializer, FunctionObject):
        return machine.construct(cls, given(initializer))
    return machine.construct(cls, Arguments())


def _builds(function: Value) -> bool:
    decorators = function.decorators if isinstance(function, FunctionObject) else ()
    return any(
        isinstance(decorator, External) and decorator.name == "builtins.classmethod"
        for decorator in decorators
    )


def _public_methods(machine: Interpreter, instance: Instance) -> Iterator[FunctionObject]:
    """The methods that a user may call, the nearest of each name."""
    seen: set[str] = set()
    for base in instance.cls.linearization():
        for name, value in base.values().items() if isinstance(base, ClassObject) else ():
            if name in seen or not isinstance(value, FunctionObject):
                continue
            seen.add(name)
            hidden = name.startswith("_") and name != "__call__"
            hidden |= name in _OF_MODULES and is_module(instance)
            if hidden or value.is_property or value.is_static or _builds(value):
                continue
            bound = machine.bind_method(value, instance)
            if isinstance(bound, FunctionObject):
                yield bound


def _call(machine: Interpreter, instance: Instance, method: FunctionObject) -> bool:
    if is_module(instance):
        machine.emit_mode((instance,), Mode.UNKNOWN, None, _CALLER)
    machine.call_function(method, caller_arguments(machine, method))
    return True


_CALLER = "whoever calls it"


def caller_arguments(machine: Interpreter, function: FunctionObject) -> Arguments:
    """Arguments for a function that nobody visible calls: models of the project's classes where the
    parameters are declared so, in a mode that nobody knows."""
    arguments = machine.free_arguments(function)
    for parameter, default in zip(function.definition.parameters, function.defaults):
        if parameter.annotation is None or parameter.star or default not in (None, NONE):
            continue
        cls = machine.evaluate(parameter.annotation, function.frame)
        if isinstance(cls, ClassObject) and cls.derives_from_module:
            arguments.keywords[parameter.name] = _given(machine, cls)
    return arguments


def _given(machine: Interpreter, cls: ClassObject) -> Value:
    """A model that a caller has built."""
    built, machine.built = machine.built, {}
    try:
        model = _make(machine, cls, machine.free_arguments)
    finally:
        machine.built = built
    machine.emit_mode((model,), Mode.UNKNOWN, None, _CALLER)
    return model


def switched_attributes(project: Project) -> frozenset[str]:
    """The names of attributes of other objects that some code switches: `trainer.model.eval()`."""
    found: set[str] = set()
    for path in project.given:
        facts = project.facts(path)
        if facts is not None:
            found.update(switched(project.relevance.nodes_with(facts.body, _SWITCHES)))
    return frozenset(found)


_SWITCHES = frozenset({"eval", "train"})


def switched(nodes: Iterable[object]) -> Iterator[str]:
    """The names of such attributes in a piece of code."""
    for node in nodes:
        match node:
            case ir.Call(ir.Attribute(ir.Attribute(owner, name), "eval" | "train")):
                if not (isinstance(owner, ir.Name) and owner.id == "self"):
                    yield name
