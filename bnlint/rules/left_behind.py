"""For what an evaluation mode was set: the reasoning behind BNL103."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bnlint.solver import ModeFact, Observation
from bnlint.trace import (
    Block,
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
