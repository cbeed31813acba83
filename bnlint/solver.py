"""The solver over mode traces: in what mode each layer may be at every event.

The state of a layer is a set of facts (a mode and the event that set it); joining is union, and
"unknown" is an element of the set, not its top. So a "must" fact is a set with one mode, and a
"witnessed may" fact is a named event in the set while unknown is not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TypeAlias

from bnlint.finding import Place
from bnlint.records import Struct, field
from bnlint.trace import (
    Assume,
    Block,
    Branch,
    Built,
    Call,
    Context,
    CopyMode,
    Event,
    Exit,
    ExitKind,
    Item,
    Loop,
    Mode,
    ModeTrace,
    Note,
    ReadMode,
    SetMode,
    Within,
)


@dataclasses.dataclass(frozen=True, slots=True)
class ModeFact:
    """One element of a layer's state: a mode, and who set it.

    carried: the fact came round a loop's back edge. told: who heard the event that set it. undone:
    where a part of the model had been set to evaluation mode that this event, which was for more
    than the part, has set back to training mode.
    """

    mode: Mode
    place: Place | None
    how: str = ""
    carried: bool = False
    told: Told | None = dataclasses.field(default=None, compare=False)
    undone: Place | None = None


class Told(Struct, frozen=True):
    """What was told its mode: these layers, directly or by a module that holds them, and `size`
    layers with parameters."""

    layers: frozenset[int]
    direct: bool
    size: int

    def is_part_of(self, other: Told) -> bool:
        """Whether the other event was for more than this one."""
        if self.direct != other.direct:
            return self.direct
        return self.layers < other.layers or (
            self.layers == other.layers and self.size < other.size
        )


ModeSet: TypeAlias = frozenset[ModeFact]
State: TypeAlias = Mapping[int, ModeSet]


class Observation(Struct, frozen=True):
    """One event at one call chain, with the state in which it happens.

    chain: the calls that lead to it, outermost first.
    """

    event: Event
    chain: tuple[Call, ...]
    state: State

    def modes(self, layer: int) -> frozenset[Mode]:
        """The modes that the layer may be in."""
        return frozenset(fact.mode for fact in self.state.get(layer, ()))

    def must(self, layer: int, mode: Mode) -> bool:
        """Whether the layer is in `mode` on every path."""
        return self.modes(layer) == {mode}


def solve(trace: ModeTrace) -> list[Observation]:
    """The state at every event, for each call chain that reaches it, in program order."""
    solver = _Solver()
    solver.block(trace.body, {}, ())
    return list(solver.seen.values())


class _Flow(Struct):
    """Where control goes after a block, and in what state; None where it never gets."""

    fall: State | None
    exits: dict[ExitKind, State] = field(default_factory=dict)

    def leave(self, kind: ExitKind, state: State | None) -> None:
        if state is not None:
            self.exits[kind] = join(self.exits.get(kind), state)


class _Ways(Struct):
    """How control has left the `Within` of a running `Context`."""

    ran: bool = False
    fell: bool = False
    exits: set[ExitKind] = field(default_factory=set)


MAXIMAL_ROUNDS = 12
"""A bound on the rounds of a loop; facts depend on no state, so it settles after the third."""


class _Solver:
    """One forward data-flow analysis over one tree of events."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, ...], Observation] = {}
        self.setters: dict[int, frozenset[ModeFact]] = {}
        self.contexts: list[_Ways] = []

    def block(self, items: Block, state: State, chain: tuple[Call, ...]) -> _Flow:
        """The flow through a sequence of items."""
        flow = _Flow(state)
        for are_new, run in groupby(items, _is_new):
            if are_new:  # at once: thousands of layers are built one after the other
                flow.fall = _with_new(run, flow.fall)
                continue
            for item in run:
                if flow.fall is None:
                    return flow
                flow.fall = self._item(item, flow.fall, chain, flow)
        return flow

    def _item(self, item: Item, state: State, chain: tuple[Call, ...], flow: _Flow) -> State | None:
        match item:
            case Exit(kind):
                flow.leave(kind, state)
                return None
            case Branch(alternatives):
                return self._branch(alternatives, state, chain, flow)
            case Loop():
                return self._loop(item, state, chain, flow)
            case Call():
                return self._call(item, state, chain, flow)
            case Context(body):
                return self._context(body, state, chain, flow)
            case Within(body):
                return self._within(body, state, chain)
            case Assume(note, is_training):
                return _assume(state, note, is_training)
            case event:
                self._observe(event, chain, state)
                return _transfer(event, state)

    def _observe(self, event: Event, chain: tuple[Call, ...], state: State) -> None:
        if isinstance(event, (Built, SetMode, CopyMode, ReadMode)):
            return
        # By identity: hashing a call by value would hash all that happens in it, for every event.
        key = (*map(id, chain), id(event))
        known = self.seen.get(key)
        joined = state if known is None else join(known.state, state)
        self.seen[key] = Observation(event, chain, joined)

    def _context(
        self, body: Block, state: State, chain: tuple[Call, ...], flow: _Flow
    ) -> State | None:
        ways = _Ways()
        self.contexts.append(ways)
        inner = self.block(body, state, chain)
        self.contexts.pop()
        for kind, exit_state in inner.exits.items():
            flow.leave(kind, exit_state)
        for kind in ways.exits:
            flow.leave(kind, inner.fall)
        return None if ways.ran and not ways.fell else inner.fall

    def _within(self, body: Block, state: State, chain: tuple[Call, ...]) -> State | None:
        """All ways out of the body lead on to what the context still does, their states joined."""
        ways = self.contexts[-1]
        outer, self.contexts = self.contexts, self.contexts[:-1]
        inner = self.block(body, state, chain)
        self.contexts = outer
        ways.ran = True
        ways.fell = ways.fell or inner.fall is not None
        ways.exits |= inner.exits.keys()
        after = inner.fall
        for exit_state in inner.exits.values():
            after = join(after, exit_state)
        return after

    def _branch(
        self, alternatives: tuple[Block, ...], state: State, chain: tuple[Call, ...], flow: _Flow
    ) -> State | None:
        after: State | None = None
        for alternative in alternatives:
            inner = self.block(alternative, state, chain)
            for kind, exit_state in inner.exits.items():
                flow.leave(kind, exit_state)
            if inner.fall is not None:
                after = join(after, inner.fall)
        return after

    def _loop(self, loop: Loop, state: State, chain: tuple[Call, ...], flow: _Flow) -> State | None:
        entry: State = state
        after: State | None = state if loop.repeat else None
        setters = self._setters(loop)
        for _ in range(MAXIMAL_ROUNDS if loop.repeat else 1):
            end, left = self._round(loop.bodies, entry, chain, flow)
            if left is not None:
                after = join(after, left)
            if end is None:
                break
            after = join(after, end)
            again = join(entry, _carried(end, entry, setters))
            if again == entry:
                break
            entry = again
        return after

    def _setters(self, loop: Loop) -> frozenset[ModeFact]:
        """The facts that a loop's own events set."""
        if id(loop) not in self.setters:
            events = ModeTrace("", (loop,), {}, {}).events()
            self.setters[id(loop)] = frozenset(
                ModeFact(e.mode, e.place, e.how) for e in events if isinstance(e, SetMode)
            )
        return self.setters[id(loop)]

    def _round(
        self, bodies: tuple[Block, ...], state: State, chain: tuple[Call, ...], flow: _Flow
    ) -> tuple[State | None, State | None]:
        """The states at the end of all bodies, and after a `break`."""
        current: State | None = state
        left: State | None = None
        for body in bodies:
            if current is None:
                break
            inner = self.block(body, current, chain)
            current = inner.fall
            for kind, exit_state in inner.exits.items():
                match kind:
                    case ExitKind.CONTINUE:
                        current = join(current, exit_state)
                    case ExitKind.BREAK:
                        left = join(left, exit_state)
                    case _:
                        flow.leave(kind, exit_state)
        return current, left

    def _call(self, call: Call, state: State, chain: tuple[Call, ...], flow: _Flow) -> State | None:
        inner = self.block(call.body, state, (*chain, call))
        flow_after = inner.fall
        for kind, exit_state in inner.exits.items():
            if kind is ExitKind.RAISE:
                flow.leave(kind, exit_state)
            else:
                flow_after = join(flow_after, exit_state)
        return flow_after


def join(first: State | None, second: State | None) -> State:
    """The union of two states; None is the state of unreachable code."""
    if first is None:
        return second or {}
    if second is None or first is second:
        return first
    joined = dict(first)
    for layer, facts in second.items():
        known = joined.get(layer)
        joined[layer] = facts if known is None else known | facts
    return joined


def _carried(end: State, entry: State, setters: frozenset[ModeFact]) -> State:
    """The state at the end of a loop body as its next round sees it.

    A fact that was there before the loop, and that no event of the loop sets, did not come round.
    """
    return {
        layer: frozenset(
            dataclasses.replace(fact, carried=True)
            if fact in setters or fact not in entry.get(layer, ())
            else fact
            for fact in facts
        )
        for layer, facts in end.items()
    }


def _assume(state: State, note: Note, is_training: bool) -> State | None:
    """The state where a noted flag is known; None where it cannot be so.

    Layers whose mode was set by the same events as the flag are in that mode, too.
    """
    noted = state.get(note.slot)
    if noted is None:
        return state
    wanted = Mode.TRAIN if is_training is not note.inverted else Mode.EVAL
    if all(fact.mode in (wanted, Mode.UNKNOWN) for fact in noted):
        return state
    if all(fact.mode not in (wanted, Mode.UNKNOWN) for fact in noted):
        return None
    events = _events_of(noted)
    return {
        layer: frozenset(fact for fact in facts if fact.mode in (wanted, Mode.UNKNOWN))
        if _events_of(facts) == events
        else facts
        for layer, facts in state.items()
    }


def _events_of(facts: ModeSet) -> set[tuple[Mode, str, Place | None]]:
    """What has set a mode; a model and its layers are built at places of their own."""
    return {(f.mode, f.how, None if f.how == "built" else f.place) for f in facts}


def _noted(state: State, note: Note, place: Place | None, how: str) -> ModeSet:
    """The facts that were noted in a slot; where it is inverted, of the opposite mode, set here."""
    noted = state.get(note.slot) or frozenset({ModeFact(Mode.UNKNOWN, None)})
    if not note.inverted:
        return noted
    return frozenset(ModeFact(_OPPOSITE[fact.mode], place, how) for fact in noted)


_OPPOSITE = {Mode.TRAIN: Mode.EVAL, Mode.EVAL: Mode.TRAIN, Mode.UNKNOWN: Mode.UNKNOWN}


def _is_new(item: Item) -> bool:
    return isinstance(item, Built)


def _with_new(run: Iterable[Item], state: State | None) -> State | None:
    """The state after some modules were built; None stays None."""
    if state is None:
        return None
    after = dict(state)
    for item in run:
        if isinstance(item, Built):
            fact = frozenset({ModeFact(item.mode, item.place, "built")})
            after |= dict.fromkeys(item.layers, fact)
    return after


def _transfer(event: Event, state: State) -> State:
    match event:
        case ReadMode(slot, flag):
            return {**state, slot: state.get(flag) or frozenset({ModeFact(Mode.UNKNOWN, None)})}
        case CopyMode(pairs):
            return {**state, **{new: state.get(old, frozenset()) for old, new in pairs}}
        case SetMode(layers, _, place, how, flags=flags, note=Note() as note):
            return {**state, **dict.fromkeys(layers | flags, _noted(state, note, place, how))}
        case SetMode(layers, mode, place, how, may, direct, size, _, flags):
            told = Told(layers, direct, size)
            fact = ModeFact(mode, place, how, told=told)
            new = {
                x: frozenset({_after(state.get(x, frozenset()), fact, told)})
                for x in layers | flags
            }
            if may:
                new = {x: state.get(x, frozenset()) | facts for x, facts in new.items()}
            return {**state, **new}
        case _:
            return state


def _after(before: ModeSet, fact: ModeFact, told: Told) -> ModeFact:
    """A new fact; one of training mode with the evaluation mode of a part that it sets back."""
    if fact.mode is not Mode.TRAIN:
        return fact
    places = [place for old in before if (place := _undone(old, told)) is not None]
    return dataclasses.replace(fact, undone=min(places)) if places else fact


def _undone(old: ModeFact, told: Told) -> Place | None:
    """The place where a part was set to evaluation mode, if an event for more comes over it."""
    if old.told is None or not (old.told.is_part_of(told) or old.told == told):
        return None
    if old.mode is Mode.EVAL:
        return old.place if old.told.is_part_of(told) else None
    return old.undone
