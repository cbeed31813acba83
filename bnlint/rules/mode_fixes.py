"""Fixes that set a mode: where the statement belongs, and whether it would harm what follows."""

from __future__ import annotations

from collections.abc import Iterable

from bnlint.finding import Fix, InsertBefore, Place
from bnlint.solver import Observation, solve
from bnlint.trace import (
    Block,
    Branch,
    Call,
    Context,
    Export,
    Forward,
    Item,
    Loop,
    Mode,
    ModeTrace,
    Purpose,
    SetMode,
    Within,
    blocks_of,
)

_OURS = "the fix"


def evaluation_fix(
    event: Forward | Export, trace: ModeTrace, seen: Observation, traces: Iterable[ModeTrace]
) -> Fix | None:
    """Set evaluation mode before a forward or an export, above the loops that only infer.

    None where the program gives the model no plain name, or where a training step would then run
    in evaluation mode.
    """
    if not event.receiver or event.place is None or _would_leak(event, traces):
        return None
    above: list[Place] = []
    for loop in reversed(loops_around(trace.body, seen)):
        if loop.place is None or _does_more(loop, event, trace):
            break
        above.append(loop.place)
    text = f"{event.receiver}.eval()"
    insertion = InsertBefore(event.place, text, event.receiver, tuple(above))
    return Fix(f"Set evaluation mode: {text}", (insertion,))


def loops_around(body: Block, seen: Observation) -> list[Loop]:
    """The loops around an event in its own function, outermost first."""
    block = seen.chain[-1].body if seen.chain else body
    return _path_to(block, seen.event) or []


def _path_to(block: Block, target: Item) -> list[Loop] | None:
    for item in block:
        if item is target:
            return []
        if isinstance(item, Call):
            continue
        inner = (_path_to(part, target) for part in blocks_of(item))
        found = next((path for path in inner if path is not None), None)
        if found is not None:
            return [item, *found] if isinstance(item, Loop) else found
    return None


def _does_more(loop: Loop, event: Forward | Export, trace: ModeTrace) -> bool:
    """Whether a loop trains the layers or sets their mode."""
    for inner in ModeTrace("", (loop,), {}, {}).events():
        match inner:
            case SetMode(layers) if not layers.isdisjoint(event.layers):
                return True
            case Forward() if trace.purpose(inner) is Purpose.TRAINING:
                return True
    return False


def _would_leak(event: Forward | Export, traces: Iterable[ModeTrace]) -> bool:
    """Whether evaluation mode, set before the event, would reach a training step."""
    for trace in traces:
        if not any(_is_place(other, event.place) for other in trace.events()):
            continue
        body = _with_evaluation(trace.body, event.place)
        for seen in solve(ModeTrace(trace.entry, body, trace.models, trace.layers)):
            forward = seen.event
            if isinstance(forward, Forward) and trace.purpose(forward) is Purpose.TRAINING:
                facts = (fact for layer in forward.layers for fact in seen.state.get(layer, ()))
                if any(fact.how == _OURS for fact in facts):
                    return True
    return False


def _is_place(item: Item, place: Place | None) -> bool:
    return isinstance(item, Forward | Export) and item.place == place


def _with_evaluation(block: Block, place: Place | None) -> Block:
    """The block with evaluation mode set before each event at a place."""
    found: list[Item] = []
    for item in block:
        match item:
            case Forward(layers=layers) | Export(layers=layers) if item.place == place:
                found += [SetMode(layers, Mode.EVAL, place, _OURS), item]
            case Branch(blocks):
                found.append(Branch(tuple(_with_evaluation(b, place) for b in blocks)))
            case Loop(blocks, repeat, loop_place):
                bodies = tuple(_with_evaluation(b, place) for b in blocks)
                found.append(Loop(bodies, repeat, loop_place))
            case Call(function, call_place, body):
                found.append(Call(function, call_place, _with_evaluation(body, place)))
            case Context(body):
                found.append(Context(_with_evaluation(body, place)))
            case Within(body):
                found.append(Within(_with_evaluation(body, place)))
            case _:
                found.append(item)
    return tuple(found)
