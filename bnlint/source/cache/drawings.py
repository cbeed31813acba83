"""Drawings of a project that a run leaves to the next one."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import msgspec

from bnlint.records import Struct
from bnlint.source.cache.folder import Folder
from bnlint.source.cache.kept_units import kept_units
from bnlint.source.cache.left_units import Left, packed_units
from bnlint.source.cache.looked import Looked
from bnlint.source.cache.runs import DRAWN, Runs
from bnlint.source.cache.unit_file import Read, read_file
from bnlint.source.cache.unseen import CodeChangedError
from bnlint.source.links import Links
from bnlint.source.project import Project
from bnlint.source.units import Ledger

MOST: Final = 3
"""Runs of one kind of which the drawings are kept: they are large."""


def drawn_contents(folder: Folder) -> set[str]:
    """The contents that files had when they were drawn."""
    found: set[str] = set()
    for name in folder.names(DRAWN):
        with suppress(msgspec.MsgspecError, ValueError):
            file, _ = read_file(folder.read(name) or b"")
            found |= set(file.read.consulted.values())
    return found


class Drawings(Struct):
    """The drawings of one project."""

    runs: Runs
    links: Links

    def ledger(self, project: Project) -> Ledger | None:
        """Where the drawings of this run are noted, with those of an earlier one that hold; None
        where none does."""
        data = None if project.explained else self.runs.cache.folder.read(self.runs.drawings)
        if data is None:
            return None
        try:
            kept = kept_units(data, project, self.links, self.runs)
        except CodeChangedError as error:
            self.runs.objection = str(error)
            return None
        return Ledger(kept)

    def keep(self, left: Left, ledger: Ledger) -> Looked | None:
        """Keep what was drawn, and give what was looked at."""
        if left.looked is not None:
            consulted, folder = self.links.consulted, self.runs.cache.folder
            troubled = sorted(p for p, outcome in self.links.outcomes.items() if outcome.problem)
            with suppress(TypeError, ValueError, OverflowError):
                parts = packed_units(ledger, left, Read(consulted, self.runs.shape, troubled))
                if folder.write_parts(self.runs.drawings, parts):
                    folder.remove(folder.names(self.runs.drawn)[MOST:])
        return left.looked
