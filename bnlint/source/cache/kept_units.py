"""The units of an earlier run, as far as they hold for the files as they are now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

from bnlint import records
from bnlint.finding import Place
from bnlint.graph import LayerGraph, Node
from bnlint.source import ir
from bnlint.source.cache.looked import SENSES, Looked, senses_of
from bnlint.source.cache.reworked import Reworked
from bnlint.source.cache.runs import Runs
from bnlint.source.cache.unit_file import UnitFile, given_in, read_file
from bnlint.source.cache.unit_wire import unpacked_unit
from bnlint.source.cache.unseen import CodeChangedError
from bnlint.source.evaluate.interpreter import Interpreter
from bnlint.source.links import Links
from bnlint.source.noticed import Spot
from bnlint.source.project import Project
from bnlint.source.relevance import Relevance
from bnlint.source.units import ALL_IMPORTS, WHOLE, Stage, Unit

T = TypeVar("T")
_WHOLE_FILES: Final = (Stage.SCRIPT, Stage.STATEMENTS, Stage.MODULE, Stage.IMPORTS)
Key: TypeAlias = tuple[Stage, Spot]
MOST_FILES: Final = 20
"""Files with other code than in the earlier run, of which it is looked what has changed."""


class KeptUnits:
    """See `units.Earlier`."""

    def __init__(
        self,
        file: UnitFile,
        units: Iterable[Raw],
        reworked: Mapping[str, Reworked],
        changed: Mapping[str, frozenset[int]],
    ) -> None:
        self._file = file
        self._reworked = reworked
        self._edited = frozenset(path for path, found in reworked.items() if found.has_changed)
        self._changed = changed
        self._spots = list(file.named(file.spots))
        self.spots = [self._moved_spot(spot) or ("", WHOLE) for spot in self._spots]
        self.orders: Mapping[Stage, Sequence[Spot]] = {
            stage: [now for s in file.named(order) if (now := self._slot(stage, s)) is not None]
            for stage, order in file.orders.items()
        }
        bases = map(self._moved_spot, file.named(file.bases))
        self.bases = frozenset(base for base in bases if base is not None)
        self.first_number = file.first_number
        self.shared = file.shared
        self.raw: dict[Key, Raw] = {}
        """The bytes of units that were kept and tell of no place that has moved."""
        self._units: dict[Key, Unit] = {}
        self._touched: dict[Key, Unit] = {}
        self._gone: list[Unit] = []
        """Units of what is not there any more."""
        self._scripts: frozenset[str] = frozenset()
        self._sort_out([(unpacked_unit(raw), raw) for raw in units])
        self.touched = self._edited.union(path for _, (path, _) in self._touched)
        self.eager: Sequence[str] = file.eager
        self.long_decorators = frozenset(
            moved for key in file.long_decorators if (moved := self._moved_span(key)) is not None
        )
        self.switched = frozenset(file.switched)
        self.tested = frozenset(file.tested) - self._edited

    # --- what holds ----------------------------------------------------------------------------

    def _sort_out(self, units: Sequence[tuple[Unit, Raw]]) -> None:
        """Tell the units that hold from those that must be drawn again."""
        changed = {
            number
            for number, (path, start) in enumerate(self._spots)
            if path in self._edited and start in self._changed[path]
        }
        touched = {
            unit.key
            for unit, _ in units
            if not changed.isdisjoint(unit.texts)
            or (unit.spot[0] in self._edited and not self._is_unaffected(unit))
        }
        # What a script has defined is there only when the script runs.
        self._scripts = frozenset(
            path for stage, (path, start) in touched if start < 0 and stage is not Stage.STATEMENTS
        )
        paths = [path.encode() for path in self._reworked]
        for unit, raw in units:
            key = unit.key
            of_script = unit.spot[1] < 0 and unit.spot[0] in self._scripts
            if key == ALL_IMPORTS:
                moved = self._moved_unit(unit, is_kept=False)
                self._units[moved.key] = moved
            elif key in touched or (of_script and unit.stage is not Stage.STATEMENTS):
                moved = self._moved_unit(unit, is_kept=False)
                if self._slot(*key) is None:
                    self._gone.append(moved)
                else:
                    self._touched[moved.key] = moved
            elif any(path in bytes(raw) for path in paths):
                moved = self._moved_unit(unit, is_kept=True)
                self._units[moved.key] = moved
            else:
                self._units[key] = unit
                self.raw[key] = raw

    def _is_unaffected(self, unit: Unit) -> bool:
        """Whether a unit of an edited file is of what some function makes when it runs, which need
        not run now, and says what it said."""
        path, start = unit.spot
        is_local = start >= 0 and start in self._reworked[path].local
        return is_local and bool(unit.texts) and start not in self._changed[path]

    def kept(self, stage: Stage, spot: Spot) -> Unit | None:
        """A drawing that would give the same again."""
        return self._units.get((stage, spot))

    def is_touched(self, stage: Stage, spot: Spot) -> bool:
        """Whether something must be looked at again: it has changed, or what it depended on."""
        path, start = spot
        if start < 0 and path in self._scripts and stage is not Stage.STATEMENTS:
            return True
        if stage is Stage.FACTORY and (Stage.FUNCTION, spot) in self._touched:
            return True  # whether it is drawn depends on what it gave when it was traced
        return path in self._edited or (stage, spot) in self._touched

    def was_drawn(self, stage: Stage, spot: Spot) -> bool:
        """Whether there is a drawing that must be made again."""
        return (stage, spot) in self._touched

    def objection(self, unit: Unit) -> str:
        """Why what a drawing gives now may change others that were kept."""
        before = self._touched.get(unit.key) or Unit(*unit.key)
        if unit.gave_up != before.gave_up:  # which decides how many steps the next ones have
            return "it takes too many steps, or no longer so many"
        if self._left_elsewhere(before) == self._left_elsewhere(unit):
            return ""
        return "other layers of other files are drawn"

    def _left_elsewhere(self, unit: Unit) -> tuple[set[tuple[Place, object]], ...]:
        """What a unit has drawn that is not in functions that say something else."""
        reached = ((place, None) for place in unit.reached)
        return tuple(map(self._elsewhere, (unit.covered, reached, unit.unsettled)))

    def _elsewhere(self, situated: Iterable[tuple[Place, object]]) -> set[tuple[Place, object]]:
        """What is not in functions that say something else."""
        return {
            (place, block)
            for place, block in situated
            if place.path not in self._edited or not self._reworked[place.path].is_rewritten(place)
        }

    def disagreement(self, machine: Interpreter, units: Iterable[Unit]) -> str:
        """Why what all drawings together leave to each other is not what it was; empty where it
        is."""
        new = [unit for unit in units if unit.key not in self._units]
        drawn = {unit.key for unit in new}
        undrawn = [*self._gone, *(u for u in self._touched.values() if u.key not in drawn)]
        if any(any(self._left_elsewhere(unit)) for unit in undrawn):
            return "other layers of other files are drawn"
        old = [*self._units.values(), *self._touched.values(), *self._gone]
        for name in ("called", "built", "tested"):
            known = {key for unit in old for key in getattr(unit, name)}
            found = {key for unit in new for key in getattr(unit, name)} - known
            lost = known - getattr(machine, name).keys()
            if any(path not in self._edited for path, _ in lost | found):
                return "other functions of other files run"
        again = (*self._touched.values(), *self._gone)
        norms = {place for unit in again for place, _ in unit.norms}
        if self._elsewhere((place, None) for place in norms - machine.batchnorms.keys()):
            return "other layers of other files are built"
        return ""

    @property
    def looked(self) -> Looked:
        """What the earlier run has looked at, with the places of now."""
        looked = self._file.looked
        assert looked is not None  # else nothing of the file is used
        functions = {
            path: sorted(
                now[1] for start in starts if (now := self._moved_spot((path, start))) is not None
            )
            for path, starts in looked.functions.items()
        }
        return records.replace(looked, functions=functions)

    # --- where it is now -----------------------------------------------------------------------

    def _moved_spot(self, spot: Spot) -> Spot | None:
        path, start = spot
        reworked = self._reworked.get(path)
        if reworked is None:
            return spot
        now = reworked.starts.get(start if start >= 0 else ~start)
        if now is None:
            return None
        return path, now if start >= 0 else ~now

    def _slot(self, stage: Stage, spot: Spot) -> Spot | None:
        """The same for what is drawn; Sequentials of files are counted."""
        is_definition = stage not in _WHOLE_FILES
        return self._moved_spot(spot) if is_definition else spot

    def _place(self, place: Place) -> Place:
        reworked = self._reworked.get(place.path)
        return place if reworked is None else reworked.place(place)

    def _moved_unit(self, unit: Unit, *, is_kept: bool) -> Unit:
        """A unit with the places of now. Of one that is drawn again only what others may know;
        raises CodeChangedError where one that is kept tells of code that is gone."""
        called, built, tested = (
            tuple(now for key in keys if (now := self._moved_span(key)) is not None)
            for keys in (unit.called, unit.built, unit.tested)
        )
        each = self._each if is_kept else self._those_left
        return records.replace(
            unit,
            spot=self._slot(*unit.key) or unit.spot,
            called=called,
            built=built,
            tested=tested,
            norms=each(unit.norms),
            judged=each(unit.judged),
            covered=each(unit.covered),
            reached=each(unit.reached),
            unsettled=each(unit.unsettled),
            traces=each(unit.traces) if is_kept else (),
            graphs=tuple(map(self._moved_graph, unit.graphs)) if is_kept else (),
            modes=self._anywhere(unit.modes) if is_kept else None,
        )

    def _moved_span(self, key: tuple[str, ir.Span]) -> tuple[str, ir.Span] | None:
        reworked = self._reworked.get(key[0])
        if reworked is None:
            return key
        now = reworked.span(key[1])
        return None if now is None else (key[0], now)

    def _each(self, values: Iterable[T]) -> tuple[T, ...]:
        return tuple(map(self._relocated, values))

    def _those_left(self, values: Iterable[T]) -> tuple[T, ...]:
        found = []
        for value in values:
            try:
                found.append(self._relocated(value))
            except CodeChangedError:
                continue
        return tuple(found)

    def _relocated(self, value: T) -> T:
        """A value with the places of now, in all that it consists of."""
        moved: T = self._anywhere(value)
        return moved

    def _anywhere(self, value: Any) -> Any:
        match value:
            case Place():
                return self._place(value)
            case tuple():
                return tuple(map(self._anywhere, value))
            case dict():
                return {key: self._anywhere(entry) for key, entry in value.items()}
            case Struct():
                parts = {name: getattr(value, name) for name in value.__struct_fields__}
                return records.replace(value, **{n: self._anywhere(v) for n, v in parts.items()})
        return value

    def _moved_graph(self, graph: LayerGraph) -> LayerGraph:
        return records.replace(graph, nodes=tuple(map(self._moved_node, graph.nodes)))

    def _moved_node(self, node: Node) -> Node:
        places = (node.place, node.call_place, node.checkpoint, node.holder)
        if not any(place is not None and place.path in self._reworked for place in places):
            return node
        place, call_place, checkpoint, holder = map(self._anywhere, places)
        return records.replace(
            node, place=place, call_place=call_place, checkpoint=checkpoint, holder=holder
        )


@contextmanager
def _about(path: str) -> Iterator[None]:
    """Say which file it is that has changed too much."""
    try:
        yield
    except CodeChangedError as error:
        raise CodeChangedError(f"{path}: {error}") from None


def kept_units(
    data: bytes,
    project: Project,
    links: Links,
    runs: Runs,
) -> KeptUnits:
    """What holds of an earlier run, of which the project is told what is known of it.

    links: the files that were opened; runs: to which both belong.

    Raises CodeChangedError when too much has changed.
    """
    try:
        file, units = read_file(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CodeChangedError("what was kept cannot be read") from error
    consulted, cache = file.read.consulted, runs.cache
    if file.read.shape != runs.shape:
        raise CodeChangedError("files have come or gone")
    if file.given != given_in(project):
        raise CodeChangedError("other files can matter now")
    outcomes = links.outcomes
    for path, was in consulted.items():
        is_troubled = path in file.read.troubled
        if path not in outcomes and (is_troubled or cache.contents.content(path) != was):
            project.facts(path)  # opened when an import asked for it, as it is now
    other = [p for p, outcome in outcomes.items() if outcome.digest != consulted.get(p)]
    if not consulted.keys() >= outcomes.keys() or len(other) > MOST_FILES:
        raise CodeChangedError("many files have changed")
    reworked: dict[str, Reworked] = {}
    for path in other:
        with _about(path):
            reworked[path] = Reworked(cache.kept(consulted[path], path), outcomes[path])
    looked = file.looked
    if looked is None:
        raise CodeChangedError
    senses = [frozenset(w for w, bits in looked.senses.items() if bits & bit) for bit in SENSES]
    relevance = Relevance.recalled(senses, looked.outside, file.size)
    project.recall(relevance, file.added)
    for path, found in reworked.items():
        with _about(path):
            found.check(looked, relevance, project)
    if not all(found.keeps_relevance(relevance, project) for found in reworked.values()):
        relevance = Relevance(f for path in project.given if (f := project.facts(path)) is not None)
        if senses_of(relevance) != looked.senses or set(relevance.outside) != set(looked.outside):
            raise CodeChangedError("other functions can matter now")
        project.recall(relevance, file.added)
    changed = {path: found.changed(relevance) for path, found in reworked.items()}
    shared = file.named(file.spots[number] for number in file.shared)
    if any(start in changed.get(path, ()) for path, start in shared):
        raise CodeChangedError("it runs while modules are imported")
    try:
        kept = KeptUnits(file, units, reworked, changed)
    except (msgspec.MsgspecError, ValueError, LookupError) as error:
        raise CodeChangedError("what was kept cannot be read") from error
    links.unopened.update(consulted)
    return kept
