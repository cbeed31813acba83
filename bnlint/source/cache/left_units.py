"""What a run leaves to later ones: the units of its drawing."""

from __future__ import annotations

from collections.abc import Sequence

from bnlint.records import Struct, replace
from bnlint.source.cache.kept_units import KeptUnits
from bnlint.source.cache.looked import Looked, looked_at, with_earlier
from bnlint.source.cache.unit_file import Paths, Read, UnitFile, file_parts, given_in
from bnlint.source.cache.unit_wire import packed_unit
from bnlint.source.noticed import Spot
from bnlint.source.objects import switched_attributes
from bnlint.source.project import Project
from bnlint.source.units import Ledger


class Left(Struct, frozen=True):
    """What is told of a project that has been drawn, when the project itself is gone. looked: None
    where that is not known; the others see `UnitFile`."""

    looked: Looked | None
    spots: Sequence[Spot]
    shared: frozenset[int]
    switched: frozenset[str]
    added: Sequence[str]
    size: int
    given: str


def left_by(project: Project, ledger: Ledger) -> Left:
    """What is told of a project that has been drawn."""
    noticed, looked = project.noticed, looked_at(project)
    if looked is not None and ledger.earlier is not None:
        looked = with_earlier(looked, ledger.earlier.looked)
    switched = switched_attributes(project) if ledger.switched is None else ledger.switched
    around = (project.added_folders(), project.relevance.size, given_in(project))
    return Left(looked, noticed.spots, frozenset(noticed.shared), switched, *around)


def packed_units(ledger: Ledger, left: Left, read: Read) -> list[bytes]:
    """What a run leaves to later ones, in parts; raises TypeError for what has no form."""
    earlier = ledger.earlier if isinstance(ledger.earlier, KeptUnits) else None
    table: dict[Spot, int] = {}
    spots: list[Spot] = []
    shared: set[int] = set()
    if earlier is not None:
        table = {spot: number for number, spot in enumerate(earlier.spots)}
        spots, shared = list(earlier.spots), set(earlier.shared)
    numbers: list[int] = []
    for spot in left.spots:
        if spot not in table:
            table[spot] = len(spots)
            spots.append(spot)
        numbers.append(table[spot])
    units: list[bytes] = []
    for unit in ledger.units:
        if earlier is None or earlier.kept(*unit.key) is not unit:
            texts = frozenset(numbers[number] for number in unit.texts)
            units.append(packed_unit(replace(unit, texts=texts)))
        else:
            units.append(bytes(earlier.raw.get(unit.key) or b"") or packed_unit(unit))
    paths = Paths()
    numbered = paths.numbered(spots)
    orders = {stage: paths.numbered(order) for stage, order in ledger.orders.items()}
    bases = paths.numbered(sorted(ledger.bases))
    file = UnitFile(
        read,
        left.looked,
        paths.all,
        numbered,
        sorted(shared.union(numbers[number] for number in left.shared)),
        orders,
        bases,
        ledger.first_number,
        list(ledger.eager),
        sorted(ledger.long_decorators),
        sorted(left.switched),
        sorted(ledger.tested),
        list(left.added),
        left.size,
        left.given,
    )
    return file_parts(file, units)
