"""Findings in the words of the language server protocol."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from lsprotocol import types
from pygls.workspace import PositionCodec

from bnlint.finding import Edit, Evidence, Finding, Place, Severity
from bnlint.server.documents import Documents, uri_of
from bnlint.source.excerpt import Sources
from bnlint.source.notebook_layout import NotebookLayout
from bnlint.source.text import line_starts, split_lines

_SEVERITIES = {
    Severity.ERROR: types.DiagnosticSeverity.Error,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
    Severity.NOTE: types.DiagnosticSeverity.Information,
}


class Converter:
    """Positions of ours (lines and columns from 1, in code points) in the units of the client.

    A place in a notebook is one in the document of its cell, or in the lines of the notebook's
    JSON where the editor has no such document.
    """

    def __init__(self, sources: Sources, documents: Documents, codec: PositionCodec) -> None:
        self._sources = sources
        self._documents = documents
        self._codec = codec

    def diagnostic(self, finding: Finding) -> types.Diagnostic:
        """A finding that has a place."""
        place = finding.place
        if place is None:
            raise ValueError("a finding without a place")
        unused = finding.code == "BNL902"
        return types.Diagnostic(
            range=self.location(place).range,
            message=finding.message,
            severity=_SEVERITIES[finding.severity],
            code=finding.code,
            code_description=types.CodeDescription(finding.url) if finding.url else None,
            source="bnlint",
            tags=[types.DiagnosticTag.Unnecessary] if unused else None,
            related_information=[self._related(step) for step in finding.evidence],
        )

    def _related(self, step: Evidence) -> types.DiagnosticRelatedInformation:
        return types.DiagnosticRelatedInformation(self.location(step.place), step.message)

    def location(self, place: Place) -> types.Location:
        """The place in one of the editor's documents, or in a file that is not open."""
        cell = self._documents.cell_uri(place)
        if cell is not None:
            return types.Location(cell, self._range(self._sources.lines(place), place))
        in_file = self._sources.in_file(place)
        lines = split_lines(self._sources.text(place.path) or "")
        return types.Location(uri_of(place.path), self._range(lines, in_file))

    def edits(self, place: Place, edits: Iterable[Edit]) -> list[tuple[str, types.TextEdit]]:
        """Edits of the file (of the cell, in a notebook) that a place is in, each with the
        document that it changes; none when they cannot be made there."""
        if place.cell is not None and self._documents.cell_uri(place) is None:
            return self._edits_of_json(place.path, place.cell, list(edits))
        found = []
        for edit in edits:
            span = (edit.line, edit.column, edit.end_line, edit.end_column)
            location = self.location(Place(place.path, *span, place.cell))
            found.append((location.uri, types.TextEdit(location.range, edit.text)))
        return found

    def _edits_of_json(
        self, path: str, cell: int, edits: list[Edit]
    ) -> list[tuple[str, types.TextEdit]]:
        text = self._sources.text(path) or ""
        try:
            changes = NotebookLayout(text).edited(cell, edits)
        except (ValueError, LookupError):
            return []
        starts, lines = line_starts(text), split_lines(text)
        found = []
        for start, end, new in changes:
            positions = []
            for offset in (start, end):
                line = bisect_right(starts, offset)
                positions.append(self._position(lines, line, offset - starts[line - 1] + 1))
            found.append((uri_of(path), types.TextEdit(types.Range(*positions), new)))
        return found

    def _range(self, lines: Sequence[str], place: Place) -> types.Range:
        end_line, end_column = place.end_line or place.line, place.end_column or place.column
        return types.Range(
            self._position(lines, place.line, place.column),
            self._position(lines, end_line, end_column),
        )

    def _position(self, lines: Sequence[str], line: int, column: int) -> types.Position:
        if line > len(lines):
            return types.Position(line - 1, 0)
        before = lines[line - 1][: column - 1]
        return types.Position(line - 1, self._codec.client_num_units(before))
