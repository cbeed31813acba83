"""Findings in the words of the language server protocol."""

from __future__ import annotations

from pathlib import Path

from lsprotocol import types
from pygls.workspace import PositionCodec

from bnlint.finding import Edit, Evidence, Finding, Place, Severity
from bnlint.source.excerpt import Sources
from bnlint.source.text import split_lines

_SEVERITIES = {
    Severity.ERROR: types.DiagnosticSeverity.Error,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
    Severity.NOTE: types.DiagnosticSeverity.Information,
}


class Converter:
    """Positions of ours (lines and columns from 1, in code points) in the units of the client."""

    def __init__(self, sources: Sources, codec: PositionCodec) -> None:
        self._sources = sources
        self._codec = codec

    def diagnostic(self, finding: Finding) -> types.Diagnostic:
        """A finding that has a place."""
        place = finding.place
        if place is None:
            raise ValueError("a finding without a place")
        unused = finding.code == "BNL902"
        return types.Diagnostic(
            range=self.range(place),
            message=finding.message,
            severity=_SEVERITIES[finding.severity],
            code=finding.code,
            code_description=types.CodeDescription(finding.url) if finding.url else None,
            source="bnlint",
            tags=[types.DiagnosticTag.Unnecessary] if unused else None,
            related_information=[self._related(step) for step in finding.evidence],
        )

    def _related(self, step: Evidence) -> types.DiagnosticRelatedInformation:
        location = types.Location(uri_of(step.place.path), self.range(step.place))
        return types.DiagnosticRelatedInformation(location, step.message)

    def range(self, place: Place) -> types.Range:
        """The place as a range; in a notebook, of its JSON."""
        found = self._sources.in_file(place)
        lines = split_lines(self._sources.text(place.path) or "")
        end_line = found.end_line or found.line
        end_column = found.end_column or found.column
        return types.Range(
            self._position(lines, found.line, found.column),
            self._position(lines, end_line, end_column),
        )

    def _position(self, lines: list[str], line: int, column: int) -> types.Position:
        if line > len(lines):
            return types.Position(line - 1, 0)
        before = lines[line - 1][: column - 1]
        return types.Position(line - 1, self._codec.client_num_units(before))

    def edit(self, path: str, edit: Edit) -> types.TextEdit:
        """An edit of a plain file."""
        place = Place(path, edit.line, edit.column, edit.end_line, edit.end_column)
        return types.TextEdit(self.range(place), edit.text)


def uri_of(path: str) -> str:
    """The file's URI."""
    return Path(path).as_uri()
