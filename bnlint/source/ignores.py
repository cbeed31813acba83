"""Suppression comments written for what is found: `--add-ignores`."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from bnlint.finding import Edit, Finding, Place, Role
from bnlint.records import Struct
from bnlint.source.document import CellEdits
from bnlint.source.engine import Workspace
from bnlint.source.fixing import FileChange, Files
from bnlint.suppress import OWN, FileSuppressions, Suppression, find_suppressions

PLACEHOLDER: Final = "TODO: say why this is fine"
"""The reason that is written; who takes the comment over puts a real one in its place."""


class Ignored(Struct, frozen=True):
    """changes: by path; comments: how many were written or extended; places: accused places where
    no comment can stand; refused: files that had to be left alone, and why."""

    changes: tuple[FileChange, ...]
    comments: int
    places: tuple[Place, ...]
    refused: Mapping[str, str]


def add_ignores(
    workspace: Workspace, findings: Iterable[Finding], data: Mapping[str, bytes] | None = None
) -> Ignored:
    """Write, in memory, a comment for every accused place of the visible findings in the given
    files. Findings about bnlint's own run (BNL9xx) are no matter of opinion, and stay."""
    files = Files(workspace, data or {})
    wanted = [f for f in findings if not f.suppressed and not f.code.startswith("BNL9")]
    by_path: dict[str, list[tuple[str, Place]]] = {}
    for finding in wanted:
        for place in _places(finding, workspace.given):
            by_path.setdefault(place.path, []).append((finding.code, place))
    comments = 0
    homeless: list[Place] = []
    for path, accused in sorted(by_path.items()):
        edits = ignore_edits(workspace, path, accused, homeless)
        comments += len(files.edit_file(path, edits))
    return Ignored(files.changes(), comments, tuple(homeless), dict(files.refused))


def ignore_edits(
    workspace: Workspace,
    path: str,
    accused: Iterable[tuple[str, Place]],
    homeless: list[Place] | None = None,
) -> list[CellEdits]:
    """The comments, one for each line, that excuse these codes at these places of a file.

    homeless: gets the places whose statement has no room for a comment.
    """
    text = workspace.code(path)
    if text is None:
        return []
    margin = _Margin(text, workspace.suppressions(path))
    return margin.edits(accused, [] if homeless is None else homeless)


def _places(finding: Finding, given: frozenset[str]) -> list[Place]:
    """Where a comment would excuse the finding: its own places, else a cause in a given file."""
    if finding.place is None:
        return []
    if finding.place.path not in given:
        causes = (e.place for e in finding.evidence if e.role is Role.CAUSE)
        return [place for place in causes if place.path in given][:1]
    also = (e.place for e in finding.evidence if e.role is Role.INSTANCE)
    return [finding.place, *(place for place in also if place.path in given)]


class _Margin:
    """Where comments can stand in a text (of a notebook: in its joined code cells)."""

    def __init__(self, text: str, file: FileSuppressions) -> None:
        self._file = file
        self._ends = _line_ends(text)
        self._comments: dict[int, Suppression] = {
            comment.line: comment
            for comment in find_suppressions(text)
            if not comment.foreign and not comment.whole_file and comment.selectors
        }

    def edits(self, accused: Iterable[tuple[str, Place]], homeless: list[Place]) -> list[CellEdits]:
        """One edit for each line; places whose statement has no room go to `homeless`."""
        codes: dict[int, list[str]] = {}
        for code, place in accused:
            line = next((n for n in self._file.lines_of(place) if n in self._ends), None)
            if line is None:
                homeless.append(place)
            elif code not in codes.setdefault(line, []):
                codes[line].append(code)
        return [self._edit(line, found) for line, found in sorted(codes.items())]

    def _edit(self, line: int, codes: Sequence[str]) -> CellEdits:
        cell, shift = self._file.cell_at(line)
        names = ", ".join(codes)
        column, text = self._ends[line], f"  # bnlint: ignore[{names}] {PLACEHOLDER}"
        comment = self._comments.get(line)
        match = None if comment is None else OWN.match(comment.text)
        if comment is not None and match is not None:
            column, text = comment.column + match.end("codes"), f", {names}"
        return cell, [Edit(line - shift, column, line - shift, column, text)]


def _line_ends(text: str) -> dict[int, int]:
    """The lines that end outside of strings and without a backslash, and the column there."""
    ends: dict[int, int] = {}
    readline = io.StringIO(text, newline="").readline
    with suppress(tokenize.TokenError, SyntaxError):  # as far as it goes
        for token in tokenize.generate_tokens(readline):
            if token.type in (tokenize.NEWLINE, tokenize.NL):
                ends[token.start[0]] = token.start[1] + 1
    return ends
