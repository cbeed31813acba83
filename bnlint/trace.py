"""The mode trace: what a program does to the train/eval mode of its layers, and the solver over it.

A trace is a tree of events with branches, loops and calls. The source half draws it from text,
one tree for each entry point; the live half draws a straight line. Mode belongs to layers: every
event names the mode-sensitive layers (BatchNorm, Dropout) that it touches by id.

The state of a layer is a set of facts (a mode and the event that set it); joining is union, and
"unknown" is an element of the set, not its top. So a "must" fact is a set with one mode, and a
"witnessed may" fact is a named event in the set while unknown is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

from bnlint.finding import Place
from bnlint.graph import Kind


class Mode(StrEnum):
    """The mode of one layer at one moment."""

    TRAIN = "train"
    EVAL = "eval"
    UNKNOWN = "unknown"


class Purpose(StrEnum):
    """What a forward is for."""

    INFERENCE = "inference"
    TRAINING = "training"
    UNSTATED = "unstated"


@dataclass(frozen=True, slots=True)
class SensitiveLayer:
    """A layer whose output depends on the mode.

    id: unique in the trace; path: its name in the model ("layer1.0.bn1"); place: its constructor.
    positions: values per channel and sample in its input, None when unknown.
    """

    id: int
    kind: Kind
    name: str
    path: str
    place: Place | None
    positions: int | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A module object that the program builds and forwards."""

    id: int
    title: str
    built: Place | None
    layers: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Built:
    """New layers come into being, in `mode`."""

    model: int
    layers: frozenset[int]
    mode: Mode
    place: Place | None


@dataclass(frozen=True, slots=True)
class SetMode:
    """The mode of `layers` is set; `may` when the object is only one of several.

    Mode.UNKNOWN says that something may have set any mode (`train(flag)`, a call out of sight).
    """

    layers: frozenset[int]
    mode: Mode
    place: Place | None
    how: str = ""
    may: bool = False


@dataclass(frozen=True, slots=True)
class CopyMode:
    """New layers take over the mode of others: pairs of (original, copy), as `deepcopy` does."""

    pairs: tuple[tuple[int, int], ...]
    place: Place | None


@dataclass(frozen=True, slots=True)
class Forward:
    """A model (or a part of it: `layers`) runs on data.

    grad: whether gradients are recorded; None when unknown. stated: what the forward is for, where
    somebody says so (the user's `phase` in a live run); else see `ModeTrace.purpose`.
    frozen: layers whose scale and shift do not learn, while their running statistics may move.
    output: id that Backward and Use events refer to. discarded: nothing reads the output.
    synthetic: the input is made-up noise or zeros. batch: number of samples, None when unknown;
    loader: the call that makes the batches, batch_place: where their size is written, when that is
    somewhere else. last_batch: number of samples in the loader's last batch, None when unknown;
    keeps_rest: whether the loader hands out what is left over as a smaller last batch.
    context_place: the no_grad (or the like) that is in force. checkpoint: where the call is
    checkpointed, so that it is repeated in the backward pass. receiver: what the program calls the
    model there ("self.net"), "" when that is no plain name.
    """

    model: int
    layers: frozenset[int]
    place: Place | None
    grad: bool | None
    output: int
    batch: int | None = None
    loader: Place | None = None
    batch_place: Place | None = None
    last_batch: int | None = None
    keeps_rest: bool | None = None
    frozen: frozenset[int] = frozenset()
    discarded: bool = False
    synthetic: bool = False
    context_place: Place | None = None
    checkpoint: Place | None = None
    receiver: str = ""
    stated: Purpose | None = None


@dataclass(frozen=True, slots=True)
class Backward:
    """Gradients flow back from these forward outputs; empty when it cannot be seen from which.

    detached: those of them on which the loss depends with no gradient flowing (`x.detach()`).
    every: this happens in each `every`-th round of a loop only (`if (i + 1) % 4 == 0`).
    """

    outputs: frozenset[int]
    place: Place | None
    every: int = 1
    detached: frozenset[int] = frozenset()

    def reaches(self, forward: Forward) -> bool:
        """Whether gradients surely flow from here into a forward."""
        return forward.output in self.outputs - self.detached and forward.grad is not False


@dataclass(frozen=True, slots=True)
class Step:
    """An optimizer step; `models` are the models whose parameters it holds, empty when unknown.

    every: this happens in each `every`-th round of a loop only (`if (i + 1) % 4 == 0`), a number
    that is written at `every_place`.
    """

    models: frozenset[int]
    place: Place | None
    every: int = 1
    every_place: Place | None = None


class Usage(StrEnum):
    """What becomes of a forward's output."""

    PREDICTION = "prediction"
    SAVED = "saved"


@dataclass(frozen=True, slots=True)
class Use:
    """The outputs of these forwards are read as predictions, or written away."""

    outputs: frozenset[int]
    usage: Usage
    place: Place | None


@dataclass(frozen=True, slots=True)
class LoadState:
    """Weights (and buffers) are loaded into a model."""

    model: int
    place: Place | None


@dataclass(frozen=True, slots=True)
class Export:
    """A model is exported by `how` (a qualified torch name)."""

    model: int
    layers: frozenset[int]
    how: str
    place: Place | None


@dataclass(frozen=True, slots=True)
class Distribute:
    """A model is wrapped to be trained by several processes, each on a batch of its own."""

    model: int
    layers: frozenset[int]
    place: Place | None


@dataclass(frozen=True, slots=True)
class SyncNorms:
    """The BatchNorm layers of a model are converted to synchronised ones.

    distributed: where the model that is converted was wrapped for several processes, None when it
    was not. is_layer: the model is itself one BatchNorm layer, for which the call returns a new
    one; in every other model it replaces the layers in place. discarded: the result is dropped.
    """

    model: int
    layers: frozenset[int]
    place: Place | None
    distributed: Place | None = None
    is_layer: bool = False
    discarded: bool = False


@dataclass(frozen=True, slots=True)
class ModeNotCalled:
    """`model.eval` as a statement: the method is named and not called."""

    method: str
    receiver: str
    place: Place


class ExitKind(StrEnum):
    """How control leaves a block early."""

    RETURN = "return"
    BREAK = "break"
    CONTINUE = "continue"
    RAISE = "raise"


@dataclass(frozen=True, slots=True)
class Exit:
    """Control leaves the block here."""

    kind: ExitKind


@dataclass(frozen=True, slots=True)
class Branch:
    """Exactly one of the alternatives runs."""

    alternatives: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """The bodies run in order, each at most once and to its end or a `continue`; then, with
    `repeat`, all over again any number of times (also none)."""

    bodies: tuple[Block, ...]
    repeat: bool
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function of the project; `body` is what it does at this call site."""

    function: str
    place: Place | None
    body: Block


Event: TypeAlias = (
    Built
    | SetMode
    | CopyMode
    | Forward
    | Backward
    | Step
    | Use
    | LoadState
    | Export
    | Distribute
    | SyncNorms
    | ModeNotCalled
)
Item: TypeAlias = Event | Exit | Branch | Loop | Call
Block: TypeAlias = tuple[Item, ...]


@dataclass(frozen=True)
class ModeTrace:
    """Everything that happens from one entry point on.

    entry: what a reader would call the entry point ("train.py", "main() in train.py").
    is_test: the entry point is a unit test.
    """

    entry: str
    body: Block
    models: Mapping[int, Model]
    layers: Mapping[int, SensitiveLayer]
    is_test: bool = False

    @cached_property
    def trained_outputs(self) -> frozenset[int]:
        """The forward outputs that a backward reaches."""
        backwards = (event.outputs for event in self.events() if isinstance(event, Backward))
        return frozenset().union(*backwards)

    @cached_property
    def has_step(self) -> bool:
        """Whether any optimizer step is in the trace."""
        return any(isinstance(event, Step) for event in self.events())

    def purpose(self, forward: Forward) -> Purpose:
        """What a forward is for: as stated, or as its context and its output's fate show."""
        if forward.stated is not None:
            return forward.stated
        if forward.output in self.trained_outputs and forward.grad is not False:
            return Purpose.TRAINING if self.has_step else Purpose.UNSTATED
        if forward.grad is False and forward.output not in self.trained_outputs:
            return Purpose.INFERENCE
        return Purpose.UNSTATED

    def events(self) -> Iterator[Event]:
        """All events of the tree, in textual order of execution, without regard to branches."""
        pending: list[Item] = list(reversed(self.body))
        while pending:
            match pending.pop():
                case Branch(blocks) | Loop(blocks):
                    pending += [item for block in reversed(blocks) for item in reversed(block)]
                case Call(_, _, body):
                    pending += reversed(body)
                case Exit():
                    pass
                case event:
                    yield event


@dataclass(frozen=True, slots=True)
class ModeFact:
    """One element of a layer's state: a mode, and who set it.

    carried: the fact came round a loop's back edge.
    """

    mode: Mode
    place: Place | None
    how: str = ""
    carried: bool = False


ModeSet: TypeAlias = frozenset[ModeFact]
State: TypeAlias = Mapping[int, ModeSet]


@dataclass(frozen=True)
class Observation:
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


@dataclass(slots=True)
class _Flow:
    """Where control goes after a block, and in what state; None where it never gets."""

    fall: State | None
    exits: dict[ExitKind, State] = field(default_factory=dict)

    def leave(self, kind: ExitKind, state: State | None) -> None:
        if state is not None:
            self.exits[kind] = join(self.exits.get(kind), state)


MAXIMAL_ROUNDS = 12
"""A bound on the rounds of a loop; facts depend on no state, so it settles after the third."""


class _Solver:
    """One forward data-flow analysis over one tree of events."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, ...], Observation] = {}

    def block(self, items: Block, state: State, chain: tuple[Call, ...]) -> _Flow:
        """The flow through a sequence of items."""
        flow = _Flow(state)
        for item in items:
            if flow.fall is None:
                break
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
            case event:
                self._observe(event, chain, state)
                return _transfer(event, state)

    def _observe(self, event: Event, chain: tuple[Call, ...], state: State) -> None:
        if isinstance(event, (Built, SetMode, CopyMode)):
            return
        # By identity: hashing a call by value would hash all that happens in it, for every event.
        key = (*map(id, chain), id(event))
        known = self.seen.get(key)
        joined = state if known is None else join(known.state, state)
        self.seen[key] = Observation(event, chain, joined)

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
        for _ in range(MAXIMAL_ROUNDS if loop.repeat else 1):
            end, left = self._round(loop.bodies, entry, chain, flow)
            if left is not None:
                after = join(after, left)
            if end is None:
                break
            after = join(after, end)
            again = join(entry, _carried(end, entry))
            if again == entry:
                break
            entry = again
        return after

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


def _carried(end: State, entry: State) -> State:
    """The state at the end of a loop body as its next round sees it."""
    return {
        layer: frozenset(
            fact if fact in entry.get(layer, ()) else replace(fact, carried=True) for fact in facts
        )
        for layer, facts in end.items()
    }


def _transfer(event: Event, state: State) -> State:
    match event:
        case Built(_, layers, mode, place):
            return {**state, **dict.fromkeys(layers, frozenset({ModeFact(mode, place, "built")}))}
        case CopyMode(pairs):
            return {**state, **{new: state.get(old, frozenset()) for old, new in pairs}}
        case SetMode(layers, mode, place, how, may):
            fact = frozenset({ModeFact(mode, place, how)})
            if may:
                return {**state, **{x: state.get(x, frozenset()) | fact for x in layers}}
            return {**state, **dict.fromkeys(layers, fact)}
        case _:
            return state
