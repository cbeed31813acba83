"""Units of drawing: what each drawing of a project gave, and the code on which it depended.

A project is drawn in a fixed order: scripts, functions, objects, then layer graphs. What a drawing
leaves for those after it is noted with it. So a later run, in which a few functions say something
else, need only draw again what depended on them, and put the rest in its place.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from bnlint.finding import Place
from bnlint.functional import ModeCall
from bnlint.graph import LayerGraph, Parameter
from bnlint.overrides import ModeMethod
from bnlint.records import Struct
from bnlint.source import ir
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.noticed import Spot
from bnlint.source.project import Project
from bnlint.source.values import ClassObject, FunctionObject
from bnlint.trace import ModeTrace

if TYPE_CHECKING:
    from bnlint.source.cache.looked import Looked

T = TypeVar("T")


class Stage(StrEnum):
    """What is drawn one after the other."""

    SCRIPT = "script"
    FUNCTION = "function"
    OBJECT = "object"
    STATEMENTS = "statements"
    FACTORY = "factory"
    CLASS = "class"
    MODULE = "module"
    GIVEN = "given"
    UNRUN = "unrun"
    NESTED = "nested"
    MODES = "modes"
    IMPORTS = "imports"

    __hash__ = str.__hash__


WHOLE = -1
"""Stands for a whole file in place of where a definition begins."""
ALL_IMPORTS: Final = (Stage.IMPORTS, ("", WHOLE))
"""The key of the unit that stands for all imports."""
Norm: TypeAlias = tuple[str, dict[str, Parameter]]
"""The name of a BatchNorm and its arguments."""
Situated: TypeAlias = tuple[Place, Hashable]
"""See `graph_artist.Situation`."""


def slot_of(definition: FunctionObject | ClassObject, project: Project) -> Spot:
    """What tells a definition from all others: its file, and where it begins in it; for what a
    script has defined, which may be imported as well, the complement of that."""
    scope = definition.frame.module
    path, start = scope.facts.path, definition.definition.span[0]
    return path, start if scope is project.scope(path) else ~start


class Modes(Struct, frozen=True, array_like=True):
    """What the methods of one class do to modes, and what they call that depends on them."""

    methods: tuple[ModeMethod, ...]
    calls: tuple[ModeCall, ...]


class Unit(Struct):
    """One drawing. spot: of what, see `slot_of`; texts: the definitions on which it depended, by
    number. steps: that it took; gave_up: how often they were not enough.

    For the drawings after it: called, built, tested: see `Core`; norms: constructor calls of
    BatchNorm, see `Interpreter.batchnorms`; judged: see `TraceDomain`; covered, reached, unsettled:
    see `GraphArtist`, -1 for what is settled now.
    """

    stage: Stage
    spot: Spot
    texts: frozenset[int] = frozenset()
    steps: int = 0
    gave_up: int = 0
    called: Sequence[tuple[str, ir.Span]] = ()
    built: Sequence[tuple[str, ir.Span]] = ()
    tested: Sequence[tuple[str, ir.Span]] = ()
    norms: Sequence[tuple[Place, Norm]] = ()
    judged: Sequence[Place] = ()
    covered: Collection[Situated] = ()
    reached: Collection[Place] = ()
    unsettled: Sequence[tuple[Place, int]] = ()
    traces: Sequence[ModeTrace] = ()
    graphs: Sequence[LayerGraph] = ()
    modes: Modes | None = None

    @property
    def key(self) -> tuple[Stage, Spot]:
        """What tells it from all others."""
        return self.stage, self.spot


class Earlier(Protocol):
    """What an earlier run has left of this project, with the places that its code has now.

    orders: of what was looked at, by stage. bases: the classes from which others derive. touched:
    the files with anything that must be drawn again; eager: those of which it matters when they
    run, in order. long_decorators: see `Core`. switched: see `switched_attributes`. tested: see
    `Pictures`. first_number: see `Ledger`.
    """

    orders: Mapping[Stage, Sequence[Spot]]
    bases: frozenset[Spot]
    touched: frozenset[str]
    eager: Sequence[str]
    long_decorators: frozenset[tuple[str, ir.Span]]
    switched: frozenset[str]
    tested: frozenset[str]
    first_number: int

    @property
    def looked(self) -> Looked:
        """What the earlier run has looked at."""

    def kept(self, stage: Stage, spot: Spot) -> Unit | None:
        """A drawing that would give the same again."""

    def is_touched(self, stage: Stage, spot: Spot) -> bool:
        """Whether something must be looked at again: it has changed, or what it depended on."""

    def was_drawn(self, stage: Stage, spot: Spot) -> bool:
        """Whether there is a drawing that must be made again."""

    def objection(self, unit: Unit) -> str:
        """Why what a drawing gives now may change others that were kept; empty where it does
        not."""

    def disagreement(self, machine: Interpreter, units: Iterable[Unit]) -> str:
        """Why what all drawings together leave to each other is not what it was; empty where it
        is."""


class Ledger:
    """The drawings of one run, and those of an earlier one that hold.

    failed: why they do not after all, so that everything must be drawn. first_number: of layers and
    models, the next that is free. loads: the modules that were imported, in order. switched: see
    `switched_attributes`; None where nobody has asked.
    """

    def __init__(self, earlier: Earlier | None = None) -> None:
        self.earlier = earlier
        self.units: list[Unit] = []
        self.orders: dict[Stage, list[Spot]] = {}
        self.bases: frozenset[Spot] = frozenset() if earlier is None else earlier.bases
        self.first_number = 0
        self.eager: Sequence[str] = () if earlier is None else earlier.eager
        self.tested: frozenset[str] = frozenset() if earlier is None else earlier.tested
        self.long_decorators: Collection[tuple[str, ir.Span]] = ()
        self.switched: frozenset[str] | None = None if earlier is None else earlier.switched
        self.failed = ""
        self._known: dict[Stage, frozenset[Spot]] = {}

    @property
    def wanted(self) -> Collection[str] | None:
        """The files with anything to be drawn; None for all."""
        return None if self.earlier is None else self.earlier.touched

    def slots(
        self, stage: Stage, found: Iterable[tuple[Spot, T]]
    ) -> Iterator[tuple[Spot, T | Unit]]:
        """What is to be drawn, in the order of the first run; a unit where that was kept.

        found: what there is in the files that are `wanted`.
        """
        order = self.orders.setdefault(stage, [])
        if self.earlier is None:
            for spot, item in found:
                order.append(spot)
                yield spot, item
            return
        known: dict[Spot, T] = {}
        for spot, item in found:
            known.setdefault(spot, item)
        before = self.earlier.orders.get(stage, ())
        for spot in _with_new(before, list(filter(partial(self.earlier.is_touched, stage), known))):
            if self.failed:
                return
            order.append(spot)
            unit = self.earlier.kept(stage, spot)
            if unit is not None:
                self.units.append(unit)
                yield spot, unit
            elif self.earlier.is_touched(stage, spot):
                if spot in known:
                    yield spot, known[spot]
                elif spot[1] != WHOLE and self.earlier.was_drawn(stage, spot):
                    self.fail("what it defines is defined by a script or function that was kept")

    def is_twin(self, stage: Stage, spot: Spot) -> bool:
        """Whether a definition stands beside the one that counts: a script and who imports it each
        define all that it says, and the first of both counts."""
        if self.earlier is None:
            return False
        path, start = spot
        if stage not in self._known:
            self._known[stage] = frozenset(self.earlier.orders.get(stage, ()))
        return (path, ~start) in self._known[stage] and spot not in self._known[stage]

    def close(self, unit: Unit) -> None:
        """A drawing has ended."""
        self.units.append(unit)
        if self.earlier is not None:
            self.fail(self.earlier.objection(unit))

    def settle(self, machine: Interpreter) -> None:
        """All drawings have ended."""
        if self.earlier is None:
            self.units.append(self._imports(machine))
        elif any(self.earlier.kept(Stage.OBJECT, spot) for spot in self.bases - self.earlier.bases):
            self.fail("a class derives from another one now")
        self.long_decorators = machine.long_decorators
        if self.earlier is not None:
            self.fail(self.earlier.disagreement(machine, self.units))

    def _imports(self, machine: Interpreter) -> Unit:
        """What all imports together have left, whoever was the first to import."""
        called, built, tested = (
            {key for unit in self.units for key in getattr(unit, name)}
            for name in ("called", "built", "tested")
        )
        norms = {place for unit in self.units for place, _ in unit.norms}
        return Unit(
            *ALL_IMPORTS,
            called=[key for key in machine.called if key not in called],
            built=[key for key in machine.built if key not in built],
            tested=[key for key in machine.tested if key not in tested],
            norms=[
                (place, norm) for place, norm in machine.batchnorms.items() if place not in norms
            ],
        )

    def fail(self, reason: str) -> None:
        """Everything must be drawn."""
        self.failed = self.failed or reason


def _with_new(order: Sequence[Spot], found: Sequence[Spot]) -> Sequence[Spot]:
    """An order with those in it that are new, each behind the one before which it was found."""
    known = frozenset(order)
    behind: dict[Spot | None, list[Spot]] = {}
    last: Spot | None = None
    for spot in found:
        if spot in known:
            last = spot
        else:
            behind.setdefault(last, []).append(spot)
    if not behind:
        return order
    inside = (new for spot in order for new in (spot, *behind.get(spot, ())))
    return [*inside, *behind.get(None, ())]


def tail(table: dict[T, Any], length: int) -> list[T]:
    """What was added to a dictionary since it had this length."""
    added = list(islice(reversed(table), len(table) - length))
    added.reverse()
    return added


def norms_since(machine: Interpreter, length: int) -> list[tuple[Place, Norm]]:
    """The constructor calls of BatchNorm that were met since there were so many."""
    norms = machine.batchnorms
    return [(place, norms[place]) for place in tail(norms, length)]


def restore(machine: Interpreter, unit: Unit) -> None:
    """Leave behind what a drawing has left."""
    machine.called |= dict.fromkeys(unit.called)
    machine.built |= dict.fromkeys(unit.built)
    machine.tested |= dict.fromkeys(unit.tested)
    machine.spent += unit.steps
    for place, norm in unit.norms:
        machine.batchnorms.setdefault(place, norm)
