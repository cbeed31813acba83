"""What any number of further rounds of a loop may leave behind."""

from __future__ import annotations

from bnlint.source.joining import ABSENT, bounded
from bnlint.source.store import Changes, Key, Store
from bnlint.source.values import ANYTHING, Alternatives, Element, Known, Repeat, hard


def widen(store: Store, changes: Changes, grown: frozenset[Key], counters: frozenset[str]) -> None:
    """Join a round's writes into the state before it; what a list has gained is repeated.

    grown: lists that an earlier round of the loop has written: their gain is repeated already.
    counters: names of numbers that each round changes: they may be any number.
    """
    outcome: Changes = {}
    for (obj, name), after in changes.items():
        before = obj.fields.get(name, ABSENT)
        if isinstance(before, tuple) and isinstance(after, tuple):
            outcome[obj, name] = _grown(before, after, again=(obj, name) in grown)
        elif name in counters and _is_number(after):
            outcome[obj, name] = ANYTHING
        else:
            outcome[obj, name] = after
    plain = {key: value for key, value in outcome.items() if not isinstance(value, tuple)}
    store.merge([{}, plain])
    for (obj, name), value in outcome.items():
        if isinstance(value, tuple):
            store.write(obj, name, value)


def _is_number(value: object) -> bool:
    """Whether a field holds a number that is known, or one of several."""
    values = value.values if isinstance(value, Alternatives) else (value,)
    return any(isinstance(hard(v), Known) for v in values)  # type: ignore[arg-type]


def _grown(
    before: tuple[Element, ...], after: tuple[Element, ...], *, again: bool
) -> tuple[Element, ...]:
    """A list that a loop has appended to: what was appended is repeated."""
    if after[: len(before)] != before:
        return before if len(after) <= len(before) else bounded((Repeat(after),))
    gained = after[len(before) :]
    if not gained or (again and before and isinstance(before[-1], Repeat)):
        return before
    return bounded((*before, Repeat(gained)))
