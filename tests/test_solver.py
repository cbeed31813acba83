"""The solver of the mode trace, against the enumeration of all bounded executions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bnlint.solver import solve
from bnlint.trace import (
    Backward,
    Block,
    Branch,
    Built,
    Call,
    Exit,
    ExitKind,
    Forward,
    Item,
    Loop,
    Mode,
    ModeTrace,
    Purpose,
    SetMode,
    Step,
)

LAYERS = (0, 1)
ROUNDS = 3
"""Rounds of a repeated loop in the enumeration: with two layers no longer path adds a mode."""
MANY_PATHS = 3000

Modes = Mapping[int, Mode]


class TooManyPaths(Exception):
    """The enumeration would take too long."""


class Executions:
    """Every path through a tree, step by step as a program would run it."""

    def __init__(self) -> None:
        self.seen: dict[tuple[tuple[int, ...], int], dict[int, set[Mode]]] = {}
        self.steps = 0

    def block(
        self, items: Block, modes: Modes, chain: tuple[int, ...]
    ) -> Iterator[tuple[ExitKind | None, Modes]]:
        if not items:
            yield None, modes
            return
        first, *rest = items
        for leave, after in self.item(first, modes, chain):
            if leave is not None:
                yield leave, after
            else:
                yield from self.block(tuple(rest), after, chain)

    def item(
        self, item: Item, modes: Modes, chain: tuple[int, ...]
    ) -> Iterator[tuple[ExitKind | None, Modes]]:
        self.steps += 1
        if self.steps > MANY_PATHS:
            raise TooManyPaths
        match item:
            case Exit(kind):
                yield kind, modes
            case Branch(alternatives):
                for alternative in alternatives:
                    yield from self.block(alternative, modes, chain)
            case Loop(bodies, repeat):
                yield from self.loop(bodies, modes, chain, ROUNDS if repeat else 1, repeat)
            case Call(_, _, body):
                for leave, after in self.block(body, modes, (*chain, id(item))):
                    yield (leave if leave is ExitKind.RAISE else None), after
            case Built(_, layers, mode):
                yield None, {**modes, **dict.fromkeys(layers, mode)}
            case SetMode(layers, mode, may=may):
                if may:
                    yield None, modes
                yield None, {**modes, **dict.fromkeys(layers, mode)}
            case event:
                found = self.seen.setdefault((chain, id(event)), defaultdict(set))
                for layer, mode in modes.items():
                    found[layer].add(mode)
                yield None, modes

    def loop(
        self,
        bodies: tuple[Block, ...],
        modes: Modes,
        chain: tuple[int, ...],
        rounds: int,
        may_stop: bool,
    ) -> Iterator[tuple[ExitKind | None, Modes]]:
        if may_stop:
            yield None, modes
        if rounds == 0:
            return
        for leave, after in self.bodies(bodies, modes, chain):
            if leave is ExitKind.BREAK:
                yield None, after
            elif leave is not None:
                yield leave, after
            elif may_stop:
                yield from self.loop(bodies, after, chain, rounds - 1, may_stop)
            else:
                yield None, after

    def bodies(
        self, bodies: tuple[Block, ...], modes: Modes, chain: tuple[int, ...]
    ) -> Iterator[tuple[ExitKind | None, Modes]]:
        if not bodies:
            yield None, modes
            return
        for leave, after in self.block(bodies[0], modes, chain):
            if leave in (None, ExitKind.CONTINUE):
                yield from self.bodies(bodies[1:], after, chain)
            else:
                yield leave, after


def forward(output: int, **more: object) -> Forward:
    return Forward(0, frozenset(LAYERS), None, None, output, **more)  # type: ignore[arg-type]


layer_sets = st.sets(st.sampled_from(LAYERS), min_size=1).map(frozenset)
known_modes = st.sampled_from((Mode.TRAIN, Mode.EVAL))
events = st.one_of(
    st.builds(Built, st.just(0), layer_sets, known_modes, st.none()),
    st.builds(
        SetMode, layer_sets, st.sampled_from(Mode), st.none(), st.just(""), may=st.booleans()
    ),
    st.integers(0, 9).map(forward),
    st.integers(0, 9).map(forward),
)
exits = st.sampled_from(ExitKind).map(Exit)


def blocks(items: st.SearchStrategy[Item]) -> st.SearchStrategy[Block]:
    return st.lists(items, max_size=3).map(tuple)


def compound(items: st.SearchStrategy[Item]) -> st.SearchStrategy[Item]:
    inner = blocks(items)
    several = st.lists(inner, min_size=1, max_size=2).map(tuple)
    return st.one_of(
        st.builds(Branch, several),
        st.builds(Loop, several, st.booleans()),
        st.builds(Call, st.just("f"), st.none(), inner),
    )


trees = st.lists(
    st.recursive(st.one_of(events, events, exits), compound, max_leaves=8), max_size=4
).map(tuple)


def trace_of(body: Block) -> ModeTrace:
    return ModeTrace("test", body, {}, {})


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(trees)
def test_the_solver_finds_exactly_the_modes_of_some_execution(body: Block) -> None:
    executions = Executions()
    try:
        for _ in executions.block(body, {}, ()):
            pass
    except TooManyPaths:
        assume(False)
    solved = {
        (tuple(map(id, seen.chain)), id(seen.event)): {
            layer: set(seen.modes(layer)) for layer in seen.state
        }
        for seen in solve(trace_of(body))
    }
    assert solved == {key: dict(modes) for key, modes in executions.seen.items()}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(trees)
def test_a_must_fact_holds_on_every_execution(body: Block) -> None:
    executions = Executions()
    try:
        for _ in executions.block(body, {}, ()):
            pass
    except TooManyPaths:
        assume(False)
    for seen in solve(trace_of(body)):
        reached = executions.seen[(tuple(map(id, seen.chain)), id(seen.event))]
        for layer in LAYERS:
            for mode in Mode:
                assert seen.must(layer, mode) == (reached.get(layer, set()) == {mode})


BUILT = Built(0, frozenset({0}), Mode.TRAIN, None)
EVAL = SetMode(frozenset({0}), Mode.EVAL, None, "eval()")
TRAIN = SetMode(frozenset({0}), Mode.TRAIN, None, "train()")
LOOK = forward(7)


def modes_at(body: Block) -> list[set[Mode]]:
    return [set(seen.modes(0)) for seen in solve(trace_of(body)) if seen.event is LOOK]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ((BUILT, LOOK), {Mode.TRAIN}),
        ((BUILT, EVAL, LOOK), {Mode.EVAL}),
        ((BUILT, Branch(((EVAL,), ())), LOOK), {Mode.TRAIN, Mode.EVAL}),
        ((BUILT, Branch(((EVAL,), (Exit(ExitKind.RAISE),))), LOOK), {Mode.EVAL}),
        ((BUILT, Loop(((LOOK, EVAL),), repeat=True)), {Mode.TRAIN, Mode.EVAL}),
        ((BUILT, Loop(((LOOK, EVAL, TRAIN),), repeat=True)), {Mode.TRAIN}),
        ((BUILT, Loop(((EVAL,),), repeat=True), LOOK), {Mode.TRAIN, Mode.EVAL}),
        ((BUILT, Loop(((TRAIN,), (EVAL,)), repeat=False), LOOK), {Mode.EVAL}),
        ((BUILT, Loop(((TRAIN,), (EVAL, LOOK)), repeat=True)), {Mode.EVAL}),
        ((BUILT, Call("f", None, (EVAL, Exit(ExitKind.RETURN), TRAIN)), LOOK), {Mode.EVAL}),
        (
            (BUILT, Loop(((Branch(((Exit(ExitKind.CONTINUE),), ())), EVAL),), False), LOOK),
            {Mode.TRAIN, Mode.EVAL},
        ),
    ],
    ids=str,
)
def test_mode_at(body: Block, expected: set[Mode]) -> None:
    assert modes_at(body) == [expected]


def test_one_call_site_after_another_is_told_apart() -> None:
    body = (LOOK,)
    trace = (BUILT, Call("test", None, body), EVAL, Call("test", None, body))
    assert modes_at(trace) == [{Mode.TRAIN}, {Mode.EVAL}]


def test_a_fact_that_comes_round_a_loop_is_marked() -> None:
    (seen,) = solve(trace_of((BUILT, Loop(((LOOK, EVAL),), repeat=True))))
    assert {(fact.mode, fact.carried) for fact in seen.state[0]} == {
        (Mode.TRAIN, False),
        (Mode.EVAL, True),
    }


def test_unreachable_code_is_not_observed() -> None:
    assert not solve(trace_of((Exit(ExitKind.RETURN), LOOK)))


def test_deep_nesting_of_calls_stays_fast() -> None:
    body: Block = (LOOK,)
    for depth in range(60):
        body = (Call(f"f{depth}", None, (*body, forward(1000 + depth))),)
    seen = solve(trace_of((BUILT, *body)))
    assert len(seen) == 61
    assert max(len(one.chain) for one in seen) == 60


@pytest.mark.parametrize(
    ("event", "others", "expected"),
    [
        (forward(1), (Backward(frozenset({1}), None), Step(frozenset(), None)), Purpose.TRAINING),
        (forward(1), (Backward(frozenset({1}), None),), Purpose.UNSTATED),
        (forward(1), (), Purpose.UNSTATED),
        (Forward(0, frozenset(), None, False, 1), (), Purpose.INFERENCE),
        (
            Forward(0, frozenset(), None, False, 1),
            (Backward(frozenset({1}), None), Step(frozenset(), None)),
            Purpose.UNSTATED,
        ),
        (forward(1, stated=Purpose.INFERENCE), (Backward(frozenset({1}), None),), "inference"),
    ],
)
def test_purpose(event: Forward, others: Block, expected: str) -> None:
    assert trace_of((event, *others)).purpose(event) == expected
