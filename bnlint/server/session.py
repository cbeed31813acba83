"""Open files and the projects around them, kept in memory between two keystrokes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from bnlint.finding import Edit, Finding
from bnlint.settings import load_settings
from bnlint.source.discover import find_root, posix
from bnlint.source.document import CellEdits
from bnlint.source.excerpt import Sources
from bnlint.source.ignores import ignore_edits
from bnlint.source.living import LivingProject

CONFIGURATION = frozenset({"pyproject.toml", "bnlint.toml", ".gitignore"})
"""Files that decide what a project is and how it is judged."""


@dataclass(slots=True)
class _Kept:
    """A project, and the open files in it."""

    workspace: LivingProject
    open: set[str] = field(default_factory=set)


class Session:
    """What one editor has open. Paths are absolute, with forward slashes.

    `findings` may run in a thread of its own beside the other methods; what changes meanwhile
    counts from the next time on.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._projects: dict[Path, _Kept] = {}
        self._root_of: dict[str, Path] = {}

    def open(self, path: str, text: str) -> None:
        """A file was opened or its text was changed; its project is read when it is not known.

        Raises SettingsError.
        """
        path = posix(Path(path))
        kept = self._project(path)
        if self._texts.get(path) != text or path not in kept.open:
            kept.workspace.change({path: text})
        kept.open.add(path)
        self._texts[path] = text

    def close(self, path: str) -> None:
        """A file was closed: what is on the disk counts again."""
        path = posix(Path(path))
        self._texts.pop(path, None)
        root = self._root_of.pop(path, None)
        kept = self._projects.get(root) if root is not None else None
        if kept is None or root is None:
            return
        kept.open.discard(path)
        kept.workspace.reread([path])
        if not kept.open:
            del self._projects[root]

    def changed_on_disk(self, paths: list[str]) -> None:
        """Files were changed, made or deleted by somebody else."""
        full = [posix(Path(path)) for path in paths]
        if any(path.rpartition("/")[2] in CONFIGURATION for path in full):
            self._forget()
            return
        for kept in self._projects.values():
            kept.workspace.reread([path for path in full if path not in self._texts])

    def findings(self) -> dict[str, list[Finding]]:
        """The visible findings of every open file, also of those that have none."""
        found: dict[str, list[Finding]] = {path: [] for path in list(self._texts)}
        for kept in list(self._projects.values()):
            for finding in kept.workspace.lint_open(frozenset(kept.open)).findings:
                place = finding.place
                if place is not None and place.path in found and not finding.suppressed:
                    found[place.path].append(finding)
        return found

    def ignore(self, finding: Finding) -> Edit | None:
        """The edit, in the file or the cell that the finding is in, that writes a comment which
        excuses it; None where none can stand."""
        place = finding.place
        root = self._root_of.get(place.path) if place is not None else None
        if place is None or root is None:
            return None
        workspace = self._projects[root].workspace
        edits: list[CellEdits] = ignore_edits(workspace, place.path, [(finding.code, place)])
        return edits[0][1][0] if edits else None

    def sources(self) -> Sources:
        """The texts as the editor shows them."""
        return Sources(self._texts)

    def _project(self, path: str) -> _Kept:
        known = self._root_of.get(path)
        if known is not None:
            return self._projects[known]
        root = find_root([Path(path)])
        if root not in self._projects:
            self._projects[root] = _Kept(
                LivingProject(root, replace(load_settings(root), cache=True))
            )
        self._root_of[path] = root
        return self._projects[root]

    def _forget(self) -> None:
        """Read all projects anew."""
        texts, self._texts = self._texts, {}
        self._projects.clear()
        self._root_of.clear()
        for path, text in texts.items():
            self.open(path, text)
