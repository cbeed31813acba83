"""Which functions can matter at all: the rest is not followed, which keeps large projects quick.

By names only, so that it errs on the side of following: a function matters when it mentions one
of the words below, or the name of a function or class of the project that matters. A variable of
its own is no such name, unless it is called; a method's name counts behind a dot only, and not
behind the name of a package from outside: `torch.save` is no method `save` of the project.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from sys import intern
from typing import Any, NamedTuple, TypeVar, cast

from bnlint.source import ir
from bnlint.source.facts import FileFacts
from bnlint.source.variables import BINDING, bound_by, counters, unread
from bnlint.source.walk import PARTS, inner_bodies, walk_apart
from bnlint.torchnames import CONTAINERS, TABLE, canonical

T = TypeVar("T")
C = TypeVar("C")

ACTS = frozenset(
    "eval train training backward step no_grad inference_mode set_grad_enabled load_state_dict "
    "fit trace export apply exit".split()
)
"""Words of code that sets modes, trains, or runs models."""
BUILDS = frozenset(
    "nn Module DataLoader models optim torchvision timm hub ArgumentParser add_argument "
    "parse_args load deepcopy F functional import_module getattr globals __dict__ create_model "
    "get_model segmentation_models_pytorch smp".split()
)
"""Words of code that builds models, loaders, optimizers and options."""
MODELS = frozenset("models torchvision timm hub create_model from_pretrained Sequential".split())
"""Words of code that builds models without a class of its own."""
JUDGES = frozenset(
    "no_grad inference_mode set_grad_enabled volatile backward load_state_dict".split()
)
"""Words of code that shows what a forward is for."""
SEEDS = tuple(words.union(f".{word}" for word in words) for words in (ACTS, BUILDS, MODELS, JUDGES))
"""Words that are relevant by themselves, in the order of `Relevance.senses`."""
SMALL = 80
"""Nodes of a function that is always followed: it may compute a constant."""


class Profile(NamedTuple):
    """What a piece of code mentions, its size in nodes, whether it loops, the variables that it
    returns, and whether it defines functions or classes inside.

    spelled: the words. told: the names of keyword arguments, and the flags among the constants.
    referred: what may mean a definition of the project: `name`, and `.name` behind a dot.
    """

    spelled: tuple[str, ...]
    referred: tuple[str, ...]
    size: int
    loops: bool
    returned: frozenset[str]
    told: frozenset[str | bool | None]
    defines: bool = False

    @property
    def words(self) -> frozenset[str]:
        """What is mentioned at all; a set of its own for each of many functions takes six times
        the memory."""
        return frozenset(self.spelled)

    @property
    def references(self) -> frozenset[str]:
        """What may mean a definition of the project."""
        return frozenset(self.referred)


class Definition(NamedTuple):
    """A function, a class or another name for one; is_method: of a class, named behind a dot."""

    name: str
    is_method: bool
    profile: Profile


class Relevance:
    """Relevance of the functions of one project."""

    def __init__(self, files: Iterable[FileFacts]) -> None:
        self._profiles: dict[int, Profile] = {}
        self._kept: list[object] = []
        self._returned: dict[frozenset[str], frozenset[str]] = {}
        self._told: dict[frozenset[str | bool | None], frozenset[str | bool | None]] = {}
        self._counters: dict[int, frozenset[str]] = {}
        self._unread: dict[int, frozenset[str]] = {}
        self._followed: dict[int, bool] = {}
        self._said: dict[tuple[Callable[[Any], object], int], object] = {}
        self._own: dict[int, frozenset[type[ir.Node]]] = {}
        read = list(files)
        self._outside = frozenset(_packages_outside(read))
        definitions: list[Definition] = []
        layers: set[str] = set()
        for facts in read:
            defined = list(self._defined(facts.body))
            methods = _methods(defined)
            definitions += [Definition(d.name, id(d) in methods, self.profile(d)) for d in defined]
            definitions += [
                Definition(name, False, self.profile(v)) for name, v in _aliases(facts.body)
            ]
            layers |= _imported_layers(facts.body)
        self.size = sum(self.profile(facts.body).size for facts in read)
        """Nodes of the whole project."""
        self._definitions = definitions
        self._modules = {name for facts in read for name in _module_classes(facts.body)}
        self._functions = [function for facts in read for function in _functions(facts.body)]
        self.acting = _closure(definitions, ACTS)
        self.building = _closure(definitions, BUILDS | layers)
        self._mattering = self.acting | self.building

    @classmethod
    def beside(cls, outside: Iterable[str]) -> Relevance:
        """One that reads pieces of code of a project in which these are names of packages from
        outside."""
        reader = cls(())
        reader._outside = frozenset(outside)
        return reader

    @classmethod
    def recalled(
        cls, senses: Sequence[frozenset[str]], outside: Iterable[str], size: int
    ) -> Relevance:
        """That of a project as it was, with the same words."""
        known = cls.beside(outside)
        known.acting, known.building, known.modelling, known.judging = senses
        known._mattering = known.acting | known.building
        known.size = size
        return known

    @property
    def senses(self) -> tuple[frozenset[str], ...]:
        """The words that make code relevant, for each sense of that."""
        return self.acting, self.building, self.modelling, self.judging

    @property
    def outside(self) -> frozenset[str]:
        """The names under which files import packages from outside."""
        return self._outside

    def named_with(self, words: frozenset[str]) -> set[str]:
        """The names of the functions and classes that mention one of these words."""
        return {d.name for d in self._definitions if not words.isdisjoint(d.profile.spelled)}

    @cached_property
    def modelling(self) -> frozenset[str]:
        """Words of code that builds whole models: module classes, and functions that build one."""
        builders = [Definition(f.name, False, self.profile(f)) for f in self._functions]
        return _closure(builders, MODELS | self._modules)

    @cached_property
    def judging(self) -> frozenset[str]:
        """Words of code that trains models, or infers with them."""
        return _closure(self._definitions, JUDGES)

    def profile(self, code: object) -> Profile:
        """What a definition or a body mentions."""
        key = id(code)
        known = self._profiles.get(key)
        if known is None:
            known = self._profiles[key] = self._read(code)
            self._kept.append(code)
        return known

    def _read(self, code: object) -> Profile:
        """The profile of code that is read for the first time; definitions in it are read once."""
        words: set[str] = set()
        references: set[str] = set()
        own = {p.name for p in code.parameters} if isinstance(code, ir.Function) else set()
        other = set(own)
        """Variables that may hold something else than the lists and dictionaries written here."""
        behind: dict[str, set[str]] = {}
        """What is asked of each variable."""
        named: set[str] = set()
        returned: set[str] = set()
        told: set[str | bool | None] = set()
        size = 0
        loops = defines = False
        pending: list[Any] = [code]
        while pending:
            node = pending.pop()
            kind = type(node)
            if kind is tuple:
                pending += node
                continue
            if kind is ir.Name:  # most of all; the next four are most of the rest
                size += 1
                words.add(node.id)
                named.add(node.id)
            elif kind is ir.Attribute:
                size += 1
                words.add(node.attr)
                value = node.value
                if node.attr in _TELLING:
                    references.add(f".{node.attr}")
                elif type(value) is ir.Name:
                    if value.id not in self._outside:
                        behind.setdefault(value.id, set()).add(node.attr)
                else:
                    references.add(f".{node.attr}")
                pending.append(value)
            elif kind is ir.Constant:
                size += 1
                if node.value is None or node.value is True or node.value is False:
                    told.add(node.value)
            elif kind is ir.Call:
                size += 1
                if type(node.function) is ir.Name:
                    references.add(node.function.id)
                pending.append(node.function)
                pending += node.arguments
            elif kind is ir.Argument:
                size += 1
                if node.keyword is not None:
                    told.add(node.keyword)
                pending.append(node.value)
            elif kind in _DEFINITIONS and node is not code:
                defines = True
                inner = self.profile(node)
                words.update(inner.spelled)
                references.update(inner.referred)
                returned |= inner.returned
                told |= inner.told
                size += inner.size
                loops |= inner.loops
            elif (parts := PARTS.get(kind)) is not None:
                size += 1
                pending += parts(node)
                loops |= kind in _LOOPS
                if kind in BINDING:
                    bound = bound_by(node)
                    own |= bound
                    if not _is_display(node):
                        other |= bound
                elif kind is ir.Global:
                    other.update(node.names)
                elif kind is ir.Return and type(node.value) is ir.Name:
                    returned.add(node.value.id)
        displays = own - other if isinstance(code, ir.Function) else _NO_NAMES
        for name, attributes in behind.items():
            if name not in displays:  # whose methods are Python's own
                references.update([f".{attribute}" for attribute in attributes])
        return Profile(
            tuple(map(intern, words)),
            tuple(map(intern, references | (named - own))),
            size,
            loops,
            _once(frozenset(returned), self._returned),
            _once(frozenset(told), self._told),
            defines,
        )

    def _defined(self, body: ir.Body) -> Iterator[ir.Function | ir.Class]:
        """See `walk.definitions`; bodies of functions that define nothing are not read again."""
        for statement in body:
            if isinstance(statement, ir.Function | ir.Class):
                yield statement
            if not isinstance(statement, ir.Function) or self.profile(statement).defines:
                for inner in inner_bodies(statement):
                    yield from self._defined(inner)

    def _is_outside(self, value: ir.Expression) -> bool:
        """Whether an expression is the name of a package that is not of the project."""
        return type(value) is ir.Name and value.id in self._outside

    def nodes_with(self, code: object, words: frozenset[str]) -> Iterator[ir.Node]:
        """The records of code, without those of definitions that mention none of these words."""
        if words.isdisjoint(self.profile(code).spelled):
            return
        for node in walk_apart(code, (ir.Function, ir.Class)):
            yield node
            if isinstance(node, ir.Function | ir.Class) and node is not code:
                yield from self.nodes_with(node, words)

    def acts_inside(self, definition: ir.Function) -> bool:
        """Whether a function's body does so; its decorators and defaults are left aside."""
        acting = self.acting.intersection(self.profile(definition).referred)
        if not acting:
            return False
        defaults = tuple(p.default for p in definition.parameters if p.default is not None)
        hints = tuple(p.annotation for p in definition.parameters if p.annotation is not None)
        if acting.difference(self._read((definition.decorators, defaults, hints)).referred):
            return True
        return not self.acting.isdisjoint(self._read(definition.read()).referred)

    def matters(self, definition: ir.Function | ir.Lambda) -> bool:
        """Whether a function must be followed for its own sake, not for its arguments'."""
        if isinstance(definition, ir.Lambda):
            return True
        profile = self.profile(definition)
        key = id(definition)
        known = self._followed.get(key)
        if known is None:
            is_small = profile.size <= SMALL and not profile.loops
            known = is_small or self.mentions_mattering(definition)
            self._followed[key] = known
        return known

    def mentions_mattering(self, code: object) -> bool:
        """Whether a definition or a body may set modes, run models or build something."""
        return not self._mattering.isdisjoint(self.profile(code).referred)

    def hands_back(self, definition: ir.Function | ir.Lambda) -> bool:
        """Whether a function returns one of its parameters."""
        names = {parameter.name for parameter in definition.parameters}
        return not self.profile(definition).returned.isdisjoint(names)

    def gives(self, function: ir.Function | ir.Lambda) -> bool:
        """Whether a function returns or yields a value."""
        if isinstance(function, ir.Lambda):
            return True
        nodes = walk_apart(function, (ir.Function, ir.Class, ir.Lambda))
        returns = (node.value for node in nodes if isinstance(node, ir.Return | ir.Yield))
        return any(value is not None for value in returns)

    def counters(self, body: ir.Body) -> frozenset[str]:
        """The variables and attributes that a loop's body changes step by step: `n += 1`."""
        key = id(body)
        if key not in self._counters:
            self._counters[key] = frozenset(counters(body))
            self._kept.append(body)
        return self._counters[key]

    def unread(self, body: ir.Body) -> frozenset[str]:
        """The variables that a function's body, or a file's, assigns and never reads."""
        key = id(body)
        if key not in self._unread:
            self._unread[key] = frozenset(unread(body))
            self._kept.append(body)
        return self._unread[key]

    def own_kinds(self, code: object) -> frozenset[type[ir.Node]]:
        """The kinds of records in code, without those in functions and classes inside it."""
        key = id(code)
        if key not in self._own:
            apart = (ir.Function, ir.Class, ir.Lambda)
            self._own[key] = frozenset(type(node) for node in walk_apart(code, apart))
            self._kept.append(code)
        return self._own[key]

    def once(self, read: Callable[[C], T], code: C) -> T:
        """What a function reads in code, read once for all times that somebody asks."""
        key = (read, id(code))
        if key not in self._said:
            self._said[key] = read(code)
            self._kept.append(code)
        return cast("T", self._said[key])

    def acts(self, body: ir.Body) -> bool:
        """Whether a loop's body trains, evaluates or sets modes: then its rounds are not told
        apart."""
        return not self.acting.isdisjoint(self.profile(body).referred)


def _is_display(node: ir.Node) -> bool:
    """Whether a statement assigns a list, a dictionary or a set, as it is written, to variables."""
    match node:
        case ir.Assign(targets, ir.DictDisplay() | ir.Display() | ir.Comprehension()):
            return all(isinstance(target, ir.Name) for target in targets)
    return False


def _once(value: T, known: dict[T, T]) -> T:
    """The one among equal values that is kept."""
    return known.setdefault(value, value)


def _module_classes(body: ir.Body) -> Iterator[str]:
    """The names of classes that may be modules: by the last word of a base."""
    for statement in _always_run(body):
        match statement:
            case ir.Class(name, bases) if any(_may_be_module(base.value) for base in bases):
                yield name


def _functions(body: ir.Body) -> Iterator[ir.Function]:
    return (statement for statement in _always_run(body) if isinstance(statement, ir.Function))


def _may_be_module(base: ir.Expression) -> bool:
    name = base.attr if isinstance(base, ir.Attribute) else getattr(base, "id", "")
    return name.endswith(("Module", "Sequential", "Net", "Model"))


def _closure(definitions: Iterable[Definition], seed: frozenset[str]) -> frozenset[str]:
    """The seed words, and the names of definitions that refer to them, directly or not; each behind
    a dot, too."""
    referred_by: dict[str, list[Definition]] = {}
    for definition in definitions:
        for reference in definition.profile.referred:
            referred_by.setdefault(reference, []).append(definition)
    found = {spelled for word in seed for spelled in (word, f".{word}")}
    pending = list(found)
    while pending:
        for name, is_method, _ in referred_by.get(pending.pop(), ()):
            if name in COMMON:
                continue
            new = {f".{name}"} if is_method else {name, f".{name}"}
            pending += new - found
            found |= new
    return frozenset(found)


COMMON = frozenset(
    "__init__ __getitem__ __len__ forward __repr__ main __call__ "
    "append extend insert pop keys values items sort index count join split strip format "
    "add remove discard close read write to cpu cuda float half size".split()
)
"""Method names that say nothing of what they are, those of Python's own lists, dictionaries, sets,
strings and files, and of tensors, among them: they make nobody relevant who mentions them."""


def _always_run(body: ir.Body) -> Iterator[ir.Statement]:
    """The statements of a module's body, with those of its `if` and `try` blocks."""
    for statement in body:
        yield statement
        match statement:
            case ir.If(_, first, second):
                yield from _always_run(first + second)
            case ir.Try():
                handlers = tuple(s for handler in statement.handlers for s in handler.body)
                yield from _always_run(statement.body + handlers + statement.orelse)


def _imported_layers(body: ir.Body) -> set[str]:
    """The names under which a file imports torch.nn, or layers and containers from it."""
    found: set[str] = set()
    for statement in _always_run(body):
        match statement:
            case ir.Import(names):
                found |= {alias for name, alias in names if alias and name == "torch.nn"}
            case ir.ImportFrom("torch.nn", 0, None):
                found |= {name.rpartition(".")[2] for name in _LAYERS}
            case ir.ImportFrom(module, 0, tuple(names)):
                qualified = {alias or n: canonical(f"{module}.{n}") for n, alias in names}
                found |= {k for k, name in qualified.items() if name in _LAYERS | {"torch.nn"}}
    return found


def _aliases(body: ir.Body) -> Iterator[tuple[str, ir.Expression]]:
    """Module-level names of what has another one, `Conv, BN = nn.Conv2d, nn.BatchNorm2d`, and of
    tables: `NORMS = {"bn": nn.BatchNorm2d}`."""
    for statement in _always_run(body):
        match statement:
            case ir.Assign((ir.Name(name),), value) if _is_alias(value):
                yield name, value
            case ir.Assign((ir.Display(_, names),), ir.Display(_, values)):
                for target, value in zip(names, values):
                    if isinstance(target, ir.Name) and _is_alias(value):
                        yield target.id, value


def _is_alias(value: ir.Expression) -> bool:
    match value:
        case ir.Name() | ir.Attribute() | ir.DictDisplay() | ir.Display():
            return True
        case ir.Call(ir.Name("partial") | ir.Attribute(_, "partial")):
            return True
    return False


def _methods(defined: list[ir.Function | ir.Class]) -> frozenset[int]:
    """The ids of the functions that stand in the bodies of these classes."""
    classes = (d for d in defined if isinstance(d, ir.Class))
    return frozenset(
        id(statement)
        for cls in classes
        for statement in _always_run(cls.body)
        if isinstance(statement, ir.Function)
    )


def _packages_outside(files: list[FileFacts]) -> Iterator[str]:
    """The names under which files import packages that the project has no file or folder for."""
    inside = {part.removesuffix(".py") for facts in files for part in facts.path.split("/")}
    for facts in files:
        for statement in _always_run(facts.body):
            if isinstance(statement, ir.Import):
                for name, alias in statement.names:
                    first = name.partition(".")[0]
                    if first not in inside:
                        yield alias or first


_DEFINITIONS = frozenset({ir.Function, ir.Class})
_TELLING = ACTS | BUILDS | MODELS | JUDGES
"""Words that tell something behind any name."""
_NO_NAMES: frozenset[str] = frozenset()
_LOOPS = frozenset({ir.For, ir.While, ir.Comprehension})
_LAYERS = CONTAINERS | {name for name in TABLE if re.fullmatch(r"torch\.nn\.[A-Z]\w*", name)}
