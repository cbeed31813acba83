"""Functions that keep what they are given where it outlives the call, by their text alone."""

from __future__ import annotations

from bnlint.source import ir
from bnlint.source.bindings import Bindings, Bound, Meaning, statements_of
from bnlint.source.project import Project
from bnlint.source.variables import bound_by
from bnlint.source.walk import walk, walk_apart

GROWS = frozenset("append add update insert extend setdefault appendleft __setitem__".split())
"""Methods by which a container takes something in."""
LONGEST_CHAIN = 8
"""Names for names, and bases of bases, that are followed."""


class Keeping:
    """Which functions of a project put what they are given into a variable of a module or, as
    methods, into their object."""

    def __init__(self, project: Project, bindings: Bindings) -> None:
        self._project = project
        self._bindings = bindings
        self._known: dict[tuple[str, ir.Span, int], bool] = {}

    def is_keeping(
        self, function: ir.Expression, path: str, inside: int = 0, depth: int = 0
    ) -> bool:
        """Whether what a call in the file at a path names is such a function.

        inside: so many functions inside it run, too, as it gives a decorator. depth: names that
        were followed so far.
        """
        match function:
            case ir.Attribute(owner, name):
                value = self._value(owner, path)
                if isinstance(value, str):
                    return self._means_one(self._bindings.within(value, name), inside, depth)
                return self.has_method(self._class_of(value), name, inside)
            case ir.Name(name):
                return self._means_one(self._bindings.meaning(name, path), inside, depth)
        return False

    def has_method(self, cls: Bound | None, name: str, inside: int = 0) -> bool:
        """Whether a class has such a method of this name."""
        method = None if cls is None else self._method(cls, name)
        return method is not None and self._keeps(method, cls, inside)

    def is_of_project(self, name: str, path: str) -> bool:
        """Whether a name of a file means something of the project."""
        own = self._bindings.is_own(name, path)
        return own or self._bindings.meaning(name, path) is not None

    def _means_one(self, meaning: Meaning, inside: int, depth: int) -> bool:
        if depth > LONGEST_CHAIN:
            return False
        match meaning:
            case Bound(ir.Function()):
                return self._keeps(meaning, None, inside)
            case Bound(ir.Class()):
                made = self._method(meaning, "__init__")
                return made is not None and self._keeps(made, None, inside)
            case Bound(ir.Call(ir.Name("partial") | ir.Attribute(_, "partial"), (first, *_)), path):
                return self.is_keeping(first.value, path, inside, depth + 1)
            case Bound(ir.Call(function), path):
                return self.is_keeping(function, path, inside + 1, depth + 1)
            case Bound(ir.Name() | ir.Attribute() as other, path):
                return self.is_keeping(other, path, inside, depth + 1)
        return False

    def _value(self, expression: ir.Expression, path: str) -> Meaning:
        """What an expression of names and dots means."""
        match expression:
            case ir.Name(name):
                return self._bindings.meaning(name, path)
            case ir.Attribute(owner, name):
                return self._bindings.within(self._value(owner, path), name)
        return None

    def _class_of(self, value: Meaning) -> Bound | None:
        """The class of an object that a file builds; a class itself."""
        match value:
            case Bound(ir.Class()):
                return value
            case Bound(ir.Call(function), path):
                made = self._value(function, path)
                return made if isinstance(made, Bound) and isinstance(made.node, ir.Class) else None
        return None

    def _method(self, cls: Bound, name: str, depth: int = 0) -> Bound | None:
        if not isinstance(cls.node, ir.Class) or depth > LONGEST_CHAIN:
            return None
        for statement in statements_of(cls.node.body):
            if isinstance(statement, ir.Function) and statement.name == name:
                return Bound(statement, cls.path)
        for base in cls.node.bases:
            meaning = self._value(base.value, cls.path)
            inherited = isinstance(meaning, Bound) and self._method(meaning, name, depth + 1)
            if inherited:
                return inherited
        return None

    def _keeps(self, function: Bound, cls: Bound | None, inside: int) -> bool:
        definition, path = function
        assert isinstance(definition, ir.Function)
        key = (path, definition.span, inside)
        if key not in self._known:
            self._project.noticed.read_text(path, definition)
            self._known[key] = False  # while it is looked at
            self._known[key] = _Look(self, definition, path, cls, inside).keeps()
        return self._known[key]


class _Look:
    """One function, looked at for what it keeps. The object of a method outlives its calls; what a
    function inside it does happens when that is called: by itself, or as the decorator it gives."""

    def __init__(
        self, keeping: Keeping, function: ir.Function, path: str, cls: Bound | None, inside: int
    ) -> None:
        self._keeping = keeping
        self._path = path
        self._cls = cls
        self._nodes = list(walk_apart(function.read(), _FUNCTIONS))
        functions = [function, *self._take_in(inside)]
        names = [parameter.name for f in functions for parameter in f.parameters]
        self._receiver = names[0] if cls is not None and function.parameters else ""
        declared = (n.names for n in self._nodes if isinstance(n, ir.Global) and not n.nonlocal_)
        self._shared = frozenset(name for names in declared for name in names)
        self._local = set(names).union(*map(bound_by, self._nodes)) - self._shared
        self._values = {
            target.id: assign.value
            for assign in self._nodes
            if isinstance(assign, ir.Assign)
            for target in assign.targets
            if isinstance(target, ir.Name)
        }

    def _take_in(self, inside: int) -> list[ir.Function]:
        """Read the functions inside this one that run with it, and return them."""
        found: list[ir.Function] = []
        level = [node for node in self._nodes if isinstance(node, ir.Function)]
        while level:
            called = {
                node.function.id
                for node in self._nodes
                if isinstance(node, ir.Call) and isinstance(node.function, ir.Name)
            }
            run = [f for f in level if inside > 0 or f.name in called]
            bodies = [list(walk_apart(function.read(), _FUNCTIONS)) for function in run]
            self._nodes += [node for nodes in bodies for node in nodes]
            level = [node for nodes in bodies for node in nodes if isinstance(node, ir.Function)]
            found += run
            inside -= 1
        return found

    def keeps(self) -> bool:
        """Whether anything that the function is given outlives the call."""
        return any(map(self._puts_away, self._nodes))

    def _puts_away(self, node: ir.Node) -> bool:
        match node:
            case ir.Assign(targets, value):
                return any(self._outlives(t) and self._tells((t, value)) for t in targets)
            case ir.AugmentedAssign(target, _, value):
                return self._outlives(target) and self._tells((target, value))
            case ir.Call(function, arguments) if self._tells(arguments):
                return self._is_handed_on(function, arguments)
        return False

    def _outlives(self, target: ir.Expression) -> bool:
        if isinstance(target, ir.Name):
            return target.id in self._shared
        return self._is_outside(target_of(target))

    def _is_outside(self, value: ir.Expression | None, depth: int = 0) -> bool:
        """Whether an object is there when the function has ended, and not what it is given."""
        name = root_of(value)
        if name is None or depth > LONGEST_CHAIN:
            return False
        if name == self._receiver:
            return True
        if name in self._local:
            return self._is_outside(self._values.get(name), depth + 1)
        return self._keeping.is_of_project(name, self._path)

    def _tells(self, code: object) -> bool:
        """Whether code mentions what the function is given or has made of it."""
        return any(isinstance(node, ir.Name) and node.id in self._local for node in walk(code))

    def _is_handed_on(self, function: ir.Expression, arguments: tuple[ir.Argument, ...]) -> bool:
        match function:
            case ir.Name("setattr"):
                return self._is_outside(arguments[0].value)
            case ir.Attribute(owner, name) if name in GROWS and self._is_outside(owner):
                return True
            case ir.Attribute(ir.Name(name), method) if name == self._receiver:
                return self._keeping.has_method(self._cls, method)
        return root_of(function) not in self._local and self._keeping.is_keeping(
            function, self._path
        )


def target_of(target: ir.Expression) -> ir.Expression | None:
    """What an assignment changes: `table` in `table[name] = cls`; None for a variable."""
    return target.value if isinstance(target, ir.Attribute | ir.Subscript) else None


def root_of(value: ir.Expression | None) -> str | None:
    """The variable that an expression begins with; None for what a function returns, and others."""
    while isinstance(value, ir.Attribute | ir.Subscript | ir.Call):
        if isinstance(value, ir.Call):
            value = value.function.value if isinstance(value.function, ir.Attribute) else None
        else:
            value = value.value
    return value.id if isinstance(value, ir.Name) else None


_FUNCTIONS = (ir.Function, ir.Lambda)
