"""The mode trace: what a program does to the train/eval mode of its layers.

A trace is a tree of events with branches, loops and calls. The source half draws it from text,
one tree for each entry point; the live half draws a straight line. Mode belongs to layers: every
event names the mode-sensitive layers (BatchNorm, Dropout) that it touches by id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

from bnlint.finding import Place
from bnlint.graph import Kind, OneValue
from bnlint.records import Struct


class Mode(StrEnum):
    """The mode of one layer at one moment."""

    TRAIN = "train"
    EVAL = "eval"
    UNKNOWN = "unknown"

    __hash__ = str.__hash__  # that of an Enum is written in Python


class Purpose(StrEnum):
    """What a forward is for."""

    INFERENCE = "inference"
    TRAINING = "training"
    UNSTATED = "unstated"


class SensitiveLayer(Struct, frozen=True, tag=True):
    """A layer whose output depends on the mode.

    id: unique in the trace; path: its name in the model ("layer1.0.bn1"); place: its constructor.
    positions: values per channel and sample in its input, None when unknown.
    one_value: for which inputs of its model positions are surely one; None for none.
    optional: a dropout whose rate is a command-line option, 0 where nobody gives it.
    """

    id: int
    kind: Kind
    name: str
    path: str
    place: Place | None
    positions: int | None = None
    one_value: OneValue | None = None
    optional: bool = False


class Model(Struct, frozen=True, tag=True):
    """A module object that the program builds and forwards."""

    id: int
    title: str
    built: Place | None
    layers: frozenset[int] = frozenset()


class Built(Struct, frozen=True, tag=True):
    """New layers come into being, in `mode`."""

    model: int
    layers: frozenset[int]
    mode: Mode
    place: Place | None


class Note(Struct, frozen=True, tag=True):
    """A training flag that was read; `inverted` for `not model.training`."""

    slot: int
    inverted: bool = False

    def __invert__(self) -> Note:
        return Note(self.slot, not self.inverted)


class ReadMode(Struct, frozen=True, tag=True):
    """`was_training = model.training`: the mode of a module itself is noted in a slot."""

    slot: int
    flag: int
    place: Place | None = None


class Assume(Struct, frozen=True, tag=True):
    """From here on a noted flag is known, as behind `if was_training:`."""

    note: Note
    is_training: bool
    place: Place | None = None


class SetMode(Struct, frozen=True, tag=True):
    """The mode of `layers` is set; `may` when the object is only one of several.

    Mode.UNKNOWN says that something may have set any mode (`train(flag)`, a call out of sight);
    with `note` it is the mode that was noted there (`train(was_training)`), or the other one.
    direct: the layers themselves were told (`bn.eval()`), not a module that holds them. size: how
    many layers with parameters the told modules hold. flags: the modules among them, whose own
    training flag is kept, too.
    """

    layers: frozenset[int]
    mode: Mode
    place: Place | None
    how: str = ""
    may: bool = False
    direct: bool = False
    size: int = 0
    note: Note | None = None
    flags: frozenset[int] = frozenset()


class CopyMode(Struct, frozen=True, tag=True):
    """New layers take over the mode of others: pairs of (original, copy), as `deepcopy` does."""

    pairs: tuple[tuple[int, int], ...]
    place: Place | None


class Forward(Struct, frozen=True, tag=True):
    """A model (or a part of it: `layers`) runs on data.

    grad: whether gradients are recorded; None when unknown. stated: what the forward is for, where
    somebody says so (the user's `phase` in a live run); else see `ModeTrace.purpose`.
    frozen: layers whose scale and shift do not learn, while their running statistics may move.
    output: id that Backward and Use events refer to. discarded: nothing reads the output.
    synthetic: the input is made-up noise or zeros; dimensions: how many dimensions it has, None
    when unknown or when it is no noise. batch: number of samples, None when unknown;
    loader: the call that makes the batches, batch_place: where their size is written, when that is
    somewhere else. last_batch: number of samples in the loader's last batch, None when unknown;
    keeps_rest: whether the loader hands out what is left over as a smaller last batch.
    flag: the id under which the mode of the model itself is kept, None where it is not.
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
    dimensions: int | None = None
    context_place: Place | None = None
    checkpoint: Place | None = None
    receiver: str = ""
    stated: Purpose | None = None
    flag: int | None = None


class Backward(Struct, frozen=True, tag=True):
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


class Step(Struct, frozen=True, tag=True):
    """An optimizer step; `models` are the models whose parameters it holds, empty when unknown.

    every: this happens in each `every`-th round of a loop only (`if (i + 1) % 4 == 0`), a number
    that is written at `every_place`.
    """

    models: frozenset[int]
    place: Place | None
    every: int = 1
    every_place: Place | None = None


class Usage(StrEnum):
    """What becomes of a forward's output; NUMBER: it is taken out of torch (`loss.item()`)."""

    PREDICTION = "prediction"
    SAVED = "saved"
    NUMBER = "number"


class Use(Struct, frozen=True, tag=True):
    """The outputs of these forwards are read as predictions or numbers, or written away."""

    outputs: frozenset[int]
    usage: Usage
    place: Place | None


class Clock(Struct, frozen=True, tag=True):
    """A clock is read: `time.time()`."""

    place: Place | None


class Freeze(Struct, frozen=True, tag=True):
    """Scale and shift of these BatchNorm layers are set to learn or not (`requires_grad`)."""

    layers: frozenset[int]
    frozen: bool
    place: Place | None


class LoadState(Struct, frozen=True, tag=True):
    """Weights (and buffers) are loaded into a model."""

    model: int
    place: Place | None


class Pretrained(Struct, frozen=True, tag=True):
    """These layers were built with the weights of a training that happened elsewhere."""

    layers: frozenset[int]
    place: Place | None


class Export(Struct, frozen=True, tag=True):
    """A model is fixed as it is now: traced, exported, fused.

    layers: those that take part. how: the qualified torch name, with the option that decides
    ("torch.onnx.export(dynamo=True)"). output: id that Use events refer to, when the exported
    program is written away. receiver: what the program calls the model there, "" when that is no
    plain name. discarded: nobody uses the exported program.
    """

    model: int
    layers: frozenset[int]
    how: str
    place: Place | None
    output: int = -1
    receiver: str = ""
    discarded: bool = False


class PrepareTraining(Struct, frozen=True, tag=True):
    """What was exported or fused before is prepared to be trained: quantisation-aware training."""

    place: Place | None


class Averaged(Struct, frozen=True, tag=True):
    """An averaged copy of a model takes in its weights, and not the averages of its statistics.

    layers: those of the copy; built: where the copy was made.
    """

    layers: frozenset[int]
    built: Place | None
    place: Place | None


class Recalibrated(Struct, frozen=True, tag=True):
    """The running statistics of layers are estimated anew, without a change of mode."""

    layers: frozenset[int]
    place: Place | None


class Distribute(Struct, frozen=True, tag=True):
    """A model is wrapped to be trained by several processes, each on a batch of its own."""

    model: int
    layers: frozenset[int]
    place: Place | None


class SyncNorms(Struct, frozen=True, tag=True):
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


class ModeNotCalled(Struct, frozen=True, tag=True):
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


class Exit(Struct, frozen=True, tag=True):
    """Control leaves the block here."""

    kind: ExitKind


class Branch(Struct, frozen=True, tag=True):
    """Exactly one of the alternatives runs."""

    alternatives: tuple[Block, ...]


class Loop(Struct, frozen=True, tag=True):
    """The bodies run in order, each at most once and to its end or a `continue`; then, with
    `repeat`, all over again any number of times (also none)."""

    bodies: tuple[Block, ...]
    repeat: bool
    place: Place | None = None


class Within(Struct, frozen=True, tag=True):
    """The part of a `Context` that may be left early, by a `return` for instance."""

    body: Block


class Context(Struct, frozen=True, tag=True):
    """What a `with` statement, or `try` and `finally`, do: however control leaves the `Within`
    inside, all that follows it in the body still happens."""

    body: Block


class Call(Struct, frozen=True, tag=True):
    """A call of a function of the project; `body` is what it does at this call site."""

    function: str
    place: Place | None
    body: Block


Event: TypeAlias = (
    Built
    | SetMode
    | CopyMode
    | Freeze
    | ReadMode
    | Assume
    | Forward
    | Backward
    | Step
    | Use
    | Clock
    | LoadState
    | Pretrained
    | Export
    | PrepareTraining
    | Averaged
    | Recalibrated
    | Distribute
    | SyncNorms
    | ModeNotCalled
)
Item: TypeAlias = Event | Exit | Branch | Loop | Call | Context | Within
Block: TypeAlias = tuple[Item, ...]


E = TypeVar("E", bound=Event)


def blocks_of(item: Item) -> tuple[Block, ...]:
    """The blocks that an item is made of; none of an event."""
    match item:
        case Branch(blocks) | Loop(blocks):
            return blocks
        case Call(_, _, body) | Context(body) | Within(body):
            return (body,)
    return ()


def holds(item: Item, event: Event) -> bool:
    """Whether an event (this one, not an equal one) happens in an item."""
    return item is event or any(holds(inner, event) for b in blocks_of(item) for inner in b)


class ModeTrace(Struct, frozen=True, dict=True):
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
        return frozenset().union(*(event.outputs for event in self.of(Backward)))

    @cached_property
    def has_step(self) -> bool:
        """Whether any optimizer step is in the trace."""
        return bool(self.of(Step))

    def purpose(self, forward: Forward) -> Purpose:
        """What a forward is for: as stated, or as its context and its output's fate show."""
        if forward.stated is not None:
            return forward.stated
        if forward.output in self.trained_outputs and forward.grad is not False:
            return Purpose.TRAINING if self.has_step else Purpose.UNSTATED
        if forward.grad is False and forward.output not in self.trained_outputs:
            return Purpose.INFERENCE
        return Purpose.UNSTATED

    def events(self) -> tuple[Event, ...]:
        """All events of the tree, in textual order of execution, without regard to branches."""
        return self._flat

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind, in the same order."""
        return self._by_kind.get(kind, [])

    @cached_property
    def _flat(self) -> tuple[Event, ...]:
        return tuple(self._events())

    @cached_property
    def _by_kind(self) -> dict[type, list[Any]]:
        found: dict[type, list[Event]] = {}
        for event in self._flat:
            found.setdefault(type(event), []).append(event)
        return found

    def _events(self) -> Iterator[Event]:
        pending: list[Item] = list(reversed(self.body))
        while pending:
            match pending.pop():
                case Branch() | Loop() | Call() | Context() | Within() as item:
                    blocks = blocks_of(item)
                    pending += [inner for block in reversed(blocks) for inner in reversed(block)]
                case Exit():
                    pass
                case event:
                    yield event
