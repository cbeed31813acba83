"""Facts of large projects: bodies of functions stay bytes until somebody runs them."""

from __future__ import annotations

from typing import Final

from bnlint.records import replace
from bnlint.source.outcome import Outcome
from bnlint.source.reader import read_file

LARGE: Final = 250
"""Files from which on memory counts for more than the time to write and read each body."""


def read_compactly(path: str) -> Outcome:
    """The facts of a file, in little memory. Raises nothing that a file can cause."""
    return compact(read_file(path))


def compact(outcome: Outcome) -> Outcome:
    """The same outcome in less memory; the one given where it has no form as bytes."""
    from bnlint.source.cache.codec import decode, encode

    data = None if outcome.facts is None else encode(outcome)
    smaller = None if data is None else decode(data, outcome.path)
    if smaller is None or smaller.facts is None:
        return outcome
    return replace(smaller, facts=smaller.facts.packed())
