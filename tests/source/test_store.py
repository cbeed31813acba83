"""The store against a model that copies everything."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bnlint.source.joining import ABSENT, join_fields
from bnlint.source.store import Changes, Store
from bnlint.source.values import (
    Alternatives,
    HeapObject,
    Known,
)

Fields = dict[tuple[int, str], object]
"""The model: the value of each field of each object."""

OBJECTS = 3
VALUES = st.sampled_from([Known(1), Known(2), Known("x"), ABSENT])
WRITES = st.tuples(st.just("write"), st.integers(0, OBJECTS - 1), st.sampled_from("ab"), VALUES)
STEPS = st.recursive(
    WRITES,
    lambda inner: st.one_of(
        st.tuples(
            st.sampled_from(["branch"]),
            st.lists(st.lists(inner, max_size=4), min_size=1, max_size=3),
        ),
        st.tuples(st.sampled_from(["undone", "kept", "left"]), st.lists(inner, max_size=4)),
    ),
    max_leaves=20,
)


class Model:
    """The same operations by deep copies."""

    def __init__(self) -> None:
        self.fields: Fields = {}

    def run(self, step: tuple[object, ...]) -> None:
        match step:
            case ("write", obj, name, value):
                self._write((obj, name), value)
            case ("branch", runs):
                before, after = dict(self.fields), []
                for run in runs:
                    self.fields = dict(before)
                    for inner in run:
                        self.run(inner)
                    after.append(self.fields)
                self.fields = self._joined(after)
            case ("undone", run):
                before = dict(self.fields)
                for inner in run:
                    self.run(inner)
                self.fields = before
            case ("kept", run):
                for inner in run:
                    self.run(inner)
            case ("left", run):
                before = dict(self.fields)
                for inner in run:
                    self.run(inner)
                self.fields = self._joined([self.fields, before])

    def _write(self, key: tuple[int, str], value: object) -> None:
        self.fields.pop(key, None)
        if value is not ABSENT:
            self.fields[key] = value

    def _joined(self, states: list[Fields]) -> Fields:
        joined: Fields = {}
        for key in dict.fromkeys(key for state in states for key in state):
            value = states[0].get(key, ABSENT)
            for state in states[1:]:
                value = join_fields(value, state.get(key, ABSENT))
            joined[key] = value
        return joined


def _unordered(fields: Fields) -> dict[tuple[int, str], object]:
    """Fields without the order of alternatives, which says nothing."""
    return {
        key: frozenset(value.values) if isinstance(value, Alternatives) else value
        for key, value in fields.items()
    }


class Real:
    """The same operations by the store, as the interpreter uses it."""

    def __init__(self) -> None:
        self.store = Store()
        self.objects = [HeapObject() for _ in range(OBJECTS)]

    @property
    def fields(self) -> Fields:
        return {
            (number, str(name)): value
            for number, obj in enumerate(self.objects)
            for name, value in obj.fields.items()
        }

    def run(self, step: tuple[object, ...]) -> None:
        store = self.store
        match step:
            case ("write", int() as number, name, value):
                store.write(self.objects[number], name, value)
            case ("branch", list() as runs):
                store.merge([self._apart(run) for run in runs])
            case ("undone", list() as run):
                self._apart(run)
            case ("kept", list() as run):
                store.begin()
                for inner in run:
                    self.run(inner)
                store.commit()
            case ("left", list() as run):
                depth = store.depth
                store.begin()
                for inner in run:
                    self.run(inner)
                early = store.capture(depth)
                store.rollback()
                store.merge([early, {}])

    def _apart(self, run: list[tuple[object, ...]]) -> Changes:
        self.store.begin()
        for inner in run:
            self.run(inner)
        return self.store.rollback()


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=6), st.lists(STEPS, max_size=6))
def test_branches_and_loops_leave_what_deep_copies_leave(
    first: list[tuple[object, ...]], second: list[tuple[object, ...]]
) -> None:
    model, real = Model(), Real()
    for step in first:
        model.run(step)
        real.run(step)
    assert _unordered(real.fields) == _unordered(model.fields)
    before = dict(real.fields)
    real.store.begin()
    for step in second:
        model.run(step)
        real.run(step)
    assert _unordered(real.fields) == _unordered(model.fields)
    real.store.rollback()
    assert real.fields == before
    assert real.store.depth == 0


def test_the_changes_of_a_branch_name_its_last_values() -> None:
    store, obj = Store(), HeapObject()
    store.write(obj, "kept", Known(0))
    store.begin()
    store.write(obj, "new", Known(1))
    store.write(obj, "new", Known(2))
    store.write(obj, "kept", ABSENT)
    assert store.rollback() == {(obj, "new"): Known(2), (obj, "kept"): ABSENT}
    assert obj.fields == {"kept": Known(0)}


def test_permanent_writes_survive_a_rollback() -> None:
    store, obj = Store(), HeapObject()
    store.begin()
    with store.permanent():
        store.write(obj, "imported", Known(True))
    store.write(obj, "other", Known(1))
    store.rollback()
    assert obj.fields == {"imported": Known(True)}
