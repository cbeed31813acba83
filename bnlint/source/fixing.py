"""Fixes of a whole run: made in rounds in memory, so that they compose, and then written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bnlint.finding import Finding, InsertBefore, Intent
from bnlint.source.digests import digest_of
from bnlint.source.document import CellEdits, Document, EditError, edited
from bnlint.source.engine import Workspace
from bnlint.source.result import LintResult

ROUNDS: Final = 10
"""After so many rounds a fix that is wanted again and again is given up."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """What becomes of a file, or of the standard input."""

    path: str
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class Fixed:
    """What was done. changes: by path, in order. made: the findings that were fixed. refused: files
    that had to be left alone, and why. result: what is found in the texts as they are now."""

    changes: tuple[FileChange, ...]
    made: tuple[Finding, ...]
    refused: Mapping[str, str]
    result: LintResult


def is_wanted(finding: Finding, *, unsafe: bool) -> bool:
    """Whether a finding is to be fixed: it is visible and its fix is safe, or unsafe ones are
    asked for."""
    fix = finding.fix
    return not finding.suppressed and fix is not None and bool(fix.edits) and (fix.safe or unsafe)


def fix(
    workspace: Workspace, *, unsafe: bool = False, data: Mapping[str, bytes] | None = None
) -> Fixed:
    """Fix in memory what can be fixed in the given files; nothing is written.

    data: the bytes of documents that are not on disk, by path.
    """
    files = Files(workspace, data or {})
    made: list[Finding] = []
    result = workspace.lint()
    for _ in range(ROUNDS):
        wanted = _first([f for f in result.findings if is_wanted(f, unsafe=unsafe)])
        taken = [f for group in _by_path(wanted, workspace) for f in _edit(files, group)]
        if not taken:
            break
        made += taken
        workspace.change(files.texts())
        result = workspace.lint()
    return Fixed(files.changes(), tuple(made), dict(files.refused), result)


def _first(wanted: list[Finding]) -> list[Finding]:
    """Those to be made first: what mends a line may make a new line before it needless."""
    mending = [f for f in wanted if f.fix is not None and not any(map(_is_line, f.fix.intents))]
    return mending or wanted


def _is_line(intent: Intent) -> bool:
    return isinstance(intent, InsertBefore)


def _by_path(findings: Iterable[Finding], workspace: Workspace) -> list[list[Finding]]:
    """The findings of each given file."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.place is not None and finding.place.path in workspace.given:
            groups.setdefault(finding.place.path, []).append(finding)
    return list(groups.values())


def _edit(files: Files, group: list[Finding]) -> list[Finding]:
    """Make the edits of the findings of one file; those for which that was done."""
    place = group[0].place
    if place is None:
        return []
    return [group[i] for i in files.edit_file(place.path, [_edits_of(f) for f in group])]


def _edits_of(finding: Finding) -> CellEdits:
    cell = None if finding.place is None else finding.place.cell
    return cell, () if finding.fix is None else finding.fix.edits


@dataclass(slots=True)
class Files:
    """The files that are being edited. data: the bytes of those that are not on disk; refused:
    those that cannot be edited, and why."""

    workspace: Workspace
    data: Mapping[str, bytes] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    _before: dict[str, bytes] = field(default_factory=dict)
    _now: dict[str, Document] = field(default_factory=dict)

    def edit_file(self, path: str, wanted: Sequence[CellEdits]) -> list[int]:
        """Make as many of these edits as fit together; the indices of those that were made."""
        document = self._document(path)
        if document is None:
            return []
        text, indices = edited(document, wanted)
        if indices:
            self._now[path] = Document(path, text, document.encoding)
        return indices

    def texts(self) -> dict[str, str]:
        """The texts as they are now, by path."""
        return {path: document.text for path, document in self._now.items()}

    def changes(self) -> tuple[FileChange, ...]:
        """What differs from the files as they were read."""
        found = []
        for path, document in sorted(self._now.items()):
            try:
                after = document.encoded(document.text)
            except EditError as error:
                self.refused[path] = str(error)
                continue
            if after != self._before[path]:
                found.append(FileChange(path, self._before[path], after))
        return tuple(found)

    def _document(self, path: str) -> Document | None:
        if path in self._now:
            return self._now[path]
        if path in self.refused:
            return None
        try:
            data, document = self._open(path)
        except (OSError, EditError) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            self.refused[path] = said or str(error)
            return None
        self._before[path] = data
        self._now[path] = document
        return document

    def _open(self, path: str) -> tuple[bytes, Document]:
        if path in self.data:
            return self.data[path], Document.of(path, self.data[path])
        data = Path(path).read_bytes()
        if digest_of(data) != self.workspace.digest(path):
            raise EditError("has changed since it was read")
        return data, Document.of(path, data)
