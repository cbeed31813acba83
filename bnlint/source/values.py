"""Abstract values: what an expression may be, as far as the text says.

Immutable values are compared by content, heap objects by identity. ANYTHING is "cannot be seen";
Alternatives are values of which exactly one is real in any one run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeGuard, cast, final

from bnlint.finding import Place
from bnlint.graph import Parameter
from bnlint.records import Struct, field, set_once
from bnlint.source import ir
from bnlint.source.walk import dotted
from bnlint.trace import Note

if TYPE_CHECKING:
    from bnlint.source.facts import FileFacts


class AnythingType(Enum):
    """The type of ANYTHING."""

    ANYTHING = "anything"

    __hash__ = object.__hash__


ANYTHING: Final = AnythingType.ANYTHING


class Known(Struct, frozen=True):
    """A Python constant."""

    value: object

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is Known
            and type(other.value) is type(self.value)
            and other.value == self.value
        )

    def __ne__(self, other: object) -> bool:  # a Struct's own asks the fields
        return not self == other

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


NONE: Final = Known(None)


class Soft(Struct, frozen=True):
    """The default of a command-line option: the usual value, which the user may change.

    place: where the default is written.
    """

    value: Value
    place: Place | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Soft) and self.value == other.value

    def __ne__(self, other: object) -> bool:  # a Struct's own asks all fields
        return not self == other

    def __hash__(self) -> int:
        return hash((Soft, self.value))


class Begins(Struct, frozen=True):
    """A dotted name of which only the beginning is known: `"models." + name`."""

    beginning: str


class External(Struct, frozen=True):
    """An object outside the project, by its qualified name ("torch.nn.ReLU")."""

    name: str


class ModuleReference(Struct, frozen=True):
    """An imported module of the project."""

    scope: ModuleScope


class Tensor(Struct, frozen=True):
    """Data that flows through layers.

    sources: in a layer graph the nodes (ids) of which one has made it; in a trace the forward
    outputs that it depends on. synthetic: made of noise or zeros only; dimensions: how many it was
    made with, as long as nothing may have changed that. batch: its first dimension.
    loader: the data loader that it comes from. detached: the sources to which no gradient flows.
    volatile: declared with `Variable(x, volatile=True)`, the no_grad of PyTorch before 0.4.
    """

    sources: frozenset[int] = frozenset()
    synthetic: bool = False
    batch: int | None = None
    loader: Loader | None = None
    detached: frozenset[int] = frozenset()
    volatile: bool = False
    dimensions: int | None = None


class Method(Struct, frozen=True):
    """A method of a layer, a tensor, a list ... looked up and not yet called."""

    receiver: Value
    name: str


class Super(Struct, frozen=True):
    """`super()` in a method of `owner`."""

    receiver: Value
    owner: ClassObject


class Alternatives(Struct, frozen=True):
    """Several values, of which exactly one is real in any one run."""

    values: tuple[Value, ...]


class Group(Struct, frozen=True):
    """Modules of one class, handled together: an element of a loop over `model.modules()`."""

    members: tuple[Value, ...]


class Parameters(Struct, frozen=True):
    """The parameters of some modules: `model.parameters()`, and an optimizer over them.

    listing: "plain" or "named" where they can be gone through one by one. only: the layers that
    they are limited to, with the names of their parameters; None for no limit. is_one: it stands
    for each single one of them. is_loose: they are those of one of the owners, nobody knows which.
    """

    owners: tuple[Value, ...]
    is_optimizer: bool = False
    listing: str = ""
    only: tuple[tuple[HeapObject, str], ...] | None = None
    is_one: bool = False
    is_loose: bool = False


class Loader(Struct, frozen=True):
    """A data loader: its batch size, the call that makes it, and where the size is written when
    that is somewhere else (the default of an option). keeps_rest: whether the last batch may be
    smaller (no `drop_last`); None when unknown."""

    batch: int | None
    place: Place
    decided: Place | None = None
    keeps_rest: bool | None = None


class ModeFlag(Struct, frozen=True):
    """`module.training`, in either state; note: what a trace has noted of it."""

    owner: Value
    note: Note | None = None


@final
class Choice(Struct, frozen=True):
    """An element of a list that stands for one of several runs of elements.

    weight: how many elements it holds at any depth; counted, not given.
    """

    runs: tuple[tuple[Element, ...], ...]
    weight: int = 0

    def __post_init__(self) -> None:
        set_once(self, "weight", sum(map(weight_of, self.runs)))


@final
class Repeat(Struct, frozen=True):
    """An element of a list that stands for a run repeated an unknown number of times.

    weight: how many elements it holds at any depth; counted, not given.
    """

    run: tuple[Element, ...]
    weight: int = 0

    def __post_init__(self) -> None:
        set_once(self, "weight", weight_of(self.run))


births = count().__next__
"""How many objects there have been, more or less: the larger, the later."""


class HeapObject:
    """A mutable object; its fields are written through the Store only. born: larger than that of
    all older objects."""

    __slots__ = ("born", "fields")

    def __init__(self) -> None:
        self.fields: dict[object, object] = {}
        self.born = births()

    def value(self, key: object) -> Value | None:
        """The value of a field; None when it was never written. (Marker fields are no values.)"""
        return self.fields.get(key)  # type: ignore[return-value]  # `cast` is a call

    def values(self) -> dict[str, Value]:
        """The fields that programs can name."""
        return {k: cast("Value", v) for k, v in self.fields.items() if isinstance(k, str)}


_NO_NAMES: Final[frozenset[str]] = frozenset()


class Frame(HeapObject):
    """The local variables of one call, a class body or a comprehension."""

    __slots__ = ("globals", "is_kept", "module", "nonlocals", "outer", "owner", "receiver")

    def __init__(
        self,
        module: ModuleScope,
        outer: Frame | None = None,
        owner: ClassObject | None = None,
        receiver: Value | None = None,
    ) -> None:
        self.fields = {}
        self.born = births()
        self.module = module
        self.outer = outer
        self.owner = owner
        self.receiver = receiver
        self.globals: frozenset[str] = _NO_NAMES
        self.nonlocals: frozenset[str] = _NO_NAMES
        self.is_kept = False

    def keep(self) -> None:
        """A function or class has been defined here: the variables outlive the call."""
        frame: Frame | None = self
        while frame is not None and not frame.is_kept:
            frame.is_kept = True
            frame = frame.outer


class Importer(Protocol):
    """What runs modules."""

    def bind(self, pending: PendingImport) -> Value | None:
        """What a name means that somebody asks for; None for what is not there yet."""

    def is_definition(self, pending: PendingImport) -> bool:
        """Whether a name means a function, a class or a module of the project, by the text."""


class PendingImport(Struct, frozen=True, eq=False):
    """A name that an import of a module binds, as long as nobody has asked what it means: then
    what has to run for that may not have run. It is no value, and only stands in fields.

    name, alias: as the statement spells them, or as a star stands for them.
    """

    statement: ir.Import | ir.ImportFrom
    name: str
    alias: str | None
    module: ModuleScope
    importer: Importer


class ModuleScope(Frame):
    """The global variables of one file."""

    __slots__ = ("executed", "facts", "name", "places", "stars")

    def __init__(self, name: str, facts: FileFacts) -> None:
        super().__init__(self)
        self.stars: list[ModuleScope] = []
        """Modules of which type checkers know all names here, as those do who know a lazy package
        for what it is."""
        self.places: dict[ir.Span, Place] = {}
        self.name = name
        self.facts = facts
        self.executed = False

    def value(self, key: object) -> Value | None:
        """The value of a variable; what was not imported so far is imported for good."""
        found = self.fields.get(key)
        if type(found) is not PendingImport:
            return found  # type: ignore[return-value]  # `cast` is a call
        value = found.importer.bind(found)
        if value is None:
            return ANYTHING
        self.fields[key] = value
        return value

    def values(self) -> dict[str, Value]:
        """All variables; what was not imported so far is imported."""
        for key in list(self.fields):
            self.value(key)
        return super().values()

    def value_outside(self, key: object) -> Value | None:
        """The value of a variable, None for a definition of the project that was not imported."""
        found = self.fields.get(key)
        if type(found) is PendingImport and found.importer.is_definition(found):
            return None
        return self.value(key)


class FunctionObject(Struct, frozen=True, eq=False):
    """A function or lambda of the project, with the frame that it was defined in."""

    definition: ir.Function | ir.Lambda
    frame: Frame
    defaults: tuple[Value | None, ...]
    owner: ClassObject | None = None
    receiver: Value | None = None
    is_static: bool = False
    is_property: bool = False
    decorators: tuple[Value, ...] = ()

    @property
    def is_of_file(self) -> bool:
        """Whether it belongs to a file, not to an object or to another call."""
        return self.receiver is None and isinstance(self.frame, ModuleScope)

    @property
    def name(self) -> str:
        """The name, for evidence."""
        return self.definition.name if isinstance(self.definition, ir.Function) else "<lambda>"


MOST_BASES = 500
"""Classes that one is followed into: what lies beyond is unknown."""


class ClassObject(HeapObject):
    """A class of the project; fields are its own attributes. Its bases never change."""

    def __init__(
        self, definition: ir.Class, frame: Frame, bases: tuple[Value, ...], qualified: str
    ) -> None:
        super().__init__()
        self.definition = definition
        self.frame = frame
        self.bases = bases
        self.qualified = qualified

    @property
    def name(self) -> str:
        """The name, for messages."""
        return self.definition.name

    def linearization(self) -> tuple[Value, ...]:
        """The class and its bases in method resolution order: project classes and others.

        Depth first, each once, which equals Python's order but for diamonds.
        """
        return self._linearization

    @cached_property
    def _linearization(self) -> tuple[Value, ...]:
        found: dict[int, Value] = {}
        pending: list[Value] = [self]
        while pending:
            current = pending.pop()
            if id(current) in found:
                continue
            found[id(current)] = current
            if isinstance(current, ClassObject):
                pending += reversed(current.bases)
            if len(found) == MOST_BASES:
                return (*found.values(), ANYTHING)
        return tuple(found.values())

    @cached_property
    def derives_from_module(self) -> bool | None:
        """Whether the class is an nn.Module by its bases; None where one cannot be seen."""
        outside = [base for base in self.linearization() if not isinstance(base, ClassObject)]
        names = [base.name for base in outside if isinstance(base, External)]
        if any(map(_is_module_class, names)):
            return True
        unseen = ANYTHING in outside or any(name not in _PLAIN_BASES for name in names)
        return None if unseen else False


_PLAIN_BASES = ("builtins.object", "abc.ABC")
MODULE_PACKAGES = ("torchvision.models.", "torchvision.ops.", "timm.models.", "timm.layers.")
"""Packages whose classes are modules, all of them, with methods that leave the mode alone."""


def _is_module_class(name: str) -> bool:
    """Whether a class outside the project is an nn.Module, by its qualified name."""
    last = _last(name)
    if name.startswith("torch.nn.") or last.endswith("Module"):
        return True
    return name.startswith(MODULE_PACKAGES) and last[:1].isupper()


def _last(name: str) -> str:
    return name.rpartition(".")[2]


class Instance(HeapObject):
    """An object of a project class; fields are its attributes."""

    __slots__ = ("cls", "place")

    def __init__(self, cls: ClassObject, place: Place | None) -> None:
        super().__init__()
        self.cls = cls
        self.place = place


class Layer(HeapObject):
    """An nn.Module whose class lies outside the project: a torch layer or container.

    In a container the field ITEMS holds the elements (see `elements`).
    """

    __slots__ = ("name", "parameters", "place")

    def __init__(self, name: str, parameters: dict[str, Parameter], place: Place | None) -> None:
        super().__init__()
        self.name = name
        self.parameters = parameters
        self.place = place


class Sequence(HeapObject):
    """A list, tuple or set; the field ITEMS holds the elements."""

    __slots__ = ("kind",)

    def __init__(self, kind: str, items: tuple[Element, ...] = ()) -> None:
        self.fields = {ITEMS: items}
        self.born = births()
        self.kind = kind


class Mapping(HeapObject):
    """A dictionary; fields are its entries by constant key, OPEN says that there may be more."""

    __slots__ = ()


class Namespace(HeapObject):
    """An object known by its attributes only: argparse results, parsers."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind


class Marker(Enum):
    """Field keys that no program can name."""

    ITEMS = "items"
    OPEN = "open"
    LAYER = "layer"
    OTHERS = "others"
    MAYBE = "maybe"
    FROZEN = "frozen"
    OPTIONAL = "optional"

    __hash__ = object.__hash__  # the hash of an Enum is written in Python


ITEMS: Final = Marker.ITEMS
OPEN: Final = Marker.OPEN
OTHERS: Final = Marker.OTHERS
"""Field of a Mapping: what the entries with unknown keys hold."""
MAYBE: Final = Marker.MAYBE
"""Field of an Instance: the names of the fields that only some paths have set, as a frozenset."""
FROZEN: Final = Marker.FROZEN
"""Field of a layer: the names of its parameters that do not learn, as a frozenset; LEARNS is among
them where it may learn all the same."""
LEARNS: Final = "learns"
OPTIONAL: Final = Marker.OPTIONAL
"""Field of a dropout whose rate is an option of the command line, and 0 where nobody gives it."""
LAYER: Final = Marker.LAYER
"""Instance field: the torch layer that the project class subclasses, with its parameters."""


class Partial(Struct, frozen=True, eq=False):
    """`functools.partial(function, ...)`."""

    function: Value
    arguments: tuple[Value, ...]
    keywords: tuple[tuple[str, Value], ...]


Value: TypeAlias = (
    AnythingType
    | Known
    | Soft
    | Begins
    | External
    | ModuleReference
    | Tensor
    | Method
    | Super
    | Alternatives
    | Group
    | Parameters
    | Loader
    | ModeFlag
    | Partial
    | FunctionObject
    | HeapObject
)
Element: TypeAlias = Value | Choice | Repeat
RUNS: Final = frozenset({Choice, Repeat})
"""Kinds of elements that stand for several."""


PLAIN: Final = (Known, External, ClassObject, AnythingType, Begins, ModuleReference)
"""Kinds of values that never change and hold no others."""


def alternatives(value: Value) -> tuple[Value, ...]:
    """The values of which one is real; one for everything but Alternatives."""
    return value.values if type(value) is Alternatives else (value,)


def hard(value: Value) -> Value:
    """The value itself, or the default that a Soft value carries."""
    return value.value if type(value) is Soft else value


def maybe_absent(obj: HeapObject) -> frozenset[object]:
    """The names of the fields that only some paths have set."""
    names = obj.fields.get(MAYBE)
    return names if isinstance(names, frozenset) else frozenset()


def items_of(obj: HeapObject) -> tuple[Element, ...]:
    """The elements of a sequence or container."""
    items = obj.fields.get(ITEMS, ())
    assert isinstance(items, tuple)
    return items


def flat(elements: Iterable[Element]) -> Iterator[Value]:
    """Every value in a run of elements, whatever its choice or repetition."""
    for element in elements:
        if type(element) is Choice:
            for run in element.runs:
                yield from flat(run)
        elif type(element) is Repeat:
            yield from flat(element.run)
        else:
            yield element


def weight_of(elements: Iterable[Element]) -> int:
    """How many elements there are at any depth of choices and repetitions."""
    return sum(1 + e.weight if isinstance(e, Choice | Repeat) else 1 for e in elements)


def is_exact(elements: Iterable[Element]) -> TypeGuard[tuple[Value, ...]]:
    """Whether the number and order of elements is known; for tuples of elements."""
    return RUNS.isdisjoint(map(type, elements))


class Arguments(Struct):
    """The evaluated arguments of one call.

    positional: in order; keywords: by name; unknown: whether `*x` or `**x` of unknown content is
    among them. place: of the whole call. call: how it is written; None where it is not.
    """

    positional: list[Value] = field(default_factory=list)
    keywords: dict[str, Value] = field(default_factory=dict)
    unknown: bool = False
    place: Place | None = None
    call: ir.Call | None = None

    @property
    def callee(self) -> str:
        """The names that the callee spells ("self.net"); "" for anything else."""
        return "" if self.call is None else dotted(self.call.function)

    @property
    def first(self) -> str:
        """The names that the first argument spells."""
        given = self.call.arguments if self.call is not None else ()
        return dotted(given[0].value) if given else ""

    def get(self, index: int, name: str) -> Value | None:
        """The argument given by position or by name; None when it is not given."""
        if name in self.keywords:
            return self.keywords[name]
        if 0 <= index < len(self.positional):
            return self.positional[index]
        return None

    def all(self) -> list[Value]:
        """All argument values."""
        return [*self.positional, *self.keywords.values()]
