"""The cache of one project: contents, facts and runs behind one door."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bnlint.settings import Settings
from bnlint.source.cache.contents import Contents
from bnlint.source.cache.folder import Folder, open_folder
from bnlint.source.prefilter import Digest

if TYPE_CHECKING:
    from bnlint.source.cache.pack import Pack
    from bnlint.source.outcome import Outcome


class Cache:
    """What is known of a project's files from earlier runs; `save` keeps what was learnt."""

    def __init__(self, folder: Folder, root: Path) -> None:
        self.folder = folder
        self.contents = Contents(folder, root.as_posix())

    @cached_property
    def _pack(self) -> Pack:
        """Opened when facts are needed, which is seldom."""
        from bnlint.source.cache.pack import Pack

        return Pack(self.folder)

    @classmethod
    def of(cls, settings: Settings, root: Path) -> Cache | None:
        """The cache of the project with this root; None when the settings want none."""
        folder = open_folder(settings, root)
        return None if folder is None else cls(folder, root)

    def digest(self, path: str) -> Digest:
        """What the prefilter says of a file."""
        return self.contents.digest(path)

    def known(self, path: str) -> Outcome | None:
        """What became of a file with the content that this file has now, if that is known."""
        content = self.contents.content(path)
        return self._pack.get(content, path) if content else None

    def add(self, outcome: Outcome) -> None:
        """Keep what was read from a file."""
        self._pack.add(outcome)

    def read(self, path: str, reader: Callable[[str], Outcome] | None = None) -> Outcome:
        """The outcome of a file, known or read now."""
        from bnlint.source.reader import read_file

        outcome = self.known(path)
        if outcome is None:
            outcome = (reader or read_file)(path)
            self.add(outcome)
        return outcome

    def read_packed(self, path: str) -> Outcome:
        """The same, with the bodies of functions as bytes where that can be."""
        outcome = self.read(path)
        return (outcome.digest and self._pack.get(outcome.digest, path)) or outcome

    def kept(self, content: str, path: str) -> Outcome | None:
        """What became of a file at this path when it had this content, if that is known."""
        return self._pack.get(content, path)

    def _wanted(self) -> set[str]:
        """The contents that files have, and those that they had when they were drawn."""
        from bnlint.source.cache.drawings import drawn_contents

        return self.contents.known_contents() | drawn_contents(self.folder)

    def save(self) -> None:
        """Keep on disk what was learnt, as far as that can be done."""
        if "_pack" in self.__dict__:
            self._pack.save(self._wanted)
        self.contents.save()
