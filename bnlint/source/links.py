"""All files of a project that were opened, and the project that they make."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from bnlint.records import Struct, field
from bnlint.settings import Settings
from bnlint.source.facts import FileFacts
from bnlint.source.outcome import Outcome
from bnlint.source.reader import read_file
from bnlint.suppress import FileSuppressions

if TYPE_CHECKING:
    from bnlint.source.project import Project


class Links(Struct):
    """The opened files by absolute path. admit: see `discover.admission`; is_folder: see
    `discover.seen_folders`; read: how a file is read."""

    root: Path
    admit: Callable[[str], str | None]
    outcomes: dict[str, Outcome]
    settings: Settings
    behind: dict[str, Outcome] = field(default_factory=dict)
    """Files that were read and matter only when an import asks for them."""
    read: Callable[[str], Outcome] = read_file
    is_folder: Callable[[str], bool] = os.path.isdir
    unopened: dict[str, str] = field(default_factory=dict)
    """The contents of files that an earlier run has opened, and whose drawings are kept."""

    def load(self, path: str) -> FileFacts | None:
        """A file that an import asks for; None when it may not be opened."""
        admitted = self.admit(path)
        if admitted is None:
            return None
        if admitted not in self.outcomes:
            known = self.behind.get(admitted)
            self.outcomes[admitted] = self.read(admitted) if known is None else known
        return self.outcomes[admitted].facts

    @property
    def facts(self) -> dict[str, FileFacts]:
        """The facts of the files that have any, by path."""
        return {p: o.facts for p, o in self.outcomes.items() if o.facts is not None}

    @property
    def consulted(self) -> dict[str, str]:
        """The files on which the findings depend, with the digests of their contents."""
        return {**self.unopened, **{path: o.digest for path, o in self.outcomes.items()}}

    def close_all_but(self, begun: Collection[str]) -> None:
        """Forget what was opened since these files were."""
        self.unopened.clear()
        for path in [path for path in self.outcomes if path not in begun]:
            self.behind[path] = self.outcomes.pop(path)

    def project(self) -> Project:
        """The files linked by their imports."""
        from bnlint.source.evaluate.explained import Explained
        from bnlint.source.project import Project

        return Project(
            self.root, self.facts, self.load, Explained.by(self.settings), self.is_folder
        )

    @property
    def suppressions(self) -> dict[str, FileSuppressions]:
        """The suppression comments, by file; files without any are absent."""
        found = {path: outcome.suppressions for path, outcome in self.outcomes.items()}
        return {path: comments for path, comments in found.items() if comments is not None}
