"""Overrides of `train` and `eval` in module classes, and attributes that hide such methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bnlint.finding import Place
from bnlint.overrides import (
    SWITCHES,
    HiddenMethod,
    ModeMethod,
    ModeOverride,
    Reach,
)
from bnlint.source import ir
from bnlint.source.evaluate.functions import ir_name
from bnlint.source.project import Project
from bnlint.source.toggling import Outcome, Toggle, does_nothing, hands_out, takes_mode
from bnlint.source.values import ClassObject, External, FunctionObject, Namespace, Value
from bnlint.source.walk import walk
from bnlint.torchnames import canonical

MODULE_BASES = frozenset(
    {"LightningModule", "PreTrainedModel", "BaseModule", "MessagePassing", "PyroModule"}
)
"""Classes of other packages that derive from nn.Module."""
MODULE_PACKAGES = frozenset(
    {
        "pytorch_lightning",
        "lightning",
        "transformers",
        "mmengine",
        "mmcv",
        "torch_geometric",
        "pyro",
    }
)


def mode_methods(project: Project, cls: ClassObject) -> Iterator[ModeMethod]:
    """What a module class puts in the place of methods that set modes."""
    for name in ("train", "eval"):
        method = own_method(cls, name)
        if method is not None:
            notice_methods(project, cls)
            yield _override(cls, name, method)
    yield from _hidden(project, cls)


def notice_methods(project: Project, cls: ClassObject) -> None:
    """The methods of a class and its bases decide something by their texts."""
    for base in cls.linearization():
        for value in base.fields.values() if isinstance(base, ClassObject) else ():
            if isinstance(value, FunctionObject):
                project.noticed.read(value)


def proven_modules(definitions: Iterable[object]) -> Iterator[ClassObject]:
    """The classes among definitions that surely derive from nn.Module, each once."""
    seen: set[tuple[str, ir.Span]] = set()
    for cls in definitions:
        if isinstance(cls, ClassObject):
            key = (cls.frame.module.facts.path, cls.definition.span)
            if key not in seen and is_proven_module(cls):
                seen.add(key)
                yield cls


def is_proven_module(cls: ClassObject) -> bool:
    """Whether a class derives from nn.Module, whatever else it derives from."""
    return any(isinstance(base, External) and _is_module(base) for base in cls.linearization())


def _is_module(base: External) -> bool:
    name = canonical(base.name)
    package, _, last = name.partition(".")[0], "", name.rpartition(".")[2]
    if name.startswith(("torch.nn.", "torchvision.models.", "timm.models.")):
        return last[:1].isupper()
    return package in MODULE_PACKAGES and last in MODULE_BASES


def own_method(cls: ClassObject, name: str) -> FunctionObject | None:
    """A method that the class itself defines under this name, without decorators that may change
    what it is."""
    method = cls.fields.get(name)
    if not isinstance(method, FunctionObject) or method.is_static or method.is_property:
        return None
    if not isinstance(method.definition, ir.Function) or method.definition.name != name:
        return None
    return method if all(map(_leaves_alone, method.decorators)) else None


def _leaves_alone(decorator: Value) -> bool:
    """Whether a decorator keeps signature and result: torch's, and those for type checkers."""
    if isinstance(decorator, External):
        return decorator.name.partition(".")[0] in ("torch", "typing", "typing_extensions")
    return isinstance(decorator, Namespace | FunctionObject)  # `@torch.no_grad()` is a context


# --- overrides -------------------------------------------------------------------------------


def _override(cls: ClassObject, name: str, method: FunctionObject) -> ModeOverride:
    definition = method.definition
    assert isinstance(definition, ir.Function)
    parameters = [p for p in definition.parameters[1:] if p.name]
    given = _given(parameters) if name == "train" else ""
    parameter = given if takes_mode(parameters) else ""
    evaluating = _toggle(cls, definition, parameter, mode=False)
    training = _toggle(cls, definition, parameter, mode=True)
    return ModeOverride(
        cls=cls.name,
        method=name,
        signature=f"{name}({', '.join(map(_shown, definition.parameters))})",
        place=method.frame.module.facts.place(definition.header),
        given=given,
        accepts=_accepts(definition.parameters, 1 if name == "train" else 0),
        reach=_reach(evaluating, definition.body),
        returns_self=_returns_self([evaluating, training]),
        has_own_eval=name == "train" and _overrides_eval(cls),
    )


def _overrides_eval(cls: ClassObject) -> bool:
    """Whether the class or one of its project bases defines `eval`."""
    return any(
        "eval" in base.fields for base in cls.linearization() if isinstance(base, ClassObject)
    )


def _toggle(cls: ClassObject, definition: ir.Function, parameter: str, *, mode: bool) -> Toggle:
    """The paths that a method takes when it is told a mode."""
    receiver = definition.parameters[0].name if definition.parameters else "self"
    switching = _Switching(cls, definition, receiver)
    toggle = Toggle(receiver, parameter, mode, switching.may_switch)
    toggle.run(definition.body)
    return toggle


class _Switching:
    """Which calls in a method may set modes out of sight."""

    def __init__(self, cls: ClassObject, definition: ir.Function, receiver: str) -> None:
        self.cls = cls
        self.receiver = receiver
        self.local = {s.name: s for s in walk(definition.body) if isinstance(s, ir.Function)}

    def may_switch(self, call: ir.Call, told: bool) -> bool:
        """Whether a call may set the mode of the module: one that is told the mode, if it mentions
        modes at all; another one, if it does so to its own module."""
        owner, _, name = ir_name(call.function).rpartition(".")
        if owner == self.receiver:
            return self._method_switches(name, told)
        if owner in ("super", "super()"):
            return False
        function = self.local.get(name) if not owner else None
        if function is None and not owner:
            known = self.cls.frame.module.value(name)
            found = known.definition if isinstance(known, FunctionObject) else None
            function = found if isinstance(found, ir.Function) else None
        given = [a.value for a in call.arguments]
        has_self = any(isinstance(value, ir.Name) and value.id == self.receiver for value in given)
        return function is not None and (told or has_self) and _mentions_modes(function.body)

    def _method_switches(self, name: str, told: bool) -> bool:
        for base in self.cls.linearization():
            method = base.fields.get(name) if isinstance(base, ClassObject) else None
            if isinstance(method, FunctionObject):
                body = method.definition.body
                if told and _mentions_modes(body):
                    return True
                if not isinstance(body, tuple) or not method.definition.parameters:
                    return False
                return any(True for _ in hands_out(body, method.definition.parameters[0].name))
        return told  # a method of a class that cannot be seen


def _mentions_modes(code: object) -> bool:
    """Whether code names something that sets modes."""
    return any(
        (isinstance(node, ir.Attribute) and node.attr in SWITCHES)
        or (isinstance(node, ir.Constant) and node.value == "training")
        for node in walk(code)
    )


def _given(parameters: list[ir.Parameter]) -> str:
    """The parameter that a single positional argument goes to."""
    return next((p.name for p in parameters if not p.keyword_only and p.star != "**"), "")


def _accepts(parameters: tuple[ir.Parameter, ...], count: int) -> bool:
    """Whether a call with this many positional arguments behind `self` fits."""
    named = [p for p in parameters if p.name and not p.star]
    positional = [p for p in named if not p.keyword_only]
    needed = [p for p in positional if p.default is None]
    if any(p.default is None for p in named if p.keyword_only):
        return False
    has_room = any(p.star == "*" and p.name for p in parameters) or len(positional) > count
    return has_room and len(needed) <= count + 1


def _reach(toggle: Toggle, body: ir.Body) -> Reach:
    """How far evaluation mode gets, over all paths."""
    if does_nothing(body, toggle.receiver) or not toggle.ends:  # or every path raises
        return Reach.DISABLED
    if toggle.ends & {Outcome.EVAL, Outcome.BELOW_EVAL, Outcome.UNKNOWN}:
        return Reach.PASSED if Outcome.UNKNOWN not in toggle.ends else Reach.UNKNOWN
    return Reach.FORCED if toggle.ends == {Outcome.TRAIN} else Reach.LOST


def _returns_self(toggles: list[Toggle]) -> bool | None:
    """Whether a module comes back on every path; None where that cannot be seen."""
    results = {_is_module_value(value, t.receiver) for t in toggles for value in t.returned}
    if False in results:
        return False
    return True if results == {True} else None


def _is_module_value(value: ir.Expression | None, receiver: str) -> bool | None:
    match value:
        case None | ir.Constant(None):
            return False
        case ir.Name(name) if name == receiver:
            return True
        case ir.Call(ir.Attribute(_, "train" | "eval")):
            return True
    return None


def _shown(parameter: ir.Parameter) -> str:
    default = parameter.default
    if isinstance(default, ir.Constant):
        return f"{parameter.star}{parameter.name}={default.value!r}"
    return f"{parameter.star}{parameter.name}{'=...' if default is not None else ''}"


# --- attributes ------------------------------------------------------------------------------


def _hidden(project: Project, cls: ClassObject) -> Iterator[HiddenMethod]:
    """Attributes that hide `train`, `eval`, or a method of the class that sets modes."""
    facts = cls.frame.module.facts
    bases = (base for base in cls.linearization() if isinstance(base, ClassObject))
    profiles = (project.relevance.profile(base.definition) for base in bases)
    if all(_MODES.isdisjoint(profile.words) for profile in profiles):
        return
    for name, assignment, function in _assigned(cls):
        defined = _setting_method(cls, name)
        if defined is None and name not in ("train", "eval"):
            continue
        if _is_plain(assignment.value, function) or _is_tested(cls, name):
            place = None
            if defined is not None:
                header = defined.definition
                assert isinstance(header, ir.Function)
                place = defined.frame.module.facts.place(header.header)
            target = next(t for t in assignment.targets if _is_own_attribute(t, name))
            called = None if defined is None else _call_of(project, name)
            yield HiddenMethod(cls.name, name, facts.place(target.span), place, called)


_MODES = SWITCHES | {"training", "setattr", "__setattr__", "__dict__"}
"""Words of code that may set modes."""


def _assigned(cls: ClassObject) -> Iterator[tuple[str, ir.Assign, ir.Function]]:
    """The first assignment to each attribute of `self` in the class's own methods."""
    seen: set[str] = set()
    for statement in cls.definition.body:
        if not isinstance(statement, ir.Function):
            continue
        for node in walk(statement.read()):
            if not isinstance(node, ir.Assign):
                continue
            for target in node.targets:
                match target:
                    case ir.Attribute(ir.Name("self"), name) if name not in seen:
                        seen.add(name)
                        yield name, node, statement


def _is_own_attribute(target: ir.Expression, name: str) -> bool:
    match target:
        case ir.Attribute(ir.Name("self"), attr):
            return attr == name
    return False


def _setting_method(cls: ClassObject, name: str) -> FunctionObject | None:
    """The method of this name in the class or its project bases, if it sets modes."""
    for base in cls.linearization():
        method = base.fields.get(name) if isinstance(base, ClassObject) else None
        if isinstance(method, FunctionObject):
            definition = method.definition
            if not isinstance(definition, ir.Function) or method.is_property:
                return None
            return method if _mentions_modes(definition.body) else None
    return None


def _is_plain(value: ir.Expression, function: ir.Function) -> bool:
    """Whether a value is surely no function: a constant, a comparison, or a parameter that is a
    flag by its default or annotation."""
    match value:
        case ir.Constant() | ir.Compare() | ir.Unary() | ir.DictDisplay() | ir.Display():
            return True
        case ir.Name(name):
            given = next((p for p in function.parameters if p.name == name), None)
            if given is None:
                return False
            annotation = given.annotation
            if isinstance(annotation, ir.Name) and annotation.id in ("bool", "int", "float", "str"):
                return True
            default = given.default
            return isinstance(default, ir.Constant) and default.value is not None
    return False


def _is_tested(cls: ClassObject, name: str) -> bool:
    """Whether the class asks whether the attribute is true: a method always is."""
    tests: list[ir.Expression] = []
    for node in walk(cls.definition.body):
        match node:
            case ir.If(test) | ir.While(test) | ir.Conditional(test) | ir.Unary("Not", test):
                tests.append(test)
            case ir.Boolean(_, left, right):
                tests += [left, right]
    return any(_is_own_attribute(test, name) for test in tests)


def _call_of(project: Project, name: str) -> Place | None:
    """A call of a method of this name anywhere in the project."""
    project.noticed.called.add(name)
    for path in project.given:
        facts = project.facts(path)
        if facts is None or name not in project.relevance.profile(facts.body).words:
            continue  # told without its bodies
        for node in walk(facts.body):
            match node:
                case ir.Call(ir.Attribute(_, attr), ()) if attr == name:
                    return facts.place(node.span)
    return None
