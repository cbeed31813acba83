"""The form in which the units of a run are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from msgspec import Raw, Struct

from bnlint.source import ir
from bnlint.source.cache.looked import Looked
from bnlint.source.noticed import Spot
from bnlint.source.units import Stage

_Numbered: TypeAlias = tuple[int, int]
"""A spot, its file by number."""


class Read(Struct, frozen=True, array_like=True):
    """What a run has read. consulted: the files, with the digests of their contents; shape: see
    `Runs`; troubled: files that cannot be parsed."""

    consulted: dict[str, str]
    shape: str
    troubled: list[str]


class UnitFile(Struct, frozen=True, array_like=True):
    """What a run leaves.

    looked: what it has looked at; paths: of files, told by their numbers; spots: of definitions,
    and shared: the numbers of those, see `Noticed`; added: see `Project.added_folders`; size: see
    `Relevance`; the others see `units.Earlier`.
    """

    read: Read
    looked: Looked | None
    paths: list[str]
    spots: list[_Numbered]
    shared: list[int]
    orders: dict[Stage, list[_Numbered]]
    bases: list[_Numbered]
    first_number: int
    eager: list[str]
    long_decorators: list[tuple[str, ir.Span]]
    switched: list[str]
    tested: list[str]
    added: list[str]
    size: int
    units: list[Raw]

    def named(self, spots: Iterable[_Numbered]) -> Iterator[Spot]:
        """Spots with the paths of their files."""
        return ((self.paths[number], start) for number, start in spots)


class Paths:
    """Numbers paths."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def numbered(self, spots: Iterable[Spot]) -> list[_Numbered]:
        """Spots with the numbers of their files."""
        known = self._numbers
        return [(known.setdefault(path, len(known)), start) for path, start in spots]

    @property
    def all(self) -> list[str]:
        """The paths in the order of their numbers."""
        return [*self._numbers]
