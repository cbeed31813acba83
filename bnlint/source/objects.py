"""Objects that nobody in the project builds: of a library's classes, whose users do.

A user builds the object, by its constructor or by a method of its class, and then calls its public
methods in an order of his own. So the methods are run as alternatives, twice, for what the first
has built the second may run; and each time any of them may have come before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from bnlint.source import ir
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.project import Project
from bnlint.source.values import (
    Arguments,
    ClassObject,
    External,
    FunctionObject,
    Instance,
    Value,
    alternatives,
)
from bnlint.source.walk import walk
from bnlint.trace import Item, Loop

ROUNDS = 2
"""How often the methods of one object are run."""


def unbuilt_classes(machine: Interpreter) -> Iterator[ClassObject]:
    """The classes of which all bases are known, which are no modules, that nobody builds or derives
    from."""
    classes = [found for found in machine.definitions if isinstance(found, ClassObject)]
    bases = {id(base) for cls in classes for base in cls.bases}
    for cls in classes:
        if (
            id(cls) not in bases
            and cls.derives_from_module is False
            and cls.frame is cls.frame.module
            and definition_of(cls) not in machine.built
            and _runs_models(machine, cls)
        ):
            yield cls


def _runs_models(machine: Interpreter, cls: ClassObject) -> bool:
    """Whether a class mentions what builds models, and what is done with them."""
    own = [base for base in cls.linearization() if isinstance(base, ClassObject)]
    words = frozenset[str]().union(*(machine.relevance.profile(b.definition).words for b in own))
    relevance = machine.relevance
    return not (words.isdisjoint(relevance.modelling) or words.isdisjoint(relevance.judging))


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
            machine.branch([partial(_call, machine, method) for method in methods])
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
                made = machine.call_function(bound, machine.free_arguments(bound))
                own = [m for m in alternatives(made) if isinstance(m, Instance) and m.cls is cls]
                if own:
                    return own[0]
    initializer = machine.find(cls, "__init__")
    arguments = Arguments()
    if isinstance(initializer, FunctionObject):
        arguments = machine.free_arguments(initializer)
    made = machine.construct(cls, arguments)
    return made if isinstance(made, Instance) else None


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
            if hidden or value.is_property or value.is_static or _builds(value):
                continue
            bound = machine.bind_method(value, instance)
            if isinstance(bound, FunctionObject):
                yield bound


def _call(machine: Interpreter, method: FunctionObject) -> bool:
    machine.call_function(method, machine.free_arguments(method))
    return True


def switched_attributes(project: Project) -> frozenset[str]:
    """The names of attributes of other objects that some code switches: `trainer.model.eval()`."""
    found: set[str] = set()
    for path in project.given:
        facts = project.facts(path)
        if facts is not None and not _SWITCHES.isdisjoint(
            project.relevance.profile(facts.body).words
        ):
            found |= set(_switched(walk(facts.body)))
    return frozenset(found)


_SWITCHES = frozenset({"eval", "train"})


def _switched(nodes: Iterable[object]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ir.Call(ir.Attribute(ir.Attribute(owner, name), "eval" | "train")):
                if not (isinstance(owner, ir.Name) and owner.id == "self"):
                    yield name
