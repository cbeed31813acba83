"""What data meets on its way through a module, kept for the next module of the same structure.

Networks repeat their blocks. A block is run once; where the same block is called again, in this
graph or another, its nodes are copied: with other numbers, and below another name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import count
from typing import NamedTuple

from bnlint.finding import Place
from bnlint.graph import Node, Scope
from bnlint.records import replace
from bnlint.source.structure import is_below
from bnlint.source.values import (
    PLAIN,
    Alternatives,
    AnythingType,
    Arguments,
    Begins,
    Choice,
    ClassObject,
    External,
    FunctionObject,
    HeapObject,
    Instance,
    Known,
    Mapping,
    Method,
    ModuleReference,
    Repeat,
    Soft,
    Tensor,
    Value,
    items_of,
)
from bnlint.source.values import Sequence as SequenceValue

MOST_NODES = 30_000
"""Nodes that are kept; then all are forgotten."""
NODES_PER_STEP = 2
"""Nodes that are copied in the time of one step."""


class Operand(NamedTuple):
    """Sources of a tensor, told from within a passage: its own nodes, counted from its first, and
    arguments, by the number of their group."""

    own: tuple[int, ...]
    given: tuple[int, ...]


class Part(NamedTuple):
    """A node of a passage. chain: which of the passage's chains of modules is around it; name: its
    qualified name below the module's; None for an operation."""

    node: Node
    inputs: tuple[Operand, ...]
    chain: int
    name: str | None


class Chain(NamedTuple):
    """Modules around a node. left: how many of those around the passage it leaves out; inner:
    those inside, with names below the passage's."""

    left: int
    inner: tuple[Scope, ...]


class Passage(NamedTuple):
    """A way through a module. writers: nodes whose memory others have overwritten, with these;
    holder: where the module was constructed; texts: see `recall.Kept`."""

    parts: tuple[Part, ...]
    chains: tuple[Chain, ...]
    writers: tuple[tuple[int, Operand], ...]
    result: Value
    first: int
    groups: tuple[frozenset[int], ...]
    holder: Place | None
    texts: frozenset[int]


class Passages:
    """The passages of one machine."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._next = count()
        self._kept: dict[Hashable, Passage] = {}
        self._size = 0
        self._met: set[int] = set()

    def number(self, content: Hashable) -> int:
        """The number of a structure; no other ever has it, also when all are forgotten."""
        return self._numbers.setdefault(content, next(self._next))

    def is_new(self, number: int) -> bool:
        """Whether a structure is met for the first time: it may well be the last."""
        is_new = number not in self._met
        self._met.add(number)
        return is_new

    def find(self, key: Hashable) -> Passage | None:
        """The passage that was kept under this key."""
        return self._kept.get(key)

    def keep(self, key: Hashable, passage: Passage) -> None:
        """Keep a passage; from time to time all are forgotten."""
        self._size += len(passage.parts)
        if self._size > MOST_NODES:
            self._kept.clear()
            self._numbers.clear()
            self._met.clear()
            self._size = 0
            return
        self._kept[key] = passage


class Given(NamedTuple):
    """The arguments of a call: what they are besides their sources, and the groups of these."""

    content: Hashable
    groups: tuple[frozenset[int], ...]


def given_by(arguments: Arguments) -> Given | None:
    """What decides a passage; None where it is more than constants and tensors that have no source
    in common."""
    groups: dict[frozenset[int], int] = {}
    try:
        positional = tuple(_content(value, groups) for value in arguments.positional)
        keywords = tuple((name, _content(v, groups)) for name, v in arguments.keywords.items())
    except TypeError:
        return None
    found = tuple(groups)
    if sum(map(len, found)) != len(frozenset[int]().union(*found)):
        return None
    return Given((positional, keywords, arguments.unknown), found)


def _content(value: object, groups: dict[frozenset[int], int]) -> Hashable:
    match value:
        case Tensor():
            if value.detached:
                raise TypeError
            group = groups.setdefault(value.sources, len(groups)) if value.sources else -1
            return replace(value, sources=frozenset()), group
        case Known():
            hash(value)
            return value
        case Alternatives(values):
            return ("one of", *(_content(single, groups) for single in values))
        case Repeat(run):
            return ("repeat", *(_content(single, groups) for single in run))
        case Choice(runs):
            return ("choice", *(tuple(_content(v, groups) for v in run) for run in runs))
        case Soft(inner, place):
            return "soft", _content(inner, groups), place
        case SequenceValue():
            return (value.kind, *(_content(item, groups) for item in items_of(value)))
        case Mapping():
            return ("dict", *((k, _content(v, groups)) for k, v in value.fields.items()))
        case External() | ClassObject() | AnythingType() | Begins() | ModuleReference() | bool():
            return value
        case FunctionObject() if value.is_of_file:
            return value
    raise TypeError(type(value).__name__)


class Recorder:
    """Makes a passage of what was drawn between two moments.

    first: the first node; groups: of the arguments; scope: the modules around, the one that is
    passed through last, which was constructed at `holder`; start: the births before.
    """

    def __init__(
        self,
        first: int,
        groups: tuple[frozenset[int], ...],
        scope: tuple[Scope, ...],
        holder: Place | None,
        start: int,
    ) -> None:
        self._first = first
        self._holder = holder
        self._groups = groups
        self._scope = scope
        self._start = start
        self._chains: dict[tuple[Scope, ...], int] = {}

    def passage(
        self,
        nodes: Iterable[Node],
        writers: Iterable[tuple[int, frozenset[int]]],
        result: Value,
        texts: frozenset[int],
    ) -> Passage | None:
        """The passage; None where it has to do with more than its arguments. texts: see
        `recall.Kept`."""
        try:
            parts = tuple(map(self._part, nodes))
            written = tuple((node - self._first, self._operand(s)) for node, s in writers)
            kept = moved(result, self._checked, self._start)
            chains = tuple(map(self._chain, self._chains))
        except ValueError:
            return None
        around = (self._first, self._groups, self._holder)
        return Passage(parts, chains, written, kept, *around, texts)

    def _part(self, node: Node) -> Part:
        inputs = tuple(map(self._operand, node.inputs))
        chain = self._chains.setdefault(node.scope, len(self._chains))
        return Part(node, inputs, chain, self._below(node.path) if node.path else None)

    def _checked(self, sources: frozenset[int]) -> frozenset[int]:
        self._operand(sources)
        return sources

    def _operand(self, sources: frozenset[int]) -> Operand:
        return operand_of(sources, self._first, self._groups)

    def _chain(self, scope: tuple[Scope, ...]) -> Chain:
        depth = len(self._scope)
        inner = tuple(Scope(self._below(s.path), s.cls, s.container) for s in scope[depth:])
        return Chain(max(0, depth - len(scope)), inner)

    def _below(self, path: str) -> str:
        above = self._scope[-1].path
        if not is_below(path, above):
            raise ValueError
        return path[len(above) :].lstrip(".")


class Copy:
    """A passage once more. first: its first node now; groups: of the arguments now; scope: the
    modules around, the one that is passed through last, which was constructed at `holder`."""

    def __init__(
        self,
        passage: Passage,
        first: int,
        groups: tuple[frozenset[int], ...],
        scope: tuple[Scope, ...],
        holder: Place | None,
    ) -> None:
        self._holder = holder
        self._passage = passage
        self._first = first
        self._groups = groups
        self._scope = scope

    def nodes(self, call_of: Callable[[str], int]) -> Iterator[Node]:
        """The nodes; `call_of` counts the calls of the layer of a name."""
        chains = [self._chain(chain) for chain in self._passage.chains]
        for number, part in enumerate(self._passage.parts, self._first):
            node = part.node
            path = "" if part.name is None else self._name(part.name)
            yield Node(
                id=number,
                kind=node.kind,
                name=node.name,
                params=node.params,
                place=node.place,
                call_place=node.call_place,
                scope=chains[part.chain],
                path=path,
                call_index=0 if part.name is None else call_of(path),
                inputs=tuple(map(self._sources, part.inputs)),
                checkpoint=node.checkpoint,
                holder=self._holder if node.holder == self._passage.holder else node.holder,
            )

    def writers(self) -> Iterator[tuple[int, frozenset[int]]]:
        """Nodes whose memory others have overwritten, with these."""
        for node, operand in self._passage.writers:
            yield self._first + node, self._sources(operand)

    def result(self) -> Value:
        """What the module gives."""
        return moved(self._passage.result, self._moved)

    def _moved(self, sources: frozenset[int]) -> frozenset[int]:
        return self._sources(operand_of(sources, self._passage.first, self._passage.groups))

    def _sources(self, operand: Operand) -> frozenset[int]:
        first = self._first
        own = frozenset([first + source for source in operand.own])
        if not operand.given:
            return own
        return own.union(*[self._groups[number] for number in operand.given])

    def _chain(self, chain: Chain) -> tuple[Scope, ...]:
        outer = self._scope[: len(self._scope) - chain.left]
        inner = (Scope(self._name(s.path), s.cls, s.container) for s in chain.inner)
        return (*outer, *inner)

    def _name(self, below: str) -> str:
        above = self._scope[-1].path
        return f"{above}.{below}" if above and below else above or below


def operand_of(sources: frozenset[int], first: int, groups: tuple[frozenset[int], ...]) -> Operand:
    """Sources as seen from within a passage; raises ValueError for those from elsewhere."""
    own = tuple([source - first for source in sources if source >= first])
    if len(own) == len(sources):
        return Operand(own, ())
    given = tuple(number for number, group in enumerate(groups) if group <= sources)
    if len(own) + sum(len(groups[number]) for number in given) != len(sources):
        raise ValueError
    return Operand(own, given)


def moved(
    value: Value, move: Callable[[frozenset[int]], frozenset[int]], start: int | None = None
) -> Value:
    """A copy of a result whose tensors have other sources.

    Raises ValueError for what stands for one object of its own: modules, functions, and what is
    older than `start`.
    """
    return _moved(value, move, start)  # type: ignore[return-value]  # of the original's type


def _moved(
    value: object, move: Callable[[frozenset[int]], frozenset[int]], start: int | None
) -> object:
    def inside(values: Iterable[object]) -> tuple[object, ...]:
        return tuple(_moved(single, move, start) for single in values)

    match value:
        case Tensor():
            return replace(value, sources=move(value.sources), detached=move(value.detached))
        case Alternatives(values):
            return Alternatives(inside(values))  # type: ignore[arg-type]
        case Repeat(run):
            return Repeat(inside(run))  # type: ignore[arg-type]
        case Choice(runs):
            return Choice(tuple(inside(run) for run in runs))  # type: ignore[misc]
        case Soft(inner, place):
            return Soft(_moved(inner, move, start), place)  # type: ignore[arg-type]
        case Method(receiver, name):
            return Method(_moved(receiver, move, start), name)  # type: ignore[arg-type]
        case SequenceValue() | Mapping() | Instance():
            return _moved_object(value, move, start)
        case tuple():
            return inside(value)
        case _ if isinstance(value, _PLAIN):
            return value
    raise ValueError(type(value).__name__)


def _moved_object(
    value: SequenceValue | Mapping | Instance,
    move: Callable[[frozenset[int]], frozenset[int]],
    start: int | None,
) -> HeapObject:
    is_tuple = isinstance(value, SequenceValue) and value.kind == "tuple"
    if start is not None and value.born <= start and not is_tuple:
        raise ValueError("an object from elsewhere")
    copied: HeapObject
    match value:
        case SequenceValue():
            copied = SequenceValue(value.kind)
        case Mapping():
            copied = Mapping()
        case Instance():
            if value.cls.derives_from_module is not False:
                raise ValueError("a module")
            copied = Instance(value.cls, value.place)
    copied.fields = {key: _moved(entry, move, start) for key, entry in value.fields.items()}
    return copied


_PLAIN = (*PLAIN, bool, frozenset)
