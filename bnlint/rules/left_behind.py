"""For what an evaluation mode was set: the reasoning behind BNL103."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from bnlint.solver import ModeFact, Observation
from bnlint.trace import (
    Block,
    Built,
    Call,
    Export,
    Forward,
    Item,
    Mode,
    ModeTrace,
    Purpose,
    SetMode,
    blocks_of,
    holds,
)


def uses_for_inference(
    trace: ModeTrace, observed: list[Observation]
) -> Mapping[int, frozenset[ModeFact]]:
    """By layer, the evaluation modes in which it runs for anything but training."""
    uses: dict[int, set[ModeFact]] = {}
    for seen in observed:
        if not isinstance(seen.event, Forward | Export):
            continue
        if isinstance(seen.event, Forward) and trace.purpose(seen.event) is Purpose.TRAINING:
            continue
        for layer in seen.event.layers:
            facts = seen.state.get(layer, ())
            uses.setdefault(layer, set()).update(event_of(f) for f in facts if f.mode is Mode.EVAL)
    return {layer: frozenset(facts) for layer, facts in uses.items()}


def is_left_behind(
    trace: ModeTrace, forward: Forward, fact: ModeFact, used: frozenset[ModeFact]
) -> bool:
    """Whether an evaluation mode was set for something else than the training forward.

    used: the modes in which anything but training runs.
    """
    return (
        event_of(fact) in used
        or _ends_rounds(trace, forward, fact)
        or _ends_validation(trace.body, fact, used)
    )


def is_left_by_calls(trace: ModeTrace, forward: Forward, layer: int) -> bool:
    """Whether all that sets evaluation mode before a training forward is functions that run the
    model for something else: a validation before the training, a summary.

    Else it may be meant for the training.
    """
    if any(layer in event.layers and event.mode is not Mode.TRAIN for event in trace.of(Built)):
        return False
    before = list(_before(trace.body, forward))
    return any(_infers(trace, item, layer) for item in before) and not any(
        _sets_for_others(trace, item, layer) for item in before
    )


def _before(body: Block, forward: Forward) -> Iterator[Item]:
    """What runs before the first round of a forward, outermost first."""
    for item in body:
        if holds(item, forward):
            for block in blocks_of(item):
                yield from _before(block, forward)
            return
        yield item


def _infers(trace: ModeTrace, item: Item, layer: int) -> bool:
    """Whether functions that did not build a layer set evaluation mode and run the layer in it."""
    if not isinstance(item, Call):
        return any(_infers(trace, inner, layer) for block in blocks_of(item) for inner in block)
    is_set = False
    for event in ModeTrace("", (item,), {}, {}).events():
        match event:
            case Built(layers=layers) if layer in layers:
                return False
            case SetMode(layers, mode) if layer in layers:
                is_set = mode is Mode.EVAL
            case Forward(layers=layers) if is_set and layer in layers:
                return trace.purpose(event) is not Purpose.TRAINING
    return False


def _sets_for_others(trace: ModeTrace, item: Item, layer: int) -> bool:
    """Whether something sets a layer to evaluation mode and does not run it."""
    if isinstance(item, SetMode):
        return layer in item.layers and item.mode is not Mode.TRAIN
    if isinstance(item, Call) and _infers(trace, item, layer):
        return False
    return any(_sets_for_others(trace, inner, layer) for b in blocks_of(item) for inner in b)


def _ends_validation(body: Block, fact: ModeFact, used: frozenset[ModeFact]) -> bool:
    """Whether in some block evaluation mode is set for a validation, and set again behind it, where
    training mode was meant."""
    evaluates = False
    for item in body:
        if evaluates and _sets(item, fact):
            return True
        if any(_sets(item, mode) for mode in used):
            evaluates = True
        elif isinstance(item, SetMode) and item.mode is not Mode.EVAL:
            evaluates = False
    inner = (block for item in body for block in blocks_of(item))
    return any(_ends_validation(block, fact, used) for block in inner)


def _ends_rounds(trace: ModeTrace, forward: Forward, fact: ModeFact) -> bool:
    """Whether every round that trains sets this evaluation mode afterwards, for the next one.

    Nobody freezes the statistics that way: the first round would still move them.
    """
    return fact.carried and _comes_after(trace.body, forward, fact)


def _comes_after(body: Block, forward: Forward, fact: ModeFact) -> bool:
    """Whether in some block the mode is surely set behind the forward."""
    behind = False
    for item in body:
        if behind and _sets(item, fact):
            return True
        behind |= holds(item, forward)
    return any(_comes_after(block, forward, fact) for item in body for block in blocks_of(item))


def _sets(item: Item, fact: ModeFact) -> bool:
    """Whether an item sets the mode on every path."""
    match item:
        case SetMode(_, mode, place, how, may):
            return not may and (mode, place, how) == (fact.mode, fact.place, fact.how)
        case Call(_, _, body):
            return any(_sets(inner, fact) for inner in body)
        case _:
            return False


def event_of(fact: ModeFact) -> ModeFact:
    """The fact, whether it came round a loop or not."""
    return replace(fact, carried=False)
