"""The rolling line of what a watched program does, folded so that it stays small.

A long loop gives the same few situations again and again: the same line of the program, the same
modes. Each is drawn as a mode trace once, at the moment when it is decided; what is kept beside
that is one interval between two optimizer steps, folded by situation, and one training forward for
each line of the program.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field

from bnlint.finding import Place
from bnlint.graph import Kind
from bnlint.live.callers import Site
from bnlint.live.listening import Call
from bnlint.live.roster import Roster
from bnlint.records import replace
from bnlint.trace import (
    Backward,
    Built,
    Event,
    Export,
    Forward,
    Item,
    Loop,
    Mode,
    Model,
    ModeTrace,
    Purpose,
    SetMode,
    Step,
)

MAXIMAL_SITUATIONS = 512
"""Situations that are remembered; beyond that the oldest is forgotten, and may be judged again."""

_MODEL = 0
_OUTPUT = 0
_BETWEEN = 1


@dataclass(frozen=True, slots=True)
class Sighting:
    """A trace that is worth judging, the call that it is about, and the line that is to blame."""

    call: Call
    trace: ModeTrace
    site: Site


@dataclass(slots=True)
class Bounded:
    """A set that forgets its oldest element when it is full."""

    _kept: dict[Hashable, None] = field(default_factory=dict)

    def add(self, key: Hashable) -> bool:
        """Add an element; whether it is new."""
        if key in self._kept:
            return False
        if len(self._kept) >= MAXIMAL_SITUATIONS:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = None
        return True

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept


class Line:
    """Takes in what the listener hears and gives out what is worth judging."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._settled = Bounded()
        self._waiting: dict[Hashable, Call] = {}
        self._taught: list[Call] = []
        self._trained: dict[Hashable, Call] = {}
        self._evaluated: Call | None = None
        self._batches: dict[Hashable, int] = {}
        self._learning: set[int] = set()
        self._steps = 0

    def ended(self, call: Call) -> Iterator[Sighting]:
        """A forward is over."""
        if call.grad:
            self._evaluated = None if any(call.modes) else self._evaluated
            return
        if not any(call.modes):
            self._evaluated = self._evaluated or call
            return
        key = _situation(call)
        if key in self._settled:
            return
        if call.may_train and key not in self._waiting:
            self._waiting[key] = call
            return
        self._waiting.pop(key, None)
        self._settled.add(key)
        yield self._inference(call)

    def exported(self, call: Call) -> Iterator[Sighting]:
        """The model was traced or exported, and something is done with the result."""
        if call.discarded or not self._settled.add((_situation(call), call.exported_by)):
            return
        layers = frozenset(call.called)
        export = Export(_MODEL, layers, call.exported_by, call.site.place)
        yield self._trace(call, (*self._modes(call), export), call.called)

    def learned(self, call: Call) -> None:
        """A gradient has reached the output of a call: what came before it was a training step."""
        self._waiting.clear()
        if len(self._taught) < MAXIMAL_SITUATIONS:
            self._taught.append(call)

    def stepped(self, ours: bool) -> Iterator[Sighting]:
        """An optimizer has stepped; if it is the model's, its training forwards are decided."""
        self._waiting.clear()
        if not ours:
            return
        taught, self._taught = self._taught, []
        frozen = self._still_frozen(taught)
        for call in taught:
            yield from self._trains(call, frozen & call.frozen)

    def undecided(self) -> Iterator[Sighting]:
        """The forwards that wait for what follows, judged as if nothing did."""
        for call in self._waiting.values():
            yield self._inference(call)

    def single_value(self, call: Call, index: int) -> Iterator[Sighting]:
        """A BatchNorm layer in training mode is about to be given one value per channel."""
        if self._settled.add((_situation(call), index)):
            forward = self._forward(call, frozenset({index}), stated=Purpose.TRAINING, batch=1)
            yield self._trace(call, (*self._modes(call), forward, *_LEARNS), {index: 1})

    # -- decisions

    def _still_frozen(self, taught: list[Call]) -> frozenset[int]:
        """Layers that were frozen in every training step so far, two at least.

        A GAN's critic is frozen while its generator learns, and learns itself in another step.
        """
        candidates = frozenset[int]().union(*(call.frozen for call in taught))
        now = self._roster.frozen() if candidates else candidates
        for call in taught:
            self._learning |= call.called.keys() - (call.frozen & now)
        self._steps += 1
        return now - self._learning if self._steps > 1 else frozenset()

    def _trains(self, call: Call, frozen: frozenset[int]) -> Iterator[Sighting]:
        place = call.site.place
        earlier = self._trained.get(place)
        leaks = earlier is not None and self._leaking(earlier, call)
        if any(call.modes):
            self._trained[place] = call
        largest = self._batches[place] = max(self._batches.get(place, 0), call.batch or 0)
        alone = call.batch == 1 and largest == 1
        recomputed = frozenset(call.recomputed.items())
        evaluated = bool(leaks) and self._evaluated is not None
        key = (_situation(call), "step", bool(leaks), evaluated, alone, recomputed, frozen)
        if not self._settled.add(key):
            return
        if earlier is not None and leaks:
            yield self._leak(earlier, call, leaks)
        forward = self._forward(
            call, frozenset(call.called), batch=1 if alone else None, frozen=frozen
        )
        yield self._trace(call, (*self._modes(call), forward, *_LEARNS), call.called)
        for site in dict.fromkeys(site for site in call.recomputed.values() if site is not None):
            yield self._checkpointed(call, site)

    def _leaking(self, earlier: Call, call: Call) -> frozenset[int]:
        """Layers that this line trained in training mode before, and now in evaluation mode.

        Empty when the model itself is in training mode: then somebody froze just these layers.
        """
        if call.root_trains:
            return frozenset()
        modes = zip(earlier.modes, call.modes)
        switched = {index for index, (then, now) in enumerate(modes) if then and not now}
        return frozenset(switched & call.called.keys())

    # -- drawing

    def _inference(self, call: Call) -> Sighting:
        """A forward without gradients, in a loop of its own."""
        forward = self._forward(call, frozenset(call.called), batch=None)
        if call.generates and self._trained:  # samples of a generator while it is trained
            forward = replace(forward, synthetic=True)
        body: tuple[Item, ...] = (*self._modes(call), Loop(((forward,),), repeat=True))
        return self._trace(call, body, call.called)

    def _leak(self, earlier: Call, call: Call, leaks: frozenset[int]) -> Sighting:
        """The round from a training step in training mode to the next one in evaluation mode.

        The line of the program is the same, so the rounds are those of a loop.
        """
        between = self._evaluated
        site = between.site.place if between is not None else None
        frozen = self._roster.frozen()
        forward = self._forward(call, frozenset(call.called), batch=None, frozen=frozen)
        round_: list[Item] = [forward, *_LEARNS]
        round_.append(SetMode(leaks, Mode.EVAL, None, "training flag"))
        if between is not None:
            ids = frozenset(between.called)
            round_.append(Forward(_MODEL, ids, site, grad=False, output=_BETWEEN))
        body = (*self._modes(earlier), Loop((tuple(round_),), repeat=True))
        return self._trace(call, body, call.called)

    def _checkpointed(self, call: Call, site: Site) -> Sighting:
        """The part of a training step that one line checkpoints."""
        layers = frozenset(index for index, by in call.recomputed.items() if by == site)
        forward = self._forward(
            # The reentrant variant runs without gradients: the step itself says what it was for.
            call,
            layers,
            batch=None,
            stated=Purpose.TRAINING,
            checkpoint=site.place,
        )
        return self._trace(call, (*self._modes(call), forward, *_LEARNS), call.called, site)

    def _modes(self, call: Call) -> tuple[Event, ...]:
        everything = frozenset(range(len(call.modes)))
        built = Built(_MODEL, everything, Mode.TRAIN, None)
        evaluating = frozenset(i for i, training in enumerate(call.modes) if not training)
        if not evaluating:
            return (built,)
        return built, SetMode(evaluating, Mode.EVAL, None, "training flag")

    def _forward(
        self,
        call: Call,
        layers: frozenset[int],
        *,
        batch: int | None,
        frozen: frozenset[int] = frozenset(),
        stated: Purpose | None = None,
        checkpoint: Place | None = None,
    ) -> Forward:
        return Forward(
            model=_MODEL,
            layers=layers,
            place=call.site.place,
            grad=call.grad,
            output=_OUTPUT,
            batch=batch,
            frozen=frozen & layers,
            discarded=call.discarded,
            stated=stated,
            checkpoint=checkpoint,
        )

    def _trace(
        self,
        call: Call,
        body: tuple[Item, ...],
        values: Mapping[int, int | None],
        site: Site | None = None,
    ) -> Sighting:
        layers = {
            index: self._roster.layer(index, _positions(values.get(index), call.batch))
            for index in range(len(self._roster.entries))
        }
        title = type(self._roster.root).__name__
        model = Model(_MODEL, title, None, frozenset(layers))
        trace = ModeTrace(f"watch of {title}", body, {_MODEL: model}, layers)
        return Sighting(call, trace, site or call.site)


_LEARNS: tuple[Event, ...] = (
    Backward(frozenset({_OUTPUT}), None),
    Step(frozenset({_MODEL}), None),
)


def _situation(call: Call) -> Hashable:
    """What makes two forwards the same for every rule."""
    return (call.site, call.grad, call.modes, call.frozen, call.discarded)


def _positions(values: int | None, batch: int | None) -> int | None:
    if values is None or not batch or values % batch:
        return None
    return values // batch


def norms_in_training(roster: Roster, call: Call) -> bool:
    """Whether a BatchNorm layer ran in training mode, so that its statistics have moved."""
    return any(
        call.modes[index] and roster.entries[index].kind is Kind.BATCHNORM
        for index in call.called
        if index < len(call.modes)
    )
