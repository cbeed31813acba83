"""The form in which the units of a run are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw, Struct

from bnlint.source import ir
from bnlint.source.cache.looked import Looked
from bnlint.source.digests import digest_of
from bnlint.source.noticed import Spot
from bnlint.source.project import Project
from bnlint.source.units import Stage

_LENGTH: Final = 8
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
    `Relevance`; given: a digest of the files to begin with; the others see `units.Earlier`.
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
    given: str

    def named(self, spots: Iterable[_Numbered]) -> Iterator[Spot]:
        """Spots with the paths of their files."""
        return ((self.paths[number], start) for number, start in spots)


def given_in(project: Project) -> str:
    """A digest of the files with which the drawing of a project begins."""
    return digest_of("\n".join(project.given).encode("utf-8", "surrogateescape"))


def file_parts(file: UnitFile, units: Sequence[bytes]) -> list[bytes]:
    """What is written: the length of the file's head, the head, and the units."""
    head = msgspec.msgpack.encode(file)
    count = b"\xdd" + len(units).to_bytes(4, "big")  # an array of so many
    return [len(head).to_bytes(_LENGTH, "little"), head, count, *units]


def read_file(data: bytes) -> tuple[UnitFile, list[Raw]]:
    """What was written; raises msgspec.MsgspecError or ValueError."""
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    file = msgspec.msgpack.decode(memoryview(data)[_LENGTH:end], type=UnitFile)
    return file, msgspec.msgpack.decode(memoryview(data)[end:], type=list[Raw])


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
