"""When a forward is inference, and in what mode its layers are: the reasoning behind BNL101."""

from __future__ import annotations

from enum import Enum

from bnlint.graph import Kind, OneValue
from bnlint.records import Struct
from bnlint.rules.predicates import is_trained, sensitive_layers
from bnlint.solver import Observation
from bnlint.trace import (
    Backward,
    Block,
    Branch,
    Call,
    Clock,
    Exit,
    ExitKind,
    Export,
    Forward,
    Item,
    LoadState,
    Loop,
    Mode,
    ModeTrace,
    Pretrained,
    Purpose,
    SetMode,
    Step,
    Usage,
    Use,
    blocks_of,
    holds,
)


class Ground(Enum):
    """Why a forward counts as inference."""

    STATED = "for inference"
    NO_GRAD = "for inference, without gradients"
    LOADED = "for inference, after its weights were loaded"
    PREDICTS = "to make predictions"
    MEASURED = "to be measured"
    TIMED = "to have its speed measured"
    RAISES = "on a batch of one"


class Inference(Struct, frozen=True):
    """A forward for inference whose `layers` (ids) are surely in training mode.

    raising: the one of them at which PyTorch raises.
    """

    trace: ModeTrace
    observation: Observation
    forward: Forward
    ground: Ground
    layers: tuple[int, ...]
    loaded: LoadState | None
    raising: int | None = None


def inference_in_training_mode(
    trace: ModeTrace, seen: Observation, loaded: LoadState | None
) -> Inference | None:
    """The mistake that one observation proves; None for everything else.

    `loaded` is the last loading of this model's weights on the way to it.
    """
    forward = seen.event
    if not isinstance(forward, Forward) or trace.is_test:
        return None
    layers = layers_in_training_mode(trace, seen)
    if not layers:
        return None
    raising = _raising(trace, forward, layers)
    ground = _ground(trace, seen, forward, loaded)
    if ground is None and raising is not None:
        ground = Ground.RAISES
    if ground is None:
        return None
    return Inference(trace, seen, forward, ground, layers, loaded, raising)


def _raising(trace: ModeTrace, forward: Forward, layers: tuple[int, ...]) -> int | None:
    """The layer in training mode at which a forward of made-up data raises, as it surely gets one
    value per channel from a batch of one; None where gradients come back from there, which is for
    BNL303."""
    if forward.batch != 1 or forward.dimensions is None or forward.output in trace.trained_outputs:
        return None
    fitting = {OneValue.OF_ALL} | ({OneValue.OF_ROWS} if forward.dimensions == 2 else set())
    return next((each for each in layers if trace.layers[each].one_value in fitting), None)


def layers_in_training_mode(trace: ModeTrace, seen: Observation) -> tuple[int, ...]:
    """BatchNorm and Dropout layers of a forward or export that are in training mode on every path.

    Empty when Dropout alone is, while BatchNorm is not or while only a part of the Dropout layers
    is: that is Monte Carlo dropout, or a part of the model that somebody chose.
    """
    norms = sensitive_layers(seen, trace, Kind.BATCHNORM)
    dropouts = sensitive_layers(seen, trace, Kind.DROPOUT)
    training = [
        layer
        for layer in norms + dropouts
        if seen.must(layer, Mode.TRAIN) and not is_switched_back_on(trace, seen, layer)
    ]
    if any(layer in norms for layer in training):
        return tuple(training)
    return tuple(training) if not norms and training == dropouts else ()


def is_switched_back_on(trace: ModeTrace, seen: Observation, layer: int) -> bool:
    """Whether a layer is in training mode because somebody set it right after evaluation mode.

    `model.eval()` and then `.train()` on some layers, with no forward between, is meant: Monte
    Carlo dropout, adaptation of BatchNorm to the test data. It is not when training comes next.
    """
    facts = seen.state.get(layer, ())
    setters = {fact.place for fact in facts if fact.place is not None and fact.how != "built"}
    if not setters:
        return False
    before: Mode | None = None
    back_on = False
    for event in trace.events():
        if not isinstance(event, SetMode | Forward | Export) or layer not in event.layers:
            continue
        if isinstance(event, Forward | Export):
            if back_on and event.output not in trace.trained_outputs:
                return True
            before, back_on = None, False
            continue
        is_setter = event.mode is Mode.TRAIN and event.place in setters
        back_on = is_setter and (before is Mode.EVAL or back_on)
        before = event.mode
    return False


def _ground(
    trace: ModeTrace, seen: Observation, forward: Forward, loaded: LoadState | None
) -> Ground | None:
    if forward.stated is not None:
        return Ground.STATED if forward.stated is Purpose.INFERENCE else None
    is_new = loaded is None and not _model_learns(trace, forward)
    if forward.discarded:  # else the statistics are being re-estimated
        return Ground.TIMED if is_new and _is_timed(trace.body, forward) else None
    if forward.synthetic and (
        forward.grad is not False or loaded is None or is_trained(trace, forward.model)
    ):  # a shape test, samples of a GAN during its training
        return Ground.TIMED if is_new and _is_timed(trace.body, forward) else None
    if trace.purpose(forward) is Purpose.INFERENCE:
        trains = in_training_step(trace.body, forward) or _is_kept_for_training(trace, forward)
        return None if trains else Ground.NO_GRAD
    if forward.grad is False or forward.output in trace.trained_outputs:
        return None
    if any(not event.outputs for event in trace.of(Backward)):
        return None
    if _model_learns(trace, forward):
        return _ground_while_learning(trace, seen, forward)
    if loaded is not None:
        return Ground.LOADED
    if _is_used(trace, forward, Usage.PREDICTION, Usage.SAVED):
        return Ground.PREDICTS
    # a number from a network with random weights shows how the code works, at most
    is_number = _has_learned(trace, forward) and _is_used(trace, forward, Usage.NUMBER)
    return Ground.PREDICTS if is_number else None


def _ground_while_learning(trace: ModeTrace, seen: Observation, forward: Forward) -> Ground | None:
    """Why a forward of a model that is trained elsewhere in the trace counts as inference: a test
    loop behind the training, or an agent's choice.

    What a generator draws while it learns is saved, and meant to look as in training, unless the
    function that draws it goes back to training mode afterwards.
    """
    if in_training_step(trace.body, forward):
        return None
    if _is_used(trace, forward, Usage.PREDICTION):
        return Ground.PREDICTS
    if _is_used(trace, forward, Usage.SAVED) and _returns_to_training(trace, seen, forward):
        return Ground.PREDICTS
    if not _is_used(trace, forward, Usage.NUMBER) or in_training_round(trace.body, forward):
        return None
    return Ground.MEASURED if _was_trained(trace, seen, forward) else None


def _returns_to_training(trace: ModeTrace, seen: Observation, forward: Forward) -> bool:
    """Whether the function around a forward sets training mode behind it, and no mode before it."""
    events = ModeTrace("", seen.chain[-1].body if seen.chain else (), {}, {}).events()
    behind = False
    for event in events:
        if event is forward:
            behind = True
        elif isinstance(event, SetMode) and event.layers & forward.layers:
            return behind and event.mode is Mode.TRAIN and event.layers >= forward.layers
        elif isinstance(event, Forward) and event.output in trace.trained_outputs:
            return False
    return False


def _was_trained(trace: ModeTrace, seen: Observation, forward: Forward) -> bool:
    """Whether training mode was last set for a training step, not right before this forward: some
    models have a loss in training mode only."""
    setters = {f.place for layer in forward.layers for f in seen.state.get(layer, ())}
    waiting = False
    for event in trace.events():
        if event is forward:
            return not waiting
        if isinstance(event, SetMode) and event.place in setters:
            waiting = True
        elif isinstance(event, Forward) and event.output in trace.trained_outputs:
            waiting = False
    return False


def _is_timed(body: Block, forward: Forward) -> bool:
    """Whether in some block a clock is read before the forward and behind it."""
    before = passed = False
    for item in body:
        if isinstance(item, Clock):
            if passed:
                return True
            before = True
        elif before and holds(item, forward):
            passed = True
    return any(_is_timed(block, forward) for item in body for block in blocks_of(item))


def _model_learns(trace: ModeTrace, forward: Forward) -> bool:
    """Whether gradients flow back from any forward of the same model."""
    return any(
        event.model == forward.model and event.output in trace.trained_outputs
        for event in trace.of(Forward)
    )


def _has_learned(trace: ModeTrace, forward: Forward) -> bool:
    """Whether any part of a model was built with trained weights, got some, or is trained."""
    for event in trace.events():
        match event:
            case Pretrained(layers) if not layers.isdisjoint(forward.layers):
                return True
            case LoadState(number):
                model = trace.models.get(number)
                if model is None or not model.layers.isdisjoint(forward.layers):
                    return True
            case Forward(layers=layers) if event.output in trace.trained_outputs:
                if not layers.isdisjoint(forward.layers):
                    return True
    return False


def _is_used(trace: ModeTrace, forward: Forward, *usages: Usage) -> bool:
    return any(forward.output in event.outputs and event.usage in usages for event in trace.of(Use))


def in_training_step(body: Block, forward: Forward) -> bool:
    """Whether a forward is a part of a training step: an EMA teacher, pseudo-labels, a target.

    In some block the forward comes before a backward pass, neither inside a loop of its own, and
    no optimizer step lies between them.
    """
    waiting = False
    for item in body:
        if waiting:
            outcome = _first(item, (Backward, Step))
            if outcome is not None:
                return outcome is Backward
        elif _holds(item, forward):
            waiting = True
    return any(in_training_step(block, forward) for item in body for block in blocks_of(item))


def _is_kept_for_training(trace: ModeTrace, forward: Forward) -> bool:
    """Whether a forward makes what the rounds of training behind it start from: features of several
    batches, collected before each of them is run again with gradients.

    Not where its output is read as a prediction or as a number.
    """
    return not _is_used(trace, forward, *Usage) and _precedes_rounds(trace, trace.body, forward)


def _precedes_rounds(trace: ModeTrace, body: Block, forward: Forward) -> bool:
    """Whether in some block a loop that trains the same model follows a forward in some rounds, as
    the others have gone on to the next forward, and nothing sets its mode between them."""
    is_behind = collects = False
    for item in body:
        if is_behind:
            if isinstance(item, SetMode) and not item.layers.isdisjoint(forward.layers):
                return False
            if collects and _trains_in_rounds(trace, item, forward):
                return True
            collects |= isinstance(item, Branch) and any(
                Exit(ExitKind.CONTINUE) in block for block in item.alternatives
            )
        elif holds(item, forward):
            if any(_precedes_rounds(trace, block, forward) for block in blocks_of(item)):
                return True
            if not _holds(item, forward) or _is_in_call(item, forward):
                return False
            is_behind = True
    return False


def _is_in_call(item: Item, forward: Forward) -> bool:
    if isinstance(item, Call):
        return holds(item, forward)
    return any(_is_in_call(inner, forward) for block in blocks_of(item) for inner in block)


def _trains_in_rounds(trace: ModeTrace, item: Item, forward: Forward) -> bool:
    """Whether an item is, or holds in a branch, a loop with training steps of the same model."""
    if isinstance(item, Loop):
        return any(
            event.model == forward.model and trace.purpose(event) is Purpose.TRAINING
            for event in ModeTrace("", (item,), {}, {}).of(Forward)
        )
    if isinstance(item, Call):
        return False
    return any(_trains_in_rounds(trace, inner, forward) for b in blocks_of(item) for inner in b)


def in_training_round(body: Block, forward: Forward) -> bool:
    """Whether the innermost loop around a forward trains in the same rounds."""
    for item in body:
        if not holds(item, forward):
            continue
        inner = any(in_training_round(block, forward) for block in blocks_of(item))
        own = isinstance(item, Loop) and any(_holds(i, forward) for b in item.bodies for i in b)
        trains = own and any(_first(i, (Backward, Step)) for b in blocks_of(item) for i in b)
        if inner or trains:
            return True
    return False


def _holds(item: Item, forward: Forward) -> bool:
    """Whether the forward happens in an item, loops left out."""
    if item is forward:
        return True
    if isinstance(item, Loop):
        return False
    return any(_holds(inner, forward) for block in blocks_of(item) for inner in block)


def _first(item: Item, kinds: tuple[type[Backward], type[Step]]) -> type | None:
    """The type of the first such event in an item, loops left out."""
    if isinstance(item, kinds):
        return type(item)
    if isinstance(item, Loop):
        return None
    inner = (_first(nested, kinds) for block in blocks_of(item) for nested in block)
    return next((kind for kind in inner if kind is not None), None)
