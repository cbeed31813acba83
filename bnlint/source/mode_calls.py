"""Calls of mode-sensitive functions in the methods of modules that a forward reaches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from functools import partial
from typing import get_args

from bnlint.functional import SIGNATURES, Follows, ModeCall, Signature
from bnlint.graph import UNKNOWN, Parameter
from bnlint.source import ir
from bnlint.source.deliberate import conditions_of, is_deliberate, leaves, way_to
from bnlint.source.evaluate.functions import ir_name
from bnlint.source.mode_methods import notice_methods
from bnlint.source.project import Project
from bnlint.source.relevance import Relevance
from bnlint.source.values import ClassObject, External, FunctionObject
from bnlint.source.walk import fields_of, walk

ROOTS = re.compile(
    r"(forward|validation_step|test_step|predict|inference|encode|decode|embed|extract|generate)"
)
"""How the names of methods begin that run in evaluation mode, too."""
CALLED_BACK = {"propagate": ("message", "aggregate", "update", "edge_update")}
"""Methods that another package's method calls in its turn (torch_geometric)."""
TELLS_MODE = re.compile(r"train|eval|test|infer|predict|phase|mode(?!l)", re.IGNORECASE)
"""A name that says that it is about the mode."""
_STATEMENTS = get_args(ir.Statement)
_LAST_NAMES = frozenset(name.rpartition(".")[2] for name in SIGNATURES)
MOST_METHODS = 200
"""Methods of one class that are looked at."""


def mode_calls(project: Project, cls: ClassObject) -> Iterator[ModeCall]:
    """The calls in a class that surely derives from nn.Module."""
    if _mentions_any(cls, project.relevance):
        notice_methods(project, cls)
        yield from _calls_of(cls)


def _mentions_any(cls: ClassObject, relevance: Relevance) -> bool:
    """Whether a method of a class mentions a mode-sensitive function at all."""
    own = (value.definition for value in cls.fields.values() if isinstance(value, FunctionObject))
    names: Set[str] = frozenset().union(*(relevance.profile(method).words for method in own))
    if not names.isdisjoint(_LAST_NAMES):
        return True
    imported = (cls.frame.module.value_outside(name) for name in names)
    return any(isinstance(value, External) and value.name in SIGNATURES for value in imported)


def _calls_of(cls: ClassObject) -> Iterator[ModeCall]:
    """The calls in a class's own methods; those of its bases are the bases' own."""
    own = {id(value) for value in cls.fields.values()}
    for method in _reached(cls):
        if id(method) in own and isinstance(method.definition, ir.Function):
            scan = _Scan(cls, method)
            scan.body(method.definition.body, guarded=False)
            yield from scan.found


def _reached(cls: ClassObject) -> Iterator[FunctionObject]:
    """The methods that a forward reaches whatever the mode is, each once."""
    seen: set[str] = set()
    names = {
        name
        for base in cls.linearization()
        if isinstance(base, ClassObject)
        for name in base.fields
        if isinstance(name, str)
    }
    pending = sorted(filter(ROOTS.match, names)) or sorted(
        name for name in names if name[:1] != "_" and "train" not in name
    )
    while pending and len(seen) < MOST_METHODS:
        name = pending.pop()
        method = _method(cls, name)
        if name in seen or method is None or not isinstance(method.definition, ir.Function):
            continue
        seen.add(name)
        yield method
        scan = _Scan(cls, method)
        scan.body(method.definition.body, guarded=False)
        pending += scan.mentioned
        pending += (called for m in scan.mentioned for called in CALLED_BACK.get(m, ()))


def _method(cls: ClassObject, name: str) -> FunctionObject | None:
    for base in cls.linearization():
        method = base.fields.get(name) if isinstance(base, ClassObject) else None
        if isinstance(method, FunctionObject):
            return method
    return None


class _Scan:
    """One method, read with what stands under a test of the mode told apart.

    found: the calls that nothing guards, and those whose argument decides. mentioned: attributes of
    `self` that are used where nothing guards them.
    """

    cls: ClassObject
    method: FunctionObject
    receiver: str
    told: frozenset[str]
    given: frozenset[str]
    found: list[ModeCall]
    mentioned: list[str]

    def __init__(self, cls: ClassObject, method: FunctionObject) -> None:
        self.cls, self.method = cls, method
        definition = method.definition
        assert isinstance(definition, ir.Function)
        self.receiver = definition.parameters[0].name if definition.parameters else "self"
        self.told = _told_names(definition.body)
        self.given = _given_names(definition)
        self.found, self.mentioned = [], []

    def body(self, body: ir.Body, *, guarded: bool) -> None:
        """Read statements in order: what follows `if not self.training: return x` is guarded."""
        for statement in body:
            self.code(statement, guarded=guarded)
            if isinstance(statement, ir.If) and self._decides(statement.test):
                guarded |= leaves(statement.body) or leaves(statement.orelse)

    def code(self, node: object, *, guarded: bool) -> None:
        """Read a statement or an expression."""
        if type(node) is ir.Name or type(node) is ir.Constant or node is None:
            return
        match node:
            case ir.If(test, first, second) | ir.Conditional(test, first, second):
                self.code(test, guarded=guarded)
                inside = guarded or self._decides(test)
                self.code(first, guarded=inside)
                self.code(second, guarded=inside)
                return
            case ir.Boolean(_, left, right):
                self.code(left, guarded=guarded)
                self.code(right, guarded=guarded or self._decides(left))
                return
            case tuple():
                if node and isinstance(node[0], _STATEMENTS):
                    self.body(node, guarded=guarded)
                    return
                for part in node:
                    self.code(part, guarded=guarded)
                return
            case ir.Call() if not guarded:
                self._call(node)
            case ir.Attribute(ir.Name(name), attr) if name == self.receiver and not guarded:
                self.mentioned.append(attr)
        if isinstance(node, ir.Node):
            for part in fields_of(node):
                self.code(part, guarded=guarded)

    def _decides(self, test: object) -> bool:
        """Whether a condition may tell training from inference: it depends on the mode, or on a
        flag that the caller hands in."""
        return self._asks_for_mode(test) or self._is_handed_in(test)

    def _is_handed_in(self, test: object) -> bool:
        match test:
            case ir.Name(name):
                return name in self.given
            case ir.Unary(_, operand):
                return self._is_handed_in(operand)
            case ir.Boolean(_, left, right):
                return self._is_handed_in(left) or self._is_handed_in(right)
        return False

    def _asks_for_mode(self, test: object) -> bool:
        """Whether an expression depends on the mode, or on something named like it."""
        return any(
            (isinstance(node, ir.Attribute) and TELLS_MODE.search(node.attr))
            or (isinstance(node, ir.Name) and (TELLS_MODE.search(node.id) or node.id in self.told))
            for node in walk(test)
        )

    # --- one call ----------------------------------------------------------------------------

    def _call(self, call: ir.Call) -> None:
        name = self._qualified(call.function)
        signature = SIGNATURES.get(name)
        if signature is None or any(argument.star for argument in call.arguments):
            return
        flag = _argument(call, signature.flag)
        rate = _argument(call, signature.rate)
        follows = self._follows(signature, flag, rate)
        definition = self.method.definition
        assert isinstance(definition, ir.Function)
        way = way_to(definition.body, call) if follows is Follows.ALWAYS else []
        value = _argument(call, (0, "input"))
        follow = partial(self._follow, name)
        self.found.append(
            ModeCall(
                function=name,
                cls=self.cls.name,
                place=self.method.frame.module.facts.place(call.span),
                follows=follows,
                method=definition.name,
                receiver=self.receiver,
                stated=flag is not None,
                rate=self._rate(signature, rate),
                statistics=self._statistics(call, signature),
                conditions=conditions_of(way),
                deliberate=flag is not None and is_deliberate(way, value, follow),
            )
        )

    def _follow(self, name: str, call: ir.Call) -> bool:
        """Whether a call is one of the same function that follows the mode, or of a module."""
        other = self._qualified(call.function)
        signature = SIGNATURES.get(other)
        if signature is None:
            return True
        flag, rate = _argument(call, signature.flag), _argument(call, signature.rate)
        return other == name and self._follows(signature, flag, rate) is not Follows.ALWAYS

    def _qualified(self, function: ir.Expression) -> str:
        head, dot, rest = ir_name(function).partition(".")
        imported = self.method.frame.module.value_outside(head)
        if isinstance(function, ir.Call) or not isinstance(imported, External):
            return ""
        return f"{imported.name}{dot}{rest}"

    def _follows(
        self, signature: Signature, flag: ir.Expression | None, rate: ir.Expression | None
    ) -> Follows:
        if rate is not None and self._asks_for_mode(rate):
            return Follows.MODE
        if signature.flag is None:
            return Follows.ALWAYS if self._is_plain_rate(rate) else Follows.UNKNOWN
        if flag is not None and isinstance(rate, ir.Name) and rate.id in self.given:
            return Follows.UNKNOWN  # whoever hands in the rate may know the mode
        match flag:
            case None if signature.default is not None:
                return Follows.ALWAYS if signature.default else Follows.NEVER
            case ir.Constant(bool() | int() as value):
                return Follows.ALWAYS if value else Follows.NEVER
            case None:
                return Follows.UNKNOWN
        return Follows.MODE

    def _is_plain_rate(self, rate: ir.Expression | None) -> bool:
        """Whether a rate is the same in both modes: a number, or an attribute that only the
        constructor sets."""
        match rate:
            case None | ir.Constant():
                return True
            case ir.Attribute(ir.Name(owner), name) if owner == self.receiver:
                assigned = self._assigned(name)
                others = [f for f, _ in assigned if f != "__init__"]
                return bool(assigned) and not others and not self._asks_for_mode(assigned[0][1])
        return False

    def _rate(self, signature: Signature, rate: ir.Expression | None) -> Parameter:
        """The rate, where the text says it; None where the function has none."""
        if signature.rate is None:
            return None
        match rate:
            case None:
                return UNKNOWN if signature.usual_rate is None else signature.usual_rate
            case ir.Constant(int() | float() as value):
                return value
            case ir.Attribute(ir.Name(owner), name) if owner == self.receiver:
                values = [value for _, value in self._assigned(name)]
                match values:
                    case [ir.Constant(int() | float() as value)]:
                        return value
        return UNKNOWN

    def _statistics(self, call: ir.Call, signature: Signature) -> bool | None:
        """Whether running statistics are given: buffers of the module; or none, by `None`."""
        if signature.statistics is None:
            return None
        match _argument(call, (signature.statistics, "running_mean")):
            case ir.Constant(None):
                return False
            case ir.Attribute(ir.Name(owner), _) if owner == self.receiver:
                return True
        return None

    def _assigned(self, name: str) -> list[tuple[str, ir.Expression]]:
        """What the class and its bases assign to an attribute, and in which method."""
        return [
            (function.name, node.value)
            for base in self.cls.linearization()
            if isinstance(base, ClassObject)
            for function in base.definition.body
            if isinstance(function, ir.Function)
            for node in walk(function.read())
            if isinstance(node, ir.Assign)
            for target in node.targets
            if isinstance(target, ir.Attribute)
            and target.attr == name
            and ir_name(target.value) == "self"
        ]


def _argument(call: ir.Call, where: tuple[int, str] | None) -> ir.Expression | None:
    if where is None:
        return None
    position, name = where
    named = (a.value for a in call.arguments if a.keyword == name)
    positional = [a.value for a in call.arguments if a.keyword is None]
    return next(named, positional[position] if position < len(positional) else None)


def _given_names(function: ir.Function) -> frozenset[str]:
    """The parameters of a method, and names for parts of them: `x, flag = inputs`."""
    given = {parameter.name for parameter in function.parameters[1:]}
    for node in function.body:
        for assigned in walk(node):
            if isinstance(assigned, ir.Assign) and _is_part_of(assigned.value, given):
                targets = (name for target in assigned.targets for name in walk(target))
                given |= {name.id for name in targets if isinstance(name, ir.Name)}
    return frozenset(given)


def _is_part_of(value: ir.Expression, given: Set[str]) -> bool:
    while isinstance(value, ir.Subscript):
        value = value.value
    return isinstance(value, ir.Name) and value.id in given


def _told_names(body: ir.Body) -> frozenset[str]:
    """Local names whose value depends on the mode: `p = self.p if self.training else 0`."""
    found: set[str] = set()
    for node in walk(body):
        if isinstance(node, ir.Assign) and _mentions(node.value, found):
            found |= {target.id for target in node.targets if isinstance(target, ir.Name)}
        elif isinstance(node, ir.If) and _mentions(node.test, found):
            found |= {
                target.id
                for inner in walk((node.body, node.orelse))
                if isinstance(inner, ir.Assign)
                for target in inner.targets
                if isinstance(target, ir.Name)
            }
    return frozenset(found)


def _mentions(value: ir.Expression, names: set[str]) -> bool:
    return any(
        (isinstance(node, ir.Attribute) and node.attr == "training")
        or (isinstance(node, ir.Name) and node.id in names)
        for node in walk(value)
    )
