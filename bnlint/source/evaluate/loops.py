"""Loops: unrolled where the elements are known, else two rounds that stand for all."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from bnlint.source import ir
from bnlint.source.evaluate.core import LoopRun
from bnlint.source.evaluate.counting import asks_for, last_round
from bnlint.source.evaluate.freezing import (
    FREEZES,
    any_parameter,
    listed_parameters,
    named_parameters,
)
from bnlint.source.evaluate.generators import Generators
from bnlint.source.evaluate.last_round import is_left_early, last_round_tests
from bnlint.source.evaluate.widening import widen
from bnlint.source.joining import one_of
from bnlint.source.store import Key
from bnlint.source.values import (
    ANYTHING,
    AnythingType,
    Choice,
    Element,
    Frame,
    Known,
    ModuleScope,
    Parameters,
    Repeat,
    Sequence,
    Value,
    flat,
    is_exact,
    items_of,
)
from bnlint.trace import Item, Loop

LONGEST_UNROLLING = 64
MOST_CALCULATIONS = 256
"""Rounds of loops inside each other that are told apart where they only calculate."""
_LEAVING = frozenset({ir.Break, ir.Return, ir.Yield})
LONGEST_WHILE = 12
"""Rounds of a `while` that are told apart."""


class Loops(Generators):
    """Execution of `for` and `while`."""

    def loop(self, statement: ir.For | ir.While, frame: Frame) -> bool:
        """Run a loop; False when control never gets behind it."""
        if isinstance(statement, ir.While):
            return self._while(statement, frame)
        if (driven := self._driven(statement, frame)) is not None:
            return driven
        iterable = self.evaluate(statement.iterable, frame)
        parameters = listed_parameters(iterable)
        if parameters is not None:
            return self._through_parameters(statement, parameters, frame)
        elements = self.elements(iterable)
        if isinstance(elements, tuple) and len(elements) <= LONGEST_UNROLLING:
            if is_exact(elements):
                return self._unrolled(statement, elements, frame)
            if not _are_alike(elements):
                return self._by_element(statement, elements, frame)
        values: list[Value] = [ANYTHING] if elements is None else list(flat(elements))
        if not values:  # whichever list it is, it is empty
            return self._unrolled(statement, (), frame)
        return self._counted(statement, values, frame)

    def _driven(self, statement: ir.For, frame: Frame) -> bool | None:
        """A loop over a generator that trains or sets modes itself: the two take turns.

        None for every other loop, and where its body may leave it.
        """
        generator = self.generator_behind(statement.iterable, frame)
        if generator is None or not isinstance(statement.iterable, ir.Call) or self.draws_layers:
            return None
        definition = generator.definition
        if not isinstance(definition, ir.Function) or not self.relevance.acts(definition.body):
            return None
        if not _LEAVING.isdisjoint(self.relevance.own_kinds(statement.body)):
            return None  # a `break` of a loop inside it counts, too
        arguments = self.arguments(statement.iterable.arguments, frame)
        arguments.place = self.place(frame, statement.iterable.span)

        def body(value: Value) -> None:
            run = self._begin()
            with self.recording() as events:
                self.assign(statement.target, value, frame)
                falls = self._round(statement.body, run, frame)
            self._emit([tuple(events)], False, statement, frame)
            self._end(run, falls)

        happened = self.drive(generator, arguments, body)
        if happened is None:
            return None
        self.events += happened
        return self.execute(statement.orelse, frame)

    def _through_parameters(self, statement: ir.For, parameters: Parameters, frame: Frame) -> bool:
        """A loop over parameters: over each by its name where it may freeze some, else one round
        for all."""
        words = self.relevance.profile(statement.body).words
        if parameters.listing == "named" and words & FREEZES and not self.draws_layers:
            return self._unrolled(statement, named_parameters(parameters), frame)
        return self._unrolled(statement, (any_parameter(parameters),), frame)

    def _while(self, statement: ir.While, frame: Frame) -> bool:
        """Rounds for as long as the test is known to be true, then any number of further ones."""
        run = self._begin()
        endless = isinstance(statement.test, ir.Constant)
        together = self._stands_for_training(statement.body)
        for _ in range(0 if together else LONGEST_WHILE):
            decided = self.truth(self.evaluate(statement.test, frame))
            if decided is False:
                return self._end(run, self.execute(statement.orelse, frame))
            if decided is None:
                break
            with self.recording() as events:
                falls = self._round(statement.body, run, frame)
            self._emit([tuple(events)], False, statement, frame)
            if not falls:
                return self._end(run, False)
        numbered = self._numbered_while(statement, frame) if together else None
        if numbered is not None:
            return self._end(run, numbered)
        return self._end(run, self._open_while(statement, frame, endless=endless))

    def _numbered_while(self, statement: ir.While, frame: Frame) -> bool | None:
        """A training loop whose rounds are numbered by constants: any of them, then the last.

        None for every other loop, and where other functions may change the number.
        """
        if isinstance(frame, ModuleScope) or frame.is_kept:
            return None
        last = last_round(statement, lambda value: self._integer(value, frame))
        if last is None:
            return None
        leaving = {} if last.leaving is None else {last.leaving: False}
        with self.deciding(leaving):
            self._generic(lambda: None, replace(statement, orelse=()), frame)
        run = self._begin()
        self.store.write(frame, last.variable, Known(last.value))
        with self.recording() as events:
            falls = self._round(statement.body, run, frame)
        self._emit([tuple(events)], False, statement, frame)
        if falls and last.leaving is None:
            falls = self.execute(statement.orelse, frame)
        return self._end(run, falls)

    def _integer(self, expression: ir.Expression, frame: Frame) -> int | None:
        """A number that is written out, or the one that a local variable surely has."""
        match expression:
            case ir.Constant(number):
                value: object = Known(number)
            case ir.Name(name):
                value = frame.value(name)
            case _:
                return None
        return value.value if isinstance(value, Known) and type(value.value) is int else None

    def _stands_for_training(self, body: ir.Body) -> bool:
        """Whether a loop may be one over epochs or batches, whose rounds are not told apart."""
        if self.constructing or self.draws_layers:
            return False
        return self.relevance.acts(body)

    def _open_while(self, statement: ir.While, frame: Frame, *, endless: bool) -> bool:
        if self.truth(self.evaluate(statement.test, frame)) is False:
            return self.execute(statement.orelse, frame)
        return self._generic(
            lambda: self.evaluate(statement.test, frame), statement, frame, endless=endless
        )

    def _unrolled(self, statement: ir.For, elements: tuple[Value, ...], frame: Frame) -> bool:
        if _counts(elements) and self._stands_for_training(statement.body):
            values: list[Value] = [ANYTHING] if len(elements) > 1 else list(elements)
            return self._counted(statement, values, frame, last=elements[-1])
        rounds = len(elements) * (self.loops[-1].rounds if self.loops else 1)
        if rounds > MOST_CALCULATIONS and self._only_calculates(statement.body, elements):
            return self._counted(statement, list(elements), frame)
        bodies: list[tuple[Item, ...]] = []
        run = self._begin()
        run.rounds = rounds
        falls = True
        for element in elements:
            if not falls:
                break
            with self.recording() as events:
                self.assign(statement.target, element, frame)
                falls = self._round(statement.body, run, frame)
            bodies.append(tuple(events))
        self._emit(bodies, False, statement, frame)
        if falls:
            falls = self.execute(statement.orelse, frame)
        return self._end(run, falls)

    def _only_calculates(self, body: ir.Body, elements: tuple[Value, ...]) -> bool:
        """Whether an inner loop goes through constants, and builds and sets nothing."""
        is_inner = bool(self.loops) and all(map(_is_constant, elements))
        return is_inner and not self.relevance.mentions_mattering(body)

    def _counted(
        self, statement: ir.For, values: list[Value], frame: Frame, last: Value | None = None
    ) -> bool:
        """Rounds that are not told apart, except for the last where the body asks for it."""

        def bind() -> None:
            self.assign(statement.target, one_of(values), frame)

        tests = {} if self.draws_layers else self.relevance.once(last_round_tests, statement)
        if values != [ANYTHING] or not self.relevance.once(_is_numbered, statement):
            last = None
        if not tests and last is None:
            return self._generic(bind, statement, frame)
        with self.deciding({test: not truth for test, truth in tests.items()}):
            self._generic(bind, replace(statement, orelse=()), frame)
        run = self._begin()
        with self.deciding(dict(tests)), self.recording() as events:
            if last is None:
                bind()
            else:
                self.assign(statement.target, last, frame)
            falls = self._round(statement.body, run, frame)
        self._emit([tuple(events)], False, statement, frame)
        return self._end(run, falls and self.execute(statement.orelse, frame))

    def _by_element(self, statement: ir.For, elements: tuple[Element, ...], frame: Frame) -> bool:
        """Elements in order, where some are optional or repeated."""
        run = self._begin()
        falls = self._elements(statement, elements, run, frame)
        return self._end(run, falls)

    def _elements(
        self, statement: ir.For, elements: tuple[Element, ...], run: LoopRun, frame: Frame
    ) -> bool:
        for element in elements:
            if isinstance(element, Choice):
                falls = self.branch(
                    [self._alternative(statement, part, run, frame) for part in element.runs]
                )
            elif isinstance(element, Repeat):
                falls = self._repeated(statement, element, run, frame)
            else:
                with self.recording() as events:
                    self.assign(statement.target, element, frame)
                    falls = self._round(statement.body, run, frame)
                self._emit([tuple(events)], False, statement, frame)
            if not falls:
                return False
        return True

    def _repeated(self, statement: ir.For, element: Repeat, run: LoopRun, frame: Frame) -> bool:
        with self.recording(), self.rehearsal():
            falls = self._elements(statement, element.run, run, frame)
        if not falls or self.rehearsing:
            return falls
        with self.recording() as events:
            falls = self._elements(statement, element.run, run, frame)
        self._emit([tuple(events)], True, statement, frame)
        return falls

    def _alternative(
        self, statement: ir.For, elements: tuple[Element, ...], run: LoopRun, frame: Frame
    ) -> Callable[[], bool]:
        return lambda: self._elements(statement, elements, run, frame)

    def _generic(
        self,
        bind: Callable[[], object],
        statement: ir.For | ir.While,
        frame: Frame,
        *,
        endless: bool = False,
    ) -> bool:
        """Two rounds: the first from the state before the loop, the second from any state.

        The first is a rehearsal: nobody sees its events. A loop in it runs once only, or nested
        loops would run their bodies twice as often with each level.
        """
        run = self._begin()
        counters = self.relevance.counters(statement.body)
        grown = self._first_round(bind, statement, run, frame, counters)
        if self.rehearsing:
            return self._end(run, not endless and self.execute(statement.orelse, frame))
        run.breaks.clear()
        with self.recording() as events:
            self.store.begin()
            bind()
            falls = self._round(statement.body, run, frame)
            changes = self.store.rollback()
        self._emit([tuple(events)], True, statement, frame)
        widen(self.store, changes, grown, counters)
        if endless:
            return self._end(run, False)
        falls = self.execute(statement.orelse, frame)
        return self._end(run, falls)

    def _first_round(
        self,
        bind: Callable[[], object],
        statement: ir.For | ir.While,
        run: LoopRun,
        frame: Frame,
        counters: frozenset[str],
    ) -> frozenset[Key]:
        """Run the body once; the lists that have grown."""
        self.store.begin()
        with self.recording(), self.rehearsal():
            bind()
            self._round(statement.body, run, frame)
        changes = self.store.rollback()
        widen(self.store, changes, frozenset(), counters)
        return frozenset(changes)

    def _round(self, body: ir.Body, run: LoopRun, frame: Frame) -> bool:
        """One round: its normal end and its `continue`s joined."""
        self.loops.append(run)
        run.continues = []
        run.round_depth = self.store.depth
        self.store.begin()
        try:
            falls = self.execute(body, frame)
        except BaseException:
            self.store.commit()
            raise
        finally:
            self.loops.pop()
        if not run.continues:
            self.store.commit()
            return falls
        outcomes = list(run.continues)
        changes = self.store.rollback()
        if falls:
            outcomes.append(changes)
        self.store.merge(outcomes)
        return True

    def _begin(self) -> LoopRun:
        depth = self.store.depth
        self.store.begin()
        return LoopRun(depth, depth)

    def _end(self, run: LoopRun, falls: bool) -> bool:
        """Join the normal end of a loop with its `break`s."""
        if not run.breaks:
            self.store.commit()
            return falls
        changes = self.store.rollback()
        self.store.merge([*run.breaks, changes] if falls else run.breaks)
        return True

    def _emit(
        self,
        bodies: list[tuple[Item, ...]],
        repeat: bool,
        statement: ir.For | ir.While,
        frame: Frame,
    ) -> None:
        if any(bodies):
            place = self.place(frame, statement.span)
            self.events.append(Loop(tuple(bodies), repeat, place))


def _are_alike(elements: tuple[Element, ...]) -> bool:
    """Whether rounds need not be told apart: of a single element, or of some of which nothing is
    known but that they may be lists."""
    values = list(flat(elements))
    return len(elements) == len(values) == 1 or all(map(_is_unknown, values))


def _is_constant(value: Value) -> bool:
    if isinstance(value, Sequence):
        return all(map(_is_constant, flat(items_of(value))))
    return isinstance(value, Known)


def _is_unknown(value: Value) -> bool:
    if isinstance(value, Sequence):
        return all(map(_is_unknown, flat(items_of(value))))
    return isinstance(value, AnythingType)


def _is_numbered(loop: ir.For) -> bool:
    """Whether a loop asks for the number of its round, and is not left early."""
    match loop.target:
        case ir.Name(name):
            return asks_for(loop.body, name) and not is_left_early(loop.body)
    return False


def _counts(elements: tuple[Value, ...]) -> bool:
    """Whether the elements are numbers that count rounds: `range(...)`, perhaps enumerated."""
    return bool(elements) and all(
        isinstance(element, Known) and isinstance(element.value, int) for element in elements
    )
